"""The tests of `vms`."""
import os
import signal
import time
from collections.abc import Callable

from nearblock_tests.vms.postcopy import leave, postcopy, recover
from nearblock_tests.vms.sites import Site
from nearblock_tests.vms.world import Context, DebianWorld, Failure, LibvirtWorld, Move, World


def move(context: Context, folder: str, switch: str = "first-write") -> str:
    with World(context, folder) as world:
        run = world.move("--switch", switch)
        result = run.finish()
        world.work(2)
        figures = world.figures(run, result)
        world.end_guest(world.far)
        return figures


def manual(context: Context, folder: str) -> str:
    return move(context, folder, "manual")


def back(context: Context, folder: str) -> str:
    with World(context, folder) as world:
        run = world.move()
        there = world.figures(run, run.finish())
        world.work(2)
        run = world.move(source=world.far, target=world.near)
        result = run.finish()
        world.work(2)
        figures = world.figures(run, result)
        world.end_guest(world.near)
        return f"there: {there}; back: {figures}"


def two(context: Context, folder: str) -> None:
    with World(context, folder, disks=("root", "data"), still=16) as world:
        world.move().finish()
        world.work(2)
        world.end_guest(world.far)


def rollback(context: Context, folder: str) -> str:
    with World(context, folder) as world:
        began = time.monotonic()
        world.move(start="echo no such machine >&2; exit 1").fail("no such machine; the guest goes on here")
        world.check_stayed()
        run = world.move("--memory-rate", "20M")
        run.wait_for("copying the memory")
        time.sleep(2)
        world.far.end_qemu()
        run.fail("the guest goes on here")
        world.check_stayed()
        run = world.move("--memory-rate", "20M")
        run.wait_for("copying the memory")
        run.process.send_signal(signal.SIGTERM)
        run.fail("interrupted by SIGTERM; the guest goes on here")
        world.check_stayed()
        unaware = world.guest.gap("w", began)
        world.move().finish()
        world.work(1)
        world.end_guest(world.far)
        return f"the guest's writes waited for {unaware * 1000:.0f} ms at most over three failures"


# Waits until the disks are switched over, and QEMU there dies before it has the guest.
TRAITOR = """#!/bin/sh
"{nearblock}" "$@" || exit
[ "$1" = switch ] || exit 0
shift 2
until "{nearblock}" status "$@" | grep -qE 'moved|released'; do sleep 0.02; done
kill -KILL "$(cat "{folder}/far/qemu.pid")"
"""


def late(context: Context, folder: str) -> None:
    traitor = f"{folder}/nearblock"
    with open(traitor, "w") as script:
        script.write(TRAITOR.format(nearblock=context.nearblock, folder=folder))
    os.chmod(traitor, 0o755)
    with World(context, folder) as world:
        world.move("--switch", "manual", "--nearblock", traitor).fail("the same command moves the rest")
        if not world.states(world.near)["disk"].startswith(("moved", "released")):
            raise Failure("the disk was not switched over")
        world.work(3)
        world.move().finish()
        world.work(2)
        world.end_guest(world.far)


def begin_slow(world: World) -> Move:
    """Switched over well before all of it is there."""
    run = world.move("--at-once", "--rate", "14M")
    run.wait_for("copying the memory")
    time.sleep(1)
    return run


def check_post_copy(world: World, run: Move) -> None:
    run.wait_for("the guest runs there", 200)
    world.wait_for_state(world.far, "disk", lambda state: state in ("active", "serving"))
    if world.states(world.far)["disk"] != "active":
        raise Failure("the disk was there before the rest of the test")


def cut(context: Context, folder: str) -> None:
    def interrupt() -> None:
        world.sites.wan.cut()
        time.sleep(30)
        world.sites.wan.mend()

    with World(context, folder, still=48) as world:
        run = begin_slow(world)
        interrupt()
        check_post_copy(world, run)
        interrupt()
        run.finish()
        world.work(2)
        world.end_guest(world.far)


def restart(context: Context, folder: str) -> None:
    def interrupt(site: Site) -> None:
        site.node.kill()
        time.sleep(0.5)
        site.node.start()
        time.sleep(1.5)

    with World(context, folder, still=48) as world:
        run = begin_slow(world)
        interrupt(world.near)
        interrupt(world.far)
        check_post_copy(world, run)
        interrupt(world.near)
        interrupt(world.far)
        run.finish()
        world.work(2)
        world.end_guest(world.far)


def gone(context: Context, folder: str) -> None:
    with World(context, folder) as world:
        world.move().finish()
        world.near.vanish()
        world.work(5)
        world.end_guest(world.far)


def debian(context: Context, folder: str) -> str:
    with DebianWorld(context, folder) as world:
        run = world.move()
        result = run.finish()
        world.work(5)
        figures = world.figures(run, result)
        world.end_guest(world.far)
        return figures


def libvirt(context: Context, folder: str) -> str:
    with LibvirtWorld(context, folder) as world:
        run = world.move("--memory-rate", "16M")
        run.wait_for("copying the memory")
        time.sleep(2)
        run.process.send_signal(signal.SIGTERM)
        run.fail("interrupted by SIGTERM; the guest goes on here")
        world.check_stayed()
        run = world.move()
        figures = world.figures(run, run.finish())
        world.work(2)
        world.move(source=world.far, target=world.near).finish()
        world.work(2)
        world.end_guest(world.near)
        return f"there: {figures}"


TESTS: tuple[Callable[[Context, str], str | None], ...] = (
    move, manual, postcopy, recover, leave, back, two, rollback, late, cut, restart, gone, debian, libvirt)
ALL = {test.__name__: test for test in TESTS}
# There and back.
SHORT = ("back",)
