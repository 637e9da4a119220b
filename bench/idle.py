"""What the daemon does when nothing is to be done."""

import os
import socket
import subprocess
import threading
import time

from measure import BIN, CTL, Daemon, call, children, parent, resident, switches, table, verdict

SECONDS = int(os.environ.get("BENCH_IDLE", "60"))
MOST_BYTES = 15 << 20


def watch(pid):
    """({process: context switches}, workers) over a time in which nobody asks for anything."""
    workers = children(pid)
    watched = {"daemon": [pid], "guard": [parent(pid)], "workers": workers}
    time.sleep(3)  # what the last command left to be done
    before = {name: sum(map(switches, pids)) for name, pids in watched.items()}
    time.sleep(SECONDS)
    return {name: sum(map(switches, pids)) - before[name] for name, pids in watched.items()}, workers


def thousand_tasks():
    subprocess.run(f"seq 1000 | {CTL} map /bin/true", shell=True, check=True, stdout=subprocess.DEVNULL)


def bench_idle():
    with Daemon() as daemon:
        thousand_tasks()
        pid = daemon.pid()
        changed, workers = watch(pid)
        size = resident(pid)
        rows = [(f"context switches of {name}", str(count), "none", verdict(count == 0))
                for name, count in changed.items()]
        rows.append(("daemon RSS", f"{size / 2**20:.1f} MiB", f"at most {MOST_BYTES >> 20} MiB",
                     verdict(size <= MOST_BYTES)))
    table(f"idle for {SECONDS} s after 1,000 tasks, {len(workers)} workers kept", rows)


def bench_watchdog():
    """As a unit with WatchdogSec=10: what comes on the notification socket is counted."""
    seconds = min(SECONDS, 30)
    with Daemon() as daemon:
        path = daemon.path("notify")
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify:
            notify.bind(path)
            env = dict(os.environ, NOTIFY_SOCKET=path, WATCHDOG_USEC="10000000")
            process = subprocess.Popen([os.path.join(BIN, "batond")], env=env)
            messages = []
            threading.Thread(target=collect, args=(notify, messages), daemon=True).start()
            until(lambda: b"READY=1" in b"".join(messages))
            thousand_tasks()
            time.sleep(3)  # what the last command left to be done
            messages.clear()
            before = switches(process.pid)
            begin = time.monotonic()
            time.sleep(seconds)
            changed = switches(process.pid) - before
            seen = list(messages)
            pings = seen.count(b"WATCHDOG=1")
        call([CTL, "stop", "--now"])
        process.wait(timeout=30)
    table(f"idle for {time.monotonic() - begin:.0f} s with a watchdog of 10 s", [
        ("pings", str(pings)),
        ("other messages", str(len(seen) - pings), "none", verdict(len(seen) == pings)),
        ("context switches of the daemon", str(changed), "one for each ping", verdict(changed <= pings + 1)),
    ])


def collect(notify, messages):
    """Reads all the time, as systemd does: the queue of a socket is short, and the daemon waits for room in it."""
    try:
        while True:
            messages.append(notify.recv(4096))
    except OSError:  # closed
        pass


def until(condition, seconds=20):
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise TimeoutError("the daemon is not ready")
        time.sleep(0.01)
