"""A million queued tasks: what they cost, and how long the daemon's loop is held by one request."""

import os
import select
import time

from measure import CTL, Daemon, call, median, resident, table, verdict

COUNT = int(os.environ.get("BENCH_QUEUE", "1000000"))
PARTS = 10
HELD = "queue_limit = 3000000\n"


def long_environment():
    """With this the context of `submit --each` has about 4 KiB."""
    size = sum(len(name) + len(value) + 10 for name, value in os.environ.items())
    return {"BENCH_PADDING": "x" * max(0, 4096 - size)}


def write_commands(path, count, part):
    with open(path, "w", encoding="ascii") as file:
        file.writelines(f"/bin/echo {part:02d}{i:08d} {'x' * 18}\n" for i in range(count))


def block_slots():
    """Nothing of what comes starts."""
    for _ in range(os.cpu_count() or 1):
        call([CTL, "submit", "sleep", "100000"])


def list_frame(after, batch=0, limit=100):
    import wire

    builder, root = wire.frame(wire.LIST, 5)
    body = builder.struct(root.pointer(0), 3, 0).set("Q", 0, after).set("I", 8, limit ^ 100)
    body.set("Q", 16, batch)
    return builder.bytes()


def cost(peer, request, repeat=200):
    """Median seconds from a request to the last byte of its answer, taken apart by nobody."""
    times = []
    for _ in range(repeat):
        begin = time.perf_counter()
        peer.send(request)
        peer.receive_bytes()
        times.append(time.perf_counter() - begin)
    return median(times)


