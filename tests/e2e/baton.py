"""What the end-to-end tests share: a private daemon in a temporary directory, batonctl, and a terminal.

BATON_BIN names the directory of the programs. Nothing here waits for a time: it waits for a condition, and
gives up after TIMEOUT seconds with what it saw so far.
"""

import fcntl
import json
import os
import pty
import re
import select
import shutil
import signal
import struct
import subprocess
import tempfile
import termios
import time
import unittest

BIN = os.environ.get("BATON_BIN", "") and os.path.abspath(os.environ["BATON_BIN"])
TIMEOUT = float(os.environ.get("BATON_TEST_TIMEOUT", "30"))
# How much slower the programs are than without a sanitizer.
SLOWNESS = TIMEOUT / 30
SANITIZED = bool(os.environ.get("BATON_TEST_SANITIZED"))


def wait_until(condition, what, timeout=TIMEOUT):
    """Returns condition()'s value as soon as it is true."""
    deadline = time.monotonic() + timeout
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {timeout} s: {what}")
        time.sleep(0.005)


def processes_with(entry):
    """Pids whose environment holds the bytes `entry`; a zombie has none."""
    found = []
    for name in os.listdir("/proc"):
        if name.isdigit() and int(name) != os.getpid():
            try:
                with open(f"/proc/{name}/environ", "rb") as file:
                    if entry in file.read():
                        found.append(int(name))
            except OSError:
                pass
    return found


class Daemon:
    """A daemon of its own, started by the first verb that needs one. `config` is the text of batond.toml."""

    def __init__(self, config=""):
        self.directory = tempfile.mkdtemp(prefix="baton-test-")
        self.env = {k: v for k, v in os.environ.items() if not k.startswith("BATON_")}
        self.env.update(
            BATON_STATE_DIR=self.path("state"),
            XDG_RUNTIME_DIR=self.path("run"),
            XDG_CONFIG_HOME=self.path("config"),
            PATH=BIN + ":" + self.env.get("PATH", "/usr/bin:/bin"),
            LC_ALL="C.UTF-8",
        )
        for name in ("run", "config/baton", "work"):
            os.makedirs(self.path(name), mode=0o700)
        with open(self.path("config/baton/batond.toml"), "w") as file:
            file.write(config)

    def path(self, name):
        return os.path.join(self.directory, name)

    def popen(self, *args, **options):
        options.setdefault("env", self.env)
        options.setdefault("cwd", self.path("work"))
        return subprocess.Popen([os.path.join(BIN, "batonctl"), *args], **options)

    def ctl(self, *args, timeout=TIMEOUT, **options):
        """Runs batonctl to its end; the result has returncode, stdout and stderr as bytes."""
        options.setdefault("env", self.env)
        options.setdefault("cwd", self.path("work"))
        options.setdefault("stdout", subprocess.PIPE)
        options.setdefault("stderr", subprocess.PIPE)
        if "input" not in options:
            options.setdefault("stdin", subprocess.DEVNULL)
        return subprocess.run([os.path.join(BIN, "batonctl"), *args], timeout=timeout, **options)

    def json(self, *args):
        return json.loads(self.ctl(*args, "--json").stdout)

    def processes(self):
        """Everything that was started with this daemon's environment and still lives."""
        return processes_with(b"BATON_STATE_DIR=" + self.path("state").encode())

    def close(self):
        try:
            self.ctl("stop", "--now", timeout=15)
        except subprocess.TimeoutExpired:
            pass
        for _ in range(50):
            left = self.processes()
            if not left:
                break
            for pid in left:
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    pass
            time.sleep(0.02)
        shutil.rmtree(self.directory, ignore_errors=True)


class TestCase(unittest.TestCase):
    """Each test class has one daemon. CONFIG is the text of its batond.toml."""

    CONFIG = ""
    maxDiff = 4000

    def assert_memory_below(self, used, bound, *what):
        """Sanitizers keep what was freed, and put room around everything: there is no telling then."""
        if not SANITIZED:
            self.assertLess(used, bound, *what)

    @classmethod
    def setUpClass(cls):
        if not BIN:
            raise unittest.SkipTest("BATON_BIN is not set")
        cls.daemon = Daemon(cls.CONFIG)
        cls.addClassCleanup(cls.daemon.close)
        cls.ctl = staticmethod(cls.daemon.ctl)
        cls.path = staticmethod(cls.daemon.path)

    def run_ok(self, *args, **options):
        result = self.ctl(*args, **options)
        self.assertEqual(result.returncode, 0, result)
        return result.stdout

    def temporary(self, name):
        """A path in the working directory of the test's commands that does not exist yet."""
        path = os.path.join(self.path("work"), name)
        if os.path.lexists(path):
            os.unlink(path)
        return path


