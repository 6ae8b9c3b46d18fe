"""migration.machine: see benchmarks/paper/machine."""
import argparse
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from typing import Any

from machine.qmp import Qmp, QmpError
from nearblock_benchmarks.migration import mirror
from nearblock_benchmarks.migration.lan import DEVICE, Lan, Poll
from nearblock_benchmarks.migration.links import parse, spread
from nearblock_tests.nodes import NodeFailure
from nearblock_tests.vms.guest import Guest, GuestFailure
from nearblock_tests.vms.kernel import make_kernel, make_relay
from nearblock_tests.vms.world import Context, DebianWorld, Failure

HERE = os.path.dirname(os.path.abspath(__file__))
MI = 1 << 20
NBD_PORT = 7002
# Seconds between two samples.
STEP = 0.5
# Of life: what the guest says of itself over a serial port, and what its users see.
SIGNS = {"t": "still", "w": "writes", "p": "ping", "h": "http"}


class Traffic:
    """What has crossed the link since `with`, every half second."""

    def __init__(self, wan):
        self.wan, self.samples, self.is_over = wan, [], threading.Event()

    def __enter__(self):
        self.before, self.began = self.wan.traffic(), time.monotonic()
        self.thread = threading.Thread(target=self.watch)
        self.thread.start()
        return self

    def watch(self):
        while not self.is_over.wait(STEP):
            self.samples.append((round(time.monotonic() - self.began, 2), self.so_far()))

    def so_far(self):
        return self.wan.traffic() - self.before

    def __exit__(self, *_):
        self.seconds, self.total = time.monotonic() - self.began, self.so_far()
        self.is_over.set()
        self.thread.join()


class BenchGuest(Guest):
    """It has users."""

    def command(self, site, *more):
        return super().command(site, *DEVICE, *more)


class BenchWorld(DebianWorld):
    """A guest with something to do."""

    kind = BenchGuest
    shell = "/bin/bash"
    # With what its loads need beyond a plain one.
    debian = ("vm-bench", "3G", "dbench,gcc,libc6-dev,make,nginx-light")

    def __init__(self, options, context, folder, load, rate, rtt):
        self.options, self.load, self.lan, self.polls = options, load, None, []
        super().__init__(context, folder, rate=rate, rtt=rtt)

    def arguments(self, still):
        return f"{super().arguments(still)} load={self.load}"

    def start_nodes(self, images):
        self.near.start_node(images)
        self.far.start_node({}, ["--index", self.options.index])

    def start(self):
        self.lan = Lan([self.near.namespace, self.far.namespace]).make()
        super().start()
        self.polls.append(Poll.by_ping(self.lan, self.guest.beats))
        if self.load == "web":
            self.polls.append(Poll.by_http(self.lan, self.guest.beats))
        # A guest that dirties memory faster than the link carries it is slowed down by QEMU, whoever moves its disk.
        here = Qmp.connect(f"{self.near.folder}/qmp")
        here.execute("migrate-set-capabilities", capabilities=[{"capability": "auto-converge", "state": True}])
        here.close()

    def __exit__(self, *failure):
        for poll in self.polls:
            poll.end()
        if self.lan:
            self.lan.remove()
        super().__exit__(*failure)

    def move_all(self):
        """Returns what crossed of the memory, in bytes, and for how long QEMU says that the guest stood still."""
        memory = self.move().finish(self.options.patience)["memory"]
        relay = memory.get("relay")
        if relay:
            print(f"machine: the memory: {json.dumps(relay)}", file=sys.stderr)
            memory["bytes"] = relay["wire"]
        return memory

    def gaps(self, since):
        """The longest time without each sign of life, in seconds; None where the guest gives no such sign."""
        given = ["t", "w", *(poll.word for poll in self.polls)]
        return {name: self.guest.gap(word, since) if word in given else None for word, name in SIGNS.items()}

    def measure(self):
        """One move; what it took."""
        began = time.monotonic()
        time.sleep(10)
        before = self.gaps(began)
        began = time.monotonic()
        with Traffic(self.sites.wan) as traffic:
            memory = self.move_all()
        self.work(5)
        still = self.gaps(began)
        self.end_guest(self.far)
        done = re.search(r"GUEST: done: (.*)", self.guest.log(self.far))
        return {"done": done and done[1].strip(),
                "seconds": traffic.seconds, "wire": traffic.total, "memory": memory["bytes"],
                "rest": traffic.total - memory["bytes"], "downtime": memory["downtime"], **still,
                **{f"{name} before": gap for name, gap in before.items()}, "samples": traffic.samples,
                "writes in half seconds": self.guest.pace("w", began, STEP)}


