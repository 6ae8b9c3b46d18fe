"""migration.plot_machine SAMPLES.json FILE.svg

Draws what benchmarks/paper/machine has measured: of each guest's last move with either way, what crossed the link and how
many writes of the guest ended, over time.
"""
import json
import sys
from typing import Any

import matplotlib

matplotlib.use("svg")
matplotlib.rcParams["svg.hashsalt"] = "nearblock"
import matplotlib.pyplot as plt

STEP = 0.5
COLOURS = {"QEMU": "tab:orange", "nearblock": "tab:blue", "shared": "tab:gray"}


def link_rate(samples):
    """Seconds, and megabits a second since the sample before."""
    times, rates = [], []
    for (before, sent), (now, more) in zip([[0, 0], *samples], samples):
        if now > before:
            times.append(now)
            rates.append((more - sent) * 8 / (now - before) / 1e6)
    return times, rates


def main():
    runs: dict[tuple[str, str], dict[str, Any]] = {}
    for run in json.load(open(sys.argv[1])):
        runs.setdefault((run["guest"], run["link"]), {})[run["with"]] = run
    figure, rows = plt.subplots(len(runs), 2, figsize=(10, 2.2 * len(runs)), squeeze=False)
    for ((guest, link), ways), (left, right) in zip(runs.items(), rows):
        for way, run in ways.items():
            left.plot(*link_rate(run["samples"]), color=COLOURS[way], label=way, linewidth=1)
            # A second's worth, as the guest writes a few times a second.
            writes = run["writes in half seconds"][:int(run["seconds"] / STEP) + 10]
            pairs = [sum(writes[index:index + 2]) for index in range(0, len(writes) - 1, 2)]
            right.plot([(index + 1) * 2 * STEP for index in range(len(pairs))], pairs, color=COLOURS[way], linewidth=1)
        left.set_ylabel(f"{guest}, {link}\nMbit/s")
        right.set_ylabel("writes/s")
        for axes in (left, right):
            axes.set_ylim(bottom=0)
            axes.set_xlim(left=0)
    rows[0][0].legend(fontsize="small")
    rows[0][0].set_title("on the link", fontsize="medium")
    rows[0][1].set_title("writes of the guest that ended", fontsize="medium")
    for axes in rows[-1]:
        axes.set_xlabel("seconds")
    figure.tight_layout()
    figure.savefig(sys.argv[2], metadata={"Date": None})


if __name__ == "__main__":
    main()
