"""Commands through the pool, beside the tools that a person would use instead."""

import os
import tempfile

from measure import CTL, Daemon, call, have, interleaved, median, table, verdict

# At least so many times the peer's rate (issue of the first release); tsp has no bound.
LEAST = {"xargs -P2 -n1": 1.0, "make -j2": 0.9, "parallel -j2": 8.0}


def bench_map(count=2000, rounds=3):
    with Daemon() as daemon:
        values = daemon.path("values")
        makefile = daemon.path("Makefile")
        with open(values, "w", encoding="ascii") as file:
            file.writelines(f"{i}\n" for i in range(count))
        with open(makefile, "w", encoding="ascii") as file:
            names = " ".join(f"t{i}" for i in range(count))
            file.write(f".PHONY: all {names}\nall: {names}\n")
            # With the value, as the others run it: with an argument `true` sets its locale, and takes half as long again.
            file.writelines(f"t{i}:\n\t@/bin/true {i}\n" for i in range(count))
        daemon.start()

        def piped(*command):
            with open(values, "rb") as file:
                return call(list(command), stdin=file.fileno())

        candidates = {
            "batonctl map": lambda: piped(CTL, "map", "/bin/true"),
            "xargs -P2 -n1": lambda: piped("xargs", "-P2", "-n1", "/bin/true"),
            "make -j2": lambda: call(["make", "-s", "-j2", "-f", makefile]),
        }
        if have("tsp"):
            env = daemon.tsp(2)
            script = f"i=0; while [ $i -lt {count} ]; do tsp -n /bin/true $i; i=$((i+1)); done; tsp -w; tsp -C"
            candidates["tsp -S2, one by one"] = lambda: call(["sh", "-c", script], env)
        if have("parallel"):
            candidates["parallel -j2"] = lambda: piped("parallel", "--will-cite", "-j2", "/bin/true")
        times = interleaved(candidates, rounds)
        if have("tsp"):
            call(["tsp", "-K"], env)
    ours = median(times["batonctl map"])
    rows = [("", "commands/s", "map / it", "at least", "")]
    for name, values in times.items():
        ratio = median(values) / ours
        least = LEAST.get(name)
        rows.append((name, f"{count / median(values):.0f}", f"{ratio:.2f}", least or "-",
                     verdict(ratio >= least) if least else ""))
    table(f"{count} x /bin/true, two at a time (medians of {rounds})", rows)


def bench_run(rounds=400):
    with Daemon() as daemon:
        daemon.start()
        candidates = {
            "batonctl run -- true": lambda: call([CTL, "run", "--", "true"]),
            "true": lambda: call(["true"]),
            "batonctl ping": lambda: call([CTL, "ping"]),
        }
        if have("tsp"):
            env = daemon.tsp()
            candidates["tsp -nf true"] = lambda: call(["tsp", "-nf", "true"], env)
        for _ in range(20):
            for function in candidates.values():
                function()
        times = interleaved(candidates, rounds)
        if have("tsp"):
            call(["tsp", "-K"], env)
    ours = median(times["batonctl run -- true"])
    rows = [("", "median ms", "lowest tenth", "highest tenth", "run / it", "at most", "")]
    for name, values in times.items():
        ordered = sorted(values)
        ratio = ours / median(values)
        most = 1.0 if name.startswith("tsp") else None
        rows.append((name, f"{median(values) * 1e3:.2f}", f"{ordered[rounds // 10] * 1e3:.2f}",
                     f"{ordered[-rounds // 10] * 1e3:.2f}", f"{ratio:.2f}", most or "-",
                     verdict(ratio <= most) if most else ""))
    table(f"one command, the whole call ({rounds} of each in turn)", rows)


def bench_cold(rounds=20):
    def first():
        with Daemon():
            return call([CTL, "run", "--", "true"])

    def later():
        # The state directory is there already, as on every start but a user's first.
        with Daemon():
            call([CTL, "run", "--", "true"])
            call([CTL, "stop", "--now"])
            return call([CTL, "run", "--", "true"])

    def spool():
        with tempfile.TemporaryDirectory() as directory:
            env = dict(os.environ, TS_SOCKET=os.path.join(directory, "tsp"))
            seconds = call(["tsp", "-nf", "true"], env)
            call(["tsp", "-K"], env)
            return seconds

    candidates = {"baton": later, "baton, a user's first ever": first}
    if have("tsp"):
        candidates["tsp"] = spool
    times = interleaved(candidates, rounds)
    rows = [("", "median ms", "x tsp", "at most", "")]
    peer = median(times.get("tsp", [1]))
    for name, values in times.items():
        ratio = median(values) / peer
        rows.append((name, f"{median(values) * 1e3:.1f}", f"{ratio:.2f}" if "tsp" in times else "-",
                     *((3, verdict(ratio <= 3)) if name == "baton" else ("-",))))
    table(f"no daemon running -> first task done ({rounds} of each in turn)", rows)
