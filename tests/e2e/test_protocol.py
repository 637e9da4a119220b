"""The protocol spoken from another language, well and badly."""

import array
import os
import random
import shutil
import socket
import struct
import subprocess
import unittest

import baton
import byhand
import wire

SCHEMA = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "ipc", "baton.capnp")
CAPNP = shutil.which("capnp")


class ByHand(byhand.Peers, baton.TestCase):
    """Nothing but a socket and packed numbers."""

    def test_hello(self):
        reply = self.peer().greeting
        self.assertEqual((reply.id, reply.body.get("H", 0)), (1, 1))
        self.assertEqual(reply.body.get("i", 8), self.daemon.json("status")["pid"])
        self.assertEqual(reply.body.get("I", 12), 1 << 20)
        self.assertGreaterEqual(reply.body.get("I", 4), 1)

    def test_newer_minor_version_is_welcome(self):
        peer = self.peer(greet=False)
        self.assertEqual(peer.call(wire.hello(minor=999)).tag, wire.HELLO_REPLY)
        self.assertEqual(peer.call(wire.plain(wire.PING, 2)).tag, wire.OK)

    def test_ping(self):
        peer = self.peer()
        for request in (2, 3, (1 << 53) - 1):
            reply = peer.call(wire.plain(wire.PING, request))
            self.assertEqual((reply.tag, reply.id), (wire.OK, request))

    def test_many_requests_in_one_write(self):
        peer = self.peer()
        peer.send(b"".join(wire.plain(wire.PING, request) for request in range(2, 1002)))
        self.assertEqual([peer.receive().id for _ in range(1000)], list(range(2, 1002)))

    def test_a_byte_at_a_time(self):
        peer = self.peer(greet=False)
        for byte in wire.hello() + wire.plain(wire.PING, 2):
            peer.send(bytes([byte]))
        self.assertEqual([peer.receive().tag, peer.receive().tag], [wire.HELLO_REPLY, wire.OK])

    def test_requests_of_a_peer_that_closes_its_side_are_answered(self):
        peer = self.peer()
        peer.send(wire.plain(wire.PING, 2))
        peer.socket.shutdown(socket.SHUT_WR)
        self.assertEqual(peer.receive().tag, wire.OK)
        self.assertIsNone(peer.receive())

    def run_task(self, peer, data, fds=()):
        """Submits, waits, and returns the row of the task."""
        reply = peer.call(data, fds)
        self.assertEqual(reply.tag, wire.SUBMITTED, reply.tag == wire.ERROR and reply.error)
        done = peer.call(wire.wait_frame(9, [reply.number]))
        self.assertEqual((done.tag, done.id), (wire.LISTING, 9))
        rows = done.body.list(0)
        self.assertEqual([row.struct(0).get("Q", 0) for row in rows], [reply.number])
        return rows[0].struct(0)

    def test_submit_and_wait(self):
        out = self.temporary("out")
        row = self.run_task(self.peer(), wire.submit_frame(2, [b"sh", b"-c", b'pwd; echo "$A"; exit 7'],
                            cwd=self.path("work").encode(), environment=[b"PATH=/bin:/usr/bin", b"A=a b\xff"],
                            change=lambda b, o: b.data(o.pointer(2), b"out")))
        self.assertEqual((row.get("H", 20), row.get("i", 24)), (wire.FAILED, 7))
        with open(out, "rb") as file:
            self.assertEqual(file.read(), self.path("work").encode() + b"\na b\xff\n")

    def test_limits_beyond_all_time_are_none(self):
        def limits(_, options):
            options.set("Q", 8, 1 << 63).set("Q", 16, (1 << 64) - 2).set("Q", 24, (1 << 64) - 1)

        row = self.run_task(self.peer(), wire.submit_frame(2, [b"true"], change=limits))
        self.assertEqual(row.get("H", 20), wire.SUCCEEDED)

    def test_submit_with_a_context_in_memory(self):
        builder = wire.Builder()
        wire.context(builder, 0, environment=[b"PATH=/bin:/usr/bin", b"BIG=" + b"x" * 100_000])
        content = builder.bytes()
        fd = wire.memfd(content)
        self.addCleanup(os.close, fd)
        row = self.run_task(self.peer(), wire.submit_frame(2, [b"sh", b"-c", b"test ${#BIG} = 100000"], fds=1,
                            memfd_bytes=len(content)), [fd])
        self.assertEqual(row.get("H", 20), wire.SUCCEEDED)

    def test_attached_task_with_its_own_descriptors(self):
        peer = self.peer()
        mine, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        reader, writer = os.pipe()
        with mine, theirs, open(os.devnull) as null, open(reader, "rb") as out:
            rights = array.array("i", [null.fileno(), writer, writer])
            mine.sendmsg([b"F\0\1\2"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, rights)])
            peer.send(wire.submit_frame(2, [b"echo", b"hello"], fds=1, output=wire.PARCEL, attached=True),
                      [theirs.fileno()])
            os.close(writer)
            theirs.close()
            frames = [peer.receive() for _ in range(3)]
            self.assertEqual([frame.tag for frame in frames], [wire.ACCEPTED, wire.STARTED, wire.ENDED])
            self.assertEqual({frame.id for frame in frames}, {2})
            self.assertEqual(frames[2].body.get("H", 20), wire.SUCCEEDED)
            self.assertEqual(out.read(), b"hello\n")

    def test_list_pages(self):
        peer = self.peer()
        made = [peer.call(wire.submit_frame(10 + i, [b"true", b"%d" % i])).number for i in range(5)]
        seen, after = [], made[0] - 1
        while True:
            page = peer.call(wire.list_frame(3, after, 2)).body
            rows = [row.struct(0) for row in page.list(0)]
            self.assertLessEqual(len(rows), 2)
            seen += [(row.get("Q", 0), row.data_list(1)) for row in rows]
            after = page.get("Q", 0)
            if not after:
                break
        self.assertEqual(seen, [(number, [b"true", b"%d" % i]) for i, number in enumerate(made)])

    @unittest.skipUnless(CAPNP, "the capnp tool is not installed")
    def test_with_the_capnp_tool(self):
        texts = ['(id = 1, hello = (major = 1, program = "capnp"))',
                 '(id = 2, submit = (context = (inline = (cwd = "/", environment = ["PATH=/bin:/usr/bin"])), '
                 'argv = ["true"]))',
                 "(id = 3, wait = (selection = (all = true)))", "(id = 4, ping = void)"]
        encoded = [subprocess.run([CAPNP, "encode", "-I/usr/include", SCHEMA, "Frame"], input=text.encode(),
                                  stdout=subprocess.PIPE, check=True).stdout for text in texts]
        peer = self.peer(greet=False)
        peer.send(b"".join(encoded))
        answers = {}
        while len(answers) < 4:
            answer = subprocess.run([CAPNP, "decode", "-I/usr/include", SCHEMA, "Frame"], input=peer.receive_bytes()[0],
                                    stdout=subprocess.PIPE, check=True).stdout.decode()
            answers[int(answer.split("id = ")[1].split(",")[0])] = answer
        self.assertIn("helloReply = (", answers[1])
        self.assertIn("submitted = ", answers[2])
        self.assertIn("listing = (", answers[3])
        self.assertIn("ok = void", answers[4])


