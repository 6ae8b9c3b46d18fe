"""migration.guest --nearblock PATH --disk IMAGE --folder FOLDER [--rounds N] [--seconds N] [--direct]

What fio, at half of its best rate, notices of the copying of the disk that it works on.
"""
import argparse
import json
import statistics
import subprocess
import sys
import threading

from nearblock_tests.nodes import Node, NodeFailure, free_port

# Gets what the others leave: it stands for another machine.
ELSEWHERE = ("chrt", "--idle", "0", "ionice", "-c", "3")


class Guest:
    """fio on an export; `run` returns requests a second, and the 99th percentile of their latencies in milliseconds."""

    def __init__(self, uri, folder, seconds):
        self.uri, self.folder, self.seconds = uri, folder, seconds

    def run(self, rate=None):
        limit = [f"--rate_iops={int(rate * 0.7)},{int(rate * 0.3)}"] if rate else []
        output = subprocess.run(
            ["fio", "--name=guest", "--ioengine=nbd", f"--uri={self.uri}", "--rw=randrw", "--rwmixread=70", "--bs=4k",
             "--iodepth=4", "--time_based", f"--runtime={self.seconds}", "--size=3G", "--output-format=json", *limit],
            cwd=self.folder, check=True, capture_output=True, text=True).stdout
        job = json.loads(output[output.index("{"):])["jobs"][0]
        parts = [job[kind] for kind in ("read", "write")]
        slowest = max(part["clat_ns"]["percentile"]["99.000000"] for part in parts) / 1e6
        return sum(part["iops"] for part in parts), slowest


class Copying:
    """From `with` to its end, the disk is copied again and again, and never handed over."""

    def __init__(self, options, near, folder):
        self.options, self.near, self.folder = options, near, folder
        self.copies, self.isOver = 0, threading.Event()

    def __enter__(self):
        self.begin()
        self.thread = threading.Thread(target=self.watch)
        self.thread.start()
        return self

    def begin(self):
        port = free_port()
        self.far = Node(
            self.options.nearblock, f"{self.folder}/far-{self.copies}",
            ["--peer-listen", f"127.0.0.1:{port}", "--images", f"{self.folder}/far-{self.copies}/images"], ELSEWHERE)
        self.copies += 1
        self.near.do("migrate", "disk", "--to", f"127.0.0.1:{port}", "--switch", "manual", "--detach")

    def watch(self):
        # Each look is a process that takes 15 ms of the processor from fio.
        while not self.isOver.wait(0.5):
            # Once it has been gone over as a whole, there is little left to do.
            if (self.near.status()["disk"].get("progress") or {}).get("round", 1) > 1:
                self.end()
                self.begin()

    def end(self):
        self.near.ask("cancel", "disk")
        self.far.kill()
        subprocess.run(["rm", "-rf", self.far.folder], check=True)

    def __exit__(self, *_):
        self.isOver.set()
        self.thread.join()
        self.end()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("nearblock", "disk", "folder"):
        parser.add_argument(f"--{name}", required=True)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=6)
    parser.add_argument("--direct", action="store_true")
    options = parser.parse_args()
    image = f"{options.folder}/disk.raw"
    subprocess.run(["cp", "--sparse=never", options.disk, image], check=True)
    near = Node(options.nearblock, f"{options.folder}/near",
                [image, "--export", "disk", *(["--direct"] if options.direct else [])])
    guest = Guest(f"nbd+unix:///disk?socket={options.folder}/near/nbd", options.folder, options.seconds)
    kept, slower, ownTail, tail, copies = [], [], [], [], 0
    try:
        best, _ = guest.run()
        for _ in range(options.rounds):
            alone, own = guest.run(best / 2)
            with Copying(options, near, options.folder) as copying:
                beside, other = guest.run(best / 2)
            copies += copying.copies
            kept.append(beside / alone)
            slower.append(other / own)
            ownTail.append(own)
            tail.append(other)
    except NodeFailure as failure:
        sys.exit(f"guest: {failure}")
    finally:
        near.stop()
    print(f"fio at {best / 2:.0f} of {best:.0f} requests a second; {copies} copies were begun beside it")
    print("| | median | lowest | highest |")
    print("| --- | --- | --- | --- |")
    for name, values in (("rate kept", kept), ("p99 alone, ms", ownTail), ("p99 beside copying, ms", tail),
                         ("p99, times", slower)):
        print(f"| {name} | {statistics.median(values):.3f} | {min(values):.3f} | {max(values):.3f} |")


if __name__ == "__main__":
    main()
