#include "ipc/locate.h"

#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <map>

#include "ipc/error.h"

namespace baton::ipc {
namespace {

namespace fs = std::filesystem;

class Locate : public testing::Test {
 protected:
  Locate() {
    for (const char* name : {"BATON_SOCKET", "BATON_STATE_DIR", "XDG_RUNTIME_DIR"}) {
      const char* value = std::getenv(name);
      before_[name] = value == nullptr ? std::nullopt : std::optional<std::string>(value);
      ::unsetenv(name);
    }
    char path[] = "/tmp/baton-locate-XXXXXX";
    directory = ::mkdtemp(path);
  }
  ~Locate() override {
    for (const auto& [name, value] : before_) {
      value ? ::setenv(name.c_str(), value->c_str(), 1) : ::unsetenv(name.c_str());
    }
    fs::remove_all(directory);
  }
  std::string path(const std::string& name) const { return directory + "/" + name; }

  // A socket that listens at `name`.
  shm::Fd listenAt(const std::string& name) const {
    shm::Fd socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::strncpy(address.sun_path, path(name).c_str(), sizeof(address.sun_path) - 1);
    EXPECT_EQ(::bind(socket.get(), reinterpret_cast<sockaddr*>(&address), sizeof(address)), 0);
    EXPECT_EQ(::listen(socket.get(), 8), 0);
    return socket;
  }
  template <typename Call>
  static Code codeOf(Call call) {
    try {
      call();
    } catch (const Error& error) {
      EXPECT_EQ(std::string(error.what()).find('\n'), std::string::npos);
      return error.code();
    }
    return Code::ok;
  }

  std::string directory;

