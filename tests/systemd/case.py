"""What the tests on a booted machine share: the machine of a class, and a user with a daemon for each test."""

import itertools
import json
import sys
import unittest

import machine
from machine import TIMEOUT, wait_until
from user import User

SOCKET, SERVICE = "batond.socket", "batond.service"


class MachineTest(unittest.TestCase):
    """Each class has a machine of its own."""

    @classmethod
    def setUpClass(cls):
        try:
            machine.check()
            machine.root()
            cls.machine = machine.Machine()
            cls.addClassCleanup(cls.machine.close)
            cls.machine.boot()
        except machine.NotHere as why:
            raise unittest.SkipTest(str(why))

    def setUp(self):
        self.addCleanup(self._print_journal_if_failed)

    def _print_journal_if_failed(self):
        result = self._outcome.result
        if any(test is self for test, _ in result.failures + result.errors):
            print(self.machine.journal("-n", "60"), file=sys.stderr)

    def wait_for(self, condition, what):
        return wait_until(condition, what, TIMEOUT)


class UserTest(MachineTest):
    """Each test has a user of its own: `self.user`."""

    numbers = itertools.count(1)

    def setUp(self):
        super().setUp()
        self.user = User(self.machine, f"user{next(self.numbers)}")
        self.addCleanup(self.user.close)

    # What the user manager says of the daemon.
    def state(self, unit=SERVICE):
        return self.user.property(unit, "ActiveState")

    def main_pid(self):
        return int(self.user.property(SERVICE, "MainPID"))

    def restarts(self):
        return int(self.user.property(SERVICE, "NRestarts"))

    # What the daemon says of itself.
    def status(self):
        return json.loads(self.user.ctl("status", "--json").out)

    def configure(self, text):
        self.user.write(".config/baton/batond.toml", text)

    def override(self, text):
        """A drop-in for the service, as `systemctl --user edit` makes it."""
        self.user.write(".config/systemd/user/batond.service.d/test.conf", text)
        self.user.systemctl("daemon-reload")

    def sleepers(self):
        return self.user.processes("sleep")

    def assert_runs(self, **options):
        self.assertEqual(self.user.ctl("run", "echo", "done", **options).out, "done\n")

    def assert_daemon_is_the_unit(self):
        self.assertEqual(self.state(), "active")
        self.assertEqual(self.status()["pid"], self.main_pid())
        self.assertEqual(self.user.processes("batond"), [self.main_pid()], "no second daemon, and no guard")


def main():
    """Runs the tests of the program, and says by its exit status too if there was no machine for them."""
    result = unittest.main(verbosity=2, exit=False).result
    if result.skipped and not result.testsRun:
        sys.exit(machine.SKIPPED)
    sys.exit(not result.wasSuccessful())