class DirectWorld(BenchWorld):
    """Only the disk moves through the nodes."""

    relays_memory = False


class PlainGuest(BenchGuest):
    """Its disk is a file."""

    @staticmethod
    def medium(path, name):
        return f"driver=file,filename={path}/images/{name}.raw,discard=unmap"


class PlainWorld(BenchWorld):
    """QEMU moves memory and disk by itself, as libvirt has it do: a mirror to an NBD server in the QEMU there, which ends
    while the guest stands still."""

    kind = PlainGuest

    def start_nodes(self, images):
        for image in images.values():
            with open(f"{self.far.folder}/images/{os.path.basename(image)}", "wb") as file:
                file.truncate(os.path.getsize(image))

    def move_all(self):
        self.end = time.monotonic() + self.options.patience
        command = self.guest.command(self.far, "-incoming", "defer")
        subprocess.run([*self.far.prefix, "sh", "-c", command], check=True, stdin=subprocess.DEVNULL)
        here, there = (Qmp.connect(f"{site.folder}/qmp") for site in (self.near, self.far))
        self.move_guest(here, there)
        self.wait(lambda: self.status(here) == "completed", "moved the memory")
        self.wait(lambda: there.execute("query-status")["status"] == "running")
        said = here.execute("query-migrate")
        here.execute("quit")
        self.clean_up(there)
        return {"bytes": said["ram"]["transferred"], "downtime": said["downtime"] / 1000}

    def move_guest(self, here, there):
        """Returns once nothing is left to be done but by QEMU itself."""
        self.mirror(here, there)
        here.execute("migrate-set-capabilities", capabilities=[{"capability": "pause-before-switchover", "state": True}])
        self.move_memory(here, there)
        self.wait(lambda: self.status(here) == "pre-switchover", "moved the memory")
        mirror.end(here)
        self.wait(lambda: mirror.has_ended(here))
        here.execute("migrate-continue", state="pre-switchover")

    def clean_up(self, there):
        there.execute("nbd-server-stop")

    def move_memory(self, here, there):
        there.execute("migrate-incoming", uri=self.far.memory)
        here.execute("migrate", uri=self.far.memory)

    def mirror(self, here, there):
        """Returns once there is nothing left but what the guest writes."""
        address = {"host": self.far.address, "port": str(NBD_PORT)}
        there.execute("nbd-server-start", addr={"type": "inet", "data": address})
        there.execute("block-export-add", type="nbd", id="export", node_name="disk", name="disk", writable=True)
        mirror.begin(here, self.far.address, NBD_PORT, export="disk")
        self.wait(lambda: mirror.is_ready(here), "mirrored the disk")

    @staticmethod
    def status(here):
        said = here.execute("query-migrate")
        if said.get("status") in ("failed", "cancelled"):
            raise Failure(f"QEMU's migration has failed: {said.get('error-desc', said['status'])}")
        return said.get("status")

    def wait(self, is_done, what="let go of the guest"):
        while not is_done():
            if time.monotonic() > self.end:
                crossed = self.sites.wan.traffic() / MI
                raise Failure(f"QEMU has not {what} within {self.options.patience:.0f} s and {crossed:.0f} MiB on the link")
            time.sleep(0.02)


