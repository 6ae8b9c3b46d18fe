"""Two sites, a guest at one of them, and migrate-vm."""
import dataclasses
import hashlib
import json
import os
import shlex
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from nearblock_tests.images import copy_image
from nearblock_tests.repository import SCRIPTS
from nearblock_tests.vms.guest import Guest
from nearblock_tests.vms.kernel import make_debian
from nearblock_tests.vms.libvirt import Libvirt, LibvirtGuest, move_command
from nearblock_tests.vms.sites import QEMU, Site, Sites

MEBIBYTE = 1 << 20
PROGRAM = str(SCRIPTS / "migrate-vm")
DISK_SIZE = 96 * MEBIBYTE


# Sets capabilities of the migration in a QEMU: its monitor's socket, and their names.
SET_CAPABILITIES = """
import json, socket, sys

monitor = socket.socket(socket.AF_UNIX)
monitor.connect(sys.argv[1])
lines = monitor.makefile("rw")
wishes = [{"capability": name, "state": True} for name in sys.argv[2:]]
for command, arguments in ("qmp_capabilities", {}), ("migrate-set-capabilities", {"capabilities": wishes}):
    print(json.dumps({"execute": command, "arguments": arguments}), file=lines, flush=True)
    while "return" not in (answer := json.loads(lines.readline())):
        if "error" in answer:
            sys.exit(answer["error"]["desc"])
"""

# What a move has taken, as migrate-vm --json says it.
Result = dict[str, Any]

SomeWorld = TypeVar("SomeWorld", bound="World")


class Failure(Exception):
    pass


@dataclasses.dataclass
class Context:
    """The programs, a folder with vmlinuz and initrd, and the number of runs of `harm` with the seed of the first."""

    nearblock: str
    relay: str
    kernel: str
    runs: int = 10
    seed: int = 0
    # Here and there.
    qemus: tuple[str, str] = (QEMU, QEMU)


class Move:
    """migrate-vm, as it runs."""

    def __init__(self, command: Sequence[str], folder: str) -> None:
        self.log = open(f"{folder}/migrate-vm.log", "ab+")
        self.mark = self.log.tell()
        self.began = time.monotonic()
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=self.log, text=True)

    def said(self) -> str:
        self.log.seek(self.mark)
        return self.log.read().decode(errors="replace")

    def wait_for(self, words: str, limit: float = 120, count: int = 1) -> None:
        """Until it has said them so many times."""
        end = time.monotonic() + limit
        while self.said().count(words) < count:
            if self.process.poll() is not None or time.monotonic() > end:
                raise Failure(f"migrate-vm has not said '{words}': {self.last()}")
            time.sleep(0.02)

    def last(self) -> str:
        return (self.said().strip().splitlines() or ["nothing"])[-1]

    def finish(self, limit: float = 300) -> Result:
        """Returns what it says of the move."""
        output = self.communicate(limit)
        if self.process.returncode != 0:
            raise Failure(f"migrate-vm ends with {self.process.returncode}: {self.last()}")
        result: Result = json.loads(output)
        return result

    def fail(self, words: str, limit: float = 120) -> None:
        """It ends with status 1 and says so."""
        self.communicate(limit)
        if self.process.returncode != 1 or words not in self.last():
            raise Failure(f"migrate-vm ends with {self.process.returncode} and not '{words}': {self.last()}")

    def communicate(self, limit: float) -> str:
        try:
            return self.process.communicate(timeout=limit)[0]
        except subprocess.TimeoutExpired as error:
            self.process.kill()
            raise Failure(f"migrate-vm has not ended after {limit} s: {self.last()}") from error


