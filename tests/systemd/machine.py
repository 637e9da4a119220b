"""A machine that really boots systemd: a Debian root made once, started by systemd-nspawn for each test class.

`Machine` is what tests use: boot it, run commands in it as root, as a user, or in a login session, close it.
Needs root, a cgroup v2 hierarchy and Debian's mmdebstrap and systemd-container; where one of them is missing, or
no machine boots for another reason, `NotHere` says why. As a program this makes the root. Nothing is left behind: the machine's disk is an overlay in memory, its processes live in a
cgroup and a pid namespace of its own, and it dies with the process that booted it.
"""

import contextlib
import fcntl
import glob
import itertools
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../e2e"))
from baton import wait_until  # noqa: E402

SOURCE = os.path.abspath(os.path.join(os.path.dirname(os.path.abspath(__file__)), "../.."))
BUILD = os.path.abspath(os.environ.get("BATON_BUILD") or os.path.join(SOURCE, "build/dev"))
ROOTS = os.path.abspath(os.environ.get("BATON_SYSTEMD_ROOTS") or os.path.join(SOURCE, "build/machine-roots"))
# Loaded machines boot slowly; an idle one takes three seconds.
TIMEOUT = float(os.environ.get("BATON_TEST_TIMEOUT", "90"))

# Besides the essential ones: systemd as PID 1 with logins and user managers, and what batond links with.
PACKAGES = ("systemd-sysv", "dbus", "dbus-user-session", "libpam-systemd", "libsystemd0", "libstdc++6", "procps")
# What a machine for tests has no use for, and what would only disturb.
MASKED = ("apt-daily.timer", "apt-daily-upgrade.timer", "e2scrub_all.timer", "dpkg-db-backup.timer",
          "console-getty.service", "dev-hugepages.mount")
# Who logs out ends at once, and not after the ten seconds that Debian waits for another login.
LOGIND = "[Login]\nUserStopDelaySec=0\n"
# How a program says that it was skipped: automake's number, and ctest's by our CMakeLists.txt.
SKIPPED = 77


class NotHere(Exception):
    """No machine can be had here, through no fault of baton's."""


def check():
    if os.geteuid() != 0:
        raise NotHere("only root can boot a machine")
    for program, package in (("mmdebstrap", "mmdebstrap"), ("systemd-nspawn", "systemd-container"),
                             ("nsenter", "util-linux"), ("setpriv", "util-linux")):
        if not shutil.which(program):
            raise NotHere(f"{program} is not installed (package {package})")
    if not cgroup2():
        raise NotHere("no cgroup v2 hierarchy is mounted")


def mount_points(*words):
    """Where file systems are mounted whose lines in mountinfo hold all the words."""
    with open("/proc/self/mountinfo") as file:
        return [line.split()[4].rstrip("/") for line in file if all(word in line for word in words)]


def cgroup2(mounts=None):
    """The directory of our own cgroup in the v2 hierarchy, or below another mount point."""
    mounts = mount_points(" - cgroup2 ") if mounts is None else mounts
    with open("/proc/self/cgroup") as file:
        own = [line.strip()[3:] for line in file if line.startswith("0::")]
    return mounts[0] + own[0].rstrip("/") if mounts and own else ""


def mirror():
    """Where nspawn makes the same cgroups once more: in systemd's hierarchy of v1, on a machine that still has one."""
    return cgroup2(mount_points(" - cgroup ", "name=systemd"))


def sources():
    """This machine's own apt sources: they are known to be reached from here."""
    lists = glob.glob("/etc/apt/sources.list.d/*.list") + glob.glob("/etc/apt/sources.list.d/*.sources")
    return [path for path in ["/etc/apt/sources.list", *sorted(lists)] if os.path.exists(path)]


