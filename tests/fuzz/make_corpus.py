#!/usr/bin/env python3
"""Writes the hand-made part of the kept corpus: run it after a change of ipc/baton.capnp."""

import os
import struct
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "e2e"))
import wire  # noqa: E402


def write(target, name, data):
    directory = os.path.join(HERE, "corpus", target)
    os.makedirs(directory, exist_ok=True)
    with open(os.path.join(directory, name), "wb") as file:
        file.write(data)


def held(builder, options):
    options.set("B", 32, 1)


def full(builder, options):
    options.set("i", 0, -5).set("H", 4, 1).set("Q", 8, 10**9).set("Q", 24, 10**9).set("H", 34, 2)
    builder.text(options.pointer(0), b"name \x1b[31m")
    for i, path in enumerate((b"in", b"out", b"err")):
        builder.data(options.pointer(1 + i), path)


def open_batch(request, attached=0, output=0):
    builder, root = wire.frame(wire.OPEN_BATCH, request)
    body = builder.struct(root.pointer(0), 1, 2).set("B", 0, attached)
    source = builder.struct(body.pointer(0), 2, 1)
    wire.context(builder, source.pointer(0))
    builder.struct(body.pointer(1), 5, 4).set("H", 36, output)
    return builder.bytes()


def add_tasks(request, batch, count, last=1):
    builder, root = wire.frame(wire.ADD_TASKS, request)
    body = builder.struct(root.pointer(0), 2, 1).set("Q", 0, batch).set("B", 8, last)
    for task in builder.struct_list(body.pointer(0), count, 0, 1):
        builder.data_list(task.pointer(0), [b"true", b"x"])
    return builder.bytes()


def selecting(tag, request, data, pointers, ids=(1,), everything=False, fill=None):
    """A request whose first pointer is a selection."""
    builder, root = wire.frame(tag, request)
    body = builder.struct(root.pointer(0), data, pointers)
    wire.selection(builder, body.pointer(0), list(ids), everything)
    if fill:
        fill(builder, body)
    return builder.bytes()


def all_of(tag, request):
    builder, root = wire.frame(tag, request)
    wire.selection(builder, root.pointer(0), [], True)
    return builder.bytes()


def single(tag, request, data, fill=lambda body: None):
    builder, root = wire.frame(tag, request)
    fill(builder.struct(root.pointer(0), data, 0))
    return builder.bytes()


OPEN = wire.queue_open(2, b"q")
SUBMIT = wire.submit_frame(2, [b"true", b"x"])
HELD = wire.submit_frame(2, [b"true"], change=held)
CANCEL = selecting(wire.CANCEL, 5, 1, 2, fill=lambda b, s: b.text(s.pointer(1), b"why"))
LOGS = (lambda built: (built[0].struct(built[0].struct(built[1].pointer(0), 0, 1).pointer(0), 2, 0).set("Q", 0, 1),
                       built[0].bytes())[1])(wire.frame(wire.LOGS, 6))