class World:
    """To be used with `with`; the guest is at `near` to begin with. `still` MiB of each disk are written once, and `deleted`
    MiB are written and deleted."""

    kind: type[Guest] = Guest
    memory = 512
    # Over the nodes' link; otherwise by a connection of QEMU's own.
    relays_memory = True

    def __init__(self, context: Context, folder: str, disks: Sequence[str] = ("disk",), rate: float = 300e6, rtt: float = 10,
                 still: int = 32, deleted: int = 0, discard: str = "unmap") -> None:
        self.context, self.folder, self.disks = context, folder, disks
        self.sites = Sites(context.relay, context.nearblock, folder, rate, rtt, context.qemus)
        self.moves: list[Move] = []
        self.deleted = deleted
        self.guest = self.kind(self.sites, context.kernel, disks, self.arguments(still), self.memory)
        self.guest.discard = discard

    def arguments(self, still: int) -> str:
        return f"test=machine still={still * 16} deleted={self.deleted * 16}"

    def __enter__(self: SomeWorld) -> SomeWorld:
        self.sites.__enter__()
        try:
            self.near, self.far = self.sites.near, self.sites.far
            self.start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *failure: Any) -> None:
        self.guest.is_over.set()
        for run in self.moves:
            run.process.kill()
        self.sites.__exit__(*failure)

    def start(self) -> None:
        images = {name: f"{self.near.folder}/images/{name}.raw" for name in self.disks}
        for image in images.values():
            self.make_image(image)
        self.start_nodes(images)
        self.guest.watch(self.near)
        self.guest.watch(self.far)
        self.guest.start(self.near)
        self.guest.wait_for("GUEST: running", self.near, 240)

    def start_nodes(self, images: Mapping[str, str]) -> None:
        self.near.start_node(images)
        self.far.start_node({})

    def make_image(self, image: str) -> None:
        with open(image, "wb") as file:
            file.truncate(DISK_SIZE)

    def move(self, *more: str, source: Site | None = None, target: Site | None = None, start: str | None = None) -> Move:
        command = self.move_command(source or self.near, target or self.far, start)
        for name in self.disks:
            command += ["--disk", name]
        self.moves.append(Move([*command, *more], self.folder))
        return self.moves[-1]

    def move_command(self, source: Site, target: Site, start: str | None) -> list[str]:
        start = start or self.guest.command(target, "-incoming", "defer")
        return [
            *source.prefix, PROGRAM, "--json", "--nearblock", self.context.nearblock,
            "--qmp", f"{source.path}/qmp", "--qmp-there", f"{target.path}/qmp", "--control", f"{source.folder}/control",
            "--control-there", f"{target.folder}/control", "--to", target.peer,
            *([] if self.relays_memory else ["--memory-to", target.memory]),
            "--there", shlex.join(target.prefix), "--start", start]

    def move_with(self, *capabilities: str) -> Move:
        """As `move`; both QEMUs have these capabilities then."""
        here, there = (["python3", "-c", SET_CAPABILITIES, f"{site.path}/qmp", *capabilities] for site in (self.near, self.far))
        subprocess.run([*self.near.prefix, *here], check=True)
        return self.move(start=f"{self.guest.command(self.far, '-incoming', 'defer')} && {shlex.join(there)}")

    def states(self, site: Site) -> dict[str, str]:
        return {name: export["state"] for name, export in site.node.status().items()}

    def wait_for_state(self, site: Site, name: str, is_right: Callable[[str], bool], limit: float = 120) -> None:
        end = time.monotonic() + limit
        while not is_right(state := self.states(site).get(name, "")):
            if time.monotonic() > end:
                raise Failure(f"{name} at {site.name} is still '{state}'")
            time.sleep(0.05)

    def work(self, seconds: float) -> None:
        """The guest works on for a while; it must give signs of life."""
        since = time.monotonic()
        time.sleep(seconds)
        if self.guest.gap("w", since) > seconds / 2:
            raise Failure(f"the guest has written nothing for {seconds / 2:.0f} s")

    def check_stayed(self) -> None:
        """Everything is as it was before a move that failed."""
        if any(state != "serving" for state in self.states(self.near).values()):
            raise Failure(f"after the failure the disk is not served as before: {self.states(self.near)}")
        if self.far.node.status():
            raise Failure(f"after the failure the node there still answers: {self.states(self.far)}")
        self.work(1)

    def end_guest(self, site: Site) -> None:
        """Everything that the guest has written must be in that site's images."""
        sums = self.guest.end(site)
        for number, name in enumerate(self.disks):
            image = f"{site.folder}/images/{name}.raw"
            digest = self.digest(image)
            if sums.get(f"vd{'abc'[number]}") != digest:
                raise Failure(f"{name} at {site.name} is not what the guest has written")
            self.check_file_system(image)

    @staticmethod
    def digest(image: str) -> str:
        with open(image, "rb") as file:
            return hashlib.file_digest(file, "md5").hexdigest()

    def check_file_system(self, image: str) -> None:
        checked = subprocess.run(["e2fsck", "-f", "-n", image], capture_output=True, text=True)
        with open(f"{self.folder}/fsck.log", "a") as log:
            log.write(checked.stdout + checked.stderr)
        if checked.returncode != 0:
            raise Failure(f"e2fsck complains of {os.path.basename(image)}")

    def figures(self, move: Move, result: Result) -> str:
        """What a move has cost, in words."""
        still, writes = (self.guest.gap(word, move.began) * 1000 for word in "tw")
        memory, disks = result["memory"], result["disks"]
        pause = "?" if disks["pause"] is None else f"{disks['pause'] * 1000:.0f}"
        relay = memory.get("relay")
        crossed = f" as {relay['wire'] / MEBIBYTE:.0f} MiB" if relay else ""
        return (f"{result['seconds']:.1f} s; memory {memory['bytes'] / MEBIBYTE:.0f} MiB{crossed}, disks "
                f"{(disks['wire'] or 0) / MEBIBYTE:.0f} MiB; the guest stood still for {still:.0f} ms, its writes for "
                f"{writes:.0f} ms (QEMU says {memory['downtime'] * 1000:.0f} ms, nearblock {pause} ms)")


class OwnConnectionWorld(World):
    """QEMU moves the memory by a connection of its own, which outlives the nodes."""

    relays_memory = False


class DebianWorld(World):
    """The guest is a Debian that has booted from its disk."""

    memory = 768
    # That of the script that it runs.
    shell = "/bin/sh"
    # What `make_debian` is told of it.
    debian: tuple[str, ...] = ()

    def arguments(self, still: int) -> str:
        return (f"test=debian rw systemd.run='{self.shell} /root/debian-work' systemd.run_success_action=poweroff "
                "systemd.run_failure_action=poweroff")

    def make_image(self, image: str) -> None:
        copy_image(make_debian(*self.debian), image)

    def end_guest(self, site: Site) -> None:
        self.guest.end(site)
        # The root partition begins at 1 MiB.
        image, root = f"{site.folder}/images/{self.disks[0]}.raw", f"{self.folder}/root.raw"
        subprocess.run(["dd", f"if={image}", f"of={root}", "bs=1M", "skip=1", "conv=sparse", "status=none"], check=True)
        self.check_file_system(root)


class LibvirtWorld(World):
    """The guest is a domain."""

    kind = LibvirtGuest

    def start(self) -> None:
        for site in (self.near, self.far):
            site.libvirt = Libvirt(site)
        super().start()

    def __exit__(self, *failure: Any) -> None:
        for site in (self.near, self.far):
            if site.libvirt:
                site.libvirt.close(LibvirtGuest.NAME)
        super().__exit__(*failure)

    def move_command(self, source: Site, target: Site, start: str | None) -> list[str]:
        return move_command(PROGRAM, source, target, self.context.nearblock)
