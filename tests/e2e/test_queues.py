"""Queues from the shell: batonctl queue, all its verbs."""

import json
import os
import re
import signal
import subprocess

import baton


class Queues:
    """Mixed into a baton.TestCase."""

    def queue(self, *args, **options):
        return self.ctl("queue", *args, **options)

    def queue_ok(self, *args, **options):
        return self.run_ok("queue", *args, **options)

    def fails(self, code, *args, **options):
        """What a verb says that exits with this code: one line."""
        result = self.queue(*args, **options)
        self.assertEqual(result.returncode, code, result)
        text = result.stderr.decode()
        self.assertLessEqual(text.count("\n"), 2, text)
        return text

    def show(self, name):
        return self.daemon.json("queue", "show", name)[0]

    def waiting(self, name, what):
        """Until somebody waits for it."""
        return baton.wait_until(lambda: self.show(name)["waiting_" + what] > 0, f"{what} wait for {name}")

    def start(self, *args, **options):
        options.setdefault("stdout", subprocess.PIPE)
        options.setdefault("stderr", subprocess.PIPE)
        process = self.daemon.popen("queue", *args, **options)

        def end():
            if process.poll() is None:
                process.kill()
            process.communicate()
        self.addCleanup(end)
        return process


class PutAndGet(Queues, baton.TestCase):
    def test_words_come_out_in_their_order(self):
        self.queue_ok("put", "--create", "words", "one", "two", "three and four", "")
        self.assertEqual(self.queue_ok("get", "words"), b"one\n")
        self.assertEqual(self.queue_ok("get", "-c", "3", "words"), b"two\nthree and four\n\n")
        self.assertEqual(self.show("words")["acked_ever"], 4)

    def test_lines_of_stdin(self):
        text = b"".join(b"line %d\n" % i for i in range(5000))
        self.queue_ok("put", "--create", "lines", "first", "-", "last", input=text + b"no end")
        self.assertEqual(self.queue_ok("get", "-c", "5003", "lines"), b"first\n" + text + b"no end\nlast\n")

    def test_nul_ends_records(self):
        self.queue_ok("put", "--create", "-0", "nul", "-", input=b"a\nb\0c\0")
        self.assertEqual(self.queue_ok("get", "-0", "-c", "2", "nul"), b"a\nb\0c\0")

    def test_bytes_that_are_no_text_come_out_as_they_were(self):
        blob = bytes(range(256)) * 100
        self.queue_ok("put", "--create", "--raw", "bytes", "-", input=blob)
        self.assertEqual(self.queue_ok("get", "--raw", "bytes"), blob)
        self.queue_ok("put", "bytes", b"\xff\xfe")
        self.assertEqual(self.queue_ok("get", "bytes"), b"\xff\xfe\n")

    def test_json_keeps_types(self):
        values = ["text", 1, -(2**63), 2**64 - 1, 0.5, None, True, [1, [2]], {"a": {"b": []}}, {"$map": 1}]
        texts = [json.dumps(value) for value in values[:-1]] + ['{"$map": {"$map": 1}}']
        self.queue_ok("put", "--create", "--json", "typed", "--", *texts)
        lines = self.queue_ok("get", "--json", "-c", str(len(values)), "typed").splitlines()
        self.assertEqual([json.loads(line)["value"] for line in lines[:-1]], values[:-1])
        self.assertEqual(json.loads(lines[-1])["value"], {"$map": {"$map": 1}})
        self.queue_ok("put", "--json", "typed", '"plain"', '{"k": [1, "x"]}', "7")
        self.assertEqual(self.queue_ok("get", "-c", "3", "typed"), b'plain\n{"k":[1,"x"]}\n7\n')
        for special in ('{"$data":"AP8="}', '{"$float":"-inf"}', '{"$opaque":{"codec":"pickle","data":"Lg=="}}',
                        '{"$tensor":{"dtype":"u1","shape":[2],"data":"AAE="}}'):
            self.queue_ok("put", "--json", "typed", special)
            self.assertEqual(json.loads(self.queue_ok("get", "--json", "typed"))["value"], json.loads(special))

    def test_what_is_no_json_or_no_value_says_where(self):
        self.queue_ok("create", "strict")
        for text, reason in (("{", "parse error"), ("[" * 20 + "]" * 20, "10 deep"), ('{"$data": "x"}', "base64"),
                             ('{"$new": 1}', "$map"), ('{"$tensor": {"dtype": "f4", "shape": [1], "data": ""}}', "shape")):
            self.assertIn(reason, self.fails(125, "put", "--json", "strict", text))
        self.assertEqual(self.show("strict")["put_ever"], 0)

    def test_priority_and_delay(self):
        self.queue_ok("put", "--create", "order", "normal")
        self.queue_ok("put", "-p", "5", "order", "urgent")
        self.queue_ok("put", "-p", "-5", "order", "idle")
        self.queue_ok("put", "--delay", "1h", "order", "later")
        self.assertEqual(self.queue_ok("peek", "-c", "9", "order"), b"urgent\nnormal\nidle\n")
        self.assertEqual(self.queue_ok("get", "-c", "3", "order"), b"urgent\nnormal\nidle\n")
        self.assertEqual(self.show("order")["delayed"], 1)

    def test_a_delayed_message_wakes_who_waits(self):
        self.queue_ok("put", "--create", "--delay", "200ms", "soon", "now")
        self.assertEqual(self.queue_ok("get", "-w", "20", "soon"), b"now\n")

    def test_get_waits_for_a_put(self):
        self.queue_ok("create", "later")
        process = self.start("get", "later")
        self.waiting("later", "getters")
        row = self.show("later")["getters"][0]
        self.assertEqual(row["pid"], process.pid)
        self.queue_ok("put", "later", "here")
        self.assertEqual(process.communicate(timeout=baton.TIMEOUT)[0], b"here\n")
        self.assertEqual(process.returncode, 0)

    def test_put_waits_for_room(self):
        self.queue_ok("create", "--max-messages", "2", "small")
        process = self.start("put", "small", "1", "2", "3", "4")
        self.waiting("small", "putters")
        self.assertEqual(self.show("small")["putters"][0]["pid"], process.pid)
        self.assertIn("full", self.queue_ok("list").decode())
        self.assertEqual(self.queue_ok("get", "-c", "4", "small"), b"1\n2\n3\n4\n")
        self.assertEqual(process.wait(baton.TIMEOUT), 0)

    def test_follow_ends_when_the_queue_is_closed(self):
        self.queue_ok("put", "--create", "stream", "1", "2")
        process = self.start("get", "-f", "stream")
        self.assertEqual(process.stdout.readline(), b"1\n")
        self.assertEqual(process.stdout.readline(), b"2\n")
        self.queue_ok("put", "stream", "3")
        self.assertEqual(process.stdout.readline(), b"3\n")
        self.queue_ok("close", "stream")
        self.assertEqual(process.wait(baton.TIMEOUT), 0)
        self.assertEqual(self.show("stream")["acked_ever"], 3)

    def test_what_a_killed_reader_has_not_written_comes_back(self):
        self.queue_ok("put", "--create", "mortal", *[str(i) + "x" * 1000 for i in range(500)])
        process = self.start("get", "-f", "mortal")  # nobody reads its pipe, which takes 64 KiB
        baton.wait_until(lambda: self.show("mortal")["leasers"], "it holds messages")
        process.send_signal(signal.SIGKILL)
        process.wait()
        row = baton.wait_until(lambda: not self.show("mortal")["leasers"] and self.show("mortal"), "they come back")
        self.assertEqual(row["ready"], 500)
        self.assertEqual(row["acked_ever"], 0)
        self.assertEqual(self.queue_ok("peek", "mortal"), b"0" + b"x" * 1000 + b"\n")

    def test_a_closed_pipe_ends_it_and_loses_nothing(self):
        self.queue_ok("put", "--create", "piped", *map(str, range(100)))
        end = subprocess.run("batonctl queue get -f piped | head -n 1; exit ${PIPESTATUS[0]}", shell=True,
                             executable="/bin/bash", env=self.daemon.env, cwd=self.path("work"), capture_output=True,
                             timeout=baton.TIMEOUT, input=b"")
        self.assertEqual(end.stdout, b"0\n")
        self.assertLessEqual(self.show("piped")["acked_ever"], 100)


