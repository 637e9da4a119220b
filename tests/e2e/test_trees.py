"""The end of a task is the end of its whole tree."""

import os
import signal
import subprocess
import sys
import time

import baton
import tasks

# Each child makes a session, forks, and ends; the grandchild sleeps. Prints when all are there.
DOUBLE_FORKERS = """
import os, sys, time
count = int(sys.argv[1])
read, write = os.pipe()
for _ in range(count):
    pid = os.fork()
    if pid == 0:
        os.setsid()
        if os.fork() == 0:
            os.close(read)
            os.write(write, b"x")
            os.close(write)
            for fd in (0, 1, 2):
                os.close(fd)
            time.sleep(1000)
        os._exit(0)
    os.waitpid(pid, 0)
os.close(write)
left = count
while left:
    left -= len(os.read(read, left))
print("ready", flush=True)
sys.stdin.read()
"""
PYTHON = sys.executable if sys.executable.startswith("/usr") else "/usr/bin/python3"


class Trees(tasks.Tasks, baton.TestCase):
    COUNT = 1000

    def run_ends_all(self, script, *args):
        process = self.start("run", PYTHON, "-I", "-c", script, *args, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.assertEqual(process.stdout.readline(), b"ready\n")
        self.assertGreaterEqual(len(self.task_processes()), int(args[0]))
        begin = time.monotonic()
        process.stdin.close()
        process.wait(timeout=baton.TIMEOUT)
        taken = time.monotonic() - begin
        self.assertEqual((process.returncode, self.task_processes()), (0, set()))
        return taken

    def test_a_thousand_double_forkers(self):
        taken = self.run_ends_all(DOUBLE_FORKERS, str(self.COUNT))
        print(f"\n{self.COUNT} double-forked processes ended in {taken:.2f} s", file=sys.stderr)

    def test_five_hundred_children(self):
        script = ("import os, sys, time\n"
                  "for _ in range(int(sys.argv[1])):\n"
                  "    if os.fork() == 0: time.sleep(1000)\n"
                  "print('ready', flush=True)\n"
                  "sys.stdin.read()\n")
        self.run_ends_all(script, "500")

    def test_five_hundred_children_that_end(self):
        self.run_ok("run", "sh", "-c", "i=0; while [ $i -lt 500 ]; do /bin/true & i=$((i+1)); done; wait")
        self.assertEqual(self.task_processes(), set())

    def test_no_zombies_are_left(self):
        self.run_ok("run", "sh", "-c", "for i in 1 2 3 4 5 6 7 8; do (sleep 0.01 & exit 0) & done; wait; sleep 0.1")
        children = {pid for worker in self.workers() for pid in children_of(worker["pid"])}
        self.assertEqual([pid for pid in children if not tasks.is_alive(pid)], [])

    def test_cancelled_killed_timed_out(self):
        for how in ("cancel", "kill", "timeout"):
            with self.subTest(how):
                limit = ["--timeout", "1"] if how == "timeout" else []
                task = self.submit(*limit, "--grace", "0.2", "sh", "-c", tasks.ESCAPE * 5 + "exec sleep 1000")
                baton.wait_until(lambda: len(self.task_processes(task)) >= 6, "it has left its processes behind")
                if how == "cancel":
                    self.run_ok("cancel", str(task))
                elif how == "kill":
                    self.run_ok("kill", "-s", "KILL", str(task))
                code = {"cancel": 143, "kill": 137, "timeout": 124}[how]
                self.assertEqual(self.ctl("wait", str(task)).returncode, code)
                self.assertEqual(self.task_processes(task), set())

    def test_children_may_be_detached(self):
        marker = self.temporary("detached")
        task = self.submit("--detach-children", "sh", "-c",
                           "setsid sh -c 'sleep 0.3; echo on > detached; exec sleep 1000' >/dev/null 2>&1 & exit 0")
        self.assertEqual(self.ctl("wait", str(task)).returncode, 0)
        baton.wait_until(lambda: os.path.exists(marker), "what it left goes on")
        for pid in self.task_processes(task):
            os.kill(pid, signal.SIGKILL)


def children_of(pid):
    return {int(name) for name in os.listdir("/proc") if name.isdigit() and (tasks.stat_of(name) or "Z0")[1] == pid}


class Ladder(tasks.Tasks, baton.TestCase):
    """TERM, grace, KILL."""

    def start_task(self, script, *options):
        task = self.submit(*options, "sh", "-c", script)
        baton.wait_until(lambda: b"ready" in self.ctl("logs", str(task)).stdout, "the task is ready")
        return task

    def test_term_comes_first(self):
        marker = self.temporary("cleaned")
        task = self.start_task("trap 'echo up > cleaned; exit 9' TERM; echo ready; while :; do sleep 0.01; done")
        self.run_ok("cancel", str(task))
        self.assertEqual(self.ctl("wait", str(task)).returncode, 143)
        self.assertTrue(os.path.exists(marker))
        self.assertEqual(self.row(task)["state"], "cancelled")

    def test_kill_comes_after_the_grace(self):
        task = self.start_task("trap '' TERM; echo ready; while :; do sleep 0.01; done", "--grace", "0.5")
        begin = time.monotonic()
        self.run_ok("cancel", str(task))
        self.assertEqual(self.ctl("wait", str(task)).returncode, 143)
        self.assertGreater(time.monotonic() - begin, 0.45)
        self.assertEqual(self.task_processes(task), set())

    def test_children_are_told_too(self):
        marker = self.temporary("child")
        task = self.start_task("sh -c 'trap \"echo told > child; exit\" TERM; echo ready; while :; do sleep 0.01; done' & "
                               "trap '' TERM; wait; wait")
        self.run_ok("cancel", str(task))
        self.ctl("wait", str(task))
        self.assertTrue(os.path.exists(marker))

    def test_queued_and_held_ones_never_start(self):
        marker = self.temporary("started")
        held = self.submit("--hold", "touch", marker)
        self.run_ok("cancel", str(held))
        self.assertEqual(self.ctl("wait", str(held)).returncode, 143)
        self.assertEqual(self.row(held)["state"], "cancelled")
        self.assertFalse(os.path.exists(marker))

    def test_a_killed_client_ends_what_it_waits_for(self):
        for command in (["run", "sh", "-c", tasks.ESCAPE + "echo ready; sleep 1000"],
                        ["map", "-j2", "sh -c 'echo ready; exec sleep 100{}'", ":::", "1", "2"],
                        ["run", "--io", "sh", "-c", "echo ready; sleep 1000"]):
            with self.subTest(command):
                process = self.start(*command, stdout=subprocess.PIPE)
                baton.wait_until(self.task_processes, "its tasks run")
                process.kill()
                process.wait()
                self.wait_no_processes(5)
                baton.wait_until(lambda: not self.daemon.json("list", "--unfinished"), "nothing is unfinished")

    def test_a_submitted_task_outlives_its_client(self):
        process = self.start("submit", "--wait", "sleep", "1000", stdout=subprocess.DEVNULL)
        baton.wait_until(self.task_processes, "its task runs")
        [row] = self.daemon.json("list", "--unfinished")
        process.kill()
        process.wait()
        self.run_ok("run", "true")
        self.assertEqual(self.row(row["id"])["state"], "running")
        self.run_ok("cancel", row["id"])


class Nested(tasks.Tasks, baton.TestCase):
    CONFIG = 'slots = "2"\n'

    def test_twenty_deep_on_two_slots(self):
        words = ["batonctl", "run", "--"] * 20
        for _ in range(3):
            processes = [self.start(*words[1:], "echo", f"deep {i}", stdout=subprocess.PIPE) for i in range(3)]
            for i, process in enumerate(processes):
                self.assertEqual(process.communicate(timeout=60)[0], b"deep %d\n" % i)
                self.assertEqual(process.returncode, 0)
        baton.wait_until(lambda: self.status("slots_used") == 0 and self.status("parked") == 0, "all slots are free")

    def test_a_map_inside_a_map(self):
        out = self.run_ok("map", "-k", "batonctl map -k echo ::: {}-{}", ":::", "a", "b", "c", timeout=60)
        self.assertEqual(out, b"a-a\nb-b\nc-c\n")


if __name__ == "__main__":
    baton.main()
