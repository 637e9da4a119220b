"""The user units under a real user manager: started on first use, watched, restarted, stopped with all their tasks."""

import json
import subprocess

import case
from case import SERVICE, SOCKET, UserTest
from machine import TIMEOUT

# A process that left its parent and its session, below a task that waits.
ESCAPE = "setsid sh -c 'sleep 1000 & sleep 1000' & wait"


class Activation(UserTest):
    """The socket listens, and the first call starts the daemon."""

    def setUp(self):
        super().setUp()
        self.user.linger()
        self.user.systemctl("enable", "--now", SOCKET)

    def test_first_use_starts_the_daemon(self):
        self.assertEqual(self.state(), "inactive")
        self.assert_runs()
        self.assert_daemon_is_the_unit()
        self.assertEqual(self.status()["socket"], f"{self.user.runtime}/baton/control.sock")

    def test_many_first_calls_start_one(self):
        calls = [self.user.start("batonctl", "run", "echo", str(i)) for i in range(20)]
        self.assertEqual([call.communicate(timeout=TIMEOUT)[0] for call in calls], [f"{i}\n" for i in range(20)])
        self.assert_daemon_is_the_unit()
        self.assertEqual(self.restarts(), 0)

    def test_ready_only_when_it_serves(self):
        """The lock of another daemon holds it up in the middle of its start."""
        state = self.status()["state_directory"]
        self.user.systemctl("stop", SERVICE, SOCKET)
        holder = self.user.start("flock", "--exclusive", state + "/daemon.lock", "sh", "-c", "echo held; exec cat",
                                 stdin=subprocess.PIPE)
        self.assertEqual(holder.stdout.readline(), "held\n")
        self.user.systemctl("start", "--no-block", SERVICE)
        self.wait_for(lambda: self.user.processes("batond"), "the daemon starts")
        self.assertEqual(self.state(), "activating")
        waiting = self.user.start("batonctl", "run", "echo", "served")
        self.assertEqual(self.state(), "activating")
        holder.communicate("")
        self.assertEqual(waiting.communicate(timeout=TIMEOUT)[0], "served\n")
        self.assertEqual(self.state(), "active")

    def test_idle_daemon_ends_and_the_socket_stays(self):
        self.configure('idle_exit = "1s"\n')
        self.assert_runs()
        self.wait_for(lambda: self.state() == "inactive", "the idle daemon ends")
        self.assertEqual(self.user.property(SERVICE, "Result"), "success")
        self.assertEqual(self.restarts(), 0)
        self.assertEqual(self.state(SOCKET), "active")
        self.assertEqual(self.user.processes("baton-worker"), [])
        self.configure('idle_exit = "1h"\n')
        self.assert_runs()
        self.assert_daemon_is_the_unit()

    def test_idle_daemon_ends_after_ten_minutes(self):
        config = {key["key"]: key for key in json.loads(self.user.ctl("config", "--json").out)}
        self.assertEqual(config["idle_exit"]["value"], "10m")

    def test_a_mistake_in_the_configuration_is_told_to_each_client(self):
        self.configure("slots = 1\nslotz = 2\n")
        for verb in (["run", "true"], ["list"], ["submit", "true"], ["status"]):
            result = self.user.ctl(*verb, check=False)
            self.assertEqual(result.code, 125, result)
            self.assertIn("batond.toml:2", result.err)
            self.assertIn("slotz", result.err)
        self.assertEqual(self.restarts(), 0, "it would say the same again")
        for _ in range(6):  # beyond what systemd bears
            self.assertEqual(self.user.ctl("run", "true", check=False).code, 125)
        self.assertEqual(self.user.processes("batond"), [])
        self.configure("slots = 1\n")
        self.assert_runs()
        self.assert_daemon_is_the_unit()

    def test_units_that_failed_too_often_work_again(self):
        self.override("[Unit]\nStartLimitIntervalSec=1h\n[Service]\nExecStart=\nExecStart=/bin/false\n")
        self.user.ctl("list", check=False)
        self.wait_for(lambda: self.state(SOCKET) == "failed", "systemd gives up")
        self.override("")
        self.assert_runs()
        self.assert_daemon_is_the_unit()