class Terminal:
    """A program on a pseudo-terminal, and the person in front of it."""

    def __init__(self, argv, env, cwd="/", size=(24, 80)):
        self.seen = b""
        self.at = 0
        self.status = None
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            try:
                os.chdir(cwd)
                signal.pthread_sigmask(signal.SIG_SETMASK, [])
                self._size(0, size)
                os.execvpe(argv[0], argv, env)
            finally:
                os._exit(127)
        self.resize(*size)

    @staticmethod
    def _size(fd, size):
        fcntl.ioctl(fd, termios.TIOCSWINSZ, struct.pack("HHHH", size[0], size[1], 0, 0))

    def resize(self, rows, columns):
        self._size(self.fd, (rows, columns))

    def settings(self):
        return termios.tcgetattr(self.fd)

    def is_raw(self):
        return not self.settings()[3] & (termios.ICANON | termios.ECHO)

    def type(self, text):
        data = text.encode() if isinstance(text, str) else text
        while data:
            data = data[os.write(self.fd, data) :]

    def _read(self, timeout):
        if not select.select([self.fd], [], [], timeout)[0]:
            return False
        try:
            chunk = os.read(self.fd, 65536)
        except OSError:
            chunk = b""
        self.seen += chunk
        return bool(chunk)

    def expect(self, pattern, timeout=TIMEOUT):
        """Waits for what `pattern` (a regular expression) matches behind what was matched before."""
        expression = re.compile(pattern.encode() if isinstance(pattern, str) else pattern, re.DOTALL)
        deadline = time.monotonic() + timeout
        while True:
            match = expression.search(self.seen, self.at)
            if match:
                self.at = match.end()
                return match
            left = deadline - time.monotonic()
            if left <= 0 or not self._read(left):
                raise AssertionError(f"{pattern!r} does not come; it shows {self.seen[self.at:]!r} after "
                                     f"{self.seen[:self.at][-300:]!r}")

    def read_all(self, timeout=TIMEOUT):
        """Everything until the program's side is closed."""
        deadline = time.monotonic() + timeout
        while self._read(max(deadline - time.monotonic(), 0)):
            pass
        return self.seen

    def wait(self, timeout=TIMEOUT):
        """The exit code; -N for signal N."""
        def ended():
            self._read(0)
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.status = os.waitstatus_to_exitcode(status)
            return pid
        if self.status is None:
            wait_until(ended, f"the program ends; it shows {self.seen[-500:]!r}", timeout)
        return self.status

    def close(self):
        if self.status is None:
            try:
                os.kill(self.pid, signal.SIGKILL)
                os.waitpid(self.pid, 0)
            except (ProcessLookupError, ChildProcessError):
                pass
            self.status = -signal.SIGKILL
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1


class Shell(Terminal):
    """An interactive bash with job control, and a prompt that is told from all else."""

    PROMPT = "PS-7f3>"

    def __init__(self, env, cwd):
        env = dict(env, PS1=self.PROMPT, HISTFILE="", TERM="xterm", INPUTRC="/dev/null")
        env.pop("PROMPT_COMMAND", None)
        super().__init__(["bash", "--norc", "--noprofile", "-i"], env, cwd)
        self.expect(self.PROMPT)
        self.run("bind 'set enable-bracketed-paste off'; set -b")

    def line(self, text):
        """Types a line, and waits for its echo."""
        self.type(text + "\n")
        self.expect(re.escape(text) + "\r?\n")

    def prompt(self):
        self.expect(self.PROMPT)

    def run(self, text):
        """Runs a line to its end; what it printed."""
        self.line(text)
        start = self.at
        self.prompt()
        return self.seen[start : self.at - len(self.PROMPT)]


def main():
    unittest.main(verbosity=2)
