"""Logs have bounds: of a task, of all, and of the disk."""

import ctypes
import os
import subprocess
import sys
import unittest

import baton
import tasks

MIB = 1 << 20


def disk_use(directory):
    """Bytes that the files below take, as du counts them."""
    total = 0
    for path, _, names in os.walk(directory):
        for name in names:
            try:
                total += os.lstat(os.path.join(path, name)).st_blocks * 512
            except FileNotFoundError:
                pass
    return total


class Total(tasks.Tasks, baton.TestCase):
    CONFIG = 'log_total = "64M"\nlog_per_task = "4M"\nfinished_keep = 100000\n'
    COUNT = 10_000 if tasks.FULL else 300

    def test_oldest_are_dropped_first(self):
        self.run_ok("run", "true")
        state, most = self.path("state"), 0
        # One batch, one MiB from each: its number, then bytes.
        line = "sh -c 'echo task %d; head -c 1048000 /dev/zero'\n"
        batch = self.submit("--each", "-", input="".join(line % i for i in range(1, self.COUNT + 1)).encode())
        waiting = self.start("wait", str(batch))
        while waiting.poll() is None:
            most = max(most, disk_use(state))
            try:
                waiting.wait(0.1)
            except subprocess.TimeoutExpired:
                pass
        self.assertEqual(waiting.returncode, 0)
        status = self.daemon.json("status")
        print(f"\n{self.COUNT} MiB of output took at most {most / MIB:.1f} MiB; {status['log_bytes'] / MIB:.1f} MiB "
              f"are kept of {status['log_limit_bytes'] / MIB:.0f}", file=sys.stderr)
        # Segments that workers write to count as they grow; they are looked at between tasks.
        self.assertLess(most, 64 * MIB + 16 * MIB)
        self.assertLessEqual(status["log_bytes"], 64 * MIB)
        self.assertLess(disk_use(state), 64 * MIB + 4 * MIB)
        newest = self.ctl("logs", f"{batch}.{self.COUNT}")
        self.assertEqual(newest.stdout, b"task %d\n" % self.COUNT + bytes(1048000))
        oldest = self.ctl("logs", f"{batch}.1")
        self.assertEqual(oldest.stdout, b"")
        self.assertEqual((oldest.returncode, oldest.stderr.count(b"\n")), (0, 1), oldest)


class OneTask(tasks.Tasks, baton.TestCase):
    CONFIG = 'log_per_task = "4M"\n'

    def test_first_and_last_are_kept(self):
        task = self.submit("sh", "-c", "seq 2000000")
        self.assertEqual(self.ctl("wait", str(task)).returncode, 0)
        result = self.ctl("logs", str(task))
        lines = result.stdout.split(b"\n")
        self.assertEqual(lines[:3], [b"1", b"2", b"3"])
        self.assertEqual(lines[-2:], [b"2000000", b""])
        self.assertLess(len(result.stdout), 4 * MIB + MIB)
        self.assertGreater(len(result.stdout), 2 * MIB)
        self.assertEqual(result.stderr.count(b"\n"), 1, "the gap is stated")
        self.assertEqual(self.row(task)["output_bytes"], len(b"".join(b"%d\n" % i for i in range(1, 2000001))))

    def test_nuls_and_no_newline(self):
        task = self.submit("sh", "-c", "head -c 100000 /dev/zero; printf 'a\\0b\\377'; printf 'err\\0' >&2")
        self.run_ok("wait", str(task))
        result = self.ctl("logs", str(task))
        self.assertEqual((result.stdout, result.stderr), (bytes(100_000) + b"a\0b\xff", b"err\0"))
        self.assertEqual(self.ctl("logs", "--stderr", str(task)).stdout, b"err\0")

    def test_closed_stdout(self):
        task = self.submit("sh", "-c", "exec >&- 2>&-; sleep 0.1; exit 4")
        self.assertEqual(self.ctl("wait", str(task)).returncode, 4)
        self.assertEqual(self.run_ok("logs", str(task)), b"")
        task = self.submit("sh", "-c", "echo before; exec >&-; echo error >&2")
        self.run_ok("wait", str(task))
        result = self.ctl("logs", str(task))
        self.assertEqual((result.stdout, result.stderr), (b"before\n", b"error\n"))

    def test_every_length(self):
        lengths = [0, 1, 65535, 65536, 65537, MIB - 17, MIB - 16, MIB - 1, MIB, MIB + 1, 3 * MIB]
        made = [(size, self.submit("head", "-c", str(size), "/dev/zero")) for size in lengths]
        for size, task in made:
            self.run_ok("wait", str(task))
            self.assertEqual(len(self.run_ok("logs", str(task))), size)

    def test_a_killed_worker_leaves_what_it_had_written(self):
        task = self.submit("sh", "-c", "echo written; exec sleep 1000")
        baton.wait_until(lambda: self.ctl("logs", str(task)).stdout == b"written\n", "the log shows it")
        [worker] = [row["pid"] for row in self.workers() if row["task"] == task]
        os.kill(worker, 9)
        self.assertEqual(self.ctl("wait", str(task)).returncode, 125)
        self.assertEqual(self.ctl("logs", str(task)).stdout, b"written\n")


