"""The verbs that look at tasks, wait for them and change them, on a daemon of their own."""

import json
import os
import re
import signal
import subprocess

import baton


class NoDaemon(baton.TestCase):
    """Only what makes something starts a daemon."""

    def test_a_listing_is_empty_and_says_why(self):
        for args in ([], ["list"], ["list", "-q", "-a"]):
            result = self.ctl(*args)
            self.assertEqual((result.returncode, result.stdout), (0, b""), args)
            self.assertIn(b"no daemon is running", result.stderr)
        result = self.ctl("--json", "list")
        self.assertEqual((result.returncode, result.stdout), (0, b"[]\n"))
        self.assertEqual(self.daemon.processes(), [])

    def test_what_needs_one_says_so(self):
        for args in (["status"], ["logs", "1"], ["wait"], ["show", "1"], ["cancel", "--all"], ["ping"], ["events"]):
            result = self.ctl(*args)
            self.assertEqual((result.returncode, result.stdout), (125, b""), args)
            self.assertIn(b"no daemon is running", result.stderr)
        self.assertEqual(self.daemon.processes(), [])

    def test_stop_finds_its_work_done(self):
        self.assertEqual(self.ctl("stop").returncode, 0)

    def test_version_tells_its_own(self):
        self.assertRegex(self.run_ok("version"), rb"^batonctl \d+\.\d+\.\d+\nbatond: none runs\n$")
        self.assertEqual(self.run_ok("version"), self.run_ok("--version"))
        self.assertIsNone(json.loads(self.run_ok("version", "--json"))["daemon"])


class Usage(baton.TestCase):
    """What is wrong is said in one line with exit code 125, and no daemon is started for it."""

    def check(self, *args, says):
        result = self.ctl(*args)
        self.assertEqual((result.returncode, result.stdout), (125, b""), result)
        self.assertRegex(result.stderr, rb"^batonctl: [^\n]*" + says.encode() + rb"[^\n]*\n$")

    def test_wrong_words(self):
        self.check("lst", says=r"unknown verb lst \(did you mean list\?\)")
        self.check("--jsn", says="unknown option --jsn")
        self.check("submit", says="which command")
        self.check("submit", "--tmeout", "5", "ls", says=r"did you mean --timeout\?")
        self.check("submit", "--timeout", "soon", "ls", says="--timeout")
        self.check("submit", "--cpus", "0", "ls", says="--cpus 0")
        self.check("submit", "-p", "1001", "ls", says="--priority 1001")
        self.check("submit", "-C", "/nonexistent", "ls", says="-C /nonexistent: No such file or directory")
        self.check("submit", "-E", "BATON_NOT_SET_HERE", "ls", says="BATON_NOT_SET_HERE")
        self.check("submit", "--each", "/nonexistent", says="/nonexistent")
        self.check("submit", "--io", "--cpus", "2", "ls", says="--cpus")
        self.check("kill", "-s", "FOO", "1", says="`FOO` is no signal")
        self.check("list", "word", says="`word`")
        self.check("worker", "dance", says="`dance`")
        self.check("--system", "ping", says="system")
        self.assertEqual(self.daemon.processes(), [])

    def test_escape_sequences_never_come_back_raw(self):
        for args in (["\x1b[2J"], ["--\x1b[2J"], ["list", "\x1b[2J"], ["submit", "-C", "\x1b[2J\n", "ls"]):
            result = self.ctl(*args)
            self.assertEqual(result.returncode, 125)
            self.assertNotIn(b"\x1b", result.stderr)
            self.assertIn(b"\\x1b[2J", result.stderr)

    def test_options_of_other_tools_get_a_hint(self):
        self.check("map", "-I{}", "echo", says="there is no -I: {} stands for the value")
        self.check("map", "-n1", "echo", says="there is no -n: each value")
        self.check("map", "--eta", "echo", says="--bar")

    def test_json_everywhere(self):
        for verb in ("run", "map"):
            self.check("--json", verb, "true", says=f"{verb}: --json: stdout is what the commands print")
        for verb in ("cancel", "kill", "hold", "release"):
            self.check("--json", verb, "1", says="no daemon is running")
        self.check("--json", "logs", "1", says="no daemon is running")
        for verb in ("drain", "resume"):
            self.check(verb, "--json", says="no daemon is running")
        self.assertEqual(self.ctl("--json", "stop").returncode, 0)

    def test_help_is_there_for_every_verb(self):
        text = self.run_ok("--help").decode()
        verbs = re.findall(r"^  ([a-z]+) +\S", text.partition("\nOptions")[0], re.MULTILINE)
        self.assertGreaterEqual(len(verbs), 23)
        self.assertEqual(self.run_ok("help").decode(), text)
        for verb in verbs:
            page = self.run_ok(verb, "--help").decode()
            self.assertIn(f"Usage: batonctl {verb}", page)
            self.assertIn("Examples:\n  ", page, verb)
            self.assertLessEqual(max(map(len, page.splitlines())), 110, verb)
            self.assertEqual(self.run_ok("help", verb).decode(), page)


