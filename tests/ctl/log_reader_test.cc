#include "ctl/log_reader.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>
#include <deque>
#include <filesystem>
#include <thread>

#include "ipc/connection.h"
#include "ipc/error.h"

namespace baton::ctl {
namespace {

constexpr std::uint64_t kGrowing = ~std::uint64_t{0};

// A file of records, as a worker writes it.
class LogFile {
 public:
  LogFile() : fd_(::memfd_create("log", MFD_CLOEXEC)) {}
  void write(std::string_view text, std::uint8_t stream = 1) {
    const auto header = ipc::encodeLogHeader({stream, static_cast<std::uint32_t>(text.size()), 1});
    std::string record(reinterpret_cast<const char*>(header.data()), header.size());
    record += text;
    ASSERT_EQ(::write(fd_.get(), record.data(), record.size()), static_cast<ssize_t>(record.size()));
    size_ += record.size();
  }
  void punch(std::uint64_t bytes) {
    ASSERT_EQ(
        ::fallocate(fd_.get(), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, static_cast<off_t>(bytes)), 0);
  }
  std::uint64_t size() const { return size_; }
  // A description of its own, as the daemon's open gives.
  shm::Fd open() const {
    return shm::Fd(::open(("/proc/self/fd/" + std::to_string(fd_.get())).c_str(), O_RDONLY | O_CLOEXEC));
  }

 private:
  shm::Fd fd_;
  std::uint64_t size_ = 0;
};

struct Part {
  const LogFile& file;
  std::uint64_t offset = 0;
  std::uint64_t length = kGrowing;
};
// An answer to `logs`; `before` happens just before it is given.
struct Answer {
  std::vector<Part> parts;
  bool running = false;
  std::uint64_t dropped = 0;
  const char* note = "";
  std::function<void()> before = {};
};

// Gives hello and then one answer to each `logs`, in order; the last one again and again.
class FakeDaemon {
 public:
  explicit FakeDaemon(std::deque<Answer> answers) : answers_(std::move(answers)) {
    path_ = std::filesystem::temp_directory_path() / ("baton-log-" + std::to_string(::getpid()));
    ::unlink(path_.c_str());
    listener_ = shm::Fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::strncpy(address.sun_path, path_.c_str(), sizeof(address.sun_path) - 1);
    EXPECT_EQ(::bind(listener_.get(), reinterpret_cast<sockaddr*>(&address), sizeof(address)), 0);
    EXPECT_EQ(::listen(listener_.get(), 1), 0);
    ::setenv("BATON_SOCKET", path_.c_str(), 1);
    thread_ = std::thread([this] { serve(); });
  }
  ~FakeDaemon() {
    ::shutdown(listener_.get(), SHUT_RDWR);
    thread_.join();
    ::unlink(path_.c_str());
    ::unsetenv("BATON_SOCKET");
  }

 private:
  void serve() {
    ipc::Connection connection(shm::Fd(::accept(listener_.get(), nullptr, nullptr)));
    while (true) {
      pollfd wait{connection.fd(), POLLIN, 0};
      ::poll(&wait, 1, -1);
      const auto input = connection.receive();
      while (const auto frame = connection.next()) reply(connection, frame->get());
      if (input == ipc::Connection::Input::closed) return;
    }
  }
  void reply(ipc::Connection& connection, ipc::wire::Frame::Reader request) {
    ipc::Message message;
    message.frame().setId(request.getId());
    if (request.isHello()) {
      message.frame().initHelloReply();
    } else {
      const Answer& answer = answers_.front();
      if (answer.before) answer.before();
      auto files = message.frame().initLogFiles();
      files.setRunning(answer.running);
      files.setDroppedBytes(answer.dropped);
      files.setNote(answer.note);
      auto parts = files.initParts(static_cast<unsigned>(answer.parts.size()));
      for (unsigned i = 0; i < parts.size(); ++i) {
        parts[i].setOffset(answer.parts[i].offset);
        parts[i].setLength(answer.parts[i].length);
        message.attach(answer.parts[i].file.open());
      }
      if (answers_.size() > 1) answers_.pop_front();
    }
    connection.send(message);
    connection.flush();
  }

  std::deque<Answer> answers_;
  std::string path_;
  shm::Fd listener_;
  std::thread thread_;
};

class LogReading : public ::testing::Test {
 protected:
  void connect(std::deque<Answer> answers) {
    daemon_.emplace(std::move(answers));
    client_.emplace(ipc::ClientOptions{});
    reader_.emplace(*client_, TaskRef{12, 0});
  }
  void TearDown() override {
    reader_.reset();
    client_.reset();
    daemon_.reset();
  }
  // All that is there, with <N> for a gap of N bytes.
  std::string read() {
    std::string text;
    reader_->read({[&text](const ipc::LogRecord& record) { text += record.bytes; },
                   [&text](std::uint64_t bytes) { text += "<" + std::to_string(bytes) + ">"; }});
    return text;
  }

