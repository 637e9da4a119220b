// Real cgroups for tests, where this machine lets us make them.
#pragma once

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <chrono>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>
#include <thread>

#include "ipc/cgroup.h"

namespace baton::test {

// Where a hierarchy is mounted: cgroup2, or the v1 one with `controller`. Empty: nowhere.
inline std::string cgroupMountPoint(const std::string& type, const std::string& controller = "") {
  std::ifstream mounts("/proc/self/mounts");
  for (std::string line; std::getline(mounts, line);) {
    std::istringstream words(line);
    std::string device;
    std::string point;
    std::string kind;
    std::string options;
    words >> device >> point >> kind >> options;
    if (kind == type &&
        (controller.empty() || ("," + options + ",").find("," + controller + ",") != std::string::npos)) {
      return point;
    }
  }
  return {};
}

// One of its own in `parent`. At its end nothing may be in it: it is removed.
class CgroupDirectory {
 public:
  explicit CgroupDirectory(const std::string& parent) {
    static int count = 0;
    path_ = parent + "/baton-test-" + std::to_string(::getpid()) + "-" + std::to_string(++count);
    std::error_code error;
    made_ = !parent.empty() && std::filesystem::create_directory(path_, error);
  }
  ~CgroupDirectory() {
    if (!made_) return;
    // A process that has just been waited for may be in it for a moment yet.
    for (int i = 0; i < 1000 && ::rmdir(path_.c_str()) < 0; ++i) {
      std::this_thread::sleep_for(std::chrono::milliseconds(2));
    }
    EXPECT_EQ(::access(path_.c_str(), F_OK), -1) << "something is left in " << path_;
    ipc::endCgroup(path_, std::chrono::seconds(10));
  }
  CgroupDirectory(const CgroupDirectory&) = delete;
  CgroupDirectory& operator=(const CgroupDirectory&) = delete;
  explicit operator bool() const { return made_; }
  const std::string& path() const { return path_; }
  bool has(const char* file) const { return ::access((path_ + "/" + file).c_str(), F_OK) == 0; }
  // False: it is not to be had here.
  bool enable(const std::string& controller) const {
    return static_cast<bool>(std::ofstream(path_ + "/cgroup.subtree_control")
                             << "+" << controller << std::flush);
  }

 private:
  std::string path_;
  bool made_ = false;
};

inline constexpr const char* kNoCgroup = "needs the right to make cgroups (v2) here";

// 0: there is no such file or directory.
inline ino_t inodeOf(const std::string& path) {
  struct stat status {};
  return ::stat(path.c_str(), &status) == 0 ? status.st_ino : 0;
}

}  // namespace baton::test
