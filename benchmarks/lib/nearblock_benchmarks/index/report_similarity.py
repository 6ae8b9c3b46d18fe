"""index.report_similarity RESULTS DOCS IMAGE...

Draws what benchmarks/paper/similarity has measured, and writes its tables into DOCS/evaluation.md.
"""

import json
import os
import sys

import matplotlib

matplotlib.use("svg")
matplotlib.rcParams["svg.hashsalt"] = "nearblock"
import matplotlib.pyplot as plt

from nearblock_benchmarks.index.section import replace_section

results, docs = sys.argv[1:3]
names = [os.path.basename(path).removesuffix(".raw") for path in sys.argv[3:]]
figures = os.path.join(docs, "evaluation")
os.makedirs(figures, exist_ok=True)


def load(size):
    found = {}
    for name in names:
        path = os.path.join(results, f"{size}-{name}.json")
        if not os.path.exists(path):
            return None
        with open(path) as file:
            found[name] = json.load(file)
    return found


def whole(one):
    return max(1, one["blocks"] - one["zero"])


def save(name):
    plt.tight_layout()
    plt.savefig(os.path.join(figures, name), metadata={"Date": None})
    plt.close()


def matrix(found):
    table = []
    for name in names:
        shares = {os.path.basename(n["name"]).removesuffix(".raw"): n["found"] for n in found[name]["neighbours"]}
        table.append([100.0 if other == name else 100 * shares[other] / whole(found[name]) for other in names])
    return table


def draw_matrix(table):
    figure, axes = plt.subplots(figsize=(7.5, 6))
    axes.imshow(table, cmap="Blues", vmin=0, vmax=100)
    axes.set_xticks(range(len(names)), names, rotation=60, ha="right", fontsize=8)
    axes.set_yticks(range(len(names)), names, fontsize=8)
    for row, values in enumerate(table):
        for column, value in enumerate(values):
            axes.text(
                column, row, f"{value:.0f}", ha="center", va="center", fontsize=7,
                color="white" if value > 55 else "black")
    axes.set_title("% of the row's non-zero 4 KiB blocks that stand in the column", fontsize=9)
    save("similarity.svg")


def draw_sizes(sizes):
    figure, axes = plt.subplots(figsize=(7, 4))
    order = sorted(sizes)
    for name in names:
        axes.plot(
            order, [100 * sizes[s][name]["found"] / whole(sizes[s][name]) for s in order], marker=".", label=name, lw=1)
    axes.set_xscale("log", base=2)
    axes.set_xticks(order, [str(s) for s in order], fontsize=8)
    axes.set_ylim(0, 100)
    axes.set_xlabel("block size, bytes")
    axes.set_ylabel("% found in the other systems")
    axes.legend(fontsize=6, ncol=2)
    save("block-size.svg")


def percent(value):
    return f"{value:.1f}"


sizes = {s: load(s) for s in (512, 1024, 2048, 4096, 8192, 16384, 32768, 65536)}
sizes = {s: found for s, found in sizes.items() if found}
if 4096 in sizes:
    found = sizes[4096]
    table = matrix(found)
    draw_matrix(table)
    lines = ["| system | MiB that are not zero | " + " | ".join(names) + " | all others |"]
    lines.append("| --- |" + " ---: |" * (len(names) + 2))
    for name, row in zip(names, table):
        one = found[name]
        cells = ["·" if other == name else percent(value) for other, value in zip(names, row)]
        total = percent(100 * one["found"] / whole(one))
        lines.append(f"| {name} | {whole(one) * 4096 >> 20} | " + " | ".join(cells) + f" | **{total}** |")
    mean = sum(100 * one["found"] / whole(one) for one in found.values()) / len(found)
    lines += ["", f"Mean of the last column: {mean:.1f} %."]
    replace_section(os.path.join(docs, "evaluation.md"), "matrix", lines)
if len(sizes) > 1:
    draw_sizes(sizes)
    order = sorted(sizes)
    lines = ["| system | " + " | ".join(str(s) for s in order) + " |", "| --- |" + " ---: |" * len(order)]
    for name in names:
        shares = [percent(100 * sizes[s][name]["found"] / whole(sizes[s][name])) for s in order]
        lines.append(f"| {name} | " + " | ".join(shares) + " |")
    means = [sum(100 * one["found"] / whole(one) for one in sizes[s].values()) / len(names) for s in order]
    lines.append("| **mean** | " + " | ".join(f"**{mean:.1f}**" for mean in means) + " |")
    replace_section(os.path.join(docs, "evaluation.md"), "block-size", lines)