class Look(baton.TestCase):
    CONFIG = 'slots = "2"\n'

    def test_list_shows_state_exit_code_and_command(self):
        first = self.run_ok("submit", "sh", "-c", "exit 3").decode().strip()
        second = self.run_ok("submit", "--hold", "--name", "evil\x1b[2J\n", "echo", "a b").decode().strip()
        self.ctl("wait", first)
        text = self.run_ok("list").decode()
        self.assertRegex(text, rf"(?m)^ *ID +STATE +EXIT +AGE +TIME +COMMAND$")
        self.assertRegex(text, rf"(?m)^ *{first} +failed +3 .* sh -c 'exit 3'$")
        self.assertRegex(text, rf"(?m)^ *{second} +held +- .* - +\[evil\\x1b\[2J\\n\] echo 'a b'$")
        self.assertRegex(self.run_ok().decode(), rf"(?m)^ *{first} +failed ")
        self.assertIn(f"{second}\n", self.run_ok("list", "-q", "--unfinished").decode())
        self.assertNotIn(f"{first}\n", self.run_ok("list", "-q", "-u").decode())
        self.run_ok("cancel", second)

    def test_list_fits_the_terminal(self):
        id = self.run_ok("submit", "--hold", "echo", "x" * 500).decode().strip()
        terminal = baton.Terminal([os.path.join(baton.BIN, "batonctl")], self.daemon.env, size=(24, 60))
        text = terminal.read_all().decode()
        self.assertEqual(terminal.wait(), 0)
        terminal.close()
        self.assertLessEqual(max(map(len, text.split("\r\n"))), 60)
        self.assertIn("xxx...", text)
        self.run_ok("cancel", id)

    def test_list_pages_through_everything(self):
        before = int(self.run_ok("submit", "true").decode())
        lines = "".join(f"{n}\n" for n in range(2500))
        id = self.run_ok("submit", "--each", "-", "--hold", "true", input=lines.encode()).decode().strip()
        ids = self.run_ok("list", "-q", "--batch", id).decode().split()
        self.assertEqual(ids, [f"{id}.{n}" for n in range(1, 2501)])
        rows = json.loads(self.run_ok("list", "--json", "--batch", "last"))
        self.assertEqual([row["index"] for row in rows], list(range(1, 2501)))
        self.assertEqual(self.run_ok("list", "-q", "--batch", id, "-l", "3").decode().split(), ids[-3:])
        # The batch is one line.
        self.assertEqual(self.run_ok("list", "-q", "-a").decode().split()[-2:], [str(before), id])
        self.assertRegex(self.run_ok("list").decode(), rf"(?m)^ *{id} +held .*\(0 of 2500 done, 2500 held\)")
        self.run_ok("cancel", id)
        self.assertEqual(self.ctl("wait", id).returncode, 143)

    def test_list_has_all_unfinished_and_the_last_ended(self):
        early = self.run_ok("submit", "--hold", "true").decode().strip()
        done = [self.run_ok("submit", "true").decode().strip() for _ in range(25)]
        self.ctl("wait", *done)
        late = self.run_ok("submit", "--hold", "true").decode().strip()
        ids = self.run_ok("list", "-q").decode().split()
        self.assertEqual(ids[-22:], [early, *done[-20:], late])
        self.assertEqual(self.run_ok("list", "-q", "-l", "3").decode().split(), [*done[-2:], late])
        self.assertEqual(self.run_ok("list", "-q", "-a").decode().split()[-27:], [early, *done, late])
        # The 26 newest are all but one not among the unfinished: it goes back as far as it must.
        self.assertEqual(self.run_ok("list", "-q", "-u", "-l", "2").decode().split(), [early, late])
        self.run_ok("cancel", early, late)

    def test_show_has_every_field(self):
        id = self.run_ok("submit", "-E", "BATON_X=\x1b", "--name", "n", "-p", "7", "sh", "-c", "echo hello; kill -9 $$")
        id = id.decode().strip()
        self.ctl("wait", id)
        text = self.run_ok("show", "--env", id).decode()
        for line in (f"task: +{id}", "state: +failed", r"exit code: +137 \(signal KILL\)", "name: +n", "priority: +7",
                     "output: +6 B", "command: +sh -c 'echo hello; kill -9 \\$\\$'", "wall time: +\\d",
                     r"environment: +BATON_X=\\x1b", "directory: +" + re.escape(self.path("work"))):
            self.assertRegex(text, rf"(?m)^{line}")
        self.assertNotIn("\x1b", text)
        row, = json.loads(self.run_ok("--json", "show", "last"))
        self.assertEqual((row["id"], row["signal"], row["exit_code"], row["output_bytes"]), (id, "KILL", 137, 6))
        self.assertIn("BATON_X=\x1b", row["environment"])
        self.assertEqual(row["cwd"], self.path("work"))

    def test_explain_says_why_a_task_waits(self):
        busy = [self.run_ok("submit", "sleep", "1000").decode().strip() for _ in range(2)]
        waiting = self.run_ok("submit", "true").decode().strip()
        held = self.run_ok("submit", "--hold", "true").decode().strip()
        self.assertIn("2 of 2", self.run_ok("explain", waiting).decode())
        self.assertRegex(self.run_ok("explain", busy[0], held).decode(), rf"^{busy[0]}: it runs\n{held}: it is held;")
        row, = json.loads(self.run_ok("explain", "--json", waiting))
        self.assertEqual((row["id"], row["ahead"]), (waiting, 0))
        self.run_ok("cancel", *busy, held)
        self.ctl("wait")

    def test_status_workers_and_config(self):
        self.run_ok("run", "true")
        self.assertRegex(self.run_ok("status").decode(), r"(?m)^slots: +0 of 2 in use \(")
        status = json.loads(self.run_ok("status", "--json"))
        self.assertEqual((status["slots"], status["mode"], status["draining"]), (2, "user", False))
        self.assertRegex(self.run_ok("worker").decode(), r"(?m)^ *\d+ +\d+ +\d+ +cpu +\d +idle ")
        worker = json.loads(self.run_ok("worker", "list", "--json"))[0]
        self.run_ok("worker", "recycle")
        self.run_ok("run", "true")
        workers = [row["pid"] for row in json.loads(self.run_ok("worker", "list", "--json"))]
        self.assertNotIn(worker["pid"], workers)
        rows = {row["key"]: row for row in json.loads(self.run_ok("config", "--json"))}
        self.assertEqual(rows["slots"]["value"], "2")
        self.assertIn("batond.toml", rows["slots"]["source"])
        self.assertRegex(self.run_ok("ping").decode(), r"^batond \S+ \(pid \d+\) answers in \d+\.\d+ ms\n$")

    def test_unknown_ids_are_named(self):
        for verb in ("show", "explain", "wait", "logs", "cancel", "kill", "retry", "hold", "release"):
            result = self.ctl(verb, "987654")
            self.assertEqual((result.returncode, result.stdout), (125, b""), verb)
            self.assertRegex(result.stderr, rb"^batonctl: [^\n]*987654[^\n]*\n$")


    def test_json_is_whole_when_one_of_many_ids_is_unknown(self):
        id = self.run_ok("submit", "true").decode().strip()
        result = self.ctl("show", "--json", id, "987654")
        self.assertEqual((result.returncode, [row["id"] for row in json.loads(result.stdout)]), (125, [id]))