  LogFile segment_;
  LogFile overflow_;
  std::optional<FakeDaemon> daemon_;
  std::optional<ipc::Client> client_;
  std::optional<LogReader> reader_;
};

TEST_F(LogReading, TakesTheTasksRangeOfAFileThatOthersShare) {
  segment_.write("before");
  const std::uint64_t begin = segment_.size();
  segment_.write("mine");
  const std::uint64_t end = segment_.size();
  segment_.write("after");
  connect({{.parts = {{segment_, begin, end - begin}}}});
  EXPECT_EQ(read(), "mine");
  EXPECT_EQ(read(), "");
  EXPECT_FALSE(reader_->growing());
  reader_->rewind();
  EXPECT_EQ(read(), "mine");
}

TEST_F(LogReading, GoesOnAsTheFileGrows) {
  segment_.write("a");
  connect({{.parts = {{segment_}}, .running = true}});
  EXPECT_EQ(read(), "a");
  EXPECT_TRUE(reader_->growing());
  segment_.write("b");
  EXPECT_EQ(read(), "b");
}

TEST_F(LogReading, GivesOutNothingOfTheNextTask) {
  segment_.write("mine");
  const std::uint64_t end = segment_.size();
  const auto nextTaskWrites = [this] { segment_.write("not mine"); };
  // Still running as far as the reader has been told when it reads; then the daemon knows better.
  connect({{.parts = {{segment_}}, .running = true},
           {.parts = {{segment_}}, .running = true, .before = nextTaskWrites},
           {.parts = {{segment_, 0, end}}}});
  EXPECT_EQ(read(), "mine");
  EXPECT_EQ(read(), "");
}

TEST_F(LogReading, GivesOutNothingOfTheNextTaskWhenTheOwnWroteNothing) {
  const auto nextTaskWrites = [this] { segment_.write("not mine"); };
  connect({{.parts = {{segment_}}, .running = true},
           {.parts = {{segment_}}, .running = true, .before = nextTaskWrites},
           {}});
  EXPECT_EQ(read(), "");
  EXPECT_EQ(reader_->fd(), -1);
}

TEST_F(LogReading, GoesOnInTheFileOfItsOwn) {
  segment_.write("first");
  overflow_.write("second");
  connect({{.parts = {{segment_}}, .running = true},
           {.parts = {{segment_}}, .running = true},
           {.parts = {{segment_}}, .running = true},
           {.parts = {{segment_, 0, segment_.size()}, {overflow_}}, .running = true}});
  EXPECT_EQ(read(), "first");
  EXPECT_EQ(read(), "second");
  overflow_.write("third");
  EXPECT_EQ(read(), "third");
}

TEST_F(LogReading, TellsWhereOutputIsMissing) {
  segment_.write("first");
  overflow_.write("dropped");
  const std::uint64_t kept = overflow_.size();
  overflow_.write("last");
  overflow_.punch(kept);
  connect({{.parts = {{segment_, 0, segment_.size()}, {overflow_, kept, overflow_.size() - kept}},
            .dropped = 7}});
  EXPECT_EQ(read(), "first<7>last");
}

TEST_F(LogReading, TellsThatTheEndIsMissing) {
  segment_.write("first");
  connect({{.parts = {{segment_, 0, segment_.size()}}, .dropped = 99, .note = "the disk is full"}});
  EXPECT_EQ(read(), "first<99>");
  EXPECT_EQ(reader_->note(), "the disk is full");
}

TEST_F(LogReading, GivesOutNothingThatWasPunchedOutWhileItRead) {
  overflow_.write("one");
  const std::uint64_t second = overflow_.size();
  overflow_.write("two");
  const auto writerDropsTheFront = [this, second] { overflow_.punch(second); };
  connect({{.parts = {{overflow_}}, .running = true},
           {.parts = {{overflow_}}, .running = true},
           {.parts = {{overflow_, second}}, .running = true, .before = writerDropsTheFront},
           {.parts = {{overflow_, second}}, .running = true}});
  EXPECT_EQ(read(), "<" + std::to_string(second) + ">two");
}

TEST_F(LogReading, ReadsOneAttemptAfterTheOther) {
  segment_.write("first try");
  const std::uint64_t second = segment_.size();
  connect({{.parts = {{segment_}}, .running = true},
           {.parts = {{segment_}}, .running = true},
           {.parts = {{segment_}}, .running = true},
           {.parts = {{segment_, 0, second}, {segment_, second}}, .running = true}});
  EXPECT_EQ(read(), "first try");
  segment_.write("second try");
  EXPECT_EQ(read(), "second try");
}

TEST_F(LogReading, GoesOnWithTheNextAttemptWhenTheOneBeforeWroteNothing) {
  segment_.write("of another");
  const std::uint64_t begin = segment_.size();
  connect({{.parts = {{segment_, begin}}, .running = true},
           {.parts = {{segment_, begin}}, .running = true},
           {.parts = {{overflow_}}, .running = true}});
  EXPECT_EQ(read(), "");
  overflow_.write("second try");
  EXPECT_EQ(read(), "second try");
}

TEST_F(LogReading, OfATaskThatHasNotStartedIsEmpty) {
  connect({{}, {}, {.parts = {{segment_}}, .running = true}});
  EXPECT_EQ(read(), "");
  EXPECT_EQ(reader_->fd(), -1);
  segment_.write("begin");
  EXPECT_EQ(read(), "begin");
}

}  // namespace
}  // namespace baton::ctl
