// Collects what the jobs of `map` write and passes it on job by job, so that no two jobs' outputs mix.
//
// A job's stdout is passed on before its stderr, when it has ended; without keepOrder in the order of ends,
// with it in the order of the input. With keepOrder the stdout of the first job not yet through is passed on
// as it comes. Memory is bounded: beyond the limits below all goes to a temporary file. Nothing is ever cut.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "ctl/map/spill_file.h"

namespace baton::ctl::map {

struct OutputOptions {
  bool keepOrder = false;
  bool tag = false;        // each line after its job's tag and a TAB
  bool streamHead = true;  // false if a job may start anew (--retries): then its output waits for its end
  std::size_t jobBytes = std::size_t{1} << 20;     // of one job in memory
  std::size_t totalBytes = std::size_t{64} << 20;  // of all jobs in memory
  std::string temporaryDirectory = "/tmp";         // see temporaryDirectory()
};

// $TMPDIR, else /tmp.
std::string temporaryDirectory();

// The functions that pass output on may block as the sink does, and throw what it throws; a job's output is
// then lost. All that deal with held output throw Error(system) if the temporary file cannot take it or be
// read.
class Output {
 public:
  // `fd` is 1 or 2. The sink has dealt with the bytes when it returns: they may not live longer.
  using Sink = std::function<void(int fd, std::string_view bytes)>;
  enum class Stream { out, err };

  Output(OutputOptions options, Sink sink);

  // Sequence numbers count from 1; each begins once, and before its first write. With keepOrder a number that
  // never begins holds up all after it. `tag` is used with OutputOptions::tag only, and comes without the
  // TAB.
  void begin(std::uint64_t sequence, std::string tag = "");
  void write(std::uint64_t sequence, Stream stream, std::string_view bytes);
  // Forgets what the job wrote: it starts anew. Only with streamHead = false.
  void restart(std::uint64_t sequence);
  // The job has ended; passes on all that is due by it. Returns how many bytes the job wrote to its stdout.
  // Does nothing for a number that is already through.
  std::uint64_t end(std::uint64_t sequence);
  // The job was ended by --halt now or Ctrl-C: what is held of it is dropped, and those after it need not
  // wait for it.
  void discard(std::uint64_t sequence);

  // Jobs begun and not yet through. With keepOrder each costs some 200 bytes even if it wrote nothing: start
  // no more jobs while there are very many of them (a slow first job).
  std::size_t openJobs() const { return jobs_.size(); }
  // All held in memory, for tests and statistics.
  std::size_t heldBytes() const { return heldBytes_; }

 private:
  struct Held {
    std::vector<Extent> spilled;  // older than `memory`
    std::string memory;
    std::uint64_t written = 0;
    bool inLine = false;  // the last byte passed on was inside a line
  };
  struct Job {
    std::string tag;
    std::array<Held, 2> streams;
    bool ended = false;
  };

  bool isStreamed(std::uint64_t sequence, Stream stream) const;
  void hold(Job& job, Held& held, std::string_view bytes);
  void spill(Job& job);
  void drop(Job& job);
  void passOn(Job& job, Stream stream);
  void emit(const Job& job, Held& held, int fd, std::string_view bytes);
  void flushJob(Job& job);
  // Passes on all that is no longer held up by an earlier job.
  void advance();

  OutputOptions options_;
  Sink sink_;
  SpillFile spillFile_;
  std::map<std::uint64_t, Job> jobs_;
  std::uint64_t head_ = 1;  // with keepOrder: the first job not yet through
  std::size_t heldBytes_ = 0;
};

}  // namespace baton::ctl::map
