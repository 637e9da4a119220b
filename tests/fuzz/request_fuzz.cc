// Every request against the daemon's real parts, over a real socket: a session of hostile frames, each input
// on a daemon of its own that starts no worker. Whatever comes, the daemon answers with frames that can be
// read or closes the connection, and nothing attached outlives it.
//
// An input: a byte of flags, then frames: two bytes of length, little-endian, and so many bytes, which become
// one segment. Flags: 1 the rest is sent as it is; 2 a parcel comes with the first frame; 4 the last frame is
// not sent, but comes in a sealed memfd with the first one; 8 the daemon is drained.
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <string>
#include <thread>
#include <vector>

#include "daemon/lock_requests.h"
#include "daemon/queue_requests.h"
#include "daemon/requests.h"
#include "ipc/connection.h"
#include "ipc/parcel.h"
#include "shm/memfd.h"
#include "tests/fuzz/target.h"

namespace {

using namespace baton;
using Bytes = std::vector<std::byte>;

constexpr int kMaxTurns = 10'000;

// What is made once: a directory in memory and the socket in it, and what is the same for every daemon. A
// thread for each input would be a third of all the time, and most of it under a sanitizer.
struct Place {
  Place() {
    // For those that wait to be closed, and those in use.
    rlimit files{};
    ::getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    ::setrlimit(RLIMIT_NOFILE, &files);
    char path[] = "/dev/shm/baton-fuzz-XXXXXX";
    if (::mkdtemp(path) == nullptr) std::abort();
    directory = path;
    address.sun_family = AF_UNIX;
    std::strncpy(address.sun_path, (directory + "/socket").c_str(), sizeof(address.sun_path) - 1);
    listener = shm::Fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    if (::bind(listener.get(), reinterpret_cast<sockaddr*>(&address), sizeof(address)) < 0) std::abort();
    if (::listen(listener.get(), 8) < 0) std::abort();
  }
  ~Place() { std::filesystem::remove_all(directory); }
  Place(const Place&) = delete;
  Place& operator=(const Place&) = delete;

  shm::Fd connect() const {
    shm::Fd client(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    if (::connect(client.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)) < 0)
      std::abort();
    return client;
  }

  std::string directory;
  sockaddr_un address{};
  shm::Fd listener;
  daemon::Closer closer;
  daemon::Powers powers = daemon::Powers::ofThisProcess();
};

Place& place() {
  static Place made;
  ::unlink((made.directory + "/ids").c_str());
  return made;
}

class Rig final : public daemon::Control {
 public:
  explicit Rig(Place& place)
      : closer_(place.closer),
        ids_(place.directory),
        logs_({place.directory + "/logs", 1U << 30, 64U << 20, true, {}}),
        registry_(ids_, {}),
        scheduler_(daemon::SchedulerOptions{}),
        pool_(loop_, logs_, {}),
        contexts_(config_.values().contextBytes, place.powers),
        dispatcher_({loop_, registry_, scheduler_, pool_, store_}),
        chores_(loop_),
        subscriptions_({registry_, dispatcher_, pool_, chores_}),
        queues_({loop_, subscriptions_}, {}),
        locks_({loop_, subscriptions_, closer_, place.directory}),
        objects_(subscriptions_),
        requests_({loop_, registry_, scheduler_, dispatcher_, pool_, contexts_, logs_, closer_,
                   subscriptions_, *this, chores_, objects_}),
        server_(loop_, requests_, closer_, {{}, [](daemon::Uid) { return true; }}) {
    pool_.setEvents(dispatcher_);
    dispatcher_.setObserver(subscriptions_);
    dispatcher_.freeze();
    subscriptions_.setServer(server_);
    requests_.setServer(server_);
    queues_.setServer(server_);
    objects_.add(queues_);
    locks_.setServer(server_);
    objects_.add(locks_);
    server_.listen(shm::Fd(::dup(place.listener.get())));
  }

