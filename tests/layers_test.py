"""The layers of docs/architecture.md: who may include whom. And what else holds for every file of the tree.

Needs nothing but the sources: `python3 tests/layers_test.py`.
"""

import os
import pathlib
import re
import unittest

ROOT = pathlib.Path(__file__).resolve().parent.parent

# Folder -> folders and libraries that its files may include; the longest folder that holds a file decides.
# Cap'n Proto's readers and builders (capnp, kj) and shm's descriptors are what ipc's interface is made of, so
# whoever may include ipc may include them.
IPC = {"ipc", "shm", "capnp", "kj"}
MAY_INCLUDE = {
    "shm": {"shm", "boost"},
    "ipc": IPC,
    "daemon": IPC | {"daemon", "systemd", "fmt", "toml.hpp"},
    "daemon/worker": IPC | {"daemon/worker", "fmt"},
    "ctl": IPC | {"ctl", "ctl/map", "CLI", "fmt", "nlohmann"},
    "ctl/map": IPC | {"ctl/map", "fmt"},
}
TEST_LIBRARIES = {"gtest", "gmock"}
for folder in ("shm", "ipc", "daemon", "ctl"):
    below = set().union(*(may for name, may in MAY_INCLUDE.items() if name.split("/")[0] == folder))
    MAY_INCLUDE["tests/" + folder] = below | TEST_LIBRARIES | {"tests/" + folder}
MAY_INCLUDE["tests/model"] = {"shm", "tests/model", "relacy"} | TEST_LIBRARIES
MAY_INCLUDE["tests/fuzz"] = IPC | {"daemon", "tests/fuzz"}
MAY_INCLUDE["tests/sanitizer"] = {"tests/sanitizer"}
MAY_INCLUDE["bench"] = IPC | {"benchmark", "bench"}

# Headers in angle brackets that everybody may include: the C++ library's have no dot; these are libc's and
# Linux's. Any other is a library that the table must name.
SYSTEM_FOLDERS = {"asm", "linux", "net", "netinet", "sanitizer", "sys"}
SYSTEM_HEADERS = set(
    "aio dirent dlfcn errno fcntl features fnmatch getopt glob grp inttypes limits locale malloc math mntent poll "
    "pthread pty pwd regex sched semaphore setjmp shadow signal spawn stdint stdio stdlib string syslog termios "
    "time ucontext unistd utime utmp wchar wordexp".split()
)

TEXT = {".cc", ".h", ".py", ".sh", ".md", ".txt", ".cmake", ".json", ".capnp", ".in", ".yml", ".toml", ""}
INCLUDE = re.compile(r'^\s*#\s*include\s*([<"])([^>"]+)[>"]', re.MULTILINE)
HOME = re.compile(r"(?<![\w.$}*-])/(?:home|Users|root|work|workspace)/(?!anna\b)\w+")


def layer(path):
    """The longest folder of the table that holds `path` (of a file, from the root); None: not in a layer."""
    folder = path.rpartition("/")[0]
    while folder and folder not in MAY_INCLUDE:
        folder = folder.rpartition("/")[0]
    return folder or None


def wrong_include(path, bracket, target):
    """What is wrong with the file `path` including `target`; None: nothing."""
    own = layer(path)
    first, _, rest = target.partition("/")
    if bracket == "<" and not rest:
        name, dot, _ = target.partition(".")
        if not dot or name in SYSTEM_HEADERS:
            return None
    if bracket == "<" and first in SYSTEM_FOLDERS:
        return None
    if ".." in target.split("/"):
        return f'{path} includes "{target}": write it from the root of the tree'
    provider = layer(target) or first
    if provider in MAY_INCLUDE[own]:
        return None
    return f"{path} includes {target}: {own}/ may include {', '.join(sorted(MAY_INCLUDE[own]))}"


def sources():
    folders = {name.split("/")[0] for name in MAY_INCLUDE}
    for folder in sorted(folders):
        for path in sorted((ROOT / folder).rglob("*")):
            if path.suffix in (".cc", ".h"):
                yield path.relative_to(ROOT).as_posix(), path.read_text()


def texts():
    for folder, folders, names in os.walk(ROOT):
        folders[:] = sorted(set(folders) - {".git", ".cache", "build", "__pycache__"})
        for name in sorted(names):
            path = pathlib.Path(folder, name)
            if path.suffix in TEXT and name != ".git":  # a file in a second work tree
                try:
                    yield path.relative_to(ROOT).as_posix(), path.read_text()
                except UnicodeDecodeError:
                    pass