class Wait(baton.TestCase):
    CONFIG = 'slots = "2"\n'

    def submit(self, *args):
        return self.run_ok("submit", *args).decode().strip()

    def test_exit_codes(self):
        for code, args in ((0, ["true"]), (7, ["sh", "-c", "exit 7"]), (137, ["sh", "-c", "kill -9 $$"]),
                           (124, ["--timeout", "0.1", "sleep", "1000"]), (127, ["/nonexistent/program"]),
                           (127, ["a | b"]), (126, ["/etc/passwd"]), (125, ["-i", "/nonexistent/file", "cat"])):
            id = self.submit(*args)
            self.assertEqual(self.ctl("wait", id).returncode, code, args)
            self.assertEqual(self.ctl("submit", "--wait", *args).returncode, code, args)
            self.assertEqual(self.daemon.json("show", id)[0]["exit_code"], code, args)
        result = self.ctl("submit", "--wait", "a | b")
        self.assertIn(b"sh -c 'a | b'", result.stderr)

    def test_of_several_the_highest(self):
        ids = [self.submit("sh", "-c", f"exit {code}") for code in (3, 9, 0)]
        self.assertEqual(self.ctl("wait", *ids).returncode, 9)
        self.assertEqual(self.ctl("wait", ids[2], ids[0]).returncode, 3)
        batch = self.run_ok("submit", "--each", "-", "exit {}", input=b"2\n5\n0\n").decode().strip()
        self.assertEqual(self.ctl("wait", batch).returncode, 5)
        self.assertEqual(self.ctl("wait", f"{batch}.1").returncode, 2)
        self.assertEqual(self.ctl("submit", "--each", "-", "--wait", "exit {}", input=b"1\n4\n").returncode, 4)

    def test_any_returns_at_the_first_end(self):
        long = self.submit("sleep", "1000")
        short = self.submit("sh", "-c", "exit 6")
        result = self.ctl("wait", "--any", long, short)
        self.assertEqual((result.returncode, result.stdout), (6, short.encode() + b"\n"))
        self.run_ok("cancel", long)
        result = self.ctl("wait", long)
        self.assertEqual(result.returncode, 143)
        self.assertIn(f"task {long} was cancelled".encode(), result.stderr)

    def test_at_most_so_long(self):
        id = self.submit("sleep", "1000")
        result = self.ctl("wait", "--timeout", "50ms", id)
        self.assertEqual((result.returncode, result.stdout), (124, b""))
        self.assertEqual(self.ctl("wait", "--timeout", "0", id).returncode, 124)
        self.run_ok("cancel", "--grace", "0", "--reason", "no need", id)
        result = self.ctl("wait", id)
        self.assertEqual((result.returncode, result.stderr), (143, f"batonctl: task {id} was cancelled: no need\n".encode()))

    def test_without_ids_for_all(self):
        self.submit("true")
        self.assertEqual(self.ctl("wait").returncode, 0)
        for code in (0, 4):
            self.submit("sh", "-c", f"exit {code}")
        held = self.submit("--hold", "sh", "-c", "exit 8")
        waiting = self.daemon.popen("wait")
        self.run_ok("release", held)
        self.assertEqual(waiting.wait(baton.TIMEOUT), 8)

    def test_now_or_never(self):
        busy = [self.submit("sleep", "1000") for _ in range(2)]
        baton.wait_until(lambda: self.daemon.json("status")["running"] == 2, "both run")
        result = self.ctl("submit", "--wait", "-n", "true")
        self.assertEqual((result.returncode, result.stderr), (1, b"batonctl: no slot is free now\n"))
        self.assertEqual(self.ctl("submit", "--wait", "--queue-timeout", "50ms", "true").returncode, 124)
        self.run_ok("cancel", *busy)
        self.ctl("wait")
        self.assertEqual(self.ctl("submit", "--wait", "-n", "true").returncode, 0)

    def test_a_second_on_a_terminal_says_for_what(self):
        busy = [self.submit("sleep", "1000") for _ in range(2)]
        id = self.submit("true")
        terminal = baton.Terminal([os.path.join(baton.BIN, "batonctl"), "wait", id], self.daemon.env, size=(24, 200))
        terminal.expect(rf"batonctl: waiting for task {id}: it waits for a slot: 2 of 2 ")
        self.run_ok("cancel", *busy)
        self.assertEqual(terminal.wait(), 0)
        self.assertTrue(terminal.read_all().endswith(b"\r\x1b[K"))
        terminal.close()
        long = self.submit("sleep", "1000")
        terminal = baton.Terminal([os.path.join(baton.BIN, "batonctl"), "wait", id, long], self.daemon.env)
        terminal.expect(rf"waiting for task {long}: it has run \S+ \w+: sleep 1000")
        terminal.type("\x03")
        self.assertEqual(terminal.wait(), -signal.SIGINT)
        terminal.close()
        self.assertEqual(self.daemon.json("show", long)[0]["state"], "running")
        self.run_ok("cancel", long)

    def test_the_daemons_end_is_told(self):
        id = self.submit("sleep", "1000")
        waiting = self.daemon.popen("wait", id, stderr=subprocess.PIPE)
        baton.wait_until(lambda: self.daemon.json("status")["connections"] >= 2, "it waits")
        self.run_ok("stop", "--now")
        code = waiting.wait(baton.TIMEOUT)
        self.assertIn(code, (125, 143))
        self.assertNotEqual(waiting.stderr.read(), b"")
        waiting.stderr.close()
        self.assertIn(b"no daemon", self.ctl("list").stderr)


