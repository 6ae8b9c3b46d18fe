"""test compat [--short] [--old COMMIT] [--binary PATH] [--seed S] [--keep] [--list] [CASE ...]

Moves disks between an old build of nearblock and a new one, both ways, and starts nodes with the state that the other build
wrote. A client writes and verifies meanwhile; in the end whole images are compared with what it wrote. The cases:
  move             pre-copy, post-copy, first-write, a group of two disks, an index that the other build made, there and back,
                   a chain of three nodes, TLS with keys of both kinds
  restart          the source, the destination or both are killed while half is copied, at the switchover, while blocks are
                   missing, and when all is complete, or stopped while blocks are missing, and are started again by the
                   other build: nothing is lost, or sent again. `often` kills both at random moments, and changes the build
                   each time
  control A->B     the command line of build A with nodes of B: status, migrate, rate, switch, cancel, checkpoint, record
  index A, B       an index that both builds change in turn
  records A, B     disks that build A has moved, whose images were replaced: B holds them back until it is told which they are
  configurations, options, statuses
                   the same files and command lines have the same effect in both builds
CASE is a pattern for their names: test compat 'restart source*'. --list prints the names.

The old build is made from COMMIT and kept in .build/compat, which takes 7 minutes once. By default it is the newest tag v* that
HEAD has, or b4b5791, the last commit before the rebuild of the sources. The new one is .build/release/nearblock, $NEARBLOCK or
PATH. --short leaves out most restarts, and half of the moves; --seed S has the disks and clients of another run; --keep leaves
the folders of cases that went well.

Left out, as the older build's docs/limits.md has it: b4b5791 refuses a directory with ca-crl.pem for peers, so that a
node whose directory has one can't go back to it.
"""
import argparse
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import partial

from nearblock_tests.compat import encrypted, interfaces, moves
from nearblock_tests.compat.builds import Build, Builds, old_commit, old_program
from nearblock_tests.compat.restarts import MOMENTS, Restart, often
from nearblock_tests.compat.scene import Failure, Scene
from nearblock_tests.nodes import NodeFailure
from nearblock_tests.repository import SuiteParser, install, release_binary

MOVES = {
    "pre-copy": moves.precopy, "post-copy": moves.postcopy, "first-write": moves.first_write, "group": moves.group,
    "index": moves.neighbour, "back": moves.back, "chain": moves.chain, "tls": encrypted.tls, "rsa": encrypted.rsa,
}
SHORT_MOVES = ("post-copy", "index", "chain", "tls")


@dataclass(frozen=True)
class Case:
    name: str
    is_short: bool
    perform: Callable[[Scene], str]


def move_cases(builds: Builds) -> list[Case]:
    return [Case(f"move {name} {near.name}->{far.name}", name in SHORT_MOVES,
                 partial(move, near=near, far=far))
            for name, move in MOVES.items() for near, far in builds.pairs()]


def restart_cases(builds: Builds) -> list[Case]:
    """Both nodes at once, and each beside an old and a new one. The short ones are those of both nodes before the end."""
    cases = []
    for moment in MOMENTS:
        for before, after in builds.pairs():
            for victims in ("source", "destination", "both"):
                for beside in (builds.old, builds.new) if victims != "both" else (before,):
                    name = f"restart {victims} {moment} {before.name}->{after.name}"
                    if victims != "both":
                        name += f" beside {beside.name}"
                    cases.append(Case(name, victims == "both" and moment != "complete",
                                      Restart(victims, moment, before, after, beside)))
    return [*cases, Case("restart often", True, partial(often, builds=builds))]


def other_cases(builds: Builds) -> list[Case]:
    cases = [Case(f"control {command.name}->{node.name}", True,
                  lambda scene, command=command, node=node: interfaces.control(scene, command, node))  # type: ignore[misc]
             for command, node in builds.pairs()]
    cases += [Case(f"index {first.name}, {second.name}", True, partial(interfaces.index, first=first, second=second))
              for first, second in builds.pairs()]
    cases += [Case(f"records {first.name}, {second.name}", True, partial(interfaces.records, first=first, second=second))
              for first, second in builds.pairs()]
    return [*cases, Case("configurations", True, partial(interfaces.configurations, builds=builds)),
            Case("options", True, partial(interfaces.options, builds=builds)),
            Case("statuses", True, partial(interfaces.statuses, builds=builds))]


def parse() -> argparse.Namespace:
    parser = SuiteParser("compat", __doc__)
    parser.add_argument("--short", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--old", metavar="COMMIT", help=argparse.SUPPRESS)
    parser.add_argument("--binary", help=argparse.SUPPRESS)
    parser.add_argument("--seed", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--keep", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--list", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("cases", nargs="*", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.binary and not os.access(options.binary, os.X_OK):
        parser.error(f"--binary: {options.binary} is no program")
    return options


def run(case: Case, seed: int, keep: bool) -> bool:
    """Whether the case passed."""
    began, folder = time.monotonic(), tempfile.mkdtemp(prefix="nearblock-compat-")
    word, notes = "FAILED", ""
    try:
        with Scene(folder, seed) as scene:
            notes = case.perform(scene)
        word = "ok"
    except (Failure, NodeFailure, subprocess.TimeoutExpired, KeyError, ValueError) as failure:
        # The last two come of answers that lack something, or are no JSON.
        notes = f"{failure!r}; see {folder}" if isinstance(failure, (KeyError, ValueError)) else f"{failure}; see {folder}"
    if word == "ok" and not keep:
        shutil.rmtree(folder)
    print(f"{word:7} {case.name:50} {time.monotonic() - began:3.0f} s  {notes}".rstrip(), flush=True)
    return word == "ok"


def main() -> int:
    options = parse()
    # Nodes and clients end with the suite.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    # The names of the cases need no programs.
    builds = Builds(Build("old", ""), Build("new", ""))
    if not options.list:
        install("build", "test")
        new = os.path.realpath(options.binary) if options.binary else release_binary()
        builds = Builds(Build("old", old_program(old_commit(options.old))), Build("new", new))
    cases = [case for case in move_cases(builds) + restart_cases(builds) + other_cases(builds)
             if (case.is_short or not options.short)
             and (not options.cases or any(fnmatchcase(case.name, pattern) for pattern in options.cases))]
    if options.list:
        print("\n".join(case.name for case in cases))
        return 0
    if not cases:
        sys.exit(f"test compat: no case is called {' or '.join(options.cases)}; see test compat --list")
    seed = random.randrange(1 << 32) if options.seed is None else options.seed
    results = [run(case, seed, options.keep) for case in cases]
    print(f"seed {seed}: {sum(results)} passed, {len(results) - sum(results)} failed")
    return 0 if all(results) else 1


if __name__ == "__main__":
    sys.exit(main())