class ExitCodes(Queues, baton.TestCase):
    def test_empty(self):
        self.queue_ok("create", "none")
        self.assertEqual(self.queue("get", "-n", "none").returncode, 1)
        self.assertEqual(self.queue("get", "-n", "-E", "42", "none").returncode, 42)
        self.assertEqual(self.queue("get", "-w", "50ms", "none").returncode, 124)
        self.assertEqual(self.queue("peek", "none").returncode, 1)

    def test_full(self):
        self.queue_ok("create", "--max-messages", "1", "one")
        self.queue_ok("put", "one", "x")
        self.assertIn("queue one is full", self.fails(1, "put", "-n", "one", "y"))
        self.assertEqual(self.queue("put", "-w", "50ms", "one", "y").returncode, 124)
        self.queue_ok("create", "--max-messages", "2", "--full", "reject", "two")
        self.assertIn("2 messages are in the queue", self.fails(1, "put", "two", "a", "b", "c"))
        self.queue_ok("create", "--max-messages", "2", "--full", "drop-oldest", "newest")
        self.queue_ok("put", "newest", "a", "b", "c")
        self.assertEqual(self.queue_ok("get", "-c", "2", "newest"), b"b\nc\n")
        self.assertEqual(self.show("newest")["dropped_ever"], 1)

    def test_closed(self):
        self.queue_ok("put", "--create", "done", "last")
        self.queue_ok("close", "done")
        self.assertEqual(self.queue("put", "done", "more").returncode, 3)
        self.assertEqual(self.queue_ok("get", "done"), b"last\n")
        self.assertEqual(self.queue("get", "done").returncode, 3)

    def test_closing_tells_who_waits(self):
        self.queue_ok("create", "--max-messages", "1", "going")
        getter = self.start("get", "going")
        self.waiting("going", "getters")
        self.queue_ok("close", "going")
        self.assertEqual(getter.wait(baton.TIMEOUT), 3)

    def test_removal_tells_who_waits(self):
        self.queue_ok("create", "gone")
        getter = self.start("get", "gone")
        self.waiting("gone", "getters")
        self.assertIn("in use by another program", self.fails(125, "rm", "gone"))
        self.queue_ok("rm", "-f", "gone")
        self.assertEqual(getter.wait(baton.TIMEOUT), 125)
        self.assertIn(b"was removed", getter.stderr.read())
        self.assertIn("no queue gone", self.fails(125, "get", "gone"))

    def test_a_vanished_daemon(self):
        other = baton.Daemon()
        self.addCleanup(other.close)
        self.assertEqual(other.ctl("queue", "create", "q").returncode, 0)
        getter = other.popen("queue", "get", "q", stderr=subprocess.PIPE)
        self.addCleanup(getter.communicate)
        baton.wait_until(lambda: other.json("queue", "show", "q")[0]["waiting_getters"], "it waits")
        os.kill(other.json("status")["pid"], signal.SIGKILL)
        self.assertEqual(getter.wait(baton.TIMEOUT), 125)
        self.assertIn(b"daemon", getter.stderr.read())

    def test_no_daemon(self):
        other = baton.Daemon()
        self.addCleanup(other.close)
        self.assertEqual(other.ctl("queue", "get", "q").returncode, 125)
        self.assertEqual(other.ctl("queue", "put", "q", "x").returncode, 125)
        self.assertEqual(other.ctl("queue", "list").returncode, 0)
        self.assertEqual(other.ctl("queue", "list", "--json").stdout, b"[]\n")


