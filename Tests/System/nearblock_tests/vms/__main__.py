"""test vms [--short] [--keep] [--runs N] [--seed S] [--qemu PROGRAM] [--qemu-there PROGRAM] [TEST ...]

Moves running guests with migrate-vm between two sites, which are network and mount namespaces of this machine joined by an
emulated WAN. A Debian kernel in QEMU, without KVM, works on ext4 on nearblock exports all the time, and verifies with fio.
Each test fails on an I/O error in the guest's kernel log, a byte that fio or a digest does not find, an image that is not
what the guest says it wrote, or one that e2fsck complains of. The tests:
  move            switched over by the guest's first write; prints how long the guest stood still, and its writes
  manual          switched over between QEMU's pre-switchover and its end
  postcopy        the guest runs there after a second of copying its memory, and the rest follows: with its first write, and
                  manual; an attempt before that is interrupted, and undone
  recover         as postcopy; the nodes are killed and started again while the rest follows
  leave           as postcopy; migrate-vm is interrupted while the rest follows: the guest stays there
  back            there and back again
  multifd         the memory goes over several connections of QEMU
  two             a guest with two disks
  rollback        QEMU there does not start, then dies while the memory moves, then migrate-vm is interrupted: the guest
                  goes on unaware each time, and the next attempt succeeds
  late            the memory fails after the switchover of the disks: the guest goes on here, and the next attempt moves it
  cut             the link is cut for 30 s while disks move, and memory by QEMU's own connection; again after the switchover
  restart         both nodes are killed and started again while they do so, and after the switchover
  gone            the source's machine is gone after the end
  debian          a Debian that has booted from the disk
  trim            the guest's agent trims first: the disk costs less; QEMU ignores discards, or the agent is silent: it moves,
                  and a line says so
  libvirt         a domain moves from one libvirt to another and back, after a first attempt that is interrupted; its agent trims
  same            both QEMUs stand still after a move: the guest's memory is equal, byte for byte
  harm            --runs moves to and fro (default: 10). In each the link is cut, a node or the QEMU there is killed, or
                  migrate-vm is interrupted, at a random moment: exactly one site has the guest afterwards. --seed plays
                  the choices of a run again, and not its timing
--qemu and --qemu-there name other QEMUs than the one that is installed, for this site and the other one; libvirt's domains
have the one that is installed. --short runs back; about a minute. --keep leaves the folders of tests that failed. Needs root,
for the namespaces and for a guest that is not disturbed by other load (see vms/guest.py). nearblock is taken from
.build/release, or from $NEARBLOCK.
"""
import argparse
import os
import random
import shutil
import signal
import sys
import tempfile
import time

from machine.qmp import QmpError
from nearblock_tests.nodes import NodeFailure
from nearblock_tests.repository import SuiteParser, install, positive, release_binary
from nearblock_tests.vms import tests
from nearblock_tests.vms.guest import GuestFailure
from nearblock_tests.vms.kernel import make_kernel, make_relay
from nearblock_tests.vms.sites import QEMU
from nearblock_tests.vms.world import Context, Failure

LOGS = ("near/log", "far/log", "near/console.log", "far/console.log", "migrate-vm.log", "fsck.log")


def parse() -> argparse.Namespace:
    parser = SuiteParser("vms", __doc__)
    parser.add_argument("--short", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--keep", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--runs", type=positive, default=10, help=argparse.SUPPRESS)
    parser.add_argument("--seed", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--qemu", default=QEMU, help=argparse.SUPPRESS)
    parser.add_argument("--qemu-there", default=QEMU, help=argparse.SUPPRESS)
    parser.add_argument("tests", nargs="*", help=argparse.SUPPRESS)
    options = parser.parse_args()
    for name in options.tests:
        if name not in tests.ALL:
            parser.error(f"there is no test '{name}'")
    if os.geteuid() != 0:
        parser.error("it makes namespaces: run it as root")
    options.tests = options.tests or (tests.SHORT if options.short else list(tests.ALL))
    return options


def run(name: str, context: Context, keep: bool) -> bool:
    """Whether the test passed."""
    began = time.monotonic()
    folder = tempfile.mkdtemp(prefix="nearblock-vm-")
    word, notes = "FAILED", "an exception"
    try:
        word, notes = "ok", tests.ALL[name](context, folder) or ""
    except (Failure, GuestFailure, QmpError, NodeFailure) as failure:
        word, notes = "FAILED", f"{failure}; see {folder}" if keep else str(failure)
        show_logs(folder)
    finally:
        if word == "ok" or not keep:
            shutil.rmtree(folder)
    print(f"{word:7} {name:10} {time.monotonic() - began:3.0f} s  {notes}", flush=True)
    return word == "ok"


def show_logs(folder: str) -> None:
    for log in LOGS:
        try:
            with open(f"{folder}/{log}", errors="replace") as file:
                lines = file.read().splitlines()
        except FileNotFoundError:
            continue
        for line in lines[-12:]:
            print(f"  {log}: {line}", file=sys.stderr)


def main() -> int:
    options = parse()
    # Whatever was started ends with it.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    install("build", "guest", "bench", *(["libvirt"] if "libvirt" in options.tests else []))
    with tempfile.TemporaryDirectory(prefix="nearblock-vm-") as scratch:
        seed = random.randrange(1 << 32) if options.seed is None else options.seed
        context = Context(release_binary(), make_relay(scratch), make_kernel(scratch), options.runs, seed,
                          (options.qemu, options.qemu_there))
        results = [run(name, context, options.keep) for name in options.tests]
    print(f"{sum(results)} passed, {len(results) - sum(results)} failed")
    return 0 if all(results) else 1


if __name__ == "__main__":
    sys.exit(main())
