"""test sanitize [--short] [thread|address] [swift test arguments]

Runs the tests of the server and of the targets below it (Ring, Block, NBDServer) with a sanitizer; with both where none is
named. Each has a build folder of its own, .build-thread and .build-address. NBD has no threads and hardly any pointers, and
`test fuzz` runs it with the address sanitizer. --short leaves out two tests that wait for minutes, and look for no race; where
no sanitizer is named, it runs the thread sanitizer only.
"""
import argparse
import subprocess
import sys

from nearblock_tests.repository import ROOT, SuiteParser, install, note, swift, test_environment

SANITIZERS = ("thread", "address")
TESTS = r"^(RingTests|BlockTests|NBDServerTests)\."
WAITING = ("clientsThatReadSlowlyDelayLargeRequests", "clientsThatAskForMuchAndReadSlowly")


def main() -> int:
    parser = SuiteParser("sanitize", __doc__)
    parser.add_argument("--short", action="store_true", help=argparse.SUPPRESS)
    options, arguments = parser.parse_known_args()
    named = [word for word in arguments if word in SANITIZERS]
    arguments = [word for word in arguments if word not in SANITIZERS]
    if "--filter" not in arguments:
        arguments += ["--filter", TESTS]
    if options.short:
        arguments += [word for name in WAITING for word in ("--skip", name)]
    driver = swift()
    install("build", "test")
    # `test fuzz`, which is in every short run, has the address sanitizer; a second build takes minutes.
    for sanitizer in named or (SANITIZERS[:1] if options.short else SANITIZERS):
        note(f"sanitize: {sanitizer}")
        # What libraries never free at the end of a process is no leak of ours.
        status = subprocess.run(
            [driver, "test", "--sanitize", sanitizer, "--scratch-path", f".build-{sanitizer}", *arguments], cwd=ROOT,
            env=test_environment(ASAN_OPTIONS="detect_leaks=0")).returncode
        if status:
            return status
    return 0


if __name__ == "__main__":
    sys.exit(main())