class Hostile(byhand.Peers, baton.TestCase):
    """Who breaks the protocol loses the connection, and is counted; a neighbour never notices."""

    def setUp(self):
        self.victim = self.peer()
        self.count = self.victim.bad_frames()
        self.daemon_pid = self.victim.greeting.body.get("i", 8)

    def tearDown(self):
        # The same connection to the same daemon, and its work goes on.
        reply = self.victim.call(wire.submit_frame(5, [b"true"]))
        self.assertEqual(reply.tag, wire.SUBMITTED)
        done = self.victim.call(wire.wait_frame(6, [reply.number]))
        self.assertEqual(done.body.list(0)[0].struct(0).get("H", 20), wire.SUCCEEDED)
        self.assertEqual(self.daemon.json("status")["pid"], self.daemon_pid)

    def assert_thrown_out(self, data, fds=(), greet=True, end=False, counted=1):
        """`data` costs the connection, and is counted once."""
        peer = self.peer(greet=greet)
        try:
            peer.send(data, fds)
            if end:
                peer.socket.shutdown(socket.SHUT_WR)
        except (BrokenPipeError, ConnectionResetError):
            pass
        self.assertTrue(peer.closed(), "the connection is still there")
        peer.close()
        self.count += counted
        self.assertEqual(self.victim.bad_frames(), self.count)

    def test_garbage(self):
        noise = random.Random(1)
        for data in (b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
                     b"\xff" * 64, b"{\"id\": 1}\n" * 10, noise.randbytes(4096)):
            for greet in (False, True):
                with self.subTest(data=data[:16], greet=greet):
                    self.assert_thrown_out(data, greet=greet)

    def test_truncated(self):
        whole = wire.submit_frame(2, [b"true"])
        for size in sorted({1, 4, 7, 8, 9, 16, 40, len(whole) // 2, len(whole) - 1}):
            with self.subTest(size=size):
                self.assert_thrown_out(whole[:size], end=True)

    def test_truncated_frame_does_nothing(self):
        before = self.daemon.json("status")["submitted_ever"]
        self.assert_thrown_out(wire.submit_frame(2, [b"true"])[:-8], end=True)
        self.assertEqual(self.daemon.json("status")["submitted_ever"], before)

    def test_oversized(self):
        limit = 1 << 20
        for sizes in ([limit // 8], [0xFFFFFFFF], [0xFFFFFFFF] * 16, [1 << 28] * 15, [limit // 16, limit // 16]):
            with self.subTest(sizes=sizes[:2]):
                table = [len(sizes) - 1, *sizes] + [0] * ((len(sizes) + 1) % 2)
                self.assert_thrown_out(struct.pack(f"<{len(table)}I", *table))

    def test_announced_bytes_cost_no_memory(self):
        before = self.victim.status().get("Q", 152)
        peers = [self.peer() for _ in range(50)]
        for peer in peers:
            peer.send(struct.pack("<II", 0, (1 << 20) // 8 - 1) + bytes(64))
        self.assertEqual(self.victim.call(wire.plain(wire.PING, 3)).tag, wire.OK)
        self.assertLess(self.victim.status().get("Q", 152) - before, 10 << 20)
        for peer in peers:
            peer.close()
        baton.wait_until(lambda: self.victim.status().get("I", 92) <= 1, "the connections are closed")
        self.count = self.victim.bad_frames()

    def test_too_many_segments(self):
        for count in (17, 512, 1 << 16):
            with self.subTest(count=count):
                self.assert_thrown_out(struct.pack("<I", count - 1) + bytes(60))

    def test_frame_without_a_root(self):
        for words in ([], [0xFFFFFFFFFFFFFFFC], [1], [9 << 32 | 2], [0x7FFF7FFF << 32]):
            with self.subTest(words=words):
                self.assert_thrown_out(struct.pack(f"<II{len(words)}Q", 0, len(words), *words))

    def test_first_frame_must_be_hello(self):
        for tag in (wire.PING, wire.STATUS, wire.LIST, wire.OK, 999):
            self.assert_thrown_out(wire.plain(tag, 1), greet=False)
        self.assert_thrown_out(wire.hello(), greet=True)

    def test_request_without_an_id(self):
        for request in (0, 1 << 53, (1 << 64) - 1):
            self.assert_thrown_out(wire.plain(wire.PING, request))

    def test_request_id_in_use(self):
        held = self.victim.call(wire.submit_frame(8, [b"true"], change=self.hold)).number
        wait = wire.wait_frame(3, [held])
        self.assert_thrown_out(wait + wait)
        self.assertEqual(self.victim.call(wire.select_frame(wire.RELEASE, 9, [held])).tag, wire.OK)

    def test_bad_pointers_in_every_request(self):
        for tag in range(25):
            if tag in (wire.HELLO,):
                continue
            for word in (0xFFFFFFFFFFFFFFFC, 0x7FFF7FFF00000000, 9 << 32 | 2, 3, 0xFFFFFFFF00000001):
                builder, root = wire.frame(tag, 2)
                builder.put(root.pointer(0), word)
                if tag in (wire.PING, wire.STATUS, 17, 18, 19, 20, 21, 22, 23):
                    continue  # these have no pointer, or end the daemon
                with self.subTest(tag=tag, word=hex(word)):
                    peer = self.peer()
                    peer.send(builder.bytes())
                    # Thrown out, or answered: a pointer that is never looked at does no harm.
                    answer = peer.receive()
                    self.assertTrue(answer is None or answer.id == 2)
                    peer.close()
        baton.wait_until(lambda: self.victim.status().get("I", 92) <= 1, "the connections are closed")
        self.assertGreater(self.victim.bad_frames(), self.count + 20)
        self.count = self.victim.bad_frames()

    def test_nothing_half_done_by_a_task_with_a_bad_pointer(self):
        before = self.daemon.json("status")
        whole = bytearray(wire.submit_frame(2, [b"true"]))
        # Submit's pointers: context, options, argv, terminal.
        submit = 8 + 8 * (1 + 3 + 1) + 8
        for index in range(4):
            data = bytearray(whole)
            struct.pack_into("<Q", data, submit + 8 * index, 0x7FFF7FFFFFFFFFFC)
            with self.subTest(index=index):
                self.assert_thrown_out(bytes(data))
        after = self.daemon.json("status")
        self.assertEqual([after[key] for key in ("submitted_ever", "queued", "running")],
                         [before[key] for key in ("submitted_ever", "queued", "running")])

    def test_unknown_requests_are_answered(self):
        peer = self.peer()
        for tag in (wire.OK, wire.STARTED, 46, 57, 58, 1000, 65535):
            reply = peer.call(wire.plain(tag, 2))
            self.assertEqual((reply.id, reply.error[0]), (2, wire.USAGE), tag)
        self.assertEqual(peer.call(wire.plain(wire.PING, 3)).tag, wire.OK)

    def test_unknown_numbers_are_answered(self):
        peer = self.peer()
        for change in (lambda b, o: o.set("H", 4, 7), lambda b, o: o.set("H", 36, 9), lambda b, o: o.set("i", 0, 5000),
                       lambda b, o: o.set("H", 34, 2001), lambda b, o: b.data(o.pointer(2), b"a\0b"),
                       lambda b, o: b.text(o.pointer(0), b"n" * 129)):
            self.assertEqual(peer.call(wire.submit_frame(2, [b"true"], change=change)).error[0], wire.USAGE)
        self.assertEqual(peer.call(wire.submit_frame(2, [b"true"], change=lambda b, o: o.set("H", 6, 5000))).error[0],
                         wire.REFUSED)
        for argv in ([], [b""], [b"a\0b"]):
            self.assertEqual(peer.call(wire.submit_frame(2, argv)).error[0], wire.USAGE)
        self.assertEqual(peer.call(wire.plain(wire.PING, 3)).tag, wire.OK)

    def test_other_protocol_version(self):
        for major in (0, 2, 65535):
            peer = self.peer(greet=False)
            code, text = peer.call(wire.hello(major=major)).error
            self.assertEqual(code, wire.VERSION)
            self.assertIn(b"%d.0" % major, text)
            self.assertTrue(peer.closed())

    def test_descriptors_that_do_not_fit(self):
        null = os.open(os.devnull, os.O_RDWR)
        self.addCleanup(os.close, null)
        self.assert_thrown_out(wire.frame(wire.PING, 2, fds=1)[0].bytes())
        self.assert_thrown_out(wire.frame(wire.PING, 2, fds=2)[0].bytes(), [null])
        self.assert_thrown_out(wire.plain(wire.PING, 2), [null])
        self.assert_thrown_out(wire.frame(wire.PING, 2, fds=1)[0].bytes(), [null] * 2)
        self.assert_thrown_out(wire.frame(wire.PING, 2, fds=17)[0].bytes(), [null] * 17)
        self.assert_thrown_out(wire.frame(wire.PING, 2, fds=255)[0].bytes(), [null] * 250)

    def test_no_descriptor_is_left(self):
        self.test_descriptors_that_do_not_fit()
        before = byhand.fd_count(self.daemon_pid)
        reader, writer = os.pipe()
        for _ in range(50):
            peer = self.peer()
            self.assertEqual(peer.call(wire.frame(wire.PING, 2, fds=1)[0].bytes(), [writer]).tag, wire.OK)
            peer.send(wire.frame(wire.PING, 2, fds=2)[0].bytes()[:20], [writer, writer])
            peer.close()
            self.count += 1
        os.close(writer)
        with open(reader, "rb") as file:
            self.assertEqual(file.read(), b"", "every copy of the writing end is closed")
        baton.wait_until(lambda: byhand.fd_count(self.daemon_pid) <= before, "the daemon has no more descriptors than before")

    def test_wrong_descriptors(self):
        null = os.open(os.devnull, os.O_RDWR)
        self.addCleanup(os.close, null)
        peer = self.peer()
        code = lambda data, fds: peer.call(data, fds).error[0]
        stream, other = socket.socketpair()
        self.addCleanup(stream.close)
        self.addCleanup(other.close)
        for fd in (null, stream.fileno()):
            self.assertEqual(code(wire.submit_frame(2, [b"true"], fds=1, output=wire.PARCEL, attached=True), [fd]),
                             wire.USAGE)
        self.assertEqual(code(wire.submit_frame(2, [b"true"], output=wire.PARCEL, attached=True), []), wire.USAGE)
        builder = wire.Builder()
        wire.context(builder, 0)
        content = builder.bytes()
        loose, sealed = wire.memfd(content, sealed=False), wire.memfd(content)
        self.addCleanup(os.close, loose)
        self.addCleanup(os.close, sealed)
        for fd, size in ((null, len(content)), (loose, len(content)), (sealed, len(content) - 8)):
            self.assertEqual(code(wire.submit_frame(2, [b"true"], fds=1, memfd_bytes=size), [fd]), wire.USAGE)
        self.assertEqual(code(wire.submit_frame(2, [b"true"], memfd_bytes=64), []), wire.USAGE)
        for size in (3 << 20, (1 << 64) - 8, 7):
            self.assertEqual(code(wire.submit_frame(2, [b"true"], fds=1, memfd_bytes=size), [sealed]), wire.TOO_LARGE)

    def test_hostile_contexts(self):
        for cwd, environment in ((b"relative", [b"A=1"]), (b"/\0", [b"A=1"]), (b"/", [b"A=\0"])):
            self.assert_thrown_out(wire.submit_frame(2, [b"true"], cwd=cwd, environment=environment))
        # Noise in a sealed memfd.
        for content in (bytes(8), b"\xff" * 64, struct.pack("<IIQ", 0, 1, 0xFFFFFFFFFFFFFFFC)):
            fd = wire.memfd(content)
            self.assert_thrown_out(wire.submit_frame(2, [b"true"], fds=1, memfd_bytes=len(content)), [fd])
            os.close(fd)

    def test_a_context_that_grows_when_it_is_copied(self):
        """A thousand pointers to one string: small on the wire, large when written out."""
        builder, root = wire.frame(wire.SUBMIT, 2)
        body = builder.struct(root.pointer(0), 1, 4)
        source = builder.struct(body.pointer(0), 2, 1)
        context = builder.struct(source.pointer(0), 2, 4)
        builder.data(context.pointer(1), b"/")
        count, size = 7, 900_000
        at = builder.list(context.pointer(0), 6, count, count)
        data = builder.room(size // 8)
        for i in range(count):
            builder.put(at + i, 1 | (data - (at + i) - 1) << 2 | 2 << 32 | size << 35)
        builder.words[8 * data : 8 * data + size] = b"A=" + b"x" * (size - 2)
        builder.data_list(body.pointer(2), [b"true"])
        peer = self.peer()
        answer = peer.call(builder.bytes())
        self.assertTrue(answer is None or answer.error[0] in (wire.TOO_LARGE, wire.QUOTA), answer and answer.tag)
        self.count = self.victim.bad_frames()

    def test_long_commands_can_be_listed(self):
        """Arguments of nothing but their ends take little to send and to keep: a page of them must still fit."""
        peer = self.peer()
        for request in range(10, 16):
            self.assertEqual(peer.call(wire.submit_frame(request, [b"true"] + [b""] * 100_000)).tag, wire.SUBMITTED)
        after, pages = 0, 0
        while True:
            received = peer.call(wire.list_frame(3, after, 1000))
            self.assertEqual(received.tag, wire.LISTING)
            self.assertLess(sum(len(segment) for segment in received.segments), 1 << 20)
            after, pages = received.body.get("Q", 0), pages + 1
            if not after:
                break
        self.assertGreater(pages, 2)
        self.assertEqual(self.ctl("list").returncode, 0)
        self.assertEqual(self.ctl("wait").returncode, 0)

    def test_the_same_task_waited_for_twice(self):
        peer = self.peer()
        held = peer.call(wire.submit_frame(8, [b"true"], change=self.hold)).number
        for any in (True, False):
            self.victim.send(wire.wait_frame(20 + any, [held] * 5, any=any))
        self.assertEqual(peer.call(wire.plain(wire.PING, 9)).tag, wire.OK)
        self.assertEqual(peer.call(wire.select_frame(wire.RELEASE, 10, [held])).tag, wire.OK)
        answers = {self.victim.receive().id for _ in range(2)}
        self.assertEqual(answers, {20, 21})

    def test_a_large_selection_is_answered(self):
        peer = self.peer()
        number = peer.call(wire.submit_frame(2, [b"true"])).number
        peer.call(wire.wait_frame(3, [number]))
        for tag in (wire.SHOW, wire.EXPLAIN, wire.RETRY):
            received = peer.call(wire.select_frame(tag, 4, [number] * 10_000))
            self.assertIsNotNone(received)
            self.assertLess(sum(len(segment) for segment in received.segments), 1 << 20, tag)
        self.assertEqual(peer.call(wire.select_frame(wire.SHOW, 5, [number] * 10_001)).error[0], wire.TOO_LARGE)
        self.assertEqual(self.ctl("wait", timeout=120).returncode, 0)

    def test_unknown_ids(self):
        peer = self.peer()
        for tag in (wire.SHOW, wire.EXPLAIN, wire.HOLD, wire.RELEASE, wire.RETRY):
            for number in (0, 10**9, (1 << 64) - 1):
                self.assertEqual(peer.call(wire.select_frame(tag, 2, [number])).error[0], wire.UNKNOWN_ID, (tag, number))
        self.assertEqual(peer.call(wire.wait_frame(2, [10**9])).error[0], wire.UNKNOWN_ID)

    def test_noise_around_valid_frames(self):
        """Ten thousand frames with a few bytes changed; whatever comes back, the daemon stays."""
        noise = random.Random(int(os.environ.get("BATON_SEED", "1")))
        models = [wire.submit_frame(2, [b"true", b"x"], change=lambda b, o: b.text(o.pointer(0), b"name")),
                  wire.wait_frame(3, [1, 2], timeout_ns=0), wire.list_frame(4, 0, 10), wire.select_frame(wire.SHOW, 5, [1]),
                  wire.select_frame(wire.EXPLAIN, 6, [1]), wire.hello(), wire.plain(wire.STATUS, 7)]
        stops = (19, 21, 22)  # drain, stop, reload
        peer = None
        for _ in range(int(os.environ.get("BATON_NOISE", "10000"))):
            data = bytearray(noise.choice(models))
            for _ in range(noise.randrange(1, 4)):
                data[noise.randrange(8, len(data))] = noise.choice((0, 1, 2, 0x7F, 0xFF, noise.randrange(256)))
            if struct.unpack_from("<H", data, 8 + 8 + 10)[0] in stops:
                continue
            if peer is None:
                peer = wire.Peer(self.socket)
            try:
                peer.send(bytes(data))
                peer.socket.setblocking(False)
                while peer.socket.recv(1 << 20):
                    pass
                raise ConnectionResetError
            except BlockingIOError:
                peer.socket.settimeout(peer.timeout)
            except (ConnectionResetError, BrokenPipeError):
                peer.close()
                peer = None
        if peer:
            peer.close()
        self.assertEqual(self.victim.call(wire.plain(wire.PING, 3)).tag, wire.OK)
        self.count = self.victim.bad_frames()
        self.ctl("cancel", "--all")


if __name__ == "__main__":
    baton.main()
