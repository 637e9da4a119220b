"""`batonctl run`: the command's own surroundings, descriptors, exit code and signals."""

import os
import resource
import signal
import stat
import subprocess
import threading
import time
import unittest

import baton


class Surroundings(baton.TestCase):
    """The command finds what it would have found without batonctl."""

    SCRIPT = (
        "import os, resource, signal, sys\n"
        "print(os.getcwd(), oct(os.umask(0)), os.nice(0), sorted(os.sched_getaffinity(0)))\n"
        "print([resource.getrlimit(n) for n in range(16)])\n"
        "print(signal.getsignal(signal.SIGUSR2), signal.pthread_sigmask(signal.SIG_BLOCK, []))\n"
        "print(sorted(int(n) for n in os.listdir('/proc/self/fd') if os.path.exists('/proc/self/fd/' + n)))\n"
        "mine = {k: v for k, v in os.environb.items() if not k.startswith((b'BATON_', b'OMP_', b'OPENBLAS_', b'MKL_'))}\n"
        "print(sorted(mine.items()))\n"
    )

    def test_same_as_without_baton(self):
        def change():
            os.umask(0o027)
            os.nice(3)
            signal.signal(signal.SIGUSR2, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_NOFILE, (200, 300))
            resource.setrlimit(resource.RLIMIT_CORE, (0, 1 << 20))
            os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})

        env = {k: v for k, v in self.daemon.env.items()}
        env["ODD"] = "a\nb\tc=\udcff"
        env = {os.fsencode(k): os.fsencode(v) for k, v in env.items()}
        command = ["/usr/bin/python3", "-I", "-c", self.SCRIPT]
        options = dict(env=env, preexec_fn=change, cwd="/usr/lib")
        direct = subprocess.run(command, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, **options)
        through = self.ctl("run", "--", *command, **options)
        self.assertEqual(through.stderr, b"")
        self.assertEqual(through.stdout, direct.stdout)

    def test_task_variables(self):
        out = self.run_ok("run", "sh", "-c", 'echo $BATON_TASK_ID; echo $BATON_ATTEMPT $BATON_SLOT; test -S "$BATON_SOCKET"')
        lines = out.split(b"\n")
        self.assertGreater(int(lines[0]), 0)
        self.assertRegex(lines[1], rb"^1 [12]")

    def test_directory_and_environment_options(self):
        self.assertEqual(self.run_ok("run", "-C", "/usr", "pwd"), b"/usr\n")
        self.assertEqual(self.run_ok("run", "-E", "A=b c", "sh", "-c", 'echo "$A"'), b"b c\n")
        out = self.run_ok("run", "--env=none", "-E", "PATH", "-E", "X=1", "env")
        names = {line.split(b"=")[0] for line in out.splitlines()}
        self.assertIn(b"X", names)
        self.assertNotIn(b"LC_ALL", names)

    def test_missing_directory(self):
        result = self.ctl("run", "-C", "/no/such", "true")
        self.assertEqual(result.returncode, 125)
        self.assertIn(b"/no/such", result.stderr)

    def test_files(self):
        with open(self.temporary("in"), "w") as file:
            file.write("from a file\n")
        out = self.temporary("out")
        self.assertEqual(self.run_ok("run", "-i", "in", "-o", "out", "sh", "-c", "cat; echo problem >&2"), b"")
        with open(out) as file:
            self.assertEqual(file.read(), "from a file\n")

    def test_large_environment(self):
        env = dict(self.daemon.env, **{f"LARGE{i}": "x" * 100_000 for i in range(8)})
        out = self.run_ok("run", "sh", "-c", "env | wc -c", env=env)
        self.assertGreater(int(out), 800_000)
        env.update({f"MORE{i}": "x" * 100_000 for i in range(16)})
        try:
            result = self.ctl("run", "true", env=env)
        except OSError:
            self.skipTest("this kernel takes no such environment")
        self.assertEqual(result.returncode, 125, result)


