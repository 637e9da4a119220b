"""Locks spoken to by hand: what batonctl never sends, and what may not harm anybody."""

import os
import socket
import subprocess

import baton
import byhand
import wire

NOT_HELD, REMOVED, WRONG_KIND, BUSY, CANCELLED = 19, 23, 14, 16, 24
LOCK = 1  # ObjectKind


class Speaking(byhand.Peers, baton.TestCase):
    CONFIG = "descriptors = 16\n"

    def setUp(self):
        self.name = self._testMethodName.encode()

    def opened(self, peer, kind=wire.MUTEX, name=None, **options):
        reply = peer.call(wire.lock_open(2, name or self.name, kind, **options))
        self.assertEqual(reply.tag, wire.LOCK_OPENED, reply.tag == wire.ERROR and reply.error)
        return reply.body.get("I", 0)

    def granted(self, peer, data, fds=()):
        reply = peer.call(data, fds)
        self.assertEqual(reply.tag, wire.LOCK_GRANTED, reply.tag == wire.ERROR and reply.error)
        return reply.body.get("Q", 0)

    def refused(self, peer, data, code, fds=()):
        reply = peer.call(data, fds)
        self.assertEqual(reply.tag, wire.ERROR, reply.tag)
        self.assertEqual(reply.error[0], code, reply.error)

    def process(self):
        """Something that may hold a lock: its pidfd."""
        process = subprocess.Popen(["sleep", "1000"])

        def end():
            process.kill()
            process.wait()

        self.addCleanup(end)
        fd = os.pidfd_open(process.pid)
        self.addCleanup(os.close, fd)
        return process, fd

    def row(self):
        return self.daemon.json("lock", "show", self.name.decode())[0]

    def remove(self):
        self.assertEqual(self.peer().call(wire.object_request(wire.OBJECT_REMOVE, 3, self.name, kind=LOCK, force=True)).tag,
                         wire.OK)

    def test_a_handle_of_a_lock_that_was_removed(self):
        for kind in (wire.MUTEX, wire.SEMAPHORE, wire.EVENT):
            peer = self.peer()
            lock = self.opened(peer, kind, keep=True)
            condition = self.opened(peer, wire.CONDITION, name=b"c")
            self.remove()
            self.refused(peer, wire.lock_acquire(4, lock), REMOVED)
            self.refused(peer, wire.condition_wait(5, condition, lock), REMOVED)
            for action in range(5):
                self.refused(peer, wire.lock_control(6, lock, action), REMOVED)
            # Whoever held it did nothing wrong.
            self.assertEqual(peer.call(wire.lock_release(7, lock)).tag, wire.OK)
            self.assertEqual(peer.call(wire.number_request(wire.CLOSE_HANDLE, 8, lock)).tag, wire.OK)

    def test_removed_while_it_is_held_and_waited_for(self):
        holder, waiter = self.peer(), self.peer()
        lock, other = self.opened(holder), self.opened(waiter)
        self.granted(holder, wire.lock_acquire(3, lock))
        waiter.send(wire.lock_acquire(3, other))
        baton.wait_until(lambda: self.row()["waiter_count"] == 1, "it waits")
        self.remove()
        self.assertEqual(waiter.receive().error[0], REMOVED)
        self.assertEqual(holder.call(wire.lock_release(4, lock)).tag, wire.OK)

    def test_no_descriptor_of_a_process_is_left(self):
        peer = self.peer()
        lock = self.opened(peer, keep=True)
        token = self.granted(peer, wire.lock_acquire(3, lock))
        process, fd = self.process()
        before = byhand.fd_count(self.pid())
        other = self.peer()
        theirs = self.opened(other)
        for request in range(10, 60):
            self.refused(other, wire.lock_acquire(request, theirs, timeout_ns=0, process=True), BUSY, [fd])
        # Not a process; nobody's; a handle that is none.
        with open("/dev/null") as null:
            self.refused(other, wire.lock_acquire(3, theirs, process=True), wire.USAGE, [null.fileno()])
        self.refused(other, wire.lock_acquire(3, 99, process=True), wire.USAGE, [fd])
        for request in range(10, 30):
            other.send(wire.lock_acquire(request, theirs, process=True) if request % 2 else
                       wire.lock_acquire(request, theirs, timeout_ns=1, process=True), [fd])
            if request % 2:
                self.assertEqual(other.call(wire.number_request(wire.ABANDON, 5, request)).tag, wire.ERROR)
                self.assertEqual(other.receive().tag, wire.OK)
            else:
                self.assertEqual(other.receive().tag, wire.ERROR)
        other.close()
        baton.wait_until(lambda: byhand.fd_count(self.pid()) <= before, "the daemon has let go of them")
        self.assertEqual(peer.call(wire.lock_release(4, lock, token=token)).tag, wire.OK)

    def test_who_asks_for_a_process_and_goes_gets_it_nothing(self):
        holder, asker = self.peer(), self.peer()
        lock = self.opened(holder)
        self.granted(holder, wire.lock_acquire(3, lock))
        process, fd = self.process()
        theirs = self.opened(asker)
        asker.send(wire.lock_acquire(3, theirs, process=True), [fd])
        baton.wait_until(lambda: self.row()["waiter_count"] == 1, "it waits")
        asker.close()
        baton.wait_until(lambda: self.row()["waiter_count"] == 0, "it waits no more")
        self.assertEqual(holder.call(wire.lock_release(4, lock)).tag, wire.OK)
        self.granted(holder, wire.lock_acquire(5, lock, timeout_ns=0))

    def test_processes_that_hold_are_bounded(self):
        peer = self.peer()
        lock = self.opened(peer, wire.SEMAPHORE, permits=1000)
        _, fd = self.process()
        held = 0
        while (reply := peer.call(wire.lock_acquire(3, lock, timeout_ns=0, process=True), [fd])).tag == wire.LOCK_GRANTED:
            held += 1
        self.assertEqual((held, reply.error[0]), (16, wire.QUOTA))
        self.assertIn(b"descriptors", reply.error[1])

    def test_a_process_keeps_the_permits_that_it_did_not_release(self):
        peer = self.peer()
        lock = self.opened(peer, wire.SEMAPHORE, permits=3, keep=True)
        process, fd = self.process()
        token = self.granted(peer, wire.lock_acquire(3, lock, count=3, process=True), [fd])
        self.assertEqual(peer.call(wire.lock_release(4, lock, token=token)).tag, wire.OK)
        self.assertEqual(self.row()["free"], 1)
        process.kill()
        process.wait()
        baton.wait_until(lambda: self.row()["free"] == 3, "its end gives the others back")

    def test_bound_to_a_process(self):
        peer, other = self.peer(), self.peer()
        lock, theirs = self.opened(peer), self.opened(other)
        token = self.granted(peer, wire.lock_acquire(3, lock))
        process, fd = self.process()
        near, far = socket.socketpair()
        self.assertEqual(peer.call(wire.lock_bind(4, lock, token, fds=2), [fd, near.fileno()]).tag, wire.OK)
        near.close()
        self.assertEqual(self.row()["holders"][0]["pid"], process.pid)
        peer.close()
        self.refused(other, wire.lock_acquire(3, theirs, timeout_ns=0), BUSY)
        other.send(wire.lock_acquire(4, theirs))
        process.kill()
        process.wait()
        far.close()
        reply = other.receive()
        self.assertEqual((reply.tag, reply.body.get("B", 8) & 1), (wire.LOCK_GRANTED, 1), "granted, and told of the death")

    def test_bad_binds(self):
        peer = self.peer()
        lock = self.opened(peer)
        token = self.granted(peer, wire.lock_acquire(3, lock))
        _, fd = self.process()
        self.refused(peer, wire.lock_bind(4, lock, token, fds=0), wire.USAGE)
        self.refused(peer, wire.lock_bind(4, lock, token + 1), NOT_HELD, [fd])
        self.refused(peer, wire.lock_bind(4, lock, token, thread=1), NOT_HELD, [fd])
        with open("/dev/null") as null:
            self.refused(peer, wire.lock_bind(4, lock, token), wire.USAGE, [null.fileno()])
            self.refused(peer, wire.lock_bind(4, lock, token, fds=2), wire.USAGE, [fd, null.fileno()])
        self.assertEqual(peer.call(wire.lock_release(5, lock)).tag, wire.OK)
        self.refused(peer, wire.lock_release(6, lock), NOT_HELD)

    def test_notes_about_nothing(self):
        """lockReturned has no reply; what it says of a slot that is none is of no interest."""
        peer = self.peer()
        self.opened(peer)
        for slot in (0, 1, 64, (1 << 32) - 1):
            peer.send(wire.lock_returned(slot))
        self.assertEqual(peer.call(wire.plain(wire.PING, 5)).tag, wire.OK)

    def test_so_many_handles(self):
        peer = self.peer()
        for _ in range(200):
            peer.send(b"".join(wire.lock_open(2, self.name) for _ in range(100)))
            for _ in range(100):
                self.assertEqual(peer.receive().tag, wire.LOCK_OPENED)
        self.refused(peer, wire.lock_open(2, self.name), wire.QUOTA)
        self.assertEqual(self.row()["users"], 20_000)


if __name__ == "__main__":
    baton.main()
