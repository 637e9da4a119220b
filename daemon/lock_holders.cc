// The part of LockRequests about processes that hold locks: `lock acquire --pid`, `lock run`.
#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <charconv>
#include <fstream>

#include "daemon/lock_requests.h"
#include "daemon/lock_rows.h"
#include "ipc/error.h"

namespace baton::daemon {
namespace {

// For the processes that a holder has started to end too, where nothing but their open socket tells of them.
constexpr std::chrono::nanoseconds kTreePatience = std::chrono::seconds(10);
constexpr std::size_t kMaxCommandBytes = 256;

// Looks at nothing but its link in /proc, which no file system can block.
bool isPidfd(int fd) {
  char target[64];
  const std::string link = "/proc/self/fd/" + std::to_string(fd);
  const ssize_t size = ::readlink(link.c_str(), target, sizeof(target));
  if (size <= 0) return false;
  const std::string_view text(target, static_cast<std::size_t>(size));
  return text == "anon_inode:[pidfd]" || text.starts_with("pidfd:[");
}

bool isSocket(int fd) {
  int type = 0;
  socklen_t size = sizeof(type);
  return ::getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &size) == 0;
}

// Of a pidfd that was checked; 0: it has ended and was reaped.
std::int32_t pidOf(int pidfd) {
  std::ifstream info("/proc/self/fdinfo/" + std::to_string(pidfd));
  for (std::string line; std::getline(info, line);) {
    if (!line.starts_with("Pid:")) continue;
    const std::size_t digits = line.find_first_of("-0123456789");
    std::int32_t pid = 0;
    if (digits != line.npos) std::from_chars(line.data() + digits, line.data() + line.size(), pid);
    return pid > 0 ? pid : 0;
  }
  return 0;
}

}  // namespace

LockWho whoIs(const shm::Fd& pidfd, Uid asker) {
  const std::int32_t pid = pidOf(pidfd.get());
  if (pid == 0) throw Error(Code::usage, "the process that is to hold the lock has ended");
  const std::string directory = "/proc/" + std::to_string(pid);
  struct stat status {};
  if (::stat(directory.c_str(), &status) < 0 || (status.st_uid != asker && asker != 0)) {
    throw Error(Code::refused, "process " + std::to_string(pid) + " is not yours");
  }
  LockWho who{.uid = status.st_uid, .pid = pid, .program = {}};
  std::ifstream comm(directory + "/comm");
  std::getline(comm, who.program);
  return who;
}

LockClient LockRequests::hold(const Session& session, shm::Fd pidfd, shm::Fd witness) {
  ipc::Charge charge(session.descriptors);
  const bool room = charge.tryRaise(1);
  if (!room || !isPidfd(pidfd.get()) || (witness && !isSocket(witness.get()))) {
    closer_.close(std::move(pidfd));
    if (witness) closer_.close(std::move(witness));
    if (room) throw Error(Code::usage, "a lock for a process comes with its pidfd, and a socket of its tree");
    throw Error(Code::quota, "more than " + std::to_string(session.descriptors->limit()) +
                                 " processes of yours hold locks, or tasks wait with descriptors (config "
                                 "descriptors)");
  }
  const LockClient client = ++lastClient_;
  Holder& holder = holders_[client];
  holder.charge = std::move(charge);
  holder.pidfd = std::move(pidfd);
  holder.witness = std::move(witness);
  holder.end =
      loop_.onIo(holder.pidfd.get(), EPOLLIN, [this, client](std::uint32_t) { holderEnded(client); });
  if (holder.witness) {
    holder.treeEnd = loop_.onIo(holder.witness.get(), 0, [this, client](std::uint32_t) {
      // Its other ends are closed: the tree has ended. What may have been written into it is of no interest.
      const auto found = holders_.find(client);
      if (found == holders_.end()) return;
      found->second.treeEnd.reset();
      closer_.close(std::move(found->second.witness));
      if (found->second.ended) holderEnded(client);
    });
  }
  return client;
}

// Who would have released for them has gone.
void LockRequests::keeperEnded(SessionId keeper) {
  std::vector<LockClient> ended;
  for (auto& [client, holder] : holders_) {
    if (holder.keeper != keeper) continue;
    holder.keeper = 0;
    if (holder.ended) ended.push_back(client);
  }
  for (const LockClient client : ended) holderEnded(client);
}

void LockRequests::holderEnded(LockClient client) {
  Holder& holder = holders_.at(client);
  holder.ended = true;
  holder.end.reset();
  // `lock run` releases in a moment what its command held.
  if (holder.keeper != 0 && server_->find(holder.keeper) != nullptr) return;
  if (!holder.witness) {
    treeEnded(client, false);
    return;
  }
  holder.patience = loop_.onTimer([this, client] { treeEnded(client, true); });
  holder.patience.arm(kTreePatience);
}

// A process is a client of its own for each lock that it holds: it holds nothing any more. 0: none.
void LockRequests::dropHolder(LockClient client) {
  // The sources end with it, one of which may be calling.
  auto holder = holders_.extract(client);
  // What waits in the socket of a stranger may take its time to close.
  if (!holder.empty() && holder.mapped().witness) closer_.close(std::move(holder.mapped().witness));
}

void LockRequests::treeEnded(LockClient client, bool treeMayLive) {
  dropHolder(client);
  table_.clientEnded(client, treeMayLive, monotonicNow());
  settle();
}

void LockRequests::acquireForProcess(Session& session, RequestId request, LockId lock, LockAcquire wanted,
                                     ipc::ReceivedFrame& frame) {
  if (frame.fds.empty()) throw Error(Code::usage, "a lock for a process comes with its pidfd");
  const LockClient holder = hold(session, std::move(frame.fds.front()), {});
  try {
    wanted.party = {holder, 0};
    wanted.who = std::make_shared<const LockWho>(whoIs(holders_.at(holder).pidfd, session.uid));
    wanted.wait = beginWait(session, request, holder);
  } catch (const Error&) {
    dropHolder(holder);
    throw;
  }
  table_.acquire(lock, wanted, monotonicNow());
  settle();
}

void LockRequests::bind(Session& session, RequestId request, ipc::ReceivedFrame& frame) {
  const auto asked = frame.get().getLockBind();
  const LockId lock = lockOf(session, asked.getLock()).id;
  if (frame.fds.empty()) throw Error(Code::usage, "a lock for a process comes with its pidfd");
  shm::Fd pidfd = std::move(frame.fds.front());
  shm::Fd witness = frame.fds.size() > 1 ? std::move(frame.fds[1]) : shm::Fd();
  const LockClient holder = hold(session, std::move(pidfd), std::move(witness));
  try {
    LockWho who = whoIs(holders_.at(holder).pidfd, session.uid);
    who.program = std::string(asked.getCommand().cStr()).substr(0, kMaxCommandBytes);
    holders_.at(holder).keeper = session.id;
    const LockParty mine{user(session).client, asked.getThread()};
    const bool bound = table_.bind(lock, mine, {holder, 0}, std::make_shared<const LockWho>(std::move(who)),
                                   asked.getToken());
    if (!bound) throw Error(Code::notHeld, "the lock that is to be bound is not held");
  } catch (const Error&) {
    dropHolder(holder);
    throw;
  }
  ok(session, request);
}

}  // namespace baton::daemon
