"""What each case has: a folder, disks, nodes of either build, and clients that verify."""
import json
import os
import random
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from nearblock_tests.compat.builds import Build
from nearblock_tests.nodes import Node, free_port

MEBIBYTE = 1 << 20
# Seconds for anything that a case waits for; a busy machine is slow.
LIMIT = 120

Report = dict[str, Any]


class Failure(Exception):
    pass


@dataclass(frozen=True)
class Disk:
    """`model` is a file with the bytes that the disk must have."""

    name: str
    image: str
    model: str
    size: int


def run(*command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, text=True, timeout=LIMIT)


def expect(command: Sequence[str], status: int = 0) -> str:
    """Runs a command that must end with `status`, and returns its output."""
    result = run(*command)
    if result.returncode != status:
        words = " ".join(os.path.basename(word) for word in command[:3])
        raise Failure(f"{words} ends with {result.returncode} and not {status}: {result.stdout}{result.stderr}".strip())
    return result.stdout


def objects(text: str) -> list[Report]:
    """The JSON objects of the output, one a line."""
    return [json.loads(line) for line in text.splitlines()]


def wait_until(what: str, condition: Callable[[], bool]) -> None:
    end = time.monotonic() + LIMIT
    while not condition():
        if time.monotonic() > end:
            raise Failure(f"after {LIMIT} s still not: {what}")
        time.sleep(0.05)


