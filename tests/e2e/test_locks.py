"""Named locks from the shell: flock's spelling, who holds and who waits, and what is left of the killed."""

import json
import os
import random
import signal
import subprocess
import sys

import baton
import tasks

FULL = bool(os.environ.get("BATON_FULL"))


class Locks:
    def setUp(self):
        self.started = []
        self.addCleanup(self.end_started)

    def end_started(self):
        for process in self.started:
            if process.poll() is None:
                process.kill()
            process.wait()
            for stream in (process.stdout, process.stderr, process.stdin):
                if stream:
                    stream.close()

    def start(self, *args, **options):
        process = self.daemon.popen(*args, **options)
        self.started.append(process)
        return process

    def hold(self, name, *options, verb=("lock", "run")):
        """Something that holds the lock until its stdin is closed."""
        process = self.start(*verb, *options, name, "--", "sh", "-c", "echo in; exec cat", stdin=subprocess.PIPE,
                             stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.assertEqual(process.stdout.readline(), b"in\n", process)
        return process

    def let_go(self, process):
        process.stdin.close()
        process.stdin = None
        self.assertEqual(process.wait(timeout=baton.TIMEOUT), 0)

    def row(self, name):
        return json.loads(self.run_ok("lock", "show", "--json", name))[0]

    def waiting(self, name, count):
        baton.wait_until(lambda: self.row(name)["waiter_count"] == count, f"{count} wait for {name}")

    def pid_of_child(self, process):
        with open(f"/proc/{process.pid}/task/{process.pid}/children", encoding="ascii") as file:
            # The daemon that it started may be one, too.
            return int(file.read().split()[-1])


class Run(Locks, baton.TestCase):
    def test_the_command_is_run_as_it_would_be(self):
        result = self.ctl("lock", "run", "plain", "--", "sh", "-c", "cat; echo err >&2; exit 7", input=b"through\n")
        self.assertEqual((result.returncode, result.stdout, result.stderr), (7, b"through\n", b"err\n"))
        self.assertEqual(self.ctl("lock", "run", "plain", "sh", "-c", "kill -TERM $$").returncode, 143)
        self.assertEqual(self.ctl("lock", "run", "plain", "/nowhere/at/all").returncode, 127)
        self.assertEqual(self.ctl("lock", "run", "plain", "/etc/passwd").returncode, 126)

    def test_flocks_exit_codes(self):
        holder = self.hold("busy")
        self.assertEqual(self.ctl("lock", "run", "-n", "busy", "true").returncode, 1)
        self.assertEqual(self.ctl("lock", "run", "-n", "-E", "9", "busy", "true").returncode, 9)
        self.assertEqual(self.ctl("lock", "run", "-w", "0.1", "busy", "true").returncode, 1)
        self.let_go(holder)
        self.assertEqual(self.ctl("lock", "run", "-n", "busy", "true").returncode, 0)

    def test_readers_share_and_writers_do_not(self):
        readers = [self.hold("shared", "-s"), self.hold("shared", "-s")]
        self.assertEqual(self.ctl("lock", "run", "-n", "shared", "true").returncode, 1)
        self.assertEqual(self.row("shared")["holder_count"], 2)
        for reader in readers:
            self.let_go(reader)
        writer = self.hold("shared", "-x")
        self.assertEqual(self.ctl("lock", "run", "-n", "-s", "shared", "true").returncode, 1)
        self.let_go(writer)

    def test_a_semaphore_has_so_many_permits(self):
        holders = [self.hold("gpu", "-j", "2", verb=("sem", "run")) for _ in range(2)]
        self.assertEqual(self.ctl("sem", "run", "-j", "2", "-n", "gpu", "true").returncode, 1)
        self.assertEqual(self.row("gpu")["free"], 0)
        result = self.ctl("sem", "run", "-j", "3", "gpu", "true")
        self.assertEqual(result.returncode, 125)
        self.assertIn(b"has 2 permits, not 3", result.stderr)
        self.let_go(holders[0])
        self.assertEqual(self.ctl("sem", "run", "-j", "2", "-n", "gpu", "true").returncode, 0)
        self.let_go(holders[1])

    def test_an_unused_lock_leaves_nothing(self):
        self.run_ok("lock", "run", "gone", "true")
        self.assertNotIn("gone", [row["name"] for row in self.daemon.json("lock", "list")])

    def test_who_holds_and_who_waits_is_shown(self):
        holder = self.hold("seen")
        waiters = [self.start("lock", "run", "seen", "true")]
        self.waiting("seen", 1)
        row = self.row("seen")
        self.assertEqual(row["holders"][0]["pid"], self.pid_of_child(holder))
        self.assertEqual(row["holders"][0]["program"], "sh")
        self.assertEqual(row["waiters"][0]["pid"], waiters[0].pid)
        self.assertIn(b"held", self.run_ok("lock", "list"))
        self.assertIn(f"pid {self.pid_of_child(holder)} (sh)".encode(), self.run_ok("lock", "show", "seen"))
        self.let_go(holder)
        self.assertEqual(waiters[0].wait(timeout=baton.TIMEOUT), 0)

    def test_who_waits_at_a_terminal_is_told_for_whom(self):
        holder = self.hold("told")
        terminal = baton.Terminal([os.path.join(baton.BIN, "batonctl"), "lock", "run", "told", "echo", "mine"],
                                  self.daemon.env)
        self.addCleanup(terminal.close)
        terminal.expect(rf"held by pid {self.pid_of_child(holder)} \(sh\) of \S+ for ")
        self.let_go(holder)
        terminal.expect("mine")
        self.assertEqual(terminal.wait(), 0)

    def test_bad_use_is_one_line(self):
        for args in (["lock", "run"], ["lock", "run", "x"], ["lock", "run", "x", "--"], ["lock", "nothing"],
                     ["lock", "run", "no name", "true"], ["lock", "run", "x" * 129, "true"], ["lock", "show", "absent"],
                     ["lock", "acquire", "x"], ["lock", "acquire", "--pid", "999999999", "x"], ["sem", "run", "x", "true"],
                     ["sem"], ["lock", "release", "absent"], ["lock", "create", "--kind", "spoon", "x"]):
            result = self.ctl(*args)
            self.assertEqual(result.returncode, 125, args)
            self.assertEqual(result.stderr.count(b"\n"), 1, result.stderr)
            self.assertEqual(result.stdout, b"", args)

    def test_a_near_name_is_offered(self):
        self.run_ok("lock", "create", "deployment")
        result = self.ctl("lock", "show", "deployemnt")
        self.assertIn(b"no lock deployemnt; there is deployment", result.stderr)
        self.run_ok("lock", "rm", "deployment")


class Killed(Locks, baton.TestCase):
    def test_a_killed_command_is_reported_to_the_next(self):
        holder = self.hold("victim")
        command = self.pid_of_child(holder)
        os.kill(holder.pid, signal.SIGSTOP)  # it cannot release
        os.kill(command, signal.SIGKILL)
        os.kill(holder.pid, signal.SIGKILL)
        result = self.ctl("lock", "run", "victim", "true")
        self.assertEqual(result.returncode, 0)
        self.assertRegex(result.stderr.decode(), rf"abandoned by pid {command} \(sh\) of \S+ ")
        self.assertEqual(self.ctl("lock", "run", "victim", "true").stderr, b"", "told once")

    def test_the_lock_stays_with_the_command_when_batonctl_is_killed(self):
        stubborn = self.start("lock", "run", "stays", "--", "sh", "-c", "trap '' TERM; echo in; exec sleep 1000",
                              stdout=subprocess.PIPE)
        self.assertEqual(stubborn.stdout.readline(), b"in\n")
        command = self.pid_of_child(stubborn)
        stubborn.kill()
        stubborn.wait()
        self.assertEqual(self.ctl("lock", "run", "-w", "0.3", "stays", "true").returncode, 1)
        self.assertEqual(self.row("stays")["holders"][0]["pid"], command)
        os.kill(command, signal.SIGKILL)
        self.assertEqual(self.ctl("lock", "run", "stays", "true").returncode, 0)

    def test_the_command_is_ended_with_batonctl(self):
        holder = self.hold("ends")
        command = self.pid_of_child(holder)
        holder.kill()
        baton.wait_until(lambda: not os.path.exists(f"/proc/{command}"), "the command ends")

    def test_what_the_command_left_is_waited_for(self):
        """A process that the command started keeps the witness open."""
        holder = self.start("lock", "run", "tree", "--", "sh", "-c", "(trap '' TERM; exec sleep 1000) & echo $!; exec cat",
                            stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        child = int(holder.stdout.readline())
        self.addCleanup(lambda: os.path.exists(f"/proc/{child}") and os.kill(child, signal.SIGKILL))
        holder.kill()
        holder.wait()
        self.assertEqual(self.ctl("lock", "run", "-w", "0.5", "tree", "true").returncode, 1)
        os.kill(child, signal.SIGKILL)
        self.assertEqual(self.ctl("lock", "run", "tree", "true").returncode, 0)

    def test_never_two_commands_inside(self):
        """batonctl is killed at any moment; a lock of the kernel's tells whether two were inside."""
        oracle, bad, done = (self.temporary(name) for name in ("oracle", "bad", "done"))
        inside = f"flock -n {oracle} sh -c 'echo x >> {done}; sleep 0.00$0' {{}} || echo two >> {bad}"
        noise = random.Random(5)
        kills = 0
        running = []
        while kills < (2000 if FULL else 150):
            while len(running) < 4:
                running.append(self.daemon.popen("lock", "run", "one", "--", "sh", "-c",
                                                 inside.replace("{}", str(noise.randrange(9))),
                                                 stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL))
            victim = running.pop(noise.randrange(len(running)))
            try:
                victim.wait(timeout=noise.random() * 0.02)
            except subprocess.TimeoutExpired:
                victim.kill()
                kills += 1
            victim.wait()
        for process in running:
            process.wait(timeout=baton.TIMEOUT)
        self.assertFalse(os.path.exists(bad))
        with open(done, encoding="ascii") as file:
            entered = len(file.read().split())
        self.assertGreater(entered, 10)
        self.assertEqual(self.ctl("lock", "run", "-w", "20", "one", "true").returncode, 0)
        print(f"\n{kills} wrappers killed, {entered} commands inside, never two", file=sys.stderr)


class Shell(Locks, baton.TestCase):
    def test_a_lock_is_given_to_the_shell_and_ends_with_it(self):
        script = "batonctl lock acquire --pid $$ mine; echo; exec cat"
        shell = subprocess.Popen(["sh", "-c", script], env=self.daemon.env, stdin=subprocess.PIPE,
                                 stdout=subprocess.PIPE)
        self.started.append(shell)
        self.assertRegex(shell.stdout.readline(), rb"^\d+\n$")
        shell.stdout.readline()
        self.assertEqual(self.row("mine")["holders"][0]["pid"], shell.pid)
        self.assertEqual(self.ctl("lock", "run", "-n", "mine", "true").returncode, 1)
        shell.stdin.close()
        shell.stdin = None
        shell.wait()
        self.assertEqual(self.ctl("lock", "run", "mine", "true").returncode, 0)

    def test_release_gives_it_back(self):
        me = str(os.getpid())
        self.run_ok("lock", "acquire", "--pid", me, "back")
        self.assertEqual(self.ctl("lock", "acquire", "-n", "--pid", me, "back").returncode, 1)
        self.run_ok("lock", "release", "back")
        result = self.ctl("lock", "release", "back")
        self.assertEqual(result.returncode, 125)
        self.run_ok("lock", "acquire", "--pid", me, "back")
        self.run_ok("lock", "release", "back")

    def test_tokens_grow(self):
        me = str(os.getpid())
        tokens = []
        for _ in range(3):
            tokens.append(int(self.run_ok("lock", "acquire", "--pid", me, "token")))
            self.run_ok("lock", "release", "token")
        self.assertEqual(tokens, sorted(set(tokens)))

    def test_an_event_lets_waiters_go(self):
        self.run_ok("lock", "create", "--kind", "event", "ready")
        self.assertEqual(self.ctl("lock", "wait", "-w", "0.05", "ready").returncode, 1)
        waiter = self.start("lock", "wait", "ready")
        self.waiting("ready", 1)
        self.run_ok("lock", "set", "ready")
        self.assertEqual(waiter.wait(timeout=baton.TIMEOUT), 0)
        self.run_ok("lock", "clear", "ready")
        self.assertEqual(self.ctl("lock", "wait", "-w", "0", "ready").returncode, 1)
        self.run_ok("lock", "rm", "ready")

    def test_a_barrier_opens_for_all(self):
        self.run_ok("lock", "create", "--kind", "barrier", "--permits", "3", "meet")
        parties = [self.start("lock", "wait", "meet") for _ in range(2)]
        self.waiting("meet", 2)
        self.run_ok("lock", "wait", "meet")
        for party in parties:
            self.assertEqual(party.wait(timeout=baton.TIMEOUT), 0)
        self.run_ok("lock", "rm", "meet")

    def test_break_takes_it(self):
        holder = self.hold("broken")
        self.run_ok("lock", "break", "broken")
        result = self.ctl("lock", "run", "-n", "broken", "true")
        self.assertEqual(result.returncode, 0)
        self.assertIn(b"taken by an operator", result.stderr)
        holder.stdin.close()
        holder.stdin = None
        self.assertEqual(holder.wait(timeout=baton.TIMEOUT), 0)
        self.assertIn(b"taken away by an operator", holder.stderr.read())

    def test_an_abandoned_lock_can_be_refused_until_cleared(self):
        self.run_ok("lock", "create", "--refuse-abandoned", "strict")
        holder = self.hold("strict")
        command = self.pid_of_child(holder)
        holder.kill()
        baton.wait_until(lambda: not os.path.exists(f"/proc/{command}"), "the command ends")
        baton.wait_until(lambda: self.row("strict")["abandoned"], "it is abandoned")
        result = self.ctl("lock", "run", "strict", "true")
        self.assertEqual(result.returncode, 125)
        self.assertIn(b"lock clear", result.stderr)
        self.run_ok("lock", "clear", "strict")
        self.run_ok("lock", "run", "strict", "true")
        self.run_ok("lock", "rm", "strict")

    def test_removing_one_that_is_held_needs_force(self):
        holder = self.hold("held")
        self.assertEqual(self.ctl("lock", "rm", "held").returncode, 125)
        waiter = self.start("lock", "run", "held", "true", stderr=subprocess.PIPE)
        self.waiting("held", 1)
        self.run_ok("lock", "rm", "--force", "held")
        self.assertEqual(waiter.wait(timeout=baton.TIMEOUT), 125)
        self.assertIn(b"was removed", waiter.stderr.read())
        self.let_go(holder)


class Quota(Locks, baton.TestCase):
    CONFIG = "locks = 3\n"

    def test_so_many_locks(self):
        for i in range(3):
            self.run_ok("lock", "create", f"lock{i}")
        result = self.ctl("lock", "create", "one-more")
        self.assertEqual(result.returncode, 125)
        self.assertIn(b"config locks", result.stderr)
        self.run_ok("lock", "rm", "lock0")
        self.run_ok("lock", "create", "one-more")


class DaemonKilled(Locks, baton.TestCase):
    def daemon_pid(self):
        return self.daemon.json("status")["pid"]

    def test_no_lock_is_granted_twice_over_a_restart(self):
        holder = self.hold("survivor")
        waiter = self.start("lock", "run", "survivor", "true", stderr=subprocess.PIPE)
        self.waiting("survivor", 1)
        daemon = self.daemon_pid()
        os.kill(daemon, signal.SIGKILL)
        self.assertEqual(waiter.wait(timeout=baton.TIMEOUT), 125)
        baton.wait_until(lambda: not tasks.is_alive(daemon), "the daemon is dead")
        # A new daemon: the command is still inside.
        self.assertEqual(self.ctl("lock", "run", "-w", "0.5", "survivor", "true").returncode, 1)
        self.run_ok("lock", "create", "other")
        self.assertIn(str(holder.pid), self.row("other")["blocked_by"])
        self.let_go(holder)
        self.assertEqual(self.ctl("lock", "run", "survivor", "true").returncode, 0)

    def test_an_operator_may_go_on(self):
        holder = self.hold("stuck")
        daemon = self.daemon_pid()
        os.kill(daemon, signal.SIGKILL)
        baton.wait_until(lambda: not tasks.is_alive(daemon), "the daemon is dead")
        self.run_ok("lock", "create", "made-now")
        self.assertEqual(self.ctl("lock", "run", "-n", "stuck", "true").returncode, 1)
        self.run_ok("lock", "break", "--generation")
        self.assertEqual(self.ctl("lock", "run", "-n", "stuck", "true").returncode, 0)
        self.let_go(holder)


if __name__ == "__main__":
    baton.main()