def bench_queue():
    with Daemon(HELD, **long_environment()) as daemon:
        daemon.start()
        block_slots()
        pid = daemon.pid()
        before = resident(pid)
        peer = daemon.peer()
        path = daemon.path("commands")
        tenth = COUNT // PARTS
        write_commands(path, 100, 0)
        call([CTL, "submit", "--each", path])
        small = int(max(newest(peer)))
        base = cost(peer, list_frame(0, small))
        rates = []
        for part in range(PARTS):
            write_commands(path, tenth, part)
            rates.append(tenth / call([CTL, "submit", "--each", path]))
        memory = (resident(pid) - before) / COUNT
        write_commands(path, COUNT, 10)
        seconds = call([CTL, "submit", "--each", path])
        large = int(max(newest(peer)))
        rows = [("rate, first tenth", f"{rates[0]:.0f}/s", ""),
                ("rate, last tenth", f"{rates[-1]:.0f}/s", f"{rates[-1] / rates[0]:.2f} of the first",
                 "at least 0.9", verdict(rates[-1] >= 0.9 * rates[0])),
                ("another batch of as many", f"{COUNT / seconds:.0f}/s"),
                ("daemon memory per task", f"{memory:.0f} bytes", "", "at most 500", verdict(memory <= 500)),
                ("100 rows of a batch of 100", f"{base * 1e6:.0f} us")]
        for name, after in (("first", 0), ("middle", COUNT // 2), ("last", COUNT - 100)):
            seconds = cost(peer, list_frame(after, large))
            rows.append((f"100 rows, cursor at the {name}", f"{seconds * 1e6:.0f} us", f"{seconds / base:.2f} x",
                         "at most 3", verdict(seconds <= 3 * base)))
        peer.close()
        table(f"submit --each, {COUNT} tasks in {PARTS} batches: argv of 40 bytes, one context of 4 KiB", rows)


def newest(peer):
    import wire

    found = [0]
    after = 0
    while True:
        listing = peer.call(wire.list_frame(9, after)).body
        for row in listing.list(0):
            found.append(row.struct(0).get("Q", 0))
        after = listing.get("Q", 0)
        if after == 0:
            return found


class Prober:
    """Sends pings, one after the other, while something else goes on: how long does the loop take to answer?"""

    def __init__(self, daemon):
        import wire

        self.peer = daemon.peer()
        self.ping = wire.plain(wire.PING, 1)

    def during(self, peer, request):
        """(seconds until the answer to `request`, the longest and the median ping meanwhile)."""
        pings = []
        begin = time.perf_counter()
        peer.send(request)
        while True:
            at = time.perf_counter()
            self.peer.send(self.ping)
            self.peer.receive_bytes()
            now = time.perf_counter()
            pings.append(now - at)
            if select.select([peer.socket], [], [], 0)[0]:
                answer = peer.receive()
                return now - begin, max(pings), median(pings), answer


def bench_turns():
    import wire

    with Daemon(HELD, **long_environment()) as daemon:
        daemon.start()
        block_slots()
        path = daemon.path("commands")
        write_commands(path, COUNT, 0)
        call([CTL, "submit", "--each", path])
        peer = daemon.peer()
        prober = Prober(daemon)
        batch = max(newest(peer))
        singles = []
        for i in range(10000):
            peer.send(wire.submit_frame(100 + i, [b"true"]))
            if i % 100 == 99:
                singles += [peer.receive().number for _ in range(100)]
        rows = [("", "answered in", "longest ping meanwhile", "median ping")]

        def measure(name, request):
            nonlocal peer
            seconds, longest, usual, answer = prober.during(peer, request)
            text = "the connection was closed" if answer is None else ""
            if answer is None:
                peer = daemon.peer()
            elif answer.tag == wire.ERROR:
                text = answer.error[1].decode()
            rows.append((name, f"{seconds * 1e3:.1f} ms", f"{longest * 1e3:.2f} ms", f"{usual * 1e3:.3f} ms", text))

        measure("ping", wire.plain(wire.PING, 2))
        measure("add 3,000 tasks", add_tasks(peer, 3000))
        measure("list, a whole page", list_frame(0, batch, 1000))
        measure("show 1,000 ids", wire.select_frame(wire.SHOW, 3, singles[:1000]))
        measure("explain 10,000 ids", wire.select_frame(wire.EXPLAIN, 3, singles))
        measure("explain the batch", wire.select_frame(wire.EXPLAIN, 3, [batch]))
        measure("hold 10,000 ids", wire.select_frame(wire.HOLD, 3, singles))
        measure("release 10,000 ids", wire.select_frame(wire.RELEASE, 3, singles))
        measure("wait for 10,000 ids, at most 0 s", wire.wait_frame(4, singles, timeout_ns=0))
        measure(f"hold {COUNT}", wire.select_frame(wire.HOLD, 3, [batch]))
        measure(f"release {COUNT}", wire.select_frame(wire.RELEASE, 3, [batch]))
        measure(f"kill {COUNT} (none runs)", kill(batch))
        measure("cancel 10,000 ids", cancel(singles))
        measure(f"cancel {COUNT}", cancel([batch]))
        measure("retry 100,000 (what is kept of them)", wire.select_frame(wire.RETRY, 3, [batch]))
        measure("cancel --all, 100,000", cancel([], everything=True))
        table(f"how long one request holds the loop, {COUNT} tasks queued", rows)


def add_tasks(peer, count):
    import wire

    builder, root = wire.frame(wire.OPEN_BATCH, 50)
    body = builder.struct(root.pointer(0), 1, 2)
    wire.context(builder, builder.struct(body.pointer(0), 2, 1).pointer(0))
    builder.struct(body.pointer(1), 5, 4)
    batch = peer.call(builder.bytes()).number
    builder, root = wire.frame(wire.ADD_TASKS, 51)
    body = builder.struct(root.pointer(0), 2, 1).set("Q", 0, batch)
    for i, task in enumerate(builder.struct_list(body.pointer(0), count, 0, 1)):
        builder.data_list(task.pointer(0), [b"/bin/echo", b"%010d" % i, b"x" * 18])
    return builder.bytes()


def kill(batch):
    import wire

    builder, root = wire.frame(wire.KILL, 6)
    body = builder.struct(root.pointer(0), 1, 1).set("i", 0, 15)
    wire.selection(builder, body.pointer(0), [batch])
    return builder.bytes()


def cancel(ids, everything=False):
    import wire

    builder, root = wire.frame(wire.CANCEL, 7)
    body = builder.struct(root.pointer(0), 1, 2)
    wire.selection(builder, body.pointer(0), ids, everything)
    return builder.bytes()
