// The jobs' arguments, one job at a time: all combinations of the sources, the last source varying fastest.
//
// A file or stdin that comes first is read as jobs are asked for, so it may be endless; further ones are held
// in memory (at most 256 MiB) since they are gone through many times, and so is the first one if the number
// of jobs must be known before the first of them. An empty source among others counts as one empty value.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "ctl/map/record_stream.h"
#include "ctl/map/sources.h"
#include "ctl/map/template.h"

namespace baton::ctl::map {

struct InputOptions {
  char delimiter = '\n';                           // '\0' for -0; for files and stdin only
  int stdinFd = 0;                                 // not owned; must stay open
  std::size_t heldBytes = std::size_t{256} << 20;  // limit of what sources that are held take
  bool countFirst = false;                         // hold the first one too
  std::size_t readAheadBytes = 0;                  // of the first one, so that total() is known early
};

class Input {
 public:
  // Opens all files. Throws Error(usage) for one that cannot be opened, or stdin named twice.
  explicit Input(std::vector<Source> sources, InputOptions options = {});

  // Never blocks for a pipe or terminal (a regular file's disk may). Throws as RecordStream::next.
  Pull next(Arguments& arguments);
  // To be polled for input after wouldBlock; -1 otherwise.
  int waitFd() const { return waitFd_; }
  // Reads ahead as far as it may. Returns what to poll for input before it is worth another call; -1:
  // nothing.
  int readAhead();
  // How many jobs there are in all, once that is known.
  std::optional<std::uint64_t> total() const;
  // Whether stdin is one of the sources, so that jobs get /dev/null and a terminal deserves a hint.
  bool readsStdin() const { return readsStdin_; }
  bool replacedNul() const;

 private:
  // Sources that step together.
  struct Axis {
    std::vector<std::vector<std::string>> values;  // by source, then by step
    std::size_t steps = 0;
    std::size_t at = 0;
  };
  // A file whose records are still to be held.
  struct Pending {
    std::size_t axis = 0;
    std::size_t source = 0;
    std::unique_ptr<RecordStream> stream;
  };

  std::unique_ptr<RecordStream> open(const Source& source);
  void hold(Source source);
  Pull loadPending();
  void settle();
  Pull advance();
  // Moves the held axes to their next combination; false if that is the first one again.
  bool stepAxes();
  Pull nextHead();
  Pull readHead();
  void fill(Arguments& arguments) const;

  InputOptions options_;
  bool readsStdin_ = false;
  bool replacedNul_ = false;  // in a stream that has ended
  int waitFd_ = -1;

  std::unique_ptr<RecordStream> head_;  // the first source, if it is read as jobs are asked for
  std::string headRecord_;
  std::uint64_t headRecords_ = 0;
  bool headWanted_ = true;  // the combinations with headRecord_ are through
  bool headEnded_ = false;
  std::deque<std::string> ahead_;  // records of head_ read ahead
  std::size_t aheadBytes_ = 0;
  bool headRead_ = false;  // to its end

  std::vector<Axis> axes_;  // without the head
  std::vector<Pending> pending_;
  std::size_t heldBytes_ = 0;
  bool settled_ = false;            // nothing is pending, the next two are valid
  bool axesEmpty_ = false;          // none of the axes has a value
  std::uint64_t combinations_ = 1;  // of the axes
  bool started_ = false;
  bool ended_ = false;
};

}  // namespace baton::ctl::map
