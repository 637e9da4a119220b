// Words for what rows of listings say. All of it is escaped.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <vector>

#include "ipc/baton.capnp.h"

namespace baton::ctl {

// "running", "timed_out"; as JSON has them too.
const char* stateName(ipc::wire::State state);
// "exited", "time_limit"; "" for none.
const char* causeName(ipc::wire::Cause cause);

// The one word for a batch: what its least finished task does, else its worst end.
const char* batchStateName(ipc::wire::BatchRow::Reader row);
// "3 of 10 done, 1 failed, 2 running".
std::string batchProgress(ipc::wire::BatchRow::Reader row);

std::vector<std::string> words(capnp::List<capnp::Data>::Reader argv);
// The command as one would type it.
std::string commandText(capnp::List<capnp::Data>::Reader argv);
std::string textOf(capnp::Data::Reader bytes);

// "12", or "12.3" for a batch's task.
std::string idText(ipc::wire::TaskRow::Reader row);

std::uint64_t calendarNowNs();
// "3 min" for the time from `fromNs` to `toNs`, "0 s" if that is none.
std::string durationText(std::uint64_t fromNs, std::uint64_t toNs);
std::string durationText(std::uint64_t ns);
// Local time to the second, "2026-01-31 12:00:00"; "" for 0.
std::string calendarText(std::uint64_t ns);
// "2026-01-31T12:00:00.123456Z".
std::string timestampText(std::uint64_t ns);

}  // namespace baton::ctl
