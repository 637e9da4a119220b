# The protocol of baton. Every frame on every transport is one message of type Frame.
#
#   client                                   batond                                 baton-worker
#     | hello -------------------------------> |                                          |
#     | <------------------------ helloReply   |                                          |
#     | submit (argv, context, parcel) ------> | queued; a slot is free: running          |
#     | <------------- accepted (event)        | assign (argv, context, parcel) --------> |
#     | <------------- started (event)         | <------------------------------ started  |
#     | <------------- ended (final reply)     | <-------------------------------- ended  |
#
# Rules. A request carries an id that the client chooses, not 0 and not in use. Replies and events that
# belong to it carry the same id. A request gets exactly one final reply: the one named beside it, or `error`;
# events may come before. Frames between daemon and worker that are no request carry id 0.
# Durations are monotonic nanoseconds; 0 means none unless said otherwise. Calendar times are nanoseconds
# since 1970-01-01 UTC. What comes from a command line, an environment or a path is Data: bytes without NUL.
# Fields and union members are only ever added; see docs/protocol.md for framing, limits and the hello rules.

@0xa6d1c3f27b90e845;

using Cxx = import "/capnp/c++.capnp";
$Cxx.namespace("baton::ipc::wire");
using Objects = import "objects.capnp";   # queues, pipes, locks, shared memory, values

const versionMajor :UInt16 = 1;
const versionMinor :UInt16 = 0;

struct Frame {
  id @0 :UInt64;       # request that this frame belongs to; below 2^53
  fdCount @1 :UInt8;   # descriptors sent with the frame's first byte; at most 16
  after @60 :UInt32;   # with rings: how many frames the sender had sent on the other transport, modulo 2^32

  union {
    # Requests of clients. The final reply is named behind each.
    hello @2 :Hello;                  # -> helloReply; must be the first frame of a connection
    ping @3 :Void;                    # -> ok
    submit @4 :Submit;                # -> submitted; if attached: event accepted, then -> ended
    openBatch @5 :OpenBatch;          # -> batchEnded; events accepted, output, taskEnded before it
    addTasks @6 :AddTasks;            # -> ok, once its tasks are recorded
    list @7 :ListRequest;             # -> listing
    show @8 :Selection;               # -> listing, with every field of each row
    explain @9 :Selection;            # -> explanations
    wait @10 :WaitRequest;            # -> listing of what was waited for, or error timedOut
    cancel @11 :CancelRequest;        # -> ok
    kill @12 :KillRequest;            # -> ok
    hold @13 :Selection;              # -> ok
    release @14 :Selection;           # -> ok
    retry @15 :Selection;             # -> submittedMany: the ids of the new tasks
    logs @16 :LogsRequest;            # -> logFiles, with one descriptor per part
    events @17 :EventsRequest;        # -> none until the connection ends; event taskEvent
    status @18 :Void;                 # -> statusReply
    workers @19 :Void;                # -> workersReply
    recycleWorkers @20 :Void;         # -> ok; every worker is replaced after its present task
    drain @21 :Bool;                  # -> ok; true: reply when nothing runs or waits any more
    resume @22 :Void;                 # -> ok
    stop @23 :StopRequest;            # -> ok once the daemon has begun to stop
    reload @24 :Void;                 # -> reloaded
    config @25 :Void;                 # -> configReply
    continueTask @26 :Continue;       # -> ok; takes a stopped task's slot again and continues it

    # Final replies.
    ok @27 :Void;
    error @28 :Error;
    helloReply @29 :HelloReply;
    submitted @30 :UInt64;            # the task's id
    submittedMany @31 :List(UInt64);
    ended @32 :TaskRow;               # an attached task's end
    batchEnded @33 :BatchRow;
    listing @34 :Listing;
    explanations @35 :List(Explanation);
    logFiles @36 :LogFiles;
    statusReply @37 :Status;
    workersReply @38 :List(WorkerRow);
    reloaded @39 :List(Text);         # one line per changed key; empty if nothing changed
    configReply @40 :List(ConfigRow);