 private:
  std::map<std::string, std::optional<std::string>> before_;
};

TEST_F(Locate, runtimeDirectoryIsTheUsersOwn) {
  ::setenv("XDG_RUNTIME_DIR", directory.c_str(), 1);
  EXPECT_EQ(runtimeBase(), directory + "/baton");
  for (const std::string& bad : {std::string("relative"), path("absent"), std::string()}) {
    ::setenv("XDG_RUNTIME_DIR", bad.c_str(), 1);
    EXPECT_NE(runtimeBase(), bad + "/baton") << bad;
  }
  const std::string link = path("link");
  fs::create_directory_symlink(directory, link);
  ::setenv("XDG_RUNTIME_DIR", link.c_str(), 1);
  EXPECT_NE(runtimeBase(), link + "/baton") << "no symlink is followed";
}

TEST_F(Locate, runtimeDirectoryOfSomebodyElseIsNotUsed) {
  if (::getuid() != 0) GTEST_SKIP() << "needs root";
  ASSERT_EQ(::chown(directory.c_str(), 1, 1), 0);
  ::setenv("XDG_RUNTIME_DIR", directory.c_str(), 1);
  EXPECT_NE(runtimeBase(), directory + "/baton");
}

TEST_F(Locate, aDaemonApartHasAllItsPlacesApart) {
  ::setenv("XDG_RUNTIME_DIR", directory.c_str(), 1);
  const Places usual = userPlaces();
  EXPECT_EQ(usual.socketPath, directory + "/baton/control.sock");
  ::setenv("BATON_STATE_DIR", path("apart").c_str(), 1);
  const Places apart = userPlaces();
  EXPECT_EQ(apart.stateDirectory, path("apart"));
  EXPECT_NE(apart.socketPath, usual.socketPath);
  EXPECT_FALSE(fs::exists(path("apart"))) << "asking creates nothing";
}

TEST_F(Locate, privateDirectoriesAreMadePrivate) {
  const mode_t before = ::umask(0);
  ensurePrivateDirectory(path("a/b/c"));
  ::umask(before);
  for (const char* name : {"a", "a/b", "a/b/c"}) {
    struct stat status {};
    ASSERT_EQ(::stat(path(name).c_str(), &status), 0);
    EXPECT_EQ(status.st_mode & 0777U, 0700U) << name;
  }
  EXPECT_NO_THROW(ensurePrivateDirectory(path("a/b/c"))) << "again";
}

TEST_F(Locate, unsafeDirectoriesAreRefused) {
  fs::create_directory(path("open"));
  fs::permissions(path("open"), fs::perms::others_write, fs::perm_options::add);
  fs::create_directory(path("mine"));
  fs::create_directory_symlink(path("mine"), path("link"));
  std::ofstream(path("file")) << "text";
  for (const char* name : {"open", "link", "file", "file/below"}) {
    EXPECT_EQ(codeOf([&] { ensurePrivateDirectory(path(name)); }), Code::refused) << name;
  }
  if (::getuid() != 0) return;
  fs::create_directory(path("theirs"));
  ASSERT_EQ(::chown(path("theirs").c_str(), 1, 1), 0);
  EXPECT_EQ(codeOf([&] { ensurePrivateDirectory(path("theirs")); }), Code::refused);
}

TEST_F(Locate, nobodyListens) {
  std::ofstream(path("file")) << "text";
  { const shm::Fd gone = listenAt("dead"); }
  for (const char* name : {"absent", "file", "dead", "file/below", "no/such/directory"}) {
    EXPECT_FALSE(connectUnix(path(name)).has_value()) << name;
    ::setenv("BATON_SOCKET", path(name).c_str(), 1);
    EXPECT_EQ(codeOf([&] { tryConnect(Which::any); }), Code::noDaemon) << name;
    EXPECT_EQ(codeOf([&] { connectOrStart(Which::any); }), Code::noDaemon)
        << "a named daemon is never started";
  }
}

TEST_F(Locate, connectsToTheSocketThatIsNamed) {
  const shm::Fd listener = listenAt("socket");
  ::setenv("BATON_SOCKET", path("socket").c_str(), 1);
  EXPECT_TRUE(tryConnect(Which::any).has_value());
  ::setenv("BATON_STATE_DIR", path("apart").c_str(), 1);
  EXPECT_FALSE(tryConnect(Which::user).has_value()) << "--user asks for the user's own";
}

TEST_F(Locate, clientsLookFirstWhereTheDaemonSaysItIs) {
  ::setenv("BATON_STATE_DIR", path("state").c_str(), 1);
  fs::create_directory(path("state"));
  EXPECT_FALSE(tryConnect(Which::user).has_value());
  const shm::Fd listener = listenAt("elsewhere");
  std::ofstream(path("state/socket")) << path("elsewhere") << "\n";
  EXPECT_TRUE(tryConnect(Which::user).has_value());
  std::ofstream(path("state/socket")) << "";
  EXPECT_FALSE(tryConnect(Which::user).has_value());
}

TEST_F(Locate, aSocketOfAnotherKindIsAnError) {
  const shm::Fd socket(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::strncpy(address.sun_path, path("datagram").c_str(), sizeof(address.sun_path) - 1);
  ASSERT_EQ(::bind(socket.get(), reinterpret_cast<sockaddr*>(&address), sizeof(address)), 0);
  EXPECT_EQ(codeOf([&] { connectUnix(path("datagram")); }), Code::refused);
}

TEST_F(Locate, pathsMayBeLongerThanASocketsName) {
  std::string deep = directory;
  for (int i = 0; i < 4; ++i) deep += "/" + std::string(60, 'd');
  fs::create_directories(deep);
  EXPECT_FALSE(connectUnix(deep + "/socket").has_value());
  const auto cwd = fs::current_path();
  fs::current_path(deep);
  const shm::Fd socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::strncpy(address.sun_path, "socket", sizeof(address.sun_path) - 1);
  const int bound = ::bind(socket.get(), reinterpret_cast<sockaddr*>(&address), sizeof(address));
  fs::current_path(cwd);
  ASSERT_EQ(bound, 0);
  ASSERT_EQ(::listen(socket.get(), 1), 0);
  EXPECT_TRUE(connectUnix(deep + "/socket").has_value());
  EXPECT_FALSE(connectUnix(deep + "/" + std::string(200, 's')).has_value());
}

}  // namespace
}  // namespace baton::ipc