class Change(baton.TestCase):
    CONFIG = 'slots = "2"\n'

    def submit(self, *args):
        return self.run_ok("submit", *args).decode().strip()

    def state(self, id):
        return self.daemon.json("show", id)[0]["state"]

    def test_hold_and_release(self):
        busy = [self.submit("sleep", "1000") for _ in range(2)]
        id = self.submit("true")
        self.run_ok("hold", id)
        self.assertEqual(self.state(id), "held")
        self.run_ok("cancel", *busy)
        self.ctl("wait", *busy)
        self.assertEqual(self.state(id), "held")
        self.run_ok("release", id)
        self.assertEqual(self.ctl("wait", id).returncode, 0)
        self.assertEqual(self.ctl("hold", id).returncode, 125)

    def test_kill_sends_one_signal_and_nothing_more(self):
        id = self.submit("sh", "-c", "trap 'echo hup' HUP; echo ready; while :; do sleep 0.02; done")
        baton.wait_until(lambda: self.run_ok("logs", id) == b"ready\n", "it is ready")
        self.run_ok("kill", "-s", "HUP", "--main", id)
        baton.wait_until(lambda: self.run_ok("logs", id) == b"ready\nhup\n", "the trap ran")
        self.assertEqual(self.state(id), "running")
        self.run_ok("kill", "-9", id)
        self.assertEqual(self.ctl("wait", id).returncode, 137)
        self.assertEqual(self.ctl("kill", "-KILL", id).returncode, 125)

    def test_cancel_all(self):
        ids = [self.submit("sleep", "1000") for _ in range(3)] + [self.submit("--hold", "true")]
        self.assertEqual(self.ctl("cancel", "--all", ids[0]).returncode, 125)
        self.run_ok("cancel", "--all")
        self.assertEqual(self.ctl("wait", *ids).returncode, 143)
        self.assertEqual(self.run_ok("list", "-q", "-u"), b"")

    def test_retry_runs_the_same_again(self):
        file = self.temporary("retried")
        id = self.submit("--name", "again", "-E", "X=5", "sh", "-c", f"echo $X >> {file}; exit 3")
        self.assertEqual(self.ctl("wait", id).returncode, 3)
        again = self.run_ok("retry", id).decode().strip()
        self.assertNotEqual(again, id)
        self.assertEqual(self.ctl("wait", again).returncode, 3)
        self.assertEqual(self.daemon.json("show", again)[0]["name"], "again")
        with open(file) as text:
            self.assertEqual(text.read(), "5\n5\n")

    def test_retry_of_a_batch_is_of_what_failed(self):
        id = self.run_ok("submit", "--each", "-", "exit {}", input=b"0\n2\n0\n3\n").decode().strip()
        self.ctl("wait", id)
        again = self.run_ok("retry", id).decode().split()
        self.assertEqual(len(again), 2)
        self.assertEqual(self.ctl("wait", *again).returncode, 3)
        good = self.run_ok("submit", "--each", "-", "exit {}", input=b"0\n").decode().strip()
        self.ctl("wait", good)
        result = self.ctl("retry", good)
        self.assertEqual((result.returncode, result.stdout), (0, b""))

    def test_drain_and_resume(self):
        id = self.submit("sleep", "1000")
        self.run_ok("drain")
        refused = self.ctl("submit", "true")
        self.assertEqual(refused.returncode, 125)
        self.assertIn(b"resume", refused.stderr)
        waiting = self.daemon.popen("drain", "--wait")
        self.run_ok("cancel", id)
        self.assertEqual(waiting.wait(baton.TIMEOUT), 0)
        self.run_ok("resume")
        self.assertEqual(self.ctl("submit", "--wait", "true").returncode, 0)

    def test_reload_says_what_changes_or_what_is_wrong(self):
        path = self.path("config/baton/batond.toml")
        self.run_ok("submit", "true")
        self.assertEqual(self.run_ok("reload"), b"nothing has changed\n")
        with open(path, "w") as file:
            file.write('slots = "2"\nio_tasks = 7\n')
        self.assertRegex(self.run_ok("reload"), rb"io_tasks: 256 -> 7")
        with open(path, "w") as file:
            file.write('slots = "2"\nio_task = 7\n')
        result = self.ctl("reload")
        self.assertEqual(result.returncode, 125)
        self.assertRegex(result.stderr, rb"batond\.toml.*2.*io_task")
        with open(path, "w") as file:
            file.write('slots = "2"\n')
        self.run_ok("reload")


