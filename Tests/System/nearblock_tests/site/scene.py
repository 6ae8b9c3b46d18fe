"""The images of a site's hosts, the disks that arrive, and the nodes."""
import filecmp
import json
import os
import random
import subprocess
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from nearblock_tests.nodes import Node
from nearblock_tests.site.network import Host, Lan
from nearblock_tests.site.stores import CephFolder, LocalFolder
from nearblock_tests.wan.wan import run

MEBIBYTE = 1 << 20
BLOCK = 4096
PORT = 7000
HOSTS = 5
# A node looks at the store every so many seconds.
BEAT = 10


class Failure(Exception):
    pass


def check(is_so: bool, complaint: str) -> None:
    if not is_so:
        raise Failure(complaint)


def wait_until(what: str, condition: Callable[[], bool], limit: float = 120) -> None:
    end = time.monotonic() + limit
    while not condition():
        check(time.monotonic() < end, f"after {limit} s not: {what}")
        time.sleep(0.2)


class Corpus:
    """Images made of the same files in other places, as those of related systems are, beside bytes of their own."""

    def __init__(self, folder: str, seed: int, files: int) -> None:
        self.folder, self.chance = folder, random.Random(seed)
        self.files = [self.chance.randbytes(self.chance.randint(16, 512) * BLOCK) for _ in range(files)]

    def make(self, name: str, files: int, own: int, more: bytes = b"") -> str:
        """An image with so many of the files, so many MiB of its own, zeros between them, and `more`."""
        parts = self.chance.sample(self.files, files) + [self.chance.randbytes(MEBIBYTE) for _ in range(own)]
        parts += [more] if more else []
        self.chance.shuffle(parts)
        path = f"{self.folder}/{name}.raw"
        with open(path, "wb") as image:
            for part in parts:
                image.write(part)
                image.write(bytes(self.chance.randint(1, 64) * BLOCK))
        return path


class Scene:
    """Five nodes with two images each, in `folder`; to be used with `with`."""

    def __init__(self, binary: str, relay: str, folder: str, seed: int, scale: int, has_ceph: bool = False) -> None:
        self.binary, self.folder, self.lan = binary, folder, Lan(relay, 200e6, 20)
        self.store, self.nodes, self.hosts = f"{folder}/store", dict[str, Node](), dict[str, Host]()
        os.makedirs(self.store)
        self.shared: LocalFolder | CephFolder = (
            CephFolder(self.store, f"{folder}/cluster") if has_ceph else LocalFolder(self.store))
        corpus = Corpus(folder, seed, files=24 * scale)
        self.images = {f"h{number}": [corpus.make(f"image-{number}-{each}", 12 * scale, 2 * scale) for each in range(2)]
                       for number in range(1, HOSTS + 1)}
        # New at the site, and in all of the disks.
        update = corpus.chance.randbytes(scale * MEBIBYTE)
        self.disks = [corpus.make(f"disk{number}", 10 * scale, 3 * scale, update) for number in range(HOSTS)]
        self.small = [corpus.make(f"small{number}", 6, 1) for number in range(16)]
        self.sources: dict[str, Node] = {}

    def __enter__(self) -> "Scene":
        self.shared.__enter__()
        self.lan.__enter__()
        try:
            self.hosts = {f"h{number}": self.lan.add(number, self.store) for number in range(1, HOSTS + 1)}
            for host in self.hosts.values():
                self.shared.attach(host)
            self.alone = self.lan.add(HOSTS + 1, self.store)
            for name in self.hosts:
                self.index(name, self.images[name])
                self.start(name)
            self.index("alone", [image for images in self.images.values() for image in images])
            self.nodes["alone"] = self.node("alone", self.alone, [])
            for name, disks in (("first", self.disks), ("second", self.disks + self.small)):
                self.sources[name] = self.source(name, disks)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *failure: Any) -> None:
        for node in (*self.nodes.values(), *self.sources.values()):
            node.kill()
        self.lan.__exit__(*failure)
        self.shared.__exit__(*failure)

    def index(self, name: str, images: Iterable[str]) -> None:
        subprocess.run([self.binary, "index", "add", "--index", f"{self.folder}/index-{name}", *images], check=True,
                       capture_output=True)

    def node(self, name: str, host: Host, options: Sequence[str], prefix: Sequence[str] = ()) -> Node:
        return Node(self.binary, f"{self.folder}/{name}",
                    ["--insecure-peer", "--peer-listen", f"{host.address}:{PORT}", "--images",
                     f"{self.folder}/{name}/images", "--index", f"{self.folder}/index-{name}", *options],
                    [*host.prefix, *prefix])

    def start(self, name: str, prefix: Sequence[str] = ()) -> None:
        self.nodes[name] = self.node(name, self.hosts[name], ["--site", self.store, "--host", name], prefix)

    def source(self, name: str, disks: Iterable[str]) -> Node:
        path = f"{self.folder}/{name}.conf"
        with open(path, "w") as configuration:
            for disk in disks:
                export = os.path.basename(disk).removesuffix(".raw")
                copy = f"{self.folder}/{name}-{export}.raw"
                run("cp", "--reflink=auto", disk, copy)
                configuration.write(f"[export {export}]\nimage = {copy}\n")
        return Node(self.binary, f"{self.folder}/{name}", ["--insecure-peer", "--config", path],
                    self.lan.wan.command(self.lan.wan.near))

    # Moves.

    def begin(self, source: str, export: str, host: Host, *options: str) -> "subprocess.Popen[str]":
        return subprocess.Popen(
            [self.binary, "migrate", export, "--to", f"{host.address}:{PORT}", "--json", "--control",
             f"{self.folder}/{source}/control", *options], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def finish(self, move: "subprocess.Popen[str]", export: str, name: str) -> dict[str, Any]:
        """Returns the report of a move, whose image is compared."""
        output, errors = move.communicate(timeout=300)
        check(move.returncode == 0, f"{export} does not move to {name}: {errors.strip()}")
        check(filecmp.cmp(f"{self.folder}/{export}.raw", f"{self.folder}/{name}/images/{export}.raw", shallow=False),
              f"{export} differs at {name}")
        report: dict[str, Any] = json.loads(output.splitlines()[-1])
        return report

    def move(self, export: str, name: str, *options: str) -> dict[str, Any]:
        return self.finish(self.begin("second", export, self.hosts[name], *options), export, name)

    def said(self, name: str, words: str) -> int:
        """How often a node has said something."""
        return self.nodes[name].log().decode(errors="replace").count(words)

    # The site.

    def report(self) -> dict[str, Any]:
        done = subprocess.run([self.binary, "site", "status", "--site", self.store, "--json"], capture_output=True, text=True)
        report: dict[str, Any] = json.loads(done.stdout) if done.returncode == 0 else {}
        return report

    def is_whole(self) -> bool:
        """Every host lists all of its images, and the catalogues all of these."""
        report = self.report()
        hosts = report.get("hosts", [])
        return (report.get("unlisted") == 0 and len(hosts) == HOSTS
                and all(host["alive"] and len(host["images"]) == len(self.images[host["host"]]) for host in hosts))

    def wait_until_known(self) -> None:
        """Until each host has looked at what all have published."""
        wait_until("the site lists all images", self.is_whole)
        time.sleep(1.5 * BEAT)

    def merger(self) -> str:
        with open(f"{self.store}/merge.lease") as lease:
            host: str = json.load(lease)["host"]
            return host
