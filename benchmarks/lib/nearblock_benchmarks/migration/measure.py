"""migration.measure --nearblock PATH --relay PATH --disk IMAGE --index FOLDER --folder FOLDER --ideal BYTES --fast-ideal BYTES
           [--rounds N] [--guest BYTES] [--predict] LINK...

Moves IMAGE over each LINK, RATE/RTT or RATE/RTT/LOSS (`100M/20`, `1G/50/0.001`: bits a second, milliseconds, a share of
packets), N times, and prints what crossed and how long it took, against one plain TCP stream on the same link.
"""
import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time

from nearblock_benchmarks.migration.links import parse, spread
from nearblock_benchmarks.migration.pair import Pair
from nearblock_tests.images import copy_image
from nearblock_tests.nodes import NodeFailure
from nearblock_tests.wan.wan import Wan


class TimeLeft:
    """What a node says of the time left, from `with` to its end."""

    def __init__(self, node):
        self.node, self.said, self.isOver = node, [], threading.Event()

    def __enter__(self):
        self.began = time.monotonic()
        self.thread = threading.Thread(target=self.watch)
        self.thread.start()
        return self

    def watch(self):
        while not self.isOver.wait(0.2):
            progress = self.node.status()["disk"].get("progress") or {}
            self.said.append((time.monotonic() - self.began, progress.get("secondsLeft")))

    def __exit__(self, *_):
        self.total = time.monotonic() - self.began
        self.isOver.set()
        self.thread.join()

    def error(self):
        """By how much of the time that was left in truth it was wrong at most, between a quarter and three of the way."""
        errors = [abs(left - (self.total - now)) / (self.total - now) if left is not None else 1
                  for now, left in self.said if self.total / 4 <= now <= self.total * 3 / 4]
        return max(errors, default=float("nan"))


# Of what a link carries, what is left of packets of 1500 bytes.
PAYLOAD = 1448 / 1500


class Guest:
    """fio writes until it is stopped."""

    def __init__(self, rate, uri, folder):
        self.output = f"{folder}/fio.json"
        self.process = subprocess.Popen(
            ["fio", "--name=guest", "--ioengine=nbd", f"--uri={uri}", "--rw=randwrite", "--bs=4k", "--iodepth=4",
             "--refill_buffers", "--buffer_compress_percentage=60", f"--rate=,{rate}", "--time_based", "--runtime=3600",
             "--size=3G", "--output-format=json", f"--output={self.output}"],
            cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(1)

    def stop(self):
        """Returns how long the slowest write took, in seconds."""
        self.process.send_signal(signal.SIGINT)
        self.process.wait()
        text = open(self.output).read()
        return json.loads(text[text.index("{"):])["jobs"][0]["write"]["clat_ns"]["max"] / 1e9


def move(options, wan, plain, number):
    """Where it is asked ahead what it will take, of a link that carries `plain` bytes a second."""
    folder = f"{options.folder}/run-{number}"
    os.makedirs(folder)
    try:
        copy_image(options.disk, f"{folder}/disk.raw")
        with Pair(options.nearblock, wan, folder, ["--index", options.index]) as pair:
            rate = int(plain * 8 / PAYLOAD)
            estimate = pair.move("--dry-run", "--rate", str(rate)) if options.predict else None
            guest = Guest(options.guest, f"nbd+unix:///disk?socket={folder}/near/nbd", folder) if options.guest else None
            try:
                with TimeLeft(pair.near) as left:
                    report = pair.move()
            finally:
                slowest = guest.stop() if guest else 0
            report["seconds"]["slowest"] = slowest
            return report, left.error(), estimate
    except NodeFailure as failure:
        sys.exit(f"migration: {failure}")
    finally:
        shutil.rmtree(folder)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("nearblock", "relay", "disk", "index", "folder"):
        parser.add_argument(f"--{name}", required=True)
    parser.add_argument("--ideal", type=int, required=True)
    parser.add_argument("--fast-ideal", type=int, required=True)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--guest")
    parser.add_argument("--predict", action="store_true")
    parser.add_argument("links", nargs="+")
    options = parser.parse_args()
    print(f"The blocks that no neighbour holds, by zstd -9 --long=27: {options.ideal / 2**20:.1f} MiB; by zstd -3, the ideal of "
          f"links of more than 100 Mbit/s: {options.fast_ideal / 2**20:.1f} MiB")
    print("| link | plain TCP, Mbit/s | on the wire, MiB | of the ideal | seconds | of wire / plain + 3 s | pause, ms "
          "| of 2 RTT + 50 ms | time left wrong by |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- | --- |")
    if options.guest:
        print("The last column of a link is followed by how long fio's slowest write took in each run, in ms.")
    number = 0
    for link in options.links:
        rate, rtt, loss = parse(link)
        plain, reports, errors, estimates = [], [], [], []
        with Wan(options.relay, rate, rtt, loss) as wan:
            for _ in range(options.rounds):
                plain.append(wan.plain_rate(max(4.0, rtt / 10)))
                report, error, estimate = move(options, wan, plain[-1], number)
                reports.append(report)
                errors.append(error)
                estimates.append(estimate)
                number += 1
        ideal = options.ideal if rate <= 100e6 else options.fast_ideal
        wire = [report["wire"]["total"] for report in reports]
        seconds = [report["seconds"]["total"] for report in reports]
        pauses = [report["seconds"]["pause"] * 1000 for report in reports]
        bound = [took / (size / speed + 3) for took, size, speed in zip(seconds, wire, plain)]
        print(f"| {link} | {spread([speed * 8e-6 for speed in plain], 1)} | {spread([w / 2**20 for w in wire], 1)} "
              f"| {spread([w / ideal for w in wire], 3)} | {spread(seconds, 1)} | {spread(bound, 2)} "
              f"| {spread(pauses, 0)} | {spread([pause / (2 * rtt + 50) for pause in pauses], 2)} "
              f"| {spread(errors, 2)} |" + "".join(f" {r['seconds']['slowest'] * 1000:.0f}" for r in reports if options.guest),
              flush=True)
        if options.predict:
            parts = (("bytes", lambda said: said["wire"]["total"]), ("time", lambda said: said["seconds"]["total"]))
            print(f"{link}, by --dry-run of what then happened: " + ", ".join(
                f"{name} {spread([part(said) / part(report) for said, report in zip(estimates, reports)], 2)}"
                for name, part in parts), flush=True)


if __name__ == "__main__":
    main()
