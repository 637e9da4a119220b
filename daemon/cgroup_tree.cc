#include "daemon/cgroup_tree.h"

#include <fcntl.h>
#include <linux/magic.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <sstream>

#include "daemon/cgroup_mounts.h"
#include "ipc/cgroup.h"
#include "shm/fd.h"

namespace baton::daemon {
namespace {

constexpr std::string_view kPrefix = "baton-";
constexpr std::size_t kNameDigits = 16;
// KILL ends all but what hangs in the kernel, which no waiting helps.
constexpr std::chrono::milliseconds kPatience{2000};
// Whatever forks while it is moved is there in the next round.
constexpr int kMoveRounds = 16;

std::string pathOf(const std::string& base, const char* name) {
  return base + "/" + name;
}

shm::Fd openDirectory(const std::string& path) {
  return shm::Fd(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
}

std::string parentOf(const std::string& path) {
  return path.substr(0, path.rfind('/'));
}

// A name that no other daemon has, and that tells ours from all others.
std::string newName() {
  std::array<unsigned char, kNameDigits / 2> bytes{};
  if (::getrandom(bytes.data(), bytes.size(), 0) != static_cast<ssize_t>(bytes.size())) return {};
  std::string name(kPrefix);
  for (const unsigned char byte : bytes) {
    constexpr char kHex[] = "0123456789abcdef";
    name += kHex[byte >> 4];
    name += kHex[byte & 15];
  }
  return name;
}

// One that newName made, of a cgroup file system.
bool isOurs(const std::string& path) {
  const auto name = path.substr(path.rfind('/') + 1);
  if (path[0] != '/' || !name.starts_with(kPrefix) || name.size() != kPrefix.size() + kNameDigits)
    return false;
  const shm::Fd directory = openDirectory(path);
  struct statfs system {};
  return directory && ::fstatfs(directory.get(), &system) == 0 && system.f_type == CGROUP2_SUPER_MAGIC;
}

std::string recordOf(const std::string& stateDirectory) {
  return stateDirectory + "/cgroups";
}

// The directories that daemons of this state directory have made and not removed, one a line.
std::vector<std::string> readRecord(const std::string& stateDirectory) {
  std::vector<std::string> paths;
  std::istringstream lines(contentOf(recordOf(stateDirectory)).value_or(""));
  for (std::string line; std::getline(lines, line);) {
    if (isOurs(line)) paths.push_back(line);
  }
  return paths;
}

bool writeRecord(const std::string& stateDirectory, const std::vector<std::string>& paths) {
  const std::string path = recordOf(stateDirectory);
  if (paths.empty()) return ::unlink(path.c_str()) == 0 || errno == ENOENT;
  std::string text;
  for (const auto& each : paths) text += each + "\n";
  const std::string fresh = path + ".new";
  const shm::Fd file(::open(fresh.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600));
  return file && ::write(file.get(), text.data(), text.size()) == static_cast<ssize_t>(text.size()) &&
         ::rename(fresh.c_str(), path.c_str()) == 0;
}

std::vector<std::string> wordsOf(const std::string& path) {
  std::vector<std::string> words;
  std::istringstream text(contentOf(path).value_or(""));
  for (std::string word; text >> word;) words.push_back(word);
  return words;
}

bool moveTo(int directory, pid_t pid) {
  return ipc::writeCgroupFile(directory, "cgroup.procs", std::to_string(pid)) || errno == ESRCH;
}

void moveAll(int from, int to) {
  for (int round = 0; round < kMoveRounds; ++round) {
    const auto pids = ipc::cgroupProcesses(from);
    if (pids.empty()) return;
    for (const pid_t pid : pids) moveTo(to, pid);
  }
}

bool makeDirectory(const std::string& path) {
  return ::mkdir(path.c_str(), 0700) == 0;
}

}  // namespace

void killCgroupLanes(const std::string& base) {
  for (const char* lane : {"cpu", "io"}) {
    const shm::Fd directory = openDirectory(pathOf(base, lane));
    if (directory) ipc::killCgroup(directory.get());
  }
}

bool endCgroupTree(const std::string& base) {
  ipc::endCgroup(pathOf(base, "cpu"), kPatience);
  ipc::endCgroup(pathOf(base, "io"), kPatience);
  const shm::Fd own = openDirectory(base);
  const shm::Fd above = openDirectory(parentOf(base));
  const shm::Fd leaf = openDirectory(pathOf(base, "daemon"));
  if (own && above && leaf) {
    // In this order: a cgroup that hands on controllers takes no processes.
    for (const auto& controller : wordsOf(pathOf(base, "cgroup.subtree_control"))) {
      ipc::writeCgroupFile(own.get(), "cgroup.subtree_control", "-" + controller);
      ipc::writeCgroupFile(above.get(), "cgroup.subtree_control", "-" + controller);
    }
    moveAll(leaf.get(), above.get());
  }
  return ipc::removeCgroup(base);
}

CgroupTree::CgroupTree(const std::string& stateDirectory) : stateDirectory_(stateDirectory) {
  for (const auto& base : readRecord(stateDirectory_)) {
    if (!endCgroupTree(base)) old_.push_back(base);
  }
  writeRecord(stateDirectory_, old_);
}

CgroupTree::~CgroupTree() {
  remove();
}

bool CgroupTree::make(const std::string& delegated, int guard) {
  const std::string base = delegated + "/" + newName();
  auto recorded = old_;
  recorded.push_back(base);
  const shm::Fd above = openDirectory(delegated);
  if (!above || !writeRecord(stateDirectory_, recorded) || !makeDirectory(base) ||
      !makeDirectory(pathOf(base, "cpu")) || !makeDirectory(pathOf(base, "io"))) {
    notes_.push_back("no cgroups: cannot make " + base + ": " + std::strerror(errno));
    ipc::removeCgroup(base);
    writeRecord(stateDirectory_, old_);
    return false;
  }
  base_ = base;
  enableControllers(above.get(), guard);
  return true;
}

// Into a leaf, if nobody else is beside us.
bool CgroupTree::moveOurselves(int guard) {
  const shm::Fd above = openDirectory(parentOf(base_));
  const auto beside = ipc::cgroupProcesses(above.get());
  const auto isOther = [guard](pid_t pid) { return pid != ::getpid() && pid != guard; };
  if (std::any_of(beside.begin(), beside.end(), isOther)) {
    notes_.emplace_back("cgroups measure no memory and weigh no lane: other processes are in " +
                        parentOf(base_));
    return false;
  }
  const std::string path = pathOf(base_, "daemon");
  if (!makeDirectory(path)) return false;
  const shm::Fd leaf = openDirectory(path);
  return leaf && (guard == 0 || moveTo(leaf.get(), guard)) && moveTo(leaf.get(), ::getpid());
}

void CgroupTree::enableControllers(int delegated, int guard) {
  const auto available = wordsOf(pathOf(parentOf(base_), "cgroup.controllers"));
  const auto isAvailable = [&](const char* name) {
    return std::find(available.begin(), available.end(), name) != available.end();
  };
  if (!isAvailable("memory") && !isAvailable("cpu")) {
    notes_.emplace_back("cgroups measure no memory and weigh no lane: they have no controller for that here");
    return;
  }
  if (!moveOurselves(guard)) return;
  const shm::Fd base = openDirectory(base_);
  const shm::Fd cpu = openDirectory(pathOf(base_, "cpu"));
  const shm::Fd io = openDirectory(pathOf(base_, "io"));
  const auto enable = [](int directory, const char* what) {
    return ipc::writeCgroupFile(directory, "cgroup.subtree_control", what);
  };
  memory_ = isAvailable("memory") && enable(delegated, "+memory") && enable(base.get(), "+memory") &&
            enable(cpu.get(), "+memory") && enable(io.get(), "+memory");
  // Weighed are the lanes. In a lane the nice values of its tasks count, as they do without cgroups.
  weighs_ = isAvailable("cpu") && enable(delegated, "+cpu") && enable(base.get(), "+cpu") &&
            ipc::writeCgroupFile(io.get(), "cpu.weight", "10");  // of a lane's 100
  if (!memory_) notes_.emplace_back("cgroups measure no memory: its controller is not to be had");
  if (!weighs_) notes_.emplace_back("cgroups weigh no lane: the cpu controller is not to be had");
}

std::string CgroupTree::directoryOf(Lane lane, unsigned worker) const {
  if (base_.empty()) return {};
  return base_ + (lane == Lane::io ? "/io/w" : "/cpu/w") + std::to_string(worker);
}

void CgroupTree::remove() {
  if (base_.empty() && old_.empty()) return;
  std::erase_if(old_, endCgroupTree);
  if (!base_.empty() && !endCgroupTree(base_)) old_.push_back(base_);
  base_.clear();
  writeRecord(stateDirectory_, old_);
}

}  // namespace baton::daemon