class Descriptors(baton.TestCase):
    """stdin, stdout and stderr are the caller's own, not copies of what goes through them."""

    def test_same_files(self):
        with open(self.temporary("file"), "wb") as file:
            script = "import os; print(*(os.fstat(n).st_ino for n in (0, 1, 2)), file=open('inodes', 'w'))"
            subprocess.run([os.path.join(baton.BIN, "batonctl"), "run", "/usr/bin/python3", "-c", script],
                           stdin=subprocess.DEVNULL, stdout=file, stderr=file, env=self.daemon.env,
                           cwd=self.path("work"), check=True, timeout=baton.TIMEOUT)
            want = [os.stat("/dev/null").st_ino, os.fstat(file.fileno()).st_ino, os.fstat(file.fileno()).st_ino]
        with open(os.path.join(self.path("work"), "inodes")) as inodes:
            self.assertEqual([int(word) for word in inodes.read().split()], want)

    def test_bytes_are_not_touched(self):
        data = os.urandom(3 << 20)
        self.assertEqual(self.run_ok("run", "cat", input=data), data)

    def test_streams_stay_apart(self):
        result = self.ctl("run", "sh", "-c", "echo out; echo err >&2")
        self.assertEqual((result.stdout, result.stderr), (b"out\n", b"err\n"))

    def test_closed_descriptors(self):
        out = subprocess.run(["sh", "-c", "exec batonctl run sh -c 'cat; echo x' <&- 2>&-"], env=self.daemon.env,
                             stdout=subprocess.PIPE, timeout=baton.TIMEOUT)
        self.assertEqual((out.returncode, out.stdout), (0, b"x\n"))

    def test_closed_stdout_is_an_error_of_the_command(self):
        out = subprocess.run(["sh", "-c", "exec batonctl run /bin/echo x >&-"], env=self.daemon.env, stderr=subprocess.PIPE,
                             timeout=baton.TIMEOUT)
        self.assertEqual(out.returncode, 1)
        self.assertIn(b"Bad file descriptor", out.stderr)

    def test_pipeline_ends_with_its_reader(self):
        result = subprocess.run(["bash", "-c", "batonctl run yes | head -n 3; echo ${PIPESTATUS[0]}"],
                                env=self.daemon.env, stdout=subprocess.PIPE, timeout=baton.TIMEOUT)
        self.assertEqual(result.stdout, b"y\ny\ny\n141\n")

    def test_a_closed_pipe_is_seen_while_the_command_goes_on(self):
        process = self.daemon.popen("run", "sh", "-c", "exec >&- <&-; sleep 1000", stdin=subprocess.PIPE,
                                    stdout=subprocess.PIPE)
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        self.assertEqual(process.stdout.read(), b"")
        baton.wait_until(lambda: self.write_fails(process.stdin), "the pipe into the command is broken")
        self.assertIsNone(process.poll())
        process.stdout.close()

    @staticmethod
    def write_fails(pipe):
        try:
            os.write(pipe.fileno(), b"x")
            return False
        except BrokenPipeError:
            return True

    def test_a_slow_reader_holds_the_command_back(self):
        process = self.daemon.popen("run", "sh", "-c", "yes | head -c 2000000; echo done >&2", stdout=subprocess.PIPE,
                                    stderr=subprocess.PIPE)
        self.assertEqual(os.read(process.stdout.fileno(), 4), b"y\ny\n")
        out, err = process.communicate(timeout=baton.TIMEOUT)
        self.assertEqual((len(out), err, process.returncode), (2_000_000 - 4, b"done\n", 0))


