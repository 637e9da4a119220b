"""`batonctl run a | batonctl run b`: a pipeline never waits for itself, however few slots there are."""

import os
import subprocess
import threading

import baton
import tasks


class OneSlot(tasks.Tasks, baton.TestCase):
    CONFIG = 'slots = "1"\n'

    def begin(self, line):
        process = subprocess.Popen(["bash", "-c", line], env=self.daemon.env, cwd=self.path("work"),
                                   stdout=subprocess.PIPE, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL)
        self.addCleanup(lambda: (process.kill(), process.communicate()))
        return process

    def shell(self, line):
        process = self.begin(line)
        out, err = process.communicate(timeout=baton.TIMEOUT)
        return process.returncode, out, err

    def test_every_order_of_start(self):
        # Who comes first has the slot: a reader with nothing to read, or the writer, whose pipe fills up.
        commands = {"first": "seq 200000", "middle": "grep 9", "last": "tail -n 1"}
        for late in commands:
            with self.subTest(late):
                go = self.temporary("go")
                wait = "while [ ! -e go ]; do sleep 0.01; done; "
                line = " | ".join(f"({wait if late == name else ''}exec batonctl run {command})"
                                  for name, command in commands.items())
                process = self.begin(line)
                baton.wait_until(lambda: len(self.daemon.json("list", "--unfinished")) == 2, "the others are there")
                open(go, "w").close()
                out, err = process.communicate(timeout=baton.TIMEOUT)
                self.assertEqual((process.returncode, out, err), (0, b"199999\n", b""))

    def test_many_at_once(self):
        lines = [f"batonctl run seq {n} | batonctl run cat | batonctl run sort -n | batonctl run tail -n 1"
                 for n in range(20001, 20009)]
        results = [None] * len(lines)

        def run(i):
            results[i] = self.shell(lines[i])
        threads = [threading.Thread(target=run, args=(i,)) for i in range(len(lines))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual([(code, out) for code, out, _ in results], [(0, b"%d\n" % n) for n in range(20001, 20009)])
        baton.wait_until(lambda: (self.status("slots_used"), self.status("parked")) == (0, 0), "all slots are free")

    def test_stderr_joins_too(self):
        result = self.shell("batonctl run sh -c 'seq 200000 >&2' 2>&1 >/dev/null | batonctl run tail -n 1")
        self.assertEqual(result[:2], (0, b"200000\n"))

    def test_an_end_ends_the_pipeline(self):
        result = self.shell("batonctl run yes | batonctl run head -n 1; echo ${PIPESTATUS[@]}")
        self.assertEqual(result[1], b"y\n141 0\n")

    def test_other_pipes_give_no_slot_away(self):
        # It sleeps, and its output is a pipe that the next one writes to, too: no pipeline.
        read, write = os.pipe()
        self.addCleanup(os.close, read)
        holder = self.start("run", "sh", "-c", "echo ready; exec sleep 1000", stdin=subprocess.PIPE, stdout=write)
        os.close(write)
        self.assertEqual(os.read(read, 6), b"ready\n")
        self.assertEqual(self.ctl("run", "--queue-timeout", "1", "true", stdout=subprocess.PIPE).returncode, 124)
        self.assertEqual(self.ctl("run", "-n", "true", stdin=subprocess.PIPE).returncode, 1)
        holder.terminate()
        self.assertEqual(holder.wait(timeout=baton.TIMEOUT), 143)


if __name__ == "__main__":
    baton.main()
