"""What passes between the daemon and who supervises it, with the test in systemd's place: readiness, watchdog, status
line, socket activation. tests/systemd has the same with the real one."""

import os
import select
import signal
import socket
import subprocess
import time

import baton
import tasks


class Supervisor:
    """Starts batond as systemd does, and hears what it says."""

    WATCHDOG_S = 0.4

    def __init__(self, daemon):
        self.daemon = daemon
        self.process = None
        self.heard = []
        self.path = daemon.path("notify.sock")
        self.notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.notify.bind(self.path)
        self.listener = None

    def listen(self):
        """A listening socket that batond gets as its descriptor 3."""
        self.listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.listener.bind(self.daemon.path("activated.sock"))
        self.listener.listen()

    def start(self, ready=True, **env):
        """Returns when it is ready, unless it never will be or the test looks at just that."""
        variables = {**self.daemon.env, "NOTIFY_SOCKET": self.path, **env}
        script = "exec batond"
        if self.listener:
            script = f"exec 3<&{self.listener.fileno()}; LISTEN_PID=$$ LISTEN_FDS=1 exec batond"
        pass_fds = [self.listener.fileno()] if self.listener else []
        self.process = subprocess.Popen(["sh", "-c", script], env=variables, pass_fds=pass_fds, cwd="/",
                                        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.heard.clear()
        if ready:
            self.wait_for("READY=1")
        return self.process

    def hear(self, timeout):
        """The next thing that it says; None if it says nothing for so long."""
        if not select.select([self.notify], [], [], timeout)[0]:
            return None
        text = self.notify.recv(4096).decode()
        self.heard += text.split("\n")
        return text

    def wait_for(self, text, timeout=baton.TIMEOUT):
        """Until a line that begins with `text` has come; the last such line."""
        deadline = time.monotonic() + timeout
        while True:
            found = [line for line in self.heard if line.startswith(text)]
            if found:
                return found[-1]
            if self.hear(max(deadline - time.monotonic(), 0)) is None:
                raise AssertionError(f"{text} does not come, only {self.heard}")

    def close(self):
        if self.process:
            self.process.kill()
            self.process.wait()
        for each in (self.notify, self.listener):
            if each:
                each.close()


class Supervised(tasks.Tasks, baton.TestCase):
    CONFIG = 'slots = "2"\nstop_timeout = "1s"\n'

    def setUp(self):
        self.run_ok("stop", "--now")
        for name in ("notify.sock", "activated.sock"):
            if os.path.exists(self.path(name)):
                os.unlink(self.path(name))
        self.supervisor = Supervisor(self.daemon)
        self.addCleanup(self.supervisor.close)

    def tearDown(self):
        self.configure(self.CONFIG)

    def configure(self, text):
        with open(self.path("config/baton/batond.toml"), "w") as file:
            file.write(text)

    def activated(self, *args, **options):
        """batonctl, by the socket that the supervisor made."""
        return self.ctl(*args, env=dict(self.daemon.env, BATON_SOCKET=self.path("activated.sock")), **options)

    def test_ready_when_it_listens(self):
        """Another daemon's lock holds it up in the middle of its start."""
        self.run_ok("run", "true")
        self.run_ok("stop", "--now")
        holder = subprocess.Popen(["flock", self.path("state/daemon.lock"), "sh", "-c", "echo held; exec cat"],
                                  stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.assertEqual(holder.stdout.readline(), b"held\n")
        pid = self.supervisor.start(ready=False).pid
        baton.wait_until(lambda: self.waits_for_a_lock(pid), "the daemon waits for the lock")
        self.assertIsNone(self.supervisor.hear(0))
        holder.communicate()
        self.supervisor.wait_for("READY=1")
        self.assertEqual(self.status("pid"), pid)

    @staticmethod
    def waits_for_a_lock(pid):
        with open("/proc/locks") as file:
            return any("->" in line and f" {pid} " in line for line in file)

    def test_status_line(self):
        self.supervisor.start()
        self.assertEqual(self.supervisor.wait_for("STATUS="), "STATUS=running 0, waiting 0; slots 2")
        ids = [str(self.submit("sleep", "1000")) for _ in range(3)]
        self.supervisor.wait_for("STATUS=running 2, waiting 1; slots 2")
        self.supervisor.heard.clear()
        self.run_ok("cancel", *ids)
        self.supervisor.wait_for("STATUS=running 0, waiting 0; slots 2")

    def test_watchdog_is_answered_by_the_loop(self):
        pid = self.supervisor.start(WATCHDOG_USEC=str(int(Supervisor.WATCHDOG_S * 1e6))).pid
        for _ in range(5):
            self.supervisor.heard.clear()
            self.supervisor.wait_for("WATCHDOG=1")
        os.kill(pid, signal.SIGSTOP)
        baton.wait_until(lambda: tasks.stat_of(pid)[0] == "T", "the daemon is stopped")
        while self.supervisor.hear(0):
            pass
        self.assertIsNone(self.supervisor.hear(2 * Supervisor.WATCHDOG_S), "nobody answers in its place")
        os.kill(pid, signal.SIGCONT)
        self.supervisor.heard.clear()
        self.supervisor.wait_for("WATCHDOG=1")

    def test_no_watchdog_unless_asked(self):
        self.supervisor.start()
        self.run_ok("run", "true")
        self.run_ok("stop")
        self.supervisor.process.wait(timeout=baton.TIMEOUT)
        while self.supervisor.hear(0):
            pass
        self.assertNotIn("WATCHDOG=1", self.supervisor.heard)

    def test_stopping_is_told_with_the_time_it_may_take(self):
        self.configure('stop_timeout = "100s"\n')
        self.supervisor.start()
        task = self.submit("sleep", "1000")
        self.wait_running(task)
        self.supervisor.process.terminate()
        self.supervisor.wait_for("STOPPING=1")
        extended = int(self.supervisor.wait_for("EXTEND_TIMEOUT_USEC=").partition("=")[2])
        self.assertGreater(extended, 100e6)
        self.run_ok("cancel", str(task))
        self.assertEqual(self.supervisor.process.wait(timeout=baton.TIMEOUT), 0)

    def test_activated_by_a_socket(self):
        self.supervisor.listen()
        waiting = subprocess.Popen([os.path.join(baton.BIN, "batonctl"), "run", "echo", "served"],
                                   env=dict(self.daemon.env, BATON_SOCKET=self.path("activated.sock")),
                                   stdout=subprocess.PIPE)
        pid = self.supervisor.start().pid
        self.assertEqual(waiting.communicate(timeout=baton.TIMEOUT)[0], b"served\n")
        self.assertEqual(self.status("pid"), pid, "found without BATON_SOCKET too")
        self.assertEqual(self.status("socket"), self.path("activated.sock"))
        self.assertFalse(os.path.exists(self.path("state/control.sock")))
        self.run_ok("stop")
        self.supervisor.process.wait(timeout=baton.TIMEOUT)
        self.assertTrue(os.path.exists(self.path("activated.sock")), "it is not ours to remove")
        self.supervisor.start()
        self.assertEqual(self.activated("run", "echo", "again").stdout, b"again\n")

    def test_who_waits_is_told_why_it_cannot_start(self):
        self.configure("slotz = 1\n")
        self.supervisor.listen()
        waiting = [subprocess.Popen([os.path.join(baton.BIN, "batonctl"), *verb], stderr=subprocess.PIPE,
                                    env=dict(self.daemon.env, BATON_SOCKET=self.path("activated.sock")))
                   for verb in (["list"], ["run", "true"], ["status"])]
        probe = [socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) for _ in range(50)]
        for each in probe:
            each.connect(self.path("activated.sock"))
        self.assertEqual(self.supervisor.start(ready=False).wait(timeout=baton.TIMEOUT), 78)
        for each in probe:
            each.close()
        for client in waiting:
            # One that came after the daemon's end waits for the next one.
            while client.poll() is None:
                if select.select([self.supervisor.listener], [], [], 0.01)[0]:
                    self.assertEqual(self.supervisor.start(ready=False).wait(timeout=baton.TIMEOUT), 78)
            err = client.stderr.read()
            client.stderr.close()
            self.assertEqual(client.returncode, 125, err)
            self.assertIn(b"slotz", err)
            self.assertEqual(err.count(b"\n"), 1, err)

    def test_tasks_see_nothing_of_it(self):
        self.supervisor.listen()
        self.supervisor.start(WATCHDOG_USEC="30000000", INVOCATION_ID="1" * 32)
        out = self.run_ok("run", "sh", "-c", "env; ls /proc/self/fd")
        for name in (b"NOTIFY_SOCKET", b"WATCHDOG_", b"LISTEN_", b"INVOCATION_ID"):
            self.assertNotIn(name, out)
        self.assertEqual(out.split(b"\n")[-5:-1], [b"0", b"1", b"2", b"3"], "3 is the directory that ls reads")

    def test_what_is_not_meant_for_it_is_harmless(self):
        """Variables that were left over from a supervisor of somebody else."""
        for env in ({"NOTIFY_SOCKET": "/nowhere/at/all", "WATCHDOG_USEC": "100000"}, {"NOTIFY_SOCKET": "garbage"},
                    {"WATCHDOG_USEC": "garbage"}, {"WATCHDOG_USEC": "100000", "WATCHDOG_PID": "1"},
                    {"LISTEN_PID": "1", "LISTEN_FDS": "1"}, {"LISTEN_PID": "garbage", "LISTEN_FDS": "-3"}):
            with self.subTest(env=env):
                pid = self.supervisor.start(ready=False, **{"NOTIFY_SOCKET": "", **env}).pid
                baton.wait_until(lambda: self.ctl("ping").returncode == 0, "the daemon answers")
                self.assertEqual((self.status("pid"), self.status("socket")), (pid, self.path("state/control.sock")))
                self.assertEqual(self.run_ok("run", "echo", "done"), b"done\n")
                self.run_ok("stop")
                self.assertEqual(self.supervisor.process.wait(timeout=baton.TIMEOUT), 0)



if __name__ == "__main__":
    baton.main()
