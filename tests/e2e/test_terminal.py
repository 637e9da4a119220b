"""`batonctl run` on a terminal: what a person types and sees, alone and under a shell with job control."""

import os
import re
import signal
import time
import unittest

import baton
import tasks


class OnTerminal(baton.TestCase):
    """batonctl is what the terminal was started with."""

    def start(self, *command, **options):
        argv = [os.path.join(baton.BIN, "batonctl"), "run", *command]
        terminal = baton.Terminal(argv, dict(self.daemon.env, TERM="xterm"), self.path("work"), **options)
        self.addCleanup(terminal.close)
        return terminal

    def test_command_has_a_terminal(self):
        terminal = self.start("sh", "-c", "tty; test -t 0 && test -t 1 && test -t 2 && echo yes >/dev/tty")
        terminal.expect(r"/dev/pts/\d+\r\nyes\r\n")
        self.assertEqual(terminal.wait(), 0)

    def test_output_comes_as_from_the_command_itself(self):
        terminal = self.start("printf", r"a\nb\tc\r\n")
        self.assertEqual(terminal.read_all(), b"a\r\nb\tc\r\r\n")

    def test_large_output_is_complete(self):
        terminal = self.start("seq", "200000")
        want = b"".join(b"%d\r\n" % n for n in range(1, 200001))
        self.assertEqual(terminal.read_all(), want)
        self.assertEqual(terminal.wait(), 0)

    def test_size_and_resize(self):
        terminal = self.start("bash", "-c", "trap 'stty size' WINCH; stty size; echo ready; "
                              "while :; do sleep 0.02; done", size=(31, 97))
        terminal.expect("31 97\r\nready")
        terminal.resize(50, 132)
        terminal.expect("50 132\r\n")

    def test_settings_reach_the_command(self):
        terminal = self.start("stty", "-a")
        terminal.expect("icanon.*echo ")
        self.assertEqual(terminal.wait(), 0)

    def test_typing_is_echoed_and_read(self):
        terminal = self.start("sh", "-c", 'echo go; read line; echo "<$line>"')
        terminal.expect("go\r\n")
        terminal.type("wrogn\x7f\x7fng\n")
        terminal.expect("<wrong>")
        self.assertEqual(terminal.wait(), 0)

    def test_end_of_file(self):
        terminal = self.start("sh", "-c", "echo go; cat; echo end")
        terminal.expect("go\r\n")
        terminal.type("some\n\x04")
        terminal.expect("some\r\nsome\r\nend\r\n")
        self.assertEqual(terminal.wait(), 0)

    def test_password_is_not_echoed(self):
        terminal = self.start("/usr/bin/python3", "-c", "import getpass; print('got', getpass.getpass()[::-1])")
        terminal.expect("Password: ")
        terminal.type("secret\n")
        terminal.expect("got terces")
        self.assertNotIn(b"secret", terminal.seen)

    def test_interrupt(self):
        terminal = self.start("sh", "-c", "echo ready; exec sleep 1000")
        terminal.expect("ready")
        terminal.type("\x03")
        self.assertEqual(terminal.wait(), -signal.SIGINT)

    def test_interrupt_that_is_caught(self):
        terminal = self.start("bash", "-c", "trap 'echo caught; exit 3' INT; echo ready; while :; do sleep 0.01; done")
        terminal.expect("ready")
        terminal.type("\x03")
        terminal.expect("caught")
        self.assertEqual(terminal.wait(), 3)

    def test_quit(self):
        terminal = self.start("sh", "-c", "ulimit -c 0; echo ready; exec sleep 1000")
        terminal.expect("ready")
        terminal.type("\x1c")
        terminal.expect("ended by signal QUIT: Quit")
        self.assertEqual(terminal.wait(), 128 + signal.SIGQUIT)

    def test_stop_is_refused_where_nobody_could_continue(self):
        terminal = self.start("sh", "-c", "echo ready; read line; echo $line")
        terminal.expect("ready")
        terminal.type("\x1a")
        terminal.type("on\n")
        terminal.expect("on\r\non\r\n")
        self.assertEqual(terminal.wait(), 0)

    def test_terminal_is_restored(self):
        for number in (0, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGSEGV, signal.SIGALRM, signal.SIGXCPU):
            with self.subTest(number):
                self.check_restored(number)

    def check_restored(self, number):
        script = "stty -g; batonctl run sh -c 'echo ready; read x'; stty -g; stty -a"
        terminal = baton.Terminal(["sh", "-c", script], self.daemon.env, self.path("work"))
        self.addCleanup(terminal.close)
        before = terminal.expect(r"([0-9a-f:]{20,})\r\n").group(1)
        terminal.expect("ready")
        self.assertTrue(terminal.is_raw())
        if number:
            os.kill(self.child(terminal.pid), number)
        else:
            terminal.type("\n")
        terminal.expect(re.escape(before.decode()) + "\r\n")
        terminal.expect("icanon")

    @staticmethod
    def child(parent):
        for name in os.listdir("/proc"):
            if name.isdigit():
                try:
                    with open(f"/proc/{name}/stat") as file:
                        if int(file.read().rsplit(")", 1)[1].split()[1]) == parent:
                            return int(name)
                except OSError:
                    pass
        raise AssertionError("no child")

    def test_hangup_reaches_the_command(self):
        mark = self.temporary("hungup")
        terminal = self.start("bash", "-c", "trap 'echo hup > hungup; exit' HUP; echo ready; while :; do sleep 0.01; done")
        terminal.expect("ready")
        os.close(terminal.fd)
        terminal.fd = -1
        baton.wait_until(lambda: os.path.exists(mark), "the command has got its SIGHUP")

    def test_waiting_is_explained(self):
        holders = [self.daemon.popen("run", "sleep", "1000") for _ in range(os.cpu_count() * 2)]
        self.addCleanup(lambda: [(holder.terminate(), holder.wait()) for holder in holders])
        baton.wait_until(lambda: self.ctl("list").stdout.count(b"queued") >= 2, "all slots are taken")
        terminal = self.start("echo", "started")
        terminal.expect("(?i)wait")
        terminal.type("\x03")
        self.assertEqual(terminal.wait(), -signal.SIGINT)


