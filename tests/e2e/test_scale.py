"""Very many tasks and contexts: bounds are kept, and one request does not hold up the others."""

import os
import select

import baton
import wire
from tasks import Tasks

MANY = 90000  # of 100,000 ended tasks of batches the records are kept


class Many(Tasks, baton.TestCase):
    CONFIG = 'slots = "2"\nqueue_limit = 1000000\ngrace = "100ms"\n'

    def setUp(self):
        self.run_ok("run", "true")
        self.peer = wire.Peer(self.path("state/control.sock"))
        self.other = wire.Peer(self.path("state/control.sock"))
        self.addCleanup(self.peer.close)
        self.addCleanup(self.other.close)

    def tearDown(self):
        self.run_ok("cancel", "--all")
        baton.wait_until(lambda: self.daemon.json("status")["running"] == 0, "what ran has ended")

    def batch(self, count, first=()):
        """Commands of the first tasks, then `count` of the same."""
        path = self.temporary("lines")
        with open(path, "w") as file:
            file.writelines(line + "\n" for line in first)
            file.writelines(f"true {i}\n" for i in range(count))
        return int(self.run_ok("submit", "--each", path, timeout=120))

    def pings_during(self, request):
        """How many pings of another connection are answered before the answer to `request` comes."""
        self.peer.send(request)
        for count in range(1, 10**7):
            self.assertEqual(self.other.call(wire.plain(wire.PING, 2)).tag, wire.OK)
            if select.select([self.peer.socket], [], [], 0)[0]:
                self.assertEqual(self.peer.receive().tag, wire.OK)
                return count
        return None

    def assert_others_are_served(self, requests, undo=None):
        """
        During one of these requests at least. Two pings may be answered though the loop is held: one before the
        daemon has looked at the request, one after it. On a busy machine this process may sleep all the while.
        """
        counts = []
        for request in requests:
            counts.append(self.pings_during(request))
            if counts[-1] > 3:
                return
            if undo:
                self.assertEqual(self.peer.call(undo).tag, wire.OK)
        self.fail(f"others wait: {counts} pings")

    def block(self):
        """Nothing starts: long tasks fill the slots."""
        for _ in range(2):
            self.submit("sleep", "1000")
        baton.wait_until(lambda: self.daemon.json("status")["running"] == 2, "the slots are full")

    def test_others_are_served_during_a_long_request(self):
        self.block()
        batch = self.batch(MANY)
        hold, release = (wire.select_frame(tag, 5, [batch]) for tag in (wire.HOLD, wire.RELEASE))
        self.assert_others_are_served([hold] * 10, undo=release)
        self.assert_others_are_served([release] * 10, undo=hold)

    def test_others_are_served_during_a_cancel(self):
        self.block()
        batches = []

        def requests():
            for _ in range(10):
                batches.append(self.batch(MANY))
                builder, root = wire.frame(wire.CANCEL, 5)
                wire.selection(builder, builder.struct(root.pointer(0), 1, 2).pointer(0), batches[-1:])
                yield builder.bytes()
        self.assert_others_are_served(requests())
        row = next(row for row in self.daemon.json("list") if row["id"] == str(batches[-1]))
        self.assertEqual(row["counts"]["cancelled"], MANY, row)

    def test_others_are_served_while_very_many_tasks_are_added(self):
        self.block()
        builder, root = wire.frame(wire.OPEN_BATCH, 2)
        body = builder.struct(root.pointer(0), 1, 2)
        wire.context(builder, builder.struct(body.pointer(0), 2, 1).pointer(0))
        builder.struct(body.pointer(1), 5, 4)
        batch = self.peer.call(builder.bytes()).number
        count = 25000
        builder, root = wire.frame(wire.ADD_TASKS, 3)
        body = builder.struct(root.pointer(0), 2, 1).set("Q", 0, batch)
        for task in builder.struct_list(body.pointer(0), count, 0, 1):
            builder.data_list(task.pointer(0), [b"true"])
        self.assertEqual(self.peer.call(builder.bytes()).tag, wire.OK)
        self.assertEqual(self.daemon.json("status")["queued"], count)
        self.assert_others_are_served([builder.bytes()] * 20)

    def test_requests_of_a_connection_are_answered_in_order(self):
        self.block()
        batch = self.batch(MANY)
        self.peer.send(wire.select_frame(wire.HOLD, 7, [batch]) + wire.plain(wire.PING, 8) +
                       wire.select_frame(wire.RELEASE, 9, [batch]) + wire.plain(wire.PING, 10))
        self.assertEqual([self.peer.receive().id for _ in range(4)], [7, 8, 9, 10])

    def test_a_client_that_leaves_during_its_request(self):
        self.block()
        batch = self.batch(MANY)
        gone = wire.Peer(self.path("state/control.sock"))
        gone.send(wire.select_frame(wire.HOLD, 7, [batch]))
        gone.close()
        status = lambda: self.daemon.json("status")
        baton.wait_until(lambda: status()["held"] == MANY, "what it asked for is done all the same")
        self.assertEqual(status()["queued"], 0)

    def test_nothing_starts_of_what_is_being_cancelled(self):
        batch = self.batch(MANY, ["exec sleep 1000", "exec sleep 1000"])
        baton.wait_until(lambda: self.daemon.json("status")["running"] == 2, "the first two run")
        self.run_ok("cancel", str(batch), timeout=120)
        self.ctl("wait", str(batch), timeout=120)
        rows = self.daemon.json("show", f"{batch}.1", f"{batch}.2", f"{batch}.3", f"{batch}.4")
        self.assertEqual([row["attempt"] for row in rows], [1, 1, 0, 0], rows)

    def test_an_id_that_is_unknown_changes_nothing(self):
        self.block()
        held = [self.submit("true") for _ in range(200)]
        reply = self.peer.call(wire.select_frame(wire.HOLD, 3, held + [999999]))
        self.assertEqual(reply.error[0], wire.UNKNOWN_ID)
        self.assertEqual(self.daemon.json("status")["held"], 0)


