// Tasks with the client's descriptors, and with a pseudo-terminal of their own.
#include <gmock/gmock.h>
#include <sys/ioctl.h>
#include <termios.h>

#include "ipc/parcel.h"
#include "tests/daemon/worker_fixture.h"

namespace baton::worker::test {
namespace {

using testing::HasSubstr;

// The client's side of a task that runs on a terminal.
class Client {
 public:
  Client() {
    auto [mine, theirs] = ipc::makeParcel();
    parcel_ = std::move(mine);
    theirs_ = std::move(theirs);
  }

  TaskSpec task(std::vector<std::string> argv, bool foreground = true) {
    TaskSpec spec;
    spec.argv = std::move(argv);
    spec.output = OutputMode::PARCEL;
    spec.parcel = std::move(theirs_);
    spec.edit = [=](auto assign) { assign.getTerminal().setForeground(foreground); };
    return spec;
  }
  void sendFds(const std::array<int, 3>& fds, std::uint8_t terminals) {
    ipc::sendStandardFds(parcel_.get(), fds, terminals);
  }
  void takeMaster() {
    EXPECT_TRUE(eventually([&] {
      auto master = ipc::tryReceiveTerminalMaster(parcel_.get());
      if (master) master_ = std::move(*master);
      return master_.get() >= 0;
    }));
  }
  // Raw output, so that what comes is what was printed; a size to be seen.
  void setUpAndGo() {
    termios mode{};
    ::tcgetattr(master_.get(), &mode);
    mode.c_oflag &= ~static_cast<tcflag_t>(OPOST);
    ::tcsetattr(master_.get(), TCSANOW, &mode);
    const winsize size{41, 132, 0, 0};
    ::ioctl(master_.get(), TIOCSWINSZ, &size);
    ipc::sendGo(parcel_.get());
  }
  void start(WorkerProcess& worker, std::vector<std::string> argv, bool foreground = true) {
    worker.assign(task(std::move(argv), foreground));
    sendFds({-1, -1, -1}, 7);
    takeMaster();
    setUpAndGo();
  }
  void type(const std::string& keys) {
    EXPECT_EQ(::write(master_.get(), keys.data(), keys.size()), static_cast<ssize_t>(keys.size()));
  }
  void waitForText(const std::string& wanted) {
    EXPECT_TRUE(eventually([&] {
      readSome();
      return text.find(wanted) != std::string::npos;
    })) << "printed was: "
        << text;
  }
  // Types a line into `cat` until it comes back: as the terminal's echo, and from the program that reads.
  void typeIntoCat(const std::string& line) {
    type(line + "\n");
    EXPECT_TRUE(eventually([&] {
      readSome();
      const auto echo = text.find(line);
      return echo != std::string::npos && text.find(line, echo + 1) != std::string::npos;
    })) << "printed was: "
        << text;
  }
  // Reads until the terminal has no other side any more.
  void drain() {
    EXPECT_TRUE(eventually([&] { return !readSome(); }));
  }
  // The process group in front of the terminal.
  pid_t front() const { return ::tcgetpgrp(master_.get()); }
  void hangUp() { master_.reset(); }
  void leave() { parcel_.reset(); }

  std::string text;

 private:
  // False: the terminal's other side is gone.
  bool readSome() {
    pollfd poll{master_.get(), POLLIN, 0};
    if (::poll(&poll, 1, 0) == 0) return true;
    char buffer[4096];
    const ssize_t got = ::read(master_.get(), buffer, sizeof(buffer));
    if (got > 0) text.append(buffer, static_cast<std::size_t>(got));
    return got > 0;
  }

