"""Nodes that are killed or stopped, and started again by the other build with the same state directory and images.

A relay between the nodes counts what crosses: a build that did not understand the other's records would send all again.
"""
import os
import random
import subprocess
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from nearblock_tests.compat.builds import Build, Builds
from nearblock_tests.compat.scene import Disk, Failure, Scene, Site, has_moved, wait_until, wait_until_complete
from nearblock_tests.survive.relay import Relay

# Bytes that may cross, as a part of the disks' size. Zeros and repeats, about a fifth, don't. If all were sent again after half
# of it, 1.3 would cross.
MOST = 1.1
# Kills of one run of `often`.
KILLS = 6
# The states of a source that waits for an answer; empty while the node starts.
UNANSWERED = ("", "connecting", "reconnecting")
# How much of a disk may be sent back if nearly nothing was written since it came.
MOST_BACK = 0.3


class HoldingRelay(Relay):
    """A relay that passes nothing on once `limit` bytes have crossed, until it is released. 0: no limit."""

    def __init__(self, target: int, limit: float) -> None:
        self.limit, self.released = limit, threading.Event()
        super().__init__(target)

    def is_holding(self) -> bool:
        return self.carried >= self.limit

    def hold(self) -> None:
        if self.limit and self.is_holding():
            self.released.wait()

    def release(self) -> None:
        self.released.set()


@dataclass(frozen=True)
class Restart:
    """`victims` are source, destination or both, of build `before`, and of `after` once they were killed; the other node is of
    build `beside`. `moment` is a key of MOMENTS."""

    victims: str
    moment: str
    before: Build
    after: Build
    beside: Build

    def has(self, name: str) -> bool:
        return self.victims in (name, "both")

    def __call__(self, scene: Scene) -> str:
        disks = [scene.disk("root", 32), scene.disk("log", 8)]
        source = scene.site("source", self.before if self.has("source") else self.beside, disks=disks)
        destination = scene.site("destination", self.before if self.has("destination") else self.beside)
        moment = MOMENTS[self.moment]
        relay = HoldingRelay(destination.port, moment.share * sum(disk.size for disk in disks))
        clients = [scene.client(disk, source) for disk in disks]
        source.start_move(disks, f"127.0.0.1:{relay.port}", *moment.options)
        wait_until(f"the moment: {self.moment}", lambda: relay.is_holding() and moment.is_reached(disks, source, destination))
        if moment.is_clean:
            # A node that is stopped finishes what its clients have asked for.
            relay.release()
        for site in (source, destination):
            if self.has(site.name):
                site.end() if moment.is_clean else site.kill()
        relay.release()
        for site in (destination, source):
            if self.has(site.name):
                site.restart(self.after)
        check_together(disks, source)
        for client in clients:
            client.work(10)
        if self.moment == "switching":
            wait_until("the switchover", lambda: switch(disks, source))
        wait_until_complete(disks, source, destination)
        crossed = relay.carried / sum(disk.size for disk in disks)
        for client in clients:
            client.work(10)
        if self.moment == "complete":
            self.move_back(scene, disks, source, destination)
        else:
            scene.finish(disks, destination)
        if crossed > MOST:
            raise Failure(f"{100 * crossed:.0f} % of the disks' size crossed: one build has not used what the other noted")
        return f"{100 * crossed:.0f} % of the size crossed"

    def move_back(self, scene: Scene, disks: list[Disk], source: Site, destination: Site) -> None:
        reports = destination.move(disks, source.address)
        for report in reports:
            if report["ledger"]["link"] > report["size"] * MOST_BACK:
                raise Failure(f"most of {report['export']} was sent back: {report['ledger']}")
        scene.finish(disks, source)


def check_together(disks: list[Disk], source: Site) -> None:
    """All disks of a group have moved, or none has; twice, because they may move while a node puts its answer together."""
    for _ in range(2):
        status = source.status()
        states = [status[disk.name]["state"] for disk in disks]
        if len({has_moved(state) for state in states}) == 1:
            return
        time.sleep(0.5)
    raise Failure(f"one disk has moved without the other: {states}")


def is_copying(disks: list[Disk], source: Site, destination: Site) -> bool:
    if source.state(disks[0].name) != "copying":
        raise Failure(f"the disk is not being copied: {source.status()}")
    return True


def is_missing(disks: list[Disk], source: Site, destination: Site) -> bool:
    if not destination.missing(disks[0].name):
        raise Failure(f"no blocks are missing: {destination.status()}")
    return True


def is_complete(disks: list[Disk], source: Site, destination: Site) -> bool:
    wait_until_complete(disks, source, destination)
    return True


def is_switching(disks: list[Disk], source: Site, destination: Site) -> bool:
    """Somewhere around the commit record; the chance decides whether before or after it."""
    if source.state(disks[0].name) != "waiting":
        return False
    with open(os.devnull, "wb") as nothing:
        command = subprocess.Popen([source.binary, "switch", disks[0].name, "--control", f"{source.folder}/control"],
                                   stdout=nothing, stderr=nothing)
    time.sleep(random.uniform(0, 0.2))
    command.kill()
    command.wait()
    return True


def switch(disks: list[Disk], source: Site) -> bool:
    """Asks for the switchover, because a resumed migration may wait for it again, and returns whether it has been."""
    source.ask("switch", disks[0].name)
    return has_moved(source.state(disks[0].name))


def often(scene: Scene, builds: Builds) -> str:
    """Either node is killed at random moments, and each time replaced by the other build."""
    disks = [scene.disk("root", 32), scene.disk("log", 8)]
    source, destination = scene.site("source", builds.old, disks=disks), scene.site("destination", builds.new)
    clients = [scene.client(disk, source) for disk in disks]
    mode = scene.chance.choice(("converged", "now"))
    source.start_move(disks, destination.address, "--rate", "80M", "--switch", mode)
    for number in range(KILLS):
        time.sleep(scene.chance.uniform(0.2, 1.5))
        victim = (source, destination)[number % 2]
        # A migration whose node ends twice without an answer of the destination is put aside.
        wait_until("an answer of the destination", lambda: source.state(disks[0].name) not in UNANSWERED)
        victim.restart(builds.other(victim.build))
        check_together(disks, source)
    wait_until_complete(disks, source, destination)
    for client in clients:
        client.work(10)
    scene.finish(disks, destination)
    return f"{KILLS} kills, --switch {mode}"


@dataclass(frozen=True)
class Moment:
    """The relay holds everything back once so much has crossed, as a part of the disks' size; 0: it does not. `is_reached` then
    is asked until it is true. `is_clean`: the nodes get SIGTERM and not SIGKILL."""

    is_reached: Callable[[list[Disk], Site, Site], bool]
    options: tuple[str, ...]
    share: float = 0
    is_clean: bool = False


# The rate limit keeps little in the sockets' buffers, which a killed node loses.
MOMENTS = {
    "copying": Moment(is_copying, ("--rate", "80M"), share=0.5),
    "switching": Moment(is_switching, ("--switch", "manual")),
    "missing": Moment(is_missing, ("--rate", "80M", "--switch", "now"), share=0.5),
    "stopped": Moment(is_missing, ("--rate", "80M", "--switch", "now"), share=0.5, is_clean=True),
    "complete": Moment(is_complete, ()),
}
