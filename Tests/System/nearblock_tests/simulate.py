"""test simulate [--short] [--seeds N] [--seed S] [--trace]

Plays migrations in simulated time: two nodes, a guest, links that are cut, processes and machines that crash, and an
operator who gets in the way. Each seed is one game that goes the same way each time. N seeds are played from S on
(defaults: 20000, or 2000 with --short, and a new S each time). A seed that breaks an invariant is named with what it broke.
--trace prints what happened in the first of them, or in the first seed where none does.

A run says every 10 s how far it is. A seed that does not end, or whose process is killed, is named, and the exit status
then is not 0.
"""
import argparse
import os
import signal
import subprocess
import sys
import tempfile
from types import FrameType

from nearblock_tests.repository import ROOT, SuiteParser, note, positive, swift


def parse() -> argparse.Namespace:
    parser = SuiteParser("simulate", __doc__)
    parser.add_argument("--short", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--seeds", type=positive, help=argparse.SUPPRESS)
    parser.add_argument("--seed", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--trace", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.seed is not None and options.seed < 0:
        parser.error("--seed needs a number from 0")
    return options


def environment(options: argparse.Namespace, in_play: str) -> dict[str, str]:
    seeds = options.seeds or (2000 if options.short else 20000)
    values = {**os.environ, "NEARBLOCK_SEEDS": str(seeds), "NEARBLOCK_SEEDS_IN_PLAY": in_play}
    if options.seed is not None:
        values["NEARBLOCK_SEED"] = str(options.seed)
    if options.trace:
        values["NEARBLOCK_TRACE"] = "1"
    return values


def play(values: dict[str, str]) -> int:
    """The tests are a process group of their own, which a signal to this process ends as a whole."""
    # The simulator needs none of what the other tests do, and an optimised build plays ten times as fast.
    tests = subprocess.Popen(
        [swift(), "test", "-c", "release", "-Xswiftc", "-enable-testing", "--scratch-path", ".build/simulate",
         "--filter", "SimulationTests.SimulationTests/seeds"], cwd=ROOT, env=values, process_group=0)

    def stop(_: int, __: FrameType | None) -> None:
        os.killpg(tests.pid, signal.SIGTERM)

    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM):
        signal.signal(number, stop)
    return tests.wait()


def main() -> int:
    options = parse()
    # The process keeps the seeds that it plays in this file, so that they are known whatever ends it.
    with tempfile.NamedTemporaryFile(prefix="nearblock-seeds.") as in_play:
        status = play(environment(options, in_play.name))
        if status:
            # Lines that begin with a space are of no seed.
            lines = in_play.read().decode(errors="replace").replace("\0", "").splitlines()
            for line in (line.rstrip() for line in lines):
                if line.startswith("simulation: "):
                    note(line)
    return 1 if status else 0


if __name__ == "__main__":
    sys.exit(main())