class Contexts(baton.TestCase):
    """A million environments, each another: refused at the quota, and the memory is really bounded."""

    CONFIG = 'context_bytes = "16M"\n'
    QUOTA = 16 << 20

    def resident(self):
        pid = self.daemon.json("status")["pid"]
        with open(f"/proc/{pid}/statm") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGESIZE")

    def flood(self, peer, size):
        """Submits held tasks with distinct environments of `size` bytes; how many were taken."""
        hold = lambda builder, options: options.set("B", 32, 1)
        taken = 0
        for start in range(0, 10**6, 100):
            for i in range(start, start + 100):
                peer.send(wire.submit_frame(10 + i, [b"true"], change=hold,
                                            environment=[b"A=%07d" % i + b"x" * max(size - 9, 0)]))
            replies = [peer.receive() for _ in range(100)]
            taken += sum(reply.tag == wire.SUBMITTED for reply in replies)
            refused = [reply.error for reply in replies if reply.tag != wire.SUBMITTED]
            if refused:
                self.assertEqual({code for code, _ in refused}, {wire.QUOTA}, refused[0])
                self.assertIn(b"context_bytes", refused[0][1])
                return taken
        self.fail("a million distinct contexts were taken")

    def check(self, size):
        self.run_ok("run", "true")
        with wire.Peer(self.path("state/control.sock")) as peer:
            before = self.resident()
            taken = self.flood(peer, size)
            self.assertGreater(taken, self.QUOTA // (size + 4096), "refused far below the quota")
            status = self.daemon.json("status")
            self.assertLessEqual(status["context_bytes"], self.QUOTA)
            # A queued task of its own takes up to 500 bytes.
            self.assert_memory_below(self.resident() - before, 2 * self.QUOTA + taken * 500)
            # What is known already costs nothing.
            known = wire.submit_frame(3, [b"true"], environment=[b"A=%07d" % 0 + b"x" * max(size - 9, 0)])
            self.assertEqual(peer.call(known).tag, wire.SUBMITTED)
            self.run_ok("cancel", "--all")
            fresh = wire.submit_frame(4, [b"true"], environment=[b"B=another"])
            self.assertEqual(peer.call(fresh).tag, wire.SUBMITTED, "no room again after their end")

    def test_large(self):
        self.check(4096)

    def test_small(self):
        self.check(16)


if __name__ == "__main__":
    baton.main()
