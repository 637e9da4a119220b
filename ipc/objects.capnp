# Queues, pipes, locks, shared memory and values, as frames carry them; see baton.capnp for the rules.
#
# Objects are known by (kind, owner's uid, name). A name is 1 to 128 bytes of A-Z a-z 0-9 . _ @ / + -, and may be
# preceded by OWNER: (a user's name or uid) for somebody else's; without it is one's own. What is absent and what
# one may not use are the same answer: error unknownName, with near names.
# Time-outs: nanoseconds; 2^64-1 waits for ever, 0 does not wait. They are kept by the daemon.

@0xd3b8f1a90c6e4275;

using Cxx = import "/capnp/c++.capnp";
$Cxx.namespace("baton::ipc::wire");

enum ObjectKind { queue @0; lock @1; pipe @2; shm @3; }

# ---- listing ---------------------------------------------------------------------------------------------

# Who, to be shown; never to be trusted or signalled.
struct Party {
  uid @0 :UInt32;
  pid @1 :Int32;
  program @2 :Text;           # as its hello said, or the command of a bound process
  forNs @3 :UInt64;           # since when, as a duration up to now
  thread @4 :UInt32;          # of a lock's holder or waiter, as it said
  task @5 :UInt64;            # the task in whose tree it is; 0: none
  count @6 :UInt64;           # permits, leased messages
  mode @7 :LockMode;
}

struct ObjectRef { kind @0 :ObjectKind; name @1 :Text; }

struct ObjectListRequest {
  kind @0 :ObjectKind;
  after @1 :Text;             # names after this one; empty: from the first
  limit @2 :UInt32 = 100;     # at most 1,000
}

struct ObjectRemove {
  kind @0 :ObjectKind;
  name @1 :Text;
  force @2 :Bool;             # though it is in use, or a queue is not empty
}

struct ObjectListing {
  rows @0 :List(ObjectRow);
  next @1 :Text;              # `after` of the next page; empty: this was the last
}

struct ObjectRow {
  name @0 :Text;
  uid @1 :UInt32;             # owner
  mode @2 :UInt16;            # permission bits, as of a file: r may look, w may use
  createdNs @3 :UInt64;       # calendar
  users @4 :List(Party);      # `show` only, at most 100: who has it open or attached
  userCount @5 :UInt32;
  union {
    queue @6 :QueueRow;
    lock @7 :LockRow;
    pipe @8 :PipeRow;
    shm @9 :ShmRow;
  }
}

# How an object is made where it is absent.
struct Creation {
  create @0 :Bool;            # make it if it is absent
  exclusive @1 :Bool;         # error exists if it is there
  mode @2 :UInt16 = 0x180;    # 0600
}

# ---- queues ----------------------------------------------------------------------------------------------

# A message is bytes to the daemon. By convention they are one Value in stream framing.
#
#             put                    get                  ack, or taken
#   (delayed) ────► ready ─────────────────────► leased ─────────────────► gone
#                     ▲  front, attempt + 1         │
#                     └── nack, lease over, ────────┘
#                         consumer's end            └─ too many attempts ─► dead-letter queue, or gone

enum FullPolicy {
  block @0;                   # a put waits for room
  reject @1;                  # a put gets error full at once
  dropOldest @2;              # the oldest ready message goes, and is counted
}

struct QueueOptions {
  maxMessages @0 :UInt64 = 10000;
  maxBytes @1 :UInt64 = 67108864;    # of values
  whenFull @2 :FullPolicy;
  maxAttempts @3 :UInt32;     # 0: no bound
  deadLetters @4 :Text;       # the queue for what failed too often; empty: dropped, and counted
  leaseNs @5 :UInt64 = 30000000000;  # of a leased get that tells none
}

struct QueueOpen {
  name @0 :Text;
  creation @1 :Creation;
  options @2 :QueueOptions;   # of a new queue
}
struct QueueOpened { handle @0 :UInt32; options @1 :QueueOptions; created @2 :Bool; }

struct NewMessage {
  value @0 :Data;
  priority @1 :Int32;         # -1000..1000; the higher goes first, equal ones in the order of their puts
  delayNs @2 :UInt64;         # not to be got before
}

struct QueuePut {
  queue @0 :UInt32;
  messages @1 :List(NewMessage);   # accepted in order; the first that is not ends the put
  timeoutNs @2 :UInt64;
}

enum QueueOutcome {
  done @0;
  timedOut @1;                # full, or empty, for so long
  full @2;                    # policy reject, or a time-out of 0
  empty @3;                   # a time-out of 0
  closed @4;                  # a put to a closed queue; a get from a closed and empty one
  removed @5;                 # while it waited
}

struct QueuePutReply {
  accepted @0 :UInt32;        # so many of the first messages are in the queue
  outcome @1 :QueueOutcome;
  firstId @2 :UInt64;         # of the accepted ones; they count up
}

struct QueueGet {
  queue @0 :UInt32;
  max @1 :UInt32 = 1;         # messages, at most; it does not wait for more than one
  timeoutNs @2 :UInt64;
  lease @3 :Bool;             # each is to be acknowledged; else it is gone once it is taken
  leaseNs @4 :UInt64;         # 0: the queue's
  taken @5 :UInt64;           # as queueTaken
  detached @6 :Bool;          # the lease is nobody's: it outlives the client, until it is settled or over
}

