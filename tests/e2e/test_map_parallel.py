"""`batonctl map` beside the real GNU parallel: the same words and input give the same bytes and exit code.

What differs on purpose is in docs/map.md.
"""

import os
import re
import shutil
import subprocess
import unittest

import baton

NASTY = [
    b"plain", b"", b" ", b"two  words", b" lead", b"trail ", b"tab\there", b"it's", b'say "x"', b"$HOME", b"`id`", b"$(id)", b"${x}",
    b"a;b", b"a&b", b"a|b", b"<in", b">out", b"*", b"?", b"[a-z]", b"{a,b}", b"~", b"~root", b"!", b"!!", b"#x", b"%s", b"%", b"\\",
    b"\\n", b"a\\", b"\\\\'", b"-n", b"-", b"--", b"-e x", b"--help", b"=", b"a=b", b"(", b")", b"{}", b"{#}", b"{1}", b"{", b"}",
    b"\xc3\xa9t\xc3\xa9", b"\x80\xff\xfe", b"\x1b[31m", b"\x01\x7f", b"\r", b"a\rb", b"caf\xe9", b"x" * 5000, b"\xe2\x80\xae", b"'",
    b"''", b"'''", b'"', b'""', b"@", b"^", b",", b"+", b":", b"/a//b/", b".", b"..", b"a.b.c", b"\xa0",
]


class Both:
    """Mixed into a baton.TestCase."""

    @classmethod
    def setUpClass(cls):
        if not shutil.which("parallel"):
            raise unittest.SkipTest("GNU parallel is not installed")
        super().setUpClass()
        # Both choose a shell: it shall be the same. A home of its own has no profile of parallel's.
        cls.env = dict(cls.daemon.env, BATON_SHELL="/bin/bash", PARALLEL_SHELL="/bin/bash", HOME=cls.path("work"))
        cls.env.pop("PARALLEL", None)

    def run_one(self, program, args, input):
        # GNU parallel takes a tenth of a second for a job where the machine is loaded.
        return subprocess.run([*program, *args], input=input, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=self.env,
                              cwd=self.path("work"), timeout=5 * baton.TIMEOUT)

    def parallel(self, *args, input=b""):
        return self.run_one(["parallel", "--will-cite"], args, input)

    def map(self, *args, input=b""):
        return self.run_one([os.path.join(baton.BIN, "batonctl"), "map"], args, input)

    def both(self, *args, input=b"", stderr=False):
        theirs = self.parallel(*args, input=input)
        ours = self.map(*args, input=input)
        # Of what is long a difference would be shown for minutes.
        shown = [text if len(text) < 100_000 else (len(text), hash(text)) for text in (ours.stdout, theirs.stdout)]
        self.assertEqual(shown[0], shown[1], args)
        self.assertEqual(ours.returncode, theirs.returncode, (args, ours.stderr, theirs.stderr))
        if stderr:
            self.assertEqual(ours.stderr, theirs.stderr, args)
        return ours

    def fresh(self, name):
        """An empty directory for the jobs to leave something in."""
        path = os.path.join(self.path("work"), name)
        shutil.rmtree(path, ignore_errors=True)
        os.mkdir(path)
        return path


