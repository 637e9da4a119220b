"""How `batonctl map` ends: early, by signals, by its readers; and what it does while they are slow."""

import os
import re
import signal
import subprocess

import baton
import tasks
from test_map import Map

ALL = "abcdefgh"


class Signals(Map, baton.TestCase):
    CONFIG = 'slots = "2"\n'

    def two_sleep(self, *args, **options):
        """A map of which two jobs run, and will not end by themselves."""
        options.setdefault("stdout", subprocess.PIPE)
        process = self.map(*args, "echo {}; exec sleep 1000", ":::", *ALL, stderr=subprocess.PIPE, **options)
        baton.wait_until(lambda: len(self.sleepers()) == 2, "two jobs run")
        return process

    def test_interrupt_ends_the_jobs(self):
        process = self.two_sleep()
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=baton.TIMEOUT)
        self.assertEqual((process.returncode, out, err), (-signal.SIGINT, b"", b""))
        self.assertEqual(self.sleepers(), [], "they have ended before map has")
        self.wait_nothing_runs()

    def test_interrupt_before_anything_has_come(self):
        process = self.map("/bin/echo", stdin=subprocess.PIPE, stderr=subprocess.PIPE)
        baton.wait_until(lambda: self.is_asleep(process.pid), "it waits for input")
        process.send_signal(signal.SIGINT)
        self.assertEqual(process.wait(timeout=baton.TIMEOUT), -signal.SIGINT)

    @staticmethod
    def is_asleep(pid):
        stat = tasks.stat_of(pid)
        return stat is not None and stat[0] == "S"

    def test_interrupt_twice_does_not_wait(self):
        here = self.fresh("here")
        process = self.map("--grace", "1000", f"trap 'touch {here}/term{{#}}' TERM; touch {here}/up{{#}}; while :; do sleep 0.1; done",
                           ":::", "a", "b")
        baton.wait_until(lambda: len(self.present(here)) == 2, "two jobs run")
        process.send_signal(signal.SIGINT)
        baton.wait_until(lambda: len(self.present(here)) == 4, "they are asked to end")
        self.assertIsNone(process.poll())
        process.send_signal(signal.SIGINT)
        self.assertEqual(process.wait(timeout=baton.TIMEOUT), -signal.SIGINT)
        self.run_ok("kill", "-s", "KILL", "--all")
        self.wait_nothing_runs()

    def test_terminated_once_it_starts_no_more(self):
        for number in (signal.SIGTERM, signal.SIGHUP):
            up, release = self.fresh("up"), self.temporary("release")
            process = self.map(f"touch {up}/{{#}}; until [ -e release ]; do sleep 0.02; done; echo {{}}", ":::", *ALL,
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE)
            baton.wait_until(lambda: len(self.present(up)) == 2, "two jobs run")
            process.send_signal(number)
            self.assertIn(b"no more", process.stderr.readline())
            baton.wait_until(lambda: self.daemon.json("list", "--unfinished")[0]["counts"]["queued"] == 0, "none waits")
            open(release, "w").close()
            out, err = process.communicate(timeout=baton.TIMEOUT)
            self.assertEqual((sorted(out.split()), err), ([b"a", b"b"], b""))
            self.assertEqual(process.returncode, -number, "not all was done: `map ... && next` is not to go on")
            self.assertEqual(sorted(self.present(up)), ["1", "2"])
            self.wait_nothing_runs()

    def test_terminated_when_all_is_given_it_is_done(self):
        release = self.temporary("release")
        up = self.fresh("up")
        process = self.map(f"touch {up}/{{#}}; until [ -e release ]; do sleep 0.02; done; exit {{}}", ":::", "3", "0",
                           stderr=subprocess.PIPE)
        baton.wait_until(lambda: len(self.present(up)) == 2, "two jobs run")
        process.terminate()
        process.stderr.readline()
        open(release, "w").close()
        self.assertEqual(process.wait(timeout=baton.TIMEOUT), 1, "one of them failed, and that is all there is to say")

    def test_terminated_twice_it_ends_the_jobs(self):
        process = self.two_sleep()
        process.terminate()
        process.stderr.readline()
        process.terminate()
        process.communicate(timeout=baton.TIMEOUT)
        self.assertEqual(process.returncode, -signal.SIGTERM)
        self.assertEqual(self.sleepers(), [])

    def test_killed_it_takes_its_jobs_along(self):
        process = self.two_sleep()
        process.kill()
        process.wait()
        baton.wait_until(lambda: not self.sleepers(), "no job runs")
        self.wait_nothing_runs()

    def test_stopped_and_continued(self):
        release = self.temporary("release")
        process = self.map("exec 3< /dev/null; until [ -e release ]; do sleep 0.05; done; echo {}", ":::", *"abcd",
                           stdout=subprocess.PIPE, preexec_fn=os.setpgrp)
        baton.wait_until(lambda: len(self.task_processes()) >= 2, "jobs run")
        process.send_signal(signal.SIGTSTP)
        status = baton.wait_until(lambda: os.waitpid(process.pid, os.WUNTRACED | os.WNOHANG)[1], "map stops")
        self.assertTrue(os.WIFSTOPPED(status))
        baton.wait_until(lambda: all(self.is_stopped(pid) for pid in self.task_processes()), "its jobs stop with it")
        open(release, "w").close()
        process.send_signal(signal.SIGCONT)
        out = process.communicate(timeout=baton.TIMEOUT)[0]
        self.assertEqual((sorted(out.split()), process.returncode), ([b"a", b"b", b"c", b"d"], 0))

    @staticmethod
    def is_stopped(pid):
        stat = tasks.stat_of(pid)
        return stat is None or stat[0] == "T"

    def test_the_daemons_end_is_told(self):
        process = self.two_sleep()
        os.kill(self.status("pid"), signal.SIGKILL)
        err = process.communicate(timeout=baton.TIMEOUT)[1]
        self.assertEqual((process.returncode, err.count(b"\n")), (125, 1), err)
        self.wait_no_processes(baton.TIMEOUT)


