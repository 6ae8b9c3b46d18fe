"""site.lending NEARBLOCK WORK

Two hosts on a LAN of namespaces, h1 with an image and h2 without, and a source behind a WAN of 1 Gbit/s and 2 ms that has a copy of
the image. See benchmarks/site.
"""

import json
import os
import random
import re
import shutil
import signal
import statistics
import subprocess
import sys
import time

from nearblock_tests.nodes import Node
from nearblock_tests.site.network import Lan
from nearblock_tests.wan.wan import RECEIVER, SENDER

NEARBLOCK, WORK = sys.argv[1:3]
MEBIBYTE = 1 << 20
SIZE = int(os.environ.get("SITE_MIB", "2048")) * MEBIBYTE
PORT = 7000


def make(path):
    """Random bytes, of which each 64 KiB are others."""
    chance = random.Random(1)
    base = chance.randbytes(16 * MEBIBYTE)
    with open(path, "wb") as image:
        for part in range(SIZE // (64 << 10)):
            start = part * 37 % 200 * (64 << 10)
            image.write(base[start:start + (64 << 10) - 16] + part.to_bytes(16, "big"))
    # Every block differs from all others by its number.
    with open(path, "r+b") as image:
        for block in range(SIZE // 4096):
            image.seek(block * 4096)
            image.write(block.to_bytes(8, "big"))


def tcp(lan, near, far):
    """Bytes a second of one stream from one host to the other."""
    receiver = subprocess.Popen([*far.prefix, "python3", "-c", RECEIVER], stdout=subprocess.PIPE, text=True)
    receiver.stdout.readline()
    subprocess.run([*near.prefix, "python3", "-c", SENDER, far.address, "4"], check=True)
    return float(receiver.communicate()[0])


def quantile(values, share):
    return sorted(values)[min(len(values) - 1, int(len(values) * share))]


# Reads blocks in a random order, one at a time, until the disk is whole or all are read; prints milliseconds.
READER = """
import json, random, sys, time
import nbd
client = nbd.NBD()
client.connect_uri(sys.argv[1])
blocks = list(range(client.get_size() // 4096))
random.Random(2).shuffle(blocks)
end = time.monotonic() + float(sys.argv[2])
times = []
for block in blocks:
    began = time.monotonic()
    if began > end:
        break
    client.pread(4096, block * 4096)
    times.append((time.monotonic() - began) * 1000)
print(json.dumps(times))
"""


class Bench:
    def __init__(self, lan, store):
        self.lan, self.store = lan, store
        self.hosts = {f"h{number}": lan.add(number, store) for number in (1, 2)}
        self.nodes, self.pinned = {}, {}
        self.image = f"{WORK}/image.raw"
        make(self.image)
        shutil.copyfile(self.image, f"{WORK}/disk.raw")

    def start(self, name, has_image, is_in_site, *options):
        folder, host = f"{WORK}/{name}", self.hosts[name]
        shutil.rmtree(folder, ignore_errors=True)
        index = f"{folder}/index"
        os.makedirs(folder)
        if has_image:
            subprocess.run([NEARBLOCK, "index", "add", "--index", index, self.image], check=True, capture_output=True)
        site = ["--site", self.store, "--host", name] if is_in_site else []
        self.nodes[name] = Node(
            NEARBLOCK, folder, ["--insecure-peer", "--peer-listen", f"{host.address}:{PORT}", "--images", f"{folder}/images",
                                "--index", index, *site, *options], self.command(name))

    def stop(self):
        for node in self.nodes.values():
            node.kill()
        self.nodes = {}
        for name in os.listdir(self.store):
            shutil.rmtree(f"{self.store}/{name}") if os.path.isdir(f"{self.store}/{name}") else os.unlink(f"{self.store}/{name}")

    def source(self):
        folder = f"{WORK}/source"
        shutil.rmtree(folder, ignore_errors=True)
        self.nodes["source"] = Node(NEARBLOCK, folder, ["--insecure-peer", f"{WORK}/disk.raw", "--export", "disk"],
                                    self.lan.wan.command(self.lan.wan.near))

    def move(self, *options):
        began = time.monotonic()
        output = self.nodes["source"].do("migrate", "disk", "--to", f"{self.hosts['h2'].address}:{PORT}", "--json", *options)
        return time.monotonic() - began, json.loads(output.splitlines()[-1])

    def prepare(self, is_remote, *options):
        """The image is a neighbour at h1, or at h2 itself."""
        self.stop()
        if is_remote:
            self.start("h1", True, True, *options)
            self.start("h2", False, True)
            end = time.monotonic() + 60
            while not self.is_listed():
                if time.monotonic() > end:
                    raise SystemExit("the image is not listed after 60 s")
                time.sleep(0.5)
            # h2 looks at the store every 10 s.
            time.sleep(15)
        else:
            self.start("h2", True, False)
        self.source()

    def is_listed(self):
        output = subprocess.run([NEARBLOCK, "site", "status", "--site", self.store, "--json"], capture_output=True, text=True).stdout
        status = json.loads(output or "{}")
        return status.get("unlisted") == 0 and sum(len(host["images"]) for host in status["hosts"]) == 1

    def throughput(self, is_remote):
        self.prepare(is_remote)
        seconds, report = self.move()
        found = report["ledger"]["neighbour"]
        print(f"  {'remote' if is_remote else 'local'} neighbour: {found / SIZE:.4f} of {SIZE / MEBIBYTE:.0f} MiB found, "
              f"{SIZE / seconds / 1e6:.0f} MB/s from command to end", flush=True)
        return SIZE / seconds

    def demand(self, is_remote):
        """Milliseconds of reads at h2 while the disk is there in part."""
        self.prepare(is_remote)
        self.nodes["source"].do("migrate", "disk", "--to", f"{self.hosts['h2'].address}:{PORT}", "--switch", "now", "--detach")
        while self.nodes["h2"].state("disk") == "":
            time.sleep(0.005)
        output = subprocess.check_output(
            [*self.hosts["h2"].prefix, "/usr/bin/python3", "-c", READER,
             f"nbd+unix:///disk?socket={WORK}/h2/nbd", "4"], text=True)
        times = json.loads(output)
        print(f"  reads of 4 KiB in post-copy, {'remote' if is_remote else 'local'} neighbour: {len(times)} reads, median "
              f"{quantile(times, 0.5):.2f} ms, p99 {quantile(times, 0.99):.2f} ms", flush=True)
        return quantile(times, 0.99)

    def divide_cores(self):
        """h1 gets a core, also for packets that come to it, and all others the rest, as if they were other machines."""
        own, *others = sorted(os.sched_getaffinity(0))
        if not others:
            raise SystemExit("one core can't be two hosts")
        os.sched_setaffinity(0, others)
        self.pinned["h1"] = ["taskset", "--cpu-list", str(own)]
        for namespace, cores in ((self.hosts["h1"].namespace, [own]), (self.hosts["h2"].namespace, others),
                                 (self.lan.router, others)):
            mask = f"{sum(1 << core for core in cores):x}"
            for queue in "lan0", "p1", "p2", "wan0":
                file = f"/sys/class/net/{queue}/queues/rx-0/rps_cpus"
                self.lan.wan.inside(namespace, "sh", "-c", f"[ ! -e {file} ] || echo {mask} >{file}")

    def command(self, name):
        """What comes before a command line of a host."""
        return [*self.hosts[name].prefix, *self.pinned.get(name, [])]

    def beside(self):
        """Requests a second of fio at h1 that runs beside a move: of its own images, and of none."""
        rates, guest = {}, f"{WORK}/guest.raw"
        with open(guest, "wb") as file:
            file.truncate(256 * MEBIBYTE)
        for is_remote in (False, True):
            self.prepare(is_remote, guest, "--export", "guest")
            if not is_remote:
                self.start("h1", True, False, guest, "--export", "guest")
            fio = subprocess.Popen(
                [*self.command("h1"), "fio", "--name=guest", "--ioengine=nbd", f"--uri=nbd+unix:///guest?socket={WORK}/h1/nbd",
                 "--rw=randread", "--bs=4k", "--iodepth=8", "--size=256M", "--time_based", "--runtime=300",
                 "--output-format=json", f"--aux-path={WORK}"], stdout=subprocess.PIPE, text=True)
            time.sleep(1)
            seconds, _ = self.move()
            fio.send_signal(signal.SIGINT)
            text = fio.communicate()[0]
            rates[is_remote] = json.loads(text[text.index("{"):])["jobs"][0]["read"]["iops"]
        kept = rates[True] / rates[False]
        print(f"  fio at the host that lends {SIZE / seconds / 1e6:.0f} MB/s: {rates[True]:.0f} requests a second, {rates[False]:.0f} "
              f"beside the same move with a local neighbour: {kept:.2f}", flush=True)
        return kept


def main():
    store = f"{WORK}/store"
    os.makedirs(store)
    with Lan(f"{WORK}/relay", 1e9, 2) as lan:
        bench = Bench(lan, store)
        try:
            near, far = bench.hosts["h1"], bench.hosts["h2"]
            ping = subprocess.check_output([*far.prefix, "ping", "-c", "20", "-i", "0.05", "-q", near.address], text=True)
            rtt = float(re.search(r"= [\d.]+/([\d.]+)/", ping).group(1))
            plain = tcp(lan, near, far)
            print(f"LAN: RTT {rtt:.3f} ms, plain TCP {plain / 1e6:.0f} MB/s", flush=True)
            local, remote = bench.throughput(False), bench.throughput(True)
            print(f"  remote against plain TCP {remote / plain:.2f}, against local {remote / local:.2f}", flush=True)
            rounds = [(bench.demand(False), bench.demand(True)) for _ in range(3)]
            more = statistics.median(there - here for here, there in rounds)
            print(f"  a remote neighbour's p99 is {more:.2f} ms more, median of 3 (RTT {rtt:.2f} ms)", flush=True)
            bench.divide_cores()
            kept = sorted(bench.beside() for _ in range(3))
            print(f"  fio keeps {kept[1]:.2f} ({kept[0]:.2f}-{kept[2]:.2f}) of its rate, each host on cores of its own", flush=True)
        finally:
            bench.stop()


main()
