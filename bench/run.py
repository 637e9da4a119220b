#!/usr/bin/env python3
"""Figures of baton beside its peers; see README.md."""

import datetime
import os
import platform
import sys

import commands
import idle
import scale
from measure import CTL

PARTS = {
    "map": commands.bench_map,
    "run": commands.bench_run,
    "cold": commands.bench_cold,
    "queue": scale.bench_queue,
    "turns": scale.bench_turns,
    "idle": idle.bench_idle,
    "watchdog": idle.bench_watchdog,
}


def processor():
    with open("/proc/cpuinfo", encoding="utf-8") as file:
        return next((line.split(":")[1].strip() for line in file if line.startswith("model name")), platform.machine())


def main():
    names = sys.argv[1:] or list(PARTS)
    unknown = [name for name in names if name not in PARTS]
    if unknown or not os.access(CTL, os.X_OK):
        sys.exit(f"usage: run.py [{' '.join(PARTS)}]; needs {CTL} (see README.md)")
    print(f"{datetime.date.today()}, {os.cpu_count()} x {processor()}, Linux {platform.release()}, "
          f"load {os.getloadavg()[0]:.1f}")
    for name in names:
        PARTS[name]()


if __name__ == "__main__":
    main()
