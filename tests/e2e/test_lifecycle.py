"""The daemon's own life: how it begins, reads its configuration, and ends."""

import os
import signal
import subprocess
import time

import baton
import tasks


def daemons_of(daemon):
    """Pids of the batond processes that were started with this environment; not their guards."""
    found = []
    for pid in daemon.processes():
        try:
            with open(f"/proc/{pid}/comm") as file:
                if file.read() == "batond\n":
                    found.append(pid)
        except OSError:
            pass
    return found


class Start(tasks.Tasks, baton.TestCase):
    def setUp(self):
        self.run_ok("stop", "--now")
        baton.wait_until(lambda: not self.daemon.processes(), "nothing of it is left")

    def test_many_at_once_start_one(self):
        processes = [self.start("submit", "sh", "-c", f"exit {i % 3}", stdout=subprocess.PIPE) for i in range(50)]
        ids = sorted(int(process.communicate(timeout=60)[0]) for process in processes)
        self.assertEqual({process.returncode for process in processes}, {0})
        self.assertEqual(ids, list(range(ids[0], ids[0] + 50)))
        self.assertEqual(daemons_of(self.daemon), [self.status("pid")])
        self.assertEqual(self.ctl("wait", *map(str, ids)).returncode, 2)

    def test_two_hundred_clients_at_once(self):
        processes = [self.start("run", "sh", "-c", f"echo {i}; exit {i % 100}", stdout=subprocess.PIPE,
                                stderr=subprocess.PIPE) for i in range(200)]
        for i, process in enumerate(processes):
            out, err = process.communicate(timeout=120)
            self.assertEqual((process.returncode, out, err), (i % 100, b"%d\n" % i, b""))
        self.assertEqual(len(daemons_of(self.daemon)), 1)

    def test_looking_starts_nothing(self):
        for verb in ("list", "status", "wait", "logs", "show", "explain", "worker", "cancel", "events", "ping", "drain"):
            args = ["1"] if verb in ("logs", "show", "explain", "cancel") else []
            result = self.ctl(verb, *args)
            self.assertEqual(result.returncode, 0 if verb == "list" else 125, result)
            self.assertEqual(result.stderr.count(b"\n"), 1, result)
            self.assertIn(b"no daemon", result.stderr)
        self.assertEqual(self.daemon.processes(), [])

    def test_second_daemon_is_refused(self):
        self.run_ok("run", "true")
        pid = self.status("pid")
        second = subprocess.run([os.path.join(baton.BIN, "batond")], env=self.daemon.env, stderr=subprocess.PIPE,
                                stdout=subprocess.PIPE, timeout=baton.TIMEOUT)
        self.assertNotEqual(second.returncode, 0)
        self.assertEqual(second.stderr.count(b"\n"), 1, second)
        self.assertIn(str(pid).encode(), second.stderr)
        self.assertEqual(self.status("pid"), pid)
        self.run_ok("run", "true")

    def test_it_begins_with_nothing_of_its_first_client(self):
        read, write = os.pipe()
        os.set_inheritable(write, True)
        process = subprocess.Popen([os.path.join(baton.BIN, "batonctl"), "submit", "sleep", "1000"], env=self.daemon.env,
                                   cwd=self.path("work"), pass_fds=[write], stdout=subprocess.PIPE, preexec_fn=lambda:
                                   (os.umask(0o777), os.nice(0)))
        os.close(write)
        self.assertTrue(process.communicate(timeout=baton.TIMEOUT)[0])
        with open(read, "rb") as file:
            self.assertEqual(file.read(), b"", "nobody else has the pipe")
        pid = self.status("pid")
        self.assertEqual(os.readlink(f"/proc/{pid}/cwd"), "/")
        self.assertEqual(os.getsid(pid) in (os.getsid(0), 0), False)
        outputs = {os.readlink(f"/proc/{pid}/fd/{fd}") for fd in (0, 1, 2)}
        self.assertLessEqual(outputs, {"/dev/null", self.path("state/batond.log")})


class Socket(tasks.Tasks, baton.TestCase):
    def test_made_again_when_it_is_removed(self):
        task = self.submit("sleep", "1000")
        path, pid = self.status("socket"), self.status("pid")
        for _ in range(5):
            os.unlink(path)
            baton.wait_until(lambda: os.path.exists(path), "the socket is there again", 10)
            self.assertEqual(self.status("pid"), pid)
        os.rename(path, path + ".old")
        baton.wait_until(lambda: os.path.exists(path), "the socket is there again", 10)
        self.assertEqual((self.status("pid"), self.row(task)["state"]), (pid, "running"))
        self.assertEqual(os.stat(path).st_mode & 0o777, 0o600)

    def test_no_daemon_behind_it(self):
        self.run_ok("run", "true")
        path = self.status("socket")
        self.run_ok("stop", "--now")
        self.assertFalse(os.path.exists(path))
        with open(path, "w") as file:
            file.write("in the way")
        self.assertEqual(self.run_ok("run", "echo", "started"), b"started\n")


