// A `map` in progress: gives jobs to the daemon as far as the window allows, and takes back what they write
// and how they end. The main thread only.
//
// 1. Memory is bounded whatever the input: a value is read only when the window has room for its job.
// 2. A reader of stdout that is slow holds everything back: no frame is taken from the daemon meanwhile,
// which
//    then holds the jobs back.
// 3. When run() returns no job runs any more, but after a second Ctrl-C, when the daemon ends them on its
// own.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "ctl/map/halt.h"
#include "ctl/map/joblog.h"
#include "ctl/map/output.h"
#include "ctl/map_bar.h"
#include "ctl/map_jobs.h"
#include "ctl/map_options.h"
#include "ctl/map_window.h"
#include "ctl/output_writer.h"
#include "ctl/signal_source.h"
#include "ipc/client.h"

namespace baton::ctl {

class MapEngine {
 public:
  // `options` and `surroundings` must outlive it. Throws Error(usage) for files that cannot be opened.
  MapEngine(const MapOptions& options, const ipc::Surroundings& surroundings);

  struct End {
    int code = 0;
    std::optional<int> signal;  // batonctl is to end by it
  };
  // Throws Error.
  End run();

 private:
  struct Live {
    std::string line;
    std::uint32_t slot = 0;
    std::uint16_t attempt = 0;  // that wrote last
  };
  enum class Stopping { no, soon, now };

  // Jobs to the daemon.
  void feed();
  bool pull();
  void open();
  void give(std::vector<MapJob> jobs);
  void learnTotal();
  std::uint32_t freeSlot() const;

  // What comes back.
  void takeFrames();
  void takeFrame(const ipc::ReceivedFrame& frame);
  void takeOutput(ipc::wire::Output::Reader output);
  void takeEnd(ipc::wire::TaskRow::Reader row);
  void countEnd(std::uint64_t sequence, const Live& live, ipc::wire::TaskRow::Reader row);
  void takeListing(ipc::wire::Listing::Reader listing);

  // Stopping early, and signals.
  void stop(Stopping how);
  void askForWaiting(std::uint64_t after);
  void takeSignals();
  void takeSignal(int signal);
  void suspend();
  void signalAll(int signal);
  void holdAll(bool held);

  // Output.
  void sink(int fd, std::string_view bytes);
  void say(const std::string& text);
  bool flushOutput();
  map::Progress progress() const;

  bool finished() const;
  void turn();
  int timeoutMs();

  const MapOptions& options_;
  const ipc::Surroundings& surroundings_;
  MapJobs jobs_;
  OutputWriter out_{1};
  OutputWriter err_{2};
  map::Output output_;
  map::Halt halt_;
  std::optional<map::JobLog> jobLog_;
  MapBar bar_;
  std::chrono::steady_clock::time_point begin_ = std::chrono::steady_clock::now();

  std::unique_ptr<ipc::Client> client_;
  std::optional<SignalSource> signals_;
  std::optional<MapWindow> window_;
  std::uint64_t batch_ = 0;    // 0: not yet accepted
  std::vector<MapJob> ready_;  // pulled, not yet given
  std::size_t readyBytes_ = 0;
  std::unordered_map<std::uint64_t, Live> live_;  // given, not yet ended
  std::unordered_set<std::uint64_t> additions_;   // requests under way
  std::unordered_set<std::uint64_t> dropped_;     // jobs taken back before they started
  std::uint64_t listRequest_ = 0;
  bool inputEnded_ = false;
  bool inputBlocks_ = false;
  bool lastGiven_ = false;
  bool batchEnded_ = false;
  bool abandoned_ = false;  // a second Ctrl-C
  Stopping stopping_ = Stopping::no;
  std::optional<int> endSignal_;
  std::optional<int> softSignal_;  // starts no more: ends us only if that left something undone
  bool cut_ = false;               // not all of the input was, or will be, run
  std::uint64_t done_ = 0;
  bool saidNul_ = false;
};

}  // namespace baton::ctl
