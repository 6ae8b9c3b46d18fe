"""migration.machines: see benchmarks/machines."""
import argparse
import json
import os
import random
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from nearblock_benchmarks.migration.links import spread
from nearblock_tests.images import copy_image
from nearblock_tests.nodes import Node, NodeFailure, free_port

KI, MI = 1 << 10, 1 << 20
NAMES = [f"web-{number}" for number in range(1, 6)]
PIECE = 64 * KI


class Sites:
    """Two nodes, from `with` to their end: `near` serves the disks named, `far` has neighbours."""

    def __init__(self, options, names, neighbour):
        self.options, self.folder = options, f"{options.folder}/sites"
        os.makedirs(self.folder)
        for name in names:
            copy_image(f"{options.machines}/{name}.raw", self.folder)
        subprocess.run([options.nearblock, "index", "add", "--index", f"{self.folder}/index", neighbour], check=True,
                       stdout=subprocess.DEVNULL)
        self.ports = [free_port(), free_port()]
        with open(f"{self.folder}/near.conf", "w") as configuration:
            for name in names:
                configuration.write(f"[export {name}]\nimage = {self.folder}/{name}.raw\n")

    def __enter__(self):
        self.near = self.node("near", 0, ["--config", f"{self.folder}/near.conf"])
        self.far = self.node("far", 1, ["--index", f"{self.folder}/index"])
        return self

    def node(self, name, place, arguments):
        images = f"{self.folder}/{name}-images"
        return Node(self.options.nearblock, f"{self.folder}/{name}",
                    ["--peer-listen", f"127.0.0.1:{self.ports[place]}", "--images", images, *arguments])

    def __exit__(self, *_):
        self.near.stop()
        self.far.stop()
        shutil.rmtree(self.folder)

    def move(self, name, back=False):
        """Returns what `migrate` reports."""
        node, port = (self.far, self.ports[0]) if back else (self.near, self.ports[1])
        return json.loads(
            node.do("migrate", name, "--to", f"127.0.0.1:{port}", "--rate", self.options.rate, "--json"))


def wire(report):
    return report["wire"]["total"]


def one_after_the_other(options):
    with Sites(options, NAMES, options.neighbour) as sites:
        return [wire(sites.move(name)) for name in NAMES]


def all_at_once(options):
    with Sites(options, NAMES, options.neighbour) as sites:
        with ThreadPoolExecutor(len(NAMES)) as threads:
            return list(threads.map(lambda name: wire(sites.move(name)), NAMES))


def twin(options):
    with Sites(options, ["twin"], f"{options.machines}/web-1.raw") as sites:
        report = sites.move("twin")
        return wire(report) / (report["size"] - report["ledger"]["zero"])


def there_and_back(options):
    """Returns what crossed on the way back, by what zstd makes of what was written meanwhile."""
    with Sites(options, ["web-1"], options.neighbour) as sites:
        first = sites.move("web-1")
        size = (first["size"] - first["ledger"]["zero"]) // 100 // PIECE * PIECE
        data = programs(size)
        commands = []
        for number in range(size // PIECE):
            with open(f"{sites.folder}/piece-{number}", "wb") as piece:
                piece.write(data[number * PIECE:(number + 1) * PIECE])
            offset = random.randrange(first["size"] // PIECE) * PIECE
            commands += ["-c", f"write -s {sites.folder}/piece-{number} {offset} {PIECE}"]
        subprocess.run(["qemu-io", "-f", "raw", *commands, f"nbd+unix:///web-1?socket={sites.folder}/far/nbd"], check=True,
                       stdout=subprocess.DEVNULL)
        compressed = subprocess.run(["zstd", "-9", "--long=27", "-c"], input=data, capture_output=True, check=True).stdout
        report = sites.move("web-1", back=True)
        return wire(report) / len(compressed), report["wire"]["fingerprints"] / len(compressed)


def programs(size):
    """Real data: what stands in this machine's programs."""
    data = b""
    for name in sorted(os.listdir("/usr/bin")):
        path = f"/usr/bin/{name}"
        if len(data) >= size:
            break
        if os.path.isfile(path) and not os.path.islink(path):
            data += open(path, "rb").read()
    return data[:size]


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("nearblock", "machines", "neighbour", "folder", "rate"):
        parser.add_argument(f"--{name}", required=True)
    parser.add_argument("--rounds", type=int, default=1)
    options = parser.parse_args()
    rows: dict[str, list[Any]] = {"first": [], "after": [], "at once": [], "twin": [], "back": [], "back, fingerprints": []}
    for _ in range(options.rounds):
        try:
            measure(options, rows)
        except NodeFailure as failure:
            sys.exit(f"machines: {failure}")
    show(rows)


def measure(options, rows):
    following = one_after_the_other(options)
    first = following[0]
    rows["first"].append(first / MI)
    rows["after"].append(sum(following) / first)
    rows["at once"].append(sum(all_at_once(options)) / first)
    rows["twin"].append(twin(options) * 100)
    back, fingerprints = there_and_back(options)
    rows["back"].append(back)
    rows["back, fingerprints"].append(fingerprints)


def show(rows):
    print("| work | figure | median (least-most) |\n| --- | --- | --- |")
    for name, figure, digits in (
            ("first", "the first of five similar machines, MiB on the wire", 1),
            ("after", "five, one after the other, by the first", 2),
            ("at once", "five at once, by the first alone", 2),
            ("twin", "a near-twin, percent of its non-zero bytes", 2),
            ("back", "back after 1 % was written, by that compressed", 2),
            ("back, fingerprints", "of this fingerprints", 2)):
        print(f"| {name} | {figure} | {spread(rows[name], digits)} |")


if __name__ == "__main__":
    main()