  // Until there is nothing more to do.
  void settle(ipc::Connection* client) {
    bool more = true;
    for (int turns = 0; more; ++turns) {
      if (turns > kMaxTurns) std::abort();
      more = loop_.turn();
      pool_.flush();
      server_.flush();
      if (client != nullptr) more = readReplies(*client) || more;
    }
  }

  void checkAfterTheSession() {
    if (server_.size() != 0) std::abort();
    using daemon::State;
    if (registry_.unfinished() != registry_.count(State::QUEUED) + registry_.count(State::HELD)) std::abort();
    registry_.forEach(0, [](daemon::Registry::Entry& entry) {
      if (entry.task != nullptr && entry.task->attached && !daemon::isEnd(entry.task->state)) std::abort();
      if (entry.batch && (!entry.batch->closed || (entry.batch->attached && !entry.batch->ended())))
        std::abort();
      return true;
    });
    checkQueues();
  }

  void setDraining(bool draining) override { draining_ = draining; }
  bool draining() const override { return draining_; }
  void stop(bool) override { stopping_ = true; }
  bool stopping() const override { return stopping_; }
  std::vector<std::string> reload() override { throw Error(Code::usage, "batond.toml:1: wrong"); }
  const daemon::LoadedConfig& config() const override { return config_; }
  void fillStatus(ipc::wire::Status::Builder status) const override { status.setVersion("fuzz"); }
  std::string noticeOnce() override { return "a notice"; }

 private:
  // Nobody has one open, waits for it, or holds anything of it but by a lease that is nobody's.
  void checkQueues() const {
    queues_.visit({}, [this](const daemon::ObjectHead& head) {
      ipc::Message message;
      auto row = message.frame().initObjects().initRows(1)[0];
      queues_.write(head, true, row);
      const auto queue = row.asReader().getQueue();
      if (row.getUserCount() != 0 || queue.getWaitingPutters() != 0 || queue.getWaitingGetters() != 0)
        std::abort();
      if (queue.getLeasers().size() > 1) std::abort();
      const std::uint64_t held = queue.getLeasers().size() == 0 ? 0 : queue.getLeasers()[0].getCount();
      if (held != queue.getLeased()) std::abort();
      if (queue.getPutEver() > 0 && queue.getUnfinished() > queue.getPutEver()) std::abort();
      return true;
    });
  }

  // False: nothing has come.
  static bool readReplies(ipc::Connection& client) {
    bool any = false;
    while (true) {
      const auto input = client.receive();
      while (const auto frame = client.next()) {
        any = true;
        const auto which = static_cast<unsigned>(frame->get().which());
        const bool reply = which >= ipc::wire::Frame::OK && which <= ipc::wire::Frame::NOTICE;
        const bool objects = which >= ipc::wire::Frame::OBJECTS && which <= ipc::wire::Frame::SHM_ATTACHED;
        if (!reply && !objects) std::abort();
        static_cast<void>(frame->get().totalSize());
      }
      if (input != ipc::Connection::Input::more) return any;
    }
  }

