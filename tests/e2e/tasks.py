"""Of tests that look at a daemon's tasks and processes from outside."""

import os
import select
import time

import baton

FULL = os.environ.get("BATON_FULL") == "1"  # the figures of a release, not those of every build

# For a shell: leaves a process behind that has a session of its own and no parent.
ESCAPE = "setsid sh -c 'sleep 1000 & exit 0'; "


def stat_of(pid):
    """(state letter, parent), or None if there is no such process."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            fields = file.read().rpartition(b")")[2].split()
            return fields[0].decode(), int(fields[1])
    except OSError:
        return None


def is_alive(pid):
    """A zombie has ended, once its last thread has: until then its descriptors are open."""
    try:
        threads = os.listdir(f"/proc/{pid}/task")
    except OSError:
        return False
    states = [stat_of(f"{pid}/task/{thread}") for thread in threads]
    return any(stat is not None and stat[0] not in "ZX" for stat in states)


def ends_of(processes, begin, timeout=20):
    """For each of these Popen objects the seconds from `begin` until it has ended; None: it has not."""
    poll, waiting, ends = select.poll(), {}, [None] * len(processes)
    for i, process in enumerate(processes):
        fd = os.pidfd_open(process.pid)
        waiting[fd] = i
        poll.register(fd, select.POLLIN)
    while waiting and time.monotonic() < begin + timeout:
        for fd, _ in poll.poll(1000):
            ends[waiting.pop(fd)] = time.monotonic() - begin
            poll.unregister(fd)
            os.close(fd)
    for fd in waiting:
        os.close(fd)
    return ends


class Tasks:
    """Mixed into a baton.TestCase."""

    def start(self, *args, **options):
        """batonctl, running; ended with the test."""
        process = self.daemon.popen(*args, **options)

        def end():
            if process.poll() is None:
                process.kill()
                process.wait()
            for stream in (process.stdin, process.stdout, process.stderr):
                if stream:
                    stream.close()

        self.addCleanup(end)
        return process

    def submit(self, *args, **options):
        return int(self.run_ok("submit", *args, **options))

    def row(self, task):
        return self.daemon.json("show", str(task))[0]

    def status(self, key):
        return self.daemon.json("status")[key]

    def workers(self):
        return self.daemon.json("worker", "list")

    def wait_running(self, task):
        return baton.wait_until(lambda: self.row(task)["pid"], f"task {task} runs")

    def task_processes(self, task=None):
        """Those that were started in tasks of this daemon, or in this one."""
        state = b"BATON_STATE_DIR=" + self.path("state").encode()
        entry = b"BATON_TASK_ID=" + (b"" if task is None else b"%d\0" % task)
        return {pid for pid in set(baton.processes_with(entry)) & set(baton.processes_with(state)) if is_alive(pid)}

    def wait_no_processes(self, timeout, task=None):
        """Nothing of the tasks is left within `timeout` seconds; how long it took."""
        begin = time.monotonic()
        baton.wait_until(lambda: not self.task_processes(task), "the tasks' processes are gone", timeout)
        return time.monotonic() - begin

    def assert_refused(self, result, *words):
        """It failed as baton fails: 125, nothing on stdout, one line on stderr that has these words."""
        self.assertEqual((result.returncode, result.stdout), (125, b""), result)
        self.assertEqual(result.stderr.count(b"\n"), 1, result.stderr)
        self.assertTrue(result.stderr.startswith(b"batonctl: "), result.stderr)
        for word in words:
            self.assertIn(word.encode(), result.stderr)