SESSIONS = {
    "submit": [SUBMIT],
    "submit-full": [wire.submit_frame(2, [b"sh", b"-c", b"exit 3"], change=full)],
    "submit-attached": [wire.submit_frame(2, [b"true"], attached=True)],
    "submit-large": [wire.submit_frame(2, [b"true"] + [b"word %d" % i for i in range(50)],
                                       environment=[b"V%d=%d" % (i, i) for i in range(50)])],
    "wait": [SUBMIT, wire.wait_frame(3, [1]), wire.wait_frame(4, [1, 1], any=True)],
    "wait-now": [SUBMIT, wire.wait_frame(3, [1], timeout_ns=0), selecting(wire.WAIT, 4, 2, 1, (), True)],
    "wait-twice-any": [HELD, wire.wait_frame(3, [1, 1, 1], any=True), CANCEL],
    "held-released": [HELD, wire.select_frame(wire.RELEASE, 3, [1]), wire.select_frame(wire.HOLD, 4, [1]),
                      wire.select_frame(wire.RELEASE, 5, [1])],
    "cancelled-retried": [SUBMIT, CANCEL, wire.select_frame(wire.RETRY, 7, [1]), wire.select_frame(wire.SHOW, 8, [1, 2])],
    "cancel-all": [SUBMIT, HELD, selecting(wire.CANCEL, 5, 1, 2, (), True), all_of(wire.SHOW, 6)],
    "kill": [SUBMIT, selecting(wire.KILL, 3, 1, 1, fill=lambda b, s: s.set("i", 0, 15)),
             selecting(wire.KILL, 4, 1, 1, fill=lambda b, s: s.set("i", 0, 99))],
    "list": [SUBMIT, HELD, wire.list_frame(3, 0, 1), wire.list_frame(4, 1, 1000), wire.list_frame(5, 99, 0)],
    "show-explain": [SUBMIT, wire.select_frame(wire.SHOW, 3, [1]), wire.select_frame(wire.EXPLAIN, 4, [1, 1])],
    "unknown": [wire.select_frame(wire.SHOW, 3, [7]), wire.wait_frame(4, [7]), wire.select_frame(wire.RETRY, 5, [0])],
    "logs": [SUBMIT, LOGS, CANCEL, LOGS],
    "events": [single(wire.EVENTS, 3, 1, lambda body: body.set("B", 0, 1)), SUBMIT, CANCEL],
    "batch": [open_batch(2), add_tasks(3, 1, 3, 0), add_tasks(4, 1, 2), wire.list_frame(5), wire.wait_frame(6, [1], timeout_ns=0)],
    "batch-attached": [open_batch(2, 1, 1), add_tasks(3, 1, 3)],
    "batch-empty": [open_batch(2), add_tasks(3, 1, 0), wire.wait_frame(4, [1])],
    "batch-cancelled": [open_batch(2), add_tasks(3, 1, 3), CANCEL, wire.select_frame(wire.RETRY, 7, [1])],
    "batch-left-open": [open_batch(2), add_tasks(3, 1, 3, 0)],
    "status": [wire.plain(wire.STATUS, 2), wire.plain(17, 3), wire.plain(18, 4), wire.plain(23, 5)],
    "drain": [wire.frame(19, 2)[0].bytes(), SUBMIT, wire.plain(20, 3), SUBMIT],
    "drain-wait": [SUBMIT, wire.frame(19, 3)[1].set("B", 9, 1).builder.bytes(), CANCEL],
    "stop": [single(21, 3, 1), SUBMIT],
    "reload": [wire.plain(22, 2)],
    "continue": [SUBMIT, single(24, 3, 2, lambda body: body.set("Q", 0, 1))],
    "ping": [wire.plain(wire.PING, i) for i in range(2, 40)],
    "replies": [wire.plain(tag, tag) for tag in range(25, 60)],
    "hello-again": [wire.hello(2)],
    "queue-put-get": [OPEN, wire.queue_put(3, 1, [b"one", b"two", b""]), wire.queue_get(4, 1, count=2),
                      wire.queue_get(5, 1, taken=2), wire.queue_small(wire.QUEUE_TAKEN, 6, 1, 0, 3)],
    "queue-lease": [OPEN, wire.queue_put(3, 1, [b"one"] * 4), wire.queue_get(4, 1, count=4, lease=True, lease_ns=10**9),
                    *(wire.queue_settle(5 + action, 1, [1, 2, 3], action, action) for action in range(5))],
    "queue-detached": [OPEN, wire.queue_put(3, 1, [b"one"]), wire.queue_get(4, 1, lease=True, detached=True)],
    "queue-waiting": [OPEN, wire.queue_get(3, 1), wire.queue_get(4, 1, count=9), wire.queue_small(wire.QUEUE_JOIN, 5, 1, 0, 1),
                      wire.queue_put(6, 1, [b"x"] * 3, delay_ns=5), wire.number_request(wire.ABANDON, 7, 4),
                      wire.number_request(wire.CLOSE_HANDLE, 8, 1)],
    "queue-full": [wire.queue_open(2, b"q", max_messages=1, when_full=2, attempts=1, dead_letters=b"dead"),
                   wire.queue_put(3, 1, [b"1", b"2"], priority=-3), wire.queue_put(4, 1, [b"3"], priority=7),
                   wire.queue_get(5, 1, lease=True), wire.queue_settle(6, 1, [1], wire.NACK)],
    "queue-blocked": [wire.queue_open(2, b"q", max_messages=1, max_bytes=10), wire.queue_put(3, 1, [b"1", b"2"]),
                      wire.queue_put(4, 1, [b"3"]), wire.queue_get(5, 1), wire.queue_small(wire.QUEUE_CONTROL, 6, 1, 3)],
    "queue-control": [OPEN, wire.queue_put(3, 1, [b"1", b"2"]), wire.queue_small(wire.QUEUE_PEEK, 4, 1, 9 ^ 1),
                      *(wire.queue_small(wire.QUEUE_CONTROL, 5 + action, 1, action, 1) for action in range(6)),
                      wire.queue_get(12, 1, timeout_ns=0), wire.queue_put(13, 1, [b"3"], 0)],
    "queue-objects": [OPEN, wire.queue_open(3, b"r"), wire.object_request(wire.OBJECT_LIST, 4),
                      wire.object_request(wire.OBJECT_LIST, 5, b"q"), wire.object_request(wire.OBJECT_SHOW, 6, b"q"),
                      wire.object_request(wire.OBJECT_SHOW, 7, b"qq"), wire.object_request(wire.OBJECT_LIST, 8, kind=3),
                      wire.object_request(wire.OBJECT_REMOVE, 9, b"q"), wire.object_request(wire.OBJECT_REMOVE, 10, b"r", force=True),
                      wire.queue_put(11, 1, [b"x"])],
    "lock-kinds": [*(wire.lock_open(2 + kind, b"k%d" % kind, kind, permits=2) for kind in range(8)),
                   *(wire.lock_acquire(20 + lock, lock, timeout_ns=0) for lock in range(1, 8)),
                   *(wire.lock_release(40 + lock, lock) for lock in range(1, 8))],
    "lock-wait": [wire.lock_open(2, b"m"), wire.lock_acquire(3, 1), wire.lock_acquire(4, 1, thread=1, timeout_ns=5),
                  wire.lock_acquire(5, 1, thread=2, priority=3), wire.lock_release(6, 1),
                  wire.number_request(wire.ABANDON, 7, 4), wire.lock_release(8, 1, thread=2),
                  wire.lock_acquire(9, 1, thread=2), wire.lock_acquire(10, 1, thread=2)],
    "lock-page": [wire.lock_open(2, b"m"), wire.plain(wire.LOCK_PAGE, 3), wire.lock_acquire(4, 1, slot=1),
                  wire.lock_returned(1), wire.lock_acquire(5, 1, thread=1, timeout_ns=9), wire.lock_returned(99)],
    "lock-removed": [wire.lock_open(2, b"m"), wire.lock_open(3, b"c", wire.CONDITION), wire.lock_acquire(4, 1),
                     wire.object_request(wire.OBJECT_REMOVE, 5, b"m", kind=1, force=True), wire.lock_acquire(6, 1),
                     wire.lock_release(7, 1), wire.lock_control(8, 1, 1), wire.condition_wait(9, 2, 1),
                     wire.lock_open(10, b"m"), wire.number_request(wire.CLOSE_HANDLE, 11, 1)],
    "lock-control": [wire.lock_open(2, b"e", wire.EVENT), wire.lock_open(3, b"b", wire.BARRIER, permits=2),
                     wire.lock_open(4, b"r", wire.RWLOCK), wire.lock_acquire(5, 1), wire.lock_acquire(6, 2),
                     wire.lock_acquire(7, 3, shared=True),
                     *(wire.lock_control(10 + 6 * lock + action, lock, action) for lock in (1, 2, 3) for action in range(6))],
    "lock-condition": [wire.lock_open(2, b"m", wire.RLOCK), wire.lock_open(3, b"c", wire.CONDITION), wire.lock_acquire(4, 1),
                       wire.condition_wait(5, 2, 1, timeout_ns=9), wire.lock_control(6, 2, 2, (1 << 32) - 1),
                       wire.condition_wait(7, 1, 2), wire.condition_wait(8, 2, 2)],
    "lock-count": [wire.lock_open(2, b"s", wire.SEMAPHORE, permits=3, flags=1), wire.lock_acquire(3, 1, count=2),
                   wire.lock_acquire(4, 1, count=4), wire.lock_acquire(5, 1, count=2), wire.lock_release(6, 1, count=9),
                   wire.lock_release(7, 1, count=1), wire.lock_open(8, b"t", wire.SEMAPHORE, permits=0, flags=2),
                   wire.lock_release(9, 2, count=(1 << 32) - 1), wire.lock_release(10, 2, count=(1 << 32) - 1)],
    "queue-names": [wire.queue_open(i + 2, name) for i, name in enumerate(
        (b"", b"a b", b"0:q", b"root:q", b"nobody-there:q", b"x" * 200, b"\xff", b":", b"a:b:c"))],
    "queue-unknown": [wire.queue_put(2, 1, [b"x"]), wire.queue_get(3, 9), wire.queue_settle(4, 1, [1]),
                      wire.number_request(wire.CLOSE_HANDLE, 5, 1), wire.number_request(wire.ABANDON, 6, 77)],
}


