"""Rings as the transport of a connection: the same requests, and what a hostile client does with the memory."""

import array
import os
import random
import socket
import struct
import threading
import time

import baton
import byhand
import rings
import test_protocol
import test_queue_protocol
import wire


class ByHand(test_protocol.ByHand):
    """All that test_protocol does on the socket."""

    def peer(self, greet=True, **options):
        peer = rings.RingPeer(self.socket, greet=greet, **options)
        self.addCleanup(peer.close)
        return peer


class Queues(test_queue_protocol.Speaking):
    """All that test_queue_protocol does on the socket."""

    def peer(self):
        peer = rings.RingPeer(type(self).path_of_socket)
        self.addCleanup(peer.close)
        return peer


class Use(byhand.Peers, baton.TestCase):
    CONFIG = "ring_bytes = 1060000\n"  # for two of the largest

    def ring_peer(self, **options):
        peer = rings.RingPeer(self.socket, **options)
        self.addCleanup(peer.close)
        return peer

    def used(self):
        return self.daemon.json("status")["ring_bytes"]

    def test_memory_is_counted_and_given_back(self):
        self.assertEqual(self.used(), 0)
        peer = self.ring_peer()
        self.assertEqual(self.used(), 4096 + 2 * 16384)
        peer.close()
        baton.wait_until(lambda: self.used() == 0, "the rings' memory is given back")

    def test_beyond_the_quota_the_socket_does(self):
        peers = [self.ring_peer(to_daemon=262144, from_daemon=262144)]
        other = self.peer()
        reply = other.call(rings.use_rings(7, 1 << 19, 1 << 18))
        self.assertEqual(reply.tag, rings.RINGS_REPLY)
        self.assertEqual(reply.body.get("I", 0), 262144, "cut to what there is at most")
        reply = self.peer().call(rings.use_rings(7))
        self.assertEqual(reply.error[0], wire.QUOTA)
        self.assertIn(b"ring_bytes", reply.error[1])
        self.assertEqual(peers[0].call(wire.plain(wire.PING, 3)).tag, wire.OK)

    def test_sizes_that_are_none(self):
        peer = self.peer()
        for size in (0, 1, 8192, 16385, 100000):
            self.assertEqual(peer.call(rings.use_rings(7, size, 16384)).error[0], wire.USAGE, size)
            self.assertEqual(peer.call(rings.use_rings(7, 16384, size)).error[0], wire.USAGE, size)

    def test_once_for_a_connection(self):
        peer = self.ring_peer()
        self.assertEqual(peer.call(rings.use_rings(7)).tag, wire.ERROR)
        self.assertEqual(peer.call(wire.plain(wire.PING, 8)).tag, wire.OK)

    def test_not_before_hello(self):
        peer = self.peer(greet=False)
        peer.send(rings.use_rings(1))
        self.assertTrue(peer.closed())

    def test_large_frames_both_ways(self):
        """Requests and answers of half a megabyte, through rings of 16 KiB."""
        peer = self.ring_peer()
        words = [b"sleep", b"100000"] + [b"x" * 1000] * 400
        reply = peer.call(wire.submit_frame(2, words, change=self.hold))
        self.assertEqual(reply.tag, wire.SUBMITTED)
        row = peer.call(wire.select_frame(wire.SHOW, 3, [reply.number]))
        self.assertEqual(row.tag, wire.LISTING)
        self.assertGreater(sum(len(segment) for segment in row.segments), 400_000)

    def test_a_thousand_calls_in_flight(self):
        peer = self.ring_peer()
        for request in range(10, 1010):
            peer.send(wire.plain(wire.STATUS, request))
        self.assertEqual([peer.receive().id for _ in range(1000)], list(range(10, 1010)))

    def test_many_connections_at_once(self):
        failures = []

        def calls():
            try:
                with rings.RingPeer(self.socket) as peer:
                    for request in range(10, 310):
                        reply = peer.call(wire.plain(wire.PING, request))
                        if (reply.tag, reply.id) != (wire.OK, request):
                            failures.append((reply.tag, reply.id))
            except Exception as why:  # pylint: disable=broad-except
                failures.append(why)

        threads = [threading.Thread(target=calls) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(failures, [])

    def test_an_idle_connection_costs_nothing(self):
        peer = self.ring_peer()
        peer.call(wire.plain(wire.PING, 5))
        pid = self.pid()

        def switches():
            with open(f"/proc/{pid}/status", encoding="ascii") as file:
                return [line for line in file if "ctxt_switches" in line]

        baton.wait_until(lambda: self.still(switches), "the daemon sleeps")

    @staticmethod
    def still(reading):
        before = reading()
        time.sleep(0.3)
        return reading() == before


class Hostile(byhand.Peers, baton.TestCase):
    """The whole mapping is the client's to scribble on. Its connection may end; nothing else may change."""

    def setUp(self):
        super().setUp()
        self.good = rings.RingPeer(self.socket)
        self.addCleanup(self.good.close)

    def tearDown(self):
        self.assertEqual(self.good.call(wire.plain(wire.PING, 9)).tag, wire.OK)
        super().tearDown()

    def ring_peer(self):
        peer = rings.RingPeer(self.socket)
        self.addCleanup(peer.close)
        return peer

    def assert_thrown_out(self, peer):
        peer.ring()
        self.assertTrue(peer.closed(), "the connection goes on")

    def test_positions_that_cannot_be(self):
        for value in (1, 16384 + 8, (1 << 64) - 8, 1 << 63):
            peer = self.ring_peer()
            peer.words[rings.TO_WRITTEN // 8] = value
            self.assert_thrown_out(peer)

    def test_read_positions_that_cannot_be(self):
        """The daemon looks when it needs room."""
        for value in (1, 1 << 40, (1 << 64) - 8):
            peer = self.ring_peer()
            peer.words[rings.FROM_READ // 8] = value
            for request in range(10, 150):
                peer.push(wire.plain(wire.STATUS, request))
            self.assertTrue(peer.closed(), value)

    def test_records_that_cannot_be(self):
        for header in (struct.pack("<IHH", 1 << 31, 0, 0), struct.pack("<IHH", 8, 4, 0), struct.pack("<IHH", 8, 0, 1),
                       struct.pack("<IHH", 16376, rings.PAD, 0), struct.pack("<IHH", 4096, 0, 0)):
            peer = self.ring_peer()
            peer.put(header)
            peer.written += 16
            peer.words[rings.TO_WRITTEN // 8] = peer.written
            self.assert_thrown_out(peer)

    def test_endless_pieces(self):
        for size in (0, 8, 8184):
            peer = self.ring_peer()
            frame = struct.pack("<II", 0, 1 << 17) + bytes(8184)
            with self.assertRaises((OSError, AssertionError)):
                for _ in range(1000):
                    peer.timeout = 1
                    peer.push(frame[:size], rings.MORE)
                    if peer.closed(0.01):
                        raise OSError("closed")
            self.assertTrue(peer.closed())

    def test_a_frame_that_is_early_for_ever(self):
        peer = self.ring_peer()
        data = bytearray(wire.plain(wire.PING, 5))
        struct.pack_into("<I", data, rings.AFTER, 1000)
        peer.push(bytes(data))
        self.assertTrue(peer.closed(timeout=20), "it may wait for some seconds, not for ever")

    def test_a_flood_of_rings(self):
        """Writes to the eventfd for nothing: the others are served meanwhile."""
        peer = self.ring_peer()
        done = threading.Event()

        def flood():
            while not done.is_set():
                for _ in range(1000):
                    peer.ring()

        thread = threading.Thread(target=flood)
        thread.start()
        try:
            for request in range(10, 200):
                self.assertEqual(self.good.call(wire.plain(wire.PING, request)).tag, wire.OK)
            # The one who floods is served, too, if not at once.
            self.assertEqual(peer.call(wire.plain(wire.PING, 5)).tag, wire.OK)
        finally:
            done.set()
            thread.join()

    def test_a_drained_eventfd(self):
        """The client takes the daemon's wake-ups away: it harms itself alone."""
        peer = self.ring_peer()
        peer.ring()
        os.set_blocking(peer.event, False)
        for _ in range(100):
            try:
                os.read(peer.event, 8)
            except BlockingIOError:
                pass
        os.set_blocking(peer.event, True)
        self.assertEqual(peer.call(wire.plain(wire.PING, 5)).tag, wire.OK)

    def test_closed_bells(self):
        peer = self.ring_peer()
        os.close(peer.bells.pop())
        for request in range(10, 60):
            peer.send(wire.plain(wire.STATUS, request))
        self.assertEqual(self.good.call(wire.plain(wire.PING, 10)).tag, wire.OK)

    def test_the_memory_cannot_be_shrunk(self):
        peer = self.peer()
        peer.socket.sendall(rings.use_rings(9))
        _, ancillary, *_ = peer.socket.recvmsg(65536, socket.CMSG_SPACE(64))
        fds = array.array("i")
        fds.frombytes(ancillary[0][2])
        try:
            with self.assertRaises(OSError):
                os.truncate(fds[0], 0)
            with self.assertRaises(OSError):
                os.truncate(fds[0], 1 << 30)
        finally:
            for fd in fds:
                os.close(fd)

    def test_noise_everywhere(self):
        """Random bytes in the whole mapping, while the daemon reads it."""
        seed = random.SystemRandom().getrandbits(32)
        noise = random.Random(seed)
        for _ in range(60):
            peer = self.ring_peer()
            try:
                for request in range(10, 14):
                    peer.send(wire.plain(wire.STATUS, request))
                for _ in range(50):
                    at = noise.choice((noise.randrange(0, 768, 8), noise.randrange(0, len(peer.memory) - 8, 8)))
                    header = struct.pack("<IHH", noise.randrange(20000), noise.randrange(4), 0)
                    position = struct.pack("<Q", 8 * noise.randrange(4096))
                    peer.memory[at : at + 8] = noise.choice((noise.randbytes(8), header, position))
                    peer.ring()
            except (OSError, AssertionError):
                pass
            self.assertEqual(self.good.call(wire.plain(wire.PING, 10)).tag, wire.OK, f"seed {seed}")
            peer.close()
