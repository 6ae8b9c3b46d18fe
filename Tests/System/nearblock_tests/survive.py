"""test survive [--short] [--runs N] [--seed S] [--binary PATH] [--keep]

Moves one or two disks between two real nodes on this machine while fio writes to them and verifies, and does harm
meanwhile: kills either node with SIGKILL at random moments and starts it again, and cuts the link for up to seconds. Each
run has a seed of its own, which is printed; --seed S --runs 1 plays its choices again (not its timing). Nobody asks for
the migration again: it goes on by itself. The first run that loses a write, does not get to its end, hands one of two
disks over without the other, or sends more than 2 % of the data again for each cut or kill (measured where no guest
writes; fingerprints included), ends the script with status 1 and leaves its folder behind.

The guest's node is killed only in runs in which no guest is attached to it.

--runs N (default 20; --short: 3), --binary PATH in the place of .build/debug/nearblock, which is built where it is not
there; --keep leaves the folders of runs that went well.
"""
import argparse
import os
import random
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from typing import Any

from nearblock_tests.nodes import Node, NodeFailure, free_port
from nearblock_tests.repository import ROOT, SuiteParser, install, positive, swift


class Relay:
    """A TCP relay on loopback that can be cut."""

    def __init__(self, target: int) -> None:
        self.target, self.is_cut, self.carried, self.cuts = target, False, 0, 0
        self.pairs: list[tuple[socket.socket, socket.socket]] = []
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self.listener.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self) -> None:
        while True:
            client, _ = self.listener.accept()
            if self.is_cut:
                client.close()
                continue
            try:
                server = socket.create_connection(("127.0.0.1", self.target), timeout=5)
                server.settimeout(None)
            except OSError:
                client.close()
                continue
            self.pairs.append((client, server))
            for ends in ((client, server), (server, client)):
                threading.Thread(target=self.pump, args=ends, daemon=True).start()

    def pump(self, source: socket.socket, target: socket.socket) -> None:
        try:
            while data := source.recv(1 << 16):
                self.hold()
                target.sendall(data)
                self.carried += len(data)
        except OSError:
            pass
        for end in (source, target):
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def hold(self) -> None:
        """Called before each piece is passed on, in the thread of its direction; a subclass may wait here."""

    def cut(self, seconds: float) -> None:
        self.is_cut = True
        for pair in self.pairs:
            for end in pair:
                try:
                    end.shutdown(socket.SHUT_RDWR)
                except OSError:
                    pass
        self.pairs = []
        time.sleep(seconds)
        self.is_cut = False


class Failure(Exception):
    pass


MEBIBYTE = 1 << 20


