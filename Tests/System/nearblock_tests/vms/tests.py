"""The tests of `vms`."""
import itertools
import os
import signal
import socket
import time
from collections.abc import Callable

from nearblock_tests.vms import harm as harms
from nearblock_tests.vms.monitor import open_monitor, run_state
from nearblock_tests.vms.postcopy import leave, postcopy, recover
from nearblock_tests.vms.sites import Site
from nearblock_tests.vms.world import MEBIBYTE, Context, DebianWorld, Failure, LibvirtWorld, Move, OwnConnectionWorld, Result, World


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


def multifd(context: Context, folder: str) -> str:
    with World(context, folder) as world:
        run = world.move_with("multifd")
        result = run.finish()
        world.work(2)
        figures = world.figures(run, result)
        with open(f"{world.near.folder}/log") as log:
            connections = log.read().count("the memory of disk is at")
        if connections < 3:
            raise Failure(f"the memory went over {connections} connections")
        world.end_guest(world.far)
        return f"{connections} connections; {figures}"


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

    with OwnConnectionWorld(context, folder, still=48) as world:
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

    with OwnConnectionWorld(context, folder, still=48) as world:
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


class Silence:
    """A socket where an agent's would be, on which nobody answers."""

    def __init__(self, site: Site) -> None:
        self.path = f"{site.path}/silence"
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(f"{site.folder}/silence")
        self.listener.listen()


def has_trimmed(run: Move, words: str) -> Result:
    """What a move has taken that has said these words of its trim."""
    result = run.finish()
    if words not in run.said():
        raise Failure(f"migrate-vm has not said '{words}' but: {run.said()}")
    return result


def trim(context: Context, folder: str) -> str:
    """What is free crosses without a trim, and with one it does not."""
    still, deleted, amounts = 8, 40, []
    for discard in ("ignore", "unmap"):
        place = f"{folder}/{discard}"
        os.mkdir(place)
        with World(context, place, still=still, deleted=deleted, discard=discard) as world:
            run = world.move("--trim", "--agent", f"{world.near.path}/agent")
            ignored = "nothing of it has reached the node: give its disks discard=unmap"
            result = has_trimmed(run, "the guest trims" if discard == "unmap" else ignored)
            if (result["trimmed"] >= deleted * MEBIBYTE) != (discard == "unmap"):
                raise Failure(f"{result['trimmed']} bytes were trimmed with discard={discard}")
            amounts.append(result["disks"]["wire"] / MEBIBYTE)
            # A guest whose agent is silent moves all the same.
            silence = Silence(world.far)
            run = world.move("--trim", "--agent", silence.path, source=world.far, target=world.near)
            has_trimmed(run, "the guest's agent has not answered within 10 s")
            world.work(2)
            world.end_guest(world.near)
    if amounts[1] > amounts[0] - 0.75 * deleted:
        raise Failure(f"the disks took {amounts[0]:.0f} MiB without a trim, and {amounts[1]:.0f} MiB with one")
    return f"{amounts[0]:.0f} MiB without a trim, {amounts[1]:.0f} MiB with one"


def libvirt(context: Context, folder: str) -> str:
    with LibvirtWorld(context, folder) as world:
        run = world.move("--memory-rate", "16M")
        run.wait_for("copying the memory")
        time.sleep(2)
        run.process.send_signal(signal.SIGTERM)
        run.fail("interrupted by SIGTERM; the guest goes on here")
        world.check_stayed()
        run = world.move("--trim")
        result = has_trimmed(run, "the guest trims")
        if not result["trimmed"]:
            raise Failure("no trim has reached the node")
        figures = world.figures(run, result)
        world.work(2)
        world.move(source=world.far, target=world.near).finish()
        world.work(2)
        world.end_guest(world.near)
        return f"there: {figures}"


def same(context: Context, folder: str) -> str:
    """While both QEMUs stand still, every byte of the guest's memory is equal."""
    with World(context, folder) as world:
        run = world.move(start=world.guest.command(world.far, "-S", "-incoming", "defer"))
        run.wait_for("copying the memory")
        end = time.monotonic() + 120
        while run_state(world.near) != "postmigrate" or run_state(world.far) != "paused":
            if time.monotonic() > end:
                raise Failure(f"the memory does not get there: {run.last()}")
            time.sleep(0.2)
        for site in (world.near, world.far):
            with open_monitor(site) as monitor:
                monitor.execute("pmemsave", val=0, size=world.memory << 20, filename=f"{site.path}/memory.raw")
        different = count_different_pages(*(f"{site.folder}/memory.raw" for site in (world.near, world.far)))
        if different:
            raise Failure(f"{different} pages of the guest's memory differ")
        with open_monitor(world.far) as monitor:
            monitor.execute("cont")
        run.finish()
        world.work(2)
        world.end_guest(world.far)
        return f"{world.memory} MiB are equal"


def count_different_pages(one: str, other: str) -> int:
    with open(one, "rb") as first, open(other, "rb") as second:
        pages = itertools.zip_longest(iter(lambda: first.read(4096), b""), iter(lambda: second.read(4096), b""))
        return sum(mine != theirs for mine, theirs in pages)


def harm(context: Context, folder: str) -> str:
    numbers = itertools.count(1)

    def make_folder() -> str:
        path = f"{folder}/{next(numbers)}"
        os.mkdir(path)
        return path

    return harms.play(context, make_folder, context.runs, context.seed)


TESTS: tuple[Callable[[Context, str], str | None], ...] = (
    move, manual, postcopy, recover, leave, back, multifd, two, rollback, late, cut, restart, gone, debian, trim, libvirt, same, harm)
ALL = {test.__name__: test for test in TESTS}
# There and back.
SHORT = ("back",)
