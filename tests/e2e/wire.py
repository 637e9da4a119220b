"""The protocol from nothing: Cap'n Proto's encoding by hand, as far as baton needs it. No library of anybody's.

The numbers are those of ipc/baton.capnp, as `capnp compile -ocapnp` tells them.
"""

import array
import errno
import fcntl
import os
import select
import socket
import struct
import time

import baton

# Tags of Frame's union.
HELLO, PING, SUBMIT, OPEN_BATCH, ADD_TASKS, LIST, SHOW, EXPLAIN, WAIT = range(9)
CANCEL, KILL, HOLD, RELEASE, RETRY, LOGS, EVENTS, STATUS = range(9, 17)
OK, ERROR, HELLO_REPLY, SUBMITTED, SUBMITTED_MANY, ENDED, BATCH_ENDED, LISTING = range(25, 33)
STATUS_REPLY, ACCEPTED, STARTED = 35, 39, 40
CLOSE_HANDLE, QUEUE_OPEN, QUEUE_PUT, QUEUE_GET, QUEUE_TAKEN, QUEUE_SETTLE = range(64, 70)
LOCK_OPEN, LOCK_PAGE, LOCK_ACQUIRE, LOCK_RELEASE, LOCK_RETURNED, LOCK_BIND, LOCK_CONTROL, CONDITION_WAIT = range(73, 81)
LOCK_OPENED, LOCK_GRANTED = 91, 93
MUTEX, RLOCK, SEMAPHORE, RWLOCK, CONDITION, EVENT, BARRIER = range(7)
OBJECT_LIST, OBJECT_SHOW, OBJECT_REMOVE, QUEUE_PEEK, QUEUE_CONTROL, QUEUE_JOIN = 61, 62, 63, 70, 71, 72
ABANDON, OBJECTS, QUEUE_OPENED, QUEUE_PUT_REPLY, QUEUE_MESSAGES, SETTLED = 85, 86, 87, 88, 89, 90
# What may become of a put or get, and what may be done with a lease.
DONE, TIMED_OUT, FULL, EMPTY, CLOSED, REMOVED = range(6)
ACK, NACK, RENEW, GIVE_BACK = range(4)
FOREVER = 0xFFFFFFFFFFFFFFFF
# Error codes, and the output mode of `run`.
USAGE, VERSION, PROTOCOL, REFUSED, UNKNOWN_ID, QUOTA, TOO_LARGE, TIMED_OUT_ERROR = 1, 3, 4, 5, 6, 7, 8, 10
UNKNOWN_NAME, EXISTS, REMOVED_ERROR, CANCELLED_ERROR = 13, 15, 23, 24
PARCEL = 2
# States.
SUCCEEDED, FAILED, CANCELLED = 4, 5, 7


