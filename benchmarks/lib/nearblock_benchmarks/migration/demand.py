"""migration.demand --nearblock PATH --relay PATH --disk IMAGE --folder FOLDER [--seconds N] LINK...

How long reads of blocks wait that are still at the source, while the rest of the disk is on its way.
"""
import argparse
import os
import shutil
import subprocess
import sys

from nearblock_benchmarks.migration.links import parse
from nearblock_benchmarks.migration.pair import Pair
from nearblock_tests.images import copy_image
from nearblock_tests.nodes import NodeFailure
from nearblock_tests.wan.wan import Wan

BLOCK = 4096


def latencies(uri, folder, seconds):
    """Of every read, in milliseconds."""
    subprocess.run(
        ["fio", "--name=reads", "--ioengine=nbd", f"--uri={uri}", "--rw=randread", f"--bs={BLOCK}", "--iodepth=1",
         "--time_based", f"--runtime={seconds}", "--size=3G", "--write_lat_log=reads", "--log_avg_msec=0"],
        cwd=folder, check=True, stdout=subprocess.DEVNULL)
    with open(f"{folder}/reads_clat.1.log") as log:
        return [int(line.split(",")[1]) / 1e6 for line in log]


def measure(options, wan, link):
    folder = f"{options.folder}/run"
    os.makedirs(folder)
    try:
        copy_image(options.disk, f"{folder}/disk.raw")
        with Pair(options.nearblock, wan, folder) as pair:
            pair.near.do("migrate", "disk", "--to", pair.address, "--switch", "now", "--detach")
            while "missing" not in pair.far.status().get("disk", {}):
                pass
            before = pair.far.status()["disk"]["missing"]
            reads = latencies(f"nbd+unix:///disk?socket={folder}/far/nbd", folder, options.seconds)
            after = pair.far.status()["disk"].get("missing", 0)
    except NodeFailure as failure:
        sys.exit(f"demand: {failure}")
    finally:
        shutil.rmtree(folder)
    report(link, reads, before, after)


def report(link, reads, before, after):
    rate, rtt, _ = parse(link)
    # Reads of what is there take less than a round trip.
    waited = sorted(latency for latency in reads if latency >= rtt)
    bound = rtt + 20 + BLOCK * 8 / rate * 1000
    at = [waited[min(len(waited) - 1, int(len(waited) * share))] for share in (0.5, 0.99)] if waited else [0, 0]
    print(f"| {link} | {len(reads)} | {len(waited)} | {at[0]:.1f} | {at[1]:.1f} | {waited[-1] if waited else 0:.1f} "
          f"| {bound:.1f} | {at[1] / bound:.2f} | {before * BLOCK >> 20} to {after * BLOCK >> 20} |", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("nearblock", "relay", "disk", "folder"):
        parser.add_argument(f"--{name}", required=True)
    parser.add_argument("--seconds", type=int, default=20)
    parser.add_argument("links", nargs="+")
    options = parser.parse_args()
    print("| link | reads | over the link | median, ms | p99, ms | slowest, ms | RTT + 20 ms + 4 KiB, ms | p99 of that "
          "| missing meanwhile, MiB |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- | --- |")
    for link in options.links:
        rate, rtt, loss = parse(link)
        with Wan(options.relay, rate, rtt, loss) as wan:
            measure(options, wan, link)


if __name__ == "__main__":
    main()
