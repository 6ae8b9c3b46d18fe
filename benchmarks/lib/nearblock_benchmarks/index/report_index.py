"""index.report_index NEARBLOCK WORK RUNS DOCS IMAGE...

Measures and draws for benchmarks/paper/index; see there.
"""

import os
import shutil
import statistics
import sys

import matplotlib

matplotlib.use("svg")
matplotlib.rcParams["svg.hashsalt"] = "nearblock"
import matplotlib.pyplot as plt

from nearblock_benchmarks.child import timed
from nearblock_benchmarks.index.section import replace_section
from nearblock_benchmarks.page_cache import drop, warm

nearblock, work, runs, docs = sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4]
images = sys.argv[5:]
index = os.path.join(work, "index")
names = [os.path.basename(path).removesuffix(".raw") for path in images]


def add(image, folder):
    """Seconds, and the most memory, in bytes; mapped files included."""
    return timed(nearblock, "index", "add", "--index", folder, "--priority", "normal", image)[:2]


def folder_bytes(folder):
    return sum(os.stat(os.path.join(folder, name)).st_blocks * 512 for name in os.listdir(folder))


rows = []
for image in images:
    cold, cached, memory = [], [], 0
    for _ in range(runs):
        shutil.rmtree(index, ignore_errors=True)
        drop(image)
        cold.append(add(image, index)[0])
        shutil.rmtree(index, ignore_errors=True)
        warm(image)
        seconds, most = add(image, index)
        cached.append(seconds)
        memory = max(memory, most)
    rows.append((statistics.median(cached), statistics.median(cold), memory, folder_bytes(index)))
shutil.rmtree(index, ignore_errors=True)
together = os.path.join(work, "together")
for image in images:
    add(image, together)
total = folder_bytes(together)

figures = os.path.join(docs, "evaluation")
os.makedirs(figures, exist_ok=True)
places = range(len(names))


def bars(values, second, label, unit, name, paper):
    figure, axes = plt.subplots(figsize=(7, 3.5))
    axes.bar([p - 0.2 for p in places], values, 0.4, label=label[0])
    axes.bar([p + 0.2 for p in places], second, 0.4, label=label[1])
    axes.axhspan(*paper, color="tab:red", alpha=0.3, label="the paper")
    axes.set_yscale("log")
    axes.set_ylabel(unit)
    axes.set_xticks(list(places), names, rotation=60, ha="right", fontsize=8)
    axes.legend(fontsize=7)
    plt.tight_layout()
    plt.savefig(os.path.join(figures, name), metadata={"Date": None})
    plt.close()


bars([r[0] for r in rows], [r[1] for r in rows], ("cached", "from the disk"), "seconds", "index-time.svg", (115, 155))
bars(
    [r[2] / 2**20 for r in rows], [r[3] / 2**20 for r in rows], ("memory while it is indexed", "index on disk"), "MiB",
    "index-size.svg", (9900, 10240))
lines = [
    "| system | MiB on disk | seconds, cached | seconds, from the disk | MiB of memory at most | MiB of index |",
    "| --- |" + " ---: |" * 5,
]
for name, image, row in zip(names, images, rows):
    data = os.stat(image).st_blocks * 512
    lines.append(
        f"| {name} | {data >> 20} | {row[0]:.2f} | {row[1]:.2f} | {row[2] / 2**20:.0f} | {row[3] / 2**20:.1f} |")
lines.append(f"| all in one index | | {sum(r[0] for r in rows):.2f} | {sum(r[1] for r in rows):.2f} | | {total / 2**20:.1f} |")
lines.append("| **the paper** | | | 115 to 155 | up to 10240 | |")
replace_section(os.path.join(docs, "evaluation.md"), "index", lines)
