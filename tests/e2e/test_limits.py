"""Every limit of a user, reached. Who reaches one is told so, and nobody else notices."""

import os
import select
import socket
import struct
import subprocess
import threading
import time

import baton
import byhand
import wire


class Limits(byhand.Peers, baton.TestCase):
    CONFIG = 'connections = 8\nqueue_limit = 20\nargument_bytes = "4M"\nfinished_bytes = "4M"\ncontext_bytes = "4M"\n'

    def test_connections(self):
        baton.wait_until(lambda: self.daemon.json("status")["connections"] == 1, "nobody else is connected")
        peers = [wire.Peer(self.socket) for _ in range(8)]
        try:
            with wire.Peer(self.socket, greet=False) as more:
                self.assertEqual(more.receive().error[0], wire.QUOTA)
                self.assertIsNone(more.receive())
            result = self.ctl("list")
            self.assertEqual((result.returncode, result.stderr.count(b"\n")), (125, 1), result)
            self.assertIn(b"connections", result.stderr)
            self.assertEqual(peers[0].call(wire.plain(wire.PING, 2)).tag, wire.OK)
        finally:
            for peer in peers:
                peer.close()
        baton.wait_until(lambda: self.ctl("list").returncode == 0, "there is room again")

    def test_queue(self):
        peer = self.peer()
        replies = [peer.call(wire.submit_frame(2 + i, [b"true"], change=self.hold)) for i in range(25)]
        self.assertEqual([reply.tag for reply in replies], [wire.SUBMITTED] * 20 + [wire.ERROR] * 5)
        self.assertEqual({reply.error[0] for reply in replies[20:]}, {wire.QUOTA})
        self.run_ok("cancel", "--all")
        self.assertEqual(peer.call(wire.submit_frame(2, [b"true"])).tag, wire.SUBMITTED)

    def test_arguments_of_waiting_tasks(self):
        peer = self.peer()
        replies = [peer.call(wire.submit_frame(2 + i, [b"true", b"x" * 900_000], change=self.hold)) for i in range(8)]
        self.assertEqual([reply.tag for reply in replies], [wire.SUBMITTED] * 4 + [wire.ERROR] * 4)
        self.assertEqual({reply.error[0] for reply in replies[4:]}, {wire.QUOTA})
        lines = (b"x" * 100_000 + b"\n") * 10
        result = self.ctl("submit", "--each", "-", "--hold", "true", input=lines)
        self.assertEqual((result.returncode, result.stderr.count(b"\n")), (125, 1), result)
        self.assertIn(b"argument_bytes", result.stderr)
        self.run_ok("cancel", "--all")
        self.assertEqual(peer.call(wire.submit_frame(20, [b"true"])).tag, wire.SUBMITTED)

    def test_arguments_of_finished_tasks(self):
        """The oldest are forgotten, those of batches first."""
        peer = self.peer()
        tasks = [peer.call(wire.submit_frame(2 + i, [b"true", b"x" * 900_000])).number for i in range(3)]
        batch = int(self.run_ok("submit", "--wait", "--each", "-", "true", input=(b"y" * 100_000 + b"\n") * 10).split()[0])
        self.ctl("wait", *map(str, tasks))
        self.assertEqual([self.ctl("show", str(task)).returncode for task in tasks], [0, 0, 0])
        last = peer.call(wire.submit_frame(9, [b"true", b"x" * 900_000])).number
        self.ctl("wait", str(last))
        self.assertEqual([self.ctl("show", str(id)).returncode for id in (*tasks, last, batch)], [0] * 5)
        self.assertEqual(self.ctl("show", f"{batch}.1").returncode, 125)
        for i in range(4):
            self.ctl("wait", str(peer.call(wire.submit_frame(10 + i, [b"true", b"x" * 900_000])).number))
        self.assertEqual([self.ctl("show", str(task)).returncode for task in (*tasks, last)], [125] * 4)

    def test_contexts(self):
        peer = self.peer()
        tags = [peer.call(wire.submit_frame(2 + i, [b"true"], change=self.hold,
                                            environment=[b"A=%d" % i + b"x" * 500_000])).tag for i in range(12)]
        self.assertIn(wire.ERROR, tags)
        self.assertEqual(tags, [wire.SUBMITTED] * tags.count(wire.SUBMITTED) + [wire.ERROR] * tags.count(wire.ERROR))
        self.assertLessEqual(peer.status().get("Q", 128), 4 << 20)
        self.run_ok("cancel", "--all")

    def test_a_client_that_never_reads(self):
        victim = self.peer()
        flood = self.peer()
        flood.socket.setblocking(False)
        data = wire.plain(wire.STATUS, 3) * 100
        sent = 0
        try:
            while sent < 200_000_000:
                sent += flood.socket.send(data)
        except BlockingIOError:
            pass
        self.assertLess(sent, 50_000_000, "it is read from for ever")
        self.assertEqual(victim.call(wire.plain(wire.PING, 3)).tag, wire.OK)
        self.assertLess(victim.status().get("Q", 152), 64 << 20)


