"""Moves to and fro, with one harm at a random moment of each: afterwards exactly one site has the guest."""
import dataclasses
import random
import signal
import time
from collections.abc import Callable

from machine.qmp import QmpError
from nearblock_tests.vms.monitor import open_monitor, run_state
from nearblock_tests.vms.sites import Site
from nearblock_tests.vms.world import Context, Failure, Move, World

# The runs after which the guest ends, its disk is compared with what it wrote, and another guest begins.
RUNS_A_WORLD = 10
# Seconds within which a harm comes: a move without one takes about as long.
SPAN = 8.0
# Seconds for which a link is cut. The last is longer than the nodes wait for each other's packets.
CUTS = (0.3, 3, 12)
# Seconds within which a guest that runs writes.
LIFE = 30.0


@dataclasses.dataclass
class Tally:
    """The ends of the runs so far."""

    stayed: int = 0
    moved: int = 0
    # The QEMU that had the guest by then was killed.
    died: int = 0

    def __str__(self) -> str:
        return f"{self.moved} moved, {self.stayed} stayed, {self.died} ended with the QEMU that had the guest"


class GuestDied(Exception):
    """The harm has killed the QEMU that the guest ran in."""


class Run:
    """One move from `source` to `target`."""

    def __init__(self, world: World, source: Site, target: Site, chance: random.Random) -> None:
        self.world, self.source, self.target, self.chance = world, source, target, chance
        self.has_killed_target = False
        # The source's QEMU had given the guest away when the one there was killed.
        self.was_complete = False

    def cut(self, move: Move) -> None:
        seconds = self.chance.choice(CUTS)
        self.world.sites.wan.cut()
        time.sleep(seconds)
        self.world.sites.wan.mend()

    def kill_source_node(self, move: Move) -> None:
        self.restart(self.source)

    def kill_target_node(self, move: Move) -> None:
        self.restart(self.target)

    def kill_target(self, move: Move) -> None:
        self.has_killed_target = True
        self.target.end_qemu()
        self.was_complete = is_complete(self.source)

    def interrupt(self, move: Move) -> None:
        move.process.send_signal(signal.SIGTERM)

    def restart(self, site: Site) -> None:
        site.node.kill()
        time.sleep(self.chance.uniform(0, 1))
        site.node.start()

    def play(self) -> str:
        """Returns the harm and the end, in words."""
        harms: tuple[Callable[[Move], None], ...] = (
            self.cut, self.kill_source_node, self.kill_target_node, self.kill_target, self.interrupt)
        harm = self.chance.choice(harms)
        delay = self.chance.uniform(0, SPAN)
        options = ["--patience", "30"]
        if self.chance.random() < 0.3:
            options += ["--switch", "manual"]
        if self.chance.random() < 0.3:
            options.append("--at-once")
        since = time.monotonic()
        move = self.world.move(*options, source=self.source, target=self.target)
        while move.process.poll() is None and time.monotonic() < since + delay:
            time.sleep(0.02)
        harm(move)
        move.communicate(240)
        return f"{harm.__name__} after {delay:.1f} s, {' '.join(options[2:]) or 'no option'}: {move.last()}"

    def find_guest(self, words: str) -> Site:
        """The site that has the guest. Raises GuestDied where the harm has killed it."""
        states = {site.name: run_state(site) for site in (self.source, self.target)}
        running = [site for site in (self.source, self.target) if states[site.name] == "running"]
        if len(running) == 1:
            return running[0]
        if not running and self.has_killed_target and self.was_complete:
            raise GuestDied
        raise Failure(f"the guest runs {'at both sites' if running else 'nowhere'}: {states}; {words}")


def is_complete(site: Site) -> bool:
    """Whether the QEMU at a site has given its guest away; one that has ended did so after that."""
    try:
        with open_monitor(site) as monitor:
            state: str = monitor.execute("query-migrate").get("status", "none")
            return state == "completed"
    except QmpError:
        return True


def wait_for_life(world: World) -> None:
    """Until the guest has written something; blocks that are still at the other site may take their time."""
    since = time.monotonic()
    while not any(word == "w" and when > since for when, word in list(world.guest.beats)):
        if time.monotonic() > since + LIFE:
            raise Failure(f"the guest has written nothing for {LIFE:.0f} s")
        time.sleep(0.1)


def play_world(context: Context, folder: str, seed: int, runs: int, tally: Tally) -> int:
    """Returns the number of runs that it played: a guest that dies ends the world early."""
    chance = random.Random(seed)
    with World(context, folder, still=16) as world:
        here, there = world.near, world.far
        for number in range(1, runs + 1):
            run = Run(world, here, there, chance)
            words = f"seed {seed}, run {number}: {run.play()}"
            try:
                site = run.find_guest(words)
            except GuestDied:
                tally.died += 1
                return number
            finally:
                print(f"  {words}", flush=True)
            wait_for_life(world)
            if site is there:
                tally.moved += 1
                here, there = there, here
            else:
                tally.stayed += 1
            # The one that waits there is of no use to the next attempt.
            there.end_qemu()
        world.move(source=here, target=there).finish()
        wait_for_life(world)
        world.end_guest(there)
        return runs


def play(context: Context, make_folder: Callable[[], str], runs: int, seed: int) -> str:
    """Plays so many runs, in as many worlds as they take."""
    tally, played = Tally(), 0
    while played < runs:
        played += play_world(context, make_folder(), seed + played, min(RUNS_A_WORLD, runs - played), tally)
    return f"{played} runs: {tally}"