    # Events: none of them ends its request.
    accepted @41 :UInt64;             # id of the task or batch that the request made
    started @42 :Started;             # an attached task runs, or goes on after a stop
    stopped @43 :Stopped;             # an attached task was stopped by a signal; its slot is free
    output @44 :Output;               # of a batch's task, in the order read
    taskEnded @45 :TaskRow;           # of a batch's task
    taskEvent @46 :TaskEvent;         # to `events`
    notice @47 :Text;                 # a sentence for the user, to stderr

    # Daemon to worker. From the worker come started, stopped and output too, with id 0.
    assign @48 :Assign;
    cancelTask @49 :CancelTask;
    signalTask @50 :SignalTask;
    continueRunning @51 :Continue;
    sample @52 :Void;                 # -> sampled
    overflowFile @53 :Void;           # carries one descriptor: where the log goes after its first part
    retire @54 :Void;                 # exit now; only ever sent to an idle worker

    # Worker to daemon.
    workerReady @55 :Void;
    workerEnded @56 :WorkerEnded;     # the task and its whole tree have ended
    sampled @57 :Sampled;
    overflowWanted @58 :Void;         # the log's first part is full; the task is held until overflowFile

    # Daemon to worker.
    holdOutput @59 :Bool;             # true: read no more of the task's output until false comes

    # Rings: frames without descriptors may travel in shared memory from now on. Of clients and workers.
    useRings @61 :UseRings;           # -> ringsReply, with three descriptors
    ringsReply @62 :RingsReply;
    ringsInUse @63 :Void;             # no reply: the sender has mapped the rings of the ringsReply, and its
                                      # next frames may be in them

    # Queues, pipes, locks, shared memory: objects.capnp. A handle is of this connection, made by an open.
    objectList @64 :Objects.ObjectListRequest;    # -> objects
    objectShow @65 :Objects.ObjectRef;            # -> objects, with every field
    objectRemove @66 :Objects.ObjectRemove;       # -> ok
    closeHandle @67 :UInt32;                      # -> ok; what it held is given back as at the end of a client
    queueOpen @68 :Objects.QueueOpen;             # -> queueOpened
    queuePut @69 :Objects.QueuePut;               # -> queuePutReply
    queueGet @70 :Objects.QueueGet;               # -> queueMessages
    queueTaken @71 :Objects.QueueTaken;           # no reply
    queueSettle @72 :Objects.QueueSettle;         # -> settled
    queuePeek @73 :Objects.QueuePeek;             # -> queueMessages
    queueControl @74 :Objects.QueueControl;       # -> ok
    queueJoin @75 :Objects.QueueJoin;             # -> ok, or error timedOut
    lockOpen @76 :Objects.LockOpen;               # -> lockOpened
    lockPage @77 :Void;                           # -> lockPageReply, with one descriptor
    lockAcquire @78 :Objects.LockAcquire;         # -> lockGranted, or error timedOut, busy, deadlock, abandoned
    lockRelease @79 :Objects.LockRelease;         # -> ok
    lockReturned @80 :Objects.LockReturned;       # no reply
    lockBind @81 :Objects.LockBind;               # -> ok
    lockControl @82 :Objects.LockControl;         # -> ok
    conditionWait @83 :Objects.ConditionWait;     # -> lockGranted, of the mutex
    pipeListen @84 :Objects.PipeRequest;          # -> pipeConnected, with two descriptors
    pipeConnect @85 :Objects.PipeRequest;         # -> pipeConnected, with two descriptors
    shmCreate @86 :Objects.ShmCreate;             # -> shmAttached, with one descriptor
    shmAttach @87 :Objects.ShmAttach;             # -> shmAttached, with one descriptor
    abandonRequest @88 :UInt64;                   # -> ok; a request that waits gets its error `cancelled` first

    objects @89 :Objects.ObjectListing;
    queueOpened @90 :Objects.QueueOpened;
    queuePutReply @91 :Objects.QueuePutReply;
    queueMessages @92 :Objects.QueueMessages;
    settled @93 :Objects.Settled;
    lockOpened @94 :Objects.LockOpened;
    lockPageReply @95 :Objects.LockPageReply;
    lockGranted @96 :Objects.LockGranted;
    pipeConnected @97 :Objects.PipeConnected;
    shmAttached @98 :Objects.ShmAttached;
  }
}

# ---- hello -------------------------------------------------------------------------------------------

