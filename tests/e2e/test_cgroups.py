"""Daemons in a cgroup that is delegated to them, as this machine's kernel really has it."""

import os
import signal
import subprocess
import sys
import time
import unittest

import baton
import tasks

QUIET = dict(stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def cgroup2_mount():
    """Where cgroup v2 is mounted, and the path of this process in it; None: nowhere."""
    with open("/proc/self/mountinfo") as file:
        points = [line.split()[4] for line in file if line.partition(" - ")[2].startswith("cgroup2 ")]
    with open("/proc/self/cgroup") as file:
        paths = [line[3:].rstrip("\n") for line in file if line.startswith("0::")]
    return (points[0], paths[0]) if points and paths else None


def read(*path):
    with open(os.path.join(*path)) as file:
        return file.read()


class Cgroup:
    """A cgroup made by a test beside or below its own. Needs root; `delegated`: it is marked as systemd does."""

    def __init__(self, delegated=True):
        mount = cgroup2_mount()
        if mount is None or os.geteuid() != 0:
            raise unittest.SkipTest("needs root and a mounted cgroup v2")
        # Below the root, whoever else has controllers there: processes may be in it and children too.
        self.path = os.path.join(mount[0], f"baton-e2e-{os.getpid()}-{time.monotonic_ns()}")
        try:
            os.mkdir(self.path)
        except OSError as error:
            raise unittest.SkipTest(f"needs the right to make cgroups: {error}") from error
        if not os.path.exists(os.path.join(self.path, "cgroup.kill")):
            os.rmdir(self.path)
            raise unittest.SkipTest("needs Linux 5.14 or later")
        if delegated:
            os.setxattr(self.path, "user.delegate", b"1")

    def enter(self):
        with open(os.path.join(self.path, "cgroup.procs"), "w") as file:
            file.write("0")

    def processes(self):
        """In it and below."""
        found = []
        for directory, _, _ in os.walk(self.path):
            try:
                found += [int(pid) for pid in read(directory, "cgroup.procs").split()]
            except OSError:
                pass  # it has just been removed
        return found

    def children(self):
        return [name for name in os.listdir(self.path) if os.path.isdir(os.path.join(self.path, name))]

    def close(self):
        with open(os.path.join(self.path, "cgroup.kill"), "w") as file:
            file.write("1")
        baton.wait_until(lambda: not self.processes(), "all in the test's cgroup have ended")
        for directory, _, _ in os.walk(self.path, topdown=False):
            os.rmdir(directory)


class Cgroups(tasks.Tasks):
    """Mixed into a test case; each test has a daemon and a cgroup of its own."""

    CONFIG = 'slots = "4"\n'
    GUARD = ["--guard"]
    DELEGATED = True

    def setUp(self):
        self.daemons = []
        self.cgroup = self.new_cgroup()
        self.addCleanup(self.end_daemons)
        self.start_daemon()

    def new_cgroup(self):
        cgroup = Cgroup(self.DELEGATED)
        self.addCleanup(cgroup.close)
        return cgroup

    def start_daemon(self, *command):
        """batond itself, in the cgroup; nobody else is in there."""
        command = [*command, os.path.join(baton.BIN, "batond"), *self.GUARD]
        self.daemons.append(subprocess.Popen(command, env=self.daemon.env, cwd="/", preexec_fn=self.cgroup.enter,
                                             start_new_session=True, **QUIET))
        baton.wait_until(lambda: self.ctl("ping").returncode == 0, "the daemon answers")

    def end_daemons(self):
        self.ctl("stop", "--now")
        for process in self.daemons:
            process.wait(timeout=baton.TIMEOUT)

    def kill_at_once(self, pids):
        """None of them sees the death of another."""
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        baton.wait_until(lambda: all(tasks.stat_of(pid)[0] == "T" for pid in pids), "all stand still")
        for pid in pids:
            os.kill(pid, signal.SIGKILL)

    def start_in_another_cgroup(self):
        """As if started from somewhere else; of what was in the old one nothing may be left."""
        old, self.cgroup = self.cgroup, self.new_cgroup()
        self.start_daemon()
        self.assertEqual((self.task_processes(), old.children()), (set(), []))
        self.assertEqual(len(self.cgroup.children()), 1, "the new daemon's own")

    def is_in_force(self):
        return self.status("tree_end").startswith("the cgroup of each task is killed")

    def leave_escaped(self):
        for _ in range(3):
            self.submit("sh", "-c", tasks.ESCAPE * 3 + "sleep 1000")
        baton.wait_until(lambda: len(self.task_processes()) >= 12, "the tasks have left their processes behind")

    def wait_settled(self, task):
        """The processes of `ESCAPE + "sleep 1000"`: a shell, the one that escaped, and another sleep."""
        baton.wait_until(lambda: len(self.task_processes(task)) == 3 and all(
            tasks.stat_of(pid)[0] == "S" for pid in self.task_processes(task)), "the task runs")
        return self.task_processes(task)

    def daemon_pids(self):
        return self.status("pid"), [row["pid"] for row in self.workers()]

    def wait_nothing_left(self):
        self.wait_no_processes(5)
        baton.wait_until(lambda: not self.cgroup.processes(), "nobody is in the cgroup", 5)
        baton.wait_until(lambda: not self.cgroup.children(), "no cgroup is left", 5)


class Delegated(Cgroups, baton.TestCase):
    def test_tasks_run_in_cgroups_of_their_own(self):
        self.assertTrue(self.is_in_force())
        name = os.path.basename(self.cgroup.path)
        for options, lane in (([], "cpu"), (["--io"], "io")):
            line = self.run_ok("run", *options, "grep", "^0::", "/proc/self/cgroup").decode()
            self.assertRegex(line, rf"^0::/(.*/)?{name}/baton-[0-9a-f]{{16}}/{lane}/w[0-9]+$")
        out = self.run_ok("map", "-j4", "grep ^0:: /proc/self/cgroup; sleep 0.3", ":::", "1", "2", "3", "4")
        self.assertEqual(len(set(out.splitlines())), 4, "of four at once each has its own")

    def test_the_end_of_a_task_is_that_of_its_tree(self):
        for end in ("exit 0", "kill -9 $$", "sleep 1000"):
            with self.subTest(end):
                task = self.submit("--timeout", "0.5", "--grace", "0.1", "sh", "-c", tasks.ESCAPE * 20 + end)
                self.ctl("wait", str(task))
                self.assertEqual(self.task_processes(task), set())
        self.assertEqual(self.run_ok("run", "echo", "on"), b"on\n")

    def test_detached_children_live_on(self):
        marker = self.temporary("detached")
        task = self.submit("--detach-children", "sh", "-c",
                           "setsid sh -c 'sleep 0.3; echo on > detached; exec sleep 1000' >/dev/null 2>&1 & exit 0")
        self.assertEqual(self.ctl("wait", str(task)).returncode, 0)
        baton.wait_until(lambda: os.path.exists(marker), "what it left goes on")
        [pid] = self.task_processes(task)
        self.run_ok("stop")
        baton.wait_until(lambda: not self.cgroup.children(), "no cgroup of the daemon's is left", 5)
        self.assertTrue(tasks.is_alive(pid), "it outlives the daemon, too")
        os.kill(pid, signal.SIGKILL)

    def test_a_stop_leaves_nothing(self):
        self.leave_escaped()
        self.run_ok("stop", "--now")
        self.wait_nothing_left()
        self.assertFalse(os.path.exists(self.path("state/cgroups")))

    def test_a_killed_worker_leaves_nothing(self):
        kept = self.submit("sh", "-c", tasks.ESCAPE + "sleep 1000")
        task = self.submit("sh", "-c", tasks.ESCAPE * 5 + "sleep 1000")
        baton.wait_until(lambda: len(self.task_processes(task)) >= 6, "the task has left its processes behind")
        neighbours = self.wait_settled(kept)
        [row] = [row for row in self.workers() if row["task"] == task]
        [base] = self.cgroup.children()
        own = os.path.join(self.cgroup.path, base, "cpu", f"w{row['id']}")
        self.assertTrue(os.path.isdir(own))
        os.kill(row["pid"], signal.SIGKILL)
        self.assertEqual(self.ctl("wait", str(task)).returncode, 125)
        self.assertEqual(self.task_processes(task), set())
        self.assertFalse(os.path.exists(own))
        self.assertEqual(self.task_processes(kept), neighbours, "its neighbour never notices")

    def test_a_killed_daemon_leaves_nothing(self):
        for whom in ("daemon", "workers and daemon", "daemon and workers"):
            with self.subTest(whom):
                self.leave_escaped()
                daemon, workers = self.daemon_pids()
                victims = {"daemon": [daemon], "workers and daemon": [*workers, daemon],
                           "daemon and workers": [daemon, *workers]}[whom]
                subprocess.run(["kill", "-9", *map(str, victims)], check=False)
                self.wait_nothing_left()
                self.start_daemon()
                self.assertTrue(self.is_in_force())

    def test_what_the_guard_could_not_end_the_next_daemon_ends(self):
        for _ in range(3):
            self.leave_escaped()
            daemon, workers = self.daemon_pids()
            guard = tasks.stat_of(daemon)[1]
            self.assertEqual(read(f"/proc/{guard}/comm"), "baton-guard\n")
            self.kill_at_once([guard, daemon, *workers])
            baton.wait_until(lambda: not tasks.is_alive(daemon), "the daemon is dead")
            self.assertGreaterEqual(len(self.task_processes()), 12, "nobody is left who could end them")
            self.start_in_another_cgroup()

    def test_two_daemons_do_not_meet(self):
        if read(self.cgroup.path, "cgroup.subtree_control").strip():
            self.skipTest("the first daemon has the controllers: no other process can be where it was started")
        other = baton.Daemon(self.CONFIG)
        self.addCleanup(other.close)
        process = subprocess.Popen([os.path.join(baton.BIN, "batond"), "--guard"], env=other.env, cwd="/",
                                   preexec_fn=self.cgroup.enter, start_new_session=True, **QUIET)
        self.addCleanup(process.wait)
        baton.wait_until(lambda: other.ctl("ping").returncode == 0, "the other daemon answers")
        task = self.submit("sh", "-c", tasks.ESCAPE + "sleep 1000")
        before = self.wait_settled(task)
        self.assertEqual(len(self.cgroup.children()), 2)
        other.ctl("run", "true")
        pid = other.json("status")["pid"]
        os.kill(pid, signal.SIGKILL)
        baton.wait_until(lambda: len(self.cgroup.children()) == 1, "the killed one's are gone")
        self.assertEqual(self.task_processes(task), before)

    def test_a_thousand_double_forkers(self):
        script = ("import os, sys, time\n"
                  "for _ in range(1000):\n"
                  "    if os.fork() == 0:\n"
                  "        os.setsid()\n"
                  "        if os.fork() == 0: time.sleep(1000)\n"
                  "        os._exit(0)\n"
                  "    os.wait()\n"
                  "print('ready', flush=True)\n"
                  "sys.stdin.read()\n")
        process = self.start("run", "/usr/bin/python3", "-I", "-c", script, stdin=subprocess.PIPE,
                             stdout=subprocess.PIPE)
        self.assertEqual(process.stdout.readline(), b"ready\n")
        self.assertGreaterEqual(len(self.task_processes()), 1000)
        begin = time.monotonic()
        process.stdin.close()
        self.assertEqual(process.wait(timeout=baton.TIMEOUT), 0)
        print(f"\n1000 double-forked processes ended in {time.monotonic() - begin:.2f} s", file=sys.stderr)
        self.assertEqual(self.task_processes(), set())

    def test_the_configuration_may_say_no(self):
        self.end_daemons()
        with open(self.path("config/baton/batond.toml"), "a") as file:
            file.write("cgroups = false\n")
        try:
            self.start_daemon()
            self.assertIn("cgroups = false", self.status("tree_end"))
            self.run_ok("run", "true")
            self.assertEqual(self.cgroup.children(), [])
        finally:
            with open(self.path("config/baton/batond.toml"), "w") as file:
                file.write(self.CONFIG)


class WithoutGuard(Cgroups, baton.TestCase):
    """As under systemd, which is the guard there."""

    GUARD = []

    def test_what_a_killed_daemon_leaves_the_next_one_ends(self):
        for _ in range(3):
            self.leave_escaped()
            daemon, workers = self.daemon_pids()
            self.kill_at_once([daemon, *workers])
            baton.wait_until(lambda: not tasks.is_alive(daemon), "the daemon is dead")
            self.assertGreaterEqual(len(self.task_processes()), 12, "nobody is left who could end them")
            self.start_in_another_cgroup()
        self.run_ok("stop")
        self.wait_nothing_left()


class NotDelegated(Cgroups, baton.TestCase):
    """Root may make cgroups everywhere. It does not where they were not given to it."""

    DELEGATED = False

    def test_nothing_is_made(self):
        self.assertFalse(self.is_in_force())
        self.assertIn("subreapers", self.status("tree_end"))
        self.assertIn("not delegated", self.status("tree_end"))
        self.run_ok("run", "true")
        self.assertEqual(self.cgroup.children(), [])

    def test_whoever_starts_it_may_say_that_it_is(self):
        self.end_daemons()
        self.GUARD = ["--guard", "--delegated"]
        self.start_daemon()
        self.assertTrue(self.is_in_force())


class OwnNamespace(Cgroups, baton.TestCase):
    """A container: its cgroup is the root of all that it sees, and its root's own."""

    DELEGATED = False

    def start_daemon(self, *command):
        point = self.path("cgroup")
        os.makedirs(point, exist_ok=True)
        script = f'mount -t cgroup2 none {point} && exec "$@"'
        return super().start_daemon("unshare", "--cgroup", "--mount", "sh", "-c", script, "sh")

    def test_it_is_used(self):
        if os.path.isdir("/run/systemd/system"):
            self.assertIn("systemd's", self.status("tree_end"))
            self.skipTest("systemd manages the cgroups of this machine")
        self.assertTrue(self.is_in_force(), self.status("tree_end"))
        self.leave_escaped()
        daemon, _ = self.daemon_pids()
        os.kill(daemon, signal.SIGKILL)
        self.wait_nothing_left()


class Measured(Cgroups, baton.TestCase):
    """Where the controllers are to be had in v2: memory and weight."""

    def setUp(self):
        super().setUp()
        if "memory" not in read(self.cgroup.path, "cgroup.controllers"):
            self.skipTest("needs the memory controller in cgroup v2")

    def test_peak_is_that_of_the_tree(self):
        script = "for i in 1 2; do python3 -c 'x = b\"1\" * (150 << 20); import time; time.sleep(1)' & done; wait"
        task = self.submit("sh", "-c", script)
        self.assertEqual(self.ctl("wait", str(task)).returncode, 0)
        row = self.row(task)
        self.assertFalse(row["peak_is_upper_bound"])
        self.assertGreater(row["peak_bytes"], 300 << 20)

    def test_oom_is_told_apart(self):
        with open(os.path.join(self.cgroup.path, "memory.max"), "w") as file:
            file.write(str(300 << 20))
        task = self.submit("sh", "-c", "exec python3 -c 'x = b\"1\" * (900 << 20)'")
        self.assertEqual(self.ctl("wait", str(task)).returncode, 137)
        self.assertEqual(self.row(task)["cause"], "oom")

    def test_lanes_have_weights(self):
        [base] = self.cgroup.children()
        if "cpu" not in read(self.cgroup.path, "cgroup.controllers").split():
            self.skipTest("needs the cpu controller in cgroup v2")
        self.assertEqual(read(self.cgroup.path, base, "io", "cpu.weight"), "10\n")
        self.assertEqual(read(self.cgroup.path, base, "cpu", "cpu.weight"), "100\n")
        self.assertEqual(self.run_ok("run", "--io", "nice"), b"0\n", "weighed by its cgroup, not by its nice value")


if __name__ == "__main__":
    baton.main()
