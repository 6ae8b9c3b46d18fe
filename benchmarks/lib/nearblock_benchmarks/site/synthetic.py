"""site.synthetic BINARIES WORK DOCS HOSTS IMAGES BLOCKS...

Writes tables of IMAGES images on HOSTS hosts, of so many blocks each, one size after the other, and measures what the site makes
of them. Draws how it grows, and writes the table of docs/evaluation.md, if DOCS is not '-'.
"""

import json
import os
import shutil
import subprocess
import sys
import time

from nearblock_benchmarks.index.make_tables import write_table
from nearblock_benchmarks.index.section import replace_section

BINARIES, WORK, DOCS = sys.argv[1:4]
HOSTS, IMAGES = int(sys.argv[4]), int(sys.argv[5])
SIZES = [int(size) for size in sys.argv[6:]]
QUESTIONS = 1_000_000
CHANGED_EVERY = 50
WHOLE = 100 << 40
# Memory that the program gives back leaves the process at once, so that growth shows.
MEMORY = {"MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "65536"}


def measure(blocks):
    store, scratch = os.path.join(WORK, "store"), os.path.join(WORK, "scratch")
    for folder in (os.path.join(store, "samples"), scratch):
        os.makedirs(folder)
    began = time.monotonic()
    for image in range(IMAGES):
        folder = os.path.join(store, "hosts", f"h{image % HOSTS:03}")
        os.makedirs(folder, exist_ok=True)
        write_table(folder, image, blocks)
    written = IMAGES * blocks * 16 / (time.monotonic() - began)
    output = subprocess.run(
        [os.path.join(BINARIES, "SiteBenchmark"), store, scratch, str(QUESTIONS)], check=True, stdout=subprocess.PIPE, text=True,
        env=os.environ | MEMORY)
    figures = {line["kind"]: line for line in map(json.loads, output.stdout.splitlines())}
    shutil.rmtree(store)
    shutil.rmtree(scratch)
    return figures, written


def row(blocks, figures):
    opened, twin, absent = figures["open"], figures["twin"], figures["absent"]
    return {
        "TiB": IMAGES * blocks * 4096 / 2**40, "samples": opened["samples"], "bytes": opened["sampleBytes"],
        "list": figures["list"]["seconds"] / HOSTS, "merge": figures["merge"]["seconds"], "open": opened["seconds"],
        "memory": max(twin["memory"], absent["memory"]), "twin": twin["perSecond"], "absent": absent["perSecond"],
        "found": twin["found"] / (twin["questions"] * (1 - 1 / CHANGED_EVERY)), "catalogues": opened["catalogues"]}


def text(row):
    return (f"| {row['TiB']:.2f} | {row['samples'] / 1e6:.1f} | {row['bytes'] / 1e6:.0f} | {row['bytes'] / row['samples']:.2f} "
            f"| {row['list']:.2f} | {row['merge']:.1f} | {row['open']:.2f} | {row['memory'] / 1e6:.1f} | {row['twin'] / 1e6:.1f} "
            f"| {row['absent'] / 1e6:.1f} |")


def plot(rows, path):
    import matplotlib

    matplotlib.use("svg")
    matplotlib.rcParams["svg.hashsalt"] = "nearblock"
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(7, 3.5))
    size = [row["TiB"] for row in rows]
    for key, factor, label in (("bytes", 1e6, "catalogues, MB"), ("memory", 1e6, "memory of a node, MB"),
                               ("merge", 1, "merging all, s"), ("list", 1, "listing one host's images, s")):
        axes.plot(size, [row[key] / factor for row in rows], marker="o", label=label)
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlabel("TiB of neighbours")
    axes.legend(fontsize=7)
    plt.tight_layout()
    plt.savefig(path, metadata={"Date": None})


def main():
    rows = []
    lines = [
        "| TiB of images | million samples | MB of catalogues | bytes a sample | s to list one host | s to merge all | s to open "
        "| MB of memory | million look-ups/s, similar | absent |", "| ---: |" + " ---: |" * 9]
    for blocks in SIZES:
        figures, written = measure(blocks)
        rows.append(row(blocks, figures))
        lines.append(text(rows[-1]))
        print(lines[-1], f"{rows[-1]['catalogues']} catalogues, {100 * rows[-1]['found']:.1f} % of the similar disk's blocks found, "
              f"tables written at {written / 1e6:.0f} MB/s", flush=True)
    last = rows[-1]
    factor = WHOLE / 2**40 / last["TiB"]
    lines += ["", f"100 TiB, {factor:.0f} times the last row: {last['bytes'] * factor / 1e9:.1f} GB of catalogues, "
              f"{last['merge'] * factor / 60:.0f} minutes to merge all at once, {last['memory'] * factor / 1e6:.0f} MB of memory."]
    print("\n".join(lines))
    if DOCS != "-":
        plot(rows, os.path.join(DOCS, "evaluation", "site.svg"))
        replace_section(os.path.join(DOCS, "evaluation.md"), "site", lines)


main()