class Builder:
    """One segment of words. Word 0 points to the root."""

    def __init__(self):
        self.words = bytearray(8)

    def room(self, words):
        at = len(self.words) // 8
        self.words += bytes(8 * words)
        return at

    def put(self, word, value):
        struct.pack_into("<Q", self.words, 8 * word, value)

    def struct(self, pointer, data, pointers):
        at = self.room(data + pointers)
        self.put(pointer, ((at - pointer - 1) & 0x3FFFFFFF) << 2 | data << 32 | pointers << 48)
        return Struct(self, at, data)

    def list(self, pointer, code, count, words):
        at = self.room(words)
        self.put(pointer, 1 | ((at - pointer - 1) & 0x3FFFFFFF) << 2 | code << 32 | count << 35)
        return at

    def data(self, pointer, value):
        at = self.list(pointer, 2, len(value), (len(value) + 7) // 8)
        self.words[8 * at : 8 * at + len(value)] = value

    def text(self, pointer, value):
        self.data(pointer, value + b"\0")

    def data_list(self, pointer, values):
        at = self.list(pointer, 6, len(values), len(values))
        for i, value in enumerate(values):
            self.data(at + i, value)

    def struct_list(self, pointer, count, data, pointers):
        size = data + pointers
        at = self.list(pointer, 7, count * size, 1 + count * size)
        # A list of structs says its count and their size in a word in front.
        self.words[8 * (pointer) + 4 : 8 * pointer + 8] = struct.pack("<I", 7 | (count * size) << 3)
        self.put(at, count << 2 | data << 32 | pointers << 48)
        return [Struct(self, at + 1 + i * size, data) for i in range(count)]

    def bytes(self):
        return struct.pack("<II", 0, len(self.words) // 8) + bytes(self.words)


class Struct:
    def __init__(self, builder, at, data):
        self.builder, self.at, self.data = builder, at, data

    def set(self, form, offset, value):
        struct.pack_into("<" + form, self.builder.words, 8 * self.at + offset, value)
        return self

    def pointer(self, index):
        return self.at + self.data + index


def frame(tag, request=1, fds=0):
    """The builder, and the Frame in it: (builder, frame); its one pointer is frame.pointer(0)."""
    builder = Builder()
    root = builder.struct(0, 3, 1)
    root.set("Q", 0, request).set("B", 8, fds).set("H", 10, tag)
    return builder, root


def hello(request=1, major=1, minor=0):
    builder, root = frame(HELLO, request)
    body = builder.struct(root.pointer(0), 1, 3).set("H", 0, major).set("H", 2, minor)
    builder.text(body.pointer(1), b"by hand")
    return builder.bytes()


def plain(tag, request):
    return frame(tag, request)[0].bytes()


def selection(builder, pointer, ids, everything=False):
    body = builder.struct(pointer, 1, 1).set("B", 0, int(everything))
    for ref, number in zip(builder.struct_list(body.pointer(0), len(ids), 2, 0), ids):
        ref.set("Q", 0, number)


def select_frame(tag, request, ids):
    builder, root = frame(tag, request)
    selection(builder, root.pointer(0), ids)
    return builder.bytes()


def cancel_frame(request, ids):
    builder, root = frame(CANCEL, request)
    body = builder.struct(root.pointer(0), 1, 2)
    selection(builder, body.pointer(0), ids)
    return builder.bytes()


def wait_frame(request, ids, any=False, timeout_ns=None):
    builder, root = frame(WAIT, request)
    body = builder.struct(root.pointer(0), 2, 1).set("B", 0, int(any))
    if timeout_ns is not None:
        body.set("Q", 8, timeout_ns ^ 0xFFFFFFFFFFFFFFFF)  # numbers are stored xor their default
    selection(builder, body.pointer(0), ids)
    return builder.bytes()


def list_frame(request, after=0, limit=100):
    builder, root = frame(LIST, request)
    builder.struct(root.pointer(0), 3, 0).set("Q", 0, after).set("I", 8, limit ^ 100)
    return builder.bytes()


def context(builder, pointer, cwd=b"/", environment=(b"PATH=/usr/bin:/bin",)):
    body = builder.struct(pointer, 2, 4).set("H", 0, 0o22)
    builder.data_list(body.pointer(0), list(environment))
    builder.data(body.pointer(1), cwd)
    return body


def submit_frame(request, argv, fds=0, output=0, memfd_bytes=None, attached=False, cwd=b"/", change=None,
                 environment=(b"PATH=/usr/bin:/bin",)):
    builder, root = frame(SUBMIT, request, fds)
    body = builder.struct(root.pointer(0), 1, 4).set("B", 0, int(attached))
    source = builder.struct(body.pointer(0), 2, 1)
    if memfd_bytes is None:
        context(builder, source.pointer(0), cwd, environment)
    else:
        source.set("H", 0, 1).set("Q", 8, memfd_bytes)
    options = builder.struct(body.pointer(1), 5, 4).set("H", 36, output)
    builder.data_list(body.pointer(2), list(argv))
    if change:
        change(builder, options)
    return builder.bytes()


def queue_open(request, name, create=True, exclusive=False, mode=None, max_messages=None, max_bytes=None,
               when_full=0, attempts=0, dead_letters=b"", lease_ns=None):
    builder, root = frame(QUEUE_OPEN, request)
    body = builder.struct(root.pointer(0), 0, 3)
    builder.text(body.pointer(0), name)
    creation = builder.struct(body.pointer(1), 1, 0).set("B", 0, int(create) | int(exclusive) << 1)
    if mode is not None:
        creation.set("H", 2, mode ^ 0o600)
    options = builder.struct(body.pointer(2), 4, 1).set("H", 16, when_full).set("I", 20, attempts)
    if max_messages is not None:
        options.set("Q", 0, max_messages ^ 10000)
    if max_bytes is not None:
        options.set("Q", 8, max_bytes ^ 64 << 20)
    if lease_ns is not None:
        options.set("Q", 24, lease_ns ^ 30 * 10**9)
    if dead_letters:
        builder.text(options.pointer(0), dead_letters)
    return builder.bytes()


def queue_put(request, queue, values, timeout_ns=FOREVER, priority=0, delay_ns=0):
    builder, root = frame(QUEUE_PUT, request)
    body = builder.struct(root.pointer(0), 2, 1).set("I", 0, queue).set("Q", 8, timeout_ns)
    for message, value in zip(builder.struct_list(body.pointer(0), len(values), 2, 1), values):
        message.set("i", 0, priority).set("Q", 8, delay_ns)
        builder.data(message.pointer(0), value)
    return builder.bytes()


def queue_get(request, queue, count=1, timeout_ns=FOREVER, lease=False, lease_ns=0, taken=0, detached=False):
    builder, root = frame(QUEUE_GET, request)
    body = builder.struct(root.pointer(0), 5, 0).set("I", 0, queue).set("I", 4, count ^ 1).set("Q", 8, timeout_ns)
    body.set("B", 16, int(lease) | int(detached) << 1).set("Q", 24, lease_ns).set("Q", 32, taken)
    return builder.bytes()


def queue_settle(request, queue, leases, action=ACK, ns=0):
    builder, root = frame(QUEUE_SETTLE, request)
    body = builder.struct(root.pointer(0), 2, 1).set("I", 0, queue).set("H", 4, action).set("Q", 8, ns)
    at = builder.list(body.pointer(0), 5, len(leases), len(leases))
    for i, lease in enumerate(leases):
        builder.put(at + i, lease)
    return builder.bytes()


def queue_small(tag, request, queue, second=0, third=0):
    """Requests of a handle and two numbers: taken, peek, control, join."""
    builder, root = frame(tag, request)
    builder.struct(root.pointer(0), 2, 0).set("I", 0, queue).set("I", 4, second).set("Q", 8, third)
    return builder.bytes()


def object_request(tag, request, name=b"", kind=0, force=False):
    builder, root = frame(tag, request)
    body = builder.struct(root.pointer(0), 1, 1).set("H", 0, kind)
    if tag == OBJECT_REMOVE:
        body.set("B", 2, int(force))
    builder.text(body.pointer(0), name)
    return builder.bytes()


def number_request(tag, request, number):
    builder, root = frame(tag, request)
    root.set("Q", 16, number)
    return builder.bytes()


def lock_open(request, name, kind=0, create=True, exclusive=False, permits=1, flags=0, keep=False, any_kind=False):
    """flags: 1 bounded, 2 counting, 4 handOff, 8 refuseAbandoned."""
    builder, root = frame(LOCK_OPEN, request)
    body = builder.struct(root.pointer(0), 1, 3).set("B", 0, int(any_kind) | int(keep) << 1)
    builder.text(body.pointer(0), name)
    builder.struct(body.pointer(1), 1, 0).set("B", 0, int(create) | int(exclusive) << 1)
    builder.struct(body.pointer(2), 1, 0).set("H", 0, kind).set("B", 2, flags).set("I", 4, permits ^ 1)
    return builder.bytes()


def lock_acquire(request, lock, thread=0, shared=False, count=1, timeout_ns=(1 << 64) - 1, priority=0, slot=0, process=False):
    builder, root = frame(LOCK_ACQUIRE, request, int(process))
    body = builder.struct(root.pointer(0), 4, 0).set("I", 0, lock).set("I", 4, thread).set("H", 8, int(shared))
    body.set("B", 10, int(process)).set("I", 12, count ^ 1).set("Q", 16, timeout_ns).set("i", 24, priority)
    body.set("I", 28, slot)
    return builder.bytes()


def lock_release(request, lock, thread=0, shared=False, count=1, token=0):
    builder, root = frame(LOCK_RELEASE, request)
    body = builder.struct(root.pointer(0), 3, 0).set("I", 0, lock).set("I", 4, thread).set("H", 8, int(shared))
    body.set("I", 12, count ^ 1).set("Q", 16, token)
    return builder.bytes()


def lock_control(request, lock, action, count=1):
    builder, root = frame(LOCK_CONTROL, request)
    builder.struct(root.pointer(0), 2, 0).set("I", 0, lock).set("H", 4, action).set("I", 8, count ^ 1)
    return builder.bytes()


def lock_bind(request, lock, token, command=b"bound", thread=0, fds=1):
    builder, root = frame(LOCK_BIND, request, fds)
    body = builder.struct(root.pointer(0), 2, 1).set("I", 0, lock).set("I", 4, thread).set("Q", 8, token)
    builder.text(body.pointer(0), command)
    return builder.bytes()


def lock_returned(slot):
    builder, root = frame(LOCK_RETURNED, 0)
    builder.struct(root.pointer(0), 1, 0).set("I", 0, slot)
    return builder.bytes()


def condition_wait(request, condition, mutex, thread=0, timeout_ns=(1 << 64) - 1):
    builder, root = frame(CONDITION_WAIT, request)
    body = builder.struct(root.pointer(0), 3, 0).set("I", 0, condition).set("I", 4, mutex).set("I", 8, thread)
    body.set("Q", 16, timeout_ns)
    return builder.bytes()


class Reader:
    """A struct in a received message; pointers are followed within one segment or through far pointers."""

    def __init__(self, segments, segment, at, data, pointers):
        self.segments, self.segment, self.at, self.data_words, self.pointers = segments, segment, at, data, pointers

    def get(self, form, offset):
        if offset + struct.calcsize(form) > 8 * self.data_words:
            return 0
        return struct.unpack_from("<" + form, self.segments[self.segment], 8 * self.at + offset)[0]

    def _follow(self, index):
        """(segment, word behind the pointer, the pointer) of pointer `index`; None if it is null."""
        if index >= self.pointers:
            return None
        segment, at = self.segment, self.at + self.data_words + index
        word = struct.unpack_from("<Q", self.segments[segment], 8 * at)[0]
        if word & 3 == 2:
            assert not word & 4, "a double far pointer"
            segment, at = word >> 32, (word & 0xFFFFFFFF) >> 3
            word = struct.unpack_from("<Q", self.segments[segment], 8 * at)[0]
        if word == 0:
            return None
        offset = (word & 0xFFFFFFFF) >> 2
        offset -= (offset & 1 << 29) << 1
        return segment, at + 1 + offset, word

    def struct(self, index):
        found = self._follow(index)
        if not found:
            return Reader(self.segments, 0, 0, 0, 0)
        segment, at, word = found
        assert word & 3 == 0, "no struct"
        return Reader(self.segments, segment, at, word >> 32 & 0xFFFF, word >> 48)

    def data(self, index):
        found = self._follow(index)
        if not found:
            return b""
        segment, at, word = found
        assert word & 3 == 1 and word >> 32 & 7 == 2, "no bytes"
        return bytes(self.segments[segment][8 * at : 8 * at + (word >> 35)])

    def text(self, index):
        return self.data(index)[:-1]

    def list(self, index):
        """Structs of a list of structs."""
        found = self._follow(index)
        if not found:
            return []
        segment, at, word = found
        assert word & 3 == 1 and word >> 32 & 7 == 7, "no list of structs"
        tag = struct.unpack_from("<Q", self.segments[segment], 8 * at)[0]
        data, pointers = tag >> 32 & 0xFFFF, tag >> 48
        count = (tag & 0xFFFFFFFF) >> 2
        return [Reader(self.segments, segment, at + 1 + i * (data + pointers), data, pointers) for i in range(count)]

    def data_list(self, index):
        found = self._follow(index)
        if not found:
            return []
        segment, at, word = found
        assert word & 3 == 1 and word >> 32 & 7 == 6, "no list of pointers"
        return [Reader(self.segments, segment, at, 0, word >> 35).data(i) for i in range(word >> 35)]


class Frame(Reader):
    """A received frame."""

    def __init__(self, segments):
        root = Reader(segments, 0, 0, 0, 1).struct(0)
        super().__init__(segments, root.segment, root.at, root.data_words, root.pointers)
        self.id, self.tag = self.get("Q", 0), self.get("H", 10)
        self.number = self.get("Q", 16)  # of submitted and accepted

    @property
    def body(self):
        return self.struct(0)

    @property
    def outcome(self):
        """Of a reply to a put or get."""
        return self.body.get("H", 4 if self.tag == QUEUE_PUT_REPLY else 0)

    @property
    def messages(self):
        """[(id, value, attempt, lease)]"""
        assert self.tag == QUEUE_MESSAGES, self.tag
        return [(m.get("Q", 0), m.data(0), m.get("I", 12), m.get("Q", 16)) for m in self.body.list(0)]

    @property
    def error(self):
        """(code, text)"""
        assert self.tag == ERROR, f"tag {self.tag}"
        return self.body.get("H", 0), self.body.text(0)


class Peer:
    """A connection to the daemon. `greet`: says hello and takes the answer."""

    def __init__(self, path, greet=True, timeout=30):
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.timeout = timeout
        self.socket.settimeout(timeout)
        self.socket.connect(path)
        self.buffer = b""
        self.greeting = None
        if greet:
            self.send(hello())
            self.greeting = self.receive()
            assert self.greeting.tag == HELLO_REPLY, self.greeting.tag

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.socket.close()

    def send(self, data, fds=()):
        """One sendmsg, with descriptors; the rest without them if it does not take all at once."""
        if fds:
            rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))]
            data = data[baton.wait_until(lambda: self._try_send(data, rights), "descriptors on their way arrive"):]
        if data:
            self.socket.sendall(data)

    def _try_send(self, data, rights):
        """How much it took. None: a plain user has no more descriptors on their way at once than may be open."""
        try:
            return self.socket.sendmsg([data], rights)
        except OSError as why:
            if why.errno != errno.ETOOMANYREFS:
                raise
            return None

    def receive_bytes(self):
        """The bytes of the next frame; None: the daemon closed the connection."""
        while True:
            if len(self.buffer) >= 8:
                count = struct.unpack_from("<I", self.buffer)[0] + 1
                header = 4 * (count + 1 + (count + 1) % 2)
                if len(self.buffer) >= header:
                    sizes = struct.unpack_from(f"<{count}I", self.buffer, 4)
                    total = header + 8 * sum(sizes)
                    if len(self.buffer) >= total:
                        whole, self.buffer = self.buffer[:total], self.buffer[total:]
                        return whole, header, sizes
            try:
                more = self.socket.recv(65536)
            except (ConnectionResetError, BrokenPipeError):
                more = b""
            if not more:
                return None
            self.buffer += more

    def receive(self):
        """The next frame; None: the daemon closed the connection."""
        received = self.receive_bytes()
        if received is None:
            return None
        whole, at, sizes = received
        segments = []
        for size in sizes:
            segments.append(whole[at : at + 8 * size])
            at += 8 * size
        return Frame(segments)

    def call(self, data, fds=()):
        """Sends, and returns the next frame that answers it, event or not."""
        self.send(data, fds)
        return self.receive()

    def closed(self, timeout=5):
        """True once the daemon has closed the connection, whatever it sends before."""
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            if not select.select([self.socket], [], [], 0.1)[0]:
                continue
            try:
                if not self.socket.recv(65536):
                    return True
            except OSError:
                return True
        return False

    def open_queue(self, name, **options):
        """Its handle."""
        reply = self.call(queue_open(3, name, **options))
        assert reply.tag == QUEUE_OPENED, reply.error
        return reply.body.get("I", 0)

    def status(self, request=77):
        return self.call(plain(STATUS, request)).body

    def bad_frames(self):
        return self.status().get("Q", 112)


def seal(fd):
    fcntl.fcntl(fd, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE)


def memfd(content, sealed=True):
    fd = os.memfd_create("test", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    os.write(fd, content)
    if sealed:
        seal(fd)
    return fd