class Events(baton.TestCase):
    def test_are_told_as_they_happen(self):
        self.run_ok("submit", "--wait", "true")
        text = self.daemon.popen("events", stdout=subprocess.PIPE)
        objects = self.daemon.popen("--json", "events", stdout=subprocess.PIPE)
        baton.wait_until(lambda: self.daemon.json("status")["connections"] >= 3, "both listen")
        id = self.run_ok("submit", "sh", "-c", "exit 4").decode().strip()
        happened = []
        while not happened or happened[-1]["event"] != "ended":
            happened.append(json.loads(objects.stdout.readline()))
        self.assertEqual([event["event"] for event in happened], ["submitted", "started", "ended"])
        self.assertEqual({event["row"]["id"] for event in happened}, {id})
        self.assertEqual(happened[-1]["row"]["exit_code"], 4)
        lines = [text.stdout.readline().decode() for _ in range(3)]
        for line, words in zip(lines, ("submitted", "started on slot", r"ended \(failed, exit 4")):
            self.assertRegex(line, rf"^\d\d:\d\d:\d\d  task {id} {words}")
        for process in (text, objects):
            process.send_signal(signal.SIGINT)
            self.assertEqual(process.wait(baton.TIMEOUT), -signal.SIGINT)
            process.stdout.close()

    def test_end_with_the_daemon(self):
        self.run_ok("submit", "--wait", "true")
        process = self.daemon.popen("events", stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        baton.wait_until(lambda: self.daemon.json("status")["connections"] >= 2, "it listens")
        self.run_ok("stop")
        self.assertEqual(process.wait(baton.TIMEOUT), 125)
        self.assertIn(b"the daemon ended", process.stderr.read())
        process.stderr.close()


class Streams(baton.TestCase):
    """stdout is data, and its end is the end."""

    def test_closed_stdout_ends_by_sigpipe(self):
        lines = "".join(f"{n}\n" for n in range(5000))
        id = self.run_ok("submit", "--hold", "--each", "-", "true", input=lines.encode()).decode().strip()
        for ignored in (False, True):
            disposition = signal.SIG_IGN if ignored else signal.SIG_DFL
            process = self.daemon.popen("list", "--batch", id, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                        preexec_fn=lambda: signal.signal(signal.SIGPIPE, disposition),
                                        restore_signals=False)
            process.stdout.close()
            self.assertEqual(process.wait(baton.TIMEOUT), -signal.SIGPIPE)
            self.assertEqual(process.stderr.read(), b"")
            process.stderr.close()
        self.run_ok("cancel", id)

    def test_full_disk_is_an_error(self):
        self.run_ok("submit", "true")
        for args in (["list"], ["config"], ["show", "last", "--json"], ["--help"], ["wait", "--help"]):
            with open("/dev/full", "wb") as full:
                result = self.ctl(*args, stdout=full)
            self.assertEqual(result.returncode, 125, args)
            self.assertIn(b"No space left on device", result.stderr)

    def test_a_task_whose_id_cannot_be_told_is_not_left_behind(self):
        for args, lines in ((["sleep", "1000"], b""), (["--each", "-", "sleep"], b"1000\n1000\n")):
            with open("/dev/full", "wb") as full:
                result = self.ctl("submit", *args, input=lines, stdout=full)
            self.assertEqual((result.returncode, result.stderr.count(b"\n")), (125, 1))
            baton.wait_until(lambda: not self.daemon.json("list", "--unfinished"), "it is cancelled")
        self.ctl("run", "sh", "-c", "[ -e again ] && exec sleep 1000")
        open(os.path.join(self.path("work"), "again"), "w").close()
        with open("/dev/full", "wb") as full:
            self.assertEqual(self.ctl("retry", "last", stdout=full).returncode, 125)
        baton.wait_until(lambda: not self.daemon.json("list", "--unfinished"), "it is cancelled")

    def test_closed_descriptors_stay_closed(self):
        self.run_ok("submit", "true")
        for args in ("list", "status", "map echo ::: 1", "submit true", "--help"):
            result = subprocess.run(["sh", "-c", f"exec batonctl {args} <&- >&-"], env=self.daemon.env, stderr=subprocess.PIPE,
                                    cwd=self.path("work"), timeout=baton.TIMEOUT)
            self.assertEqual((result.returncode, result.stderr.count(b"\n")), (125, 1), result)
            self.assertIn(b"Bad file descriptor", result.stderr)
        result = subprocess.run(["sh", "-c", "exec batonctl map echo <&-"], env=self.daemon.env, stderr=subprocess.PIPE)
        self.assertEqual(result.returncode, 125)

    def test_ctrl_c_leaves_the_task_alone(self):
        id = self.run_ok("submit", "sleep", "1000").decode().strip()
        for args in (["wait", id], ["logs", "-f", id]):
            process = self.daemon.popen(*args)
            baton.wait_until(lambda: self.daemon.json("status")["connections"] >= 2, "it waits")
            process.send_signal(signal.SIGINT)
            self.assertEqual(process.wait(baton.TIMEOUT), -signal.SIGINT)
        self.assertEqual(self.daemon.json("show", id)[0]["state"], "running")
        self.run_ok("cancel", id)


if __name__ == "__main__":
    baton.main()
