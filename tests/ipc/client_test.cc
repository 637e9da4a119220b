#include "ipc/client.h"

#include <gtest/gtest.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <functional>
#include <thread>

#include "ipc/error.h"

namespace baton::ipc {
namespace {

// The other side of one client, on a thread: a script of what it receives and sends.
class Peer {
 public:
  explicit Peer(Connection& connection) : connection_(connection) {}

  ReceivedFrame receive() {
    while (true) {
      if (auto frame = connection_.next()) return std::move(*frame);
      pollfd wait{connection_.fd(), POLLIN, 0};
      ::poll(&wait, 1, 5000);
      if (connection_.receive() == Connection::Input::closed)
        throw Error(Code::disconnected, "the client has gone");
    }
  }
  void send(Message& message) {
    connection_.send(message);
    connection_.flush();
  }
  void sendBytes(const std::string& bytes) const {
    EXPECT_EQ(::send(connection_.fd(), bytes.data(), bytes.size(), MSG_NOSIGNAL),
              static_cast<ssize_t>(bytes.size()));
  }
  // Takes the hello, and answers it.
  void greet() {
    const auto hello = receive();
    EXPECT_TRUE(hello.get().isHello());
    EXPECT_EQ(hello.get().getHello().getMajor(), wire::VERSION_MAJOR);
    Message message;
    message.frame().setId(hello.get().getId());
    auto reply = message.frame().initHelloReply();
    reply.setMajor(wire::VERSION_MAJOR);
    reply.setMaxFrameBytes(kMaxFrameBytes);
    reply.setVersion("9.9");
    send(message);
  }
  void error(std::uint64_t id, Code code, const char* text) {
    Message message;
    message.frame().setId(id);
    auto reply = message.frame().initError();
    reply.setCode(static_cast<std::uint16_t>(code));
    reply.setText(text);
    send(message);
  }
  void ok(std::uint64_t id) {
    Message message;
    message.frame().setId(id);
    message.frame().setOk();
    send(message);
  }
  void notice(std::uint64_t id, const char* text) {
    Message message;
    message.frame().setId(id);
    message.frame().setNotice(text);
    send(message);
  }

 private:
  Connection& connection_;
};

class ClientTest : public testing::Test {
 protected:
  ClientTest() {
    char path[] = "/tmp/baton-client-XXXXXX";
    directory_ = ::mkdtemp(path);
    listener_ = shm::Fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    const std::string name = directory_ + "/socket";
    std::strncpy(address.sun_path, name.c_str(), sizeof(address.sun_path) - 1);
    EXPECT_EQ(::bind(listener_.get(), reinterpret_cast<sockaddr*>(&address), sizeof(address)), 0);
    EXPECT_EQ(::listen(listener_.get(), 8), 0);
    ::setenv("BATON_SOCKET", name.c_str(), 1);
  }
  ~ClientTest() override {
    if (thread_.joinable()) thread_.join();
    ::unsetenv("BATON_SOCKET");
    std::filesystem::remove_all(directory_);
  }
  // The script runs once a client has connected; the connection closes behind it.
  void serve(std::function<void(Peer&)> script) {
    thread_ = std::thread([this, script = std::move(script)] {
      Connection connection(shm::Fd(::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC)));
      Peer peer(connection);
      try {
        script(peer);
      } catch (const Error&) {
      }
    });
  }
  template <typename Call>
  static Code codeOf(Call call) {
    try {
      call();
    } catch (const Error& error) {
      return error.code();
    }
    return Code::ok;
  }
  static Code codeOfHello() {
    return codeOf([] { const Client client(ClientOptions{}); });
  }