class Machine:
    """A guest's disks, the two nodes, and what writes to the disks."""

    def __init__(self, binary: str, folder: str, seed: int) -> None:
        self.folder, self.chance = folder, random.Random(seed)
        chance = self.chance
        sizes = {"disk": 64, "log": 24} if chance.random() < 0.4 else {"disk": 64}
        self.names = list(sizes)
        self.mode = chance.choice(["converged", "now", "converged", "manual"])
        self.kills_source = chance.random() < 0.4
        # What is under way when harm is done is so many bytes, whatever the size of a disk.
        factor = 2 if self.kills_source else 1
        self.data = sum(self.make(name, size * factor) for name, size in sizes.items())
        print(f"seed {seed}: {' and '.join(self.names)}, --switch {self.mode}, "
              f"{'source and destination are' if self.kills_source else 'destination is'} killed", flush=True)
        port = free_port()
        self.relay = Relay(port)
        with open(f"{folder}/source.conf", "w") as configuration:
            for name in self.names:
                configuration.write(f"[export {name}]\nimage = {folder}/{name}.raw\n")
        self.source = Node(binary, f"{folder}/source", ["--config", f"{folder}/source.conf"])
        self.destination = Node(
            binary, f"{folder}/destination", ["--peer-listen", f"127.0.0.1:{port}", "--images", f"{folder}/images"])
        self.guests: list[subprocess.Popen[bytes]] = []

    def make(self, name: str, size: int) -> int:
        """Returns how much of it is not zero."""
        data = 0
        with open(f"{self.folder}/{name}.raw", "wb") as image:
            for _ in range(size):
                is_data = self.chance.random() < 0.6
                image.write(self.chance.randbytes(MEBIBYTE) if is_data else bytes(MEBIBYTE))
                data += MEBIBYTE if is_data else 0
        return data

    def uri(self, name: str, node: str = "source") -> str:
        return f"nbd+unix:///{name}?socket={self.folder}/{node}/nbd"

    def start_guests(self) -> None:
        if self.kills_source:
            return
        for name in self.names:
            log = open(f"{self.folder}/fio-{name}.log", "wb")
            self.guests.append(subprocess.Popen(
                ["fio", "--name=guest", "--ioengine=nbd", f"--uri={self.uri(name)}", "--rw=randrw", "--bs=4k",
                 "--iodepth=4", "--size=8M", "--offset=8M", "--rate=,2M", "--fsync=50", "--verify=crc32c",
                 "--verify_backlog=64", "--verify_fatal=1", "--do_verify=1", "--time_based", "--runtime=12",
                 f"--aux-path={self.folder}"], stdout=log, stderr=log))
        time.sleep(0.5)

    def begin(self) -> None:
        command = ["migrate", *self.names, "--to", f"127.0.0.1:{self.relay.port}", "--switch", self.mode,
                   "--rate", "80M", "--detach"]
        if self.source.ask(*command).returncode != 0:
            raise Failure("the migration does not begin")

    def do_harm(self) -> None:
        chance = self.chance
        end = time.time() + chance.uniform(2, 8)
        while time.time() < end:
            time.sleep(chance.uniform(0.05, 1.2))
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
        for guest in self.guests:
            if guest.wait(timeout=60) != 0:
                raise Failure("fio has found a fault")
        for name in self.names:
            compared = subprocess.run(
                ["qemu-img", "compare", "-f", "raw", "-F", "raw", self.uri(name), self.uri(name, "destination")],
                capture_output=True, text=True)
            if compared.returncode != 0:
                raise Failure(f"the two ways to {name} differ: {compared.stdout}{compared.stderr}")
            if self.kills_source and subprocess.run(
                    ["cmp", f"{self.folder}/{name}.raw", f"{self.folder}/images/{name}.raw"]).returncode != 0:
                raise Failure("the images differ")

    def stop(self) -> None:
        for process in [*self.guests, self.source.process, self.destination.process]:
            process.kill()
            process.wait()


def run(binary: str, folder: str, seed: int) -> None:
    machine = Machine(binary, folder, seed)
    try:
        machine.start_guests()
        machine.begin()
        machine.do_harm()
        machine.wait_until_complete()
        # qemu-img's reads through the source cross the link too.
        carried = machine.relay.carried
        machine.check()
        if machine.kills_source:
            more, cuts = 100 * (carried / machine.data - 1), machine.relay.cuts
            print(f"  {cuts} cuts and kills; {more:.1f} % more than the data has crossed", flush=True)
            # What a killed node has not taken from its sockets is lost with them: some 1 %, and more on a busy machine.
            if more > 2 * cuts + 1:
                raise Failure("more than 2 % of the data was sent again after a cut or a kill")
    finally:
        machine.stop()


def parse() -> argparse.Namespace:
    parser = SuiteParser("survive", __doc__)
    add = parser.add_argument
    add("--short", action="store_true", help=argparse.SUPPRESS)
    add("--runs", type=positive, help=argparse.SUPPRESS)
    add("--seed", type=int, help=argparse.SUPPRESS)
    add("--binary", help=argparse.SUPPRESS)
    add("--keep", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.binary and not os.access(options.binary, os.X_OK):
        parser.error(f"--binary: {options.binary} is no program")
    options.runs = options.runs or (3 if options.short else 20)
    return options


def debug_binary() -> str:
    path = ROOT / ".build/debug/nearblock"
    if not os.access(path, os.X_OK):
        subprocess.run([swift(), "build", "--product", "nearblock"], cwd=ROOT, check=True, stdout=sys.stderr)
    return str(path)


def main() -> int:
    options = parse()
    install("build", "test")
    binary = os.path.abspath(options.binary or debug_binary())
    first = options.seed if options.seed is not None else random.randrange(1 << 32)
    for index in range(options.runs):
        folder = tempfile.mkdtemp(prefix="nearblock-survive-")
        try:
            run(binary, folder, first + index)
        except (Failure, NodeFailure, subprocess.TimeoutExpired) as failure:
            print(f"survive: seed {first + index}: {failure}; see {folder}", file=sys.stderr)
            return 1
        if not options.keep:
            shutil.rmtree(folder)
    print(f"{options.runs} runs, nothing lost")
    return 0


if __name__ == "__main__":
    sys.exit(main())
