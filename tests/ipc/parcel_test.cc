#include "ipc/parcel.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include <cstring>
#include <string>
#include <vector>

#include "ipc/error.h"

namespace baton::ipc {
namespace {

class Parcel : public testing::Test {
 protected:
  Parcel() {
    auto ends = makeParcel();
    client = std::move(ends.first);
    worker = std::move(ends.second);
    for (auto& fd : files) fd = shm::Fd(::open("/dev", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600));
    for (auto& fd : files) {
      if (!fd) fd = shm::Fd(::open("/tmp", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600));
    }
  }
  std::array<int, 3> numbers() const { return {files[0].get(), files[1].get(), files[2].get()}; }

  // A datagram with copies of `fds`, as a hostile client may send it.
  void sendRaw(const std::string& bytes, const std::vector<int>& fds) const {
    iovec part{const_cast<char*>(bytes.data()), bytes.size()};
    msghdr header{};
    header.msg_iov = &part;
    header.msg_iovlen = 1;
    alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int) * 16)] = {};
    if (!fds.empty()) {
      header.msg_control = control;
      header.msg_controllen = CMSG_SPACE(sizeof(int) * fds.size());
      cmsghdr* rights = CMSG_FIRSTHDR(&header);
      rights->cmsg_level = SOL_SOCKET;
      rights->cmsg_type = SCM_RIGHTS;
      rights->cmsg_len = CMSG_LEN(sizeof(int) * fds.size());
      std::memcpy(CMSG_DATA(rights), fds.data(), sizeof(int) * fds.size());
    }
    ASSERT_EQ(::sendmsg(client.get(), &header, MSG_NOSIGNAL), static_cast<ssize_t>(bytes.size()));
  }
  template <typename Receive>
  static Code codeOf(Receive receive) {
    try {
      receive();
    } catch (const Error& error) {
      return error.code();
    }
    return Code::ok;
  }
  Code codeOfStandardFds() const {
    return codeOf([&] { tryReceiveStandardFds(worker.get()); });
  }

  shm::Fd client;
  shm::Fd worker;
  std::array<shm::Fd, 3> files;
};

ino_t inodeOf(const shm::Fd& fd) {
  struct stat status {};
  EXPECT_EQ(::fstat(fd.get(), &status), 0);
  return status.st_ino;
}

TEST_F(Parcel, carriesTheStandardDescriptors) {
  for (std::uint8_t terminals = 0; terminals < 8; ++terminals) {
    sendStandardFds(client.get(), numbers(), terminals);
    const StandardFds got = receiveStandardFds(worker.get(), 1000);
    EXPECT_EQ(got.terminals, terminals);
    for (std::size_t i = 0; i < 3; ++i) {
      const bool terminal = (terminals >> i & 1) != 0;
      ASSERT_EQ(static_cast<bool>(got.fds[i]), !terminal) << int{terminals};
      if (terminal) continue;
      EXPECT_EQ(inodeOf(got.fds[i]), inodeOf(files[i]));
      EXPECT_NE(::fcntl(got.fds[i].get(), F_GETFD) & FD_CLOEXEC, 0);
    }
  }
}

TEST_F(Parcel, sendsThemInOneMessage) {
  sendStandardFds(client.get(), numbers(), 0);
  client.reset();
  EXPECT_EQ(receiveStandardFds(worker.get(), 1000).terminals, 0);
}

TEST_F(Parcel, doesNotWaitForEver) {
  EXPECT_FALSE(tryReceiveStandardFds(worker.get()).has_value());
  EXPECT_EQ(codeOf([&] { receiveStandardFds(worker.get(), 10); }), Code::timedOut);
}

TEST_F(Parcel, endsWithItsOtherEnd) {
  client.reset();
  EXPECT_EQ(codeOfStandardFds(), Code::disconnected);
  EXPECT_EQ(codeOf([&] { tryReceiveGo(worker.get()); }), Code::disconnected);
  EXPECT_EQ(codeOf([&] { tryReceiveTerminalMaster(worker.get()); }), Code::disconnected);
  EXPECT_THROW(sendGo(worker.get()), Error);
}

TEST_F(Parcel, refusesWhatNoHonestClientSends) {
  const int file = files[0].get();
  const std::vector<std::pair<std::string, std::vector<int>>> hostile{
      {"G", {}},                                              // not yet
      {"F", {}},                                              // too short
      {std::string("F\0\1", 3), {file, file}},                // too short
      {std::string("F\0\1\2\3", 5), {file, file, file}},      // too long
      {std::string("F\0\1\2 and so on", 14), {file}},         // longer than any
      {std::string("F\0\1\2", 4), {}},                        // none of them there
      {std::string("F\0\1\2", 4), {file, file}},              // one missing
      {std::string("F\0\1\3", 4), {file, file, file}},        // one that is not there
      {std::string("F\0\0\0", 4), {file}},                    // one for three
      {std::string("F\0\1\2", 4), {file, file, file, file}},  // one too many
      {std::string("X\0\1\2", 4), {file, file, file}},
  };
  for (std::size_t i = 0; i < hostile.size(); ++i) {
    sendRaw(hostile[i].first, hostile[i].second);
    EXPECT_EQ(codeOfStandardFds(), Code::protocol) << i;
  }
  sendStandardFds(client.get(), numbers(), 0);
  EXPECT_EQ(codeOfStandardFds(), Code::ok) << "each is a message of its own";
}

TEST_F(Parcel, carriesTheTerminalBack) {
  EXPECT_FALSE(tryReceiveTerminalMaster(client.get()).has_value());
  sendTerminalMaster(worker.get(), files[1].get());
  const auto master = tryReceiveTerminalMaster(client.get());
  ASSERT_TRUE(master.has_value());
  EXPECT_EQ(inodeOf(*master), inodeOf(files[1]));
}

TEST_F(Parcel, refusesSomethingElseThanATerminal) {
  for (const auto& [bytes, count] : {std::pair{"T", 0}, {"T", 2}, {"TT", 1}, {"G", 1}}) {
    sendRaw(bytes, std::vector<int>(static_cast<std::size_t>(count), files[0].get()));
    EXPECT_EQ(codeOf([&] { tryReceiveTerminalMaster(worker.get()); }), Code::protocol) << bytes << count;
  }
}

TEST_F(Parcel, startsOnTheWord) {
  EXPECT_FALSE(tryReceiveGo(worker.get()));
  sendGo(client.get());
  EXPECT_TRUE(tryReceiveGo(worker.get()));
  for (const auto& [bytes, count] : {std::pair{"G", 1}, {"GG", 0}, {"F", 0}}) {
    sendRaw(bytes, std::vector<int>(static_cast<std::size_t>(count), files[0].get()));
    EXPECT_EQ(codeOf([&] { tryReceiveGo(worker.get()); }), Code::protocol) << bytes << count;
  }
}

}  // namespace
}  // namespace baton::ipc
