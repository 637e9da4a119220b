// `batonctl logs`: what a submitted task has printed.
#include <fmt/format.h>
#include <poll.h>
#include <sys/inotify.h>
#include <unistd.h>

#include <cerrno>
#include <optional>
#include <utility>

#include "ctl/batch_tasks.h"
#include "ctl/json.h"
#include "ctl/log_printer.h"
#include "ctl/log_reader.h"
#include "ctl/output.h"
#include "ctl/session.h"
#include "ctl/verbs.h"
#include "ipc/error.h"
#include "ipc/escape.h"
#include "ipc/units.h"

namespace baton::ctl {
namespace {

constexpr Arguments::Spec kSpec{
    .verb = "logs",
    .usage = "[OPTIONS] ID...",
    .description =
        "What submitted tasks have printed, as they printed it: their stdout to stdout, their stderr to "
        "stderr,\n"
        "in the order it was read. Of a batch: all its tasks, one after the other. Of a long output the "
        "first\n"
        "and the last part are kept; where something is missing is said on stderr.",
    .footer =
        "Exit code: 0 it is printed, whatever became of the task; 125 for an unknown id.\n"
        "\n"
        "Examples:\n"
        "  batonctl logs 12\n"
        "  batonctl logs -f --tail 20 last\n"
        "  batonctl logs --stderr -t 12.3 | grep error\n"
        "  batonctl --json logs 12 | jq -r 'select(.stream == \"stderr\") | .text'",
    .words = Arguments::Words::operands};

struct Options {
  CommonOptions common;
  LogFormat format;
  bool follow = false;
  std::optional<std::uint64_t> tail;
};

// Wakes when a file changes. Where it cannot be watched (another uid's file), now and then.
class FileWatch {
 public:
  FileWatch() : notify_(::inotify_init1(IN_CLOEXEC | IN_NONBLOCK)) {}

  // True: it was not watched before, so look at it once more. -1: there is no file yet.
  [[nodiscard]] bool watch(int file) {
    if (file < 0 || !notify_) return false;
    const std::string path = "/proc/self/fd/" + std::to_string(file);
    const int before = std::exchange(watch_, ::inotify_add_watch(notify_.get(), path.c_str(), IN_MODIFY));
    return watch_ >= 0 && watch_ != before;
  }
  // Until the file changes, or the daemon says something.
  void wait(ipc::Client& client) {
    const bool watching = watch_ >= 0;
    pollfd waits[] = {{client.connection().fd(), POLLIN, 0}, {watching ? notify_.get() : -1, POLLIN, 0}};
    if (::poll(waits, 2, watching ? -1 : kGlanceMs) < 0 && errno != EINTR)
      throwErrno("cannot wait for output");
    if (waits[1].revents == 0) return;
    char events[4096];
    while (::read(notify_.get(), events, sizeof(events)) > 0) {
    }
    // A task that prints line by line is read some lines at a time.
    waits[1].fd = -1;
    ::poll(waits, 2, kGatherMs);
  }

 private:
  static constexpr int kGlanceMs = 200;
  static constexpr int kGatherMs = 10;
  shm::Fd notify_;
  int watch_ = -1;
};

std::uint64_t askForEnd(ipc::Client& client, const TaskRef& ref) {
  ipc::Message request;
  writeSelection({&ref, 1}, request.frame().initWait().initSelection());
  return client.send(request);
}

class LogSession {
 public:
  LogSession(ipc::Client& client, const TaskRef& ref, const Options& options)
      : client_(client),
        ref_(ref),
        options_(options),
        reader_(client, ref, [this](ipc::wire::Frame::Reader frame) { takeOther(frame); }),
        printer_(formatFor(ref, options), [](int fd, std::string_view bytes) { writeAll(fd, bytes); }) {}

  void print() {
    if (options_.tail) skipAllBut(*options_.tail);
    if (options_.follow) {
      follow();
    } else {
      read();
    }
    if (!reader_.note().empty())
      complain(fmt::format("task {}: {}", toString(ref_), ipc::escape(reader_.note())));
  }

 private:
  static LogFormat formatFor(const TaskRef& ref, const Options& options) {
    LogFormat format = options.format;
    if (options.common.json) {
      format.transform = [ref](const ipc::LogHeader& header, std::string_view piece) {
        return toJson(ref, header, piece) + "\n";
      };
    }
    return format;
  }
  void takeOther(ipc::wire::Frame::Reader frame) {
    if (end_ == 0 || frame.getId() != end_) return;
    ipc::throwIfError(frame);
    ended_ = true;
  }
  void skipAllBut(std::uint64_t lines) {
    LogPrinter counter(options_.format, [](int, std::string_view) {});
    reader_.read({[&counter](const ipc::LogRecord& record) { counter.add(record); }, [](std::uint64_t) {}});
    reader_.rewind();
    printer_.skip(counter.lines() > lines ? counter.lines() - lines : 0);
  }
  void read() {
    reader_.read({[this](const ipc::LogRecord& record) { printer_.add(record); },
                  [this](std::uint64_t bytes) {
                    printer_.flush();
                    complain(fmt::format("task {}: {} of output are missing here", toString(ref_),
                                         ipc::formatSize(bytes)));
                  }});
    printer_.flush();
  }
  void follow() {
    end_ = askForEnd(client_, ref_);
    FileWatch file;
    while (true) {
      // What the task wrote last is in the file before its end is told.
      const bool last = ended_;
      read();
      if (last) return;
      if (!file.watch(reader_.fd()) && !ended_) file.wait(client_);
      while (const auto frame = client_.receive(std::chrono::milliseconds(0))) takeOther(frame->get());
    }
  }

  ipc::Client& client_;
  TaskRef ref_;
  const Options& options_;
  std::uint64_t end_ = 0;  // id of the request that is answered when the task has ended
  bool ended_ = false;
  LogReader reader_;
  LogPrinter printer_;
};

}  // namespace

int logsVerb(int argc, char** argv) {
  Options options;
  bool onlyStdout = false;
  bool onlyStderr = false;
  Arguments arguments(kSpec);
  arguments.flag("-f,--follow", "go on as it grows, until the task has ended", options.follow);
  arguments.number("--tail", "N", "only the last N lines", 0, INT64_MAX, options.tail);
  arguments.flag("--stdout", "stdout only", onlyStdout);
  arguments.flag("--stderr", "stderr only, to stdout", onlyStderr);
  arguments.flag("-t,--timestamps", "the time it was read in front of each line (UTC)",
                 options.format.timestamps);
  arguments.common(options.common, Arguments::Json::yes);
  if (!arguments.parse(argc, argv)) return 0;
  if (onlyStdout != onlyStderr) {
    options.format.streams = onlyStdout ? LogFormat::Streams::onlyStdout : LogFormat::Streams::onlyStderr;
  }
  auto client = connect(options.common);
  const auto refs = requiredRefs("logs", arguments.words(), client);
  if (options.follow && refs.size() > 1) throw Error(Code::usage, "logs: -f follows one task");
  for (const TaskRef& ref : refs) {
    if (options.follow) {
      LogSession(client, ref, options).print();
      continue;
    }
    const bool batch = forEachTask(client, ref, [&](ipc::wire::TaskRow::Reader row) {
      LogSession(client, {ref.id, row.getIndex()}, options).print();
    });
    if (!batch) LogSession(client, ref, options).print();
  }
  return 0;
}

}  // namespace baton::ctl
