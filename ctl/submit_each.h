// `submit --each`: a batch with one task for each record of a file or of stdin. Records are read as the
// daemon takes them, so memory stays flat however many there are.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "ctl/map/input.h"
#include "ctl/map/shell_line.h"
#include "ctl/map/template.h"
#include "ctl/submit_options.h"
#include "ipc/client.h"

namespace baton::ctl {

class SubmitEach {
 public:
  struct Request {
    const SubmitOptions& options;
    const std::vector<std::string>& command;  // empty: each record is a command
    std::string file;                         // "-": stdin
    char delimiter = '\n';
  };

  // Opens the file and captures the surroundings. Throws Error(usage) for what is wrong with them.
  explicit SubmitEach(const Request& request);

  // Makes the batch and returns its id. `client` must outlive this.
  std::uint64_t open(ipc::Client& client);
  // Adds a task for every record, and closes the batch. Blocks as long as the input does. When it fails the
  // batch is cancelled and the error thrown.
  void addAll(ipc::Client& client);

 private:
  void addRecords(ipc::Client& client);
  void add(const std::string& record);
  void send(ipc::Client& client, bool last);
  // Takes the daemon's answers until fewer than `most` are outstanding.
  void settle(ipc::Client& client, unsigned most);
  void waitForInput(ipc::Client& client);
  void cancel(ipc::Client& client);

  const SubmitOptions& options_;
  ipc::Surroundings surroundings_;
  map::RecordStream records_;
  map::ShellLine shellLine_;
  map::Template template_;
  std::size_t maxFrameBytes_ = 0;
  std::uint64_t batch_ = 0;
  std::uint64_t sequence_ = 0;
  std::vector<std::vector<std::string>> pending_;
  std::size_t pendingBytes_ = 0;
  unsigned outstanding_ = 0;
};

}  // namespace baton::ctl