struct Hello {
  major @0 :UInt16;
  minor @1 :UInt16;
  features @2 :List(Text);   # what this side can do beyond the version; unknown ones are ignored
  program @3 :Text;          # for listings only, at most 256 bytes
  task @4 :Text;             # the value of BATON_TASK, if this client runs inside a task
}

struct HelloReply {
  major @0 :UInt16;
  minor @1 :UInt16;
  features @2 :List(Text);
  version @3 :Text;          # of the daemon, as `batonctl version` prints it
  slots @4 :UInt32;
  pid @5 :Int32;             # of the daemon; to be shown, never to be signalled
  maxFrameBytes @6 :UInt32;
  ioTasks @7 :UInt32;        # IO tasks that run at once
}

# Sizes of the two rings in bytes, powers of two from 16 KiB; the daemon may give less, and gives at most 256 KiB.
# Once for a connection.
struct UseRings { toDaemonBytes @0 :UInt32; fromDaemonBytes @1 :UInt32; }

# Descriptors: the memfd (layout: shm/duplex.h), the eventfd that wakes the daemon, the asker's end of the
# doorbell (SOCK_SEQPACKET).
struct RingsReply { toDaemonBytes @0 :UInt32; fromDaemonBytes @1 :UInt32; }

struct Error {
  code @0 :UInt16;           # ipc/error.h, enum Code; unknown codes are to be treated as `refused`
  text @1 :Text;             # one line: what was asked, what is wrong, what to do
}

# ---- what a task is ------------------------------------------------------------------------------------

struct Limit { soft @0 :UInt64; hard @1 :UInt64; }   # RLIM_INFINITY is 2^64-1

# The surroundings of a command: all that it would have inherited from the submitting process.
struct Context {
  environment @0 :List(Data);    # NAME=value
  cwd @1 :Data;                  # absolute
  umask @2 :UInt16;
  limits @3 :List(Limit);        # by RLIMIT_ number; what is not told stays as the worker has it
  nice @4 :Int8;
  ioPriority @5 :UInt16;         # as ioprio_get
  affinity @6 :Data;             # bit mask of CPUs, lowest first
  ignoredSignals @7 :UInt64;     # bit n-1 is signal n
}

enum Lane { cpu @0; io @1; }

enum OutputMode {
  log @0;       # recorded by the worker, read with `logs`
  stream @1;    # output events to the client that opened the batch
  parcel @2;    # descriptors of the client, in the parcel that came with the submit
}

struct TaskOptions {
  name @0 :Text;             # at most 128 bytes; shown escaped
  priority @1 :Int32;        # -1000..1000; one step is worth 60 s of waiting
  lane @2 :Lane;
  slots @3 :UInt16 = 1;      # CPU tasks: 1..slots of the pool
  timeLimitNs @4 :UInt64;    # of each attempt, from its start
  graceNs @5 :UInt64 = 0xffffffffffffffff;   # between TERM and KILL; that value: as configured (`grace`)
  queueLimitNs @6 :UInt64;   # a task not started by then ends as timedOut
  held @7 :Bool;
  attempts @8 :UInt16 = 1;   # 1..1000; another is made after a failure
  detachChildren @9 :Bool;   # the task's end leaves its children alone
  output @10 :OutputMode;
  stdinPath @11 :Data;       # opened at start, relative to cwd; empty: /dev/null
  stdoutPath @12 :Data;      # truncated at start; empty: as `output` says
  stderrPath @13 :Data;
  permits @14 :List(Permit); # the task starts when it holds all of them, and gives them back at its end
}

# Of a named semaphore, made with this capacity if there is none.
struct Permit {
  name @0 :Text;
  count @1 :UInt32 = 1;
  capacity @2 :UInt32;       # 0: whatever it has; it must exist
}

# A context of up to 256 KiB travels in the frame, up to 2 MiB in a sealed memfd that comes with it: one
# Context in stream framing. Above that it is refused.
struct ContextSource {
  union {
    inline @0 :Context;
    memfdBytes @1 :UInt64;   # size; the descriptor comes after a parcel, if there is one
    same @2 :Void;           # daemon to worker only: that of this worker's last task
  }
}

