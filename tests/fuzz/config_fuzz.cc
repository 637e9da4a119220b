// The configuration: any file is taken as a whole, or refused in one line.
#include <sys/mman.h>
#include <unistd.h>

#include <cstdlib>
#include <string>

#include "daemon/config.h"
#include "ipc/error.h"
#include "shm/fd.h"
#include "tests/fuzz/target.h"

using namespace baton;

void fuzzOne(std::span<const std::uint8_t> input) {
  const shm::Fd file(::memfd_create("config", MFD_CLOEXEC));
  if (!file || ::write(file.get(), input.data(), input.size()) != static_cast<ssize_t>(input.size()))
    std::abort();
  const std::string path = "/proc/self/fd/" + std::to_string(file.get());
  try {
    const auto loaded = daemon::LoadedConfig::load(path, "/nonexistent");
    for (const auto& line : loaded.lines()) {
      if (line.key.empty() || line.value.find('\n') != std::string::npos) std::abort();
    }
    for (const auto& line : daemon::diffConfig({}, loaded.values())) {
      if (line.empty()) std::abort();
    }
  } catch (const Error& error) {
    const std::string text = error.what();
    if (text.empty() || text.find('\n') != std::string::npos) std::abort();
  }
}