class StartByUse(UserTest):
    """The units are installed, but not enabled: batonctl starts them, wherever it is called from."""

    def setUp(self):
        super().setUp()
        self.user.linger()

    def test_batonctl_starts_the_unit(self):
        self.assertEqual(self.state(SOCKET), "inactive")
        self.assert_runs()
        self.assert_daemon_is_the_unit()

    def test_cron_starts_the_unit(self):
        """Cron sets no XDG_RUNTIME_DIR."""
        self.assert_runs(env={"XDG_RUNTIME_DIR": None})
        self.assert_daemon_is_the_unit()
        pid = self.main_pid()
        self.assert_runs()
        self.assertEqual(self.main_pid(), pid)

    def test_installed_into_a_home(self):
        self.machine.run("mount", "-t", "tmpfs", "none", "/usr/local")
        self.addCleanup(self.machine.run, "umount", "/usr/local")
        local = f"/home/{self.user.name}/.local"
        self.machine.install(local)
        self.machine.run("chown", "-R", self.user.name + ":", local)
        script = "readlink /proc/$(pgrep -o -u $(id -u) batond)/exe"
        out = self.user.run(local + "/bin/batonctl", "run", "sh", "-c", script).out
        self.assertEqual(out, local + "/sbin/batond\n")
        self.assertEqual(self.state(), "active")
        self.user.systemctl("stop", SERVICE)

    def test_many_start_one(self):
        calls = [self.user.start("batonctl", "run", "echo", str(i)) for i in range(20)]
        self.assertEqual([call.communicate(timeout=TIMEOUT)[0] for call in calls], [f"{i}\n" for i in range(20)])
        self.assert_daemon_is_the_unit()

    def test_a_daemon_kept_apart_is_not_the_unit(self):
        apart = {"BATON_STATE_DIR": f"/home/{self.user.name}/apart"}
        self.assert_runs(env=apart)
        self.assertEqual(self.state(), "inactive")
        self.user.ctl("stop", "--now", env=apart)

    def test_looking_starts_nothing(self):
        self.assertEqual(self.user.ctl("status", check=False).code, 125)
        self.assertEqual(self.state(), "inactive")

    def test_reload(self):
        self.assert_runs()
        self.configure('slots = "1"\nidle_exit = "1h"\n')
        self.user.systemctl("reload", SERVICE)
        self.assertEqual(self.status()["slots"], 1)
        self.assert_daemon_is_the_unit()


