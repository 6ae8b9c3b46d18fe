"""A guest's disks, the two nodes, what writes to the disks, and the harm that is done to them."""
import os
import random
import signal
import subprocess
import sys
import time
from typing import Any

from nearblock_tests.nodes import Node, free_port
from nearblock_tests.survive.relay import Relay
from nearblock_tests.survive.storage import KINDS, MEBIBYTE

# Seconds of load of the guest.
LOAD = 12
BLOCK = 4096


class Failure(Exception):
    pass


class Machine:
    """`kind` is one of KINDS."""

    def __init__(self, binary: str, folder: str, seed: int, kind: str) -> None:
        self.folder, self.chance, self.storage = folder, random.Random(seed), KINDS[kind](folder)
        chance = self.chance
        sizes = {"disk": 64, "log": 24} if chance.random() < 0.4 else {"disk": 64}
        self.names = list(sizes)
        self.mode = chance.choice(["converged", "now", "converged", "manual"])
        self.kills_source = chance.random() < 0.4
        # What a place had not made durable is sent again.
        self.has_lost_place = False
        self.kills_helpers = self.storage.has_helper and chance.random() < 0.7
        # What is under way when harm is done is so many bytes, whatever the size of a disk.
        factor = 2 if self.kills_source else 1
        for name, size in sizes.items():
            self.make(name, size * factor)
        killed = ["source"] * self.kills_source + ["destination"] + ["helpers"] * self.kills_helpers
        print(f"seed {seed}: {kind}, {' and '.join(self.names)}, --switch {self.mode}, killed: {', '.join(killed)}", flush=True)
        port = free_port()
        self.relay = Relay(port)
        self.guests: list[subprocess.Popen[bytes]] = []
        self.nodes: list[Node] = []
        os.mkdir(f"{folder}/images")
        with open(f"{folder}/source.conf", "w") as configuration:
            for name in self.names:
                configuration.write(f"[export {name}]\n{self.storage.section(name)}")
        self.data = sum(distinct_bytes(f"{folder}/{name}.raw") for name in self.names)
        self.source = self.start_node(binary, "source", "--config", f"{folder}/source.conf")
        self.destination = self.start_node(
            binary, "destination", "--peer-listen", f"127.0.0.1:{port}", "--images", f"{folder}/images",
            *self.storage.target_options())

    def start_node(self, binary: str, name: str, *arguments: str) -> Node:
        self.nodes.append(Node(binary, f"{self.folder}/{name}", arguments))
        return self.nodes[-1]

    def make(self, name: str, size: int) -> None:
        with open(f"{self.folder}/{name}.raw", "wb") as image:
            for _ in range(size):
                is_data = self.chance.random() < 0.6
                image.write(self.chance.randbytes(MEBIBYTE) if is_data else bytes(MEBIBYTE))

    def uri(self, name: str, node: str = "source") -> str:
        return f"nbd+unix:///{name}?socket={self.folder}/{node}/nbd"

    def start_guests(self) -> None:
        if self.kills_source:
            return
        for name in self.names:
            with open(f"{self.folder}/guest-{name}.log", "wb") as log:
                self.guests.append(subprocess.Popen(self.guest(name), stdout=log, stderr=log))
        time.sleep(0.5)

    def guest(self, name: str) -> list[str]:
        """fio takes the end of a helper for an error of the disk: it does not repeat what it had not flushed."""
        if self.kills_helpers:
            return [sys.executable, "-m", "nearblock_tests.survive.writer", self.uri(name), f"{self.folder}/{name}.raw", str(LOAD)]
        return ["fio", "--name=guest", "--ioengine=nbd", f"--uri={self.uri(name)}", "--rw=randrw", "--bs=4k",
                "--iodepth=4", "--size=8M", "--offset=8M", "--rate=,2M", "--fsync=50", "--verify=crc32c",
                "--verify_backlog=64", "--verify_fatal=1", "--do_verify=1", "--time_based", f"--runtime={LOAD}",
                f"--aux-path={self.folder}"]

    def begin(self) -> None:
        command = ["migrate", *self.names, "--to", f"127.0.0.1:{self.relay.port}", "--switch", self.mode,
                   "--rate", "80M", "--detach"]
        answer = self.source.ask(*command)
        if answer.returncode != 0:
            raise Failure(f"the migration does not begin: {answer.stderr}")
        self.wait_until_accepted()

    def wait_until_accepted(self) -> None:
        """A migration that fails before that is not tried again. Making a place takes a moment."""
        end = time.time() + 30
        while any(state.get("state") in (None, "serving", "connecting") for state in self.states(self.source)):
            if time.time() > end:
                raise Failure(f"the destination does not take the disks: {self.states(self.source)}")
            time.sleep(0.02)

    def do_harm(self) -> None:
        chance = self.chance
        end = time.time() + chance.uniform(2, 8)
        while time.time() < end:
            time.sleep(chance.uniform(0.05, 1.2))
            if self.kills_helpers and chance.random() < 0.4:
                self.kill_helper(chance.choice(self.nodes))
                continue
            deed = chance.random()
            if deed < 0.4:
                self.restart(self.destination)
            elif deed < 0.6 and self.kills_source:
                self.restart(self.source)
                self.check_together()
            else:
                self.relay.cuts += 1
                self.relay.cut(chance.choice([0, 0.2, 2]))
            if self.mode == "manual" and chance.random() < 0.3:
                self.source.ask("switch", "disk")

    def restart(self, node: Node) -> None:
        self.relay.cuts += 1
        node.kill()
        time.sleep(self.chance.uniform(0, 0.5))
        node.start()

    def kill_helper(self, node: Node) -> None:
        self.relay.cuts += 1
        helpers = helpers_of(node)
        if helpers:
            self.has_lost_place |= node is self.destination
            os.kill(self.chance.choice(helpers), signal.SIGKILL)

    def states(self, node: Node) -> list[dict[str, Any]]:
        status = node.status()
        return [status.get(name, {}) for name in self.names]

    def check_together(self) -> None:
        """Either all disks have been switched over, or none; between two looks of the same answer it may come about."""
        for _ in range(2):
            states = [state.get("state", "") for state in self.states(self.source)]
            if len({state.startswith(("moved", "released")) for state in states}) == 1:
                return
            time.sleep(0.5)
        raise Failure(f"one disk has been switched over without the other: {states}")

    def wait_until_complete(self) -> None:
        end = time.time() + 90
        while True:
            self.source.ask("switch", "disk")
            here, there = self.states(self.source), self.states(self.destination)
            if any(state.get("state") == "serving" for state in here):
                raise Failure(f"the migration has ended by itself: {here}")
            if all(state.get("state") in ("moved", "released") for state in here) and all(
                    state.get("state") == "serving" and state.get("missing") is None for state in there):
                return
            if time.time() > end:
                raise Failure(f"it does not get to its end: {here} {there}")
            time.sleep(0.1)

    def check(self) -> None:
        """The disk through either node, and what the images have once no node uses them."""
        for guest in self.guests:
            if guest.wait(timeout=60) != 0:
                raise Failure("the guest has found a fault")
        for name in self.names:
            compare(name, ("raw", self.uri(name)), ("raw", self.uri(name, "destination")))
            if self.guests and not self.kills_helpers:
                # What fio has left. The writer keeps account by itself, and without a guest the disk is what it was.
                subprocess.run(["qemu-img", "convert", "-f", "raw", "-O", "raw", self.uri(name, "destination"),
                                f"{self.folder}/{name}.left"], check=True)
        for node in self.nodes:
            node.stop()
        for name in self.names:
            left, storage = f"{self.folder}/{name}.left", self.storage
            expected = left if os.path.exists(left) else f"{self.folder}/{name}.raw"
            compare_image(name, expected, storage.target_format, storage.target(name))
            if self.kills_source:
                compare_image(name, expected, storage.source_format, storage.source(name))
            if faults := storage.faults(name):
                raise Failure(faults)

    def stop(self) -> None:
        for process in [*self.guests, *(node.process for node in self.nodes)]:
            process.kill()
            process.wait()
        self.storage.end()