def content(frame):
    """The segment without its table."""
    return frame[8:]


def session(frames, flags=0):
    return bytes([flags]) + b"".join(struct.pack("<H", len(content(frame))) + content(frame) for frame in frames)


def requests():
    for name, frames in SESSIONS.items():
        write("request", name, session(frames))
    write("request", "drained", session(SESSIONS["submit"] + SESSIONS["batch"], 8))
    write("request", "raw", b"\1" + b"".join(SESSIONS["batch"]))
    write("request", "parcel", session([wire.submit_frame(2, [b"true"], fds=1, output=wire.PARCEL, attached=True)], 2))
    builder = wire.Builder()
    wire.context(builder, 0)
    context = builder.bytes()
    write("request", "memfd", session([wire.submit_frame(2, [b"true"], fds=1, memfd_bytes=len(context)), context], 4))
    both = wire.submit_frame(2, [b"true"], fds=2, output=wire.PARCEL, attached=True, memfd_bytes=len(context))
    write("request", "parcel-memfd", session([both, context], 6))


def frames():
    pieces = bytes([0, 1, 2, 3, 7, 8, 15, 255])
    for name, parts in SESSIONS.items():
        write("frame", name, pieces + b"".join(parts))
    words = struct.unpack(f"<{len(content(SUBMIT)) // 8}Q", content(SUBMIT))
    for count in (2, 3, 15, 16, 17):
        sizes = [1] + [0] * (count - 2) + [len(words)]
        table = [count - 1, *sizes] + [0] * ((count + 1) % 2)
        far = (count - 1) << 32 | 2
        write("frame", f"segments-{count}", pieces + struct.pack(f"<{len(table)}I", *table) + struct.pack("<Q", far)
              + content(SUBMIT))
    write("frame", "too-large", pieces + struct.pack("<II", 0, 0xFFFFFFFF))
    write("frame", "truncated", pieces + SUBMIT[:-9])