 private:
  std::string directory_;
  shm::Fd listener_;
  std::thread thread_;
};

TEST_F(ClientTest, saysHelloAndKnowsTheDaemon) {
  serve([](Peer& peer) { peer.greet(); });
  const Client client(ClientOptions{});
  EXPECT_STREQ(client.hello().getVersion().cStr(), "9.9");
}

TEST_F(ClientTest, tellsWhatTheDaemonSaysToTheHello) {
  serve(
      [](Peer& peer) { peer.error(peer.receive().get().getId(), Code::version, "this daemon speaks 7.0"); });
  EXPECT_EQ(codeOfHello(), Code::version);
}

TEST_F(ClientTest, tellsARefusalThatCameBeforeTheHello) {
  serve([](Peer& peer) { peer.error(0, Code::quota, "too many connections"); });
  EXPECT_EQ(codeOfHello(), Code::quota);
}

TEST_F(ClientTest, aDaemonThatEndsAtOnceIsDisconnected) {
  serve([](Peer&) {});
  EXPECT_EQ(codeOfHello(), Code::disconnected);
}

TEST_F(ClientTest, whatIsNoDaemonIsAProtocolError) {
  serve([](Peer& peer) { peer.sendBytes("220 smtp.example.org ESMTP\r\n"); });
  EXPECT_EQ(codeOfHello(), Code::protocol);
}

TEST_F(ClientTest, anotherAnswerThanToTheHelloIsAProtocolError) {
  serve([](Peer& peer) { peer.ok(peer.receive().get().getId()); });
  EXPECT_EQ(codeOfHello(), Code::protocol);
}

TEST_F(ClientTest, aCallTellsEventsAndReturnsItsReply) {
  serve([](Peer& peer) {
    peer.greet();
    const auto request = peer.receive();
    const std::uint64_t id = request.get().getId();
    EXPECT_TRUE(request.get().isPing());
    peer.notice(0, "for everybody");
    Message accepted;
    accepted.frame().setId(id);
    accepted.frame().setAccepted(12);
    peer.send(accepted);
    peer.ok(id + 100);
    peer.ok(id);
  });
  Client client(ClientOptions{});
  Message request;
  request.frame().setPing();
  std::vector<int> events;
  const auto reply =
      client.call(request, [&](wire::Frame::Reader frame) { events.push_back(frame.which()); });
  EXPECT_TRUE(reply.get().isOk());
  EXPECT_EQ(events, (std::vector<int>{wire::Frame::NOTICE, wire::Frame::ACCEPTED, wire::Frame::OK}));
}

TEST_F(ClientTest, anErrorReplyIsThrown) {
  serve([](Peer& peer) {
    peer.greet();
    peer.error(peer.receive().get().getId(), Code::unknownId, "no task 7");
    peer.receive();
  });
  Client client(ClientOptions{});
  Message request;
  request.frame().setPing();
  EXPECT_EQ(codeOf([&] { client.call(request); }), Code::unknownId);
}

TEST_F(ClientTest, theDaemonsEndInTheMiddleIsDisconnected) {
  serve([](Peer& peer) {
    peer.greet();
    peer.receive();
  });
  Client client(ClientOptions{});
  Message request;
  request.frame().setPing();
  EXPECT_EQ(codeOf([&] { client.call(request); }), Code::disconnected);
}

TEST_F(ClientTest, aReplyThatCameWithTheEndIsStillRead) {
  serve([](Peer& peer) {
    peer.greet();
    peer.ok(peer.receive().get().getId());
  });
  Client client(ClientOptions{});
  Message request;
  request.frame().setPing();
  EXPECT_EQ(codeOf([&] { client.call(request); }), Code::ok);
  EXPECT_EQ(codeOf([&] { client.receive(); }), Code::disconnected);
}

TEST_F(ClientTest, aTruncatedReplyIsDisconnected) {
  serve([](Peer& peer) {
    peer.greet();
    peer.receive();
    peer.sendBytes(std::string("\0\0\0\0\4\0\0\0rest", 12));
  });
  Client client(ClientOptions{});
  Message request;
  request.frame().setPing();
  EXPECT_EQ(codeOf([&] { client.call(request); }), Code::disconnected);
}

TEST_F(ClientTest, waitsNoLongerThanItIsTold) {
  serve([](Peer& peer) {
    peer.greet();
    peer.receive();
  });
  Client client(ClientOptions{});
  EXPECT_FALSE(client.receive(std::chrono::milliseconds(10)).has_value());
}

TEST_F(ClientTest, sendsTheFirstRequestWithTheHello) {
  serve([](Peer& peer) {
    const auto hello = peer.receive();
    const auto first = peer.receive();  // before the hello was answered
    EXPECT_TRUE(first.get().isPing());
    Message message;
    message.frame().setId(hello.get().getId());
    message.frame().initHelloReply().setMajor(wire::VERSION_MAJOR);
    peer.send(message);
    peer.ok(first.get().getId());
  });
  Message first;
  first.frame().setPing();
  Client client(*tryConnect(Which::any), "test", first);
  const auto reply = client.receive();
  ASSERT_TRUE(reply.has_value());
  EXPECT_EQ(reply->get().getId(), Client::kFirstRequest);
}

TEST_F(ClientTest, noFrameOfALargerDaemonIsTaken) {
  serve([](Peer& peer) {
    peer.greet();
    peer.receive();
    peer.sendBytes(std::string("\0\0\0\0\xff\xff\xff\x0f", 8));
  });
  Client client(ClientOptions{});
  Message request;
  request.frame().setPing();
  EXPECT_EQ(codeOf([&] { client.call(request); }), Code::tooLarge);
}

}  // namespace
}  // namespace baton::ipc
