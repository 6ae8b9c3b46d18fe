"""Times disks in qcow2 images: served through nearblock and by qemu-storage-daemon alone, and migrated."""
import argparse
import contextlib
import json
import os
import shutil
import socket
import statistics
import subprocess
import time
from collections.abc import Iterator
from typing import Any

from nearblock_tests.nodes import free_port

WORKS = {"4K randread": ["--rw=randread", "--bs=4k", "--iodepth=32"],
         "4K randwrite": ["--rw=randwrite", "--bs=4k", "--iodepth=32"],
         "1M read": ["--rw=read", "--bs=1M", "--iodepth=4"],
         "1M write": ["--rw=write", "--bs=1M", "--iodepth=4"]}
RATE = "1G"


@contextlib.contextmanager
def running(command: list[str], path: str) -> Iterator[None]:
    """Runs a server until the block ends; it is ready when its socket answers."""
    if os.path.lexists(path):
        os.unlink(path)
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    try:
        end = time.monotonic() + 30
        while True:
            with socket.socket(socket.AF_UNIX) as probe:
                if probe.connect_ex(path) == 0:
                    break
            if process.poll() is not None or time.monotonic() > end:
                raise SystemExit(f"{command[0]} did not start")
            time.sleep(0.02)
        yield
    finally:
        process.terminate()
        process.communicate()


class Formats:
    """The measurements in one folder, which has disk.raw and disk.qcow2."""

    def __init__(self, settings: argparse.Namespace) -> None:
        self.settings = settings
        self.folder: str = settings.folder
        self.nearblock: str = settings.nearblock

    def node(self, name: str, *options: str) -> tuple[list[str], str]:
        """The command of a node, and its socket."""
        path = f"{self.folder}/{name}.sock"
        return [self.nearblock, "serve", *options, "--socket", path, "--state", f"{self.folder}/{name}-state",
                "--control", f"{self.folder}/{name}-control.sock"], path

    def servers(self, image: str) -> dict[str, tuple[list[str], str]]:
        """The servers of an image that are compared."""
        path = f"{self.folder}/qsd.sock"
        node = {"driver": "qcow2", "node-name": "disk", "discard": "unmap",
                "file": {"driver": "file", "filename": image, "discard": "unmap"}}
        daemon = ["qemu-storage-daemon", "--blockdev", json.dumps(node), "--nbd-server",
                  f"addr.type=unix,addr.path={path}", "--export", "type=nbd,id=disk,node-name=disk,name=disk,writable=on"]
        return {"nearblock": self.node("n", image, "--export", "disk", "--format", "qcow2"), "alone": (daemon, path)}

    def serve(self) -> None:
        """Requests a second by turns."""
        image = f"{self.folder}/served.qcow2"
        shutil.copyfile(f"{self.folder}/disk.qcow2", image)
        for work, options in WORKS.items():
            found: dict[str, list[float]] = {"nearblock": [], "alone": []}
            for turn in range(self.settings.rounds):
                servers = list(self.servers(image).items())
                for name, (command, path) in servers if turn % 2 == 0 else reversed(servers):
                    with running(command, path):
                        found[name].append(self.fio(path, options))
            show(work, "requests/s", found["nearblock"], found["alone"])

    def fio(self, path: str, options: list[str]) -> float:
        """Requests a second of one run."""
        command = ["fio", "--name=load", "--ioengine=nbd", f"--uri=nbd+unix:///disk?socket={path}", "--time_based",
                   f"--runtime={self.settings.seconds}", "--output-format=json", *options]
        output = subprocess.run(command, cwd=self.folder, check=True, stdout=subprocess.PIPE, text=True).stdout
        job: dict[str, Any] = json.loads(output[output.index("{"):])["jobs"][0]
        return float(job["read"]["iops"]) + float(job["write"]["iops"])

    def migrate(self) -> None:
        """Seconds of a migration by turns; the ratio is that of the speeds."""
        found: dict[str, list[float]] = {"qcow2": [], "raw": []}
        for turn in range(self.settings.rounds):
            for name in ("qcow2", "raw") if turn % 2 == 0 else ("raw", "qcow2"):
                found[name].append(self.move(name))
        speeds = {name: [1 / seconds for seconds in times] for name, times in found.items()}
        show("migration", "disks/s", speeds["qcow2"], speeds["raw"])

    def move(self, form: str) -> float:
        """Seconds of one migration of a copy that has never moved."""
        image = f"{self.folder}/moving.{form}"
        # A copy whose zeros are written would have to be read, and its writing back would go on meanwhile.
        subprocess.run(["cp", "--sparse=always", f"{self.folder}/disk.{form}", image], check=True)
        os.sync()
        address = f"127.0.0.1:{free_port()}"
        there, there_socket = self.node("d", "--peer-listen", address, "--images", f"{self.folder}/images")
        here, here_socket = self.node("s", image, "--export", "disk", "--format", form)
        with running(there, there_socket), running(here, here_socket):
            began = time.monotonic()
            subprocess.run([self.nearblock, "migrate", "disk", "--to", address, "--rate", RATE, "--control",
                            f"{self.folder}/s-control.sock"], check=True, stdout=subprocess.DEVNULL)
            seconds = time.monotonic() - began
        for name in ("images", "d-state", "s-state"):
            shutil.rmtree(f"{self.folder}/{name}")
        os.unlink(image)
        return seconds


def show(work: str, unit: str, ours: list[float], theirs: list[float]) -> None:
    """Prints a line: the medians, and the ratio of the turns."""
    ratios = [one / other for one, other in zip(ours, theirs)]
    print(f"{work:14} {statistics.median(ours):10.2f} against {statistics.median(theirs):10.2f} {unit}, "
          f"{statistics.median(ratios):.2f} times ({min(ratios):.2f} to {max(ratios):.2f})", flush=True)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--nearblock", required=True)
    parser.add_argument("--folder", required=True)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=int, default=5)
    parser.add_argument("suites", nargs="+", choices=["serve", "migrate"])
    settings = parser.parse_args()
    formats = Formats(settings)
    for suite in settings.suites:
        getattr(formats, suite)()


if __name__ == "__main__":
    main()