class Tree(unittest.TestCase):
    def assertNone(self, found, rule):
        found = [line for line in found if line]
        self.assertFalse(found, rule + ":\n  " + "\n  ".join(found))

    def test_everybody_includes_only_what_the_table_allows(self):
        found = []
        for path, text in sources():
            if layer(path) is None:
                found.append(f"{path} is in no layer")
                continue
            found += (wrong_include(path, *match) for match in INCLUDE.findall(text))
        self.assertNone(found, "docs/architecture.md says who may include whom")

    def test_what_is_included_is_there(self):
        found = []
        for path, text in sources():
            for bracket, target in INCLUDE.findall(text):
                if bracket == '"' and not target.endswith(".capnp.h") and not (ROOT / target).is_file():
                    found.append(f'{path} includes "{target}"')
        self.assertNone(found, "quoted includes are files of ours, named from the root")

    def test_headers_are_included_once(self):
        found = [path for path, text in sources() if path.endswith(".h") and "\n#pragma once\n" not in "\n" + text]
        self.assertNone(found, "no #pragma once")

    def test_headers_say_what_they_are_for(self):
        found = [path for path, text in sources() if path.endswith(".h") and not text.startswith("// ")]
        self.assertNone(found, "a header opens with its purpose")

    def test_no_path_of_a_machine(self):
        found = []
        for path, text in texts():
            for number, line in enumerate(text.split("\n"), 1):
                if HOME.search(line):
                    found.append(f"{path}:{number}: {line.strip()}")
        self.assertNone(found, "an absolute path that only one machine has")


class Rule(unittest.TestCase):
    """The rule itself: what it refuses and what it lets pass."""

    def refused(self, path, target, bracket='"'):
        self.assertIsNotNone(wrong_include(path, bracket, target), f"{path} may include {target}")

    def allowed(self, path, target, bracket='"'):
        self.assertIsNone(wrong_include(path, bracket, target))

    def test_no_arrow_runs_back_up(self):
        self.refused("shm/ring.cc", "ipc/error.h")
        self.refused("ipc/client.cc", "daemon/pool.h")
        self.refused("ipc/client.cc", "ctl/json.h")
        self.allowed("ipc/client.cc", "shm/fd.h")
        self.allowed("ctl/run_verb.cc", "ipc/client.h")
        self.allowed("daemon/server.cc", "ipc/baton.capnp.h")

    def test_daemon_and_ctl_never_meet(self):
        self.refused("daemon/server.cc", "ctl/table.h")
        self.refused("ctl/run_verb.cc", "daemon/task.h")
        self.refused("tests/ctl/run_test.cc", "daemon/task.h")

    def test_the_worker_knows_nothing_of_the_daemon(self):
        self.refused("daemon/worker/task.cc", "daemon/task.h")
        self.refused("daemon/worker/task.cc", "systemd/sd-event.h", "<")
        self.refused("daemon/pool.cc", "daemon/worker/task.h")
        self.allowed("tests/daemon/worker_test.cc", "daemon/worker/task.h")

    def test_libraries_stay_where_they_belong(self):
        self.refused("shm/ring.cc", "capnp/message.h", "<")
        self.refused("shm/ring.cc", "fmt/format.h", "<")
        self.refused("daemon/server.cc", "CLI/App.hpp", "<")
        self.refused("ctl/main.cc", "openssl/sha.h", "<")
        self.refused("ctl/main.cc", "sqlite3.h", "<")
        self.refused("ctl/map/halt.cc", "ctl/session.h")
        self.allowed("ctl/main.cc", "CLI/App.hpp", "<")
        self.allowed("shm/memfd.cc", "sys/mman.h", "<")
        self.allowed("shm/memfd.cc", "vector", "<")
        self.allowed("shm/memfd.cc", "fcntl.h", "<")

    def test_a_home_directory_is_a_path_of_a_machine(self):
        folder = "/home/"
        self.assertTrue(HOME.search(f'open("{folder}tom/x")'))
        self.assertFalse(HOME.search(f"tar czf {folder}anna/x"))
        self.assertFalse(HOME.search("$HOME/work/x"))


if __name__ == "__main__":
    unittest.main()
