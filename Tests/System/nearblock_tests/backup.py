"""test backup [--binary PATH]

Backs a disk up as virtnbdbackup does, by the modules of Debian's virtnbdbackup that ask an NBD server for extents: a full backup
of what is allocated, and incremental ones of what qemu:dirty-bitmap:backup-vda shows after a checkpoint. Before the first
incremental the node is started again; before the second the disk moves to another node, and before the third it moves back.
Each restored backup is compared with the disk. virtnbdbackup itself is not run: it asks libvirt for the checkpoints.

--binary PATH in the place of .build/debug/nearblock, which is built where it is not there.
"""
import argparse
import os
import random
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from nearblock_tests.nodes import Node, NodeFailure, free_port
from nearblock_tests.repository import SuiteParser, debug_binary, install

SIZE, BLOCK = 64 << 20, 4096
BITMAP = "backup-vda"


class Failure(Exception):
    pass


class Scene:
    """Two nodes, the first of which serves `disk` at first; the restored backup is backup.raw."""

    def __init__(self, binary: str, folder: Path, chance: random.Random) -> None:
        self.folder, self.chance = folder, chance
        disk, ports = folder / "disk.raw", [free_port(), free_port()]
        with open(disk, "wb") as image:
            for _ in range(SIZE >> 20):
                image.write(chance.randbytes(1 << 20) if chance.random() < 0.4 else bytes(1 << 20))
        subprocess.run(["fallocate", "--dig-holes", disk], check=True)
        (folder / "nodes.conf").write_text(f"[export disk]\nimage = {disk}\ndirty-bitmap = {BITMAP}\n")
        self.ports, self.nodes = ports, list[Node]()
        for name, port in zip(("here", "there"), ports):
            options = ["--peer-listen", f"127.0.0.1:{port}", "--images", f"{folder}/{name}/images"]
            if name == "here":
                options += ["--config", f"{folder}/nodes.conf"]
            self.nodes.append(Node(binary, f"{folder}/{name}", options))

    def close(self) -> None:
        for node in self.nodes:
            node.kill()

    def write(self, node: int) -> None:
        """A hundred random writes of a guest, and trims."""
        import nbd
        handle = nbd.NBD()
        handle.connect_uri(f"nbd+unix:///disk?socket={self.nodes[node].folder}/nbd")
        for _ in range(100):
            offset = self.chance.randrange(SIZE // BLOCK) * BLOCK
            handle.pwrite(self.chance.randbytes(BLOCK), offset)
        handle.trim(1 << 20, self.chance.randrange(SIZE >> 20) << 20)
        handle.flush()
        handle.shutdown()

    def extents(self, node: int, context: str) -> tuple[Any, list[Any]]:
        """virtnbdbackup's connection, and what it is to copy."""
        from libvirtnbdbackup import extenthandler, nbdcli
        kind = nbdcli.Unix("disk", context, f"{self.nodes[node].folder}/nbd")
        client = nbdcli.client(kind).connect()
        return client, extenthandler.ExtentHandler(client, kind).queryBlockStatus()

    def back_up(self, node: int, context: str) -> int:
        """Brings the backup up to date; returns the bytes that were copied."""
        self.nodes[node].do("checkpoint", "disk")
        client, extents = self.extents(node, context)
        copied = 0
        with open(self.folder / "backup.raw", "r+b" if context else "w+b") as backup:
            backup.truncate(SIZE)
            for extent in extents:
                for start in range(extent.offset, extent.offset + extent.length, 1 << 20) if extent.data else ():
                    count = min(1 << 20, extent.offset + extent.length - start)
                    backup.seek(start)
                    backup.write(client.nbd.pread(count, start))
                    copied += count
        if sum(extent.length for extent in extents) != SIZE:
            raise Failure("the extents are not the disk")
        uri = f"nbd+unix:///disk?socket={self.nodes[node].folder}/nbd"
        compared = subprocess.run(["qemu-img", "compare", "-f", "raw", "-F", "raw", uri, self.folder / "backup.raw"],
                                  capture_output=True, text=True)
        if compared.returncode:
            raise Failure(f"what is restored is not the disk: {compared.stdout}{compared.stderr}")
        client.disconnect()
        return copied

    def move(self, node: int) -> None:
        self.nodes[node].do("migrate", "disk", "--to", f"127.0.0.1:{self.ports[1 - node]}")


def play(scene: Scene) -> None:
    first, second = 0, 1
    # Everything counts as written until a checkpoint.
    full = scene.back_up(first, "")
    incrementals = []

    def increment(node: int) -> None:
        scene.write(node)
        copied = scene.back_up(node, f"qemu:dirty-bitmap:{BITMAP}")
        incrementals.append(copied)
        if copied > 4 << 20:
            raise Failure(f"an incremental backup has copied {copied} bytes")

    scene.write(first)
    scene.nodes[first].stop()
    scene.nodes[first].start()
    increment(first)
    scene.write(first)
    scene.move(first)
    increment(second)
    scene.write(second)
    scene.move(second)
    increment(first)
    print(f"a full backup of {full >> 20} MiB, incremental ones of {', '.join(f'{part >> 10} KiB' for part in incrementals)}")


def main() -> int:
    parser = SuiteParser("backup", __doc__)
    parser.add_argument("--binary", help=argparse.SUPPRESS)
    options = parser.parse_args()
    install("test", "backup")
    binary, seed = os.path.abspath(options.binary or debug_binary()), random.randrange(1 << 32)
    with tempfile.TemporaryDirectory(prefix="nearblock-backup-") as folder:
        scene = Scene(binary, Path(folder), random.Random(seed))
        try:
            play(scene)
        except (Failure, NodeFailure) as failure:
            print(f"backup: seed {seed}: {failure}", file=sys.stderr)
            return 1
        finally:
            scene.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
