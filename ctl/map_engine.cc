// The engine's loop, and its way to the daemon. What comes back is in map_engine_results.cc, signals and
// stopping in map_engine_stop.cc.
#include "ctl/map_engine.h"

#include <poll.h>

#include <array>
#include <cerrno>

#include "ctl/context_source.h"
#include "ctl/output.h"
#include "ipc/error.h"

namespace baton::ctl {
namespace {

// What waits for the reader of stdout before the daemon is no longer listened to.
constexpr std::size_t kMaxPendingBytes = std::size_t{256} << 10;
// A quarter of what a frame may hold: one more line fits behind it in any case.
constexpr std::size_t kMaxAdditionBytes = std::size_t{256} << 10;
// With -k behind a slow job: what each ended one costs is small, but not nothing.
constexpr std::size_t kMaxOpenJobs = 100'000;

std::size_t sizeOf(const MapJob& job) {
  constexpr std::size_t kEach = 16;  // a pointer and padding
  std::size_t bytes = kEach;
  for (const std::string& word : job.argv) bytes += word.size() + kEach;
  return bytes;
}

}  // namespace

MapEngine::MapEngine(const MapOptions& options, const ipc::Surroundings& surroundings)
    : options_(options),
      surroundings_(surroundings),
      jobs_(options, surroundings),
      output_({.keepOrder = options.keepOrder,
               .tag = options.tag,
               .streamHead = options.task.attempts == 1,
               .temporaryDirectory = map::temporaryDirectory()},
              [this](int fd, std::string_view bytes) { sink(fd, bytes); }),
      halt_(options.halt),
      bar_(options.bar) {
  if (options.jobLog) jobLog_.emplace(*options.jobLog);
}

MapEngine::End MapEngine::run() {
  if (jobs_.readsStdin() && isTerminal(STDIN_FILENO)) {
    complain("reading values from the terminal, one a line; Ctrl-D ends them");
  }
  while (!finished()) {
    feed();
    if (!finished()) turn();
  }
  if (!abandoned_) {
    while (!flushOutput() && !abandoned_) turn();
  }
  bar_.finish(progress());
  if (!endSignal_ && cut_) endSignal_ = softSignal_;
  return {halt_.exitCode(), endSignal_};
}

bool MapEngine::finished() const {
  if (abandoned_) {
    return true;
  }
  return client_ ? batchEnded_ : inputEnded_ && ready_.empty();
}

std::uint32_t MapEngine::freeSlot() const {
  if (!jobs_.usesSlot()) {
    return 0;
  }
  for (std::uint32_t slot = 1;; ++slot) {
    bool taken = false;
    for (const auto& [sequence, live] : live_) taken = taken || live.slot == slot;
    for (const MapJob& job : ready_) taken = taken || job.slot == slot;
    if (!taken) return slot;
  }
}

bool MapEngine::pull() {
  MapJob job;
  const auto result = jobs_.next(job, freeSlot());
  if (jobs_.replacedNul() && !saidNul_) {
    saidNul_ = true;
    say("a NUL in the input was replaced by \\0; -0 takes NUL as the end of a value");
  }
  inputBlocks_ = result == map::Pull::wouldBlock;
  inputEnded_ = result == map::Pull::end;
  if (result != map::Pull::record) {
    return false;
  }
  jobs_.resolve(job);
  readyBytes_ += sizeOf(job);
  ready_.push_back(std::move(job));
  return true;
}

void MapEngine::feed() {
  if (lastGiven_) {
    return;
  }
  if (!client_) {
    if (ready_.empty() && !inputEnded_ && !pull()) {
      return;
    }
    if (ready_.empty()) return;
    open();
  }
  if (batch_ == 0 || !window_->wantsMore(static_cast<std::uint32_t>(live_.size()))) {
    inputBlocks_ = false;
    return;
  }
  while (!inputEnded_ && live_.size() + ready_.size() < window_->size() &&
         output_.openJobs() < kMaxOpenJobs) {
    if (!pull()) {
      break;
    }
    if (readyBytes_ > kMaxAdditionBytes) give(std::exchange(ready_, {}));
  }
  if (!ready_.empty() || inputEnded_) give(std::exchange(ready_, {}));
  learnTotal();
}

void MapEngine::open() {
  ipc::Message message;
  auto batch = message.frame().initOpenBatch();
  writeContextSource(surroundings_, batch.initContext(), message);
  auto options = batch.initOptions();
  options_.task.fill(options);
  options.setOutput(ipc::wire::OutputMode::STREAM);
  batch.setAttached(true);
  auto socket = ipc::connectOrStart(options_.common.which);
  signals_.emplace(surroundings_.ignoredSignals);
  client_ = std::make_unique<ipc::Client>(std::move(socket), "batonctl map", message);
  const auto hello = client_->hello();
  window_.emplace(options_.jobs,
                  Capacity{.slots = hello.getSlots(),
                           .slotsEach = options_.task.slots,
                           .io = options_.task.io,
                           .ioTasks = hello.getIoTasks()},
                  jobs_.usesSlot());
  if (!window_->notice().empty()) say(window_->notice());
  takeFrames();  // what came together with the hello
}

void MapEngine::give(std::vector<MapJob> jobs) {
  readyBytes_ = 0;
  ipc::Message message;
  auto addition = message.frame().initAddTasks();
  addition.setBatch(batch_);
  addition.setLast(inputEnded_);
  auto tasks = addition.initTasks(static_cast<unsigned>(jobs.size()));
  for (unsigned i = 0; i < tasks.size(); ++i) {
    MapJob& job = jobs[i];
    writeArgv(job.argv, tasks[i].initArgv(static_cast<unsigned>(job.argv.size())));
    output_.begin(job.sequence, std::move(job.tag));
    live_[job.sequence] = {std::move(job.line), job.slot, 0};
  }
  lastGiven_ = inputEnded_;
  additions_.insert(client_->send(message));
}

void MapEngine::learnTotal() {
  const auto total = jobs_.total();
  if (total && stopping_ == Stopping::no) {
    const auto go = halt_.setTotal(*total);
    if (go != map::Go::on) stop(go == map::Go::now ? Stopping::now : Stopping::soon);
  }
}

int MapEngine::timeoutMs() {
  if (!client_ || !bar_.enabled()) {
    return -1;
  }
  return static_cast<int>(bar_.due()->count());
}

void MapEngine::turn() {
  const bool flushed = flushOutput();
  std::array<pollfd, 5> polled{};
  auto& [fromDaemon, fromSignals, fromInput, toOut, toErr] = polled;
  for (auto& each : polled) each.fd = -1;
  if (client_ && !batchEnded_) {
    auto& connection = client_->connection();
    const std::size_t pending = out_.pending() + err_.pending();
    fromDaemon = {connection.fd(), static_cast<short>(pending < kMaxPendingBytes ? POLLIN : 0), 0};
    if (connection.unsentBytes() > 0) fromDaemon.events |= POLLOUT;
    if (fromDaemon.events == 0) fromDaemon.fd = -1;
  }
  if (signals_) fromSignals = {signals_->fd(), POLLIN, 0};
  const int ahead = bar_.enabled() && !inputEnded_ ? jobs_.readAhead() : -1;
  if (inputBlocks_ || ahead >= 0) fromInput = {inputBlocks_ ? jobs_.waitFd() : ahead, POLLIN, 0};
  if (!flushed && out_.pending() > 0) toOut = {out_.fd(), POLLOUT, 0};
  if (!flushed && err_.pending() > 0) toErr = {err_.fd(), POLLOUT, 0};
  if (::poll(polled.data(), polled.size(), timeoutMs()) < 0 && errno != EINTR) {
    throwErrno("cannot wait for jobs");
  }
  if (fromSignals.revents != 0) takeSignals();
  if (fromDaemon.revents != 0) {
    auto& connection = client_->connection();
    if ((fromDaemon.revents & POLLOUT) != 0) connection.flush();
    const auto input = connection.receive();
    takeFrames();
    if (input == ipc::Connection::Input::closed && !batchEnded_) {
      throw Error(Code::disconnected,
                  "the daemon ended or closed the connection; the jobs have ended with it");
    }
  } else if (client_) {
    takeFrames();  // what was held back while the reader was slow
  }
  if (client_) bar_.draw(progress());
}

}  // namespace baton::ctl
