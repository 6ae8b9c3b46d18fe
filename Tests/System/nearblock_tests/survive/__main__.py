"""test survive [--short] [--format FORMAT] [--runs N] [--seed S] [--binary PATH] [--keep]

Moves one or two disks between two real nodes on this machine while a guest writes to them and verifies, and does harm
meanwhile: kills either node with SIGKILL at random moments and starts it again, and cuts the link for up to seconds. Each
run has a seed of its own, which is printed; --seed S --runs 1 plays its choices again (not its timing). Nobody asks for
the migration again: it goes on by itself. The first run that loses a write, does not get to its end, hands one of two
disks over without the other, or sends more than 2 % of the data again for each cut or kill (measured where no guest
writes, and no helper of the destination is killed; fingerprints included), ends the script with status 1 and leaves its
folder behind.

The guest is fio. Where helpers are killed as well, it is a writer that repeats what it had not flushed. The guest's node is
killed only in runs in which no guest is attached to it.

--format FORMAT is what the disks are kept in at both nodes:
  raw      files (the default)
  qcow2    with a backing file and an internal snapshot at the source, made by nbd-scripts/targets/qcow2 at the destination
  loop     loop devices with sectors of 4096 bytes, full of old bytes at the destination; needs root
  vmdk, vdi, vhdx
In some runs the qemu-storage-daemon of a disk is killed too, at either node. Afterwards the images are compared with what the
guest has written, and checked by QEMU.

--runs N (default 20; --short: 3 raw ones and 1 with qcow2), --binary PATH in the place of .build/debug/nearblock, which is
built where it is not there; --keep leaves the folders of runs that went well.
"""
import argparse
import os
import random
import shutil
import subprocess
import sys
import tempfile

from nearblock_tests.nodes import NodeFailure
from nearblock_tests.repository import SuiteParser, debug_binary, install, positive
from nearblock_tests.survive.machine import Failure, Machine
from nearblock_tests.survive.storage import KINDS


def run(binary: str, folder: str, seed: int, kind: str) -> None:
    machine = Machine(binary, folder, seed, kind)
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
            if more > 2 * cuts + 1 and not machine.has_lost_place:
                raise Failure("more than 2 % of the data was sent again after a cut or a kill")
    finally:
        machine.stop()


def parse() -> argparse.Namespace:
    parser = SuiteParser("survive", __doc__)
    add = parser.add_argument
    add("--short", action="store_true", help=argparse.SUPPRESS)
    add("--format", choices=KINDS, help=argparse.SUPPRESS)
    add("--runs", type=positive, help=argparse.SUPPRESS)
    add("--seed", type=int, help=argparse.SUPPRESS)
    add("--binary", help=argparse.SUPPRESS)
    add("--keep", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.binary and not os.access(options.binary, os.X_OK):
        parser.error(f"--binary: {options.binary} is no program")
    return options


def kinds(options: argparse.Namespace) -> list[str]:
    """Of each run."""
    if options.short and not options.runs and not options.format:
        return ["raw"] * 3 + ["qcow2"]
    return [options.format or "raw"] * (options.runs or (3 if options.short else 20))


def main() -> int:
    options = parse()
    install("build", "test")
    binary = os.path.abspath(options.binary or debug_binary())
    first = options.seed if options.seed is not None else random.randrange(1 << 32)
    runs = kinds(options)
    for index, kind in enumerate(runs):
        folder = tempfile.mkdtemp(prefix="nearblock-survive-")
        try:
            run(binary, folder, first + index, kind)
        except (Failure, NodeFailure, subprocess.SubprocessError) as failure:
            print(f"survive: seed {first + index}: {failure}; see {folder}", file=sys.stderr)
            return 1
        if not options.keep:
            shutil.rmtree(folder)
    print(f"{len(runs)} runs, nothing lost")
    return 0


if __name__ == "__main__":
    sys.exit(main())