# A message got without lease is taken when the reader's position in the ring has passed it. On a socket, which
# shows no position, the client says how many of the messages that came without lease, counted from the
# opening of the queue, it has taken; what it has not when it ends goes back to the front.
struct QueueTaken { queue @0 :UInt32; taken @1 :UInt64; }

struct QueueMessages {
  messages @0 :List(QueueMessage);
  outcome @1 :QueueOutcome;   # done: there is at least one
}

struct QueueMessage {
  id @0 :UInt64;              # in its queue, counts up
  value @1 :Data;
  priority @2 :Int32;
  attempt @3 :UInt32;         # from 1
  lease @4 :UInt64;           # 0: none
  putNs @5 :UInt64;           # calendar
}

struct QueueSettle {
  queue @0 :UInt32;
  leases @1 :List(UInt64);
  action @2 :Action;
  ns @3 :UInt64;              # nack: not before; renew: the lease from now on, 0: the queue's
  enum Action {
    ack @0;                   # done with it
    nack @1;                  # back to the front, or later; counts as an attempt
    renew @2;
    giveBack @3;              # back to the front, and it does not count: it was not looked at
  }
}
struct Settled { unknown @0 :List(UInt64); }   # leases that were over

struct QueuePeek {
  queue @0 :UInt32;
  max @1 :UInt32 = 1;
  after @2 :UInt64;           # messages put later than the one of this id
}

struct QueueControl {
  queue @0 :UInt32;
  action @1 :Action;
  count @2 :UInt64;           # done: so many
  enum Action {
    pause @0;                 # gets wait
    resume @1;
    purge @2;                 # ready and delayed messages go
    close @3;                 # puts are refused, gets go on until it is empty
    done @4;                  # for `join`: messages got without lease are worked off
  }
}

struct QueueJoin { queue @0 :UInt32; timeoutNs @1 :UInt64; }   # until every message put is acked or done

struct QueueRow {
  options @0 :QueueOptions;
  ready @1 :UInt64;
  delayed @2 :UInt64;
  leased @3 :UInt64;
  unfinished @4 :UInt64;      # as `join` counts
  bytes @5 :UInt64;
  paused @6 :Bool;
  closed @7 :Bool;
  oldestNs @8 :UInt64;        # age of the message that is next; 0: none
  putEver @9 :UInt64;
  gotEver @10 :UInt64;
  ackedEver @11 :UInt64;
  redeliveredEver @12 :UInt64;
  droppedEver @13 :UInt64;    # dropOldest
  deadEver @14 :UInt64;
  putRate @15 :Float64;       # a second, over about the last minute
  getRate @16 :Float64;
  putters @17 :List(Party);   # that wait, in order; `show` only, at most 100
  getters @18 :List(Party);
  leasers @19 :List(Party);   # who has leased messages, how many, since when
  waitingPutters @20 :UInt32;
  waitingGetters @21 :UInt32;
}

# ---- locks -----------------------------------------------------------------------------------------------

enum LockKind { mutex @0; rlock @1; semaphore @2; rwlock @3; condition @4; event @5; barrier @6; }
enum LockMode { exclusive @0; shared @1; }

struct LockOptions {
  kind @0 :LockKind;
  permits @1 :UInt32 = 1;     # semaphore: at the start; barrier: parties
  bounded @2 :Bool;           # semaphore: no more releases than acquires
  counting @3 :Bool;          # semaphore: permits belong to nobody, anybody may release, none return at a death
  handOff @4 :Bool;           # mutex: any thread or process that has it open may release it
  refuseAbandoned @5 :Bool;   # after an owner's death it is refused until `clear`; else the next owner is told
}

struct LockOpen {
  name @0 :Text;
  creation @1 :Creation;
  options @2 :LockOptions;    # of a new lock; the kind must be that of one that is there
  anyKind @3 :Bool;           # for an operator: whatever kind it is
  keep @4 :Bool;              # a new lock stays until it is removed; else it goes with its last user, unless
                              # there is something to be told of it: an abandonment, a set event, taken permits
}
struct LockOpened {
  handle @0 :UInt32;
  options @1 :LockOptions;
  created @2 :Bool;
  generationPath @3 :Data;    # file of which a client that takes locks holds a shared flock
}

struct LockPageReply { slots @0 :UInt32; }   # the memfd's layout: shm/lock_page.h; each is a page more

struct LockAcquire {
  lock @0 :UInt32;
  thread @1 :UInt32;          # who, within the client
  mode @2 :LockMode;          # of rwlocks
  count @3 :UInt32 = 1;       # permits of a semaphore
  timeoutNs @4 :UInt64;
  priority @5 :Int32;         # the higher waiter goes first, equal ones in their order
  slot @6 :UInt32;            # of the lock page, from 1, where the lock may be cached; 0: nowhere
  process @7 :Bool;           # held by the process of the pidfd that comes with it, not by this connection
}