class Programs(tasks.Tasks, baton.TestCase):
    """Real ones, as people use them."""

    def start(self, *command, env=None):
        argv = [os.path.join(baton.BIN, "batonctl"), "run", *command]
        terminal = baton.Terminal(argv, dict(self.daemon.env, TERM="xterm", **(env or {})), self.path("work"))
        self.addCleanup(terminal.close)
        return terminal

    def need(self, program):
        import shutil
        if not shutil.which(program):
            self.skipTest(program + " is not installed")

    def test_vi(self):
        self.need("vi")
        path = self.temporary("poem")
        terminal = self.start("vi", "-u", "NONE", path)
        terminal.expect("poem")
        terminal.type("ifirst line\nsecond\x1b")
        terminal.type(":wq\n")
        self.assertEqual(terminal.wait(), 0)
        with open(path) as file:
            self.assertEqual(file.read(), "first line\nsecond\n")
        self.assertFalse(terminal.is_raw())

    def test_less(self):
        self.need("less")
        path = self.temporary("long")
        with open(path, "w") as file:
            file.writelines(f"line {n}\n" for n in range(1000))
        terminal = self.start("less", path, env={"LESS": ""})
        terminal.expect("line 20")
        terminal.type("G")
        terminal.expect("line 999")
        terminal.type("q")
        self.assertEqual(terminal.wait(), 0)

    def test_bash(self):
        terminal = self.start("bash", "--norc", "--noprofile", "-i", env={"PS1": "inner>", "HISTFILE": ""})
        terminal.expect("inner>")
        terminal.type("echo $((6*7))\n")
        terminal.expect("\r42\r\n")
        terminal.expect("inner>")
        terminal.type("sh -c 'echo re\"\"ady; exec sleep 1000'\n")
        terminal.expect("ready")
        terminal.type("\x1a")
        terminal.expect("Stopped")
        terminal.expect("inner>")
        # As bash does it: once it warns, and what is stopped ends with the task.
        terminal.type("exit 5\n")
        terminal.expect("There are stopped jobs")
        terminal.expect("inner>")
        terminal.type("exit 5\n")
        self.assertEqual(terminal.wait(), 5)
        self.assertEqual(self.task_processes(), set())

    def test_nested(self):
        terminal = self.start("batonctl", "run", "sh", "-c", "tty; read x; echo got $x; stty size")
        terminal.expect("/dev/pts")
        terminal.type("this\n")
        terminal.expect("got this\r\n24 80")
        self.assertEqual(terminal.wait(), 0)


