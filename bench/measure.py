"""What the parts of the benchmark share: daemons of their own, times, tables."""

import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
BIN = os.environ.get("BATON_BIN", os.path.join(ROOT, "build/release/bin"))
CTL = os.path.join(BIN, "batonctl")
sys.path.insert(0, os.path.join(ROOT, "tests/e2e"))  # wire.py: the protocol without a client's start-up

NOTHING = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
QUIET = [(os.POSIX_SPAWN_DUP2, NOTHING, fd) for fd in (0, 1)]


def have(program):
    return shutil.which(program) is not None


def call(command, env=None, stdin=None):
    """Seconds that a process took, from its start to its end. posix_spawn: the least that a caller can pay."""
    actions = QUIET if stdin is None else [(os.POSIX_SPAWN_DUP2, stdin, 0), QUIET[1]]
    path = shutil.which(command[0])
    begin = time.perf_counter()
    pid = os.posix_spawn(path, command, os.environ if env is None else env, file_actions=actions)
    status = os.waitpid(pid, 0)[1]
    seconds = time.perf_counter() - begin
    if status != 0:
        sys.exit(f"{' '.join(command)} failed: {os.waitstatus_to_exitcode(status)}")
    return seconds


def interleaved(candidates, rounds):
    """{name: times}: one run of each in each round, so that noise meets all alike."""
    times = {name: [] for name in candidates}
    for _ in range(rounds):
        for name, function in candidates.items():
            times[name].append(function())
    return times


def median(times):
    return statistics.median(times)


def table(title, rows):
    widths = [max(len(str(row[i])) for row in rows if i < len(row)) for i in range(max(map(len, rows)))]
    print(f"\n{title}")
    for row in rows:
        print("  " + "  ".join(str(cell).ljust(width) for cell, width in zip(row, widths)).rstrip(), flush=True)


def verdict(good):
    return "ok" if good else "MISSED"


class Daemon:
    """A daemon of the benchmark's own; `config` is the text of its batond.toml."""

    def __init__(self, config="", **env):
        self.config = config
        self.extra = env

    def __enter__(self):
        self.directory = tempfile.mkdtemp(prefix="baton-bench-")
        os.makedirs(os.path.join(self.directory, "config/baton"))
        with open(os.path.join(self.directory, "config/baton/batond.toml"), "w", encoding="ascii") as file:
            file.write(self.config)
        os.environ.update(BATON_STATE_DIR=self.path("state"), XDG_CONFIG_HOME=self.path("config"), **self.extra)
        return self

    def __exit__(self, *_):
        subprocess.run([CTL, "stop", "--now"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=60)
        for name in self.extra:
            del os.environ[name]
        shutil.rmtree(self.directory, ignore_errors=True)

    def path(self, name):
        return os.path.join(self.directory, name)

    def start(self):
        call([CTL, "run", "true"])

    def pid(self):
        return int(subprocess.check_output([CTL, "status", "--json"]).split(b'"pid":')[1].split(b",")[0])

    def peer(self):
        from wire import Peer

        return Peer(self.path("state/control.sock"), timeout=120)

    def tsp(self, slots=1):
        """The environment of a task-spooler server of its own."""
        env = dict(os.environ, TS_SOCKET=self.path("tsp"), TS_MAXFINISHED="100000", TMPDIR=self.directory)
        call(["tsp", "-S", str(slots)], env)
        return env


def resident(pid):
    with open(f"/proc/{pid}/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGESIZE")


def switches(pid):
    with open(f"/proc/{pid}/status", encoding="ascii") as file:
        return sum(int(line.split()[1]) for line in file if "ctxt_switches" in line)


def parent(pid):
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
            return int(file.read().rsplit(")", 1)[1].split()[1])
    except OSError:
        return 0


def children(pid):
    return [int(entry) for entry in os.listdir("/proc") if entry.isdigit() and parent(int(entry)) == pid]