struct Abandonment {
  by @0 :Party;               # the owner that ended; forNs since it had acquired
  agoNs @1 :UInt64;           # its end
  treeMayLive @2 :Bool;       # processes it started may still be at work
  broken @3 :Bool;            # by an operator: it may still be at work
}

struct LockGranted {
  token @0 :UInt64;           # fencing: greater with every grant of the lock
  abandoned @1 :Bool;
  abandonment @2 :Abandonment;
  notified @3 :Bool;          # conditionWait: by a notify, not by the time-out
  index @4 :UInt32;           # barrier: which of the parties, from 0
  depth @5 :UInt32;           # rlock: how often this thread has it now
}

struct LockRelease {
  lock @0 :UInt32;
  thread @1 :UInt32;
  mode @2 :LockMode;
  count @3 :UInt32 = 1;
  token @4 :UInt64;           # 0: whatever this thread holds, else the only hold of a process of this uid
}

# The word of this slot was released with recall set: the lock is the daemon's again.
struct LockReturned { slot @0 :UInt32; }

# What this connection's thread holds belongs from now on to the process of the pidfd that comes first; a socket
# that may come second is open in that process's tree: its end is the end of the tree.
struct LockBind { lock @0 :UInt32; thread @1 :UInt32; token @2 :UInt64; command @3 :Text; }

struct LockControl {
  lock @0 :UInt32;
  action @1 :Action;
  count @2 :UInt32 = 1;       # notify; 2^32-1: all
  enum Action {
    set @0;                   # event
    clear @1;                 # event; also: an abandoned lock that is refused may be had again
    notify @2;                # condition
    break @3;                 # take it from its holders; they are told at their release
    reset @4;                 # barrier: who waits gets error broken
    ignoreOlder @5;           # clients of an older daemon are said to hold nothing any more
  }
}

struct ConditionWait {
  condition @0 :UInt32;
  mutex @1 :UInt32;           # held by the thread: released, and held again at the reply
  thread @2 :UInt32;
  timeoutNs @3 :UInt64;
}

struct LockRow {
  options @0 :LockOptions;
  holders @1 :List(Party);    # at most 100
  holderCount @2 :UInt32;
  waiters @3 :List(Party);    # in order, at most 100
  waiterCount @4 :UInt32;
  free @5 :UInt32;            # semaphore: permits
  isSet @6 :Bool;             # event
  abandoned @7 :Bool;         # the next owner will be told, or refused
  abandonment @8 :Abandonment;
  cached @9 :Bool;            # free, with a client that may take it without asking
  cycle @10 :Text;            # waits-for cycle through it, if there is one
  lastToken @11 :UInt64;
  blockedBy @12 :Text;        # an older generation of the daemon that has clients with locks; empty: none
}

# ---- pipes -----------------------------------------------------------------------------------------------

struct PipeRequest {
  name @0 :Text;
  timeoutNs @1 :UInt64;       # for the other end to come
  mode @2 :UInt16 = 0x180;    # listen: who may connect
  ringBytes @3 :UInt32;       # listen: of each direction, a power of two; 0: 1 MiB
}

# Descriptors: the memfd with the two rings (layout: shm/duplex.h), this end of the doorbell between the two
# (SOCK_SEQPACKET); it ends when the peer does. The daemon is out of the way from here on.
struct PipeConnected {
  peer @0 :Party;
  ringBytes @1 :UInt32;
  listener @2 :Bool;          # this end is the one that listened
}

struct PipeRow {
  listening @0 :Bool;
  waiting @1 :List(Party);    # the listener, or clients that wait for one
}

# ---- shared memory -------------------------------------------------------------------------------------

struct ShmCreate {
  name @0 :Text;
  sizeBytes @1 :UInt64;
  creation @2 :Creation;      # `create` is implied
  keep @3 :Bool;              # stays without users until it is removed
}

struct ShmAttach { name @0 :Text; readOnly @1 :Bool; }

# The memfd comes with it. closeHandle detaches; the mapping is the client's own affair.
struct ShmAttached { handle @0 :UInt32; sizeBytes @1 :UInt64; created @2 :Bool; }

struct ShmRow { sizeBytes @0 :UInt64; keep @1 :Bool; readers @2 :UInt32; writers @3 :UInt32; }

# ---- values --------------------------------------------------------------------------------------------

# What functions and queues carry. Depth at most 10.
struct Value {
  union {
    null @0 :Void;
    bool @1 :Bool;
    int64 @2 :Int64;
    uint64 @3 :UInt64;
    float64 @4 :Float64;
    text @5 :Text;
    data @6 :Data;
    list @7 :List(Value);
    map @8 :List(Entry);
    tensor @9 :Tensor;
    opaque @10 :Opaque;
  }
}
struct Entry { key @0 :Text; value @1 :Value; }
struct Tensor {
  dtype @0 :Text;              # "f4", "f8", "i1".."i8", "u1".."u8", "b1"; little-endian
  shape @1 :List(UInt64);
  content :union { bytes @2 :Data; shm @3 :Text; }
}
struct Opaque { codec @0 :Text; bytes @1 :Data; }
