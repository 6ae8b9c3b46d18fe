"""A real Debian disk that moves to each kind of place, under a verifying fio, and back by what has changed. Used by `test targets`."""
import json
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

from nearblock_tests.initrd import find_program
from nearblock_tests.nodes import Node, free_port
from nearblock_tests.repository import SCRIPTS, cache_folder

MEBIBYTE = 1 << 20
# fio's part of the disk, which it may write at either node, and what is written after the move.
FIO_SIZE, WRITTEN = 16 * MEBIBYTE, 2 * MEBIBYTE
# What may cross on the way back beyond that: the hashes of 3 GiB in groups, and messages.
MOST_BESIDES = 2 * MEBIBYTE


class Failure(Exception):
    pass


def run(*command: str | Path) -> str:
    """What it says; raises where it fails."""
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise Failure(f"{' '.join(map(str, command[:3]))}: {done.stderr.strip() or done.stdout.strip()}")
    return done.stdout


def check(*command: str | Path) -> None:
    """Raises where it fails."""
    run(*command)


def make_disk(folder: Path) -> Path:
    """A Debian in qcow2, with a backing file and an internal snapshot. Returns its path."""
    master = cache_folder() / "debian.raw"
    if not master.exists():
        master.parent.mkdir(parents=True, exist_ok=True)
        run(SCRIPTS / "make-disk", master, "--size", "3G", "--seed", "1")
    base, disk = folder / "base.qcow2", folder / "disk.qcow2"
    run("qemu-img", "convert", "-f", "raw", "-O", "qcow2", master, base)
    run("qemu-img", "create", "-q", "-f", "qcow2", "-b", base, "-F", "qcow2", disk)
    run("qemu-io", "-f", "qcow2", "-c", "write -P 1 1500M 3M", disk)
    run("qemu-img", "snapshot", "-c", "before", disk)
    run("qemu-io", "-f", "qcow2", "-c", "write -P 2 1502M 3M", "-c", "discard 1500M 1M", disk)
    return disk


class Journey:
    """Two nodes in `folder`; the disk goes from the one to a place that `prepare` prints at the other, and back."""

    def __init__(self, binary: str, folder: Path, disk: Path, prepare: list[str]) -> None:
        self.folder, self.disk = folder, folder / "top.qcow2"
        (folder / "images").mkdir(parents=True)
        shutil.copyfile(disk, self.disk)
        here, there = free_port(), free_port()
        (folder / "nodes.conf").write_text(f"[export disk]\nimage = {self.disk}\nformat = qcow2\n")
        self.ports = {"source": here, "destination": there}
        self.nodes = {
            "source": Node(binary, f"{folder}/source", ["--config", f"{folder}/nodes.conf", "--peer-listen", f"127.0.0.1:{here}",
                                                        "--images", f"{folder}/source/images"]),
            "destination": Node(binary, f"{folder}/destination", ["--peer-listen", f"127.0.0.1:{there}", "--images",
                                                                  f"{folder}/images", *prepare])}

    def __enter__(self) -> "Journey":
        return self

    def __exit__(self, *_: Any) -> None:
        for node in self.nodes.values():
            node.kill()

    def uri(self, node: str) -> str:
        return f"nbd+unix:///disk?socket={self.folder}/{node}/nbd"

    def guest(self, node: str, *options: str) -> "subprocess.Popen[bytes]":
        """fio, which verifies; it writes at once."""
        with open(self.folder / "fio.log", "ab") as log:
            return subprocess.Popen(
                ["fio", "--name=guest", "--ioengine=nbd", f"--uri={self.uri(node)}", "--rw=randrw", "--bs=4k", "--iodepth=4",
                 "--offset=1600M", "--verify=crc32c", "--verify_backlog=64", "--verify_fatal=1", "--do_verify=1",
                 f"--aux-path={self.folder}", *options], stdout=log, stderr=log)

    def move(self, origin: str, target: str) -> dict[str, Any]:
        """To its end; returns the report."""
        answer: dict[str, Any] = json.loads(self.nodes[origin].do(
            "migrate", "disk", "--to", f"127.0.0.1:{self.ports[target]}", "--json").splitlines()[-1])
        return answer

    def finish(self, guest: "subprocess.Popen[bytes]") -> None:
        if guest.wait(timeout=120):
            raise Failure(f"fio has found a fault; see {self.folder}/fio.log")

    def go(self, compare: Callable[[Path], None]) -> str:
        """Both ways. `compare` compares the disk at its place with a raw file. Returns a line of figures."""
        guest = self.guest("source", f"--size={FIO_SIZE}", "--rate=,2M", "--time_based", "--runtime=10")
        away = self.move("source", "destination")
        self.finish(guest)
        raw = self.folder / "disk.raw"
        run("qemu-img", "convert", "-f", "raw", "-O", "raw", self.uri("destination"), raw)
        self.nodes["destination"].stop()
        compare(raw)
        self.nodes["destination"].start()
        self.finish(self.guest("destination", f"--size={WRITTEN}", "--rw=randwrite"))
        run("qemu-img", "convert", "-f", "raw", "-O", "raw", self.uri("destination"), raw)
        back = self.move("destination", "source")
        for node in self.nodes.values():
            node.stop()
        run("qemu-img", "compare", "-f", "qcow2", "-F", "raw", self.disk, raw)
        run("qemu-img", "check", "-q", self.disk)
        if "before" not in run("qemu-img", "snapshot", "-l", self.disk):
            raise Failure("the snapshot is gone")
        if (crossed := back["wire"]["total"]) > FIO_SIZE + WRITTEN + MOST_BESIDES:
            raise Failure(f"{crossed} bytes have crossed on the way back: {back}")
        return f"{away['wire']['total'] / MEBIBYTE:.0f} MiB there, {crossed / MEBIBYTE:.1f} MiB back"