struct Submit {
  context @0 :ContextSource;
  options @1 :TaskOptions;
  argv @2 :List(Data);       # at least one; argv[0] is looked up in the context's PATH
  attached @3 :Bool;         # the task is cancelled when this connection ends
  terminal @4 :Terminal;
  pipes @5 :Pipes;
  # With output = parcel the frame carries one descriptor: an end of a SOCK_SEQPACKET pair, on which the
  # client sends the task's descriptors (ipc/parcel.h); the daemon hands it on unread.
}

# Which of stdin, stdout, stderr are terminals, and how the terminal is. None: no pseudo-terminal is made.
struct Terminal {
  isTerminal @0 :UInt8;      # bit n: descriptor n is the client's terminal
  foreground @1 :Bool;       # start in the foreground of the pseudo-terminal
}

# Which of stdin, stdout, stderr are pipes: the inode, 0 for none. Two tasks at the two ends of a pipe are a
# pipeline: one that sleeps while the other waits for a slot gives its own back.
struct Pipes {
  stdin @0 :UInt64;
  stdout @1 :UInt64;
  stderr @2 :UInt64;
}

struct OpenBatch {
  context @0 :ContextSource;
  options @1 :TaskOptions;   # of every task of the batch
  attached @2 :Bool;         # cancelled with the connection; events output and taskEnded are sent
}

struct AddTasks {
  batch @0 :UInt64;
  tasks @1 :List(BatchTask);
  last @2 :Bool;             # no more will come
}

struct BatchTask {
  argv @0 :List(Data);
}

# ---- choosing, listing ---------------------------------------------------------------------------------

struct TaskRef {
  id @0 :UInt64;             # of a task or a batch
  index @1 :UInt32;          # of a batch's task, from 1; 0: the task or the whole batch
}

struct Selection {
  refs @0 :List(TaskRef);    # at most 10,000
  all @1 :Bool;              # all unfinished ones of this uid; refs is ignored
}

struct ListRequest {
  after @0 :UInt64;          # rows with a greater id; 0: from the first
  limit @1 :UInt32 = 100;    # of more than 250, 250
  batch @2 :UInt64;          # rows are the tasks of this batch, `after` is an index
  unfinished @3 :Bool;       # leave out what has ended
}

struct Listing {
  rows @0 :List(Row);
  next @1 :UInt64;           # `after` of the next page; 0: this was the last
}

struct Row { union { task @0 :TaskRow; batch @1 :BatchRow; } }

enum State { held @0; queued @1; running @2; suspended @3; succeeded @4; failed @5; timedOut @6; cancelled @7; lost @8; }

# What each becomes as an exit code: ipc/exit_code.h.
enum Cause {
  none @0;
  exited @1;             # exitCode says how
  signalled @2;          # signal says how; not by baton
  oom @3;                # the kernel's out-of-memory killer
  timeLimit @4;
  queueLimit @5;
  cancelled @6;
  workerLost @7;         # the worker died: workerSignal or workerExit
  notFound @8;           # no such program: 127
  notExecutable @9;      # 126
  surroundings @10;      # cwd, a file, a limit: detail says which; 125
  unkillable @11;        # still there 60 s after KILL
  clientGone @12;
  daemonStopped @13;     # nobody cancelled it, baton did not do what was asked: 125
}

struct TaskRow {
  id @0 :UInt64;               # its own, or its batch's if index is not 0; shown as ID or ID.INDEX
  batch @1 :UInt64;            # 0: none
  index @2 :UInt32;            # in the batch, from 1
  state @3 :State;
  cause @4 :Cause;
  exitCode @5 :Int32;          # 0..255
  signal @6 :Int32;            # 1..64
  coreDumped @7 :Bool;
  detail @8 :Text;             # a sentence where the cause needs one
  argv @9 :List(Data);
  options @10 :TaskOptions;
  uid @11 :UInt32;
  pid @12 :Int32;              # of the command, while it runs
  worker @13 :UInt32;
  slot @14 :UInt32;            # from 1; 0: none
  attempt @15 :UInt32;
  submittedNs @16 :UInt64;     # calendar times
  startedNs @17 :UInt64;
  endedNs @18 :UInt64;
  wallNs @19 :UInt64;          # of the last attempt
  userNs @20 :UInt64;          # CPU time of command and children waited for
  systemNs @21 :UInt64;
  peakBytes @22 :UInt64;
  peakIsUpperBound @23 :Bool;
  attached @24 :Bool;
  cwd @25 :Data;               # show only
  environment @26 :List(Data); # show only, and only to the owner
  outputBytes @27 :UInt64;     # logged: read from the task, before any cut
  parked @28 :Bool;            # waits inside baton or for its reader; its slot is given back
  over @29 :Bool;              # runs over the budget
  stopped @30 :Bool;           # by a signal, as Ctrl-Z does
  escaped @31 :List(Int32);    # processes of the task that could not be killed
}