class BadInput(Queues, baton.TestCase):
    CONFIG = 'queues = 5\nqueue_bytes = "1M"\n'

    def tearDown(self):
        for row in self.daemon.json("queue", "list"):
            self.queue_ok("rm", "-f", row["name"])

    def test_an_absent_queue_names_a_near_one(self):
        self.queue_ok("create", "jobs")
        self.assertIn("no queue jbos; there is jobs", self.fails(125, "get", "jbos"))
        self.assertIn("no queue zzz", self.fails(125, "put", "zzz", "x"))
        self.assertIn("no queue jbos", self.fails(125, "rm", "jbos"))
        self.assertIn("no queue jbos", self.fails(125, "show", "jbos"))

    def test_hostile_names(self):
        for name in ("", " ", "a b", "a\nb", "\x1b[31m", "x" * 129, ":x", "a:b:c", "ä", "*", "x" * 100000):
            text = self.fails(125, "create", name)
            self.assertIn("name", text)
            self.assertNotIn("\x1b", text)
            self.assertLess(len(text), 500)
        self.assertIn("name", self.fails(125, "create", b"\xff"))
        for name in ("x" * 128, "a/b", "..", "-", "@", "+"):
            self.queue_ok("create", "--exist-ok", "--", name)
            self.queue_ok("rm", "--", name)

    def test_another_users_queue_is_not_there(self):
        self.queue_ok("create", "mine")
        self.assertIn("no queue", self.fails(125, "get", "12345:mine"))
        self.assertIn("no queue", self.fails(125, "get", "nobody-at-all:mine"))
        self.assertIn("another user's name", self.fails(125, "create", "12345:new"))
        me = str(os.getuid())
        self.queue_ok("put", me + ":mine", "x")
        self.assertEqual(self.queue_ok("get", "mine"), b"x\n")

    def test_the_number_of_queues_is_bounded(self):
        for i in range(5):
            self.queue_ok("create", f"q{i}")
        self.assertIn("config queues", self.fails(125, "create", "q5"))
        self.queue_ok("rm", "q0")
        self.queue_ok("create", "q5")

    def test_the_bytes_of_all_queues_are_bounded(self):
        block = "x" * 100_000
        self.queue_ok("create", "a")
        self.queue_ok("create", "b")
        self.queue_ok("put", "a", *[block] * 5)
        self.queue_ok("put", "b", *[block] * 5)
        self.assertIn("config queue_bytes", self.fails(125, "put", "b", block))
        self.queue_ok("get", "a")
        self.queue_ok("put", "b", block)

    def test_a_message_over_the_limit(self):
        self.queue_ok("create", "--max-bytes", "1K", "small")
        self.queue_ok("create", "large")
        self.assertIn("at most 1024", self.fails(125, "put", "small", "x" * 2000))
        self.assertIn("at most", self.fails(125, "put", "large", "-", input=b"x" * (1 << 20)))
        self.assertIn("too much", self.fails(125, "put", "--raw", "large", "-", input=b"x" * (3 << 20)))
        self.assertEqual(self.show("large")["put_ever"], 0)
        largest = (1 << 20) - 4096 - 64
        self.queue_ok("put", "--raw", "large", "-", input=b"x" * largest)
        self.assertEqual(len(self.queue_ok("get", "--raw", "large")), largest)

    def test_options_that_contradict_or_make_no_sense(self):
        self.queue_ok("create", "q")
        for args in (("put", "q"), ("put",), ("get",), ("get", "q", "r"), ("put", "--raw", "--json", "q", "x"),
                     ("get", "-n", "-w", "1", "q"), ("ack", "q"), ("ack", "q", "x"), ("nack", "q", "-1"), ("run", "q"),
                     ("run", "q", "--"), ("create",), ("create", "--full", "maybe", "n"), ("create", "--mode", "999", "n"),
                     ("create", "--dead-letters", "d", "n"), ("create", "--attempts", "1", "--dead-letters", "n", "n"),
                     ("create", "--lease", "0", "n"), ("put", "-p", "1001", "q", "x"), ("peek", "-c", "0", "q"),
                     ("gte", "q"), ("--wrong",), ("get", "--wrong", "q")):
            text = self.fails(125, *args)
            self.assertIn("batonctl: ", text)
        self.assertIn("did you mean get?", self.fails(125, "gte", "q"))
        self.assertIn("already", self.fails(125, "create", "q"))
        self.queue_ok("create", "--exist-ok", "q")

    def test_every_verb_has_help_with_examples(self):
        top = self.queue_ok("--help").decode()
        for verb in re.findall(r"^  (\w+)  +", top, re.MULTILINE):
            if verb != "batonctl":
                self.assertIn("Examples:", self.queue_ok(verb, "--help").decode())
        self.assertEqual(top.count("\n  "), 14 + 4)
        self.assertIn("queue", self.run_ok("--help").decode())

    def test_the_whole_state_is_in_status(self):
        self.queue_ok("put", "--create", "q", "x")
        status = self.daemon.json("status")
        self.assertEqual(status["queues"], 1)
        self.assertGreater(status["queue_bytes"], 0)


