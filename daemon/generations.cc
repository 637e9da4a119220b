#include "daemon/generations.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include <algorithm>
#include <charconv>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "ipc/error.h"

namespace baton::daemon {
namespace {

constexpr std::string_view kPrefix = "generation-";

// 0: no generation's file.
std::uint64_t numberOf(std::string_view name) {
  if (!name.starts_with(kPrefix)) return 0;
  name.remove_prefix(kPrefix.size());
  std::uint64_t number = 0;
  const auto [end, error] = std::from_chars(name.data(), name.data() + name.size(), number);
  return error == std::errc() && end == name.data() + name.size() ? number : 0;
}

// Removes the file if nobody holds it. The lock is kept until it is gone, so that nobody can take it between.
bool removeIfFree(const std::string& path) {
  const shm::Fd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW));
  if (!file) return errno == ENOENT;
  if (::flock(file.get(), LOCK_EX | LOCK_NB) < 0) return false;
  ::unlink(path.c_str());
  return true;
}

// As /proc/locks has it: "MAJOR:MINOR:INODE", hexadecimal but for the inode.
std::string lockKey(const struct stat& status) {
  char text[64];
  std::snprintf(text, sizeof(text), "%02x:%02x:%llu", major(status.st_dev), minor(status.st_dev),
                static_cast<unsigned long long>(status.st_ino));
  return text;
}

}  // namespace

Generations::Generations(std::string stateDirectory) : directory_(std::move(stateDirectory)) {}

Generations::~Generations() {
  file_.reset();
  if (!path_.empty()) removeIfFree(path_);
}

void Generations::begin() {
  if (number_ != 0) return;
  IdCounter counter(directory_, "generations");
  const std::uint64_t number = counter.take();
  counter.close();
  path_ = directory_ + "/" + std::string(kPrefix) + std::to_string(number);
  file_ = shm::Fd(::open(path_.c_str(), O_RDONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0644));
  if (!file_) throwErrno("cannot make " + path_);
  number_ = number;
  held_ = olderFiles();
  older();
}

std::vector<std::string> Generations::olderFiles() const {
  std::vector<std::string> paths;
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator(directory_, error)) {
    const std::uint64_t number = numberOf(entry.path().filename().string());
    if (number != 0 && number != number_) paths.push_back(entry.path().string());
  }
  return paths;
}

bool Generations::older() {
  std::erase_if(held_, removeIfFree);
  return held_.empty();
}

void Generations::forgetOlder() {
  for (const std::string& path : held_) ::unlink(path.c_str());
  held_.clear();
}

std::vector<std::int32_t> Generations::holders() const {
  std::vector<std::string> keys;
  for (const std::string& path : held_) {
    struct stat status {};
    if (::stat(path.c_str(), &status) == 0) keys.push_back(lockKey(status));
  }
  std::vector<std::int32_t> pids;
  std::ifstream locks("/proc/locks");
  for (std::string line; std::getline(locks, line);) {
    // 1: FLOCK  ADVISORY  READ 4711 08:01:1234 0 EOF
    std::istringstream words(line);
    std::string number;
    std::string kind;
    std::string advisory;
    std::string mode;
    std::int32_t pid = 0;
    std::string key;
    if (!(words >> number >> kind >> advisory >> mode >> pid >> key) || kind != "FLOCK") continue;
    if (std::find(keys.begin(), keys.end(), key) != keys.end()) pids.push_back(pid);
  }
  return pids;
}

}  // namespace baton::daemon
