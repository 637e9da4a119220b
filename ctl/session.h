// A verb's conversation with the daemon.
#pragma once

#include <functional>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "ctl/arguments.h"
#include "ctl/selection.h"
#include "ctl/waiting_hint.h"
#include "ipc/client.h"

namespace baton::ctl {

// To a daemon that runs. Throws Error(noDaemon) if none does.
ipc::Client connect(const CommonOptions& common);
// To a running daemon; nullopt, and a line on stderr, if none runs: for verbs whose answer is then "nothing".
std::optional<ipc::Client> tryConnect(const CommonOptions& common);
// Starts the user's daemon if none runs: for verbs that make something.
ipc::Client connectOrStart(const CommonOptions& common);

// The final reply to request `id`, telling meanwhile what it waits for. Events before it go to `onEvent`,
// notices of the daemon to stderr. An error reply is thrown.
ipc::ReceivedFrame awaitReply(ipc::Client& client, std::uint64_t id, WaitingHint& hint,
                              const ipc::Client::EventHandler& onEvent = {});

// The ids on the command line. Throws Error(usage) if there is none.
std::vector<TaskRef> requiredRefs(const char* verb, std::span<const std::string> words, ipc::Client& client);

// Calls `tell`, which prints the ids of these new tasks or batches, and what it throws is thrown: but first
// they are cancelled. What nobody was told of is not left behind.
void tellIds(ipc::Client& client, std::span<const TaskRef> made, const std::function<void()>& tell);

// Throws Error(tooLarge) for a message of more than `mostBytes`, which is what the daemon's hello says it
// takes.
void checkSize(ipc::Message& message, std::size_t mostBytes, const char* what);

}  // namespace baton::ctl