class ExitCodes(baton.TestCase):
    def code(self, *args, **options):
        return self.ctl("run", *args, **options).returncode

    def test_own(self):
        for code in (0, 1, 2, 124, 125, 255):
            self.assertEqual(self.code("sh", "-c", f"exit {code}"), code)

    def test_signals(self):
        self.assertEqual(self.code("sh", "-c", "kill -9 $$"), 137)
        self.assertEqual(self.code("sh", "-c", "kill -USR1 $$"), 138)

    def test_a_signal_is_said_as_a_shell_would(self):
        script = "ulimit -c 0; kill -s $1 $$"
        result = self.ctl("run", "sh", "-c", script, "-", "SEGV")
        self.assertEqual((result.returncode, result.stderr),
                         (139, b"batonctl: the command ended by signal SEGV: Segmentation fault\n"))
        result = self.ctl("run", "sh", "-c", script, "-", "PIPE")
        self.assertEqual((result.returncode, result.stderr), (141, b""))

    def test_a_signal_that_was_passed_on_is_no_news(self):
        process = self.daemon.popen("run", "sh", "-c", "echo ready; exec sleep 1000", stdout=subprocess.PIPE,
                                    stderr=subprocess.PIPE)
        self.assertEqual(process.stdout.readline(), b"ready\n")
        process.terminate()
        self.assertEqual(process.communicate(timeout=baton.TIMEOUT), (b"", b""))
        self.assertEqual(process.returncode, 143)

    def test_interrupt_ends_a_shell_loop(self):
        script = "for i in 1 2 3; do batonctl run sh -c 'echo ready; exec sleep 1000'; done"
        loop = subprocess.Popen(["bash", "-c", script], env=self.daemon.env, stdout=subprocess.PIPE,
                                preexec_fn=os.setpgrp)
        self.assertEqual(loop.stdout.readline(), b"ready\n")
        os.killpg(loop.pid, signal.SIGINT)
        out = loop.communicate(timeout=baton.TIMEOUT)[0]
        self.assertEqual((loop.returncode, out), (-signal.SIGINT, b""))

    def test_not_found(self):
        result = self.ctl("run", "no-such-program-here")
        self.assertEqual(result.returncode, 127)
        self.assertIn(b"no-such-program-here", result.stderr)
        self.assertEqual(result.stderr.count(b"\n"), 1, result.stderr)

    def test_shell_line_gets_a_hint(self):
        result = self.ctl("run", "true | false")
        self.assertEqual(result.returncode, 127)
        self.assertIn(b"sh -c", result.stderr)

    def test_not_executable(self):
        self.assertEqual(self.code("/etc/passwd"), 126)
        self.assertEqual(self.code("/"), 126)

    def test_usage(self):
        for args in ([], ["--no-such"], ["--timeout", "soon", "true"], ["--cpus", "0", "true"],
                     ["--cpus", "9999", "true"]):
            result = self.ctl("run", *args)
            self.assertEqual((result.returncode, result.stdout), (125, b""), args)
            self.assertEqual(result.stderr.count(b"\n"), 1, result.stderr)
            self.assertTrue(result.stderr.startswith(b"batonctl: "), result.stderr)

    def test_options_end_at_the_command(self):
        self.assertEqual(self.run_ok("run", "echo", "--timeout", "-n"), b"--timeout -n\n")
        self.assertEqual(self.run_ok("run", "--", "echo", "--"), b"--\n")

    def test_time_limit(self):
        result = self.ctl("run", "--timeout", "0.1", "sleep", "1000")
        self.assertEqual(result.returncode, 124)
        self.assertIn(b"time limit", result.stderr)

    def test_retries(self):
        self.temporary("attempts")
        out = self.run_ok("run", "--attempts", "3", "sh", "-c",
                          "echo $BATON_ATTEMPT | tee -a attempts; test $BATON_ATTEMPT = 3")
        self.assertEqual(out, b"1\n2\n3\n")
        self.assertEqual(self.code("--attempts", "2", "false"), 1)

    def test_bytes_in_arguments(self):
        words = [b"", b" ", b"a\nb", b"\xff\xfe", b"\x1b[31m", b"'\"$`\\"]
        out = self.run_ok("run", "printf", "[%s]", *words)
        self.assertEqual(out, b"".join(b"[" + word + b"]" for word in words))


class Slots(baton.TestCase):
    CONFIG = 'slots = "1"\n'

    def fill(self):
        """Takes the only slot; returns the process that holds it."""
        process = self.daemon.popen("run", "sh", "-c", "echo here; exec sleep 1000", stdout=subprocess.PIPE)
        self.addCleanup(process.stdout.close)
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        self.assertEqual(process.stdout.readline(), b"here\n")
        return process

    def test_refuse_to_wait(self):
        holder = self.fill()
        result = self.ctl("run", "-n", "true")
        self.assertEqual((result.returncode, result.stderr.count(b"\n")), (1, 1), result)
        holder.terminate()
        holder.wait()
        self.assertEqual(self.ctl("run", "-n", "true").returncode, 0)

    def test_queue_timeout(self):
        self.fill()
        self.assertEqual(self.ctl("run", "--queue-timeout", "0.1", "true").returncode, 124)

    def test_io_needs_no_slot(self):
        self.fill()
        self.run_ok("run", "--io", "true")

    def test_waits_for_its_slot(self):
        holder = self.fill()
        waiting = self.daemon.popen("run", "echo", "now", stdout=subprocess.PIPE)
        baton.wait_until(lambda: b"queued" in self.ctl("list").stdout, "the second task is queued")
        holder.terminate()
        self.assertEqual(waiting.communicate(timeout=baton.TIMEOUT)[0], b"now\n")

    def test_signal_while_it_waits_ends_it(self):
        self.fill()
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            waiting = self.daemon.popen("run", "touch", self.temporary("touched"))
            baton.wait_until(lambda: b"queued" in self.ctl("list").stdout, "the second task is queued")
            waiting.send_signal(number)
            self.assertEqual(waiting.wait(timeout=baton.TIMEOUT), -number)
            self.assertFalse(os.path.exists(os.path.join(self.path("work"), "touched")))

    def test_nested_runs_give_their_slot_back(self):
        command = []
        for _ in range(20):
            command += ["batonctl", "run", "--"]
        result = self.ctl(*command[1:], "echo", "deep")
        self.assertEqual((result.returncode, result.stdout), (0, b"deep\n"), result)

    def test_hold(self):
        process = self.daemon.popen("run", "--hold", "echo", "released", stdout=subprocess.PIPE)
        baton.wait_until(lambda: b"held" in self.ctl("list").stdout, "the task is held")
        self.run_ok("release", "last")
        self.assertEqual(process.communicate(timeout=baton.TIMEOUT)[0], b"released\n")