class Leases(Queues, baton.TestCase):
    def lease(self, name, *args):
        lease, _, value = self.queue_ok("get", "--lease", *args, name).decode().rstrip("\n").partition("\t")
        return lease, value

    def test_a_lease_outlives_the_command_that_took_it(self):
        self.queue_ok("put", "--create", "a", "one", "two")
        lease, value = self.lease("a")
        self.assertEqual(value, "one")
        self.assertEqual(self.show("a")["leased"], 1)
        self.assertIsNone(self.show("a")["leasers"][0]["pid"])
        self.queue_ok("ack", "a", lease)
        self.assertEqual(self.show("a")["leased"], 0)
        self.assertIn("is over", self.fails(1, "ack", "a", lease))
        self.assertEqual(self.queue_ok("get", "a"), b"two\n")

    def test_nack_brings_it_back(self):
        self.queue_ok("put", "--create", "b", "one", "two")
        lease, _ = self.lease("b")
        self.queue_ok("nack", "b", lease)
        self.assertEqual(self.queue_ok("peek", "-c", "2", "b"), b"one\ntwo\n")
        lease, _ = self.lease("b")
        self.queue_ok("nack", "--delay", "1h", "b", lease)
        self.assertEqual(self.queue_ok("peek", "-c", "2", "b"), b"two\n")

    def test_a_lease_ends_with_its_time(self):
        self.queue_ok("put", "--create", "c", "one")
        lease, _ = self.lease("c", "--lease-time", "100ms")
        message = json.loads(self.queue_ok("get", "--json", "-w", "20", "c"))
        self.assertEqual((message["value"], message["attempt"]), ("one", 2))
        self.assertEqual(self.queue("ack", "c", lease).returncode, 1)

    def test_a_message_that_always_fails_goes_to_the_dead_letters(self):
        self.queue_ok("create", "--attempts", "2", "--dead-letters", "failed", "d")
        self.queue_ok("put", "d", "poison")
        for _ in range(2):
            self.queue_ok("nack", "d", self.lease("d")[0])
        self.assertEqual(self.queue("peek", "d").returncode, 1)
        self.assertEqual(self.queue_ok("get", "failed"), b"poison\n")
        self.assertEqual(self.show("d")["dead_ever"], 1)


