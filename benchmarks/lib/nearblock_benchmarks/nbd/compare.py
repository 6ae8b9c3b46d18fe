"""nbd.compare: see benchmarks/nbd."""
import argparse
import json
import os
import statistics
import subprocess
import time
from typing import Any

from nearblock_benchmarks.nbd.clients import Work, by_turns, measure
from nearblock_benchmarks.nbd.servers import FLOORS, OTHER, Server
from nearblock_benchmarks.page_cache import drop

KINDS = ["nearblock", "nbdkit", "qemu-nbd", "nbd-server"]
KI, MI = 1 << 10, 1 << 20
SMALL = [
    Work("4K read, depth 1", 4 * KI, 1, 1, 100, False), Work("4K read, depth 32", 4 * KI, 32, 1, 100, False),
    Work("4K read, depth 32 x 4", 4 * KI, 32, 4, 100, False), Work("4K write, depth 1", 4 * KI, 1, 1, 0, False),
    Work("4K write, depth 32", 4 * KI, 32, 1, 0, False), Work("4K write, depth 32 x 4", 4 * KI, 32, 4, 0, False),
    Work("4K 70/30, depth 32", 4 * KI, 32, 1, 70, False), Work("4K read, depth 1 x 4", 4 * KI, 1, 4, 100, False),
    Work("4K write, depth 1 x 4", 4 * KI, 1, 4, 0, False),
]
LARGE = [
    Work("128K read", 128 * KI, 8, 1, 100, True), Work("128K write", 128 * KI, 8, 1, 0, True),
    Work("1M read", MI, 4, 1, 100, True), Work("1M write", MI, 4, 1, 0, True),
]
COLD = [SMALL[0], SMALL[1], LARGE[2]]


def limit(work, rate, cpu, client):
    """What keeps the rate from being higher: each thread of the client has a core to itself, or no core is idle."""
    if client >= 0.95:
        return f"client, {client:.0%} of a core"
    used = rate * cpu / 1e6 + client * work.connections
    return f"all cores, each client {client:.0%}" if used >= 0.95 * len(os.sched_getaffinity(0)) else ""