def with_raw(place: str) -> Callable[[Path], None]:
    """Compares a place that may be larger."""
    return lambda raw: check("cmp", f"--bytes={os.path.getsize(raw)}", raw, place)


def with_image(image_format: str, image: str) -> Callable[[Path], None]:
    return lambda raw: check("qemu-img", "compare", "-f", "raw", "-F", image_format, raw, image)


def script(name: str, *options: str) -> list[str]:
    """A node's options for a script of nbd-scripts/targets."""
    command = f"{SCRIPTS}/targets/{name} {' '.join(options)}"
    return ["--prepare", f"{command} prepare", "--release", f"{command} release"]


def directory(binary: str, folder: Path, disk: Path) -> str:
    with Journey(binary, folder, disk, []) as journey:
        return journey.go(with_raw(f"{folder}/images/disk.raw"))


def qcow2(binary: str, folder: Path, disk: Path) -> str:
    with Journey(binary, folder, disk, script("qcow2", "--folder", f"{folder}/images")) as journey:
        return journey.go(with_image("qcow2", f"{folder}/images/disk.qcow2"))


def loop(binary: str, folder: Path, disk: Path) -> str:
    """A loop device with sectors of 4096 bytes, larger than the disk, of which the first bytes are those of another use."""
    store = disk.parent / f"{folder.name}.store"
    with open(store, "wb") as file:
        file.write(os.urandom(256 * MEBIBYTE))
        file.truncate((3 << 30) + 64 * MEBIBYTE)
    losetup = find_program("losetup")
    device = run(losetup, "--find", "--show", "--sector-size", "4096", store).strip()
    try:
        with Journey(binary, folder, disk, ["--prepare", f"/bin/echo {device}"]) as journey:
            return journey.go(with_raw(device))
    finally:
        run(losetup, "--detach", device)


def rbd(binary: str, folder: Path, disk: Path, conf: str, pool: str) -> str:
    os.environ["CEPH_CONF"] = conf
    options = script("rbd", "--pool", pool, "--prefix", "nb-move-", "--conf", conf, "--map", "no")
    with Journey(binary, folder, disk, options) as journey:
        return journey.go(with_image("raw", f"rbd:{pool}/nb-move-disk:conf={conf}"))


PLACES: dict[str, Callable[[str, Path, Path], str]] = {"directory": directory, "qcow2": qcow2, "loop": loop}
