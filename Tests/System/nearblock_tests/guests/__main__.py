"""test guests [--short] [--seconds N] [--seed S] [--keep] [TEST ...]

Runs nearblock under real guests, in QEMU without KVM: the kernel's nbd-client inside a Debian guest, and QEMU's own
NBD client with a guest on top. What the guest writes is verified by fio, its file systems by e2fsck; any I/O error in
a guest's kernel log fails the test. The tests:
  client          nbd-client: mkfs, mount, fio with verification, fstrim, e2fsck, disconnect
  connections     the same with four connections (-C 4)
  kinds           the list, an odd size, block sizes of 512 and 4096, a read-only export
  tls             the same as client, through TLS
  kernel          nearblock itself in the guest, on Debian 12's kernel, as on a host: the same as client, and vsock
  restarts        the kernel's client, with one connection and with four, the server killed and restarted under load
  reconnect       QEMU with reconnect-delay, the server killed and restarted under load
  attach          attach and detach: sizes, connections, devices in use, TLS, the server killed, the keeper killed
  xen             Xen's hotplug script with a stand-in for Xen's store: add, remove, refusals, a domain that migrates
  move            the storage of a busy file system on the kernel's client moves to another node, the first one is killed
                  and started again before the switchover and behind it
  volumes         LVM's volumes whose device numbers are swapped after a move, in the middle of one, and by another volume
  places          LVM's volumes and thin volumes as places of disks that arrive, full of old bytes
  thin            disks that move from thin volumes to thin volumes while either node is killed; --seed S makes the choices again
  boot            QEMU boots a real Debian disk, which is checked afterwards; the server is restarted meanwhile
In restarts nbd-client attaches the device, and nbd-keep connects it again; nbd-client -persist itself does not,
whatever the server: up to 3.26 it has no effect where netlink is used, and without netlink the kernel's call returns
no error when a server goes away, upon which the client leaves; 3.27 hears of the dead connection and makes no other.
--short leaves out boot, places and thin, and makes the others short; --seconds N is the time under load (default 20). --keep
leaves the folders of tests that failed. nearblock is taken from .build/release, or from $NEARBLOCK.
"""
import argparse
import random
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path

from nearblock_tests import initrd
from nearblock_tests.guests import tests
from nearblock_tests.guests.bench import Bench, Failure
from nearblock_tests.nodes import NodeFailure
from nearblock_tests.repository import SuiteParser, cache_folder, install, positive, release_binary

LOGS = ("console", "qemu.log", "server/log", "destination/log", "fsck.log")


def parse() -> argparse.Namespace:
    parser = SuiteParser("guests", __doc__)
    parser.add_argument("--short", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--seconds", type=positive, help=argparse.SUPPRESS)
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 31), help=argparse.SUPPRESS)
    parser.add_argument("--keep", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("tests", nargs="*", help=argparse.SUPPRESS)
    options = parser.parse_args()
    for name in options.tests:
        if name not in tests.ALL:
            parser.error(f"there is no test '{name}'")
    options.tests = options.tests or [name for name in tests.ALL if not options.short or name not in ("boot", "places", "thin")]
    options.seconds = options.seconds or (5 if options.short else 20)
    return options


def show_logs(folder: Path) -> None:
    for log in LOGS:
        file = folder / log
        if file.exists():
            for line in file.read_text(errors="replace").splitlines()[-15:]:
                print(f"  {log}: {line}", file=sys.stderr)


def run(name: str, nearblock: str, made: Path, seconds: int, seed: int, keep: bool) -> bool:
    """Whether the test passed."""
    began = time.monotonic()
    folder = Path(tempfile.mkdtemp(prefix="nearblock-guest-"))
    passed, notes = False, ""
    try:
        with Bench(folder, nearblock, made, seconds, seed) as bench:
            tests.ALL[name](bench)
        passed = True
    except (Failure, NodeFailure) as failure:
        notes = f"{failure}; see {folder}" if keep else str(failure)
        show_logs(folder)
    finally:
        if passed or not keep:
            shutil.rmtree(folder)
    print(f"{'ok' if passed else 'FAILED':7} {name:12} {time.monotonic() - began:3.0f} s  {notes}".rstrip(), flush=True)
    return passed


def main() -> int:
    options = parse()
    # Whatever was started ends with it.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    install("build", "guest")
    nearblock, made = release_binary(), cache_folder() / "guest"
    initrd.make(made)
    results = [run(name, nearblock, made, options.seconds, options.seed, options.keep) for name in options.tests]
    print(f"{sum(results)} passed, {len(results) - sum(results)} failed")
    return 0 if all(results) else 1


if __name__ == "__main__":
    sys.exit(main())