class Site(Node):
    """A node of one build, which takes disks in and keeps its address when the other build replaces it."""

    def __init__(self, name: str, build: Build, folder: str, arguments: Sequence[str]) -> None:
        self.name, self.build, self.port = name, build, free_port()
        self.images = f"{folder}/images"
        super().__init__(build.program, folder, [
            "--peer-listen", self.address, "--images", self.images, *arguments])

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def uri(self, export: str) -> str:
        return f"nbd+unix:///{export}?socket={self.folder}/nbd"

    def restart(self, build: Build) -> None:
        """Kills the node, and starts a build with its state, images and address."""
        self.kill()
        self.build, self.binary = build, build.program
        self.start()

    def end(self) -> None:
        """Ends the node as a service manager does."""
        self.process.terminate()
        self.process.wait(timeout=LIMIT)

    def ask(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return run(self.binary, *arguments, "--control", f"{self.folder}/control")

    def of(self, export: str) -> Report:
        """What status says of an export; empty where the node has none of that name."""
        return self.status().get(export, {})

    def missing(self, export: str) -> int:
        """How many blocks are only at the source."""
        count: int = self.of(export).get("missing") or 0
        return count

    def move(self, disks: Sequence[Disk], to: str, *options: str) -> list[Report]:
        """Migrates the disks, waits for the end, and returns a report for each."""
        reports = objects(self.do("migrate", *(disk.name for disk in disks), "--to", to, "--json", *options))
        if [report["state"] for report in reports] != ["complete"] * len(disks):
            raise Failure(f"not all disks are complete: {reports}")
        return reports

    def start_move(self, disks: Sequence[Disk], to: str, *options: str) -> None:
        self.do("migrate", *(disk.name for disk in disks), "--to", to, "--detach", *options)


class Client:
    """client.py, as it runs."""

    def __init__(self, disk: Disk, site: Site, seed: int) -> None:
        self.disk, self.errors = disk, open(f"{disk.model}.log", "ab+")
        self.process = subprocess.Popen(
            [sys.executable, "-m", "nearblock_tests.compat.client", site.uri(disk.name), disk.model, str(seed)],
            stdin=subprocess.PIPE, stderr=self.errors)

    def count(self) -> int:
        try:
            with open(f"{self.disk.model}.count", "rb") as file:
                return int.from_bytes(file.read(8), "little")
        except FileNotFoundError:
            return 0

    def check(self) -> None:
        if self.process.poll() is not None:
            self.errors.seek(0)
            raise Failure(f"the client of {self.disk.name}: {self.errors.read().decode(errors='replace').strip()}")

    def work(self, requests: int = 30) -> None:
        """Returns after so many more requests, all of them without a fault."""
        goal = self.count() + requests

        def reached() -> bool:
            self.check()
            return self.count() >= goal

        wait_until(f"{requests} more requests of the client of {self.disk.name}", reached)

    def finish(self) -> None:
        self.check()
        if self.process.stdin:
            self.process.stdin.close()
        self.process.wait(timeout=LIMIT)
        if self.process.returncode:
            self.check()


class Scene:
    """To be used with `with`; whatever was started ends with it."""

    def __init__(self, folder: str, seed: int) -> None:
        self.folder, self.seed, self.chance = folder, seed, random.Random(seed)
        self.sites: list[Site] = []
        self.clients: list[Client] = []

    def __enter__(self) -> "Scene":
        return self

    def __exit__(self, *failure: Any) -> None:
        for process in [*(client.process for client in self.clients), *(site.process for site in self.sites)]:
            process.kill()
            process.wait()

    def disk(self, name: str, mebibytes: int = 32) -> Disk:
        """Makes an image: a tenth of it zeros, a tenth repeats, and the rest random."""
        disk = Disk(name, f"{self.folder}/{name}.raw", f"{self.folder}/{name}.model", mebibytes * MEBIBYTE)
        earlier: list[bytes] = []
        with open(disk.image, "wb") as image, open(disk.model, "wb") as model:
            for number in range(mebibytes):
                if number % 10 == 3:
                    part = bytes(MEBIBYTE)
                elif number % 10 == 7:
                    part = self.chance.choice(earlier)
                else:
                    part = self.chance.randbytes(MEBIBYTE)
                    earlier.append(part)
                image.write(part)
                model.write(part)
        return disk

    def site(self, name: str, build: Build, *arguments: str, disks: Sequence[Disk] = ()) -> Site:
        """Starts a node that serves the disks."""
        folder = f"{self.folder}/{name}"
        if disks:
            configuration = f"{folder}.conf"
            with open(configuration, "w") as file:
                file.write("".join(f"[export {disk.name}]\nimage = {disk.image}\n" for disk in disks))
            arguments = ("--config", configuration, *arguments)
        site = Site(name, build, folder, arguments)
        self.sites.append(site)
        return site

    def client(self, disk: Disk, site: Site) -> Client:
        """Starts a client of a disk, and returns once it works."""
        client = Client(disk, site, self.seed)
        self.clients.append(client)
        client.work(5)
        return client

    def finish(self, disks: Sequence[Disk], last: Site) -> None:
        """Ends the clients, and compares whole disks: the images at `last`, and what every node serves."""
        for client in self.clients:
            client.finish()
        for disk in disks:
            image = disk.image if last is self.sites[0] else f"{last.images}/{disk.name}.raw"
            expect(["cmp", disk.model, image])
            for site in self.sites:
                if site.process.poll() is None:
                    expect(["qemu-img", "compare", "-f", "raw", "-F", "raw", disk.model, site.uri(disk.name)])


def has_moved(state: str) -> bool:
    """Whether a source in this state has given the disk away."""
    return state.startswith(("moved", "released", "post-copy"))


def wait_until_complete(disks: Sequence[Disk], source: Site, destination: Site) -> None:
    def is_complete() -> bool:
        here, there = source.status(), destination.status()
        for disk in disks:
            if here and here[disk.name]["state"] == "serving":
                raise Failure(f"the migration of {disk.name} has ended by itself: {here}")
        return bool(here) and all(
            here[disk.name]["state"] in ("moved", "released") and there.get(disk.name, {}).get("state") == "serving"
            and there[disk.name].get("missing") is None for disk in disks)

    wait_until(f"{', '.join(disk.name for disk in disks)} complete at {destination.name}", is_complete)
