"""test soak [--short] [--seconds N]

Plays random requests on a server, from four clients at once that use all three kinds of headers, and compares every answer
with a model of the disk, for N seconds (default 300; --short: 30). The seed is printed; NEARBLOCK_SEED replays it.
"""
import argparse
import os
import sys

from nearblock_tests.repository import SuiteParser, positive


def main() -> None:
    parser = SuiteParser("soak", __doc__)
    parser.add_argument("--short", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--seconds", type=positive, help=argparse.SUPPRESS)
    options = parser.parse_args()
    seconds = options.seconds or (30 if options.short else 300)
    os.execve(sys.executable, [sys.executable, "-m", "nearblock_tests.unit", "--filter", "everyConnectionSeesItsPartOfTheDisk"],
              {**os.environ, "NEARBLOCK_SECONDS": str(seconds)})


if __name__ == "__main__":
    main()
