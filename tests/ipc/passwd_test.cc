#include "ipc/passwd.h"

#include <gtest/gtest.h>
#include <pwd.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>

namespace baton::ipc {
namespace {

namespace fs = std::filesystem;

class PasswdTest : public ::testing::Test {
 protected:
  PasswdTest() {
    std::string path = ::testing::TempDir() + "passwdXXXXXX";
    root_ = mkdtemp(path.data());
    std::ofstream(root_ / "passwd") << "root:x:0:0:root:/root:/bin/sh\n"
                                       "broken line\n"
                                       "anna:x:70001:70001:,,,:/home/anna:/bin/sh\n";
  }
  ~PasswdTest() override { fs::remove_all(root_); }

  std::string home(uid_t uid) const { return passwdHome(uid, (root_ / "passwd").c_str()); }
  // Stands in for the system's `getent`, which asks LDAP and its kind.
  void setGetent(const std::string& script) {
    std::ofstream(root_ / "getent") << "#!/bin/sh\n" << script;
    fs::permissions(root_ / "getent", fs::perms::owner_all);
    ::setenv("PATH", (root_.string() + ":/usr/bin:/bin").c_str(), 1);
  }

  fs::path root_;
};

TEST_F(PasswdTest, isReadFromTheFile) {
  setGetent("echo wrong:x:70001:1::/wrong:/bin/sh\n");
  EXPECT_EQ(home(0), "/root");
  EXPECT_EQ(home(70001), "/home/anna");
}

TEST_F(PasswdTest, whoIsNotInTheFileIsAskedFor) {
  setGetent("[ \"$1 $2\" = 'passwd 70002' ] && echo bert:x:70002:1::/net/bert:/bin/sh\n");
  EXPECT_EQ(home(70002), "/net/bert");
}

TEST_F(PasswdTest, nobodyKnowsIt) {
  setGetent("exit 2\n");
  EXPECT_EQ(home(70003), "");
  setGetent("echo other:x:4:1::/other:/bin/sh\n");
  EXPECT_EQ(home(70003), "");
  ::setenv("PATH", root_.c_str(), 1);
  fs::remove(root_ / "getent");
  EXPECT_EQ(home(70003), "");
}

TEST(Passwd, saysWhatTheLibrarySays) {
  const passwd* entry = ::getpwuid(::getuid());
  ASSERT_NE(entry, nullptr);
  EXPECT_EQ(passwdHome(::getuid()), entry->pw_dir);
}

}  // namespace
}  // namespace baton::ipc
