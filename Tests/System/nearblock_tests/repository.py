"""The repository, the programs that are built from it, and what the suites run."""
import argparse
import os
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO, NoReturn

ROOT = Path(__file__).resolve().parents[3]
SCRIPTS = ROOT / "nbd-scripts"
SYSTEM = ROOT / "Tests/System"

# As many tests at once as keep two cores busy: thousands of threads and descriptors make each other late.
PARALLEL_TESTS = "6"


class SuiteParser(argparse.ArgumentParser):
    """Says in one line what is wrong, and ends with status 2. The suite's description is its whole help."""

    def __init__(self, suite: str, description: str | None) -> None:
        super().__init__(prog=f"test {suite}", usage=argparse.SUPPRESS, description=description, allow_abbrev=False,
                         formatter_class=argparse.RawDescriptionHelpFormatter)

    def error(self, message: str) -> NoReturn:
        print(f"{self.prog}: {message}; see nbd-scripts/{self.prog} --help", file=sys.stderr)
        sys.exit(2)


def positive(text: str) -> int:
    """A whole number from 1, as an option has it."""
    if not text.isascii() or not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"'{text}' is no number from 1")
    return int(text)


def note(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def install(*sets: str) -> None:
    """Installs the packages of these sets of nbd-scripts/install-packages that are missing; ends the suite where it can't."""
    if status := subprocess.run([SCRIPTS / "install-packages", *sets]).returncode:
        sys.exit(status)


def swift() -> str:
    """The path of Swift's driver; ends the suite where there is none."""
    return shutil.which("swift") or sys.exit(
        "swift is missing: install Swift 6.1 or later from https://www.swift.org/install and put it into PATH")


def test_environment(**more: str) -> dict[str, str]:
    """The environment in which tests are built and run. They run Debian's Python, which has libnbd's bindings, wherever
    another one is."""
    environment = {"SWT_EXPERIMENTAL_MAXIMUM_PARALLELIZATION_WIDTH": PARALLEL_TESTS, **os.environ, **more}
    environment["PATH"] = f"/usr/bin:{os.environ['PATH']}:/usr/sbin:/sbin"
    return environment


def release_binary() -> str:
    """The path of an optimised nearblock: $NEARBLOCK, or .build/release/nearblock, which is built where it is not there."""
    given = os.environ.get("NEARBLOCK")
    path = given or str(ROOT / ".build/release/nearblock")
    if not os.access(path, os.X_OK):
        if given:
            sys.exit(f"there is no program at {path}, which NEARBLOCK names")
        subprocess.run([swift(), "build", "-c", "release"], cwd=ROOT, check=True, stdout=sys.stderr)
    return os.path.realpath(path)


def debug_binary() -> str:
    """The path of .build/debug/nearblock, which is built where it is not there."""
    path = ROOT / ".build/debug/nearblock"
    if not os.access(path, os.X_OK):
        subprocess.run([swift(), "build", "--product", "nearblock"], cwd=ROOT, check=True, stdout=sys.stderr)
    return str(path)


def cache_folder() -> Path:
    """Where large disks are kept between runs."""
    caches = os.environ.get("XDG_CACHE_HOME", os.path.expanduser("~/.cache"))
    return Path(os.environ.get("NEARBLOCK_CACHE", f"{caches}/nearblock"))


def follow(command: Sequence[str], environment: Mapping[str, str], look: Callable[[str], None]) -> int:
    """Runs a command in the repository, passes on what it says line by line, and returns its status. SIGTERM ends it."""
    with subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          encoding="utf-8", errors="replace") as process:
        signal.signal(signal.SIGTERM, lambda number, _: process.send_signal(number))
        output: IO[str] = process.stdout or sys.exit(f"no output of {shlex.join(command)}")
        for line in output:
            print(line, end="", flush=True)
            look(line)
    return process.returncode
