"""`batonctl map` by itself: slots, input without end, readers too slow, early ends. Beside GNU parallel: test_map_parallel.py."""

import os
import re
import shutil
import signal
import subprocess

import baton
import tasks


class Map(tasks.Tasks):
    """Mixed into a baton.TestCase."""

    def work(self, name):
        return os.path.join(self.path("work"), name)

    def fresh(self, name):
        """An empty directory for the jobs to leave something in."""
        shutil.rmtree(self.work(name), ignore_errors=True)
        os.mkdir(self.work(name))
        return name

    def present(self, name):
        return os.listdir(self.work(name))

    def map(self, *args, **options):
        return self.start("map", *args, **options)

    def sleepers(self):
        """Processes of jobs that sleep, by pid."""
        found = []
        for pid in self.task_processes():
            try:
                with open(f"/proc/{pid}/comm") as file:
                    if file.read() == "sleep\n":
                        found.append(pid)
            except OSError:
                pass
        return found

    def wait_nothing_runs(self):
        baton.wait_until(lambda: not self.daemon.json("list", "--unfinished"), "nothing runs or waits")
        self.wait_no_processes(baton.TIMEOUT)


class Slots(Map, baton.TestCase):
    CONFIG = 'slots = "2"\n'

    def most_at_once(self, *options, jobs, expected):
        """Runs jobs that wait until `expected` of them are there at once; most that ever were, and stderr."""
        here = self.fresh("here")
        command = f"touch {here}/{{#}}; until [ -e go ]; do sleep 0.02; done; ls {here} | wc -l; rm {here}/{{#}}"
        go = self.temporary("go")
        process = self.map(*options, command, ":::", *map(str, range(jobs)), stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        baton.wait_until(lambda: len(self.present(here)) >= expected, f"{expected} jobs run at once")
        open(go, "w").close()
        out, err = process.communicate(timeout=baton.TIMEOUT)
        self.assertEqual((process.returncode, len(out.split())), (0, jobs), err)
        return max(map(int, out.split())), err

    def test_cpu_jobs_never_pass_the_slots(self):
        self.assertEqual(self.most_at_once(jobs=12, expected=2), (2, b""))
        most, err = self.most_at_once("-j", "7", jobs=12, expected=2)
        self.assertEqual(most, 2)
        self.assertEqual(err.count(b"\n"), 1, "said once")
        self.assertIn(b"--io", err)

    def test_fewer_jobs_than_slots(self):
        for jobs in (["-j1"], ["-j", "50%"], ["-j-1"], ["-j", "-1"], ["--cpus", "2"]):
            self.assertEqual(self.most_at_once(*jobs, jobs=4, expected=1), (1, b""), jobs)

    def test_io_jobs_need_no_slot(self):
        self.assertEqual(self.most_at_once("--io", jobs=40, expected=32), (32, b""))
        self.assertEqual(self.most_at_once("--io", "-j", "5", jobs=12, expected=5), (5, b""))

    def test_slot_numbers_are_not_shared(self):
        here = self.fresh("numbers")
        command = f"mkdir {here}/{{%}} && echo {{%}} && rmdir {here}/{{%}}"
        result = self.ctl("map", "-j2", command, ":::", *map(str, range(30)))
        self.assertEqual((result.returncode, result.stderr), (0, b""))
        self.assertEqual(set(result.stdout.split()), {b"1", b"2"})

    def test_one_batch_in_the_list(self):
        go = self.temporary("go")
        process = self.map("--name", "mine", "until [ -e go ]; do sleep 0.02; done; : {}", ":::", *map(str, range(20)))
        rows = baton.wait_until(lambda: [row for row in self.daemon.json("list", "--unfinished") if row["total"] > 1], "it is there")
        self.assertEqual([(row["type"], row["name"], row["attached"]) for row in rows], [("batch", "mine", True)])
        open(go, "w").close()
        self.assertEqual(process.wait(timeout=baton.TIMEOUT), 0)

    def test_jobs_see_their_surroundings(self):
        os.makedirs(self.work("sub dir"), exist_ok=True)
        out = self.run_ok("map", "-k", "-C", "sub dir", "-E", "NEW=a b", 'pwd; echo "$NEW" $BATON_ATTEMPT; umask; : {}', ":::", "1",
                          preexec_fn=lambda: os.umask(0o027))
        self.assertEqual(out.decode().splitlines(), [self.work("sub dir"), "a b 1", "0027"])


class Lines(Map, baton.TestCase):
    """Which shell runs a line, if any."""

    CONFIG = 'slots = "2"\n'

    def recording(self, name):
        """A shell that notes every call in the file `calls`."""
        directory = self.work("shells")
        os.makedirs(directory, exist_ok=True)
        path = os.path.join(directory, name)
        with open(path, "w") as file:
            file.write(f"#!/bin/sh\necho {name} >> {self.work('calls')}\nexec /bin/sh \"$@\"\n")
        os.chmod(path, 0o755)
        return path

    def calls(self, line, shell, **env):
        calls = self.temporary("calls")
        result = self.ctl("map", "-k", line, ":::", "a", env=dict(self.daemon.env, BATON_SHELL=shell, **env))
        self.assertEqual((result.returncode, result.stderr), (0, b""), line)
        if not os.path.exists(calls):
            return 0
        with open(calls) as file:
            return len(file.readlines())

    def test_a_line_without_anything_for_a_shell_needs_none(self):
        shell = self.recording("sh")
        for line in ("/bin/echo", "env printf '%s' 'a  b'", "/bin/echo -- \"x\" \\$y"):
            self.assertEqual(self.calls(line, shell), 0, line)
        for line in ("echo", "cd /", "/bin/echo $HOME", "/bin/echo a; true", "X=1 /bin/echo", "/bin/echo *", "/bin/echo > /dev/null",
                     "if true; then /bin/echo {}; fi", "! /bin/false", ": "):
            self.assertEqual(self.calls(line, shell), 1, line)
        self.assertEqual(self.calls("/bin/echo", self.recording("strange")), 1, "a shell that nobody knows decides by itself")

    def shell_of(self, *before, **env):
        """$0 in a job: the shell's path."""
        argv = [*before, "echo $0", ":::", "x"]
        result = subprocess.run(argv, env=dict(self.daemon.env, **env), cwd=self.path("work"), stdin=subprocess.DEVNULL,
                                stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=baton.TIMEOUT)
        self.assertEqual((result.returncode, result.stderr), (0, b""))
        return os.path.basename(result.stdout.split()[0].decode())

    def test_the_shell_is_chosen_in_order(self):
        direct = [os.path.join(baton.BIN, "batonctl"), "map"]
        from_bash = ["bash", "-c", 'batonctl map "$@"; exit $?', "bash"]
        from_sh = ["sh", "-c", 'batonctl map "$@"; exit $?', "sh"]
        strange = self.recording("strange")
        self.temporary("calls")
        self.assertEqual(self.shell_of(*from_bash, BATON_SHELL="/bin/sh", SHELL="/bin/sh"), "sh")
        self.assertEqual(self.shell_of(*from_bash, SHELL="/bin/sh"), "bash")
        self.assertEqual(self.shell_of(*from_sh, SHELL="/bin/bash"), "sh" if self.is_called_sh() else "dash")
        self.assertEqual(self.shell_of(*direct, SHELL="/bin/bash"), "bash")
        self.assertEqual(self.shell_of(*direct, SHELL=""), "sh")
        self.assertEqual(self.shell_of(*direct, BATON_SHELL=strange), "sh")
        with open(self.work("calls")) as file:
            self.assertEqual(file.read(), "strange\n")

    @staticmethod
    def is_called_sh():
        """Whether a process of sh is known by that name; /bin/sh may be a link to dash."""
        out = subprocess.run(["sh", "-c", "cat /proc/$$/comm; :"], stdout=subprocess.PIPE).stdout
        return out == b"sh\n"

    def test_a_function_of_the_caller(self):
        script = "greet() { echo hello $1; }; export -f greet; batonctl map -k greet ::: a b; exit $?"
        result = subprocess.run(["bash", "-c", script], env=dict(self.daemon.env, SHELL="/bin/sh"), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                cwd=self.path("work"), timeout=baton.TIMEOUT)
        self.assertEqual(result.stdout, b"hello a\nhello b\n")

    def test_a_shell_that_is_not_there(self):
        result = self.ctl("map", "echo $x", ":::", "1", env=dict(self.daemon.env, BATON_SHELL="/no/such/shell"))
        self.assertEqual(result.returncode, 1)
        self.assertIn(b"/no/such/shell", result.stderr)


class Input(Map, baton.TestCase):
    CONFIG = 'slots = "2"\n'

    def test_no_daemon_for_nothing_and_for_a_dry_run(self):
        other = baton.Daemon()
        self.addCleanup(other.close)
        self.assertEqual(other.ctl("map", "echo", stdin=subprocess.DEVNULL).returncode, 0)
        self.assertEqual(other.ctl("map", "--dry-run", "echo", ":::", "1").stdout, b"echo 1\n")
        self.assertEqual(other.processes(), [])

    def test_each_line_is_run_when_it_comes(self):
        process = self.map("/bin/echo", stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        for word in (b"one\n", b"two\n"):
            process.stdin.write(word)
            process.stdin.flush()
            self.assertEqual(process.stdout.readline(), word, "while the input is still open")
        process.stdin.close()
        self.assertEqual(process.wait(timeout=baton.TIMEOUT), 0)

    def test_endless_input_does_not_grow(self):
        length = 2000  # of a line, so that a value kept would be seen
        endless = subprocess.Popen(["yes", "x" * length], stdout=subprocess.PIPE)
        self.addCleanup(endless.wait)
        self.addCleanup(endless.stdout.close)
        self.addCleanup(endless.kill)
        process = self.map("/bin/echo", stdin=endless.stdout, stdout=subprocess.PIPE)
        seen, sizes = 0, []
        for jobs in (500, 2500):
            while seen < jobs * (length + 1):
                chunk = os.read(process.stdout.fileno(), 65536)
                self.assertTrue(chunk)
                seen += len(chunk)
            sizes.append((self.resident(process.pid), self.resident(self.status("pid"))))
        process.send_signal(signal.SIGINT)
        process.stdout.close()
        process.wait(timeout=baton.TIMEOUT)
        for before, after in zip(*sizes):
            self.assert_memory_below(after, before + 2048, "KiB; the values alone are 4000")
        self.wait_nothing_runs()

    @staticmethod
    def resident(pid):
        with open(f"/proc/{pid}/status") as file:
            return int(re.search(r"VmRSS:\s+(\d+)", file.read()).group(1))

    def test_many_short_jobs(self):
        lines = b"".join(b"%d\n" % n for n in range(1000))
        self.assertEqual(self.run_ok("map", "-k", "/bin/echo", input=lines, timeout=5 * baton.TIMEOUT), lines)

    def test_a_nul_in_a_line_is_told(self):
        result = self.ctl("map", "-k", "printf '[%s]'", input=b"a\0b\nc\0\n")
        self.assertEqual((result.returncode, result.stdout), (0, b"[a\\0b][c\\0]"))
        self.assertEqual(result.stderr.count(b"\n"), 1, "once")
        self.assertIn(b"-0", result.stderr)

    def test_values_that_no_command_takes(self):
        for value in (b"x" * 200_000, b"x" * 3_000_000):
            result = self.ctl("map", "/bin/echo", input=b"ok\n" + value)
            self.assertEqual((result.returncode, result.stderr.count(b"\n")), (125, 1), result.stderr)
            self.assertIn(b"bytes", result.stderr)
            self.wait_nothing_runs()


if __name__ == "__main__":
    baton.main()
