"""kill -9 of workers and of the daemon: what is left, who is told, and who never notices."""

import os
import random
import signal
import subprocess
import sys
import threading
import time

import baton
import tasks
import wire


class KilledWorkers(tasks.Tasks, baton.TestCase):
    CONFIG = 'slots = "4"\n'
    KILLS = 200 if tasks.FULL else 60

    def feed(self, stop, batches):
        """Keeps tasks waiting until told to stop."""
        while not stop.is_set():
            lines = b"".join(b"sh -c 'echo %d; exec sleep 0.0%d'\n" % (i, i % 5) for i in range(100))
            batches.append(self.submit("--each", "-", input=lines))
            baton.wait_until(lambda: stop.is_set() or self.status("queued") < 100, "there is room", 120)

    def pool_without(self, victim):
        rows = self.workers()
        ready = [row for row in rows if row["state"] in ("running", "idle")]
        return victim not in [row["pid"] for row in rows] and len(ready) >= 4

    def kill_one(self, noise):
        """Kills a worker; the seconds until the pool is full again, None if it had gone already."""
        victim = noise.choice([row["pid"] for row in self.workers() if row["state"] in ("running", "idle")])
        try:
            os.kill(victim, signal.SIGKILL)
        except ProcessLookupError:
            return None
        begin = time.monotonic()
        baton.wait_until(lambda: self.pool_without(victim), "the pool is full again", 10)
        return time.monotonic() - begin

    def test_only_the_task_of_a_killed_worker_is_lost(self):
        self.run_ok("run", "true")
        lost_before = self.status("workers_lost")
        stop, batches = threading.Event(), []
        feeder = threading.Thread(target=self.feed, args=(stop, batches))
        feeder.start()
        noise, times = random.Random(1), []
        try:
            baton.wait_until(lambda: batches and len(self.workers()) >= 4, "the pool is full")
            while len(times) < self.KILLS:
                taken = self.kill_one(noise)
                if taken is not None:
                    times.append(taken)
        finally:
            stop.set()
            feeder.join()
        self.ctl("wait", timeout=240)
        rows = [row for batch in batches for row in self.daemon.json("list", "--batch", str(batch), "-a")]
        self.assertEqual(len(rows), 100 * len(batches))
        bad = [row for row in rows if row["state"] != "succeeded"]
        self.assertEqual({(row["state"], row["cause"]) for row in bad} - {("failed", "worker_lost")}, set())
        self.assertLessEqual(len(bad), len(times))
        # One that was retiring anyway is no loss.
        self.assertLessEqual(self.status("workers_lost") - lost_before, len(times))
        self.assertGreater(self.status("workers_lost") - lost_before, len(times) * 0.8)
        print(f"\n{len(times)} workers killed under {len(rows)} tasks: {len(bad)} lost with them; "
              f"pool full again after at most {max(times) * 1000:.0f} ms", file=sys.stderr)
        self.assertLess(max(times), 3 * baton.SLOWNESS)

    def test_the_killed_one_is_told(self):
        process = self.start("run", "sh", "-c", "echo ready; sleep 1000", stdout=subprocess.PIPE,
                             stderr=subprocess.PIPE)
        self.assertEqual(process.stdout.readline(), b"ready\n")
        [task] = self.daemon.json("list", "--unfinished")
        [worker] = [row["pid"] for row in self.workers() if row["task"]]
        os.kill(worker, signal.SIGKILL)
        self.assertEqual(process.wait(timeout=baton.TIMEOUT), 125)
        self.assertIn(b"signal 9", process.stderr.read())
        self.assertEqual(self.row(task["id"])["cause"], "worker_lost")
        self.wait_no_processes(2)

    def test_what_a_killed_worker_leaves_is_ended(self):
        task = self.submit("sh", "-c", tasks.ESCAPE * 5 + "sleep 1000")
        baton.wait_until(lambda: len(self.task_processes(task)) >= 6, "the task has left its processes behind")
        [worker] = [row["pid"] for row in self.workers() if row["task"] == task]
        os.kill(worker, signal.SIGKILL)
        self.assertEqual(self.ctl("wait", str(task)).returncode, 125)
        self.assertEqual(self.task_processes(task), set(), "the task ends when all of it has ended")

    def test_a_lost_task_is_tried_again_if_it_may(self):
        self.temporary("attempts")
        task = self.submit("--attempts", "2", "sh", "-c",
                           "echo $BATON_ATTEMPT >> attempts; test $BATON_ATTEMPT = 2 || sleep 1000")
        self.wait_running(task)
        [worker] = [row["pid"] for row in self.workers() if row["task"] == task]
        os.kill(worker, signal.SIGKILL)
        self.assertEqual(self.ctl("wait", str(task)).returncode, 0)
        with open(self.path("work/attempts")) as file:
            self.assertEqual(file.read(), "1\n2\n")

    def test_idle_workers_are_replaced(self):
        self.ctl("map", "-j4", "sleep", "0.2", ":::", "1", "2", "3", "4")
        baton.wait_until(lambda: len(self.workers()) == 4, "the pool is full")
        subprocess.run(["kill", "-9", *(str(row["pid"]) for row in self.workers())], check=True)
        begin = time.monotonic()
        self.run_ok("run", "true")
        baton.wait_until(lambda: len(self.workers()) == 4, "the pool is full again")
        self.assertLess(time.monotonic() - begin, 3 * baton.SLOWNESS)


