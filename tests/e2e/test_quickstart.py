"""packaging/quickstart, with programs that are built already and a package manager that only says what it is asked."""

import os
import re
import shutil
import subprocess
import unittest

import baton

SOURCE = os.path.abspath(os.path.join(os.path.dirname(os.path.abspath(__file__)), "../.."))
FILES = 60  # not 3,000: the comparison is not what is tested
NOBODY = ["/usr/bin/setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]  # a plain user, where the test is root

# Name of a program and what it does; each writes its call into $LOG.
STUBS = {
    "cmake": "",
    "dpkg-query": """for last; do :; done
case " $MISSING " in *" $last "*) grep -q "^apt-get.* install " "$LOG" || exit 1;; esac
printf installed""",
    "apt-get": "",
    "sudo": 'exec "$@"',
}


@unittest.skipUnless(os.path.exists("/etc/debian_version"), "not Debian")
class Quickstart(baton.TestCase):
    def setUp(self):
        os.chmod(self.daemon.directory, 0o755)
        self.tree = self.path("a tree with blanks")
        shutil.rmtree(self.tree, ignore_errors=True)
        shutil.copytree(SOURCE + "/packaging", self.tree + "/packaging")
        self.script = self.tree + "/packaging/quickstart"
        with open(self.script) as file:
            text, count = re.subn("kFiles=[0-9]+", f"kFiles={FILES}", file.read())
        self.assertEqual(count, 1)
        with open(self.script, "w") as file:
            file.write(text)
        self.bin = self.tree + "/build/release/bin"
        os.makedirs(self.bin)
        for name in ("batond", "batonctl", "baton-worker"):
            shutil.copy2(os.path.join(baton.BIN, name), self.bin)
        self.log = self.path("calls")
        self.state = self.path("state of quickstart")
        self.stubs("cmake", "dpkg-query", "apt-get", "sudo")
        for path in (self.log, self.state):
            subprocess.run(["rm", "-rf", path], check=True)
        open(self.log, "w").close()
        os.mkdir(self.state)
        if os.geteuid() == 0:
            subprocess.run(["chown", "-R", "65534:65534", self.tree, self.log, self.state], check=True)

    def tearDown(self):
        self.run_as(True, [self.bin + "/batonctl", "stop", "--now"])

    def stubs(self, *names):
        """These stand before the real ones; a real sudo is not reached without one."""
        self.stub_path = self.path("stubs")
        shutil.rmtree(self.stub_path, ignore_errors=True)
        os.mkdir(self.stub_path)
        for name in names:
            path = os.path.join(self.stub_path, name)
            with open(path, "w") as file:
                file.write(f'#!/bin/sh\necho "{name} $*" >>"$LOG"\n{STUBS[name]}\n')
            os.chmod(path, 0o755)

    def run_as(self, plain, argv, missing="", cwd="/", **env):
        """Runs it with no terminal and no standard input, as this user or, for root, as a plain one."""
        variables = {"PATH": self.stub_path + ":/usr/sbin:/usr/bin:/sbin:/bin", "LOG": self.log, "MISSING": missing,
                     "BATON_STATE_DIR": self.state, **env}
        prefix = NOBODY if plain and os.geteuid() == 0 else []
        return subprocess.run(prefix + argv, env=variables, cwd=cwd, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, start_new_session=True, timeout=240, text=True)

    def calls(self, name):
        with open(self.log) as file:
            return [line for line in file.read().split("\n") if line.startswith(name + " ")]

    def test_says_what_it_did(self):
        """From another directory, without HOME, a login directory or a terminal."""
        result = self.run_as(True, [self.script])
        self.assertEqual((result.returncode, result.stderr), (0, ""), result.stdout)
        self.assertEqual((self.calls("sudo"), self.calls("apt-get")), ([], []), "nothing is missing")
        for pattern in (f"Hashing {FILES} files", r"on all cores +[0-9.]+ s", r"one by one +[0-9.]+ s",
                        f"the same, byte for byte: {FILES} lines", r"ratio +[0-9.]+ on [0-9]+ core",
                        r"\$ batonctl list\nID ", rf"\({FILES} of {FILES} done\) sha256sum",
                        r"\$ batonctl worker list\nID ", r"\$ batonctl status\ndaemon: ", "What this did:",
                        "What it left running:", "To try next:"):
            self.assertRegex(result.stdout, pattern)
        path_line = re.search(r"^ *(export PATH=.*)$", result.stdout, re.MULTILINE).group(1)
        found = self.run_as(True, ["bash", "-c", path_line + "; command -v batonctl"])
        self.assertEqual(found.stdout, self.bin + "/batonctl\n")
        pid = int(re.search(r"\(batond, pid ([0-9]+)\)", result.stdout).group(1))
        stop = re.search(r"^ *(.*batonctl stop)$", result.stdout, re.MULTILINE).group(1)
        self.assertEqual(self.run_as(True, ["bash", "-c", stop]).returncode, 0)
        baton.wait_until(lambda: not os.path.exists(f"/proc/{pid}"), "the line that it prints ends the daemon")

    def test_sudo_is_for_apt_alone(self):
        result = self.run_as(True, [self.script], missing="g++ libboost-dev")
        self.assertEqual(result.returncode, 0, result)
        sudo = self.calls("sudo")
        self.assertEqual(len(sudo), 2, sudo)
        self.assertEqual(sudo[0], "sudo apt-get -qq update")
        self.assertRegex(sudo[1], "^sudo env DEBIAN_FRONTEND=noninteractive apt-get .*install .* g.. libboost-dev$")

    def test_what_apt_says_is_shown_if_it_fails(self):
        for code in (0, 1):
            with self.subTest(code=code):
                with open(os.path.join(self.stub_path, "apt-get"), "w") as file:
                    file.write(f"#!/bin/sh\necho Unpacking; echo E: no space >&2; exit {code}\n")
                result = self.run_as(True, [self.script], missing="g++")
                self.assertEqual(result.returncode, code, result)
                self.assertEqual("E: no space" in result.stderr, code != 0, result)
                self.assertNotIn("Unpacking", result.stdout)
                self.assertEqual(bool(self.calls("cmake")), code == 0)
                open(self.log, "w").close()

    def test_without_sudo_it_says_what_root_has_to_do(self):
        self.stubs("cmake", "dpkg-query", "apt-get")
        for name in ("bash", "dirname", "nproc"):
            os.symlink(shutil.which(name), os.path.join(self.stub_path, name))
        result = self.run_as(True, [self.script], missing="cmake", PATH=self.stub_path)
        self.assertEqual(result.returncode, 1, result)
        self.assertIn("as root", result.stderr)
        self.assertRegex(result.stderr, "apt-get install .* cmake\n")

    def test_off_debian_it_prints_what_is_needed(self):
        self.stubs("cmake")
        for name in ("bash", "dirname"):
            os.symlink(shutil.which(name), os.path.join(self.stub_path, name))
        result = self.run_as(True, [self.script], PATH=self.stub_path)
        self.assertEqual(result.returncode, 1, result)
        for package in ("g++", "libcapnp-dev", "libsystemd-dev", "Building"):
            self.assertIn(package, result.stderr)
        self.assertEqual(self.calls("cmake"), [])

    def test_what_somebody_else_built(self):
        subprocess.run(["chmod", "a-w", self.tree + "/build/release"], check=True)
        result = self.run_as(True, [self.script])
        self.assertEqual(result.returncode, 1, result)
        self.assertIn("sudo chown -R", result.stderr)
        self.assertEqual(self.calls("cmake"), [])

    @unittest.skipUnless(os.geteuid() == 0, "only root can be somebody's sudo")
    def test_root_for_somebody_builds_and_runs_as_them(self):
        result = self.run_as(False, [self.script], missing="g++", SUDO_USER="nobody", SUDO_UID="65534")
        self.assertEqual(result.returncode, 0, result)
        self.assertEqual(self.calls("sudo"), [], "root needs none")
        self.assertEqual(len(self.calls("apt-get")), 2)
        pid = int(re.search(r"\(batond, pid ([0-9]+)\) of user nobody", result.stdout).group(1))
        self.assertEqual(os.stat(f"/proc/{pid}").st_uid, 65534)


if __name__ == "__main__":
    baton.main()
