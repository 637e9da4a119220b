"""What cannot be done gets one clear line and exit 125, and leaves nothing half done."""

import os
import re
import shutil
import signal
import socket
import subprocess
import threading
import unittest

import baton
import tasks

# What a terminal would obey: colours, titles, cursor, a bell, C1, text reversed and hidden; and no UTF-8.
NASTY = b"\x1b[31mred\x1b]0;title\x07\r\n\x1b[2J\x9b5n\xc2\x9b6n\xe2\x80\xae\xf3\xa0\x81\x81\xff\x08\x7f"


class Refused(tasks.Tasks, baton.TestCase):
    def setUp(self):
        self.run_ok("run", "true")
        self.before = self.counts()

    def tearDown(self):
        self.assertEqual(self.counts(), self.before, "nothing was done")

    def counts(self):
        status = self.daemon.json("status")
        return [status[key] for key in ("pid", "submitted_ever", "queued", "held", "running", "bad_frames")]

    def test_unknown_ids(self):
        for verb in ("show", "explain", "logs", "wait", "cancel", "kill", "hold", "release", "retry"):
            for word in ("999999", "999998-999999", "1.7", "999999.1", str(2**53), str(2**64 + 1), "x", "-5", "1,,2", "1-", ""):
                with self.subTest(verb=verb, word=word):
                    self.assert_refused(self.ctl(verb, "--", word))
        self.assert_refused(self.ctl("wait", "1", "999999"), "999999")
        self.assert_refused(self.ctl("list", "--batch", "999999"))

    def test_usage(self):
        for args in (["run"], ["submit"], ["run", "--no-such", "true"], ["submit", "--timeout", "soon", "true"],
                     ["run", "--timeout", "-1", "true"], ["run", "--timeout", "1y", "true"],
                     ["run", "--timeout", "99999999999999h", "true"], ["run", "--timeout", "", "true"],
                     ["run", "--cpus", "0", "true"], ["run", "--cpus", "-1", "true"], ["run", "--cpus", "9999", "true"],
                     ["run", "-p", "2000", "true"], ["run", "-p", "x", "true"], ["submit", "--attempts", "0", "true"],
                     ["submit", "--name", "n" * 129, "true"], ["submit", "--grace", "1e400", "true"],
                     ["submit", "--each", "/no/such/file"], ["run", "-i", "/no/such/file", "true"],
                     ["kill", "-s", "NOSUCH", "1"], ["kill", "-s", "0", "1"], ["kill", "-s", "99", "1"],
                     ["wait", "--timeout", "x"], ["wait", "--no-such"], ["list", "--lines", "x"], ["nosuchverb"],
                     ["--nosuchoption"], ["map", "--halt", "sometimes", "true", ":::", "1"],
                     ["map", "-j", "x", "true", ":::", "1"], ["events", "extra"], ["status", "extra"],
                     ["config", "--bad"], ["show"], ["logs"], ["cancel"]):
            with self.subTest(args=args):
                result = self.ctl(*args)
                if args[:2] == ["run", "-i"]:  # found out by the task
                    self.assertEqual((result.returncode, result.stderr.count(b"\n")), (125, 1), result)
                    self.before = self.counts()
                    continue
                self.assert_refused(result)

    def test_missing_directory(self):
        gone = self.temporary("gone")
        for verb in ("run", "submit"):
            result = self.ctl(verb, "-C", gone, "true")
            if verb == "submit" and result.returncode == 0:
                task = result.stdout.decode().strip()
                result = self.ctl("wait", task)
            self.assertEqual((result.returncode, result.stderr.count(b"\n")), (125, 1), result)
            self.assertIn(gone.encode(), result.stderr)
        os.mkdir(gone)
        result = subprocess.run(["sh", "-c", f'cd "{gone}" && rmdir "{gone}" && exec batonctl run true'],
                                env=self.daemon.env, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.assert_refused(result, "directory")
        self.before = self.counts()

    def test_sockets_that_are_none_of_ours(self):
        directory = self.path("other")
        os.makedirs(directory, exist_ok=True)
        plain, absent, dead = (os.path.join(directory, name) for name in ("plain", "absent", "dead"))
        with open(plain, "w") as file:
            file.write("no socket")
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(dead)
        for path in (plain, absent, dead, directory, os.path.join(plain, "x"), directory + "/" + "s" * 300):
            for args in (["list"], ["run", "true"], ["submit", "true"], ["map", "true", ":::", "1"], ["ping"], ["wait"]):
                with self.subTest(path=path[-20:], args=args):
                    result = self.ctl(*args, env=dict(self.daemon.env, BATON_SOCKET=path))
                    if args == ["list"] and result.returncode == 0:
                        self.assertEqual(result.stderr.count(b"\n"), 1, result)
                        continue
                    self.assert_refused(result)
        self.assertEqual(os.path.getsize(plain), 9)

    def test_a_socket_of_something_else(self):
        path = self.path("smtp")
        if os.path.exists(path):
            os.unlink(path)
        listener = socket.socket(socket.AF_UNIX)
        self.addCleanup(listener.close)
        listener.bind(path)
        listener.listen(8)
        for words in (b"220 mail.example.org ESMTP\r\n", b"", b"\0" * 16, b"\xff" * 100, b"\0\0\0\0\1\0\0\0"):
            def serve():
                connection, _ = listener.accept()
                with connection:
                    connection.sendall(words)
                    connection.shutdown(socket.SHUT_WR)
                    while connection.recv(65536):
                        pass
            for args in (["run", "true"], ["ping"]):
                thread = threading.Thread(target=serve)
                thread.start()
                with self.subTest(words=words, args=args):
                    self.assert_refused(self.ctl(*args, env=dict(self.daemon.env, BATON_SOCKET=path)))
                thread.join()

    @unittest.skipUnless(os.getuid() == 0 and shutil.which("setpriv"), "needs root, and setpriv")
    def test_somebody_else(self):
        task = self.submit("--hold", "true")
        self.before = self.counts()
        path = self.status("socket")
        for mode in (None, 0o777):
            # Even where the modes of the directories would let them in.
            opened = []
            if mode:
                for name in (self.daemon.directory, self.path("state"), path):
                    opened.append((name, os.stat(name).st_mode & 0o777))
                    os.chmod(name, mode)
            try:
                for args in (["list"], ["show", str(task)], ["cancel", str(task)], ["run", "true"]):
                    result = subprocess.run(["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups",
                                             os.path.join(self.public(), "batonctl"), *args], cwd="/",
                                            env=dict(self.daemon.env, BATON_SOCKET=path), stdin=subprocess.DEVNULL,
                                            stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=baton.TIMEOUT)
                    with self.subTest(mode=mode, args=args):
                        self.assert_refused(result)
            finally:
                for name, before in opened:
                    os.chmod(name, before)
        self.assertEqual(self.row(task)["state"], "held")
        self.run_ok("release", str(task))
        self.run_ok("wait", str(task))
        self.before = self.counts()

    def public(self):
        """A directory with batonctl that everybody can read."""
        directory = self.path("public")
        if not os.path.isdir(directory):
            os.mkdir(directory)
            subprocess.run(["cp", os.path.join(baton.BIN, "batonctl"), directory], check=True)
        os.chmod(self.daemon.directory, 0o711)
        os.chmod(directory, 0o755)
        return directory


class Names(tasks.Tasks, baton.TestCase):
    """Nothing of a user's reaches a terminal raw."""

    def on_terminal(self, *args):
        terminal = baton.Terminal([os.path.join(baton.BIN, "batonctl"), *args], self.daemon.env, self.path("work"),
                                  size=(50, 200))
        self.addCleanup(terminal.close)
        seen = terminal.read_all()
        terminal.wait()
        return seen

    def assert_harmless(self, seen, what):
        text = seen.decode("utf-8")  # nothing else
        # What batonctl itself may say to a terminal: colours, and the end of a line.
        text = re.sub(r"\x1b\[[0-9;]*[mK]", "", text.replace("\r\n", "\n"))
        bad = [c for c in text if (ord(c) < 32 and c not in "\n\t\r") or 127 <= ord(c) < 160 or c in "\u202e\U000e0041"]
        self.assertEqual(bad, [], (what, seen))
        self.assertNotIn("\x1b[31m", seen.decode(), what)

    def test_never_raw(self):
        nasty = os.fsdecode(NASTY)
        task = self.submit("--name", nasty, "--hold", "-E", "V=" + nasty, "-o", nasty + "out", "sh", "-c", "exit 3", nasty)
        failing = self.submit("--name", nasty, nasty + "/no/such/program", nasty)
        gone = self.path("work") + "/" + nasty.replace("/", "")
        os.mkdir(gone)
        missing = self.submit("--hold", "-C", gone, "--name", nasty, "true")
        os.rmdir(gone)
        self.run_ok("release", str(missing))
        batch = self.submit("--each", "-", "--name", nasty, "--hold", "echo", nasty, input=b"x\n")
        self.ctl("wait", str(failing), str(missing))
        for args in (["list"], ["list", "-a"], ["show", str(task)], ["show", "--env", str(task)], ["show", str(failing)],
                     ["show", str(missing)], ["show", str(batch)], ["explain", str(task)], ["explain", str(failing)],
                     ["list", "--batch", str(batch)], ["wait", str(failing)], ["wait", str(missing)], ["worker", "list"],
                     ["show", nasty], ["cancel", nasty], [nasty], ["run", "--" + nasty.replace("\n", ""), "true"],
                     ["run", "--timeout", nasty, "true"], ["run", nasty], ["run", "-C", "/" + nasty, "true"],
                     ["submit", "--each", nasty], ["run", "-i", nasty, "true"], ["kill", "-s", nasty, str(task)],
                     ["list", "--json"], ["show", "--json", str(task)]):
            with self.subTest(args=args):
                seen = self.on_terminal(*args)
                self.assertTrue(seen, args)
                self.assert_harmless(seen, args)
        self.run_ok("cancel", str(task), str(batch))

    def test_never_raw_in_events(self):
        self.run_ok("run", "true")
        nasty = os.fsdecode(NASTY)
        terminal = baton.Terminal([os.path.join(baton.BIN, "batonctl"), "events"], self.daemon.env)
        self.addCleanup(terminal.close)
        baton.wait_until(lambda: self.status("connections") == 2, "events are followed")
        self.submit("--name", nasty, "echo", nasty)
        terminal.expect("ended")
        os.kill(terminal.pid, signal.SIGTERM)
        terminal.read_all(5)
        self.assert_harmless(terminal.seen, "events")

    def test_waiting_hint_is_harmless(self):
        nasty = os.fsdecode(NASTY)
        holders = [self.submit("--name", nasty, "sh", "-c", "sleep 1000", nasty) for _ in range(self.status_slots())]
        for holder in holders:
            self.wait_running(holder)
        terminal = baton.Terminal([os.path.join(baton.BIN, "batonctl"), "run", "true"], self.daemon.env,
                                  size=(24, 1000))
        self.addCleanup(terminal.close)
        terminal.expect("busy", timeout=15)
        self.run_ok("cancel", *map(str, holders))
        self.assertEqual(terminal.wait(), 0)
        terminal.read_all(5)
        self.assert_harmless(terminal.seen, "the hint")

    def status_slots(self):
        self.run_ok("run", "true")
        return self.status("slots")

    def test_bytes_survive_json(self):
        nasty = os.fsdecode(NASTY)
        task = self.submit("--name", nasty, "--hold", "true", nasty)
        row = self.row(task)
        self.assertEqual(row["argv"][0], "true")
        self.assertIn("\x1b[31m", row["argv"][1], "JSON escapes, and does not lose")
        self.run_ok("cancel", str(task))


if __name__ == "__main__":
    baton.main()