class KilledDaemon(tasks.Tasks, baton.TestCase):
    """Each test kills the daemon; the next verb starts another."""

    CONFIG = 'slots = "4"\n'
    QUIET = dict(stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def pids(self):
        return self.status("pid"), [row["pid"] for row in self.workers()]

    def kill(self, *pids):
        """All in one call of kill, as `kill -9 A B C` makes it."""
        subprocess.run(["kill", "-9", *map(str, pids)], stderr=subprocess.DEVNULL, check=False)

    def leave_escaped(self):
        for _ in range(3):
            self.submit("sh", "-c", tasks.ESCAPE * 3 + "sleep 1000")
        baton.wait_until(lambda: len(self.task_processes()) >= 12, "the tasks have left their processes behind")

    def assert_nothing_left(self, what):
        taken = self.wait_no_processes(2)
        baton.wait_until(lambda: not self.daemon.processes(), "daemon, workers and guard are gone", 5)
        print(f"\n{what} killed: nothing of its tasks left after {taken * 1000:.0f} ms", file=sys.stderr)

    def test_daemon(self):
        self.leave_escaped()
        daemon, _ = self.pids()
        self.kill(daemon)
        self.assert_nothing_left("daemon")

    def test_daemon_and_workers_at_once(self):
        for order in (1, -1):
            self.leave_escaped()
            daemon, workers = self.pids()
            self.kill(*[daemon, *workers][::order])
            self.assert_nothing_left("daemon and workers")

    def test_workers_then_daemon(self):
        self.leave_escaped()
        daemon, workers = self.pids()
        self.kill(*workers)
        self.kill(daemon)
        self.assert_nothing_left("workers, then daemon")

    def test_every_sleeper_is_told(self):
        task = self.submit("sh", "-c", "echo line; sleep 1000")
        self.wait_running(task)
        held = self.submit("--hold", "true")
        commands = [["wait"], ["wait", str(held)], ["wait", "--any"], ["run", "sleep", "1000"],
                    ["run", "--hold", "true"], ["run", "--io", "sleep", "1000"], ["map", "sleep", ":::", "1000"],
                    ["map", "-j2", "--io", "sleep", ":::", "1000", "1001"], ["logs", "-f", str(task)], ["events", "-f"],
                    ["submit", "--wait", "sleep", "1000"]]
        processes = [self.start(*command, stdin=subprocess.DEVNULL, **self.QUIET) for command in commands]
        # drain --wait comes last: it refuses what would come after.
        baton.wait_until(lambda: self.status("connections") >= 1 + len(commands) and self.status("running") >= 3,
                         "all of them wait")
        commands.append(["drain", "--wait"])
        processes.append(self.start(*commands[-1], **self.QUIET))
        baton.wait_until(lambda: self.status("connections") >= 1 + len(commands), "drain waits, too")
        peers = [wire.Peer(self.status("socket")) for _ in range(20)]
        for peer in peers:
            self.addCleanup(peer.close)
            peer.send(wire.wait_frame(3, [held]))
        daemon, _ = self.pids()
        begin = time.monotonic()
        os.kill(daemon, signal.SIGKILL)
        for peer in peers:
            self.assertTrue(peer.closed())
        sockets = time.monotonic() - begin
        ends = tasks.ends_of(processes, begin)
        for command, process, end in zip(commands, processes, ends):
            self.assertIsNotNone(end, f"{command} sleeps on")
            # A run that had begun knows only that its daemon has gone; nobody pretends success.
            self.assertEqual(process.wait(), 125, command)
        print(f"\ndaemon killed: 20 sockets told within {sockets * 1000:.1f} ms, {len(commands)} commands ended within "
              f"{max(ends) * 1000:.1f} ms", file=sys.stderr)
        self.assertLess(max(ends), baton.SLOWNESS)
        self.assert_nothing_left("daemon")

    def test_another_begins_at_once(self):
        self.run_ok("run", "true")
        for _ in range(5):
            daemon, workers = self.pids()
            self.kill(daemon, *workers)
            baton.wait_until(lambda: not tasks.is_alive(daemon), "the daemon is dead")
            self.assertEqual(self.run_ok("run", "echo", "again"), b"again\n")

    def test_ids_are_never_given_again(self):
        ids = []
        for round in range(6):
            ids += [self.submit("true") for _ in range(3)]
            ids.append(self.submit("--each", "-", input=b"true\ntrue\n"))
            if round % 2 == 0:
                daemon, _ = self.pids()
                self.kill(daemon)
                baton.wait_until(lambda: not tasks.is_alive(daemon), "the daemon is dead")
            else:
                self.run_ok("stop")
        self.assertEqual(ids, sorted(set(ids)))
        self.assertLess(max(ids), 10_000, "and they stay small")


if __name__ == "__main__":
    baton.main()
