"""The tests of vm-tests."""
import dataclasses
import os
import signal
import time

from vm.world import Failure, World


@dataclasses.dataclass
class Context:
    nearblock: str
    relay: str
    kernel: str
    is_short: bool

    @property
    def cut(self):
        return 12 if self.is_short else 30


def move(context, folder):
    with World(context, folder) as world:
        run = world.move("--switch", "first-write")
        result = run.finish()
        world.work(2)
        figures = world.figures(run, result)
        world.end_guest(world.far)
        return figures


def manual(context, folder):
    with World(context, folder) as world:
        run = world.move("--switch", "manual")
        result = run.finish()
        world.work(2)
        figures = world.figures(run, result)
        world.end_guest(world.far)
        return figures


def back(context, folder):
    with World(context, folder) as world:
        world.move().finish()
        world.work(2)
        run = world.move(source=world.far, target=world.near)
        result = run.finish()
        world.work(2)
        figures = world.figures(run, result)
        world.end_guest(world.near)
        return f"back: {figures}"


def two(context, folder):
    with World(context, folder, disks=("root", "data"), still=16) as world:
        world.move().finish()
        world.work(2)
        world.end_guest(world.far)


def check_stayed(world):
    """Everything is as it was before."""
    if any(state != "serving" for state in world.states(world.near).values()):
        raise Failure(f"after the failure the disk is not served as before: {world.states(world.near)}")
    if world.far.node.status():
        raise Failure(f"after the failure the node there still answers: {world.states(world.far)}")
    world.work(1)


def rollback(context, folder):
    with World(context, folder) as world:
        began = time.monotonic()
        world.move(start="echo no such machine >&2; exit 1").fail("no such machine; the guest goes on here")
        check_stayed(world)
        run = world.move("--memory-rate", "20M")
        run.wait_for("copying the memory")
        time.sleep(2)
        world.far.end_qemu()
        run.fail("the guest goes on here")
        check_stayed(world)
        run = world.move("--memory-rate", "20M")
        run.wait_for("copying the memory")
        run.process.send_signal(signal.SIGTERM)
        run.fail("interrupted by SIGTERM; the guest goes on here")
        check_stayed(world)
        unaware = world.guest.gap("w", began)
        world.move().finish()
        world.work(1)
        world.end_guest(world.far)
        return f"the guest's writes waited for {unaware * 1000:.0f} ms at most over three failures"


ALL = {name: globals()[name] for name in ("move", "manual", "back", "two", "rollback")}
