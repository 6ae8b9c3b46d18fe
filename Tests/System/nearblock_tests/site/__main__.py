"""test site [--short] [--store KIND] [--only NAME] [--binary PATH] [--seed S] [--keep]

Five nodes in network namespaces share a folder. A LAN joins them, and a WAN of 200 Mbit/s and 20 ms separates them from a source.
Each has two images, made of the same files in other places. Disks arrive at all hosts at once: they must be equal to their
sources, and at most 1.02 times the bytes of one host with all images may cross the WAN.

Then a host is killed during a move, a host loses the store, the store is read-only, full, and full of damaged files, the host
that merges is killed, and the images of one are not what it says. Each costs misses and a line
in a log; every image that arrives is compared. --short leaves out what waits for the hosts' beats.

--store KIND is the shared folder: tmpfs (the default), which one kernel shares among the hosts, or cephfs, which each host mounts
with ceph-fuse from a real cluster.

--only NAME runs one of them, as it is named in the output; may be repeated. --binary PATH in the place of
.build/debug/nearblock, which is built if it is not there; --keep leaves the folder behind, as a failure does. Needs root.
"""
import argparse
import os
import random
import shutil
import subprocess
import sys
import tempfile

from nearblock_tests.nodes import NodeFailure
from nearblock_tests.repository import SuiteParser, debug_binary, install, note
from nearblock_tests.site import harms
from nearblock_tests.site.scene import Failure, Scene
from nearblock_tests.vms.kernel import make_relay


def parse() -> argparse.Namespace:
    parser = SuiteParser("site", __doc__)
    add = parser.add_argument
    add("--short", action="store_true", help=argparse.SUPPRESS)
    add("--only", action="append", choices=[name for name, _, _ in harms.HARMS], help=argparse.SUPPRESS)
    add("--store", choices=["tmpfs", "cephfs"], default="tmpfs", help=argparse.SUPPRESS)
    add("--binary", help=argparse.SUPPRESS)
    add("--seed", type=int, help=argparse.SUPPRESS)
    add("--keep", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.binary and not os.access(options.binary, os.X_OK):
        parser.error(f"--binary: {options.binary} is no program")
    if os.geteuid():
        parser.error("it makes network namespaces and mounts, and needs root")
    return options


def main() -> int:
    options = parse()
    has_ceph = options.store == "cephfs"
    install("build", "test", "bench", *(["ceph"] if has_ceph else []))
    binary = os.path.abspath(options.binary or debug_binary())
    seed = options.seed if options.seed is not None else random.randrange(1 << 32)
    folder = tempfile.mkdtemp(prefix="nearblock-site-")
    note(f"site: seed {seed}")
    try:
        with Scene(binary, make_relay(folder), folder, seed, 2 if options.short else 4, has_ceph) as scene:
            scene.wait_until_known()
            harms.do(scene, options.short, options.only, note)
    except (Failure, NodeFailure, subprocess.SubprocessError, RuntimeError) as failure:
        print(f"site: seed {seed}: {failure}; see {folder}", file=sys.stderr)
        return 1
    if not options.keep:
        shutil.rmtree(folder)
    print("all images were equal")
    return 0


if __name__ == "__main__":
    sys.exit(main())
