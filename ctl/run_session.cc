#include "ctl/run_session.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>

#include "ctl/context_source.h"
#include "ctl/output.h"
#include "ctl/session.h"
#include "ipc/error.h"
#include "ipc/parcel.h"

namespace baton::ctl {
namespace {

using ipc::wire::Frame;

constexpr std::uint8_t kStdin = 1;
// With both on the terminal the task has it to itself; else it shares it with the rest of a pipeline.
constexpr std::uint8_t kStdinAndStdout = 3;

// Those of 0, 1, 2 for which the task needs a pseudo-terminal.
std::uint8_t terminalsOf(const SubmitOptions& options) {
  unsigned terminals = standardTerminals();
  if (options.stdinPath) terminals &= ~1U;
  if (options.stdoutPath) terminals &= ~2U;
  if (options.stderrPath) terminals &= ~4U;
  return static_cast<std::uint8_t>(terminals);
}

// To be in front whenever batonctl is: a task that has the terminal to itself, and one that reads it but
// cannot ask for it, since the signal by which the kernel asks is ignored, as under $(...) of an interactive
// shell.
bool wantsTerminal(std::uint8_t terminals) {
  struct sigaction action {};
  const bool cannotAsk = ::sigaction(SIGTTIN, nullptr, &action) == 0 && action.sa_handler == SIG_IGN;
  const std::uint8_t wanted = cannotAsk ? kStdin : kStdinAndStdout;
  return (terminals & wanted) == wanted;
}

// The inode of a pipe; 0: it is none.
std::uint64_t pipeAt(int fd, bool replaced) {
  struct stat status {};
  const bool isPipe = !replaced && ::fstat(fd, &status) == 0 && S_ISFIFO(status.st_mode);
  return isPipe ? status.st_ino : 0;
}

void writePipes(const SubmitOptions& options, ipc::wire::Pipes::Builder pipes) {
  pipes.setStdin(pipeAt(STDIN_FILENO, options.stdinPath.has_value()));
  pipes.setStdout(pipeAt(STDOUT_FILENO, options.stdoutPath.has_value()));
  pipes.setStderr(pipeAt(STDERR_FILENO, options.stderrPath.has_value()));
}

// The task has stdin and stdout now: a pipe that it closes is to be closed for its other end.
void letGoOfStandardFds() {
  const shm::Fd null(::open("/dev/null", O_RDWR | O_CLOEXEC));
  if (null) {
    ::dup2(null.get(), STDIN_FILENO);
    ::dup2(null.get(), STDOUT_FILENO);
  }
}

}  // namespace

RunSession::RunSession(const RunRequest& request)
    : options_(request.options),
      terminals_(terminalsOf(request.options)),
      terminal_(terminals_ != 0 ? Terminal::open() : std::nullopt),
      job_(*this, wantsTerminal(terminals_)) {
  if (terminal_) {
    relay_.emplace(*terminal_);
  } else {
    terminals_ = 0;
  }
  const auto surroundings = options_.surroundings();
  auto [ours, theirs] = ipc::makeParcel();
  parcel_ = std::move(ours);
  sendDescriptors();
  ipc::Message message;
  message.attach(std::move(theirs));
  auto submit = message.frame().initSubmit();
  auto options = submit.initOptions();
  options_.fill(options);
  options.setOutput(ipc::wire::OutputMode::PARCEL);
  writeArgv(request.argv, submit.initArgv(static_cast<unsigned>(request.argv.size())));
  submit.setAttached(true);
  auto terminal = submit.initTerminal();
  terminal.setIsTerminal(terminals_);
  terminal.setForeground(job_.startsInFront());
  writePipes(options_, submit.initPipes());
  writeContextSource(surroundings, submit.initContext(), message);
  // It goes out before the daemon has said what it takes.
  checkSize(message, ipc::kMaxFrameBytes, "the command with its environment");
  auto socket = ipc::connectOrStart(request.which);
  // Once the daemon has the task a signal is meant for it; until then it ends batonctl, also while a daemon
  // starts.
  signals_.emplace(surroundings.ignoredSignals);
  client_ = std::make_unique<ipc::Client>(std::move(socket), "batonctl run", message);
  if (options_.attempts == 1) letGoOfStandardFds();
}

void RunSession::sendDescriptors() {
  ipc::sendStandardFds(parcel_.get(), {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO}, terminals_);
}

RunSession::End RunSession::run() {
  takeFrames();
  while (!finished()) turn();
  leaveTerminal();
  const auto row = ended_->get().getEnded();
  std::optional<int> signal;
  if (row.getCause() == ipc::wire::Cause::CANCELLED) {
    signal = job_.cancelledBy();
  } else if (row.getCause() == ipc::wire::Cause::SIGNALLED && row.getSignal() == SIGINT) {
    signal = SIGINT;
  }
  const bool typed = relay_ && relay_->interruptTyped();
  const bool asTold = everForwarded_.contains(row.getSignal());
  return {std::move(*ended_), signal, signal == SIGINT && typed, asTold};
}

bool RunSession::finished() {
  return ended_ && (givenUp_ || !relay_ || relay_->drained());
}

int RunSession::timeoutMs() const {
  if (!hint_ || !job_.waiting()) {
    return -1;
  }
  const auto timeout = hint_->timeout();
  return timeout ? static_cast<int>(timeout->count()) : -1;
}

void RunSession::turn() {
  auto& connection = client_->connection();
  const bool unsent = connection.unsentBytes() > 0;
  const auto forConnection = static_cast<short>(unsent ? POLLIN | POLLOUT : POLLIN);
  std::array<pollfd, kPolled> polled{{{ended_ ? -1 : connection.fd(), forConnection, 0},
                                      {signals_->fd(), POLLIN, 0},
                                      {terminal_ && parcel_ ? parcel_.get() : -1, POLLIN, 0},
                                      {-1, 0, 0},
                                      {-1, 0, 0}}};
  auto& [fromDaemon, fromSignals, fromParcel, fromTerminal, fromMaster] = polled;
  if (relay_ && (ended_ || !job_.waiting())) relay_->prepare(fromTerminal, fromMaster);
  const int ready = ::poll(polled.data(), polled.size(), timeoutMs());
  if (ready < 0) {
    if (errno != EINTR) throwErrno("cannot wait for the task");
    return;
  }
  if (ready == 0 && hint_) hint_->ask();
  if (relay_ && relay_->attached()) relay_->handle(fromTerminal, fromMaster);
  if (fromParcel.revents != 0) takeMaster();
  if (fromSignals.revents != 0) takeSignals();
  if (unsent) connection.flush();
  if (fromDaemon.revents == 0) {
    return;
  }
  const auto input = connection.receive();
  takeFrames();
  if (input == ipc::Connection::Input::closed && !ended_) {
    throw Error(Code::disconnected, "the daemon ended or closed the connection; the task has ended with it");
  }
}

void RunSession::takeFrames() {
  while (!ended_) {
    auto frame = client_->connection().next();
    if (!frame) {
      return;
    }
    takeFrame(std::move(*frame));
  }
}

void RunSession::takeFrame(ipc::ReceivedFrame frame) {
  const auto reader = frame.get();
  if (hint_ && hint_->take(reader)) {
    return;
  }
  switch (reader.which()) {
    case Frame::ACCEPTED:
      task_ = reader.getAccepted();
      hint_.emplace(*client_, std::vector{TaskRef{task_, 0}});
      for (const int signal : std::exchange(earlySignals_, {})) signalTask(signal);
      break;
    case Frame::STARTED:
      takeStarted();
      break;
    case Frame::STOPPED:
      job_.stopped(reader.getStopped().getSignal());
      break;
    case Frame::NOTICE:
      say(reader.getNotice().cStr());
      break;
    case Frame::ENDED:
      if (hint_) hint_->finish();
      ended_ = std::move(frame);
      break;
    case Frame::ERROR:
      if (reader.getId() == ipc::Client::kFirstRequest) ipc::throwIfError(reader);
      if (const auto signal = forwarded_.extract(reader.getId())) job_.refused(signal.mapped());
      break;  // other requests came too late: the task has ended, or goes on already
    case Frame::OK:
      forwarded_.erase(reader.getId());
      break;
    default:
      break;
  }
}

void RunSession::takeStarted() {
  if (hint_) hint_->finish();
  if (job_.isStopped()) {
    job_.continued();
    return;
  }
  job_.started();
  // Each attempt takes one set of descriptors; the daemon keeps the other end while there may be more.
  if (++attemptsStarted_ < options_.attempts) sendDescriptors();
}

void RunSession::takeMaster() {
  try {
    auto master = ipc::tryReceiveTerminalMaster(parcel_.get());
    if (!master) {
      return;
    }
    relay_->attach(std::move(*master));
    relay_->copySettingsToMaster();
    relay_->copySizeToMaster();
    job_.prepared();
    ipc::sendGo(parcel_.get());
  } catch (const Error& error) {
    if (error.code() != Code::disconnected) throw;
    parcel_.reset();
  }
}

void RunSession::takeSignals() {
  while (const auto signal = signals_->next()) {
    const bool ends = *signal != SIGCONT && *signal != SIGWINCH && *signal != SIGTSTP;
    if (!ended_) {
      job_.signalled(*signal, std::chrono::steady_clock::now());
    } else if (ends) {
      givenUp_ = true;
    }
  }
}

void RunSession::say(const std::string& text) {
  const bool raw = terminal_ && terminal_->raw();
  if (raw) leaveTerminal();
  complain(text);
  if (raw) takeTerminal();
}

void RunSession::drainToTerminal() {
  constexpr int kPatienceMs = 1000;  // what a stuck terminal does not take in this time goes out later
  while (relay_ && !relay_->drained()) {
    pollfd wait{terminal_->fd(), POLLOUT, 0};
    if (::poll(&wait, 1, kPatienceMs) <= 0) {
      return;
    }
  }
}

void RunSession::signalTask(int signal) {
  if (task_ == 0) {
    earlySignals_.push_back(signal);
    return;
  }
  ipc::Message message;
  auto kill = message.frame().initKill();
  kill.initSelection().initRefs(1)[0].setId(task_);
  kill.setSignal(signal);
  forwarded_[client_->send(message)] = signal;
  everForwarded_.insert(signal);
}

void RunSession::cancelTask() {
  ipc::Message message;
  message.frame().initCancel().initSelection().initRefs(1)[0].setId(task_);
  client_->send(message);
}

void RunSession::continueTask(bool foreground) {
  ipc::Message message;
  auto request = message.frame().initContinueTask();
  request.setTask(task_);
  request.setForeground(foreground);
  client_->send(message);
  hint_.emplace(*client_, std::vector{TaskRef{task_, 0}});
}

void RunSession::holdTask(bool held) {
  if (task_ == 0 || options_.held) {
    return;
  }
  ipc::Message message;
  auto selection = held ? message.frame().initHold() : message.frame().initRelease();
  selection.initRefs(1)[0].setId(task_);
  client_->send(message);
}

void RunSession::takeTerminal() {
  if (terminal_) terminal_->enterRaw((terminals_ & kStdinAndStdout) != kStdinAndStdout);
}

void RunSession::leaveTerminal() {
  if (!terminal_) {
    return;
  }
  if (hint_) hint_->clear();
  drainToTerminal();
  terminal_->restore();
}

void RunSession::resize() {
  if (relay_ && relay_->attached()) relay_->copySizeToMaster();
}

}  // namespace baton::ctl
