"""The tests of `vms` in which the guest runs there before its memory is there."""
import os
import signal
import time
from collections.abc import Callable

from nearblock_tests.vms.sites import Site
from nearblock_tests.vms.world import MEBIBYTE, Context, Failure, Move, Result, World

SWITCHED = "the guest switches over, and the rest of its memory follows"


def wait_until(is_so: Callable[[], bool], words: str, limit: float = 120) -> None:
    end = time.monotonic() + limit
    while not is_so():
        if time.monotonic() > end:
            raise Failure(f"not within {limit} s: {words}")
        time.sleep(0.05)


def has_beaten(site: Site) -> bool:
    """The guest has given a sign of life at that site."""
    try:
        return os.path.getsize(f"{site.folder}/pulse.log") > 0
    except FileNotFoundError:
        return False


def begin(world: World, *more: str) -> Move:
    """Most of the memory is still here when the guest is there."""
    run = world.move("--postcopy", "--postcopy-after", "1", *more)
    run.wait_for(SWITCHED)
    wait_until(lambda: has_beaten(world.far), "the guest runs there")
    return run


def check_switched(result: Result, recoveries: int = 0) -> str:
    """The guest has asked for pages there; returns that in words."""
    said = result["memory"]["postcopy"]
    if not said["requests"] or not said["bytes"]:
        raise Failure(f"the guest has asked for no page there: {said}")
    if said["recoveries"] < recoveries:
        raise Failure(f"the memory was not cut off: {said}")
    return f"{said['requests']} pages asked for, {said['bytes'] / MEBIBYTE:.0f} MiB by post-copy"


def postcopy(context: Context, folder: str) -> str:
    return "; ".join(postcopy_once(context, f"{folder}/{switch}", switch) for switch in ("first-write", "manual"))


def postcopy_once(context: Context, folder: str, switch: str) -> str:
    os.makedirs(folder)
    with World(context, folder, rate=100e6, rtt=40) as world:
        if switch == "first-write":
            interrupt_before(world)
        run = begin(world, "--switch", switch)
        result = run.finish()
        world.work(2)
        figures = world.figures(run, result)
        world.end_guest(world.far)
        return f"{switch}: {check_switched(result)}; {figures}"


def interrupt_before(world: World) -> None:
    """Ahead of the switch, all is undone."""
    run = world.move("--postcopy", "--memory-rate", "8M")
    run.wait_for("copying the memory")
    time.sleep(2)
    run.process.send_signal(signal.SIGTERM)
    run.fail("interrupted by SIGTERM; the guest goes on here")
    world.check_stayed()


def recover(context: Context, folder: str) -> str:
    def interrupt(site: Site, count: int) -> None:
        site.node.kill()
        run.wait_for("the memory was cut off", count=count)
        site.node.start()
        run.wait_for("the memory goes on", count=count)

    with World(context, folder, rate=30e6, rtt=20) as world:
        run = begin(world)
        interrupt(world.far, 1)
        interrupt(world.near, 2)
        result = run.finish()
        world.work(2)
        world.end_guest(world.far)
        return check_switched(result, 2)


def leave(context: Context, folder: str) -> None:
    """The program is interrupted behind the switch: the guest stays there."""
    with World(context, folder, rate=100e6, rtt=20) as world:
        run = begin(world)
        run.process.send_signal(signal.SIGTERM)
        run.fail("keep both QEMUs and both nodes until QEMU here says completed")
        wait_until(lambda: b"the memory of disk has arrived" in world.far.node.log(), "the memory arrives")
        world.wait_for_state(world.far, "disk", lambda state: state == "serving")
        world.work(2)
        world.end_guest(world.far)