class InFlight(byhand.Peers, baton.TestCase):
    """Memory of a user for requests that come and answers not read: what is small goes through, what is large
    waits for room, and who holds room without moving loses the connection."""

    CONFIG = 'in_flight_bytes = "2M"\n'
    LARGE = 900_000

    def large(self, request=2):
        return wire.submit_frame(request, [b"true", b"x" * self.LARGE])

    def half(self):
        """A connection that has sent the first half of a large request."""
        peer = self.peer()
        peer.send(self.large()[:self.LARGE // 2])
        return peer

    def look(self):
        with wire.Peer(self.socket) as peer:
            return peer.status()

    def in_flight(self):
        return self.look().get("Q", 168)

    def slow_closed(self):
        return self.look().get("Q", 184)

    def full(self):
        """Two halves take the budget."""
        halves = [self.half(), self.half()]
        baton.wait_until(lambda: self.in_flight() > 2 * self.LARGE, "both are charged for the whole request")
        return halves

    def finish(self, half):
        reply = half.call(self.large()[self.LARGE // 2:])
        self.assertEqual(reply.tag, wire.SUBMITTED, reply.tag == wire.ERROR and reply.error)

    def test_what_was_begun_can_be_finished(self):
        halves = self.full()
        for half in halves:
            self.finish(half)
        baton.wait_until(lambda: self.in_flight() == 0, "all is given back")

    def test_a_large_request_waits_for_room(self):
        halves = self.full()
        third, bystander = self.peer(), self.peer()
        data, sent = self.large(), 0
        third.socket.setblocking(False)
        # A daemon that reads would have read it all by then: it serves all who have sent something in each turn.
        for request in range(2, 102):
            try:
                sent += third.socket.send(data[sent:])
            except BlockingIOError:
                pass
            self.assertEqual(bystander.call(wire.plain(wire.PING, request)).tag, wire.OK)
        self.assertLess(sent, len(data), "it is not read")
        self.assertLess(self.in_flight(), 2 << 20)
        third.socket.settimeout(third.timeout)
        writer = threading.Thread(target=third.send, args=(data[sent:],))
        writer.start()
        self.finish(halves[0])
        self.assertEqual(third.receive().tag, wire.SUBMITTED)
        writer.join()

    def test_room_comes_back_with_a_connection_that_ends(self):
        halves = self.full()
        waiting = self.daemon.popen("submit", "true", "x" * 100_000, *["y" * 100_000] * 7, stdout=subprocess.PIPE)
        for half in halves:
            half.close()
        self.assertEqual(waiting.wait(timeout=baton.TIMEOUT), 0)
        waiting.stdout.close()

    def test_small_requests_go_through(self):
        halves = self.full()
        task = int(self.run_ok("submit", "--hold", "true"))
        self.run_ok("list")
        self.run_ok("cancel", str(task))
        self.assertEqual(self.ctl("wait", str(task)).returncode, 143)
        for half in halves:
            self.finish(half)

    def test_who_does_not_move_loses_it_to_who_waits(self):
        closed = self.slow_closed()
        halves = self.full()
        third = self.peer()
        reply = third.call(self.large())
        self.assertEqual(reply.tag, wire.SUBMITTED)
        answers = [half.receive() for half in halves if select.select([half.socket], [], [], 0)[0]]
        self.assertGreaterEqual(len(answers), 1)
        for answer in answers:
            self.assertEqual((answer.id, answer.error[0]), (0, wire.QUOTA))
            self.assertIn(b"in_flight_bytes", answer.error[1])
        self.assertEqual(self.slow_closed(), closed + len(answers))

    def test_who_moves_keeps_it(self):
        """Longer than it takes to lose the connection; a byte now and then is enough."""
        halves = self.full()
        third = self.peer()
        writer = threading.Thread(target=third.send, args=(self.large(),))
        writer.start()
        try:
            data = [self.large()[self.LARGE // 2:]] * 2
            begin = time.monotonic()
            while time.monotonic() < begin + 7:
                for i, half in enumerate(halves):
                    half.send(data[i][:1])
                    data[i] = data[i][1:]
                time.sleep(0.05)
            for half, rest in zip(halves, data):
                self.assertEqual(half.call(rest).tag, wire.SUBMITTED)
            self.assertEqual(third.receive().tag, wire.SUBMITTED)
        finally:
            third.close()
            writer.join()

    def test_answers_that_nobody_reads(self):
        """Each stops being served with some 600 KB unread; all together are too much."""
        victim = self.peer()
        tasks = [victim.call(wire.submit_frame(2 + i, [b"true", b"x" * 200_000])).number for i in range(3)]
        self.assertEqual(victim.call(wire.wait_frame(9, tasks)).tag, wire.LISTING)
        before = victim.status()
        stalled = [self.peer() for _ in range(12)]
        for peer in stalled:
            peer.send(wire.list_frame(2, tasks[0] - 1) * 20)
        baton.wait_until(lambda: victim.status().get("Q", 184) > before.get("Q", 184), "some are closed")
        self.assertLessEqual(victim.status().get("Q", 168), 4 << 20)
        baton.wait_until(lambda: victim.status().get("Q", 168) <= 2 << 20, "those that do not move are closed")
        self.assertEqual(victim.call(wire.list_frame(3, tasks[0] - 1)).tag, wire.LISTING)
        self.assertEqual(victim.status().get("Q", 112), before.get("Q", 112), "none of them broke the protocol")

    def test_waits(self):
        peer = self.peer()
        held = peer.call(wire.submit_frame(2, [b"true"], change=self.hold)).number
        answer, request = None, 100
        while answer is None and request < 10_000:
            peer.send(b"".join(wire.wait_frame(request + i, [held]) for i in range(100)) + wire.plain(wire.PING, 3))
            request += 100
            answer = peer.receive()
            answer = None if answer.tag == wire.OK else answer
        self.assertEqual(answer.error[0], wire.QUOTA)
        peer.close()
        baton.wait_until(lambda: self.in_flight() == 0, "all is given back")
        other = self.peer()
        other.send(wire.wait_frame(2, [held]))
        self.assertEqual(other.call(wire.plain(wire.PING, 3)).tag, wire.OK)
        self.run_ok("cancel", str(held))
        self.assertEqual(other.receive().tag, wire.LISTING)


class SmallFrames(byhand.Peers, baton.TestCase):
    CONFIG = 'frame_bytes = "512K"\nframe_fds = 2\n'

    def test_larger_requests(self):
        before = self.daemon.json("status")["bad_frames"]
        peer = self.peer()
        self.assertEqual(peer.greeting.body.get("I", 12), 512 << 10)
        self.assertEqual(peer.call(wire.submit_frame(2, [b"true", b"x" * 500_000])).tag, wire.SUBMITTED)
        peer.send(struct.pack("<II", 0, (512 << 10) // 8))
        self.assertTrue(peer.closed())
        self.assertEqual(self.daemon.json("status")["bad_frames"], before + 1)
        result = self.ctl("submit", "true", *["x" * 100_000] * 6)
        self.assertEqual((result.returncode, result.stderr.count(b"\n")), (125, 1), result)

    def test_more_descriptors(self):
        before = self.daemon.json("status")["bad_frames"]
        null = os.open(os.devnull, os.O_RDWR)
        self.addCleanup(os.close, null)
        self.assertEqual(self.peer().call(wire.frame(wire.PING, 2, fds=2)[0].bytes(), [null] * 2).tag, wire.OK)
        peer = self.peer()
        peer.send(wire.frame(wire.PING, 2, fds=3)[0].bytes(), [null] * 3)
        self.assertTrue(peer.closed())
        self.assertEqual(self.daemon.json("status")["bad_frames"], before + 1)


class Descriptors(byhand.Peers, baton.TestCase):
    """Who hoards descriptors is refused more of them; what needs none goes on, and so does everybody else."""

    CONFIG = 'descriptors = 16\nslots = "1"\n'

    def submit_held(self, peer, request):
        """A held task with a parcel, of which nothing is left here."""
        mine, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with mine, theirs:
            return peer.call(wire.submit_frame(request, [b"true"], fds=1, output=wire.PARCEL, attached=True,
                                               change=self.hold), [theirs.fileno()])

    def test_tasks_that_wait_with_them(self):
        peer = self.peer()
        before = byhand.fd_count(self.pid())
        tags = [self.submit_held(peer, 2 + i).tag for i in range(16)]
        self.assertEqual(tags, [wire.ACCEPTED] * 16)
        for request in range(100, 140):
            code, text = self.submit_held(peer, request).error
            self.assertEqual(code, wire.QUOTA)
            self.assertIn(b"descriptors", text)
        baton.wait_until(lambda: byhand.fd_count(self.pid()) <= before + 16, "those refused are closed")
        running = self.ctl("run", "true")
        self.assertEqual((running.returncode, running.stderr.count(b"\n")), (125, 1), running)
        self.run_ok("submit", "--wait", "true")
        peer.close()
        baton.wait_until(lambda: self.ctl("run", "true").returncode == 0, "there is room again")


class Kept(byhand.Peers, baton.TestCase):
    """How many of the finished ones are remembered, and how long."""

    CONFIG = "finished_keep = 5\n"

    def reload(self, text):
        with open(self.path("config/baton/batond.toml"), "w") as file:
            file.write(text)
        self.run_ok("reload")

    def known(self):
        return [row["id"] for row in self.daemon.json("list")]

    def test_the_latest(self):
        self.addCleanup(self.reload, self.CONFIG)
        ids = [self.run_ok("submit", "--wait", "true").decode().strip() for _ in range(8)]
        self.assertEqual(self.known(), ids[3:])
        self.assertEqual(self.ctl("show", ids[2]).returncode, 125)
        self.assertEqual(self.ctl("logs", ids[2]).returncode, 125)
        batch = self.run_ok("submit", "--each", "-", "true", input=b"1\n2\n3\n").decode().strip()
        self.assertEqual(self.ctl("wait", batch).returncode, 0)
        self.assertEqual(self.known(), ids[4:] + [batch], "a batch counts as one")
        self.reload("finished_keep = 2\n")
        self.assertEqual(self.known(), ids[7:] + [batch], "a lower bound is in force at once")
        self.assertEqual(self.ctl("show", batch + ".2").returncode, 0)

    def test_for_a_while(self):
        self.addCleanup(self.reload, self.CONFIG)
        self.reload('finished_age = "1s"\n')
        task = self.run_ok("submit", "--wait", "true").decode().strip()
        held = self.run_ok("submit", "--hold", "true").decode().strip()
        baton.wait_until(lambda: self.known() == [held], f"{task} is forgotten, {held} has not ended")
        self.run_ok("cancel", held)
        baton.wait_until(lambda: self.known() == [], f"{held} is forgotten")


if __name__ == "__main__":
    baton.main()
