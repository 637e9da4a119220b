"""A person on a booted machine."""

from machine import TIMEOUT, wait_until


class User:
    """A person on the machine. What they run is in no session of its own, as with cron or su; see session()."""

    def __init__(self, machine, name):
        self.machine, self.name = machine, name
        machine.run("useradd", "--create-home", "--shell", "/bin/bash", name)
        self.uid = int(machine.run("id", "-u", name).out)
        self.runtime = f"/run/user/{self.uid}"

    def linger(self):
        """The user manager runs from now on, without a login."""
        self.machine.run("loginctl", "enable-linger", self.name)
        wait_until(lambda: self.systemctl("is-system-running", check=False).out == "running\n",
                   "the user manager runs", TIMEOUT)

    def login(self):
        """Opens a login session that stays until logout()."""
        self.machine.run("systemd-run", "--quiet", f"--unit=login-{self.name}", f"--uid={self.name}",
                         "--property=PAMName=login", "sleep", "infinity")
        wait_until(lambda: self.systemctl("is-system-running", check=False).out == "running\n",
                   "the user manager runs", TIMEOUT)

    def logout(self):
        self.machine.run("systemctl", "stop", f"login-{self.name}")

    def session(self, *argv, check=True):
        """Runs a command in a login session of its own, as over ssh."""
        return self.machine.run("systemd-run", "--quiet", "--wait", "--pipe", f"--uid={self.name}",
                                "--property=PAMName=login", "--property=WorkingDirectory=~", *argv, check=check)

    def close(self):
        """Ends all that the user has: what the next test meets is an idle machine."""
        self.machine.run("loginctl", "disable-linger", self.name, check=False)
        self.machine.run("loginctl", "kill-user", "--signal=KILL", self.name, check=False)
        self.machine.run("pkill", "-KILL", "-u", self.name, check=False)

    def argv(self, argv, env):
        env = {"HOME": "/home/" + self.name, "USER": self.name, "XDG_RUNTIME_DIR": self.runtime, **env}
        return ["runuser", "-u", self.name, "--", "env", "-C", "/home/" + self.name,
                *[f"{key}={value}" for key, value in env.items() if value is not None], *argv]

    def start(self, *argv, env=(), **options):
        """A command as the user, as subprocess.Popen. A variable that is None is not set."""
        return self.machine.enter(self.argv(argv, dict(env)), **options)

    def run(self, *argv, env=(), check=True, timeout=TIMEOUT):
        return self.machine.run(*self.argv(argv, dict(env)), check=check, timeout=timeout)

    def ctl(self, *argv, **options):
        return self.run("batonctl", *argv, **options)

    def systemctl(self, *argv, **options):
        return self.run("systemctl", "--user", *argv, **options)

    def property(self, unit, name):
        return self.systemctl("show", "--value", "--property", name, unit).out.strip()

    def write(self, path, text):
        """Writes a file in the user's home."""
        script = 'mkdir -p "$(dirname "$1")" && printf %s "$2" >"$1"'
        self.run("sh", "-c", script, "sh", path, text)

    def processes(self, name=""):
        """Pids, as the machine counts them, of the user's living processes, or of those with that name."""
        lines = self.machine.run("ps", "-o", "pid=,stat=,comm=", "-u", self.name, check=False).out.splitlines()
        fields = [line.split(None, 2) for line in lines]
        return [int(pid) for pid, stat, comm in fields if stat[0] != "Z" and (not name or comm == name)]
