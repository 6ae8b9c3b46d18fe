"""migration.turns --nearblock PATH [--old PATH] --relay PATH --folder FOLDER [--rounds N] [--rate RATE] [--both]
           [--stages] DISK NEIGHBOUR LINK...

Moves DISK to a node that has NEIGHBOUR, by turns with the program of an earlier release. With --both, the source has it
too. Prints bytes, seconds, and the seconds of CPU of both nodes; with --stages, also how long the link was used or not.
"""
import argparse
import os
import shutil
import subprocess
import sys
import time
from typing import Any

from nearblock_benchmarks.migration.links import parse, spread
from nearblock_benchmarks.migration.pair import Pair
from nearblock_benchmarks.migration.timeline import Timeline
from nearblock_tests.images import copy_image
from nearblock_tests.nodes import NodeFailure
from nearblock_tests.wan.wan import Wan

MEBIBYTE = 1 << 20


def cpu_of(node):
    """Seconds of CPU that a node has taken; a command before its own is the same process by then."""
    with open(f"/proc/{node.process.pid}/stat") as stat:
        fields = stat.read().rsplit(") ", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def index(program, image, folder):
    subprocess.run([program, "index", "add", "--index", folder, image], check=True, stdout=subprocess.DEVNULL,
                   stderr=subprocess.DEVNULL)


def move(options, program, wan):
    folder = f"{options.folder}/move"
    os.makedirs(folder)
    try:
        copy_image(options.disk, f"{folder}/disk.raw")
        index(program, options.neighbour, f"{folder}/index")
        near = ["--index", f"{folder}/index"] if options.both else []
        with Pair(program, wan, folder, ["--index", f"{folder}/index"], near) as pair:
            before = cpu_of(pair.near) + cpu_of(pair.far)
            with Timeline(wan) as timeline:
                began = time.monotonic()
                report = pair.move(*(["--rate", options.rate] if options.rate else []))
                ended = time.monotonic()
            report["stages"] = timeline.stages(began, ended, wan.rate)
            report["cpu"] = cpu_of(pair.near) + cpu_of(pair.far) - before
        if subprocess.run(["cmp", options.disk, f"{folder}/images/disk.raw"]).returncode != 0:
            sys.exit("the disk that has arrived is another one")
        return report
    except NodeFailure as failure:
        sys.exit(f"turns: {failure}")
    finally:
        shutil.rmtree(folder)


def missing(options):
    """Bytes that zstd -9 makes of the blocks that the neighbour does not have."""
    command = [sys.executable, "-m", "nearblock_benchmarks.migration.blocks_not_in", options.disk, options.neighbour]
    blocks = subprocess.Popen(command, stdout=subprocess.PIPE)
    packed = subprocess.run(["zstd", "-q", "-9", "--long=27", "-c"], stdin=blocks.stdout, capture_output=True, check=True)
    if blocks.wait() != 0:
        sys.exit("turns: the blocks of the disk can't be read")
    return len(packed.stdout)


def print_stages(name, reports):
    print(f"seconds of {name}:")
    for stage in reports[0]["stages"]:
        print(f"  {stage:36} {spread([r['stages'].get(stage, 0.0) for r in reports], 2)}", flush=True)
    for stage in ("precopy", "pause", "postcopy", "total"):
        print(f"  by migrate --json: {stage:17} {spread([r['seconds'][stage] for r in reports], 2)}", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("nearblock", "relay", "folder"):
        parser.add_argument(f"--{name}", required=True)
    parser.add_argument("--old")
    parser.add_argument("--rate")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--both", action="store_true")
    parser.add_argument("--stages", action="store_true")
    for name in ("disk", "neighbour"):
        parser.add_argument(name)
    parser.add_argument("links", nargs="+")
    options = parser.parse_args()
    ideal = missing(options)
    print(f"zstd -9 --long=27 of the blocks that the neighbour does not have: {ideal / MEBIBYTE:.2f} MiB")
    print("| link | program | on the wire, MiB | fingerprints, MiB | data by zstd -9 | seconds | CPU seconds |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    programs = [("this one", options.nearblock)] + ([("earlier", options.old)] if options.old else [])
    for link in options.links:
        reports: dict[str, list[Any]] = {name: [] for name, _ in programs}
        with Wan(options.relay, *parse(link)) as wan:
            for _ in range(options.rounds):
                for name, program in programs:
                    reports[name].append(move(options, program, wan))
        for name, _ in programs:
            said = reports[name]
            columns = [
                spread([r["wire"]["total"] / MEBIBYTE for r in said], 2),
                spread([r["wire"]["fingerprints"] / MEBIBYTE for r in said], 2),
                spread([r["wire"]["data"] / ideal for r in said], 3),
                spread([r["seconds"]["total"] for r in said], 2),
                spread([r["cpu"] for r in said], 1),
            ]
            print(f"| {link} | {name} | " + " | ".join(columns) + " |", flush=True)
        if options.stages:
            for name, _ in programs:
                print_stages(name, reports[name])


if __name__ == "__main__":
    main()