class Values(Both, baton.TestCase):
    def test_from_lines(self):
        lines = b"".join(value + b"\n" for value in NASTY)
        self.both("-k", "printf '[%s]\\n' {}", input=lines)

    def test_with_nul(self):
        records = b"".join(value + b"\0" for value in NASTY + [b"a\nb", b"\n", b"a\n", b"\na"])
        self.both("-k", "-0", "printf '[%s]\\n' {}", input=records)
        self.both("-k", "--null", "echo", input=b"a\0b\0 \0-n\0--\0")

    def test_as_arguments(self):
        self.both("-k", "echo", ":::", *(value for value in NASTY if value))

    def test_within_quotes(self):
        values = [b"a b", b"it's", b'"', b"$x", b"*", b"\\", b"-n"]
        self.both("-k", "echo '{}' \"{}\" x{}y", ":::", *values)
        self.both("-k", "echo", "'{}'", '"{}"', ":::", *values)

    def test_dry_run(self):
        records = b"".join(value + b"\0" for value in NASTY + [b"a\nb"])
        self.both("-k", "--dry-run", "-0", "echo {} '{.}' x{/}y", input=records)
        self.both("-k", "--dry-run", "--tag", "echo", ":::", "a b", "c")

    def test_replacements(self):
        paths = ["/a/b.c/d.tar.gz", "x.y", "/", "a/", "noext", ".hidden", "a.b/c", "a b/c d.e f", "./x", "../y.z", "//"]
        self.both("-k", "echo {#} {} {.} {/} {//} {/.}", ":::", *paths)
        self.both("-k", "echo {1}-{2}-{1.}-{2/}-{-1}-{3}-{2//}-{1/.}", ":::", "a.b", "c", ":::", "d/e", "f")
        self.both("-k", "-j1", "echo {%} {#} {} { } {nothing} {1x}", ":::", "1", "2", "3")

    def test_sources(self):
        for name, lines in (("one", "a\nb\n"), ("two", "1\n2\n3"), ("none", "")):
            with open(os.path.join(self.path("work"), name), "w") as file:
                file.write(lines)
        self.both("-k", "echo", ":::", "1", "2", ":::", "3", "4", ":::", "5 6", "7")
        self.both("-k", "echo", ":::", "1", "2", "3", ":::+", "a", "b", "c", ":::", "x", "y")
        self.both("-k", "-a", "one", "echo {}")
        self.both("-k", "-a", "one", "-a", "two", "echo {1} {2}")
        self.both("-k", "echo", "::::", "one", "two")
        self.both("-k", "echo {2}{1}", "::::", "one", ":::", "y", "z")
        self.both("-k", "echo", "::::", "-", ":::", "y", "z", input=b"p\nq\n")
        self.both("-k", "-a", "none", "echo")

    def test_nothing_and_nearly_nothing(self):
        self.both("echo", input=b"")
        self.both("-k", "echo x{}x", input=b"a\n\nb")
        self.both("-k", "echo x{}x", input=b"\n")
        self.both("-k", "-0", "echo x{}x", input=b"\0\0")
        self.both("-k", "echo", ":::", "")

    def test_lines_are_commands_where_none_is_given(self):
        self.both("-k", input=b"echo one\necho two; exit 3\n\nexit 1\n")
        self.both("-k", "{}", ":::", "echo a; exit 3", "echo b")
        self.both("-k", ":::", "echo a; exit 3", "echo b")

    def test_lines_for_a_shell(self):
        self.both("-k", "echo {} | tr a-z A-Z; false", input=b"a\nb\n")
        self.both("-k", "x={}; echo $x $((x*2)) > /dev/stderr; echo ok", ":::", "1", "2")
        self.both("-k", "echo *; echo ~ $0", ":::", "x")
        self.both("-k", "cat", ":::", "/etc/hostname")
        self.both("-k", "for i in 1 2; do echo $i{}; done", ":::", "x", "y")
        self.both("-k", "echo {} -- x # no more", ":::", "a")
        self.both("-k", "cat; echo {}", ":::", "1", "2", input=b"not for the jobs\n")

    def test_jobs_at_once(self):
        values = [str(n) for n in range(9)]
        theirs = self.parallel("-k", "-j2", "echo", ":::", *values)
        for jobs in (["-j1"], ["-j", "2"], ["-j", "50%"], ["-j", "200%"], ["-j-1"], ["-j+1"], ["-j", "0"], ["--jobs", "2"], ["-P2"],
                     ["--max-procs=2"], ["--io"], ["--io", "-j", "3"]):
            ours = self.map("-k", *jobs, "echo", ":::", *values)
            self.assertEqual((ours.stdout, ours.returncode), (theirs.stdout, theirs.returncode), jobs)