class Pages(Map, baton.TestCase):
    CONFIG = 'slots = "8"\n'

    def test_terminated_once_with_long_lines(self):
        """What waits is more than one page of the daemon's listing."""
        up, release, input = self.fresh("up"), self.temporary("release"), self.temporary("input")
        with open(input, "w") as file:
            file.writelines("y" * 120_000 + "\n" for _ in range(40))
        with open(input) as file:
            process = self.map(f"touch {up}/{{#}}; until [ -e release ]; do sleep 0.02; done; : {{}}", stdin=file,
                               stderr=subprocess.PIPE)
        baton.wait_until(lambda: len(self.present(up)) == 8, "eight jobs run")
        baton.wait_until(lambda: self.daemon.json("list", "--unfinished")[0]["counts"]["queued"] >= 8, "as many wait")
        process.terminate()
        self.assertIn(b"no more", process.stderr.readline())
        open(release, "w").close()
        self.assertEqual(process.wait(timeout=baton.TIMEOUT), -signal.SIGTERM)
        self.assertEqual(len(self.present(up)), 8)
        self.wait_nothing_runs()


class Early(Map, baton.TestCase):
    CONFIG = 'slots = "2"\n'

    def test_halt_now_ends_the_running_jobs(self):
        up = self.fresh("up")
        result = self.ctl("map", "--halt", "now,fail=1", f"if [ {{}} = 1 ]; then touch {up}/1; exec sleep 1000; fi; "
                          f"until [ -e {up}/1 ]; do sleep 0.02; done; echo kept{{}}; exit 5", ":::", "1", "2", "3", "4")
        self.assertEqual((result.returncode, result.stdout), (5, b"kept2\n"))
        self.assertEqual(result.stderr.count(b"\n"), 1, result.stderr)
        self.assertEqual(self.sleepers(), [])
        self.wait_nothing_runs()

    def test_halt_soon_lets_the_running_jobs_end(self):
        up, log = self.fresh("up"), self.temporary("log")
        process = self.map("--joblog", log, "--halt", "soon,fail=1", f"touch {up}/{{}}; if [ {{}} != 1 ]; then until [ -e release ]; do "
                           f"sleep 0.02; done; exit 0; fi; until [ -e {up}/2 ]; do sleep 0.02; done; exit 5", ":::", *"123456",
                           stderr=subprocess.PIPE)
        release = self.temporary("release")
        baton.wait_until(lambda: os.path.exists(log) and self.lines(log) == 2, "the first has failed")
        baton.wait_until(lambda: self.daemon.json("list", "--unfinished")[0]["counts"]["queued"] == 0, "none waits")
        open(release, "w").close()
        self.assertEqual(process.wait(timeout=baton.TIMEOUT), 5)
        self.assertLessEqual(len(self.present(up)), 3, "those that ran, and one that may have started meanwhile")
        self.assertIn("2", self.present(up))

    @staticmethod
    def lines(path):
        with open(path) as file:
            return len(file.readlines())

    def test_percent_of_a_pipe(self):
        """The number of jobs is known before the first is judged."""
        result = self.ctl("map", "-j1", "-k", "--halt", "soon,fail=20%", "echo {}; exit {}", input=b"0\n4\n0\n5\n6\n0\n")
        self.assertEqual((result.stdout, result.returncode), (b"0\n4\n0\n5\n", 34))

    def test_timeout(self):
        result = self.ctl("map", "-k", "--timeout", "0.5", "if [ {} = 1 ]; then exec sleep 1000; fi; echo {}", ":::", "1", "2", timeout=60)
        self.assertEqual(result.returncode, 1)
        self.assertIn(b"time limit", result.stderr)
        self.assertEqual(self.sleepers(), [])

    def test_a_lost_worker_is_a_failure_or_tried_again(self):
        kill = 'if [ {} = 1 ] && [ ! -e once ]; then touch once; kill -9 $PPID; exec sleep 1000; fi; echo {}'
        self.temporary("once")
        result = self.ctl("map", "-k", kill, ":::", "1", "2", "3")
        self.assertEqual((result.returncode, result.stdout), (1, b"2\n3\n"))
        self.assertIn(b"worker", result.stderr)
        self.temporary("once")
        result = self.ctl("map", "-k", "--retries", "2", kill, ":::", "1", "2", "3")
        self.assertEqual((result.returncode, result.stdout), (0, b"1\n2\n3\n"))

    def test_bad_input(self):
        for args in (["-j", "x", "true"], ["-j", "", "true"], ["-j", "1.5", "true"], ["--halt", "maybe", "true"],
                     ["--halt", "now,fail=0", "true"], ["-a", "/no/such", "true"], ["-a", "/", "true"], ["--no-such"],
                     ["--joblog", "/no/such/dir/log", "true"], ["-C", "/no/such", "true"], ["--timeout", "soon", "true"],
                     ["--retries", "x", "true"], ["--cpus", "0", "true"], ["--cpus", "999", "true"], ["--io", "--cpus", "2", "true"],
                     ["true", "::::", "-", "-"], ["true", "::::", "/no/such"], ["--json", "true"], ["-a"]):
            with self.subTest(args=args):
                self.assert_refused(self.ctl("map", *args, input=b"1\n"))
        with open("/dev/full", "wb") as full:
            result = self.ctl("map", "/bin/echo", ":::", "1", stdout=full)
        self.assertEqual(result.returncode, 125)
        self.assertIn(b"No space left on device", result.stderr)
        result = self.ctl("map", "--joblog", "/dev/full", "/bin/echo", ":::", "1")
        self.assertEqual(result.returncode, 125)
        self.wait_nothing_runs()


