"""fio on one RBD image, through librbd and through nearblock by turns. Used by `test ceph measure`."""
import json
import os
import statistics
import subprocess
from pathlib import Path

from nearblock_tests.ceph.cluster import Cluster
from nearblock_tests.ceph.sites import expect
from nearblock_tests.nodes import Node

SECONDS, TURNS = 6, 3
PATTERNS = {"4 KiB reads, depth 32": ("randread", "4k", 32), "4 KiB writes, depth 32": ("randwrite", "4k", 32),
            "4 KiB reads, depth 1": ("randread", "4k", 1), "1 MiB reads, depth 8": ("read", "1M", 8)}


def rate(pattern: tuple[str, str, int], *engine: str) -> float:
    """Requests a second."""
    access, size, depth = pattern
    done = subprocess.run(["fio", "--name=x", f"--rw={access}", f"--bs={size}", f"--iodepth={depth}", "--size=256M",
                           "--time_based", f"--runtime={SECONDS}", "--ramp_time=1", "--output-format=json", *engine],
                          capture_output=True, text=True)
    expect(done.returncode == 0, f"fio: {done.stderr[-300:]}")
    job = json.loads(done.stdout[done.stdout.index("{"):])["jobs"][0]
    figure: float = job["read"]["iops"] + job["write"]["iops"]
    return figure


def compare(cluster: Cluster, binary: str, folder: Path) -> str:
    image = f"measure-{os.getpid()}"
    cluster.run("rbd", "create", "--size", "256M", f"rbd/{image}")
    cluster.run("rbd", "bench", "--io-type", "write", "--io-size", "1M", "--io-total", "256M", f"rbd/{image}")
    direct = ["--ioengine=rbd", "--clientname=admin", "--pool=rbd", f"--rbdname={image}"]
    through = ["--ioengine=nbd", f"--uri=nbd+unix:///disk?socket={folder}/node/nbd"]
    lines = []
    for name, pattern in PATTERNS.items():
        figures: dict[str, list[float]] = {"librbd": [], "nearblock": []}
        for _ in range(TURNS):
            figures["librbd"].append(rate(pattern, *direct))
            node = Node(binary, f"{folder}/node", [f"rbd:rbd/{image}", "--export", "disk"])
            try:
                figures["nearblock"].append(rate(pattern, *through))
            finally:
                node.stop()
        middle = {who: statistics.median(values) for who, values in figures.items()}
        spread = ", ".join(f"{who} {min(values):.0f} to {max(values):.0f}" for who, values in figures.items())
        lines.append(f"\n        {name}: {middle['nearblock'] / middle['librbd']:.2f} of librbd's rate ({spread} a second)")
    return "".join(lines)
