"""machine.py: see benchmarks/paper/machine."""
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

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path += [f"{HERE}/../../../nbd-scripts/lib"]
from links import parse, spread  # noqa: E402
from nodes import NodeFailure  # noqa: E402
from qmp import Qmp, QmpError  # noqa: E402
from vm.guest import Guest, GuestFailure  # noqa: E402
from vm.kernel import make_debian, make_kernel, make_relay  # noqa: E402
from vm.tests import Context  # noqa: E402
from vm.world import DebianWorld, Failure  # noqa: E402

MI = 1 << 20
NBD_PORT = 7002
# Seconds between two samples.
STEP = 0.5
# What its guests need beyond a plain Debian.
DISK = ("vm-bench", "3G", "dbench,gcc,libc6-dev,make,nginx-light")


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


class BenchWorld(DebianWorld):
    """A guest with something to do."""

    shell = "/bin/bash"

    def __init__(self, options, context, folder, load, rate, rtt):
        self.options, self.load = options, load
        super().__init__(context, folder, rate=rate, rtt=rtt)

    def arguments(self, still):
        return f"{super().arguments(still)} load={self.load}"

    def make_image(self, image):
        subprocess.run(["cp", "--sparse=always", "--reflink=auto", make_debian(*DISK), image], check=True)

    def start_nodes(self, images):
        self.near.start_node(images)
        self.far.start_node({}, ["--index", self.options.index])

    def start(self):
        super().start()
        # A guest that dirties memory faster than the link carries it is slowed down by QEMU, whoever moves its disk.
        here = Qmp.connect(f"{self.near.folder}/qmp")
        here.execute("migrate-set-capabilities", capabilities=[{"capability": "auto-converge", "state": True}])
        here.close()

    def move_all(self):
        """Returns what QEMU sent of the memory, in bytes, and for how long it says that the guest stood still."""
        return self.move().finish(self.options.patience)["memory"]

    def measure(self):
        """One move; what it took."""
        began = time.monotonic()
        time.sleep(10)
        before = {word: self.guest.gap(word, began) for word in "tw"}
        began = time.monotonic()
        with Traffic(self.sites.wan) as traffic:
            memory = self.move_all()
        self.work(5)
        still = {word: self.guest.gap(word, began) for word in "tw"}
        self.end_guest(self.far)
        done = re.search(r"GUEST: done: (.*)", self.guest.log(self.far))
        return {"done": done and done[1].strip(),
                "seconds": traffic.seconds, "wire": traffic.total, "memory": memory["bytes"],
                "rest": traffic.total - memory["bytes"], "downtime": memory["downtime"], "still": still["t"],
                "writes": still["w"], "still before": before["t"], "writes before": before["w"],
                "samples": traffic.samples, "writes in half seconds": self.guest.pace("w", began, STEP)}


class PlainGuest(Guest):
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
        here.execute("block-job-cancel", device="mirror")
        self.wait(lambda: not here.execute("query-block-jobs"))
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
        here.execute("blockdev-add", driver="nbd", node_name="copy", server={"type": "inet", **address}, export="disk",
                     discard="unmap")
        here.execute("blockdev-mirror", job_id="mirror", device="disk", target="copy", sync="full")
        self.wait(lambda: self.is_ready(here), "mirrored the disk")

    @staticmethod
    def is_ready(here):
        jobs = here.execute("query-block-jobs")
        if not jobs:
            raise Failure("QEMU's mirror has failed")
        return jobs[0]["ready"]

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


WAYS = {"shared": SharedWorld, "QEMU": PlainWorld, "nearblock": BenchWorld}


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


def show(load, link, results):
    for way, runs in results.items():
        if not runs:
            print(f"| {load} | {link} | {way} | failed | | | | | | |", flush=True)
            continue
        column = lambda name, unit, digits: spread([each[name] / unit for each in runs], digits)  # noqa: E731
        print(f"| {load} | {link} | {way} | {column('seconds', 1, 1)} | {column('wire', MI, 1)} | {column('memory', MI, 1)} "
              f"| {column('rest', MI, 1)} | {column('still', 1e-3, 0)} | {column('writes', 1e-3, 0)} "
              f"| {column('writes before', 1e-3, 0)} |", flush=True)
    pairs = list(zip(results.get("QEMU", []), results.get("nearblock", [])))
    alone = list(zip(results.get("shared", []), results.get("nearblock", [])))
    if alone:
        more = spread([(ours["writes"] - theirs["writes"]) * 1000 for theirs, ours in alone], 0)
        print(f"| {load} | {link} | nearblock beyond shared | | | | | | {more} | |", flush=True)
    if pairs:
        of = lambda name: spread([ours[name] / theirs[name] for theirs, ours in pairs], 2)  # noqa: E731
        print(f"| {load} | {link} | nearblock of QEMU's | {of('seconds')} | {of('wire')} | {of('memory')} | {of('rest')} "
              f"| {of('still')} | {of('writes')} | |", flush=True)


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
    print("| guest | link | with | seconds | on the wire, MiB | memory, MiB | the rest, MiB | stood still, ms "
          "| no write for, ms | no write for before, ms |\n| " + " | ".join(["---"] * 10) + " |", flush=True)
    everything = []
    for load in options.load:
        for link in options.links:
            results = {way: [] for way in options.way or WAYS}
            for _ in range(options.rounds):
                for way, runs in results.items():
                    if result := run(options, context, way, load, link):
                        runs.append(result)
                        everything.append({"guest": load, "link": link, "with": way, **result})
                        if options.samples:
                            with open(options.samples, "w") as file:
                                json.dump(everything, file)
            show(load, link, results)


main()