class Control(Queues, baton.TestCase):
    def test_pause_and_resume(self):
        self.queue_ok("put", "--create", "p", "x")
        self.queue_ok("pause", "p")
        self.assertEqual(self.queue("get", "-n", "p").returncode, 1)
        getter = self.start("get", "p")
        self.waiting("p", "getters")
        self.assertTrue(self.show("p")["paused"])
        self.queue_ok("resume", "p")
        self.assertEqual(getter.communicate(timeout=baton.TIMEOUT)[0], b"x\n")

    def test_purge(self):
        self.queue_ok("put", "--create", "full", *map(str, range(100)))
        self.queue_ok("purge", "full")
        self.assertEqual(self.show("full")["ready"], 0)
        baton.wait_until(lambda: self.daemon.json("status")["queue_bytes"] == 0, "its memory is free")

    def test_rm_needs_force_for_what_has_messages(self):
        self.queue_ok("put", "--create", "r", "x")
        self.assertIn("--force", self.fails(125, "rm", "r"))
        self.queue_ok("rm", "--force", "r")

    def test_list_pages_through_all(self):
        names = sorted(f"list-{i:04d}" for i in range(300))
        for name in names:
            self.queue_ok("create", name)
        listed = [row["name"] for row in self.daemon.json("queue", "list")]
        self.assertEqual([name for name in listed if name.startswith("list-")], names)

    def test_show_for_people(self):
        self.queue_ok("create", "--attempts", "3", "--dead-letters", "dead", "people")
        self.queue_ok("put", "people", "x")
        text = self.queue_ok("show", "people").decode()
        for part in ("people", "1 messages ready", "10000 messages, 64 MiB; when full: block", "3, then to queue dead", "rw-------"):
            self.assertIn(part, text)

    def test_reload_changes_the_limits(self):
        other = baton.Daemon("queues = 1\n")
        self.addCleanup(other.close)
        self.assertEqual(other.ctl("queue", "create", "a").returncode, 0)
        self.assertEqual(other.ctl("queue", "create", "b").returncode, 125)
        with open(other.path("config/baton/batond.toml"), "w") as file:
            file.write("queues = 2\n")
        self.assertEqual(other.ctl("reload").returncode, 0)
        self.assertEqual(other.ctl("queue", "create", "b").returncode, 0)