class Bench:
    def __init__(self, settings):
        self.settings = settings
        self.size = os.path.getsize(settings.image)
        self.kinds = ["nearblock", OTHER] if settings.against else KINDS

    def warm(self):
        subprocess.run(["cat", self.settings.image], stdout=subprocess.DEVNULL, check=True)

    def cool(self):
        drop(self.settings.image)

    def compare(self, title, works, prepare=None, **options):
        """Every work on every server in turn, as many times as asked for; prints medians, and ratios to the best of the
        others with the least and the most of the rounds."""
        kinds = [kind for kind in self.kinds + (list(FLOORS) if self.settings.floor_too else [])
                 if Server.can(kind, options.get("direct", False), options.get("tls"))]
        floors = [kind for kind in kinds if kind in FLOORS]
        columns = "".join(f" rate / {kind} | CPU / {kind} |" for kind in floors)
        print(f"\n## {title}\n\n| work | server | requests/s | CPU us | p99 us | limit |{columns} rate | CPU | p99 |")
        print("| --- | --- | ---: | ---: | ---: | --- |" + " --- | --- |" * len(floors) + " --- | --- | --- |")
        for work in works:
            if self.settings.only and self.settings.only not in work.name:
                continue
            results: dict[Any, list[Any]] = {kind: [] for kind in kinds}
            for kind in by_turns(kinds, self.settings.rounds):
                if prepare:
                    prepare()
                with Server(kind, self.settings, self.settings.image, **options) as server:
                    results[kind].append(measure(server, work, self.settings.seconds, self.settings.client, self.size))
            self.report(work, results)

    def report(self, work, results):
        middle = {kind: [statistics.median(column) for column in zip(*runs)] for kind, runs in results.items()}
        others = [kind for kind in middle if kind != "nearblock" and kind not in FLOORS]
        for kind, (rate, cpu, p99, client) in middle.items():
            ratios = " | | |"
            if kind == "nearblock":
                ratios = "|".join(
                    self.ratio(results, others, column, best) for column, best in ((0, max), (1, min), (2, min))) + "|"
            for floor in reversed([floor for floor in FLOORS if floor in results]):
                ratios = (" | |" if kind in FLOORS else "".join(
                    f" {self.by_rounds(results, kind, floor, column)} |" for column in (0, 1))) + ratios
            print(f"| {work.name} | {kind} | {rate:.0f} | {cpu:.2f} | {p99:.0f} | {limit(work, rate, cpu, client)} |{ratios}",
                  flush=True)

    def ratio(self, results, others, column, best):
        """Of nearblock to the best other server in this column."""
        leader = best(others, key=lambda kind: statistics.median(run[column] for run in results[kind]))
        return f" {self.by_rounds(results, 'nearblock', leader, column)} of {leader} "

    @staticmethod
    def by_rounds(results, kind, other, column):
        """The median, least and most of a server's figures by another one's, each of the same round."""
        ratios = [ours[column] / max(theirs[column], 1e-9) for ours, theirs in zip(results[kind], results[other])]
        return f"{statistics.median(ratios):.2f} ({min(ratios):.2f}-{max(ratios):.2f})"

    # What the suites do.

    def unix(self):
        self.warm()
        self.compare("Unix socket, page cache", SMALL + LARGE)

    def tcp(self):
        self.warm()
        self.compare("TCP, page cache", SMALL + LARGE, transport="tcp")

    def tls(self):
        """nbdcopy reads the whole image; fio has no way to name certificates."""
        self.warm()
        print("\n## TLS over TCP, nbdcopy reads the image\n\n| server | MiB/s | CPU us a MiB | cipher |")
        print("| --- | ---: | ---: | --- |")
        kinds = [kind for kind in self.kinds if Server.can(kind, tls=self.settings.tls)]
        results: dict[Any, list[Any]] = {kind: [] for kind in kinds}
        for _ in range(self.settings.rounds):
            for kind in kinds:
                with Server(kind, self.settings, self.settings.image, transport="tcp", tls=self.settings.tls) as server:
                    results[kind].append(self.copy(server))
        for kind, runs in results.items():
            rate, cpu = (statistics.median(run[column] for run in runs) for column in (0, 1))
            print(f"| {kind} | {rate:.0f} | {cpu:.0f} | {runs[0][2]} |", flush=True)

    def copy(self, server):
        cpu, began = server.cpu(), time.monotonic()
        subprocess.run(["nbdcopy", "--requests=16", server.uri(), "null:"], check=True)
        size = self.size / MI
        rate, cpu = size / (time.monotonic() - began), (server.cpu() - cpu) / size * 1e6
        info = subprocess.run(["nbdinfo", server.uri()], capture_output=True, text=True).stdout
        return rate, cpu, info.split("\n")[0]

    def cold(self):
        self.compare("Unix socket, nothing in the page cache", COLD, prepare=self.cool)

    def direct(self):
        self.compare("Unix socket, O_DIRECT", SMALL[:2] + SMALL[3:5] + LARGE[2:], prepare=self.cool, direct=True)

    def tracking(self):
        """With a dirty map under the disk and nothing else: an index that is current follows the disk."""
        self.warm()
        index = f"{self.settings.folder}/index"
        subprocess.run([self.settings.nearblock, "index", "add", "--index", index, self.settings.image], check=True,
                       stdout=subprocess.DEVNULL)
        print("\n## Dirty tracking\n\n| work | plain/s | tracked/s | rate | CPU |\n| --- | ---: | ---: | --- | --- |")
        for work in (SMALL[4], LARGE[3]):
            results: dict[Any, list[Any]] = {keeps: [] for keeps in (None, index)}
            for _ in range(self.settings.rounds):
                for keeps in results:
                    with Server("nearblock", self.settings, self.settings.image, keeps=keeps) as server:
                        # What the last round wrote is read first.
                        server.wait_until_idle()
                        results[keeps].append(measure(server, work, self.settings.seconds, self.settings.client, self.size))
            plain, tracked = (statistics.median(run.rate for run in runs) for runs in results.values())
            print(f"| {work.name} | {plain:.0f} | {tracked:.0f} | {self.spread(results, 0)} | {self.spread(results, 1)} |",
                  flush=True)

    @staticmethod
    def spread(results, column):
        """The second's figures by the first's, by rounds."""
        ratios = [second[column] / first[column] for first, second in zip(*results.values())]
        return f"{statistics.median(ratios):.3f} ({min(ratios):.3f}-{max(ratios):.3f})"

    def fairness(self):
        """4 KiB reads of one client while another streams 1 MiB requests at depth 16."""
        self.warm()
        print("\n## Fairness: 4K reads at depth 1 beside 1M reads at depth 16\n\n| server | p50 us | p99 us | 1M/s |")
        print("| --- | ---: | ---: | ---: |")
        results: dict[Any, list[Any]] = {kind: [] for kind in self.kinds}
        for _ in range(self.settings.rounds):
            for kind in self.kinds:
                with Server(kind, self.settings, self.settings.image) as server:
                    results[kind].append(self.beside(server))
        for kind, runs in results.items():
            p50, p99, rate = (statistics.median(column) for column in zip(*runs))
            print(f"| {kind} | {p50:.0f} | {p99:.0f} | {rate:.0f} |", flush=True)

    def beside(self, server):
        base = [self.settings.load, "--seconds"]
        stream = subprocess.Popen([*base, str(self.settings.seconds + 1), "--block", str(MI), "--depth", "16",
                                   "--sequential", server.address(), server.export], stdout=subprocess.PIPE)
        time.sleep(0.5)
        small = json.loads(subprocess.check_output([*base, str(self.settings.seconds), server.address(), server.export]))
        large = json.loads(stream.communicate()[0])
        return small["p50"] / 1000, small["p99"] / 1000, large["requests"] / large["seconds"]

    def idle(self):
        """What connections cost that ask for nothing."""
        print("\n## 100 idle connections\n\n| server | CPU s in 5 s | KiB a connection |\n| --- | ---: | ---: |")
        for kind in self.kinds:
            if kind == "nbd-server":
                continue
            with Server(kind, self.settings, self.settings.image) as server:
                before = server.resident()
                clients = subprocess.Popen(
                    [self.settings.load, "--connections", "100", "--idle", "--seconds", "6", server.address(), server.export],
                    stdout=subprocess.DEVNULL)
                time.sleep(1)
                cpu, memory = server.cpu(), server.resident()
                time.sleep(4)
                print(f"| {kind} | {server.cpu() - cpu:.2f} | {(memory - before) / 100 / KI:.0f} |", flush=True)
                clients.terminate()
                clients.wait()


SUITES = ["unix", "tcp", "tls", "cold", "direct", "tracking", "fairness", "idle"]


def main():
    parser = argparse.ArgumentParser()
    for name in ("nearblock", "load", "floor", "image", "folder", "tls"):
        parser.add_argument(f"--{name}", required=True)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=int, default=2)
    parser.add_argument("--client", choices=["fio", "load"], default="fio")
    parser.add_argument("--only", default="")
    parser.add_argument("--against", default="")
    parser.add_argument("--floor-too", action="store_true")
    parser.add_argument("suites", nargs="*", default=SUITES)
    settings = parser.parse_args()
    bench = Bench(settings)
    for suite in settings.suites:
        getattr(bench, suite)()


if __name__ == "__main__":
    main()