class Results(Both, baton.TestCase):
    def test_exit_code_is_the_number_of_failures(self):
        for failures in (0, 1, 3, 100, 102):
            self.both("-k", "exit {}", ":::", *["7"] * failures, "0", "0")

    def test_every_kind_of_failure(self):
        self.both("-k", "kill -9 $$", ":::", "1", "2")
        self.both("-k", "no-such-program-here", ":::", "1")
        self.both("-k", "/etc/passwd", ":::", "1")
        self.both("-k", "exit 255", ":::", "1")
        self.both("-k", "-j1", "--timeout", "1", "echo {}; sleep {}", ":::", "100", "0")

    def test_halt(self):
        for halt in ("never", "soon,fail=1", "now,fail=1", "soon,fail=2", "now,fail=3", "now,success=1", "soon,success=2", "soon,done=3",
                     "now,done=2", "0", "1", "2", "-1", "-2", "soon,fail=20%", "now,fail=50%", "soon,success=30%", "30%"):
            with self.subTest(halt=halt):
                self.both("-j1", "-k", "--halt", halt, "echo {}; exit {}", ":::", "0", "4", "0", "5", "6", "0")
        self.both("-j1", "--halt=now,fail=1", "kill -9 $$", ":::", "1", "2")

    def test_retries(self):
        command = "echo x >> tries/{}; echo attempt $(wc -l < tries/{}); echo why >&2; test $(wc -l < tries/{}) -ge 3"
        for options in (["--retries", "1"], ["--retries", "3"], ["-k", "--retries", "3"], ["--tag", "--retries", "2"]):
            with self.subTest(options=options):
                results = []
                for program in (self.parallel, self.map):
                    tries = self.fresh("tries")
                    result = program("-j1", *options, command, ":::", "1", "2")
                    counts = {name: os.path.getsize(os.path.join(tries, name)) for name in os.listdir(tries)}
                    results.append((result.returncode, result.stdout, counts))
                self.assertEqual(results[1], results[0])

    def log_of(self, program, args, log):
        program(*args)
        with open(log, "rb") as file:
            return [line.split(b"\t") for line in file.read().split(b"\n")]

    def same_log(self, *args, seed=None):
        log = self.temporary("joblog")
        args = ["-j1", "--joblog", "+" + log if seed else log, *args]
        logs = []
        for program in (self.parallel, self.map):
            if seed:
                with open(log, "wb") as file:
                    file.write(seed)
            logs.append(self.log_of(program, args, log))
        self.assertEqual(len(logs[0]), len(logs[1]), logs)
        for theirs, ours in zip(*logs):
            self.assertEqual([len(field) for field in ours[:4]], [len(field) for field in theirs[:4]])
            self.assertEqual(ours[:2] + ours[4:], theirs[:2] + theirs[4:])
            for time in (2, 3):  # Starttime, JobRuntime
                if len(theirs) > 3 and theirs[0] != b"Seq":
                    self.assertRegex(theirs[time], rb"^ *\d+\.\d{3}$")
                    self.assertRegex(ours[time], rb"^ *\d+\.\d{3}$")

    def test_joblog(self):
        self.same_log("printf '%s' {}; test {} != fail || exit 9; test {} != kill || kill -15 $$", ":::", "ok", "fail", "kill", "a b")
        self.same_log("--timeout", "1", "echo x; sleep {}", ":::", "100")
        self.same_log("--retries", "2", "exit {}", ":::", "0", "1")
        self.same_log("no-such-program-here", ":::", "1")
        self.same_log("--halt", "soon,fail=1", "exit {}", ":::", "0", "1", "0")
        self.same_log("true", ":::", "1", seed=b"Seq\told\n")
        self.same_log("-k", "--tag", "echo {}; echo more", ":::", "1")
        self.same_log("true")


class Output(Both, baton.TestCase):
    def test_tag(self):
        self.both("-k", "--tag", "printf 'a\\nb'; echo e >&2; printf 'c\\n\\nd\\n'", ":::", "1", "2", "x y")
        self.both("-k", "--tag", "echo", ":::", "a b", "c", ":::", "d")
        self.both("-k", "--tag", "seq 3000", ":::", "1", "2", "3")
        self.both("-k", "--tag", "printf 'a\\rb\\nc'; printf '\\n\\nno end'", ":::", "1", "2")
        self.both("-k", "--tag", "-0", "echo x", input=b"a\tb\0c\0")
        self.both("-k", "--tag", "true", ":::", "1")

    def test_stdout_then_stderr_of_each(self):
        self.both("-k", "echo out {}; echo err {} >&2", ":::", "1", "2", "3", stderr=True)
        self.both("-k", "-j1", "--tag", "echo err {} >&2; echo out {}; exit 1", ":::", "1", "2", stderr=True)
        both = [self.merged(program) for program in ("parallel --will-cite", "batonctl map")]
        self.assertEqual(both[1], both[0])

    def merged(self, program):
        script = program + " -k 'echo err {} >&2; echo out {}' ::: 1 2 3 2>&1"
        return subprocess.run(["bash", "-c", script], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, env=self.env,
                              cwd=self.path("work"), timeout=5 * baton.TIMEOUT).stdout

    def test_bytes_are_not_touched(self):
        self.both("-k", "printf '\\000\\377\\200 no newline {}'", ":::", "1", "2")
        self.both("-k", "printf '\\033[31m\\r\\n\\n\\n'", ":::", "1", "2")

    def test_much(self):
        self.both("-k", "head -c 3000000 /dev/zero | tr '\\0' {}", ":::", "a", "b", "c", "d")


if __name__ == "__main__":
    baton.main()