class Stop(tasks.Tasks, baton.TestCase):
    CONFIG = 'slots = "2"\nstop_timeout = "1s"\n'

    def assert_all_gone(self, timeout=10):
        baton.wait_until(lambda: not self.daemon.processes(), "no process is left", timeout)

    def test_drains_what_runs(self):
        marker = self.temporary("finished")
        task = self.submit("sh", "-c", "echo started > finished; sleep 0.5; echo ended >> finished")
        waiting = self.start("wait", str(task), stderr=subprocess.PIPE)
        baton.wait_until(lambda: os.path.exists(marker), "the task runs")
        os.kill(self.status("pid"), signal.SIGTERM)
        self.assertEqual(waiting.wait(timeout=baton.TIMEOUT), 0, "its end is still told")
        self.assert_all_gone()
        with open(marker) as file:
            self.assertEqual(file.read(), "started\nended\n")

    def test_kills_what_does_not_end(self):
        for how in (lambda: os.kill(self.status("pid"), signal.SIGTERM), lambda: self.run_ok("stop")):
            running = self.start("run", "sh", "-c", "trap '' TERM INT HUP; " + tasks.ESCAPE * 5 +
                                 "echo ready; while :; do sleep 1000; done", stdout=subprocess.PIPE,
                                 stderr=subprocess.PIPE)
            self.assertEqual(running.stdout.readline(), b"ready\n")
            queued = self.submit("--cpus", "2", "touch", self.temporary("never"))
            begin = time.monotonic()
            how()
            self.assertEqual(running.wait(timeout=baton.TIMEOUT), 125)
            self.assertIn(b"the daemon was stopped", running.stderr.read())
            self.assert_all_gone(15)
            self.assertLess(time.monotonic() - begin, 15)
            self.assertFalse(os.path.exists(self.path("work/never")), queued)

    def test_takes_no_work_meanwhile(self):
        running = self.start("run", "sh", "-c", "trap '' TERM; echo ready; read line", stdin=subprocess.PIPE,
                             stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        self.assertEqual(running.stdout.readline(), b"ready\n")
        os.kill(self.status("pid"), signal.SIGTERM)
        baton.wait_until(lambda: self.status("stopping"), "the daemon is stopping")
        for verb in ("run", "submit"):
            self.assert_refused(self.ctl(verb, "true"), "stopping")
        self.assert_refused(self.ctl("map", "true", ":::", "1"), "stopping")
        running.stdin.close()
        self.assert_all_gone(15)

    def test_now(self):
        running = self.start("run", "sleep", "1000", stderr=subprocess.PIPE)
        baton.wait_until(lambda: self.ctl("status").returncode == 0 and self.status("running") == 1, "the task runs")
        begin = time.monotonic()
        self.run_ok("stop", "--now")
        self.assertLess(time.monotonic() - begin, 5)
        self.assertEqual(running.wait(timeout=baton.TIMEOUT), 125)
        self.assert_all_gone()

    def test_drained_and_resumed(self):
        self.run_ok("run", "true")
        self.run_ok("drain", "--wait")
        self.assert_refused(self.ctl("run", "true"), "resume")
        self.run_ok("resume")
        self.run_ok("run", "true")

    def test_stop_without_a_daemon(self):
        self.ctl("stop", "--now")
        self.assertEqual(self.ctl("stop").returncode, 0)


class Configuration(tasks.Tasks, baton.TestCase):
    CONFIG = 'slots = "1"\n'

    def write(self, text, name="batond.toml"):
        path = self.path("config/baton/" + name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w") as file:
            file.write(text)
        return path

    def tearDown(self):
        self.write(self.CONFIG)

    def test_reload_says_what_changed(self):
        self.run_ok("run", "true")
        self.write('slots = "3"\nfinished_keep = 7\n')
        out = self.run_ok("reload").decode()
        self.assertRegex(out, r"slots: 1 -> 3\n")
        self.assertRegex(out, r"finished_keep: 1000 -> 7\n")
        self.assertEqual(self.status("slots"), 3)
        self.assertEqual(self.run_ok("reload"), b"nothing has changed\n")
        self.write('slots = "1"\n')
        self.run_ok("reload")
        self.assertEqual(self.status("slots"), 1)

    def test_new_slots_are_used_at_once(self):
        first = self.submit("sleep", "1000")
        second = self.submit("sleep", "1000")
        self.wait_running(first)
        self.assertEqual(self.row(second)["state"], "queued")
        self.write('slots = "2"\n')
        self.run_ok("reload")
        self.wait_running(second)
        self.run_ok("cancel", str(first), str(second))

    def test_bad_reload_changes_nothing(self):
        self.run_ok("run", "true")
        before = self.daemon.json("config")
        for text, words in (('slots = "3"\nno_such_key = 1\n', ("batond.toml:2", "no_such_key")),
                            ('finished_keep = 5\nslots = "many"\n', ("batond.toml:2", "slots")),
                            ("slots = [\n", ("batond.toml",)), ('slots = 3\nstop_timeout = "soon"\n', ("stop_timeout",)),
                            ("\xff\xfe", ("batond.toml",)), ('connections = 1\n', ("connections",))):
            self.write(text)
            self.assert_refused(self.ctl("reload"), *words)
            self.assertEqual(self.daemon.json("config"), before, text)
        self.write(self.CONFIG)
        self.write("io_tasks = 0\n", "batond.d/10-bad.toml")
        try:
            self.assert_refused(self.ctl("reload"), "10-bad.toml:1", "io_tasks")
        finally:
            os.unlink(self.path("config/baton/batond.d/10-bad.toml"))
        self.run_ok("run", "true")

    def test_hangup_reloads(self):
        self.run_ok("run", "true")
        self.write('slots = "2"\n')
        os.kill(self.status("pid"), signal.SIGHUP)
        baton.wait_until(lambda: self.status("slots") == 2, "the new configuration is in force")
        self.write("garbage\n")
        os.kill(self.status("pid"), signal.SIGHUP)
        self.assertEqual(self.status("slots"), 2)

    def test_no_daemon_with_a_bad_configuration(self):
        self.run_ok("stop", "--now")
        self.write("slots = 2\nslotz = 3\n")
        for verb in (["run", "true"], ["submit", "true"], ["map", "true", ":::", "1"]):
            self.assert_refused(self.ctl(*verb), "batond.toml", "slotz")
        baton.wait_until(lambda: not self.daemon.processes(), "no daemon is left")
        self.write(self.CONFIG)
        self.run_ok("run", "true")

    def test_no_daemon_with_an_unreadable_configuration(self):
        self.run_ok("stop", "--now")
        path = self.path("config/baton/batond.toml")
        os.unlink(path)
        os.mkdir(path)
        try:
            self.assert_refused(self.ctl("run", "true"), "batond.toml")
        finally:
            os.rmdir(path)
        os.symlink("batond.toml", path)
        try:
            self.assert_refused(self.ctl("run", "true"), "batond.toml")
        finally:
            os.unlink(path)
        baton.wait_until(lambda: not self.daemon.processes(), "no daemon is left")

    def test_idle_daemon_ends(self):
        self.write('idle_exit = "1s"\n')
        self.ctl("stop", "--now")
        self.run_ok("run", "true")
        baton.wait_until(lambda: not self.daemon.processes(), "the idle daemon has ended", 10)


class Grace(tasks.Tasks, baton.TestCase):
    """The key `grace` holds for a task that sets none: with 0 no TERM ever comes."""

    CONFIG = "grace = 0\n"

    def was_told(self, *options, end=None):
        """Whether a task with these options has got TERM before it ended."""
        marker = self.temporary("told")
        task = self.submit(*options, "sh", "-c",
                           "trap 'echo > told; exit' TERM; echo > ready; while :; do sleep 0.01; done")
        if end:
            baton.wait_until(lambda: os.path.exists(self.path("work/ready")), "the task is ready")
            end(task)
        self.ctl("wait", str(task))
        self.temporary("ready")
        return os.path.exists(marker)

    def cancel(self, *options):
        return lambda task: self.run_ok("cancel", *options, str(task))

    def test_of_a_cancel(self):
        self.assertFalse(self.was_told(end=self.cancel()))
        self.assertTrue(self.was_told("--grace", "20", end=self.cancel()), "the task's own comes first")
        self.assertTrue(self.was_told(end=self.cancel("--grace", "20")), "the request's comes first")
        self.assertFalse(self.was_told("--grace", "0", end=self.cancel()))

    def test_of_a_time_limit(self):
        self.assertFalse(self.was_told("--timeout", "0.5"))
        self.assertTrue(self.was_told("--timeout", "0.5", "--grace", "20"))

    def test_of_a_client_that_has_gone(self):
        marker = self.temporary("told")
        running = self.start("run", "sh", "-c", "trap 'echo > told; exit' TERM; echo ready; while :; do sleep 0.01; done",
                             stdout=subprocess.PIPE)
        self.assertEqual(running.stdout.readline(), b"ready\n")
        running.kill()
        self.wait_no_processes(baton.TIMEOUT)
        self.assertFalse(os.path.exists(marker))

    def test_shown_and_reloaded(self):
        self.assertEqual(self.row(self.submit("true"))["grace_seconds"], 0)
        try:
            with open(self.path("config/baton/batond.toml"), "w") as file:
                file.write('grace = "5m"\n')
            self.run_ok("reload")
            self.assertEqual(self.row(self.submit("true"))["grace_seconds"], 300)
            self.assertEqual(self.row(self.submit("--grace", "2", "true"))["grace_seconds"], 2)
            self.assertTrue(self.was_told(end=self.cancel()))
        finally:
            with open(self.path("config/baton/batond.toml"), "w") as file:
                file.write(self.CONFIG)
            self.run_ok("reload")


if __name__ == "__main__":
    baton.main()