  shm::Fd parcel_;
  shm::Fd theirs_;
  shm::Fd master_;
};

TEST(WorkerParcel, descriptorsThatAreNoTerminalsArePassedAsTheyAre) {
  TemporaryDirectory directory;
  std::ofstream(directory.file("in")) << "from the client";
  const shm::Fd in(::open(directory.file("in").c_str(), O_RDONLY | O_CLOEXEC));
  const shm::Fd out(::open(directory.file("out").c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
  WorkerProcess worker;
  Client client;
  client.sendFds({in.get(), out.get(), out.get()}, 0);
  EXPECT_EQ(worker.run(client.task({"/bin/sh", "-c", "cat; echo error >&2; exit 6"})).exitCode, 6);
  EXPECT_EQ(readText(directory.file("out")), "from the clienterror\n");
}

TEST(WorkerParcel, itMayComeLaterThanTheTask) {
  WorkerProcess worker;
  Client client;
  worker.assign(client.task({"/bin/sh", "-c", "exit 8"}));
  ASSERT_TRUE(worker.sample());
  client.sendFds({0, 1, 2}, 0);
  EXPECT_EQ(worker.waitForEnd().exitCode, 8);
}

TEST(WorkerParcel, aClientThatLeftOrThatSendsNothingIsNamed) {
  WorkerProcess worker;
  Client gone;
  gone.leave();
  EXPECT_EQ(worker.run(gone.task({"true"})).cause, Cause::CLIENT_GONE);
  Client silent;
  const auto ended = worker.run(silent.task({"true"}));
  EXPECT_EQ(ended.cause, Cause::SURROUNDINGS);
  EXPECT_THAT(ended.detail, HasSubstr("5 s"));
  TaskSpec without;
  without.argv = {"true"};
  without.output = OutputMode::PARCEL;
  EXPECT_EQ(worker.run(std::move(without)).cause, Cause::SURROUNDINGS);
}

TEST(WorkerParcel, aTaskThatWaitsForItsDescriptorsCanBeCancelled) {
  WorkerProcess worker;
  Client client;
  worker.assign(client.task({"true"}));
  worker.cancel(60'000'000'000);
  EXPECT_EQ(worker.waitForEnd().cause, Cause::CANCELLED);
  Client next;
  worker.assign(next.task({"true"}));
  next.sendFds({-1, -1, -1}, 7);
  next.takeMaster();
  worker.cancel(60'000'000'000);
  EXPECT_EQ(worker.waitForEnd().cause, Cause::CANCELLED);
  EXPECT_FALSE(worker.started);
}

TEST(WorkerTerminal, theTaskHasATerminalOfItsOwnAsItsClientSetItUp) {
  WorkerProcess worker;
  Client client;
  client.start(worker,
               {"/bin/sh", "-c",
                "test -t 0 && test -t 1 && test -t 2 && stty size && ps -o tty=,tpgid=,pgid= -p $$ && tty"});
  EXPECT_EQ(worker.waitForEnd().exitCode, 0);
  client.drain();
  std::istringstream words(client.text);
  std::string rows;
  std::string columns;
  std::string name;
  std::string front;
  std::string group;
  std::string path;
  words >> rows >> columns >> name >> front >> group >> path;
  EXPECT_EQ(rows + "x" + columns, "41x132");
  EXPECT_EQ(path, "/dev/" + name);
  EXPECT_EQ(front, group);
  EXPECT_EQ(group, std::to_string(worker.waitForStart()));
}

TEST(WorkerTerminal, itIsGivenOnlyWhereTheClientHasOne) {
  TemporaryDirectory directory;
  const shm::Fd out(::open(directory.file("out").c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
  WorkerProcess worker;
  Client client;
  worker.assign(client.task({"/bin/sh", "-c", "test -t 0 && test ! -t 1 && test -t 2 && echo here"}));
  client.sendFds({-1, out.get(), -1}, 5);
  client.takeMaster();
  client.setUpAndGo();
  EXPECT_EQ(worker.waitForEnd().exitCode, 0);
  EXPECT_EQ(readText(directory.file("out")), "here\n");
}

TEST(WorkerTerminal, theCommandWaitsForTheClientsWord) {
  WorkerProcess worker;
  Client client;
  worker.assign(client.task({"/bin/stty", "size"}));
  client.sendFds({-1, -1, -1}, 7);
  client.takeMaster();
  for (int i = 0; i < 3; ++i) ASSERT_TRUE(worker.sample());
  EXPECT_FALSE(worker.started);
  client.setUpAndGo();
  EXPECT_EQ(worker.waitForEnd().exitCode, 0);
  client.drain();
  EXPECT_EQ(client.text, "41 132\n");
}

TEST(WorkerTerminal, ctrlCInterruptsTheCommand) {
  WorkerProcess worker;
  Client client;
  client.start(worker, {"/bin/cat"});
  client.typeIntoCat("words");
  client.type("\x03");
  const auto ended = worker.waitForEnd();
  EXPECT_EQ(ended.cause, Cause::SIGNALLED);
  EXPECT_EQ(ended.signal, SIGINT);
}

TEST(WorkerTerminal, ctrlZStopsAndTheCommandGoesOnInTheForeground) {
  WorkerProcess worker;
  Client client;
  client.start(worker, {"/bin/sh", "-c", "echo ready; read line; echo got $line"});
  client.waitForText("ready");
  for (int round = 0; round < 3; ++round) {
    client.type("\x1a");
    EXPECT_EQ(worker.waitForStop(), SIGTSTP);
    worker.resume(true);
    EXPECT_TRUE(eventually([&] { return client.front() == worker.waitForStart(); }));
  }
  client.type("words\n");
  EXPECT_EQ(worker.waitForEnd().exitCode, 0);
  client.drain();
  EXPECT_THAT(client.text, HasSubstr("got words"));
}

TEST(WorkerTerminal, aBackgroundReaderStopsAndReadsInTheForeground) {
  WorkerProcess worker;
  Client client;
  client.start(worker, {"/bin/sh", "-c", "read line; echo got $line"}, false);
  EXPECT_EQ(worker.waitForStop(), SIGTTIN);
  worker.resume(false);
  EXPECT_EQ(worker.waitForStop(), SIGTTIN);
  worker.resume(true);
  client.type("words\n");
  EXPECT_EQ(worker.waitForEnd().exitCode, 0);
  client.drain();
  EXPECT_THAT(client.text, HasSubstr("got words"));
}

TEST(WorkerTerminal, aShellInsideHasJobControl) {
  WorkerProcess worker;
  Client client;
  client.start(worker, {"/bin/bash", "--norc", "-i"});
  client.type("PS1='pro''mpt>'\n");
  client.waitForText("prompt>");
  const pid_t shell = worker.waitForStart();
  client.type("cat\n");
  EXPECT_TRUE(eventually([&] { return client.front() != shell; }));
  client.typeIntoCat("first line");
  client.type("\x1a");
  client.waitForText("Stopped");
  client.type("fg\n");
  EXPECT_TRUE(eventually([&] { return client.front() != shell; }));
  client.typeIntoCat("second line");
  client.type("\x04");
  EXPECT_TRUE(eventually([&] { return client.front() == shell; }));
  client.type("exit 12\n");
  EXPECT_EQ(worker.waitForEnd().exitCode, 12);
  EXPECT_TRUE(worker.stops.empty());
}

TEST(WorkerTerminal, aClientThatDiesHangsTheTerminalUp) {
  WorkerProcess worker;
  Client client;
  client.start(worker, {"/bin/sh", "-c", "echo ready; exec sleep 1000"});
  client.waitForText("ready");
  client.hangUp();
  const auto ended = worker.waitForEnd();
  EXPECT_EQ(ended.cause, Cause::SIGNALLED);
  EXPECT_EQ(ended.signal, SIGHUP);
}

TEST(WorkerTerminal, cancelEndsTheTreeOnTheTerminal) {
  WorkerProcess worker;
  Client client;
  client.start(worker,
               {"/bin/sh", "-c", "trap '' TERM; (setsid sleep 1000 &); echo ready; sleep 1000; sleep 1000"});
  client.waitForText("ready");
  worker.cancel(100'000'000);
  const auto ended = worker.waitForEnd();
  EXPECT_EQ(ended.cause, Cause::CANCELLED);
  EXPECT_EQ(ended.signal, SIGKILL);
  client.drain();
  EXPECT_EQ(worker.shell("exit 3").exitCode, 3);
}

TEST(WorkerTerminal, whatCannotBeStartedIsSaidAsEver) {
  WorkerProcess worker;
  Client client;
  client.start(worker, {"no-such-program"});
  const auto ended = worker.waitForEnd();
  EXPECT_EQ(ended.cause, Cause::NOT_FOUND);
  EXPECT_EQ(ended.exitCode, 127);
  client.drain();
  EXPECT_EQ(worker.shell("exit 3").exitCode, 3);
}

TEST(WorkerTerminal, cpuTimeAndPeakAreTheCommands) {
  WorkerProcess worker;
  Client client;
  client.start(worker, {"/usr/bin/python3", "-c",
                        "import time\nx = bytearray(64 << 20)\nend = time.process_time() + 0.1\n"
                        "while time.process_time() < end: pass"});
  const auto ended = worker.waitForEnd();
  EXPECT_GE(ended.cpuNs, 100'000'000U);
  EXPECT_GE(ended.peakBytes, 64U << 20);
}

}  // namespace
}  // namespace baton::worker::test
