"""`submit` and `logs`: what is left to run later, and what it printed."""

import os
import resource
import subprocess

import baton


class Submit(baton.TestCase):
    CONFIG = 'slots = "2"\n'

    def submit(self, *args, **options):
        return self.run_ok("submit", *args, **options).decode().strip()

    def output(self, *args, **options):
        """What a task that ends well prints."""
        id = self.submit(*args, **options)
        self.assertEqual(self.ctl("wait", id).returncode, 0)
        return self.run_ok("logs", id)

    def test_prints_the_id_only(self):
        first, second = (self.ctl("submit", "true") for _ in range(2))
        self.assertRegex(first.stdout, rb"^[1-9]\d*\n$")
        self.assertGreater(int(second.stdout), int(first.stdout))
        self.assertRegex(self.run_ok("--json", "submit", "true"), rb'^\{"type":"task","id":"\d+"\}\n$')

    def test_options_end_at_the_command(self):
        self.assertEqual(self.output("echo", "-n", "--name", "x", "--", "--help"), b"--name x -- --help")
        self.assertEqual(self.output("--", "printf", "%s", "--name"), b"--name")

    def test_runs_with_these_surroundings(self):
        env = dict(self.daemon.env, HERE="now")
        self.assertEqual(self.output("sh", "-c", "echo $HERE", env=env), b"now\n")
        self.assertEqual(self.output("-E", "HERE=there", "-E", "X=1 2", "sh", "-c", 'echo "$HERE $X"', env=env), b"there 1 2\n")
        names = self.output("--env=none", "-E", "HERE", "/usr/bin/env", env=env).decode().split("\n")
        self.assertIn("HERE=now", names)
        self.assertEqual([n for n in names if n and not n.startswith(("HERE=", "BATON_", "OMP_", "OPENBLAS_", "MKL_"))], [])
        self.assertEqual(self.output("pwd"), self.path("work").encode() + b"\n")
        self.assertEqual(self.output("-C", "/", "sh", "-c", "pwd; echo $PWD"), b"/\n/\n")

    def test_large_environments_travel_too(self):
        env = dict(self.daemon.env, **{f"BIG{n}": "x" * 100_000 for n in range(10)})
        self.assertEqual(self.output("sh", "-c", "echo ${#BIG9}", env=env), b"100000\n")
        env.update({f"MORE{n}": "x" * 100_000 for n in range(15)})
        # The kernel takes an environment beyond 2 MiB only from a process that may have a large stack.
        hard = resource.getrlimit(resource.RLIMIT_STACK)[1]
        more_stack = lambda: resource.setrlimit(resource.RLIMIT_STACK, (64 << 20, hard))
        result = self.ctl("submit", "true", env=env, preexec_fn=more_stack)
        self.assertEqual(result.returncode, 125)
        self.assertRegex(result.stderr, rb"^batonctl: [^\n]*2 MiB[^\n]*\n$")

    def test_a_command_beyond_the_frame_is_refused_in_words(self):
        result = self.ctl("submit", "echo", *["x" * 100_000] * 12)
        self.assertEqual((result.returncode, result.stdout), (125, b""))
        self.assertRegex(result.stderr, rb"^batonctl: the command [^\n]*larger than[^\n]*\n$")

    def test_files(self):
        with open(self.temporary("in"), "w") as file:
            file.write("from file\n")
        out = self.temporary("out")
        id = self.submit("-i", "in", "-o", "out", "-e", "out", "sh", "-c", "cat; echo err >&2; echo end")
        self.assertEqual(self.ctl("wait", id).returncode, 0)
        with open(out) as file:
            self.assertEqual(file.read(), "from file\nerr\nend\n")
        self.assertEqual(self.run_ok("logs", id), b"")

    def test_attempts(self):
        file = self.temporary("tries")
        id = self.submit("--attempts", "3", "sh", "-c", f"echo try; echo >> {file}; test $(wc -l < {file}) = 3")
        self.assertEqual(self.ctl("wait", id).returncode, 0)
        self.assertEqual(self.run_ok("logs", id), b"try\ntry\ntry\n")
        self.assertEqual(self.daemon.json("show", id)[0]["attempt"], 3)

    def test_each_line_is_a_command(self):
        with open(self.temporary("lines"), "w") as file:
            file.write("echo one | tr o 0\nexit 3\n/bin/echo 'a  b'\n")
        id = self.submit("--each", "lines")
        self.assertEqual(self.ctl("wait", id).returncode, 3)
        self.assertEqual(self.run_ok("logs", id), b"0ne\na  b\n")
        self.assertEqual(self.run_ok("logs", f"{id}.3"), b"a  b\n")

    def test_each_with_a_command_quotes_the_line(self):
        id = self.submit("--each", "-", "printf '%s|%s\\n' {} {#}", input=b"a b\n$x 'y'\n\nlast")
        self.assertEqual(self.ctl("wait", id).returncode, 0)
        self.assertEqual(self.run_ok("logs", id), b"a b|1\n$x 'y'|2\n|3\nlast|4\n")
        id = self.submit("-0", "--each", "-", "/bin/echo", input=b"x\ny\0z")
        self.ctl("wait", id)
        self.assertEqual(self.run_ok("logs", id), b"x\ny\nz\n")

    def test_each_submits_what_has_come_so_far(self):
        process = self.daemon.popen("submit", "--each", "-", "/bin/echo", stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        id = process.stdout.readline().decode().strip()
        for line in ("first", "second"):
            process.stdin.write(line.encode() + b"\n")
            process.stdin.flush()
            baton.wait_until(lambda: line.encode() in self.run_ok("logs", id), "the task has run")
        self.assertEqual(self.daemon.json("show", id)[0]["state"], "open")
        process.stdin.close()
        self.assertEqual(process.wait(baton.TIMEOUT), 0)
        process.stdout.close()
        self.assertEqual(self.ctl("wait", id).returncode, 0)

    def test_each_that_fails_leaves_nothing(self):
        result = self.ctl("submit", "--hold", "--each", "-", "true", input=b"ok\n" + b"x" * 2_000_000)
        self.assertEqual(result.returncode, 125)
        self.assertIn(b"longer", result.stderr)
        # Whether its first task was sent or not: it is closed, and nothing of it is left to run.
        batch, = self.daemon.json("show", result.stdout.decode().strip())
        self.assertTrue(batch["closed"])
        self.assertEqual(batch["total"], batch["counts"]["cancelled"])

    def test_each_takes_a_hundred_thousand_in_flat_memory(self):
        def peak(lines):
            text = b"".join(b"%d\n" % n for n in range(lines))
            file = self.temporary("many")
            with open(file, "wb") as many:
                many.write(text)
            code = ("import resource,subprocess,sys; r = subprocess.run(sys.argv[1:]).returncode;"
                    "print(r, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)")
            result = subprocess.run(["/usr/bin/python3", "-c", code, os.path.join(baton.BIN, "batonctl"), "submit",
                                     "--hold", "--each", "many", "/bin/true"], cwd=self.path("work"),
                                    env=self.daemon.env, stdout=subprocess.PIPE, timeout=baton.TIMEOUT, check=True)
            id, status = result.stdout.decode().split("\n")[:2]
            self.assertEqual(status.split()[0], "0")
            self.assertEqual(self.daemon.json("show", id)[0]["total"], lines)
            self.run_ok("cancel", id)
            return int(status.split()[1])
        small = peak(1000)
        self.assert_memory_below(peak(100_000), small + 4096)


class Logs(baton.TestCase):
    CONFIG = 'slots = "2"\n'

    def submit(self, *args):
        return self.run_ok("submit", *args).decode().strip()

    def ended(self, *args):
        id = self.submit(*args)
        self.ctl("wait", id)
        return id

    def test_each_stream_goes_to_its_own(self):
        id = self.ended("sh", "-c", r"echo out; echo err >&2; printf 'no newline\0'")
        result = self.ctl("logs", id)
        self.assertEqual((result.returncode, result.stdout, result.stderr), (0, b"out\nno newline\0", b"err\n"))
        self.assertEqual(self.ctl("logs", "--stdout", id).stderr, b"")
        self.assertEqual(self.run_ok("logs", "--stderr", id), b"err\n")

    def test_times_and_tail(self):
        id = self.ended("sh", "-c", "for n in 1 2 3 4 5; do echo line $n; done")
        self.assertEqual(self.run_ok("logs", "--tail", "2", id), b"line 4\nline 5\n")
        self.assertEqual(self.run_ok("logs", "--tail", "0", id), b"")
        self.assertEqual(self.run_ok("logs", "--tail", "99", id), self.run_ok("logs", id))
        lines = self.run_ok("logs", "-t", "--tail", "1", id).decode()
        self.assertRegex(lines, r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z line 5\n$")

    def test_of_neighbours_in_one_file_stay_apart(self):
        ids = [self.submit("sh", "-c", f"for n in 1 2 3; do echo {k}; done") for k in range(40)]
        self.ctl("wait", *ids)
        for k, id in enumerate(ids):
            self.assertEqual(self.run_ok("logs", id), f"{k}\n".encode() * 3)

    def test_follow_ends_with_the_task(self):
        fifo = self.temporary("go")
        os.mkfifo(fifo)
        id = self.submit("sh", "-c", f"echo begin; read line < {fifo}; echo $line; printf end; exit 5")
        process = self.daemon.popen("logs", "-f", id, stdout=subprocess.PIPE)
        self.assertEqual(process.stdout.readline(), b"begin\n")
        with open(fifo, "w") as file:
            file.write("middle\n")
        self.assertEqual(process.stdout.read(), b"middle\nend")
        self.assertEqual(process.wait(baton.TIMEOUT), 0)
        process.stdout.close()

    def test_follow_begins_before_the_task(self):
        busy = [self.submit("sleep", "1000") for _ in range(2)]
        id = self.submit("sh", "-c", "echo now")
        process = self.daemon.popen("logs", "-f", id, stdout=subprocess.PIPE)
        baton.wait_until(lambda: self.daemon.json("status")["connections"] >= 2, "it follows")
        self.run_ok("cancel", *busy)
        self.assertEqual(process.stdout.read(), b"now\n")
        self.assertEqual(process.wait(baton.TIMEOUT), 0)
        process.stdout.close()

    def test_follow_shows_nothing_of_the_next_task(self):
        """Two slots' workers write one short task after the other into the same files while others follow."""
        for round in range(10):
            ids = [self.submit("sh", "-c", f"echo {round}.{k}.a; echo {round}.{k}.b") for k in range(12)]
            followers = [self.daemon.popen("logs", "-f", id, stdout=subprocess.PIPE) for id in ids]
            for k, process in enumerate(followers):
                self.assertEqual(process.stdout.read(), f"{round}.{k}.a\n{round}.{k}.b\n".encode())
                self.assertEqual(process.wait(baton.TIMEOUT), 0)
                process.stdout.close()

    def test_follow_loses_nothing_of_much(self):
        id = self.submit("sh", "-c", "seq 1 3000000")
        result = self.ctl("logs", "-f", id)
        self.assertEqual(result.stderr, b"")
        self.assertEqual(result.stdout.count(b"\n"), 3000000)
        self.assertTrue(result.stdout.endswith(b"\n2999999\n3000000\n"))

    def test_of_too_much_the_first_and_the_last_is_kept(self):
        id = self.ended("sh", "-c", "seq 1 15000000")
        result = self.ctl("logs", id)
        self.assertRegex(result.stderr, rb"^batonctl: task \d+: [\d.]+ MiB of output are missing here\n$")
        self.assertTrue(result.stdout.startswith(b"1\n2\n3\n"))
        self.assertTrue(result.stdout.endswith(b"14999999\n15000000\n"))
        self.assertGreater(len(result.stdout), 60 << 20)
        self.assertLess(len(result.stdout), 65 << 20)
        self.assertEqual(self.run_ok("logs", "--tail", "2", id), b"14999999\n15000000\n")

    def test_of_what_went_elsewhere_say_so(self):
        self.run_ok("run", "echo", "hello")
        result = self.ctl("logs", "last")
        self.assertEqual((result.returncode, result.stdout), (0, b""))
        self.assertIn(b"went to the client", result.stderr)

    def test_follow_takes_one_task(self):
        id = self.run_ok("submit", "--each", "-", "true", input=b"1\n2\n").decode().strip()
        self.assertEqual(self.ctl("logs", "-f", f"{id}.1", f"{id}.2").returncode, 125)
        self.assertEqual(self.ctl("logs", "-f", id).returncode, 125)
        self.assertEqual(self.ctl("logs", "-f", f"{id}.2").returncode, 0)


if __name__ == "__main__":
    baton.main()