class Run(Queues, baton.TestCase):
    CONFIG = 'slots = "2"\n'

    def test_each_message_is_a_command(self):
        self.queue_ok("put", "--create", "work", *map(str, range(20)))
        self.queue_ok("close", "work")
        out = self.queue_ok("run", "work", "--", "sh", "-c", "read -r x; echo $x {}")
        self.assertEqual(sorted(out.split(b"\n")[:-1]), sorted(b"%d %d" % (i, i) for i in range(20)))
        self.assertEqual(self.show("work")["acked_ever"], 20)

    def test_a_failed_one_is_tried_again(self):
        mark = self.temporary("tried")
        self.queue_ok("put", "--create", "again", "x")
        self.queue_ok("close", "again")
        result = self.queue("run", "again", "sh", "-c", f"test -e {mark} || {{ touch {mark}; exit 7; }}")
        self.assertEqual(result.returncode, 7)
        row = self.show("again")
        self.assertEqual((row["acked_ever"], row["redelivered_ever"], row["leased"]), (1, 1, 0))

    def test_one_that_always_fails_ends_in_the_dead_letters(self):
        self.queue_ok("create", "--attempts", "3", "--dead-letters", "dead", "fails")
        self.queue_ok("put", "fails", "x")
        self.assertEqual(self.queue("run", "-n", "fails", "sh", "-c", "exit 3").returncode, 3)
        self.assertEqual(self.queue_ok("get", "dead"), b"x\n")

    def test_it_ends_when_nothing_comes(self):
        self.queue_ok("create", "idle")
        self.assertEqual(self.queue("run", "-n", "idle", "true").returncode, 0)
        self.assertEqual(self.queue("run", "-w", "100ms", "idle", "true").returncode, 0)

    def test_no_more_at_once_than_asked_for(self):
        self.queue_ok("put", "--create", "single", "1", "2", "3")
        lock = self.temporary("lock")
        self.queue_ok("run", "-n", "-j", "1", "single", "sh", "-c", f"mkdir {lock} && sleep 0.05 && rmdir {lock}")
        self.assertEqual(self.show("single")["redelivered_ever"], 0)

    def test_killed_its_messages_come_back(self):
        self.queue_ok("put", "--create", "killed", "1", "2", "3")
        process = self.start("run", "killed", "sleep", "1000")
        baton.wait_until(lambda: self.show("killed")["leased"] == 2, "two run")
        process.send_signal(signal.SIGINT)
        self.assertEqual(process.wait(baton.TIMEOUT), -signal.SIGINT)
        baton.wait_until(lambda: self.show("killed")["ready"] == 3, "they are back")
        self.assertEqual(self.queue_ok("peek", "-c", "3", "killed"), b"1\n2\n3\n")

    def test_raw_input_and_bytes(self):
        blob = bytes(range(256))
        self.queue_ok("put", "--create", "--raw", "blob", "-", input=blob)
        self.assertEqual(self.queue_ok("run", "-n", "--raw", "blob", "cat"), blob)

    def test_a_nul_fits_no_argument(self):
        self.queue_ok("create", "--attempts", "1", "nul")
        self.queue_ok("put", "--raw", "nul", "-", input=b"a\0b")
        self.assertIn("has a NUL", self.fails(125, "run", "-n", "nul", "echo", "{}"))
        self.assertEqual(self.show("nul")["dead_ever"], 1)

    def test_consumers_before_producers_on_full_slots(self):
        """Every slot waits for a message that only a task behind them in the queue will put."""
        self.queue_ok("create", "inner")
        consumers = [self.daemon.popen("run", "batonctl", "queue", "get", "inner", stdout=subprocess.PIPE)
                     for _ in range(6)]
        baton.wait_until(lambda: self.show("inner")["waiting_getters"] == 6, "six tasks wait on two slots")
        self.run_ok("run", "batonctl", "queue", "put", "inner", *map(str, range(6)))
        got = sorted(process.communicate(timeout=baton.TIMEOUT)[0] for process in consumers)
        self.assertEqual(got, sorted(b"%d\n" % i for i in range(6)))

    def test_producers_before_consumers_on_full_slots(self):
        self.queue_ok("create", "--max-messages", "1", "narrow")
        producers = [self.daemon.popen("run", "batonctl", "queue", "put", "narrow", str(i), "x") for i in range(4)]
        baton.wait_until(lambda: self.show("narrow")["waiting_putters"] == 4, "four tasks wait on two slots")
        out = self.run_ok("run", "batonctl", "queue", "get", "-c", "8", "narrow")
        self.assertEqual(sorted(out.split()), sorted([b"x"] * 4 + [b"%d" % i for i in range(4)]))
        for process in producers:
            self.assertEqual(process.wait(baton.TIMEOUT), 0)


if __name__ == "__main__":
    baton.main()