class Life(UserTest):
    """What happens to a running unit."""

    def setUp(self):
        super().setUp()
        self.user.linger()
        self.configure('slots = "2"\nstop_timeout = "1s"\n')
        self.user.systemctl("start", SOCKET)

    def test_status_line(self):
        self.assert_runs()
        self.wait_for(lambda: self.user.property(SERVICE, "StatusText") == "running 0, waiting 0; slots 2", "idle")
        for _ in range(3):
            self.user.ctl("submit", "sleep", "1000")
        self.wait_for(lambda: self.user.property(SERVICE, "StatusText") == "running 2, waiting 1; slots 2", "at work")
        self.user.ctl("cancel", "--all")
        self.wait_for(lambda: self.user.property(SERVICE, "StatusText") == "running 0, waiting 0; slots 2", "idle again")

    def test_watchdog_of_the_unit_as_installed(self):
        self.assert_runs()
        self.assertEqual(self.user.property(SERVICE, "WatchdogUSec"), "30s")

    def test_watchdog_is_answered(self):
        self.override("[Service]\nWatchdogSec=6s\n")
        self.assert_runs()
        answered = lambda: int(self.user.property(SERVICE, "WatchdogTimestampMonotonic"))
        for _ in range(2):
            before = answered()
            self.wait_for(lambda: answered() > before, "the watchdog is answered")
        self.assertEqual(self.restarts(), 0)

    def test_watchdog_ends_a_daemon_that_hangs(self):
        self.override("[Service]\nWatchdogSec=3s\n")
        waiting = self.user.start("batonctl", "run", "sh", "-c", ESCAPE)
        self.wait_for(lambda: len(self.sleepers()) == 2, "the task runs")
        pid = self.main_pid()
        self.user.run("kill", "-STOP", str(pid))
        _, err = waiting.communicate(timeout=TIMEOUT)
        self.assertEqual((waiting.returncode, "the daemon ended" in err), (125, True), err)
        self.wait_for(lambda: self.state() == "active" and self.main_pid() != pid, "a new daemon runs")
        self.assertEqual(self.restarts(), 1)
        self.assertIn("Watchdog timeout", self.machine.journal(f"_UID={self.user.uid}"))
        self.assertEqual(self.sleepers(), [])
        self.assert_runs()

    def test_killed_daemon_is_restarted_and_clients_are_told(self):
        waiting = self.user.start("batonctl", "run", "sh", "-c", ESCAPE)
        self.wait_for(lambda: len(self.sleepers()) == 2, "the task runs")
        follower = self.user.start("batonctl", "wait", "last")
        pid = self.main_pid()
        self.user.run("kill", "-KILL", str(pid))
        for client in (waiting, follower):
            _, err = client.communicate(timeout=TIMEOUT)
            self.assertEqual((client.returncode, "the daemon ended" in err), (125, True), err)
        self.wait_for(lambda: self.state() == "active" and self.main_pid() != pid, "a new daemon runs")
        self.assertEqual(self.restarts(), 1)
        self.assertEqual(self.sleepers(), [], "the tasks ended with their daemon")
        self.assert_runs()

    def test_stop_leaves_no_process(self):
        before = sorted(self.user.processes())
        self.user.ctl("submit", "sh", "-c", ESCAPE)
        self.wait_for(lambda: len(self.sleepers()) == 2, "the task's processes run")
        self.user.ctl("submit", "sh", "-c", "trap '' TERM INT HUP; while :; do sleep 1000; done")
        self.wait_for(lambda: len(self.sleepers()) == 3, "the tasks run")
        self.user.systemctl("stop", SERVICE)
        self.assertEqual(sorted(self.user.processes()), before)
        self.assertEqual((self.state(), self.user.property(SERVICE, "Result")), ("inactive", "success"))
        self.assertEqual(self.state(SOCKET), "active")

    def test_stop_takes_the_time_that_the_configuration_allows(self):
        """Longer than the unit's own bound: the daemon asks for it."""
        self.override("[Service]\nTimeoutStopSec=1s\n")
        self.configure('stop_timeout = "1h"\n')
        self.user.ctl("submit", "sh", "-c", "echo begun; sleep 4; echo finished >finished")
        self.wait_for(lambda: self.sleepers(), "the task runs")
        self.user.systemctl("stop", SERVICE)
        self.assertEqual(self.user.run("cat", "finished").out, "finished\n")
        self.assertEqual(self.user.property(SERVICE, "Result"), "success")

    def test_batonctl_stop(self):
        self.user.ctl("submit", "sh", "-c", ESCAPE)
        self.wait_for(lambda: len(self.sleepers()) == 2, "the task's processes run")
        self.user.ctl("stop", "--now")
        self.wait_for(lambda: self.state() == "inactive", "the unit has ended")
        self.assertEqual((self.user.property(SERVICE, "Result"), self.restarts()), ("success", 0))
        self.assertEqual(self.sleepers(), [])


