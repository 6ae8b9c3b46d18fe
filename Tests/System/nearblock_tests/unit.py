"""test [unit] [--no-warnings] [swift test arguments]

Builds nearblock with its tests and runs all of them, or those that Swift's own --filter names:
  nbd-scripts/test --filter RingTests
--no-warnings fails where the build warns of the repository's own code. A warning is seen only when its file is compiled.
"""
import argparse
import re
import sys

from nearblock_tests.repository import ROOT, SuiteParser, follow, install, note, swift, test_environment

WARNING = re.compile(rf"^({re.escape(str(ROOT))}/)?(Sources|Tests|Package\.swift)\S*:\d+:\d+: warning:")


def build(driver: str) -> list[str]:
    """Builds the tests; returns the lines that warn. Ends the suite where the build fails."""
    warnings: dict[str, None] = {}

    def look(line: str) -> None:
        if WARNING.match(line):
            warnings[line.rstrip()] = None

    if status := follow([driver, "build", "--build-tests"], test_environment(), look):
        sys.exit(status)
    return list(warnings)


def test(driver: str, arguments: list[str]) -> int:
    """Runs the tests, and names those that failed once more at the end: they are somewhere among thousands of lines."""
    failures: list[str] = []

    def look(line: str) -> None:
        if "✘" in line:
            failures.append(line.rstrip())

    status = follow([driver, "test", *arguments], test_environment(), look)
    if status:
        for line in failures:
            note(line)
    return status


def main() -> int:
    parser = SuiteParser("unit", __doc__)
    parser.add_argument("--no-warnings", action="store_true", help=argparse.SUPPRESS)
    options, arguments = parser.parse_known_args()
    driver = swift()
    install("build", "test")
    warnings = build(driver)
    status = test(driver, arguments)
    for line in warnings:
        note(line)
    if warnings and options.no_warnings:
        note(f"unit: the build has {len(warnings)} warnings")
        return 1
    return status


if __name__ == "__main__":
    sys.exit(main())
