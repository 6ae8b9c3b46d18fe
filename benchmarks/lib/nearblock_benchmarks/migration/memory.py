"""memory [--binary PATH]

How much memory a migration takes for each block of a disk, at the source and at the destination. Sparse disks of 1 GiB and of
1 TiB move on this machine while a block is written in every 128 MiB of them, which is where another page of every bitmap
begins. Prints the most anonymous memory (RssAnon of proc(5): without what can go back to files) that each node had in
each of both moves, and the difference for each block that one disk has more than the other. In the second pair of moves the
disk is handed over at once, and everything follows.
"""
import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import threading

from nearblock_tests.nodes import Node, NodeFailure, free_port
from nearblock_tests.repository import ROOT, install, swift

KI, MI, GI = 1 << 10, 1 << 20, 1 << 30
SIZES = (GI, 1024 * GI)
STEP = 128 * MI
BLOCK = 4096


class Watch:
    """The most anonymous memory of processes, until it is told to stop."""

    def __init__(self, *nodes):
        self.most = [0] * len(nodes)
        self.files = [f"/proc/{node.process.pid}/status" for node in nodes]
        self.is_over = threading.Event()
        self.thread = threading.Thread(target=self.run)
        self.thread.start()

    def run(self):
        while not self.is_over.wait(0.02):
            for index, file in enumerate(self.files):
                with open(file) as status:
                    kibibytes = next(int(line.split()[1]) for line in status if line.startswith("RssAnon:"))
                self.most[index] = max(self.most[index], kibibytes * KI)

    def stop(self):
        self.is_over.set()
        self.thread.join()
        return self.most


def touch(target, size, first):
    """Writes a block in every step; `target` is a socket or a file."""
    if os.path.isfile(target):
        with open(target, "r+b") as file:
            for offset in range(0, size, STEP):
                os.pwrite(file.fileno(), os.urandom(BLOCK), offset + first)
        return
    import nbd
    client = nbd.NBD()
    client.connect_uri(f"nbd+unix:///disk?socket={target}")
    for offset in range(0, size, STEP):
        client.pwrite(os.urandom(BLOCK), offset + first)
    client.shutdown()


def measure(binary, size, switch):
    """The most memory of the source and of the destination, in bytes."""
    folder = tempfile.mkdtemp(prefix="nearblock-memory-")
    port, image = free_port(), f"{folder}/disk.raw"
    with open(image, "wb") as file:
        file.truncate(size)
    touch(image, size, 0)
    far = Node(binary, f"{folder}/far", ["--insecure-peer", "--peer-listen", f"127.0.0.1:{port}", "--images",
                                         f"{folder}/images"])
    near = Node(binary, f"{folder}/near", ["--insecure-peer", image, "--export", "disk"])
    watch = Watch(near, far)
    try:
        moving = ("migrate", "disk", "--to", f"127.0.0.1:{port}", "--switch", switch)
        if switch == "manual":
            near.do(*moving, "--detach")
            touch(f"{folder}/near/nbd", size, BLOCK)
            near.do("switch", "disk")
            while "disk" not in far.status() or "needed" in near.ask("status").stdout:
                pass
        else:
            near.do(*moving)
        return watch.stop()
    except NodeFailure as failure:
        sys.exit(f"memory: {failure}")
    finally:
        watch.is_over.set()
        near.stop()
        far.stop()
        shutil.rmtree(folder)


def main():
    parser = argparse.ArgumentParser(prog="memory", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binary", default=str(ROOT / ".build/release/nearblock"))
    options = parser.parse_args()
    install("build", "test")
    if not os.access(options.binary, os.X_OK):
        subprocess.run([swift(), "build", "-c", "release"], cwd=ROOT, check=True, stdout=sys.stderr)
    print("| handed over | node | 1 GiB, MiB | 1 TiB, MiB | bytes for each block more |\n| --- | --- | --- | --- | --- |")
    for switch, words in (("manual", "after it was copied"), ("now", "at once")):
        small, large = (measure(options.binary, size, switch) for size in SIZES)
        for node, less, more in zip(("source", "destination"), small, large):
            each = (more - less) / ((SIZES[1] - SIZES[0]) / BLOCK)
            print(f"| {words} | {node} | {less / MI:.1f} | {more / MI:.1f} | {each:.3f} |", flush=True)


if __name__ == "__main__":
    main()