class Cgroups(UserTest):
    """The unit's cgroup is the daemon's to divide."""

    def setUp(self):
        super().setUp()
        self.user.linger()
        self.configure('stop_timeout = "1s"\n')
        self.assert_runs()
        self.cgroup = self.user.property(SERVICE, "ControlGroup")

    def cgroups(self):
        """Those below the unit's, by their paths."""
        command = 'd="$(findmnt --noheadings --output TARGET --types cgroup2 | head -n 1)$1"; cd "$d" && find . -type d'
        found = self.machine.run("sh", "-c", command, "sh", self.cgroup, check=False).out.splitlines()
        return [path for path in found if path.startswith("./baton-")]

    def test_each_task_runs_in_one_of_its_own(self):
        self.assertTrue(self.status()["tree_end"].startswith("the cgroup of each task is killed"), self.status())
        for options, lane in (([], "cpu"), (["--io"], "io")):
            line = self.user.ctl("run", *options, "grep", "^0::", "/proc/self/cgroup").out.strip()
            self.assertRegex(line[len("0::"):], f"^{self.cgroup}/baton-[0-9a-f]{{16}}/{lane}/w[0-9]+$")

    def test_what_a_killed_daemon_left_is_gone_when_it_is_back(self):
        self.user.ctl("submit", "sh", "-c", ESCAPE)
        self.wait_for(lambda: len(self.sleepers()) == 2, "the task runs")
        [before] = {path.split("/")[1] for path in self.cgroups()}
        self.machine.run("kill", "-KILL", str(self.main_pid()))
        self.wait_for(lambda: self.restarts() == 1 and self.state() == "active", "the daemon is back")
        self.assertEqual(self.sleepers(), [])
        [after] = {path.split("/")[1] for path in self.cgroups()}
        self.assertNotEqual(before, after)

    def test_reload_finds_the_daemon_in_its_place(self):
        """systemd runs batonctl in a cgroup beside the daemon's."""
        self.user.systemctl("reload", SERVICE)
        self.assertEqual(self.state(), "active")
        self.assert_runs()

    def test_a_stop_leaves_none(self):
        self.user.ctl("submit", "sh", "-c", ESCAPE)
        self.wait_for(lambda: len(self.sleepers()) == 2, "the task runs")
        self.user.systemctl("stop", SERVICE)
        self.assertEqual((self.sleepers(), self.cgroups()), ([], []))

    def test_a_unit_without_delegation_is_left_alone(self):
        self.override("[Service]\nDelegate=no\nExecStart=\nExecStart=/usr/local/sbin/batond\n")
        self.user.systemctl("restart", SERVICE)
        self.assertIn("not delegated", self.status()["tree_end"])
        self.assert_runs()
        self.assertEqual(self.cgroups(), [])


class Login(UserTest):
    """What becomes of work when its user logs out."""

    NOTICE = "ends when you log out"
    BARE = {"XDG_RUNTIME_DIR": None}

    def setUp(self):
        super().setUp()
        self.configure('stop_timeout = "1s"\n')
        self.user.login()

    def logged_out(self):
        self.user.logout()
        self.wait_for(lambda: self.machine.run("test", "-e", self.user.runtime, check=False).code != 0,
                      "the login directory is gone")

    def start_without_units(self):
        self.machine.run("mount", "-t", "tmpfs", "none", "/usr/local/share")
        self.addCleanup(self.machine.run, "umount", "/usr/local/share")
        self.assertEqual(self.user.ctl("submit", "sleep", "1000", env=self.BARE).err, "")
        self.assertTrue(self.status()["socket"].startswith(self.user.runtime))

    def wait_for_the_daemon_elsewhere(self):
        self.wait_for(lambda: self.user.ctl("list", env=self.BARE, check=False).out.count("running") == 1,
                      "the daemon listens elsewhere")

    def test_submit_says_once_that_work_ends_at_logout(self):
        self.assertIn(self.NOTICE, self.user.session("batonctl", "submit", "sleep", "1000").err)
        self.assertEqual(self.user.session("batonctl", "submit", "sleep", "1000").err, "")
        self.logged_out()
        self.assertEqual(self.user.processes(), [], "it was true")

    def test_nothing_is_said_where_the_user_lingers(self):
        self.user.linger()
        self.assertEqual(self.user.session("batonctl", "submit", "sleep", "1000").err, "")
        self.user.logout()
        state = lambda: self.machine.run("loginctl", "show-user", "--value", "--property=State", self.user.name).out
        self.wait_for(lambda: state() == "lingering\n", "the login has ended")
        self.assertEqual(len(self.sleepers()), 1)

    def test_a_daemon_without_units_outlives_the_login_and_is_still_found(self):
        """Started outside of any session, as by cron, while its user was logged in: its socket goes with the login."""
        self.start_without_units()
        daemon = self.user.processes("batond")
        self.logged_out()
        self.wait_for_the_daemon_elsewhere()
        self.assert_runs(env=self.BARE)
        self.assertEqual(self.user.processes("batond"), daemon)
        self.user.login()
        self.assertEqual(self.status()["socket"], f"/tmp/baton-{self.user.uid}/control.sock")
        self.user.ctl("stop", "--now")

    def test_a_login_directory_goes_from_under_the_socket(self):
        """Its files are still there, for who has them open."""
        self.start_without_units()
        self.machine.run("umount", "--lazy", self.user.runtime)
        self.wait_for_the_daemon_elsewhere()
        self.user.ctl("stop", "--now", env=self.BARE)


if __name__ == "__main__":
    case.main()
