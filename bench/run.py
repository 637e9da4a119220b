#!/usr/bin/env python3
"""Figures of baton beside its peers; see README.md."""

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
ROUNDS = int(os.environ.get("BENCH_ROUNDS", "5"))


def run(command, **kwargs):
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, timeout=600, **kwargs)


def timed(function):
    begin = time.perf_counter()
    function()
    return time.perf_counter() - begin


def interleaved(candidates, rounds=ROUNDS):
    """Median seconds of each, one run of each per round, so that noise meets all alike."""
    times = {name: [] for name in candidates}
    for _ in range(rounds):
        for name, function in candidates.items():
            times[name].append(timed(function))
    return {name: statistics.median(values) for name, values in times.items()}


def table(title, rows):
    print(f"\n{title}")
    for row in rows:
        print("  " + "  ".join(str(cell).ljust(width) for cell, width in zip(row, (34, 16, 22, 30))).rstrip())


class Daemon:
    """A daemon of the benchmark's own."""

    def __enter__(self):
        self.directory = tempfile.mkdtemp(prefix="baton-bench-")
        os.environ["BATON_STATE_DIR"] = os.path.join(self.directory, "state")
        return self

    def __exit__(self, *_):
        subprocess.run([CTL, "stop", "--now"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=60)
        shutil.rmtree(self.directory, ignore_errors=True)

    def pid(self):
        return int(subprocess.check_output([CTL, "status", "--json"]).split(b'"pid":')[1].split(b",")[0])


def resident(pid):
    with open(f"/proc/{pid}/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGESIZE")


def have(program):
    return shutil.which(program) is not None


def bench_map():
    count = 2000
    with Daemon() as daemon:
        values = os.path.join(daemon.directory, "values")
        makefile = os.path.join(daemon.directory, "Makefile")
        with open(values, "w", encoding="ascii") as file:
            file.writelines(f"{i}\n" for i in range(count))
        with open(makefile, "w", encoding="ascii") as file:
            names = " ".join(f"t{i}" for i in range(count))
            file.write(f".PHONY: all {names}\nall: {names}\n")
            file.writelines(f"t{i}:\n\t@/bin/true\n" for i in range(count))
        run([CTL, "run", "true"])

        def piped(*command):
            with open(values, "rb") as file:
                run(command, stdin=file)

        candidates = {
            "batonctl map": lambda: piped(CTL, "map", "/bin/true"),
            "xargs -P2 -n1": lambda: piped("xargs", "-P2", "-n1", "/bin/true"),
            "make -j2": lambda: run(["make", "-s", "-j2", "-f", makefile]),
        }
        if have("tsp"):
            def spool():
                env = dict(os.environ, TS_SOCKET=os.path.join(daemon.directory, "tsp"), TS_MAXFINISHED="100000")
                run(["tsp", "-S", "2"], env=env)
                run(["sh", "-c", f"for i in $(seq {count // 4}); do tsp -n /bin/true; done; tsp -w; tsp -K"], env=env)
            candidates["tsp -S2 (x 4)"] = spool
        if have("parallel"):
            candidates["parallel -j2"] = lambda: piped("parallel", "--will-cite", "-j2", "/bin/true")
        result = interleaved(candidates, min(ROUNDS, 3))
    if "tsp -S2 (x 4)" in result:
        result["tsp -S2 (x 4)"] *= 4
    ours = result["batonctl map"]
    table(f"{count} x /bin/true, two at a time",
          [("", "per second", "rate of map / its rate")] +
          [(name, f"{count / seconds:.0f}", f"{seconds / ours:.2f}") for name, seconds in result.items()])


def bench_run():
    repeat = 100
    with Daemon() as daemon:
        env = dict(os.environ, TS_SOCKET=os.path.join(daemon.directory, "tsp"))
        run([CTL, "run", "true"])

        def times(*command):
            def loop():
                for _ in range(repeat):
                    subprocess.run(command, env=env, stdout=subprocess.DEVNULL, check=True)
            return loop

        candidates = {"batonctl run -- true": times(CTL, "run", "--", "true"), "true": times("true")}
        if have("tsp"):
            candidates["tsp -nf true"] = times("tsp", "-nf", "true")
        result = interleaved(candidates)
        if have("tsp"):
            subprocess.run(["tsp", "-K"], env=env, check=False)
    ours = result["batonctl run -- true"]
    table("one command, the whole call", [("", "ms", "run / it")] + [
        (name, f"{seconds / repeat * 1e3:.2f}", f"{ours / seconds:.2f}") for name, seconds in result.items()])


def bench_cold():
    def ours():
        with Daemon():
            begin = time.perf_counter()
            run([CTL, "run", "--", "true"])
            return time.perf_counter() - begin

    def second():
        # The state directory is there already, as on every start but a user's first.
        with Daemon():
            run([CTL, "run", "--", "true"])
            run([CTL, "stop", "--now"])
            begin = time.perf_counter()
            run([CTL, "run", "--", "true"])
            return time.perf_counter() - begin

    def spool():
        with tempfile.TemporaryDirectory() as directory:
            env = dict(os.environ, TS_SOCKET=os.path.join(directory, "tsp"))
            begin = time.perf_counter()
            run(["tsp", "-nf", "true"], env=env)
            seconds = time.perf_counter() - begin
            run(["tsp", "-K"], env=env)
            return seconds

    rows = [("", "ms")]
    first = statistics.median(ours() for _ in range(15))
    later = statistics.median(second() for _ in range(15))
    rows += [("baton, first ever", f"{first * 1e3:.1f}"), ("baton, no daemon running", f"{later * 1e3:.1f}")]
    if have("tsp"):
        peer = statistics.median(spool() for _ in range(15))
        rows += [("tsp, no server running", f"{peer * 1e3:.1f}"), ("baton / tsp", f"{later / peer:.2f}")]
    table("no daemon running -> first task done", rows)


def bench_queue():
    count = int(os.environ.get("BENCH_QUEUE", "1000000"))
    with Daemon() as daemon:
        for _ in range(2):
            run([CTL, "submit", "sleep", "100000"])
        pid = daemon.pid()
        before = resident(pid)
        empty = min(timed(lambda: run([CTL, "list", "-l", "100"])) for _ in range(20))
        path = os.path.join(daemon.directory, "commands")
        rates = []
        tenth = count // 10
        for part in range(10):
            with open(path, "w", encoding="ascii") as file:
                file.writelines(f"/bin/echo {part:02d}{i:08d} {'x' * 18}\n" for i in range(tenth))
            rates.append(tenth / timed(lambda: run([CTL, "submit", "--each", path])))
        memory = (resident(pid) - before) / count
        full = min(timed(lambda: run([CTL, "list", "-l", "100"])) for _ in range(20))
        table(f"submit --each of {count} tasks, 40-byte argv, one context", [
            ("rate, first tenth", f"{rates[0]:.0f}/s"),
            ("rate, last tenth", f"{rates[-1]:.0f}/s", f"{rates[-1] / rates[0]:.2f} of the first"),
            ("daemon memory per task", f"{memory:.0f} bytes"),
            ("100 rows of list, empty", f"{empty * 1e3:.2f} ms"),
            ("100 rows of list, full", f"{full * 1e3:.2f} ms", f"{full / empty:.2f} x"),
        ])


def switches(pid):
    with open(f"/proc/{pid}/status", encoding="ascii") as file:
        return sum(int(line.split()[1]) for line in file if "ctxt_switches" in line)


def bench_idle():
    seconds = int(os.environ.get("BENCH_IDLE", "60"))
    with Daemon() as daemon:
        run(["sh", "-c", f"seq 1000 | {CTL} map /bin/true"])
        pid = daemon.pid()
        with open(f"/proc/{pid}/status", encoding="ascii") as file:
            guard = next(int(line.split()[1]) for line in file if line.startswith("PPid"))
        workers = [int(entry) for entry in os.listdir("/proc") if entry.isdigit() and parent(int(entry)) == pid]
        time.sleep(3)  # what the last command left to be done
        watched = [pid, guard, *workers]
        before = [switches(process) for process in watched]
        time.sleep(seconds)
        after = [switches(process) for process in watched]
        table(f"idle for {seconds} s after 1,000 tasks, {len(workers)} workers kept", [
            ("context switches, all together", sum(after) - sum(before)),
            ("daemon RSS", f"{resident(pid) / 2**20:.1f} MiB"),
        ])


def parent(pid):
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
            return int(file.read().rsplit(")", 1)[1].split()[1])
    except OSError:
        return 0


PARTS = {"map": bench_map, "run": bench_run, "cold": bench_cold, "queue": bench_queue, "idle": bench_idle}


def main():
    names = sys.argv[1:] or list(PARTS)
    unknown = [name for name in names if name not in PARTS]
    if unknown or not os.access(CTL, os.X_OK):
        sys.exit(f"usage: run.py [{' '.join(PARTS)}]; needs {CTL} (see README.md)")
    print(f"{os.cpu_count()} CPUs, load {os.getloadavg()[0]:.1f}")
    for name in names:
        PARTS[name]()


if __name__ == "__main__":
    main()
