"""test fuzz [--short] [--seconds N] [--merge] [handshake|transmission|answer|peer|table|value|memory|batch ...]

Coverage-guided fuzzing, with libFuzzer and the address sanitizer, of what reads the bytes of NBD clients (handshake,
transmission) and servers (answer), of other nodes (peer), the files of an index (table), numbers and texts of users, of
configuration and state files and of the control socket (value), the streams by which QEMU and Xen move a guest's memory
(memory), and what a source says of such a stream (batch): the package Tests/Fuzz.
--seconds N is the time for all targets together (default 60; --short: 20). What is found is left in .build-fuzz and its name
told. --merge adds what covers new code to the committed corpus in Tests/Fuzz/corpus, made small.
"""
import argparse
import re
import subprocess
import sys
from pathlib import Path

from nearblock_tests.repository import ROOT, SuiteParser, install, note, positive, swift

PACKAGE = ROOT / "Tests/Fuzz"
FOLDER = ROOT / ".build-fuzz"
TARGETS = ("handshake", "transmission", "answer", "peer", "table", "value", "memory", "batch")
# Those whose inputs have words that are hard to guess.
DICTIONARIES = {"handshake": "nbd", "transmission": "nbd", "answer": "nbd", "peer": "nbd", "memory": "memory"}
LIBRARIES = ("liburing", "libnbd", "libzstd", "openssl", "glib-2.0")
LIMITS = ("-max_len=80000", "-timeout=10", "-rss_limit_mb=2048")


def build(target: str) -> Path:
    """Returns the fuzzer. SwiftPM makes a library of the target, since libFuzzer has the `main`."""
    product = f"{target.capitalize()}Fuzz"
    driver, scratch = swift(), FOLDER / "package"
    subprocess.run(
        [driver, "build", "--package-path", PACKAGE, "-c", "release", "--sanitize", "address", "--scratch-path", scratch,
         "--product", product, "-Xswiftc", "-sanitize=fuzzer", "-Xswiftc", "-enable-testing"], check=True, stdout=sys.stderr)
    flags = subprocess.run(["pkg-config", "--libs", *LIBRARIES], check=True, capture_output=True, text=True).stdout.split()
    program = FOLDER / target
    subprocess.run([f"{driver}c", "-use-ld=lld", "-sanitize=fuzzer,address", scratch / f"release/lib{product}.a", *flags,
                    "-o", program], check=True)
    return program


def fuzz(target: str, seconds: int, merges: bool) -> bool:
    """Whether nothing was found."""
    program, log = build(target), FOLDER / f"{target}.log"
    committed, corpus = PACKAGE / "corpus" / target, FOLDER / f"corpus-{target}"
    corpus.mkdir(exist_ok=True)
    artifacts = f"-artifact_prefix={FOLDER}/{target}-"
    dictionary = [f"-dict={PACKAGE}/{DICTIONARIES[target]}.dict"] if target in DICTIONARIES else []
    with open(log, "w") as output:
        status = subprocess.run([program, f"-max_total_time={seconds}", *LIMITS, "-print_final_stats=1", *dictionary,
                                 artifacts, corpus, committed], stdout=output, stderr=output).returncode
    said = log.read_text(errors="replace")
    if status == 0:
        runs = re.search(r"^stat::number_of_executed_units: (\d+)", said, re.MULTILINE)
        note(f"fuzz: {target}: {runs.group(1) if runs else '?'} runs, nothing found")
    else:
        note(f"fuzz: {target}: FAILED; see {log} and {FOLDER}/{target}-*")
        note("\n".join(said.splitlines()[-30:]))
    if merges:
        subprocess.run([program, "-merge=1", LIMITS[0], artifacts, committed, corpus], capture_output=True, check=True)
    return status == 0


def main() -> int:
    parser = SuiteParser("fuzz", __doc__)
    parser.add_argument("--short", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--seconds", type=positive, help=argparse.SUPPRESS)
    parser.add_argument("--merge", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("targets", nargs="*", help=argparse.SUPPRESS)
    options = parser.parse_args()
    for target in options.targets:
        if target not in TARGETS:
            parser.error(f"there is no target '{target}'")
    targets = options.targets or TARGETS
    seconds = options.seconds or (20 if options.short else 60)
    install("build")
    FOLDER.mkdir(exist_ok=True)
    results = [fuzz(target, max(1, seconds // len(targets)), options.merge) for target in targets]
    print(f"{sum(results)} passed, {len(results) - sum(results)} failed")
    return 0 if all(results) else 1


if __name__ == "__main__":
    sys.exit(main())