class Signals(baton.TestCase):
    TRAP = "trap 'echo got {0}; exit 7' {0}; echo ready; while :; do sleep 0.01; done"

    def start(self, script, **options):
        process = self.daemon.popen("run", "sh", "-c", script, stdout=subprocess.PIPE, **options)
        self.addCleanup(process.stdout.close)
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        self.assertEqual(process.stdout.readline(), b"ready\n")
        return process

    def test_forwarded(self):
        for name in ("INT", "TERM", "HUP", "QUIT", "USR1", "USR2"):
            with self.subTest(name):
                process = self.start(self.TRAP.format(name))
                process.send_signal(getattr(signal, "SIG" + name))
                self.assertEqual(process.stdout.readline(), f"got {name}\n".encode())
                self.assertEqual(process.wait(timeout=baton.TIMEOUT), 7)

    def test_terminated(self):
        process = self.start("echo ready; exec sleep 1000")
        process.terminate()
        self.assertEqual(process.wait(timeout=baton.TIMEOUT), 143)

    def test_second_interrupt_cancels(self):
        process = self.start("trap : INT; echo ready; while :; do sleep 0.01; done", stderr=subprocess.PIPE)
        self.addCleanup(process.stderr.close)
        process.send_signal(signal.SIGINT)
        begin = time.monotonic()
        baton.wait_until(lambda: time.monotonic() > begin + 1.05, "a second has passed")
        process.send_signal(signal.SIGINT)
        self.assertEqual(process.wait(timeout=baton.TIMEOUT), -signal.SIGINT)

    def test_ignored_signal_stays_ignored(self):
        process = self.start("kill -INT $$; echo ready; sleep 0.2; echo still here",
                             preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_IGN))
        process.send_signal(signal.SIGINT)
        self.assertEqual(process.stdout.readline(), b"still here\n")
        self.assertEqual(process.wait(timeout=baton.TIMEOUT), 0)

    def test_killed_client_ends_the_task(self):
        process = self.start("echo ready; (sleep 1000 & setsid sleep 1000 & wait)")
        # The task's processes are told by their BATON_TASK_ID; the daemon's and workers' have none.
        task = self.daemon.json("list", "--unfinished")[0]["id"]
        entry = b"BATON_TASK_ID=%s\0" % task.encode()
        state = b"BATON_STATE_DIR=" + self.path("state").encode()
        mine = lambda: set(baton.processes_with(entry)) & set(baton.processes_with(state))
        baton.wait_until(lambda: len(mine()) >= 3, "all processes of the task run")
        process.kill()
        baton.wait_until(lambda: not mine(), "the task's processes are gone", 5)

    def test_stopped_with_its_client_and_continued(self):
        process = self.start("echo ready; sleep 0.05; echo on; exec sleep 1000", start_new_session=False,
                             preexec_fn=os.setpgrp)
        # A parent in the same session and another group: it can be continued, so it stops.
        self.assertEqual(process.stdout.readline(), b"on\n")
        process.send_signal(signal.SIGTSTP)
        status = baton.wait_until(lambda: os.waitpid(process.pid, os.WUNTRACED | os.WNOHANG)[1], "batonctl stops")
        self.assertTrue(os.WIFSTOPPED(status), status)
        self.assertTrue(self.daemon.json("list", "--unfinished")[0]["stopped"])
        process.send_signal(signal.SIGCONT)
        baton.wait_until(lambda: not self.daemon.json("list", "--unfinished")[0]["stopped"], "it goes on")
        process.terminate()
        self.assertEqual(process.wait(timeout=baton.TIMEOUT), 143)


class Many(baton.TestCase):
    def test_fifty_at_once_start_one_daemon(self):
        processes = [self.daemon.popen("run", "sh", "-c", f"echo {i}", stdout=subprocess.PIPE) for i in range(50)]
        got = [int(process.communicate(timeout=60)[0]) for process in processes]
        self.assertEqual(got, list(range(50)))
        self.assertEqual({process.returncode for process in processes}, {0})

    def test_daemon_killed(self):
        process = self.daemon.popen("run", "sh", "-c", "echo ready; sleep 1000", stdout=subprocess.PIPE,
                                    stderr=subprocess.PIPE)
        self.assertEqual(process.stdout.readline(), b"ready\n")
        pid = self.daemon.json("status")["pid"]
        os.kill(pid, signal.SIGKILL)
        process.wait(timeout=5)
        self.assertEqual(process.returncode, 125)
        self.assertEqual(process.stderr.read().count(b"\n"), 1)
        process.stdout.close()
        process.stderr.close()
        self.run_ok("run", "true")


if __name__ == "__main__":
    baton.main()
