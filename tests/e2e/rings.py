"""Rings by hand: a connection whose frames travel in shared memory, as docs/protocol.md has it."""

import array
import mmap
import os
import select
import socket
import struct
import time

import wire

USE_RINGS, RINGS_REPLY, RINGS_IN_USE = 58, 59, 60

# Page 0, in lines of 128 bytes: of the ring from the daemon what is written and what is read; of the ring to the
# daemon; how the daemon sleeps; how this side does.
FROM_WRITTEN, FROM_READ, TO_WRITTEN, TO_READ, DAEMON_SLEEP, OWN_SLEEP = range(0, 768, 128)
PAGE = 4096
MORE, PAD = 1, 2
IN_POLL = 2
AFTER = 28  # where Builder puts Frame's `after`: behind the table and the root pointer


def use_rings(request, to_daemon=16384, from_daemon=16384):
    builder, root = wire.frame(USE_RINGS, request)
    builder.struct(root.pointer(0), 1, 0).set("I", 0, to_daemon).set("I", 4, from_daemon)
    return builder.bytes()


def frames_of(data):
    """The single frames, each of one segment, that `data` is."""
    at = 0
    while at < len(data):
        size = 8 + 8 * struct.unpack_from("<I", data, at + 4)[0]
        yield data[at : at + size]
        at += size


class RingPeer(wire.Peer):
    """As Peer, but what has no descriptors travels in rings, once hello is said."""

    def __init__(self, path, greet=True, timeout=30, to_daemon=16384, from_daemon=16384):
        self.memory = None
        self.bells = []
        super().__init__(path, greet, timeout)
        self.sent = {"socket": 0, "rings": 0}
        self.received = {"socket": 0, "rings": 0}
        self.taken = {"socket": [], "rings": []}  # frames that have come, in their order on each way
        if greet:
            self.begin(to_daemon, from_daemon)

    def begin(self, to_daemon, from_daemon):
        """Asks for rings, and maps them."""
        self.socket.sendall(use_rings(9, to_daemon, from_daemon))
        data, ancillary, *_ = self.socket.recvmsg(65536, socket.CMSG_SPACE(64))
        fds = array.array("i")
        for level, kind, rights in ancillary:
            if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
                fds.frombytes(rights[: len(rights) - len(rights) % fds.itemsize])
        self.buffer += data
        reply = super().receive()
        assert reply.tag == RINGS_REPLY, reply.tag if reply.tag != wire.ERROR else reply.error
        self.to_size, self.from_size = reply.body.get("I", 0), reply.body.get("I", 4)
        memory, self.event, self.bell = fds
        self.memory = mmap.mmap(memory, PAGE + self.from_size + self.to_size)
        os.close(memory)
        self.bells = [self.event, self.bell]
        self.words = memoryview(self.memory).cast("Q")
        self.written = self.read = 0
        self.pieces = b""
        self.sent = {"socket": 2, "rings": 0}
        self.received = {"socket": 2, "rings": 0}
        self.send_on_socket(wire.plain(RINGS_IN_USE, 0))

    def close(self):
        super().close()
        for fd in self.bells:
            os.close(fd)
        self.bells = []

    # ---- sending

    def send_on_socket(self, data, fds=()):
        for one in frames_of(data):
            one = bytearray(one)
            struct.pack_into("<I", one, AFTER, self.sent["rings"])
            self.sent["socket"] += 1
            super().send(bytes(one), fds)
            fds = ()

    def send(self, data, fds=()):
        if self.memory is None:
            super().send(data, fds)
            return
        if fds:
            self.send_on_socket(data, fds)
            return
        for one in frames_of(data):
            one = bytearray(one)
            struct.pack_into("<I", one, AFTER, self.sent["socket"])
            self.sent["rings"] += 1
            piece = self.to_size // 2 - 8
            for at in range(0, len(one), piece):
                self.push(bytes(one[at : at + piece]), MORE if at + piece < len(one) else 0)

    def push(self, data, flags=0):
        """A record; waits until there is room for it. Takes in meanwhile, or two full rings wait for each other."""
        space = 8 + (len(data) + 7) // 8 * 8
        to_end = self.to_size - self.written % self.to_size
        need = space + (to_end if to_end < space else 0)
        deadline = time.monotonic() + self.timeout
        while self.written + need - self.words[TO_READ // 8] > self.to_size:
            assert time.monotonic() < deadline, "the daemon makes no room"
            self.take_in()
            self.sleep(0.01)
        if to_end < space:
            self.put(struct.pack("<IHH", to_end - 8, PAD, 0))
            self.written += to_end
        self.put(struct.pack("<IHH", len(data), flags, 0) + data)
        self.written += space
        self.words[TO_WRITTEN // 8] = self.written
        self.ring()

    def put(self, data):
        at = PAGE + self.from_size + self.written % self.to_size
        self.memory[at : at + len(data)] = data

    def ring(self):
        """Whether the daemon sleeps or not: Python has no way to ask."""
        os.write(self.event, struct.pack("Q", 1))

    # ---- receiving

    def take_record(self):
        """The next frame of the ring, if it is there."""
        while self.words[FROM_WRITTEN // 8] > self.read:
            at = PAGE + self.read % self.from_size
            size, flags, zero = struct.unpack_from("<IHH", self.memory, at)
            assert zero == 0
            data = self.memory[at + 8 : at + 8 + size]
            self.read += 8 + (size + 7) // 8 * 8
            if flags == PAD:
                continue
            self.pieces += data
            if flags == MORE:
                continue
            whole, self.pieces = self.pieces, b""
            return whole
        return None

    def give_back(self):
        self.words[FROM_READ // 8] = self.read
        self.ring()

    def take_in(self):
        """All that has come. False: the daemon closed the connection."""
        while (whole := self.take_record()) is not None:
            self.taken["rings"].append(self.parse(whole))
        self.give_back()
        while len(self.buffer) > 8 or select.select([self.socket], [], [], 0)[0]:
            frame = super().receive()
            if frame is None:
                return False
            self.taken["socket"].append(frame)
        return True

    @staticmethod
    def parse(whole):
        count = struct.unpack_from("<I", whole)[0] + 1
        at = 4 * (count + 1 + (count + 1) % 2)
        segments = []
        for size in struct.unpack_from(f"<{count}I", whole, 4):
            segments.append(whole[at : at + 8 * size])
            at += 8 * size
        return wire.Frame(segments)

    def sleep(self, seconds):
        """Until the daemon rings or writes. Not for long: between saying so and sleeping no fence can be had."""
        struct.pack_into("<I", self.memory, OWN_SLEEP, IN_POLL)
        if self.words[FROM_WRITTEN // 8] == self.read:
            for fd in select.select([self.bell, self.socket], [], [], seconds)[0]:
                if fd == self.bell:
                    os.read(self.bell, 1)
        struct.pack_into("<I", self.memory, OWN_SLEEP, 0)

    def receive(self):
        if self.memory is None:
            return super().receive()
        deadline = time.monotonic() + self.timeout
        while time.monotonic() < deadline:
            alive = self.take_in()
            for way, other in (("socket", "rings"), ("rings", "socket")):
                frames = self.taken[way]
                if frames and frames[0].get("I", 12) <= self.received[other]:
                    self.received[way] += 1
                    return frames.pop(0)
            if not alive:
                return None
            self.sleep(0.05)
        raise socket.timeout("nothing came in the rings")
