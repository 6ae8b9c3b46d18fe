"""site.publishing NEARBLOCK WORK

The rate at which a node publishes the tables of its index, small and large ones, in a folder and in a Ceph cluster of one OSD. Both
stores are in WORK. See benchmarks/site.
"""

import os
import shutil
import sys
import time
from pathlib import Path

import rados

from nearblock_benchmarks.index.make_tables import write_settings, write_table
from nearblock_tests.ceph.cluster import Cluster
from nearblock_tests.nodes import Node, free_port

NEARBLOCK, WORK = sys.argv[1:3]
# Of images of 64 MiB, and of 16 GiB.
INDEXES = [(2000, 1 << 14), (24, 1 << 22)]
LIMIT_SECONDS = 300


def published(index, tables, store, count):
    """Publishes an index, and returns the tables a second from the last look that finds none to the first that finds all."""
    folder = f"{WORK}/node"
    node = Node(NEARBLOCK, folder, [
        "--peer-listen", f"127.0.0.1:{free_port()}", "--images", f"{folder}/images", "--index", index, "--site", store, "--host", "h"])
    try:
        began = time.monotonic()
        end = began + LIMIT_SECONDS
        while (seen := count()) < tables:
            now = time.monotonic()
            if seen == 0:
                began = now
            if now > end:
                sys.exit(f"{seen} of {tables} tables are published after {LIMIT_SECONDS} s: {node.log()[-500:]!r}")
            time.sleep(0.02)
        return tables / (time.monotonic() - began)
    finally:
        node.stop()
        shutil.rmtree(folder, ignore_errors=True)


def count_files(folder):
    try:
        return sum(name.endswith(".table") for name in os.listdir(folder))
    except FileNotFoundError:
        return 0


def count_keys(pool):
    """The pool's handle is of the site's namespace. An OSD lists some 1024 keys at once."""
    count, last = 0, ""
    while True:
        with rados.ReadOpCtx() as operation:
            entries, _ = pool.get_omap_vals(operation, last, "", 1 << 14)
            try:
                pool.operate_read_op(operation, "hosts/h")
            except rados.ObjectNotFound:
                return 0
            keys = [key for key, _ in entries]
        if not keys:
            return count
        count, last = count + sum(key.endswith(".table") for key in keys), keys[-1]


def main():
    os.makedirs(f"{WORK}/cluster")
    with Cluster(Path(f"{WORK}/cluster"), osds=1) as cluster:
        os.environ["CEPH_CONF"] = str(cluster.conf)
        print("| tables | MB of each | store | tables/s | MB/s |\n| ---: | ---: | --- | ---: | ---: |")
        for tables, blocks in INDEXES:
            index = f"{WORK}/index"
            write_settings(index)
            for number in range(tables):
                write_table(index, number, blocks)
            os.makedirs(f"{WORK}/store")
            with rados.Rados(conffile=str(cluster.conf)) as connection, connection.open_ioctx("rbd") as pool:
                pool.set_namespace(f"tables{tables}")
                rates = {
                    "folder": published(index, tables, f"{WORK}/store", lambda: count_files(f"{WORK}/store/hosts/h")),
                    "RADOS": published(index, tables, f"rados:rbd/tables{tables}", lambda: count_keys(pool))}
            for store, rate in rates.items():
                print(f"| {tables} | {blocks * 16 / 1e6:.2f} | {store} | {rate:.1f} | {rate * blocks * 16 / 1e6:.0f} |", flush=True)
            shutil.rmtree(index)
            shutil.rmtree(f"{WORK}/store")


main()