class JobControl(baton.TestCase):
    """Under a real interactive bash."""

    def setUp(self):
        self.run_ok("run", "true")
        self.shell = baton.Shell(self.daemon.env, self.path("work"))
        self.addCleanup(self.shell.close)
        self.output_settings = self.shell.settings()[1]

    def stop(self):
        self.shell.type("\x1a")
        self.shell.expect("Stopped")
        self.shell.prompt()

    def tasks(self):
        return self.daemon.json("list", "--unfinished")

    def test_stop_and_foreground(self):
        self.shell.line("batonctl run sh -c 'echo ready; read x; echo got $x'")
        self.shell.expect("ready")
        self.stop()
        self.assertEqual(self.shell.settings()[1], self.output_settings)
        baton.wait_until(lambda: self.tasks()[0]["stopped"], "the task is stopped")
        self.shell.line("fg")
        self.shell.type("some\n")
        self.shell.expect("got some")
        self.shell.prompt()
        self.assertIn(b"0", self.shell.run("echo $?"))

    def test_a_stopped_task_gives_its_slot_back(self):
        slots = self.daemon.json("status")["slots"]
        for _ in range(slots):
            self.shell.line("batonctl run sh -c 'echo ready; read x'")
            self.shell.expect("ready")
            self.stop()
        self.assertIn(b"free", self.shell.run("batonctl run echo free"))
        self.shell.run("kill %1 %2; wait")

    def test_stop_and_background(self):
        self.shell.line("batonctl run bash -c 'echo ready; while [ ! -e go ]; do sleep 0.02; done; echo went on'")
        self.shell.expect("ready")
        self.stop()
        self.shell.run("bg")
        baton.wait_until(lambda: not self.tasks()[0]["stopped"], "the task goes on")
        self.shell.line("touch go")  # its output may come before the prompt
        self.shell.expect("went on\r\n")
        self.shell.run("wait; rm go")

    def test_background_command_that_reads_stops_until_foreground(self):
        self.shell.line("batonctl run sh -c 'read x; echo got $x' &")
        self.shell.expect("Stopped")
        self.assertIn(b"tty input", self.shell.run("jobs -l"))
        self.shell.line("fg")
        self.shell.expect("batonctl run.*\r\n")
        self.shell.type("it\n")
        self.shell.expect("got it")
        self.shell.prompt()

    def test_background_output_comes_and_its_newlines_are_right(self):
        self.shell.line("batonctl run printf 'one\\ntwo\\n' &")
        self.shell.expect("one\r\ntwo\r\n")

    def test_background_job_brought_to_the_foreground_while_it_runs(self):
        self.shell.line("batonctl run sh -c 'while [ ! -e go ]; do sleep 0.02; done; read x; echo got $x' &")
        self.shell.prompt()
        baton.wait_until(lambda: [t for t in self.tasks() if t["state"] == "running"], "it runs")
        self.shell.line("fg")
        self.shell.expect("batonctl run.*\r\n")
        open(os.path.join(self.path("work"), "go"), "w").close()
        self.addCleanup(os.unlink, os.path.join(self.path("work"), "go"))
        baton.wait_until(self.shell.is_raw, "the task has got the terminal")
        self.shell.type("late\n")
        self.shell.expect("got late")
        self.shell.prompt()

    def test_interrupt_under_a_shell(self):
        self.shell.line("batonctl run sleep 1000; echo after")
        baton.wait_until(lambda: [t for t in self.tasks() if t["state"] == "running"], "it runs")
        baton.wait_until(self.shell.is_raw, "it is in front")
        self.shell.type("\x03")
        self.shell.prompt()
        self.assertIn(b"130", self.shell.run("echo $?"))

    def test_pipeline_into_a_pager(self):
        self.shell.line("export LESS=; seq 1000 | batonctl run cat | less")
        self.shell.expect("20")
        self.shell.type("G")
        self.shell.expect("1000")
        self.shell.type("q")
        self.shell.prompt()
        self.assertEqual(self.shell.settings()[1], self.output_settings)

    def test_pager_behind_a_pipe_gets_the_terminal(self):
        self.shell.line("export LESS=; seq 1000 | batonctl run less")
        self.shell.expect("20")
        baton.wait_until(self.shell.is_raw, "it is in front")
        self.shell.type("G")
        self.shell.expect("1000")
        self.shell.type("q")
        self.shell.prompt()

    def test_command_in_a_pipeline_that_asks(self):
        self.shell.line("batonctl run sh -c 'read x; echo got $x' | cat")
        baton.wait_until(self.shell.is_raw, "it has got the terminal")
        self.shell.type("this\n")
        self.shell.expect("got this\r\n")
        self.shell.prompt()

    def test_command_substitution_asks(self):
        # There a shell ignores the signals by which a reader in the background is stopped.
        self.shell.line('got=$(batonctl run sh -c "read x; echo got \\$x"); echo "<$got>"')
        baton.wait_until(self.shell.is_raw, "it has got the terminal")
        self.shell.type("this\n")
        self.shell.expect("<got this>\r\n")
        self.shell.prompt()

    def test_command_substitution_interrupted(self):
        self.shell.line("got=$(batonctl run sleep 1000); echo after")
        baton.wait_until(self.shell.is_raw, "it has got the terminal")
        baton.wait_until(lambda: [t for t in self.tasks() if t["state"] == "running"], "it runs")
        self.shell.type("\x03")
        self.shell.prompt()
        self.assertIn(b"130", self.shell.run("echo $?"))

    def test_interrupt_ends_a_script_that_is_not_interactive(self):
        self.shell.line("bash -c 'for i in 1 2 3; do batonctl run sh -c \"echo ready; exec sleep 1000\"; done'")
        self.shell.expect("ready")
        baton.wait_until(self.shell.is_raw, "it is in front")
        self.shell.type("\x03")
        self.shell.prompt()
        self.assertIn(b"130", self.shell.run("echo $?"))
        baton.wait_until(lambda: not self.tasks(), "nothing runs")

    def test_stop_in_a_pipeline(self):
        self.shell.line("batonctl run sh -c 'echo ready; exec sleep 1000' | cat")
        self.shell.expect("ready")
        self.stop()
        baton.wait_until(lambda: self.tasks()[0]["stopped"], "the task is stopped")
        self.shell.line("fg")
        baton.wait_until(lambda: not self.tasks()[0]["stopped"], "the task goes on")
        self.shell.type("\x03")
        self.shell.prompt()

    def test_vi_stopped_and_continued(self):
        self.shell.line("batonctl run vi -u NONE poem")
        self.shell.expect("poem")
        self.shell.type("iwords\x1b")
        self.stop()
        self.assertIn(b"here", self.shell.run("echo he''re"))
        self.shell.line("fg")
        self.shell.expect("words")
        self.shell.type(":wq\n")
        self.shell.prompt()
        self.assertIn(b"words", self.shell.run("cat poem; rm poem"))

    def test_many_stops(self):
        self.shell.line("batonctl run sh -c 'echo ready; while read x; do echo got $x; done'")
        self.shell.expect("ready")
        for turn in range(20):
            self.stop()
            self.shell.line("fg")
            self.shell.type(f"n{turn}\n")
            self.shell.expect(f"got n{turn}\r\n")
        self.shell.type("\x04")
        self.shell.prompt()

    def test_stopped_while_it_waits_for_a_slot(self):
        holders = [self.daemon.popen("run", "sleep", "1000") for _ in range(self.daemon.json("status")["slots"])]
        self.addCleanup(lambda: [(holder.kill(), holder.wait()) for holder in holders])
        baton.wait_until(lambda: len([t for t in self.tasks() if t["state"] == "running"]) == len(holders), "all run")
        self.shell.line("batonctl run echo its turn")
        baton.wait_until(lambda: self.ctl("list").stdout.count(b"queued") == 1, "it waits")
        self.stop()
        holders[0].terminate()
        holders[0].wait()
        self.shell.line("fg")
        self.shell.expect("its turn\r\n")
        self.shell.prompt()


if __name__ == "__main__":
    baton.main()