  daemon::Loop loop_;
  daemon::LoadedConfig config_;
  bool draining_ = false;
  bool stopping_ = false;
  daemon::Closer& closer_;
  daemon::IdCounter ids_;
  daemon::LogStore logs_;
  daemon::Registry registry_;
  daemon::Scheduler scheduler_;
  daemon::Pool pool_;
  daemon::NullStore store_;
  daemon::ContextTable contexts_;
  daemon::Dispatcher dispatcher_;
  daemon::Chores chores_;
  daemon::Subscriptions subscriptions_;
  daemon::QueueRequests queues_;
  daemon::LockRequests locks_;
  daemon::ObjectDispatch objects_;
  daemon::Requests requests_;
  daemon::Server server_;
};

// The words behind a segment table of their own.
void appendSegment(Bytes& out, std::span<const std::byte> words) {
  const std::uint32_t table[2] = {0, static_cast<std::uint32_t>(words.size() / 8)};
  const auto* bytes = reinterpret_cast<const std::byte*>(table);
  out.insert(out.end(), bytes, bytes + sizeof(table));
  out.insert(out.end(), words.begin(), words.begin() + static_cast<std::ptrdiff_t>(words.size() / 8 * 8));
}

std::vector<std::span<const std::byte>> split(std::span<const std::byte> rest) {
  std::vector<std::span<const std::byte>> frames;
  while (rest.size() >= 2) {
    const std::size_t wanted = std::to_integer<std::size_t>(rest[0]) | std::to_integer<std::size_t>(rest[1])
                                                                           << 8;
    rest = rest.subspan(2);
    frames.push_back(rest.first(std::min(wanted, rest.size())));
    rest = rest.subspan(frames.back().size());
  }
  return frames;
}

Bytes helloBytes() {
  ipc::Message hello;
  hello.frame().setId(1);
  hello.frame().initHello().setMajor(ipc::wire::VERSION_MAJOR);
  Bytes bytes;
  hello.appendTo(bytes);
  return bytes;
}

void sendAll(int socket, std::span<const std::byte> bytes, const std::vector<shm::Fd>& fds) {
  iovec part{const_cast<std::byte*>(bytes.data()), bytes.size()};
  msghdr header{};
  header.msg_iov = &part;
  header.msg_iovlen = 1;
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int) * 2)] = {};
  if (!fds.empty()) {
    header.msg_control = control;
    header.msg_controllen = CMSG_SPACE(sizeof(int) * fds.size());
    cmsghdr* rights = CMSG_FIRSTHDR(&header);
    rights->cmsg_level = SOL_SOCKET;
    rights->cmsg_type = SCM_RIGHTS;
    rights->cmsg_len = CMSG_LEN(sizeof(int) * fds.size());
    for (std::size_t i = 0; i < fds.size(); ++i) {
      const int fd = fds[i].get();
      std::memcpy(CMSG_DATA(rights) + i * sizeof(int), &fd, sizeof(int));
    }
  }
  if (!bytes.empty() && ::sendmsg(socket, &header, MSG_NOSIGNAL | MSG_DONTWAIT) < 0) std::abort();
}

}  // namespace

void fuzzOne(std::span<const std::uint8_t> input) {
  constexpr std::uint8_t kRaw = 1;
  constexpr std::uint8_t kParcel = 2;
  constexpr std::uint8_t kMemfd = 4;
  constexpr std::uint8_t kDrained = 8;
  if (input.empty() || input.size() > 65536) return;
  const std::uint8_t flags = input[0];
  const auto rest = std::as_bytes(input.subspan(1));
  Bytes sent;
  std::vector<shm::Fd> fds;
  std::pair<shm::Fd, shm::Fd> parcel;
  if ((flags & kParcel) != 0) {
    parcel = ipc::makeParcel();
    fds.push_back(std::move(parcel.second));
  }
  if ((flags & kRaw) != 0) {
    sent.assign(rest.begin(), rest.end());
  } else {
    auto frames = split(rest);
    if ((flags & kMemfd) != 0 && !frames.empty()) {
      Bytes content;
      appendSegment(content, frames.back());
      fds.push_back(shm::sealedMemfd(content));
      frames.pop_back();
    }
    for (const auto& frame : frames) appendSegment(sent, frame);
  }
  Place& where = place();
  while (where.closer.stuck()) std::this_thread::yield();
  Rig rig(where);
  {
    ipc::Connection client(where.connect());
    sendAll(client.fd(), helloBytes(), {});
    rig.settle(&client);
    if ((flags & kDrained) != 0) rig.setDraining(true);
    sendAll(client.fd(), sent, fds);
    rig.settle(&client);
  }
  rig.settle(nullptr);
  rig.checkAfterTheSession();
}
