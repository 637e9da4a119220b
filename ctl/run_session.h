// One `batonctl run` from its submit to its end: the conversation with the daemon, the parcel with the task's
// descriptors, and the terminal in between. The main thread only.
#pragma once

#include <poll.h>

#include <array>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <unordered_map>
#include <vector>

#include "ctl/run_job.h"
#include "ctl/signal_source.h"
#include "ctl/submit_options.h"
#include "ctl/terminal.h"
#include "ctl/terminal_relay.h"
#include "ctl/waiting_hint.h"
#include "ipc/client.h"

namespace baton::ctl {

struct RunRequest {
  const SubmitOptions& options;
  const std::vector<std::string>& argv;
  ipc::Which which = ipc::Which::any;
};

class RunSession final : private JobActions {
 public:
  // Submits. Throws what ipc::Client throws.
  explicit RunSession(const RunRequest& request);
  ~RunSession() override = default;
  RunSession(const RunSession&) = delete;
  RunSession& operator=(const RunSession&) = delete;

  struct End {
    ipc::ReceivedFrame frame;   // `ended`
    std::optional<int> signal;  // batonctl is to end by it
    bool wholeGroup = false;    // and what runs beside it too, as if the key had interrupted all of them
    bool asTold = false;        // the task ended by a signal that batonctl had passed on
  };
  // Carries on until the task has ended and all it wrote has gone out. The terminal is as it was then. Throws
  // the daemon's refusal, or Error(disconnected).
  End run();

 private:
  // What the daemon and the parcel say.
  void takeFrames();
  void takeFrame(ipc::ReceivedFrame frame);
  void takeStarted();
  void takeMaster();
  void sendDescriptors();
  void say(const std::string& text);

  // The loop.
  void turn();
  void takeSignals();
  bool finished();
  int timeoutMs() const;
  void drainToTerminal();

  // JobActions
  void signalTask(int signal) override;
  void cancelTask() override;
  void continueTask(bool foreground) override;
  void holdTask(bool held) override;
  bool hasTerminal() override { return relay_.has_value(); }
  bool inForeground() override { return terminal_ && terminal_->inForeground(); }
  void takeTerminal() override;
  void leaveTerminal() override;
  void resize() override;
  bool stopGroup(int signal) override { return signals_->stopGroup(signal); }

  static constexpr std::size_t kPolled = 5;

  const SubmitOptions& options_;
  std::uint8_t terminals_;
  std::optional<Terminal> terminal_;
  std::optional<TerminalRelay> relay_;
  RunJob job_;
  shm::Fd parcel_;  // our end; closed when nothing more can come by it
  std::unique_ptr<ipc::Client> client_;
  std::optional<SignalSource> signals_;
  std::optional<WaitingHint> hint_;
  std::uint64_t task_ = 0;  // 0: not yet accepted
  unsigned attemptsStarted_ = 0;
  std::vector<int> earlySignals_;                     // before it was accepted
  std::unordered_map<std::uint64_t, int> forwarded_;  // by request
  std::set<int> everForwarded_;
  bool givenUp_ = false;  // a signal after the end: what the terminal does not take is left
  std::optional<ipc::ReceivedFrame> ended_;
};

}  // namespace baton::ctl
