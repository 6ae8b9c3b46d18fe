"""A disk on RBD that becomes larger under its clients. Used by `test ceph`."""
import os
import subprocess
from pathlib import Path

from nearblock_tests.ceph.cluster import Cluster
from nearblock_tests.ceph.sites import MEBIBYTE, expect
from nearblock_tests.ceph.takeover import connect
from nearblock_tests.nodes import Node


def grown(cluster: Cluster, binary: str, folder: Path) -> str:
    image = f"growing-{os.getpid()}"
    cluster.run("rbd", "create", "--size", "8M", f"rbd/{image}")
    node = Node(binary, f"{folder}/node", [f"rbd:rbd/{image}", "--export", "disk"])
    uri = f"nbd+unix:///disk?socket={folder}/node/nbd"
    try:
        early = connect(uri)
        early.pwrite(b"a" * 4096, 7 * MEBIBYTE)
        early.flush()
        refused = node.ask("resize", "disk", "16M")
        expect(refused.returncode and "by its own means" in refused.stderr, f"a size is not refused: {refused}")
        unchanged = node.ask("resize", "disk")
        expect(unchanged.returncode and "larger first" in unchanged.stderr, f"an image that has not grown is not refused: {unchanged}")
        cluster.run("rbd", "resize", "--no-progress", "--size", "16M", f"rbd/{image}")
        node.do("resize", "disk")
        expect(early.get_size() == 8 * MEBIBYTE, "a client that was connected sees another size")
        early.pwrite(b"b" * 4096, 6 * MEBIBYTE)
        early.flush()
        late = connect(uri)
        expect(late.get_size() == 16 * MEBIBYTE, f"new clients see {late.get_size()} bytes")
        late.pwrite(b"c" * 4096, 15 * MEBIBYTE)
        late.flush()
        late.shutdown()
        early.shutdown()
    finally:
        node.stop()
    copy = subprocess.run(["rbd", "export", "--no-progress", f"rbd/{image}", "-"], capture_output=True, check=True).stdout
    for offset, byte in ((6, b"b"), (7, b"a"), (15, b"c")):
        expect(copy[offset * MEBIBYTE:][:4096] == byte * 4096, f"the bytes at {offset} MiB are not those written")
    return "from 8 to 16 MiB"