def distinct_bytes(path: str) -> int:
    """How much must cross: neither zeros nor what is on the disk already."""
    with open(path, "rb") as file:
        blocks = set(iter(lambda: file.read(BLOCK), b""))
    return len(blocks - {bytes(BLOCK)}) * BLOCK


def compare(name: str, first: tuple[str, str], second: tuple[str, str]) -> None:
    """Each is a format and an image."""
    compared = subprocess.run(["qemu-img", "compare", "-f", first[0], "-F", second[0], first[1], second[1]],
                              capture_output=True, text=True)
    if compared.returncode != 0:
        raise Failure(f"{name} differs between {first[1]} and {second[1]}: {compared.stdout}{compared.stderr}")


def compare_image(name: str, expected: str, image_format: str, image: str) -> None:
    """A device may be larger than the disk."""
    if image_format != "raw":
        return compare(name, ("raw", expected), (image_format, image))
    compared = subprocess.run(["cmp", f"--bytes={os.path.getsize(expected)}", expected, image], capture_output=True, text=True)
    if compared.returncode != 0:
        raise Failure(f"{name} differs: {compared.stdout}{compared.stderr}")
    return None


def helpers_of(node: Node) -> list[int]:
    """The processes of the node's qemu-storage-daemons."""
    mark, found = f"{node.folder}/state/storage-".encode(), []
    for entry in os.listdir("/proc"):
        try:
            if entry.isdecimal() and mark in open(f"/proc/{entry}/cmdline", "rb").read():
                found.append(int(entry))
        except OSError:
            pass
    return sorted(found)
