"""The parts of benchmarks/index; see there.

index.measure PART BINARIES WORK RUNS TABLES BLOCKS IMAGE...
"""

import json
import os
import re
import shutil
import statistics
import subprocess
import sys
import time

from nearblock_benchmarks.child import timed
from nearblock_benchmarks.page_cache import drop, warm

PART, BINARIES, WORK = sys.argv[1:4]
RUNS, TABLES, BLOCKS = (int(number) for number in sys.argv[4:7])
IMAGES = sys.argv[7:]
NEARBLOCK = os.path.join(BINARIES, "nearblock")
CORES = len(os.sched_getaffinity(0))
INDEX = os.path.join(WORK, "index")


def run(*arguments):
    return subprocess.run(arguments, check=True, capture_output=True, text=True).stdout


def data_bytes(path):
    return os.stat(path).st_blocks * 512


def openssl_rate(size):
    """Bytes a second that OpenSSL's SHA-256 does on one core, in messages of that many bytes."""
    output = run("openssl", "speed", "-mr", "-seconds", "1", "-bytes", str(size), "-evp", "sha256")
    return float(re.search(r"^\+F:.*:sha256:([0-9.]+)", output, re.M | re.I).group(1))


def spread(values):
    return f"{statistics.median(values):.2f} ({min(values):.2f} to {max(values):.2f})"


def cached(path):
    return int(run("fincore", "--bytes", "--noheadings", "--output", "RES", path))


def build():
    chosen, total = [], 0
    for image in sorted(IMAGES, key=data_bytes, reverse=True):
        if total < 6 << 30:
            chosen.append(image)
            total += data_bytes(image)
    for image in chosen:
        warm(image)
    for block in (4096, 512):
        rates, same, whole, work = [], [], [], []
        for _ in range(RUNS):
            small, large = openssl_rate(block), openssl_rate(1 << 20)
            shutil.rmtree(INDEX, ignore_errors=True)
            seconds, _, busy = timed(
                NEARBLOCK, "index", "add", "--index", INDEX, "--block-size", str(block), "--priority", "normal", *chosen)
            rates.append(total / seconds)
            same.append(total / seconds / (CORES * small))
            whole.append(total / seconds / (CORES * large))
            work.append(total / busy / small)
        print(
            f"build, blocks of {block}: {statistics.median(rates) / 1e9:.2f} GB/s on {CORES} cores, {total / 1e9:.2f} GB "
            f"cached; of cores x OpenSSL's SHA-256: {spread(same)} in messages of {block}, "
            f"{spread(whole)} in messages of 1 MiB; by processor time, which others on the machine do not change as much: "
            f"{spread(work)}")


def cache():
    image = max(IMAGES, key=data_bytes)
    other = sorted(IMAGES, key=data_bytes)[-2]
    ratios = []
    for _ in range(RUNS):
        drop(image)
        began = time.monotonic()
        warm(image)
        disk = time.monotonic() - began
        drop(image)
        warm(other)
        before = cached(other)
        shutil.rmtree(INDEX, ignore_errors=True)
        seconds, _, _ = timed(NEARBLOCK, "index", "add", "--index", INDEX, image)
        ratios.append(disk / seconds)
        timed(NEARBLOCK, "index", "add", "--index", INDEX, other)
    print(f"not cached: {spread(ratios)} of the rate at which the same data is read and nothing is done with it")
    print(
        f"page cache afterwards: {100 * cached(image) / data_bytes(image):.1f} % of the image that was not cached, "
        f"{100 * cached(other) / before:.1f} % of what there was of the one that was")


def look_ups(count):
    for batch in (1024, 65536):
        output = run(os.path.join(BINARIES, "LookupBenchmark"), INDEX, str(batch), str(count))
        lines = [json.loads(line) for line in output.splitlines()]
        opened, end = lines[0], lines[-1]
        print(
            f"  {opened['neighbours']} neighbours, {opened['blocks']} blocks in {opened['catalogues']} catalogues, open "
            f"after {opened['seconds']:.2f} s: memory {opened['memory'] / 1e6:.1f} MB beyond page cache "
            f"({opened['memory'] / opened['blocks']:.3f} bytes a block), of which the process had "
            f"{opened['memoryBefore'] / 1e6:.1f} before; {end['memory'] / 1e6:.1f} after the look-ups")
        for line in lines[1:-1]:
            if line["kind"] == "build":
                print(
                    f"  scratch index of {line['disks']} disks, {line['blocks']} blocks: built in {line['seconds']:.2f} s, "
                    f"{line['blocks'] * 16 / line['seconds'] / 1e6:.0f} MB of fingerprints a second; memory "
                    f"{(line['memory'] - line['memoryBefore']) / line['blocks']:.3f} bytes a block beyond page cache")
                continue
            print(
                f"  batches of {batch}, {line['kind']}: {line['perSecond'] / 1e6:.2f} million a second on a core, "
                f"{100 * line['found'] / line['questions']:.1f} % found")


def lookup():
    shutil.rmtree(INDEX, ignore_errors=True)
    run(NEARBLOCK, "index", "add", "--index", INDEX, *IMAGES)
    print("look-ups in the index of all systems:")
    look_ups(500_000)


def synthetic():
    shutil.rmtree(INDEX, ignore_errors=True)
    began = time.monotonic()
    run(sys.executable, os.path.join(os.path.dirname(__file__), "make_tables.py"), INDEX, str(TABLES), str(BLOCKS))
    print(
        f"synthetic index: {TABLES} neighbours of {BLOCKS} blocks ({TABLES * BLOCKS * 4096 / (1 << 40):.2f} TiB), "
        f"fingerprints written at random by make_tables.py in {time.monotonic() - began:.0f} s")
    small = os.path.join(WORK, "small.raw")
    with open(small, "wb") as image:
        image.write(os.urandom(4096))
    seconds, memory, _ = timed(NEARBLOCK, "index", "add", "--index", INDEX, "--priority", "normal", small)
    print(f"  its catalogue: {seconds:.1f} s on {CORES} cores, at most {memory / 1e6:.0f} MB resident, mapped files included")
    size = sum(data_bytes(os.path.join(INDEX, name)) for name in os.listdir(INDEX))
    print(f"  on disk: {size / 1e9:.2f} GB, {size / (TABLES * BLOCKS):.2f} bytes a block")
    look_ups(1_000_000)
    shutil.rmtree(INDEX)


{"build": build, "cache": cache, "lookup": lookup, "synthetic": synthetic}[PART]()