struct BatchRow {
  id @0 :UInt64;
  options @1 :TaskOptions;
  uid @2 :UInt32;
  closed @3 :Bool;             # no more tasks will be added
  attached @4 :Bool;
  total @5 :UInt64;
  counts @6 :List(UInt64);     # by State
  submittedNs @7 :UInt64;
  endedNs @8 :UInt64;
  sample @9 :List(Data);       # argv of the first task
  exitCode @10 :Int32;         # the highest of its tasks, as `wait` returns it
}

struct WaitRequest {
  selection @0 :Selection;     # `all`: what is unfinished now
  any @1 :Bool;                # reply at the first end
  timeoutNs @2 :UInt64 = 0xffffffffffffffff;   # that value: for ever; 0: look only
}

struct CancelRequest {
  selection @0 :Selection;
  graceNs @1 :UInt64 = 0xffffffffffffffff;     # that value: the task's own
  reason @2 :Text;
}

struct KillRequest {
  selection @0 :Selection;
  signal @1 :Int32;            # to every process of the task, once
  main @2 :Bool;               # to the command itself only
}

struct StopRequest {
  now @0 :Bool;                # cancel what runs; else wait for it up to the configured bound
}

struct Continue {
  task @0 :UInt64;
  foreground @1 :Bool;         # of its pseudo-terminal
}

struct Explanation {
  id @0 :UInt64;
  text @1 :List(Text);         # sentences, the decisive one first
  ahead @2 :UInt64;            # queued tasks that start before it
}

# ---- logs, events --------------------------------------------------------------------------------------

struct LogsRequest {
  ref @0 :TaskRef;
}

# The log of one task: parts in order, each a range of a file whose descriptor comes with the frame.
# A part is a sequence of records: stream :UInt8, reserved 3 bytes, length :UInt32, time :UInt64 (ns), bytes.
struct LogFiles {
  parts @0 :List(LogPart);
  droppedBytes @1 :UInt64;     # output between the parts that was not kept
  note @2 :Text;               # why a log is missing or short; empty: complete
  running @3 :Bool;            # the last part still grows
}

struct LogPart {
  offset @0 :UInt64;
  length @1 :UInt64;           # 2^64-1: to the end of the file, and growing
}

struct EventsRequest {
  batchTasks @0 :Bool;         # also those of batches, one by one
}

struct TaskEvent {
  kind @0 :Kind;
  row @1 :TaskRow;             # id, batch, state, result
  timeNs @2 :UInt64;
  missed @3 :UInt64;           # kind missed: events dropped because this reader was slow
  text @4 :Text;               # kind daemon: what happened
  enum Kind { submitted @0; started @1; ended @2; state @3; missed @4; daemon @5; }
}

struct Started { task @0 :UInt64; pid @1 :Int32; slot @2 :UInt32; }
struct Stopped { task @0 :UInt64; signal @1 :Int32; }
struct Output {
  index @0 :UInt32;
  stream @1 :UInt8;            # 1: stdout, 2: stderr
  data @2 :Data;
  attempt @3 :UInt16;          # from 1; what an earlier attempt wrote was that of a failure
}

# ---- state of the daemon -------------------------------------------------------------------------------

