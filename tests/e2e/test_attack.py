"""Crowds, hoarders, and descriptors that cannot be closed: each costs its own connection at most."""

import contextlib
import os
import resource
import socket
import struct
import threading

import baton
import byhand
import wire


@contextlib.contextmanager
def stuck_descriptor():
    """A descriptor whose last close blocks for a minute, as that of a file in a hung FUSE mount does: a TCP
    socket that lingers, with bytes that its peer never takes. What is yielded is to be closed by who takes it."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        near = socket.create_connection(server.getsockname())
        far = server.accept()[0]
        with far:
            near.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 60))
            near.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                while True:
                    near.send(bytes(1 << 16))
            fd = near.detach()
            try:
                yield fd
            finally:
                # The peer's reset ends the lingering.
                far.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


class Attack(byhand.Peers, baton.TestCase):
    CONFIG = 'connections = 1024\n'

    def setUp(self):
        # Well below the minute for which a close would block.
        self.victim = self.peer(timeout=25)
        self.daemon_pid = self.pid()
        self.assert_undisturbed()  # a worker is warm: what it takes is there before anything is counted

    def tearDown(self):
        self.assert_undisturbed()
        self.assertEqual(self.pid(), self.daemon_pid)

    def assert_undisturbed(self):
        reply = self.victim.call(wire.submit_frame(5, [b"true"]))
        self.assertEqual(reply.tag, wire.SUBMITTED)
        done = self.victim.call(wire.wait_frame(6, [reply.number]))
        self.assertEqual(done.body.list(0)[0].struct(0).get("H", 20), wire.SUCCEEDED)

    def crowd(self, count, greet):
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, max(soft, count + 256)), hard))
        self.addCleanup(resource.setrlimit, resource.RLIMIT_NOFILE, (soft, hard))
        return [self.peer(greet=greet) for _ in range(count)]

    def test_a_thousand_connections(self):
        crowd = self.crowd(1000, greet=True)
        self.assert_undisturbed()
        for request, peer in enumerate(crowd, 2):
            peer.send(wire.plain(wire.PING, request))
        self.assertEqual([peer.receive().id for peer in crowd], list(range(2, 1002)))
        for peer in crowd:
            peer.close()
        baton.wait_until(lambda: self.daemon.json("status")["connections"] <= 2, "they are gone")

    def test_a_thousand_that_never_speak(self):
        self.crowd(1000, greet=False)
        self.assert_undisturbed()

    def test_more_connections_than_there_may_be(self):
        """Each beyond the limit is told and closed, and leaves nothing behind."""
        crowd = self.crowd(1100, greet=False)
        refused = 0
        for peer in crowd[-50:]:
            answer = peer.receive()
            self.assertEqual(answer.error[0], wire.QUOTA)
            self.assertIsNone(peer.receive())
            refused += 1
        self.assertEqual(refused, 50)
        self.assertEqual(self.victim.call(wire.plain(wire.PING, 3)).tag, wire.OK)
        self.assertLess(byhand.fd_count(self.daemon_pid), 1200)
        for peer in crowd:
            peer.close()
        baton.wait_until(lambda: byhand.fd_count(self.daemon_pid) < 100, "the daemon holds none of them")

    def test_descriptors_whose_frame_never_comes(self):
        before = byhand.fd_count(self.daemon_pid)
        null = os.open(os.devnull, os.O_RDWR)
        self.addCleanup(os.close, null)
        hoarders = [self.peer() for _ in range(100)]
        for peer in hoarders:
            peer.send(wire.frame(wire.PING, 2, fds=16)[0].bytes()[:20], [null] * 16)
        self.assert_undisturbed()
        # More of them in the middle of a frame: nobody needs that.
        for peer in hoarders:
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                for _ in range(2):
                    peer.send(b"\0", [null] * 16)
        self.assertTrue(all(peer.closed() for peer in hoarders))
        baton.wait_until(lambda: byhand.fd_count(self.daemon_pid) <= before, "all are closed")

    def test_a_descriptor_that_cannot_be_closed(self):
        """In a frame; behind one that costs the connection, unread; in the parcel of a task that never starts."""
        def in_a_frame(fd):
            peer = self.peer()
            self.assertEqual(peer.call(wire.frame(wire.PING, 2, fds=1)[0].bytes(), [fd]).tag, wire.OK)

        def unread(fd):
            peer = self.peer(greet=False)
            # The bad frame is in a read of its own, since it has descriptors too.
            null = os.open(os.devnull, os.O_RDWR)
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                peer.send(wire.frame(wire.PING, 1, fds=1)[0].bytes(), [null])
                peer.send(wire.frame(wire.PING, 2, fds=1)[0].bytes(), [fd])
            os.close(null)

        def in_a_parcel(fd):
            mine, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            peer = self.peer()
            with mine, theirs:
                socket.send_fds(mine, [b"F\0\1\2"], [fd, fd, fd])
                task = peer.call(wire.submit_frame(2, [b"true"], fds=1, output=wire.PARCEL, attached=True,
                                                   change=self.hold), [theirs.fileno()]).number
            self.addCleanup(peer.close)
            return lambda: self.victim.call(wire.cancel_frame(7, [task]))

        def in_a_bad_submit(fd):
            mine, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            peer = self.peer()
            with mine, theirs:
                socket.send_fds(mine, [b"F\0\1\2"], [fd, fd, fd])
                self.assertEqual(peer.call(wire.submit_frame(2, [b"true"], fds=1, output=wire.PARCEL, attached=True,
                                           change=lambda b, o: o.set("H", 6, 5000)), [theirs.fileno()]).tag, wire.ERROR)

        def with_a_relative_directory(fd):
            mine, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            peer = self.peer()
            with mine, theirs:
                socket.send_fds(mine, [b"F\0\1\2"], [fd, fd, fd])
                peer.send(wire.submit_frame(2, [b"true"], fds=1, output=wire.PARCEL, attached=True, cwd=b"."),
                          [theirs.fileno()])
            self.assertTrue(peer.closed())

        for send in (in_a_frame, unread, in_a_parcel, in_a_bad_submit, with_a_relative_directory):
            with self.subTest(send.__name__), stuck_descriptor() as fd:
                then = send(fd)
                os.close(fd)  # the daemon has the last one
                if then:
                    then()
                self.assert_undisturbed()

    def test_no_more_are_taken_behind_one_that_hangs(self):
        peer = self.peer()
        ping = wire.frame(wire.PING, 2, fds=16)[0].bytes()
        null = os.open(os.devnull, os.O_RDWR)
        self.addCleanup(os.close, null)
        with stuck_descriptor() as fd:
            self.assertEqual(peer.call(wire.frame(wire.PING, 2, fds=1)[0].bytes(), [fd]).tag, wire.OK)
            os.close(fd)
            answer = None
            for _ in range(80):
                answer = peer.call(ping, [null] * 16)
                if answer.tag != wire.OK:
                    break
            self.assertEqual(answer.error[0], wire.REFUSED)
            self.assertEqual(self.ctl("run", "true").returncode, 125)
            self.assert_undisturbed()
        baton.wait_until(lambda: self.ctl("run", "true").returncode == 0, "it hangs no more")

    def test_a_huge_memory_file(self):
        """4 GiB of a memory file: not mapped, not read, and its end holds nobody up."""
        for seal in (False, True):
            fd = os.memfd_create("huge", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
            os.ftruncate(fd, 4 << 30)
            if seal:
                wire.seal(fd)
            rss = self.victim.status().get("Q", 152)
            peer = self.peer()
            for size in (4 << 30, 2 << 20, 64):
                answer = peer.call(wire.submit_frame(2, [b"true"], fds=1, memfd_bytes=size), [fd])
                self.assertIn(answer.error[0], (wire.USAGE, wire.TOO_LARGE))
            os.close(fd)
            self.assertLess(self.victim.status().get("Q", 152) - rss, 16 << 20)

    def test_a_parcel_of_huge_memory_files(self):
        mine, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        peer = self.peer()
        fd = os.memfd_create("huge", os.MFD_CLOEXEC)
        os.ftruncate(fd, 4 << 30)
        with mine, theirs:
            socket.send_fds(mine, [b"F\0\1\2"], [fd, fd, fd])
            os.close(fd)
            peer.send(wire.submit_frame(2, [b"sh", b"-c", b"echo out"], fds=1, output=wire.PARCEL, attached=True),
                      [theirs.fileno()])
            theirs.close()
            frames = [peer.receive() for _ in range(3)]
        self.assertEqual(frames[-1].tag, wire.ENDED)
        self.assertEqual(frames[-1].body.get("H", 20), wire.SUCCEEDED)

    def test_many_at_once(self):
        """Eight threads of every kind of nonsense; the victim's work goes on meanwhile."""
        stop = threading.Event()
        pieces = [b"\xff" * 4096, wire.plain(wire.PING, 0), wire.hello() * 3, wire.submit_frame(2, [b"true"])[:-9],
                  struct.pack("<II", 0, 0xFFFFFFFF), wire.plain(60_000, 2) * 100, wire.select_frame(wire.SHOW, 2, [0] * 9000)]

        def attack(seed):
            at = seed
            while not stop.is_set():
                at += 1
                with contextlib.suppress(OSError, AssertionError), wire.Peer(self.socket, greet=at % 3 != 0) as peer:
                    peer.send(pieces[at % len(pieces)])
                    if at % 5 == 0:
                        peer.receive()

        threads = [threading.Thread(target=attack, args=(seed,)) for seed in range(8)]
        for thread in threads:
            thread.start()
        try:
            for _ in range(100):
                self.assert_undisturbed()
        finally:
            stop.set()
            for thread in threads:
                thread.join()
        self.assertGreater(self.victim.bad_frames(), 20)

    def test_very_many_arguments(self):
        """Through batonctl, as a shell would pass them. What does not fit into a frame is refused in a line."""
        words = ["w"] * 50_000
        self.assertEqual(self.run_ok("run", "sh", "-c", "echo $#", *words), b"49999\n")
        task = self.run_ok("submit", "sh", "-c", "echo $#", *words).decode().strip()
        self.assertEqual(self.ctl("wait", task).returncode, 0)
        self.assertEqual(self.run_ok("logs", task), b"49999\n")
        self.run_ok("show", task)
        result = self.ctl("run", "true", *words, *words)
        self.assertEqual((result.returncode, result.stdout, result.stderr.count(b"\n")), (125, b"", 1))


if __name__ == "__main__":
    baton.main()