class Readers(Map, baton.TestCase):
    CONFIG = 'slots = "2"\n'

    def test_closed_stdout_ends_it(self):
        result = subprocess.run(["bash", "-c", "yes | batonctl map echo | head -n 2; echo ${PIPESTATUS[1]}"],
                                env=self.daemon.env, stdout=subprocess.PIPE, timeout=baton.TIMEOUT)
        self.assertEqual(result.stdout, b"y\ny\n141\n")
        self.wait_nothing_runs()

    def test_a_slow_reader_holds_the_jobs_back(self):
        bytes, jobs = 1_000_000, 100
        ran = self.fresh("ran")
        process = self.map(f"touch {ran}/{{}}; head -c {bytes} /dev/zero", ":::", *map(str, range(jobs)), stdout=subprocess.PIPE)
        os.read(process.stdout.fileno(), 1)
        # Every job that was given stands still: parked, since nobody reads it, or waiting for a slot.
        def all_stand():
            counts = self.daemon.json("list", "--unfinished")[0]["counts"]
            return counts["running"] and counts["running"] == self.status("parked")
        baton.wait_until(all_stand, "the jobs wait for their reader")
        self.assertLess(len(self.present(ran)), jobs / 2)
        self.assert_memory_below(self.memory(process.pid), 64 * 1024)
        out = process.communicate(timeout=baton.TIMEOUT)[0]
        self.assertEqual((len(out), process.returncode), (jobs * bytes - 1, 0))

    @staticmethod
    def memory(pid, what="VmRSS"):
        """KiB; 0 when it has ended."""
        with open(f"/proc/{pid}/status") as file:
            found = re.search(what + r":\s+(\d+)", file.read())
        return int(found.group(1)) if found else 0

    def test_large_output_takes_no_memory(self):
        bytes = 200_000_000
        for options in ([], ["-k"], ["--tag"]):
            process = self.map(*options, f"head -c {bytes} /dev/zero; echo done {{}}", ":::", "x", stdout=subprocess.PIPE)
            seen, most = 0, 0
            while chunk := os.read(process.stdout.fileno(), 1 << 20):
                seen += len(chunk)
                most = max(most, self.memory(process.pid, "VmHWM"))
            self.assertEqual(process.wait(timeout=baton.TIMEOUT), 0)
            self.assertEqual(seen, bytes + len("done x\n") + (2 if options == ["--tag"] else 0))
            self.assert_memory_below(most, 32 * 1024, (options, "KiB"))
        self.assert_memory_below(self.memory(self.status("pid"), "VmHWM"), 32 * 1024, "of the daemon, KiB")

    def test_no_room_for_what_waits_is_told(self):
        result = self.ctl("map", "head -c 3000000 /dev/zero", ":::", "x", env=dict(self.daemon.env, TMPDIR="/no/such"))
        self.assertEqual((result.returncode, result.stderr.count(b"\n")), (125, 1), result.stderr)
        self.assertIn(b"TMPDIR", result.stderr)
        self.wait_nothing_runs()

    def terminal(self, *args, **env):
        terminal = baton.Terminal([os.path.join(baton.BIN, "batonctl"), "map", *args], dict(self.daemon.env, TERM="xterm", **env),
                                  self.path("work"))
        self.addCleanup(terminal.close)
        return terminal

    def test_bar(self):
        terminal = self.terminal("--bar", "echo out{}; exit {}", ":::", *"010010")
        terminal.expect("6/6")
        shown = terminal.read_all()
        self.assertEqual(terminal.wait(), 2)
        self.assertEqual(len(re.findall(rb"(?:\n|\x1b\[K|^)out[01]\r\n", shown)), 6, shown)
        self.assertIn(b"2 failed", shown)
        self.assertTrue(shown.endswith(b"\n"), shown[-100:])

    def test_bar_knows_the_end_of_a_pipe_early(self):
        go = self.temporary("go")
        script = "seq 200 | batonctl map --bar 'until [ -e go ]; do sleep 0.02; done; : {}'"
        terminal = baton.Terminal(["bash", "-c", script], dict(self.daemon.env, TERM="xterm"), self.path("work"))
        self.addCleanup(terminal.close)
        terminal.expect("0/200")
        open(go, "w").close()
        terminal.expect("200/200")
        terminal.read_all()
        self.assertEqual(terminal.wait(), 0)

    def test_no_bar_where_there_is_no_terminal(self):
        result = self.ctl("map", "--bar", "/bin/echo", ":::", "1")
        self.assertEqual((result.stdout, result.stderr), (b"1\n", b""))

    def test_values_typed_on_a_terminal(self):
        terminal = self.terminal("echo got", SHELL="/bin/sh")
        terminal.expect("Ctrl-D")
        terminal.type("one\n")
        terminal.expect("got one")
        terminal.type("\x04")
        terminal.read_all()
        self.assertEqual(terminal.wait(), 0)

    def test_interrupt_key(self):
        terminal = self.terminal("exec sleep 1000", ":::", "1", "2")
        baton.wait_until(lambda: len(self.sleepers()) == 2, "two jobs run")
        terminal.type("\x03")
        terminal.read_all()
        self.assertEqual(terminal.wait(), -signal.SIGINT)
        self.assertEqual(self.sleepers(), [])


if __name__ == "__main__":
    baton.main()
