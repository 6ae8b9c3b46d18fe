"""test package [--short] [--restarts N] [--binary PATH] [--before DEB] [--keep] [TEST ...]

Builds the Debian package with nbd-scripts/package, twice, which takes 3 minutes and 5 to 8 more where nothing is built yet. Tests
it in a minimal Debian without Swift, under a systemd of its own in namespaces of this machine. Needs root, and cgroup2. The tests:
  form            lintian, the program's libraries and build id, manual pages, completions, /etc/nearblock.conf; 30 s
  service         installed, used, confined (systemd-analyze security), a disk arrives at the socket unit, removed, purged; 30 s
  upgrade         from the version before and back while QEMU, the kernel's client and libnbd write and verify; 2 minutes
  restarts        N times systemctl restart (100; --short: 5) under the same load, while a disk moves; 40 s and 3 s for each
No client may see an error, and none may be refused. --before names a package to upgrade from; without it the same program is
packed twice. --binary is passed on to nbd-scripts/package. --keep leaves the folders of tests that failed.
"""
import argparse
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path

from nearblock_tests import initrd
from nearblock_tests.guests import bench
from nearblock_tests.nodes import NodeFailure
from nearblock_tests.package import packages, tests
from nearblock_tests.package.machine import Failure, make_root
from nearblock_tests.repository import SuiteParser, cache_folder, install, positive

LOGS = ("boot.log", "writer.log", "qemu/console", "kernel/console", "taker/log", "source/log")


def parse() -> argparse.Namespace:
    parser = SuiteParser("package", __doc__)
    parser.add_argument("--short", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--restarts", type=positive, help=argparse.SUPPRESS)
    parser.add_argument("--binary", help=argparse.SUPPRESS)
    parser.add_argument("--before", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--keep", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("tests", nargs="*", help=argparse.SUPPRESS)
    options = parser.parse_args()
    for name in options.tests:
        if name not in tests.ALL:
            parser.error(f"there is no test '{name}'")
    options.tests = options.tests or list(tests.ALL)
    options.restarts = options.restarts or (5 if options.short else 100)
    return options


def show_logs(folder: Path) -> None:
    for log in LOGS:
        file = folder / log
        if file.exists():
            for line in file.read_text(errors="replace").splitlines()[-15:]:
                print(f"  {log}: {line}", file=sys.stderr)


def run(name: str, made: packages.Packages, archive: Path, kernel: Path, options: argparse.Namespace) -> bool:
    """Whether the test passed."""
    began = time.monotonic()
    folder = Path(tempfile.mkdtemp(prefix="nearblock-package-"))
    passed, notes = False, ""
    try:
        tests.ALL[name](tests.Context(made, archive, folder, kernel, options.restarts))
        passed = True
    except (Failure, NodeFailure, bench.Failure) as failure:
        notes = f"{failure}; see {folder}" if options.keep else str(failure)
        show_logs(folder)
    finally:
        if passed or not options.keep:
            shutil.rmtree(folder)
    print(f"{'ok' if passed else 'FAILED':7} {name:12} {time.monotonic() - began:3.0f} s  {notes}".rstrip(), flush=True)
    return passed


def root_archive(made: packages.Packages) -> Path:
    """A Debian for packages with these dependencies; kept."""
    depends = made.dependencies()
    archive = cache_folder() / "package-root.tar"
    listing = archive.with_suffix(".list")
    if not archive.exists() or not listing.exists() or listing.read_text() != "\n".join(depends):
        make_root(archive, depends)
        listing.write_text("\n".join(depends))
    return archive


def main() -> int:
    options = parse()
    # Whatever was started ends with it.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    install("build", "guest", "test", "root")
    folder = Path(tempfile.mkdtemp(prefix="nearblock-packages-"))
    try:
        made = packages.build(folder, options.binary, options.before)
        archive, kernel = root_archive(made), cache_folder() / "guest"
        if {"upgrade", "restarts"} & set(options.tests):
            initrd.make(kernel)
        results = [run(name, made, archive, kernel, options) for name in options.tests]
    finally:
        shutil.rmtree(folder)
    print(f"{sum(results)} passed, {len(results) - sum(results)} failed")
    return 0 if all(results) else 1


if __name__ == "__main__":
    sys.exit(main())
