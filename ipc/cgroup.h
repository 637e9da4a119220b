// Directories of cgroup v2, as daemon, guard and workers handle those that are theirs.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <string>
#include <string_view>
#include <vector>

namespace baton::ipc {

// True if a process that has not ended is in it or below. False too where that cannot be read.
bool cgroupPopulated(int directory);

// SIGKILL to all in it and below, whosoever they are: what they fork meanwhile dies too. False: it is not
// there, or cannot be done.
bool killCgroup(int directory);

// The processes in it, not those below.
std::vector<pid_t> cgroupProcesses(int directory);

// Writes one of its files. False: errno says why.
bool writeCgroupFile(int directory, const char* name, std::string_view text);

// Removes it, with all below it, as far as nothing is in them. True: nothing is there (any more).
bool removeCgroup(const std::string& path);

// Kills all that is in it and below, waits for their end, removes it. May block for `patience`. True: nothing
// is there (any more).
bool endCgroup(const std::string& path, std::chrono::milliseconds patience);

}  // namespace baton::ipc
