"""A shuffle of kill -9 of producers and consumers under load, with a ledger of every message.

Each client is a process of its own and writes what it knows to a file of its own: a producer what it is about to put and what was
accepted, a consumer what it got before it says that it is done with it. In the end every accepted message was
got, and got again only after whoever had it was killed.
"""

import collections
import json
import os
import random
import signal
import subprocess
import unittest

import baton
import tasks
import wire

QUEUE = b"ledger"


def note(fd, *words):
    """One line, in the file even if the process dies right behind it."""
    os.write(fd, (" ".join(str(word) for word in words) + "\n").encode())


def produce(socket, fd, me, seed):
    """Puts batches for ever."""
    noise = random.Random(seed)
    with wire.Peer(socket) as peer:
        queue = peer.open_queue(QUEUE, create=False)
        number = 0
        while True:
            batch = [f"{me}.{number + i}" for i in range(noise.randint(1, 20))]
            note(fd, "intend", *batch)
            reply = peer.call(wire.queue_put(5, queue, [text.encode() for text in batch]))
            note(fd, "accepted", *batch[: reply.body.get("I", 0)])
            number += len(batch)


def consume_leased(socket, fd, me, seed):
    """Gets with lease, notes, acknowledges; gives some back."""
    noise = random.Random(seed)
    with wire.Peer(socket) as peer:
        queue = peer.open_queue(QUEUE, create=False)
        while True:
            reply = peer.call(wire.queue_get(5, queue, count=noise.randint(1, 10), lease=True))
            if reply.outcome != wire.DONE:
                return
            leases = []
            for _, value, attempt, lease in reply.messages:
                if noise.random() < 0.05:
                    note(fd, "nack", value.decode(), attempt)
                    peer.call(wire.queue_settle(6, queue, [lease], wire.NACK))
                    continue
                note(fd, "got", value.decode(), attempt)
                leases.append(lease)
            peer.call(wire.queue_settle(7, queue, leases))


def consume_taken(socket, fd, me, seed):
    """Gets without lease; the next get says what was taken."""
    noise = random.Random(seed)
    taken = 0
    with wire.Peer(socket) as peer:
        queue = peer.open_queue(QUEUE, create=False)
        while True:
            reply = peer.call(wire.queue_get(5, queue, count=noise.randint(1, 10), taken=taken))
            if reply.outcome != wire.DONE:
                return
            for _, value, attempt, _ in reply.messages:
                note(fd, "got", value.decode(), attempt)
            taken += len(reply.messages)


class Ledger(baton.TestCase):
    KILLS = 2000 if tasks.FULL else 120
    PRODUCERS, CONSUMERS = 4, 6

    def begin(self, function):
        """A process that runs `function`, with a file of its own."""
        self.count += 1
        path = self.path(f"work/ledger-{self.count}")
        pid = os.fork()
        if pid == 0:
            try:
                fd = os.open(path, os.O_CREAT | os.O_WRONLY | os.O_APPEND, 0o600)
                function(self.socket, fd, self.count, self.count)
            except (AssertionError, OSError):
                os._exit(1)
            os._exit(0)
        self.running[pid] = (function, path)
        return pid

    def begin_follower(self):
        """The real program: what it wrote is its ledger."""
        self.count += 1
        path = self.path(f"work/ledger-{self.count}")
        with open(path, "wb") as out:
            process = self.daemon.popen("queue", "get", "-f", "--json", QUEUE.decode(), stdout=out,
                                        stderr=subprocess.DEVNULL)
        self.running[process.pid] = (None, path)

    def kill(self, pid):
        function, path = self.running.pop(pid)
        os.kill(pid, signal.SIGKILL)
        _, status = os.waitpid(pid, 0)
        self.assertTrue(os.WIFSIGNALED(status), f"{function} ended by itself: {status}; see {path}")
        self.killed.add(path)

    def replace(self, pid):
        function, _ = self.running[pid]
        self.kill(pid)
        if function is None:
            self.begin_follower()
        else:
            self.begin(function)

    def lines(self, path):
        """Words of each line; the last one may be cut."""
        with open(path, "rb") as file:
            text = file.read().decode()
        for line in text.split("\n")[:-1]:
            if line.startswith("{"):
                message = json.loads(line)
                # Raw bytes, no value: base64 of the text.
                yield ["got", self.text_of(message["value"]), message["attempt"]]
            else:
                yield line.split(" ")

    @staticmethod
    def text_of(value):
        import base64
        return base64.b64decode(value["$bytes"]).decode()

    def setUp(self):
        self.running, self.killed, self.count = {}, set(), 0
        self.run_ok("queue", "create", "--max-messages", "200", QUEUE.decode())
        self.socket = self.daemon.json("status")["socket"]

    def tearDown(self):
        for pid in list(self.running):
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)

    def test_every_accepted_message_is_delivered_once_or_again_after_a_death(self):
        noise = random.Random(20)
        for _ in range(self.PRODUCERS):
            self.begin(produce)
        for i in range(self.CONSUMERS):
            if i % 3 == 2:
                self.begin_follower()
            else:
                self.begin((consume_leased, consume_taken)[i % 3])
        before = 0
        for _ in range(self.KILLS):
            # Some work between two kills, so that they hit it.
            baton.wait_until(lambda: self.show()["got_ever"] > before + 20, "messages flow")
            before = self.show()["got_ever"]
            self.replace(noise.choice(list(self.running)))
        for pid, (function, _) in list(self.running.items()):
            if function is produce:
                self.kill(pid)
        # The last drop: closed, the consumers end by themselves once nothing can come back.
        self.run_ok("queue", "close", QUEUE.decode())
        for pid in list(self.running):
            _, status = os.waitpid(pid, 0)
            self.assertEqual(status, 0, self.running.pop(pid))
        self.audit(self.show())

    def show(self):
        return self.daemon.json("queue", "show", QUEUE.decode())[0]

    def audit(self, row):
        intended, accepted, got = set(), set(), collections.defaultdict(list)
        for name in os.listdir(self.path("work")):
            path = self.path("work/" + name)
            for kind, *words in self.lines(path):
                if kind == "intend":
                    intended.update(words)
                elif kind == "accepted":
                    accepted.update(words)
                else:
                    got[words[0]].append((int(words[1]), kind, path))
        self.assertGreater(len(accepted), self.KILLS * 5)
        self.assertEqual(accepted - got.keys(), set(), "accepted, and never delivered")
        self.assertEqual(got.keys() - intended, set(), "delivered, and never put")
        for text, deliveries in got.items():
            deliveries.sort()
            attempts = [attempt for attempt, _, _ in deliveries]
            self.assertEqual(len(set(attempts)), len(attempts), f"{text} had by two at once: {deliveries}")
            for attempt, kind, path in deliveries[:-1]:
                again_for_a_reason = kind == "nack" or path in self.killed
                self.assertTrue(again_for_a_reason, f"{text} delivered again though its consumer lives: {deliveries}")
        self.assertEqual((row["ready"], row["leased"], row["delayed"], row["bytes"]), (0, 0, 0, 0), row)
        self.assertEqual(row["put_ever"], row["acked_ever"], row)
        self.assertEqual(row["got_ever"], row["put_ever"] + row["redelivered_ever"], row)
        self.assertEqual(row["put_ever"], len(got), row)


if __name__ == "__main__":
    unittest.main(verbosity=2)
