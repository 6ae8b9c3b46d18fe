"""test [--short] [--within MINUTES] [SUITE [OPTION ...]] ... [-- ARGUMENT ...]

Runs the suites that are named, one after the other; without a name the unit tests. A suite's options follow its name, as
in: test lint survive --runs 3 fuzz --seconds 20 peer. Every suite installs the packages and builds the programs that it
needs. The last line says which suites failed; the exit status then is 1.

  --short             the short version of each suite that has one, as CI runs them
  --within MINUTES    begins no suite later than that, and names those that it leaves out
  --                  what follows is passed on to the last suite, even if it is a suite's name
"""
import argparse
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from types import FrameType
from typing import NoReturn

from nearblock_tests.repository import positive


@dataclass(frozen=True)
class Suite:
    """`long` and `short` are minutes on 2 cores, without the build; `short` is None where there is no short version."""

    name: str
    long: str
    short: str | None
    text: str


SUITES = (
    Suite("unit", "5", None, "all tests of swift test, which takes the options: test --filter RingTests"),
    Suite("lint", "0.2", None, "the form of code, scripts, documents and commits"),
    Suite("guests", "9", "5", "the kernel's client and QEMU in Debian guests"),
    Suite("vms", "12", "1", "guests that move with migrate-vm, memory and disks"),
    Suite("targets", "2", None, "the places of disks that arrive, and a Debian that moves there and back"),
    Suite("ceph", "14", "8", "a site in RADOS, and disks on RBD that another host takes over"),
    Suite("backup", "0.3", None, "full and incremental backups as virtnbdbackup makes them, over a move"),
    Suite("survive", "5", "1", "moves with killed nodes and cut links, under a verifying fio"),
    Suite("site", "5", "1.5", "hosts of a site in namespaces: disks at all of them, and what is done to them"),
    Suite("monitoring", "0.6", None, "metrics with Prometheus, the block map in Chromium, the log"),
    Suite("compat", "6", "2", "moves and restarts between an older build and this one"),
    Suite("package", "12", "7", "the Debian package: lintian, systemd, upgrade and restarts under load"),
    Suite("fuzz", "1", "0.3", "libFuzzer on what reads foreign bytes"),
    Suite("sanitize", "6", "1", "server, devices and ring with the thread and the address sanitizer"),
    Suite("simulate", "1.2", "0.2", "migrations in simulated time, by their seeds"),
    Suite("docs", "0.5", None, "DocC archives of the library targets, without warnings"),
    Suite("guide", "0.5", None, "every command of the guide and the troubleshooting page, on two hosts"),
    Suite("soak", "5", "0.5", "random requests of four clients against a model"),
)
# Several suites under one name.
GROUPS = {"system": ("guests", "vms", "survive")}
NAMES = [suite.name for suite in SUITES]
HAVE_SHORT = {suite.name for suite in SUITES if suite.short}


@dataclass
class Run:
    suite: str
    options: list[str]


@dataclass
class Plan:
    """`minutes` is after how many minutes no further run begins; None for no end."""

    runs: list[Run]
    minutes: int | None


def help_text() -> str:
    rows = [f"  {suite.name:<10} {suite.long:>5} {suite.short or '-':>5}  {suite.text}" for suite in SUITES]
    groups = [f"  {name:<10} {'':>5} {'':>5}  {', '.join(parts)}" for name, parts in GROUPS.items()]
    return "\n".join([f"{__doc__}", "  suite       long short  minutes on 2 cores, without the build", *rows, *groups, "",
                      "test SUITE --help lists the options of a suite."])


def refuse(problem: str) -> NoReturn:
    print(f"test: {problem}; see nbd-scripts/test --help", file=sys.stderr)
    sys.exit(2)


def minutes_of(text: str) -> int:
    """The value of --within."""
    try:
        return positive(text)
    except argparse.ArgumentTypeError as problem:
        refuse(f"--within: {problem}")


def parse(arguments: Sequence[str]) -> Plan:
    """What a command line asks for."""
    runs: list[Run] = []
    is_short, minutes = False, None
    # Options that no suite comes before are of the unit tests.
    current: list[Run] = []
    words = iter(arguments)
    for word in words:
        if word == "--":
            current = current or [Run("unit", [])]
            current[-1].options.extend(words)
            break
        if word == "--short" and not current:
            is_short = True
        elif word == "--within" and not current:
            minutes = minutes_of(next(words, ""))
        elif word in NAMES or word in GROUPS:
            runs += current
            current = [Run(name, []) for name in GROUPS.get(word, (word,))]
        else:
            if not current and not word.startswith("-"):
                refuse(f"there is no suite '{word}'")
            current = current or [Run("unit", [])]
            for run in current:
                run.options.append(word)
    runs += current
    for run in runs:
        if is_short and run.suite in HAVE_SHORT:
            run.options.insert(0, "--short")
    return Plan(runs or [Run("unit", [])], minutes)


def perform(run: Run) -> bool:
    """Whether the suite passed. A signal to this process ends the suite, too."""
    child = subprocess.Popen([sys.executable, "-m", f"nearblock_tests.{run.suite}", *run.options])
    received: list[int] = []

    def stop(number: int, _: FrameType | None) -> None:
        received.append(number)
        # The terminal has told the suite of an interrupt already.
        if number != signal.SIGINT:
            child.send_signal(number)

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, stop)
    status = child.wait()
    if received:
        sys.exit(128 + received[0])
    return status == 0


def main() -> None:
    arguments = sys.argv[1:]
    if arguments and arguments[0] in ("-h", "--help"):
        print(help_text())
        return
    plan = parse(arguments)
    if len(plan.runs) == 1:
        run = plan.runs[0]
        os.execv(sys.executable, [sys.executable, "-m", f"nearblock_tests.{run.suite}", *run.options])
    passed: list[str] = []
    failed: list[str] = []
    omitted: list[str] = []
    start = time.monotonic()
    for run in plan.runs:
        began = time.monotonic()
        if plan.minutes and began - start > plan.minutes * 60:
            omitted.append(run.suite)
            continue
        print(f"== {run.suite} {' '.join(run.options)}".rstrip(), flush=True)
        has_passed = perform(run)
        print(f"== {run.suite} {'passed' if has_passed else 'FAILED'} after {time.monotonic() - began:.0f} s", flush=True)
        (passed if has_passed else failed).append(run.suite)
    if omitted:
        print(f"left out after {plan.minutes} minutes: {', '.join(omitted)}")
    print(f"failed: {', '.join(failed)}" if failed else f"passed: {', '.join(passed)}")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
