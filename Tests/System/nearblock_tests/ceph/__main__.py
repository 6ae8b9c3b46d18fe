"""test ceph [--short] [--rounds N] [--binary PATH] [--keep] [TEST ...]

Runs a site whose store is RADOS, with a Ceph cluster of its own: a monitor, a manager and three OSDs as plain processes.

  stores     the unit tests of the stores, both kinds
  hosts      a disk arrives at one host, another has its blocks; an image that is new is found within 60 s
  damaged    objects that are cut short or gone, and keys of any bytes: misses, a line, and they are written again
  full       a full pool: a line, misses, and nothing is missing when it has room again
  osd        an OSD that is killed and comes back, while disks arrive
  away       a cluster that does not answer: nodes start, take disks in and end, with a line
  merger     hosts that are killed while they merge: no catalogue and no object is lost or left over
  liar       a member whose images are not what it says, and that writes huge entries: misses and lines, in bounded memory
  takeover   a node under load is killed, and another host takes its disk on RBD over, again and again: all that was flushed is
             there, and what the old node's client writes later fails
  unfinished a disk that has not arrived, or that moves away, is not taken over, nor served by a host without its records
  moved      nor is one that arrived on RBD and moved on, also after a restart
  alone      nor is one that moved while the node ran without the site, or whose record was damaged and removed
  restricted a takeover by a user of Ceph who may use one pool only
  reloaded   exports that a reload opens anew, and that can be opened only after a while
  growth     an image that `rbd resize` makes larger under clients

  measure    only if it is named: fio on an RBD image, through librbd and through nearblock by turns

--rounds N takes over N times (50; 3 with --short). --binary PATH in the place of .build/debug/nearblock; --keep leaves the
folders of tests that failed.
"""
import argparse
import os
import shutil
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from nearblock_tests.ceph import growth, measure, sites, takeover
from nearblock_tests.ceph.cluster import CephFailure, Cluster
from nearblock_tests.nodes import NodeFailure
from nearblock_tests.repository import SuiteParser, debug_binary, install, positive

Test = Callable[[Cluster, str, Path], str]


def perform(name: str, test: Test, cluster: Cluster, options: argparse.Namespace) -> bool:
    folder, passed = Path(tempfile.mkdtemp(prefix="nearblock-ceph-")), False
    try:
        print(f"ok      {name:10} {test(cluster, options.binary, folder)}".rstrip(), flush=True)
        passed = True
    except (CephFailure, NodeFailure, sites.Failure) as failure:
        print(f"FAILED  {name:10} {failure}{f'; see {folder}' if options.keep else ''}", flush=True)
    finally:
        if passed or not options.keep:
            shutil.rmtree(folder, ignore_errors=True)
    return passed


def main() -> int:
    parser = SuiteParser("ceph", __doc__)
    parser.add_argument("--short", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--rounds", type=positive, help=argparse.SUPPRESS)
    parser.add_argument("--binary", help=argparse.SUPPRESS)
    parser.add_argument("--keep", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("tests", nargs="*", help=argparse.SUPPRESS)
    options = parser.parse_args()
    install("test", "ceph")
    options.binary = os.path.abspath(options.binary or debug_binary())
    rounds = options.rounds or (3 if options.short else 50)
    tests: dict[str, Test] = {
        "stores": sites.stores, "hosts": sites.borrowed, "damaged": sites.damaged, "full": sites.full, "osd": sites.osd,
        "away": sites.away, "merger": sites.merger, "liar": sites.liar, "takeover": lambda *where: takeover.repeated(*where, rounds=rounds),
        "unfinished": takeover.unfinished, "moved": takeover.moved_on,
        "alone": takeover.alone, "restricted": takeover.restricted, "reloaded": takeover.reloaded, "growth": growth.grown, "measure": measure.compare}
    for name in options.tests:
        if name not in tests:
            parser.error(f"there is no test '{name}'")
    with tempfile.TemporaryDirectory(prefix="nearblock-ceph-") as folder, Cluster(Path(folder)) as cluster:
        os.environ["CEPH_CONF"] = str(cluster.conf)
        results = [perform(name, test, cluster, options) for name, test in tests.items()
                   if name in (options.tests or tests) and (options.tests or name != "measure")]
    return 0 if all(results) else 1


if __name__ == "__main__":
    sys.exit(main())