def own_mounts():
    """Mounts of this process from now on are its own. False: it may not."""
    libc = ctypes.CDLL(None, use_errno=True)
    return os.getuid() == 0 and libc.unshare(0x00020000) == 0 and subprocess.run(
        ["mount", "--make-rprivate", "/"], stderr=subprocess.DEVNULL).returncode == 0


class FullDisk(tasks.Tasks, baton.TestCase):
    """The state directory is a file system of 8 MiB."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        os.mkdir(cls.path("state"), 0o700)
        if not own_mounts() or subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m,mode=700", "tmpfs",
                                               cls.path("state")], stderr=subprocess.DEVNULL).returncode:
            raise unittest.SkipTest("only root may mount a small file system: NOT TESTED HERE")
        cls.addClassCleanup(subprocess.run, ["umount", "-l", cls.path("state")])

    def test_tasks_go_on(self):
        # Room that is given back below, however much the logs take of the rest.
        with open(self.path("state/reserve"), "wb") as file:
            file.write(bytes(2 << 20))
        open(self.path("state/filler"), "wb").close()  # on a full disk it could not be made any more
        task = self.submit("sh", "-c", "echo first; head -c 20000000 /dev/zero; echo last >&2; exit 6")
        self.assertEqual(self.ctl("wait", str(task)).returncode, 6)
        result = self.ctl("logs", "--stdout", str(task))
        self.assertTrue(result.stdout.startswith(b"first\n"), result.stdout[:20])
        self.assertEqual(result.returncode, 0)
        self.assertIn(b"No space left on device", result.stderr)
        # All there is is full now: what comes next runs all the same.
        with open(self.path("state/filler"), "wb") as file:
            try:
                while True:
                    file.write(bytes(65536))
                    file.flush()
            except OSError:
                pass
        self.assertEqual(self.run_ok("run", "echo", "still here"), b"still here\n")
        self.assertEqual(self.run_ok("map", "-k", "echo", ":::", "a", "b"), b"a\nb\n")
        ids = [self.submit("sh", "-c", "echo lost; exit 3") for _ in range(100)]
        self.assertEqual(self.ctl("wait", *map(str, ids)).returncode, 3)
        self.assertEqual({self.row(number)["exit_code"] for number in ids[-3:]}, {3})
        self.assertEqual(self.ctl("logs", str(ids[-1])).returncode, 0)
        os.unlink(self.path("state/filler"))
        os.unlink(self.path("state/reserve"))
        self.run_ok("worker", "recycle")

        def logged():
            again = self.submit("echo", "logged")
            self.run_ok("wait", str(again))
            return self.ctl("logs", str(again)).stdout == b"logged\n"
        baton.wait_until(logged, "with room there are logs again")
        self.run_ok("stop")


if __name__ == "__main__":
    baton.main()