struct Status {
  version @0 :Text;
  pid @1 :Int32;
  uptimeNs @2 :UInt64;
  slots @3 :UInt32;
  slotsReason @4 :Text;        # why that many
  slotsUsed @5 :UInt32;
  slotsOver @6 :UInt32;
  ioRunning @7 :UInt32;
  ioLimit @8 :UInt32;
  queued @9 :UInt64;
  held @10 :UInt64;
  running @11 :UInt64;
  parked @12 :UInt64;
  finishedKept @13 :UInt64;
  submittedEver @14 :UInt64;
  endedEver @15 :UInt64;
  workers @16 :UInt32;
  workersLost @17 :UInt64;     # died without being told to
  workersStarted @18 :UInt64;
  connections @19 :UInt32;
  badFrames @20 :UInt64;       # connections closed for a protocol violation
  draining @21 :Bool;
  stopping @22 :Bool;
  contexts @23 :UInt32;
  contextBytes @24 :UInt64;
  logBytes @25 :UInt64;
  logLimitBytes @26 :UInt64;
  rssBytes @27 :UInt64;
  treeEnd @28 :Text;           # how the end of a task's tree is enforced here
  notes @29 :List(Text);       # what could not be had, a sentence each
  socket @30 :Text;
  stateDirectory @31 :Text;
  mode @32 :Text;              # "user" or "system"
  strays @33 :UInt64;          # processes of dead workers that the daemon ended
  inFlightBytes @34 :UInt64;   # of frames that came in part, and of answers not yet read
  inFlightLimitBytes @35 :UInt64;   # of each uid
  slowClosed @36 :UInt64;      # connections closed because others waited for the bytes they held in flight
  queues @37 :UInt32;
  locks @38 :UInt32;
  pipes @39 :UInt32;
  sharedMemories @40 :UInt32;
  queueBytes @41 :UInt64;      # of messages held
  sharedBytes @42 :UInt64;     # of shared memory held
  ringBytes @43 :UInt64;       # of connections' rings
}

struct WorkerRow {
  id @0 :UInt32;
  pid @1 :Int32;
  uid @2 :UInt32;
  runtime @3 :Text;
  state @4 :Text;              # starting, idle, running, parked, retiring
  lane @5 :Lane;
  slot @6 :UInt32;             # from 1; 0: none
  task @7 :UInt64;             # 0: none
  tasksRun @8 :UInt64;
  startedNs @9 :UInt64;
}

struct ConfigRow { key @0 :Text; value @1 :Text; source @2 :Text; meaning @3 :Text; }

# ---- worker --------------------------------------------------------------------------------------------

struct Assign {
  task @0 :UInt64;
  attempt @1 :UInt32;
  slot @2 :UInt32;
  slots @3 :UInt16;
  argv @4 :List(Data);
  options @5 :TaskOptions;
  terminal @6 :Terminal;
  secret @7 :Text;             # BATON_TASK is "TASK:SECRET", the number above
  socket @8 :Data;             # BATON_SOCKET
  context @9 :ContextSource;   # inline or same, of any size
  descriptors @10 :UInt8;      # bit 0: a parcel comes first; bit 1: a new log segment comes then
  ioNice @11 :UInt8;           # added to the context's nice, for the IO lane without cgroups
  cgroup @12 :Data;            # directory of the cgroup that the worker makes for it; empty: none
  label @13 :Text;             # BATON_TASK_ID, as users name the task: "12", or "12.3" in batch 12
}

struct CancelTask {
  task @0 :UInt64;
  graceNs @1 :UInt64;          # 0: KILL at once
  cause @2 :Cause;
}

struct SignalTask { task @0 :UInt64; signal @1 :Int32; main @2 :Bool; }

struct WorkerEnded {
  task @0 :UInt64;
  cause @1 :Cause;
  exitCode @2 :Int32;
  signal @3 :Int32;
  coreDumped @4 :Bool;
  detail @5 :Text;
  wallNs @6 :UInt64;
  userNs @7 :UInt64;
  systemNs @8 :UInt64;
  peakBytes @9 :UInt64;
  peakIsUpperBound @10 :Bool;
  logLength @11 :UInt64;       # bytes of records in the segment for this task
  overflowLength @12 :UInt64;  # bytes of records in the overflow file
  overflowStart @13 :UInt64;   # first byte still kept there
  outputBytes @14 :UInt64;
  droppedBytes @15 :UInt64;
  logNote @16 :Text;
  escaped @17 :List(Int32);
  holder @18 :Int32;           # detachChildren: the process that keeps what the task left; 0: none
}

struct Sampled {
  task @0 :UInt64;
  cpuNs @1 :UInt64;            # used by the task's tree so far
  asleep @2 :Bool;             # no process of it is runnable now
}
