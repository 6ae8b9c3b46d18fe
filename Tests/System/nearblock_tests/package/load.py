"""What uses a machine's exports meanwhile."""
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

from nearblock_tests.guests.bench import NETWORK, Bench
from nearblock_tests.package.machine import Failure, wait_until
from nearblock_tests.repository import SYSTEM

WRITER = SYSTEM / "nearblock_tests/package/writer.py"


class Writer:
    """A libnbd client that connects again; see writer.py."""

    def __init__(self, uri: str, folder: Path) -> None:
        self.report, self.log = folder / "writer.json", folder / "writer.log"
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen([sys.executable, WRITER, uri, self.report], stderr=log)
        wait_until(lambda: self.flushes > 0, lambda: f"the writer does not begin: {self.log.read_text()}")

    @property
    def facts(self) -> dict[str, Any]:
        facts: dict[str, Any] = json.loads(self.report.read_text()) if self.report.exists() else {}
        return facts

    @property
    def flushes(self) -> int:
        if self.process.poll() is not None:
            raise Failure(f"the writer has ended: {self.log.read_text().strip()}")
        count: int = self.facts.get("flushes", 0)
        return count

    def wait_for_more(self) -> None:
        """Until it has worked for a while from now on, whatever connection it has."""
        mark = self.flushes + 20
        wait_until(lambda: self.flushes >= mark, lambda: f"the writer stands still: {self.facts}")

    def finish(self) -> dict[str, Any]:
        """Has it read all blocks, and returns its report."""
        self.process.send_signal(signal.SIGTERM)
        if self.process.wait(timeout=120) != 0:
            raise Failure(f"the writer has found a fault: {self.log.read_text().strip()}")
        return self.facts

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()


def start_qemu(bench: Bench, port: int, export: str) -> None:
    """A guest on QEMU's own client, which waits for a server that is away; fio verifies."""
    bench.start_guest("virtual", "", "-blockdev", "driver=nbd,node-name=disk,reconnect-delay=60,server.type=inet,"
                      f"server.host=127.0.0.1,server.port={port},export={export}", "-device", "virtio-blk-pci,drive=disk")


def start_kernel(bench: Bench, port: int) -> None:
    """A guest with the kernel's client and its keeper, on the export `disk`; fio verifies on a file system."""
    bench.start_guest("restarts", f"port={port} options=--connections,1", *NETWORK)


def make_image(path: Path, megabytes: int, *, is_random: bool = False) -> None:
    with open(path, "wb") as image:
        if is_random:
            for _ in range(megabytes):
                image.write(os.urandom(1 << 20))
        else:
            image.truncate(megabytes << 20)
