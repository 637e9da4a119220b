"""Crowds, hoarders, and descriptors that cannot be closed: each costs its own connection at most."""

import contextlib
import os
import resource
import signal
import socket
import struct
import subprocess
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

    @contextlib.contextmanager
    def stopped(self):
        """The daemon stands still: what is sent meanwhile is with it before anything is done with it."""
        os.kill(self.daemon_pid, signal.SIGSTOP)
        try:
            yield
        finally:
            os.kill(self.daemon_pid, signal.SIGCONT)

    @staticmethod
    def send_parcel(peer, fd, **options):
        """A submit with a parcel that holds the descriptor, of which nothing is left here."""
        mine, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with mine, theirs:
            socket.send_fds(mine, [b"F\0\1\2"], [fd, fd, fd])
            peer.send(wire.submit_frame(2, [b"true"], fds=1, output=wire.PARCEL, attached=True, **options),
                      [theirs.fileno()])

    def test_a_descriptor_that_cannot_be_closed(self):
        """In a frame; behind one that costs the connection, unread; in parcels of tasks that never start."""
        def in_a_frame(peer, fd):
            peer.send(wire.frame(wire.PING, 2, fds=1)[0].bytes(), [fd])

        def unread(peer, fd):
            peer.send(struct.pack("<II", 0, 0xFFFFFFFF))
            peer.send(wire.frame(wire.PING, 2, fds=1)[0].bytes() * 2000, [fd])

        def in_a_held_parcel(peer, fd):
            self.send_parcel(peer, fd, change=self.hold)

        def in_a_refused_parcel(peer, fd):
            self.send_parcel(peer, fd, change=lambda b, o: o.set("H", 6, 5000))

        def in_a_parcel_with_a_bad_context(peer, fd):
            self.send_parcel(peer, fd, cwd=b".")

        for send in (in_a_frame, unread, in_a_held_parcel, in_a_refused_parcel, in_a_parcel_with_a_bad_context):
            with self.subTest(send.__name__), stuck_descriptor() as fd:
                peer = self.peer()
                with self.stopped():
                    send(peer, fd)
                    os.close(fd)  # the daemon has the last one
                answer = peer.receive()
                if send is in_a_held_parcel:
                    self.assertEqual(self.victim.call(wire.cancel_frame(7, [answer.number])).tag, wire.OK)
                self.assert_undisturbed()
                peer.close()

    def test_no_more_are_taken_behind_one_that_hangs(self):
        peer = self.peer()
        null = os.open(os.devnull, os.O_RDWR)
        self.addCleanup(os.close, null)
        with stuck_descriptor() as fd:
            with self.stopped():
                peer.send(wire.frame(wire.PING, 2, fds=1)[0].bytes(), [fd])
                os.close(fd)
            answer = peer.receive()
            for _ in range(80):
                if answer.tag != wire.OK:
                    break
                answer = peer.call(wire.frame(wire.PING, 2, fds=16)[0].bytes(), [null] * 16)
            self.assertEqual(answer.error[0], wire.REFUSED)
            # Not through pipes: they too are in what waits to be closed.
            refused = self.daemon.popen("run", "true", stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            self.assertEqual(refused.wait(timeout=baton.TIMEOUT), 125)
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
