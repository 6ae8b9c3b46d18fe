"""migration.peers: see benchmarks/peers."""
import argparse
import os
import shutil
import subprocess
import sys
import time
from typing import Any

from machine.qmp import Qmp, QmpError
from nearblock_benchmarks.migration import mirror
from nearblock_benchmarks.migration.links import parse, spread
from nearblock_benchmarks.migration.pair import PORT, Pair
from nearblock_tests.images import copy_image
from nearblock_tests.nodes import NodeFailure
from nearblock_tests.wan.wan import Wan

HERE = os.path.dirname(os.path.abspath(__file__))
MI = 1 << 20


class Move:
    """One way of moving the disk, in a folder of its own that is gone afterwards."""

    def __init__(self, options, wan):
        self.options, self.wan, self.folder = options, wan, f"{options.folder}/move"
        os.makedirs(self.folder)
        self.copy(options.disk, "disk.raw")
        self.ended = []

    def copy(self, image, name):
        copy_image(image, f"{self.folder}/{name}")

    def far(self, *command):
        self.start(self.wan.far, *command)

    def start(self, site, *command, cwd=None):
        """Starts something that ends with this."""
        process = subprocess.Popen(self.wan.command(site, *command), stdout=subprocess.DEVNULL,
                                   stderr=subprocess.DEVNULL, cwd=cwd)
        self.ended.append(process)
        time.sleep(1)

    def near(self, *command):
        self.run(self.wan.near, *command)

    def run(self, site, *command):
        subprocess.run(self.wan.command(site, *command), check=True, stdout=subprocess.DEVNULL)

    def measure(self, work):
        """Returns the seconds, and the bytes on the link."""
        before, began = self.wan.traffic(), time.monotonic()
        work()
        return time.monotonic() - began, self.wan.traffic() - before

    def end(self):
        for process in self.ended:
            process.terminate()
            process.wait()
        shutil.rmtree(self.folder)

    def check(self, name):
        """The copy is the disk."""
        subprocess.run(["cmp", self.options.disk, f"{self.folder}/{name}"], check=True)

    # The ways.

    def nearblock(self):
        with Pair(self.options.nearblock, self.wan, self.folder, ["--index", self.options.index]) as pair:
            result = self.measure(pair.move)
        self.check("images/disk.raw")
        return result

    def mirror(self):
        self.server()
        monitor = f"{self.folder}/qmp"
        self.start(
            self.wan.near, "qemu-storage-daemon", "--blockdev",
            f"driver=file,node-name=disk,filename={self.folder}/disk.raw,discard=unmap", "--chardev",
            f"socket,id=qmp,path={monitor},server=on,wait=off", "--monitor", "chardev=qmp")
        qemu = Qmp.connect(monitor)

        def move():
            mirror.begin(qemu, self.wan.far_address, PORT)
            while not mirror.is_ready(qemu):
                time.sleep(0.05)
            mirror.end(qemu)
            while not mirror.has_ended(qemu):
                time.sleep(0.05)
        result = self.measure(move)
        qemu.close()
        self.check("copy.raw")
        return result

    def casync(self):
        """The chunks are made, served by HTTP, and fetched but for those that the neighbour has."""
        self.copy(self.options.neighbour, "seed.raw")
        self.start(self.wan.near, "python3", f"{HERE}/serve_files.py", self.wan.near_address, str(PORT), cwd=self.folder)
        url = f"http://{self.wan.near_address}:{PORT}"

        def move():
            self.near("casync", "make", f"--store={self.folder}/disk.castr", f"{self.folder}/disk.caibx",
                      f"{self.folder}/disk.raw")
            self.run(self.wan.far, "casync", "extract", f"--store={url}/disk.castr", f"--seed={self.folder}/seed.raw",
                     f"{url}/disk.caibx", f"{self.folder}/copy.raw")
        result = self.measure(move)
        self.check("copy.raw")
        return result

    def server(self):
        size = os.path.getsize(self.options.disk)
        subprocess.run(["truncate", "-s", str(size), f"{self.folder}/copy.raw"], check=True)
        self.far("qemu-nbd", "-f", "raw", "-t", "-e", "0", "--discard=unmap", "--detect-zeroes=unmap", "-b",
                 self.wan.far_address, "-p", str(PORT), f"{self.folder}/copy.raw")
        return f"nbd://{self.wan.far_address}:{PORT}"

    def nbdcopy(self):
        target = self.server()
        result = self.measure(lambda: self.near(
            "nbdcopy", "--destination-is-zero", "--flush", "--", "[", "nbdkit", "--exit-with-parent", "file",
            f"{self.folder}/disk.raw", "]", target))
        self.check("copy.raw")
        return result

    def qemu_img(self):
        target = self.server()
        result = self.measure(lambda: self.near(
            "qemu-img", "convert", "-n", "--target-is-zero", "-m", "16", "-W", "-f", "raw", "-O", "raw",
            f"{self.folder}/disk.raw", target))
        self.check("copy.raw")
        return result

    def rsync(self):
        self.copy(self.options.neighbour, "copy.raw")
        with open(f"{self.folder}/rsyncd.conf", "w") as configuration:
            configuration.write(f"uid = root\ngid = root\nuse chroot = no\n[images]\npath = {self.folder}\nread only = no\n")
        self.far("rsync", "--daemon", "--no-detach", f"--address={self.wan.far_address}", f"--port={PORT}",
                 f"--config={self.folder}/rsyncd.conf")
        result = self.measure(lambda: self.near(
            "rsync", "-z", "--inplace", "--ignore-times", f"{self.folder}/disk.raw",
            f"rsync://{self.wan.far_address}:{PORT}/images/copy.raw"))
        self.check("copy.raw")
        return result


WAYS = {
    "nearblock": ("nearblock", Move.nearblock), "nbdcopy": ("nbdcopy", Move.nbdcopy),
    "qemu-img": ("qemu-img convert", Move.qemu_img), "mirror": ("QEMU's mirror", Move.mirror),
    "rsync": ("rsync -z --inplace", Move.rsync), "casync": ("casync", Move.casync)}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("nearblock", "relay", "disk", "neighbour", "index", "folder"):
        parser.add_argument(f"--{name}", required=True)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--with", dest="ways", choices=WAYS, action="append")
    parser.add_argument("links", nargs="+")
    options = parser.parse_args()
    print("| link | with | seconds | MiB on the link |\n| --- | --- | --- | --- |")
    for link in options.links:
        results: dict[Any, list[Any]] = {way: [] for way in options.ways or WAYS}
        with Wan(options.relay, *parse(link)) as wan:
            for _ in range(options.rounds):
                for way in results:
                    move = Move(options, wan)
                    try:
                        results[way].append(WAYS[way][1](move))
                    except (NodeFailure, QmpError, subprocess.CalledProcessError) as failure:
                        sys.exit(f"peers: {way}: {failure}")
                    finally:
                        move.end()
        for way, runs in results.items():
            seconds, size = zip(*runs)
            print(f"| {link} | {WAYS[way][0]} | {spread(seconds, 1)} | {spread([s / MI for s in size], 1)} |", flush=True)


if __name__ == "__main__":
    main()