class SharedWorld(PlainWorld):
    """Both QEMUs have the same file, and only the memory is moved."""

    def start_nodes(self, images):
        for image in images.values():
            os.link(image, f"{self.far.folder}/images/{os.path.basename(image)}")

    def move_guest(self, here, there):
        self.move_memory(here, there)

    def clean_up(self, there):
        pass


WAYS = {"shared": SharedWorld, "QEMU": PlainWorld, "direct": DirectWorld, "nearblock": BenchWorld}


def run(options, context, way, load, link):
    """One move; None where it failed, which it has said."""
    rate, rtt, _ = parse(link)
    folder = tempfile.mkdtemp(dir=options.folder)
    try:
        with WAYS[way](options, context, folder, load, rate, rtt) as world:
            return world.measure()
    except (Failure, GuestFailure, NodeFailure, QmpError) as failure:
        print(f"machine: {load} over {link} with {way}: {failure}", file=sys.stderr, flush=True)
    finally:
        shutil.rmtree(folder)


# Of the table: its head, what of a run it shows, in what unit, with how many digits.
COLUMNS: list[tuple[str, str, float, int]] = [
    ("seconds", "seconds", 1, 1), ("on the wire, MiB", "wire", MI, 1), ("memory, MiB", "memory", MI, 1),
    ("the rest, MiB", "rest", MI, 1)]
GAPS = [("stood still, ms", "still"), ("no answer to a ping, ms", "ping"), ("no answer by HTTP, ms", "http"),
        ("no write, ms", "writes"), ("no write before, ms", "writes before")]
COLUMNS += [(head, name, 1e-3, 0) for head, name in GAPS]


def row(words, cells):
    print("| " + " | ".join([*words, *cells]) + " |", flush=True)


def cell(values, digits):
    return "" if None in values else spread(values, digits)


def show(load, link, results):
    for way, runs in results.items():
        if not runs:
            row((load, link, way), ["failed", *[""] * (len(COLUMNS) - 1)])
            continue
        cells = [cell([run[name] and run[name] / unit for run in runs], digits) for _, name, unit, digits in COLUMNS]
        row((load, link, way), cells)
    ours = results.get("nearblock", [])
    if pairs := list(zip(results.get("shared", []), ours)):
        more = [cell([a[name] and (b[name] - a[name]) * 1000 for a, b in pairs], 0) for _, name in GAPS[:-1]]
        row((load, link, "nearblock beyond shared"), ["", "", "", "", *more, ""])
    if pairs := list(zip(results.get("QEMU", []), ours)):
        of = [cell([a[name] and b[name] / a[name] for a, b in pairs], 2) for _, name, _, _ in COLUMNS[:-1]]
        row((load, link, "nearblock of QEMU's"), [*of, ""])


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("nearblock", "index", "folder"):
        parser.add_argument(f"--{name}", required=True)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--patience", type=float, default=1800)
    parser.add_argument("--samples")
    parser.add_argument("--way", action="append", choices=list(WAYS))
    parser.add_argument("--load", action="append", required=True)
    parser.add_argument("links", nargs="+")
    options = parser.parse_args()
    # Whatever was started ends with it.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    made = f"{options.folder}/kernel"
    os.makedirs(made)
    context = Context(nearblock=options.nearblock, relay=make_relay(made),
                      kernel=make_kernel(made, f"{HERE}/machine-work"))
    row(("guest", "link", "with"), [head for head, *_ in COLUMNS])
    row(["---"] * 3, ["---"] * len(COLUMNS))
    everything = []
    for load in options.load:
        for link in options.links:
            results: dict[Any, list[Any]] = {way: [] for way in options.way or WAYS}
            for _ in range(options.rounds):
                for way, runs in results.items():
                    if result := run(options, context, way, load, link):
                        runs.append(result)
                        everything.append({"guest": load, "link": link, "with": way, **result})
                        if options.samples:
                            with open(options.samples, "w") as file:
                                json.dump(everything, file)
            show(load, link, results)


if __name__ == "__main__":
    main()
