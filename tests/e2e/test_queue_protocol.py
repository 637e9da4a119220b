"""Queues spoken to by hand: what batonctl never sends, and what may not harm anybody."""

import os
import struct

import baton
import wire


class Speaking(baton.TestCase):
    """Frames built by hand, a queue for each test."""

    def setUp(self):
        if not type(self).__dict__.get("path_of_socket"):
            self.run_ok("run", "true")
            type(self).path_of_socket = self.daemon.json("status")["socket"]
        self.name = self._testMethodName.encode()

    def peer(self):
        peer = wire.Peer(type(self).path_of_socket)
        self.addCleanup(peer.close)
        return peer

    def opened(self, peer, **options):
        return peer.open_queue(self.name, **options)

    def show(self):
        return self.daemon.json("queue", "show", self.name.decode())[0]

    def put(self, peer, queue, *values, **options):
        reply = peer.call(wire.queue_put(10, queue, values, **options))
        self.assertEqual(reply.tag, wire.QUEUE_PUT_REPLY, reply.tag == wire.ERROR and reply.error)
        return reply.outcome, reply.body.get("I", 0)

    def get(self, peer, queue, **options):
        reply = peer.call(wire.queue_get(11, queue, **options))
        self.assertEqual(reply.tag, wire.QUEUE_MESSAGES, reply.tag == wire.ERROR and reply.error)
        return reply.messages

    def refused(self, peer, data, code):
        reply = peer.call(data)
        self.assertEqual(reply.tag, wire.ERROR)
        self.assertEqual(reply.error[0], code, reply.error)
        return reply.error[1].decode()

    def test_messages_are_bytes_of_any_kind(self):
        peer = self.peer()
        queue = self.opened(peer)
        values = [b"", b"\0" * 100, os.urandom(1000), b"x"]
        self.assertEqual(self.put(peer, queue, *values), (wire.DONE, 4))
        got = self.get(peer, queue, count=10)
        self.assertEqual([message[1] for message in got], values)
        self.assertEqual([message[0] for message in got], [1, 2, 3, 4])

    def test_what_was_not_taken_comes_back_in_order_with_one_more_attempt(self):
        peer, other = self.peer(), self.peer()
        queue = self.opened(peer)
        theirs = self.opened(other)
        self.put(peer, queue, b"1", b"2", b"3", b"4")
        self.get(other, theirs, count=2)
        self.get(other, theirs, count=1, taken=1)
        other.close()
        got = []
        while len(got) < 3:
            got += self.get(peer, queue, count=3, taken=len(got))
        self.assertEqual([(message[1], message[2]) for message in got], [(b"2", 2), (b"3", 2), (b"4", 1)])

    def test_taken_by_a_frame_of_its_own(self):
        peer, other = self.peer(), self.peer()
        queue = self.opened(peer)
        theirs = self.opened(other)
        self.put(peer, queue, b"1", b"2")
        self.get(other, theirs, count=2)
        other.send(wire.queue_small(wire.QUEUE_TAKEN, 20, theirs, 0, 1))
        other.close()
        self.assertEqual([message[1] for message in self.get(peer, queue, count=2)], [b"2"])
        self.assertEqual(self.show()["acked_ever"], 1)

    def test_saying_that_more_was_taken_than_got_ends_the_connection(self):
        peer, liar = self.peer(), self.peer()
        queue = self.opened(peer)
        theirs = self.opened(liar)
        self.put(peer, queue, b"1")
        self.get(liar, theirs)
        before = peer.bad_frames()
        liar.send(wire.queue_small(wire.QUEUE_TAKEN, 20, theirs, 0, 2))
        self.assertTrue(liar.closed())
        self.assertEqual(self.get(peer, queue)[0][1], b"1")
        self.assertEqual(peer.bad_frames(), before + 1)

    def test_a_leased_message_comes_back_when_its_connection_ends(self):
        peer, other = self.peer(), self.peer()
        queue = self.opened(peer)
        theirs = self.opened(other)
        self.put(peer, queue, b"1")
        lease = self.get(other, theirs, lease=True)[0][3]
        self.assertGreater(lease, 0)
        self.assertEqual(self.get(peer, queue, timeout_ns=0), [])
        other.close()
        again = self.get(peer, queue, lease=True)
        self.assertEqual([(message[1], message[2]) for message in again], [(b"1", 2)])
        reply = peer.call(wire.queue_settle(12, queue, [lease, again[0][3]]))
        self.assertEqual(reply.tag, wire.SETTLED)
        self.assertEqual(self.show()["acked_ever"], 1)

    def test_many_requests_wait_at_once_and_are_answered_in_their_order(self):
        peer, other = self.peer(), self.peer()
        queue = self.opened(peer)
        for request in range(100, 1100):
            peer.send(wire.queue_get(request, queue))
        baton.wait_until(lambda: self.show()["waiting_getters"] == 1000, "all wait")
        theirs = self.opened(other)
        self.put(other, theirs, *[b"%d" % i for i in range(1000)])
        for i in range(1000):
            reply = peer.receive()
            self.assertEqual((reply.id, reply.messages[0][1]), (100 + i, b"%d" % i))

    def test_too_many_waiting_requests_are_refused(self):
        peer = self.peer()
        queue = self.opened(peer)
        for request in range(100, 100 + 4096):
            peer.send(wire.queue_get(request, queue))
        self.assertIn("4096", self.refused(peer, wire.queue_get(9999, queue), wire.QUOTA))

    def test_a_request_id_in_use_ends_the_connection(self):
        peer = self.peer()
        queue = self.opened(peer)
        peer.send(wire.queue_get(50, queue))
        peer.send(wire.queue_get(50, queue))
        self.assertTrue(peer.closed())
        baton.wait_until(lambda: self.show()["waiting_getters"] == 0, "its waits have ended")

    def test_a_request_can_be_abandoned(self):
        peer = self.peer()
        queue = self.opened(peer)
        peer.send(wire.queue_get(50, queue))
        peer.send(wire.number_request(wire.ABANDON, 51, 50))
        first, second = peer.receive(), peer.receive()
        self.assertEqual((first.id, first.error[0]), (50, wire.CANCELLED_ERROR))
        self.assertEqual((second.id, second.tag), (51, wire.OK))
        self.assertEqual(peer.call(wire.number_request(wire.ABANDON, 52, 50)).tag, wire.OK, "it is over already")
        self.put(peer, queue, b"x")
        self.assertEqual(self.show()["ready"], 1)

    def test_closing_a_handle_gives_everything_back(self):
        peer = self.peer()
        queue = self.opened(peer)
        again = self.opened(peer)
        self.put(peer, queue, b"1", b"2")
        self.get(peer, queue)
        self.get(peer, queue, lease=True)
        peer.send(wire.queue_get(50, queue))
        peer.send(wire.number_request(wire.CLOSE_HANDLE, 51, queue))
        replies = {reply.id: reply for reply in (peer.receive(), peer.receive())}
        self.assertEqual(replies[50].error[0], wire.CANCELLED_ERROR)
        self.assertEqual(replies[51].tag, wire.OK)
        self.assertEqual([message[1] for message in self.get(peer, again, count=2)], [b"1", b"2"])
        self.refused(peer, wire.queue_get(52, queue), wire.USAGE)
        self.refused(peer, wire.number_request(wire.CLOSE_HANDLE, 53, queue), wire.USAGE)

    def test_a_handle_is_of_its_connection_only(self):
        peer, other = self.peer(), self.peer()
        queue = self.opened(peer)
        self.refused(other, wire.queue_get(5, queue), wire.USAGE)

    def test_values_out_of_range_are_refused(self):
        peer = self.peer()
        queue = self.opened(peer)
        self.refused(peer, wire.queue_put(5, queue, [b"x"], priority=1001), wire.USAGE)
        self.refused(peer, wire.queue_settle(6, queue, [1], action=9), wire.USAGE)
        self.refused(peer, wire.queue_small(wire.QUEUE_CONTROL, 7, queue, 77), wire.USAGE)
        self.refused(peer, wire.queue_open(8, b"other", when_full=9), wire.USAGE)
        self.refused(peer, wire.queue_open(9, b"other", max_messages=0), wire.USAGE)
        self.refused(peer, wire.queue_open(10, b"other", mode=0o1777), wire.USAGE)
        self.refused(peer, wire.object_request(wire.OBJECT_LIST, 11, kind=9), wire.USAGE)
        self.refused(peer, wire.queue_small(wire.QUEUE_CONTROL, 12, queue, 4, 1), wire.USAGE)
        self.refused(peer, wire.queue_settle(13, queue, [1] * 10001), wire.TOO_LARGE)
        self.assertEqual(self.show()["put_ever"], 0)

    def test_exclusive_creation(self):
        peer = self.peer()
        self.opened(peer)
        self.refused(peer, wire.queue_open(5, self.name, exclusive=True), wire.EXISTS)
        self.refused(peer, wire.queue_open(6, b"not-there", create=False), wire.UNKNOWN_NAME)

    def test_a_delay_and_a_timeout_beyond_the_clock_are_for_ever(self):
        peer = self.peer()
        queue = self.opened(peer, lease_ns=wire.FOREVER)
        self.put(peer, queue, b"never", delay_ns=wire.FOREVER - 1)
        self.put(peer, queue, b"now")
        self.get(peer, queue, lease=True, lease_ns=wire.FOREVER - 1)
        peer.send(wire.queue_get(50, queue, timeout_ns=wire.FOREVER - 1))
        row = self.show()
        self.assertEqual((row["delayed"], row["leased"], row["waiting_getters"]), (1, 1, 1))

    def test_join_waits_until_all_is_worked_off(self):
        peer, other = self.peer(), self.peer()
        queue = self.opened(peer)
        theirs = self.opened(other)
        self.put(peer, queue, b"1", b"2")
        reply = peer.call(wire.queue_small(wire.QUEUE_JOIN, 20, queue, 0, 10**6))
        self.assertEqual(reply.error[0], wire.TIMED_OUT_ERROR)
        peer.send(wire.queue_small(wire.QUEUE_JOIN, 21, queue, 0, wire.FOREVER))
        lease = self.get(other, theirs, lease=True)[0][3]
        self.get(other, theirs)
        self.assertEqual(other.call(wire.queue_settle(22, theirs, [lease])).tag, wire.SETTLED)
        self.assertEqual(other.call(wire.queue_small(wire.QUEUE_CONTROL, 23, theirs, 4, 1)).tag, wire.OK)
        self.assertEqual(peer.receive().tag, wire.OK)

    def test_a_put_that_waits_survives_nothing_of_its_client(self):
        peer, other = self.peer(), self.peer()
        queue = self.opened(peer, max_messages=1)
        theirs = self.opened(other)
        other.send(wire.queue_put(5, theirs, [b"in", b"outside"]))
        baton.wait_until(lambda: self.show()["waiting_putters"] == 1, "it waits")
        other.close()
        baton.wait_until(lambda: self.show()["waiting_putters"] == 0, "it is gone")
        self.assertEqual([message[1] for message in self.get(peer, queue, count=9)], [b"in"])

    def test_what_waiting_puts_hold_is_bounded(self):
        config = baton.Daemon('queue_bytes = "1M"\n')
        self.addCleanup(config.close)
        config.ctl("run", "true")
        with wire.Peer(config.json("status")["socket"]) as peer:
            queue = peer.open_queue(b"narrow", max_messages=1)
            block = b"x" * 200_000
            errors = 0
            for request in range(100, 120):
                peer.send(wire.queue_put(request, queue, [block]))
            reply = peer.receive()
            while reply.id != 119:
                errors += reply.tag == wire.ERROR and reply.error[0] == wire.QUOTA
                reply = peer.receive()
            self.assertGreater(errors, 10)
            self.assertLessEqual(config.json("status")["queue_bytes"], 1 << 20)

    def test_handles_are_bounded(self):
        peer = self.peer()
        for _ in range(200):
            for _ in range(100):
                peer.send(wire.queue_open(5, self.name))
            for _ in range(100):
                self.assertEqual(peer.receive().tag, wire.QUEUE_OPENED)
        self.refused(peer, wire.queue_open(6, self.name), wire.QUOTA)
        peer.close()
        baton.wait_until(lambda: self.show()["users"] == 0, "they are closed")

    def test_hostile_names_in_every_request(self):
        peer = self.peer()
        for name in (b"", b"\0", b"a b", b"\xff", b"x" * 200, b"x" * 100000, b"a:" * 50, b":", b"\x1b[2J"):
            for data in (wire.queue_open(5, name), wire.object_request(wire.OBJECT_SHOW, 6, name),
                         wire.object_request(wire.OBJECT_REMOVE, 7, name, force=True)):
                text = self.refused(peer, data, wire.USAGE)
                self.assertTrue(text.isprintable() and len(text) < 400, text)
        self.refused(peer, wire.object_request(wire.OBJECT_LIST, 8, b"a b"), wire.USAGE)

    def test_a_slow_reader_gets_no_more_than_it_can_hold(self):
        """It asks for far more than it reads: the daemon stops listening to it, and nobody else notices."""
        slow, peer = self.peer(), self.peer()
        queue = self.opened(peer)
        theirs = self.opened(slow)
        block = b"x" * 100_000
        for _ in range(30):
            self.put(peer, queue, block)
        for request in range(100, 130):
            slow.send(wire.queue_get(request, theirs))
        baton.wait_until(lambda: self.show()["ready"] < 30, "it was given some")
        self.assertGreater(self.show()["ready"], 10)
        self.assertEqual(self.get(peer, queue)[0][1], block)
        slow.close()
        baton.wait_until(lambda: self.show()["leased"] == 1, "what it has not taken is back")

    def test_rates_of_a_second_user(self):
        peer = self.peer()
        queue = self.opened(peer)
        for _ in range(10):
            self.put(peer, queue, b"x")
        self.assertGreater(self.show()["put_rate"], 0)
        self.assertEqual(self.show()["get_rate"], 0)


class LargeBatches(baton.TestCase):
    def test_ten_thousand_messages_in_frames_of_a_thousand(self):
        self.run_ok("run", "true")
        with wire.Peer(self.daemon.json("status")["socket"]) as peer:
            queue = peer.open_queue(b"q", max_messages=100_000)
            for batch in range(10):
                values = [struct.pack("<I", batch * 1000 + i) for i in range(1000)]
                self.assertEqual(peer.call(wire.queue_put(5, queue, values)).outcome, wire.DONE)
            got = []
            while len(got) < 10_000:
                got += [m[1] for m in peer.call(wire.queue_get(6, queue, count=1000, taken=len(got))).messages]
            self.assertEqual(got, [struct.pack("<I", i) for i in range(10_000)])


if __name__ == "__main__":
    baton.main()