@contextlib.contextmanager
def locked(path):
    with open(path, "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def read(path):
    """What the file holds; nothing if it is not there."""
    with contextlib.suppress(OSError), open(path) as file:
        return file.read()
    return ""


def root():
    """The directory of the root; made by the first who asks, which takes a minute."""
    os.makedirs(ROOTS, exist_ok=True)
    path = os.path.join(ROOTS, "bookworm")
    stamp = path + ".packages"
    wanted = " ".join(PACKAGES + MASKED) + "\n" + LOGIND
    with locked(path + ".lock"):
        if read(stamp) == wanted:
            return path
        print(f"making {path} from Debian's packages", file=sys.stderr, flush=True)
        shutil.rmtree(path, ignore_errors=True)
        acquire = subprocess.run(["apt-config", "dump", "Acquire"], stdout=subprocess.PIPE, check=True, text=True)
        options = [f"--aptopt={line}" for line in acquire.stdout.splitlines()
                   if re.match("Acquire::(http|https|Check-Valid-Until|Check-Date|Retries)(::| )", line)]
        made = subprocess.run(["mmdebstrap", "--variant=minbase", "--aptopt=Acquire::Retries \"3\"", "--include=" + ",".join(PACKAGES),
                               "--dpkgopt=path-exclude=/usr/share/doc/*", "--dpkgopt=path-exclude=/usr/share/locale/*",
                               *options, "bookworm", path, *sources()],
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        if made.returncode != 0:
            raise NotHere(f"mmdebstrap made no root:\n{made.stdout[-3000:]}")
        for unit in MASKED:
            os.symlink("/dev/null", os.path.join(path, "etc/systemd/system", unit))
        os.mkdir(path + "/etc/systemd/logind.conf.d")
        with open(path + "/etc/systemd/logind.conf.d/tests.conf", "w") as file:
            file.write(LOGIND)
        with open(stamp, "w") as file:
            file.write(wanted)
    return path


def install(prefix, destination):
    """Installs BUILD as a person would into `prefix`, below the directory `destination`."""
    with locked(os.path.join(BUILD, "install.lock")):
        subprocess.run(["cmake", "--install", BUILD, "--prefix", prefix], env=dict(os.environ, DESTDIR=destination),
                       stdout=subprocess.DEVNULL, check=True)


class Cgroup:
    """A cgroup of our own for nspawn, which makes others below it. Its name has our pid: who finds one of a process
    that was killed removes it."""

    PREFIX = "baton-machine-"
    numbers = itertools.count(1)

    def __init__(self):
        for place in filter(None, (cgroup2(), mirror())):
            for path in glob.glob(os.path.join(place, self.PREFIX + "*-*")):
                if not os.path.exists("/proc/" + path.split("-")[-2]):
                    self._remove(path)
        self.path = os.path.join(cgroup2(), f"{self.PREFIX}{os.getpid()}-{next(self.numbers)}")
        try:
            os.mkdir(self.path)
        except OSError as why:
            raise NotHere(f"a cgroup cannot be made: {why}")

    def join(self):
        with open(self.path + "/cgroup.procs", "w") as file:
            file.write("0")

    def close(self):
        self._remove(self.path)
        if mirror():
            self._remove(os.path.join(mirror(), os.path.basename(self.path)))

    @staticmethod
    def _remove(path):
        """Kills what is in it, and removes it."""
        def empty():
            pids = [pid for directory, _, _ in os.walk(path) for pid in read(directory + "/cgroup.procs").split()]
            for pid in map(int, pids):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            return not pids
        wait_until(empty, f"{path} is empty", TIMEOUT)
        for directory, _, _ in os.walk(path, topdown=False):
            with contextlib.suppress(FileNotFoundError):
                os.rmdir(directory)


class Result:
    """How a command in the machine ended."""

    def __init__(self, process):
        self.code, self.out, self.err = process.returncode, process.stdout, process.stderr

    def __repr__(self):
        return f"exit {self.code}, stdout {self.out!r}, stderr {self.err!r}"


class Machine:
    """One booted machine."""

    def __init__(self):
        self.cgroup = Cgroup()
        self.directory = tempfile.mkdtemp(prefix="baton-machine-")
        self.console = open(os.path.join(self.directory, "console"), "w+b")
        self.nspawn = None
        self.init = 0

    def boot(self):
        install("/usr/local", self.directory)
        self.nspawn = subprocess.Popen(
            ["setpriv", "--pdeathsig", "SIGKILL", "systemd-nspawn", "--quiet", "--directory", root(), "--volatile=overlay",
             "--machine", os.path.basename(self.cgroup.path), "--register=no", "--keep-unit", "--private-network",
             "--console=read-only", "--link-journal=no", "--bind-ro", self.directory + "/usr/local:/usr/local", "--boot"],
            env=dict(os.environ, SYSTEMD_NSPAWN_UNIFIED_HIERARCHY="1", SYSTEMD_NSPAWN_LOCK="0"),
            stdin=subprocess.DEVNULL, stdout=self.console, stderr=subprocess.STDOUT, preexec_fn=self.cgroup.join)
        try:
            wait_until(self._init, "systemd-nspawn starts PID 1", TIMEOUT)
            wait_until(self._booted, "the machine has booted", TIMEOUT)
        except AssertionError as why:  # nothing of baton runs so far
            raise NotHere(f"{why}\n{self.said()}")

    def _booted(self):
        self._check_nspawn()
        return self.run("systemctl", "is-system-running", check=False).out in ("running\n", "degraded\n")

    def _check_nspawn(self):
        if self.nspawn.poll() is not None:
            raise NotHere(f"systemd-nspawn ended with {self.nspawn.returncode}:\n{self.said()}")

    def _init(self):
        self._check_nspawn()
        for pid in read(f"/proc/{self.nspawn.pid}/task/{self.nspawn.pid}/children").split():
            if read(f"/proc/{pid}/comm") == "systemd\n":
                self.init = int(pid)
        return self.init

    def said(self):
        with open(self.console.name, "rb") as file:
            return file.read().decode(errors="replace")[-3000:]

    def journal(self, *options):
        return self.run("journalctl", "--no-pager", "-q", *options, check=False).out

    def enter(self, argv, **options):
        """A process of root in the machine, as subprocess.Popen."""
        options.setdefault("stdin", subprocess.DEVNULL)
        options.setdefault("stdout", subprocess.PIPE)
        options.setdefault("stderr", subprocess.PIPE)
        path = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
        return subprocess.Popen(["nsenter", "--target", str(self.init), "--all", "env", "-i", path, "LC_ALL=C.UTF-8", *argv],
                                text=True, **options)

    def run(self, *argv, check=True, timeout=TIMEOUT):
        """Runs a command as root to its end."""
        process = self.enter(argv)
        out, err = process.communicate(timeout=timeout)
        result = Result(subprocess.CompletedProcess(argv, process.returncode, out, err))
        if check and result.code != 0:
            raise AssertionError(f"{argv}: {result}\n{self.journal('-n', '40')}")
        return result

    def install(self, prefix):
        """Installs the programs once more, into a directory of the running machine."""
        install(prefix, f"/proc/{self.init}/root")

    def close(self):
        if self.nspawn:
            self.nspawn.kill()
            self.nspawn.wait()
        self.cgroup.close()
        self.console.close()
        shutil.rmtree(self.directory)


def main():
    try:
        check()
        print(root())
    except NotHere as why:
        print(f"skipped: {why}")
        sys.exit(SKIPPED)


if __name__ == "__main__":
    main()