def logs():
    record = lambda stream, data, time=1: struct.pack("<B3xIQ", stream, len(data), time) + data
    write("log_records", "three", b"\x05" + record(1, b"hello\n") + record(2, b"error\n") + record(1, b""))
    write("log_records", "hole", b"\x20" + record(1, b"first") + bytes(4096) + record(1, b"last", 2**64 - 1))
    write("log_records", "cut", b"\x01" + record(1, b"whole") + record(1, b"x" * 100)[:50])
    write("log_records", "zeros", b"\xff" + bytes(100))
    write("log_records", "damaged", b"\x00" + record(1, b"good") + b"\xff" * 40)
    write("log_records", "large", b"\x10" + struct.pack("<B3xIQ", 1, 0xFFFFFFFF, 0) + b"x" * 64)


def configs():
    texts = {
        "usual": 'slots = "75%"\nidle_exit = "5m"\nlog_total = "2G"\nuser_daemons = true\n',
        "numbers": "io_tasks = 16\nqueue_limit = 1_000_000\nconnections = 0x10\n",
        "unknown": "slotz = 3\n", "table": "[slots]\nx = 1\n", "twice": 'slots = "1"\nslots = "2"\n',
        "wrong": 'slots = "many"\nstop_timeout = "soon"\n', "types": "slots = [1, 2.5, true, {a = 1}]\n",
        "open": 'slots = "', "long": 'slots = """\nmany\nlines"""\n', "comment": "# nothing\n", "empty": "",
        "dates": "slots = 1979-05-27T07:32:00Z\n", "deep": "slots = " + "[" * 40 + "]" * 40 + "\n",
        "bytes": "slots = \"\\u0000\\u001b[31m\"\n", "quoted": '"slots" = \'4\'\n"a.b" = 1\n', "dotted": "a.b.c = 1\n",
        "durations": 'grace = "1h30m"\nquantum = "50ms"\nfinished_age = "7d"\nstop_timeout = "0"\n',
    }
    for name, text in texts.items():
        write("config", name, text.encode())
    write("config", "no-utf8", b"slots = \"\xff\xfe\"\n")
    write("config", "literal-no-utf8", b"\"slots\" = '\xff'\n\"a.b\" = 1\n")


def rings():
    # One byte chooses what is done; the reads take what follows, and a byte below 96 tells them the truth.
    head = bytes([1, 6, 0, 0]) + bytes(20)
    push = lambda size: b"\x00" + struct.pack("<H", size) + b"\x00\x00\x00"
    honest = [push(size) + b"\x02" + b"\x03\x00\x00\x05" for size in (0, 1, 8, 300, 2000, 2040, 24) * 4]
    write("ring", "honest", head + b"".join(honest))
    write("ring", "full", head + (push(1000) + b"\x02") * 8 + b"\x06\x00" * 4)
    for name, lie in (("near", 130), ("multiples", 200), ("anything", 240)):
        lies = [push(size) + b"\x02\x03" + bytes([0, lie, 1, 128, 0, 0, 0, 0, 0, 0]) + b"\x05\x06" for size in (8, 700, 2000)]
        write("ring", name, head + b"".join(lies * 5))
    write("ring", "scribbled", head + b"".join(b"\x07" + struct.pack("<QBH", 1 << (8 * i), i, i) + b"\x03\x00\x00" for i in range(8)))
    write("ring", "noise", bytes((i * i * 131 + i // 7 * 89) & 0xFF for i in range(600)))


if __name__ == "__main__":
    rings()
    requests()
    frames()
    logs()
    configs()
