"""Hosts of a site whose store is RADOS. Used by `test ceph`."""
import json
import os
import random
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from nearblock_tests.ceph.cluster import Cluster
from nearblock_tests.nodes import Node, free_port
from nearblock_tests.repository import ROOT, swift, test_environment

MEBIBYTE = 1 << 20
IMAGE = 16 * MEBIBYTE
# An entry of a member that means harm. Ceph takes those of up to 90 MB.
LONG_ENTRY = 32 * MEBIBYTE
# How soon other hosts find an image after it is in the index.
FOUND_SECONDS = 60
# A node's end, with a cluster that does not answer.
END_SECONDS = 30
# Keys that no node writes, more than one request for a listing has: they stand before all names, between them and behind.
DAMAGED_KEYS = [*(b"\0" + bytes([number]) for number in range(6)), *(b"0\0" + bytes([number]) for number in range(6)),
                b"0\xff", b"\xff\xfe", b"~\0"]


class Failure(Exception):
    pass


def expect(holds: object, what: str) -> None:
    if not holds:
        raise Failure(what)


def wait(what: str, holds: Callable[[], object], seconds: float = 90) -> float:
    """Seconds that it took."""
    began = time.monotonic()
    while not holds():
        if time.monotonic() > began + seconds:
            raise Failure(f"not within {seconds} s: {what}")
        time.sleep(0.5)
    return time.monotonic() - began


class Site:
    """Hosts in `folder`, in a namespace of their own, and a source that serves disks elsewhere."""

    def __init__(self, cluster: Cluster, binary: str, folder: Path) -> None:
        self.cluster, self.binary, self.folder = cluster, binary, folder
        self.namespace = f"site-{os.getpid()}-{folder.name}"
        self.store = f"rados:rbd/{self.namespace}"
        self.nodes: dict[str, Node] = {}
        self.ports: dict[str, int] = {}

    def __enter__(self) -> "Site":
        return self

    def __exit__(self, *_: Any) -> None:
        for node in self.nodes.values():
            node.kill()

    def command(self, *words: str, fails: bool = False) -> str:
        done = subprocess.run([self.binary, *words], capture_output=True, text=True, timeout=120)
        expect((done.returncode != 0) == fails, f"{' '.join(words)}: {done.returncode} {done.stdout} {done.stderr}")
        return done.stderr if fails else done.stdout

    def site(self, *words: str, fails: bool = False) -> str:
        return self.command("site", *words, "--site", self.store, fails=fails)

    def status(self) -> dict[str, Any]:
        """Of no host where no node has made the site yet."""
        done = subprocess.run([self.binary, "site", "status", "--json", "--site", self.store], capture_output=True, text=True)
        answer: dict[str, Any] = json.loads(done.stdout) if done.returncode == 0 else {"hosts": [], "unlisted": 0}
        return answer

    def image(self, name: str, seed: int) -> Path:
        path = self.folder / name
        if not path.exists():
            path.write_bytes(random.Random(seed).randbytes(IMAGE))
        return path

    def index(self, host: str, seed: int) -> None:
        self.command("index", "add", "--index", f"{self.folder}/index-{host}", str(self.image(f"{host}-{seed}.raw", seed)))

    def start(self, host: str, *options: str) -> Node:
        port = self.ports.setdefault(host, free_port())
        arguments = ["--peer-listen", f"127.0.0.1:{port}", "--images", f"{self.folder}/images-{host}", "--index",
                     f"{self.folder}/index-{host}", "--site", self.store, "--host", host, *options]
        if host in self.nodes:
            self.nodes[host].arguments = arguments
            self.nodes[host].start()
        else:
            self.nodes[host] = Node(self.binary, f"{self.folder}/{host}", arguments)
        return self.nodes[host]

    def wait_until_listed(self, images: int) -> float:
        def listed() -> bool:
            status = self.status()
            return bool(status["unlisted"] == 0 and sum(len(host["images"]) for host in status["hosts"]) == images)
        return wait(f"{images} images are listed: {self.logs()}", listed)

    def logs(self) -> str:
        return " | ".join(line for node in self.nodes.values() for line in node.log().decode(errors="replace").splitlines()[-2:])

    def said(self, host: str, text: str) -> bool:
        return text.encode() in self.nodes[host].log()

    def move(self, seed: int, host: str) -> dict[str, int]:
        """Serves a disk elsewhere and sends it to a host; compares it there. Returns the ledger."""
        disk = self.image(f"disk-{seed}.raw", seed)
        name = f"disk{seed}-{time.monotonic_ns()}"
        source = Node(self.binary, f"{self.folder}/{name}", [str(disk), "--export", name])
        try:
            report = json.loads(source.do("migrate", name, "--to", f"127.0.0.1:{self.ports[host]}", "--json").splitlines()[-1])
        finally:
            source.kill()
        expect((self.folder / f"images-{host}/{name}.raw").read_bytes() == disk.read_bytes(), f"{name} is another disk at {host}")
        ledger: dict[str, int] = report["ledger"]
        return ledger


    def objects(self) -> list[str]:
        said = self.cluster.run("rados", "-p", "rbd", "-N", self.namespace, "ls")
        return sorted(said.split())

    def keys(self, folder: str) -> dict[str, Any]:
        """The files of a folder with their heads."""
        names = self.cluster.run("rados", "-p", "rbd", "-N", self.namespace, "listomapkeys", folder, fails=True).split()
        heads = {}
        for name in names:
            value = self.folder / "value"
            self.cluster.run("rados", "-p", "rbd", "-N", self.namespace, "getomapval", folder, name, value)
            heads[name] = json.loads(value.read_bytes() or b"null")
        return heads

    def change_key(self, action: str, folder: str, key: bytes, *value: str | Path) -> None:
        """Sets or removes a key of any bytes."""
        (self.folder / "key").write_bytes(key)
        self.cluster.run("rados", "-p", "rbd", "-N", self.namespace, "--omap-key-file", self.folder / "key", action, folder, *value)

    def orphans(self) -> list[str]:
        """Objects with bytes that no file has, and pieces that are missing."""
        expected = set()
        for folder in ["samples", *(f"hosts/{host}" for host in self.keys("hosts"))]:
            for name, head in self.keys(folder).items():
                expect(not name.startswith("~"), f"{name} is left over in {folder}")
                expected |= {f"data/{head['id']}/{n}" for first, last in head["pieces"] for n in range(first, last + 1)}
        return sorted(expected ^ {name for name in self.objects() if name.startswith("data/")})


def stores(cluster: Cluster, _: str, folder: Path) -> str:
    environment = test_environment(NEARBLOCK_CEPH_CONF=str(cluster.conf))
    command = [swift(), "test", "--skip-build", "--ignore-lock", "--filter", "SiteFilesTests|Rados|SharedLibraryTests|DiskClaimTests|DiskRulesTests"]
    with open(folder / "log", "wb") as log:
        status = subprocess.run(command, cwd=ROOT, env=environment, stdout=log, stderr=log).returncode
    text = (folder / "log").read_text(errors="replace")
    expect(status == 0, "; ".join([line for line in text.splitlines() if "✘" in line][:5]) or text[-500:])
    return text.strip().splitlines()[-1].strip("✔ \u200b")


def two_hosts(cluster: Cluster, binary: str, folder: Path) -> Site:
    """Hosts `a`, which has the image 1, and `b`."""
    site = Site(cluster, binary, folder)
    try:
        site.index("a", 1)
        site.start("a")
        site.start("b")
        site.wait_until_listed(1)
    except BaseException:
        site.__exit__()
        raise
    return site


def move_found(site: Site, seed: int, host: str) -> None:
    """A disk arrives, and nearly all of it is found at other hosts."""
    def arrives() -> bool:
        return site.move(seed, host)["neighbour"] > IMAGE * 97 // 100
    # The host looks at the store every 10 s.
    wait(f"image {seed} is found by {host}: {site.logs()}", arrives, 60)


def borrowed(cluster: Cluster, binary: str, folder: Path) -> str:
    with two_hosts(cluster, binary, folder) as site:
        move_found(site, 1, "b")
        site.index("a", 2)
        began = time.monotonic()
        move_found(site, 2, "b")
        seconds = time.monotonic() - began
        expect(seconds < FOUND_SECONDS, f"a new image was found after {seconds:.0f} s")
        expect(site.site("verify") == "", "verify says something")
        expect(not site.orphans(), f"{site.orphans()}")
        expect("alive" in site.site("remove", "a", fails=True), "a host that lives can be removed")
        for host, node in site.nodes.items():
            node.stop()
            expect(node.process.returncode == 0, f"{host} ends with {node.process.returncode}")
        return f"a new image is found after {seconds:.0f} s"


def damaged(cluster: Cluster, binary: str, folder: Path) -> str:
    """Objects that are cut short or gone, a record that is none, and keys of any bytes."""
    with two_hosts(cluster, binary, folder) as site:
        rados = ("rados", "-p", "rbd", "-N", site.namespace)
        short = folder / "short"
        short.write_bytes(b"no table")
        head = next(head for name, head in site.keys("hosts/a").items() if name.endswith(".table"))
        cluster.run(*rados, "put", f"data/{head['id']}/0", short)
        expect("wrong length" in site.site("verify", fails=True), "verify finds nothing")
        wait("the table is published again", lambda: head["id"] not in json.dumps(site.keys("hosts/a")))
        expect(site.site("verify") == "", "verify still finds something")
        for name, head in site.keys("samples").items():
            cluster.run(*rados, "put", f"data/{head['id']}/0", short)
        # A host that nobody writes for.
        cluster.run(*rados, "setomapval", "hosts", "z", "")
        cluster.run(*rados, "create", "hosts/z")
        cluster.run(*rados, "put", "hosts/z/host.json", short)
        expect("hosts/z/host.json is damaged" in site.site("verify", fails=True), "verify misses a record")
        # Its keys are damaged, too, and name bytes that go with them.
        cluster.run(*rados, "put", f"data/{'d' * 32}/0", short)
        short.write_text(json.dumps({"size": 8, "id": "d" * 32, "host": "z", "pieces": [[0, 0]]}))
        for key in DAMAGED_KEYS:
            for target in ("hosts", "hosts/a", "hosts/z", "samples"):
                site.change_key("setomapval", target, key, "--input-file", short)
        site.index("a", 4)
        move_found(site, 4, "b")
        site.site("remove", "z")
        for key in DAMAGED_KEYS:
            for target in ("hosts", "hosts/a", "samples"):
                site.change_key("rmomapkey", target, key)
        wait("all is whole again", lambda: not json.loads(site.site("status", "--json"))["problems"])
        move_found(site, 1, "b")
        expect(site.site("verify") == "" and not site.orphans(), f"{site.orphans()}")
    return ""


def full(cluster: Cluster, binary: str, folder: Path) -> str:
    with two_hosts(cluster, binary, folder) as site:
        cluster.fill(True)
        try:
            site.index("a", 3)
            wait("the host says that the pool is full", lambda: site.said("a", "the pool is full"))
            expect(site.move(3, "b")["neighbour"] == 0, "an image that is not published is found")
        finally:
            cluster.fill(False)
        site.wait_until_listed(2)
        move_found(site, 3, "b")
        expect(site.site("verify") == "" and not site.orphans(), f"{site.orphans()}")
    return ""


def osd(cluster: Cluster, binary: str, folder: Path) -> str:
    with two_hosts(cluster, binary, folder) as site:
        move_found(site, 1, "b")
        for number in range(3):
            cluster.kill(f"osd.{number}")
            site.index("a", 10 + number)
            # Whatever is on that OSD is a miss, or a wait that ends.
            site.move(1, "b")
            cluster.start(f"osd.{number}")
            cluster.wait_until_clean()
        site.wait_until_listed(4)
        for number in range(3):
            move_found(site, 10 + number, "b")
        expect(site.site("verify") == "" and not site.orphans(), f"{site.orphans()}")
    return ""


def away(cluster: Cluster, binary: str, folder: Path) -> str:
    with two_hosts(cluster, binary, folder) as site:
        move_found(site, 1, "b")
        cluster.signal(signal.SIGSTOP)
        try:
            began = time.monotonic()
            site.start("c")
            ready = time.monotonic() - began
            site.move(20, "b")
            arrived = time.monotonic() - began - ready
            wait("the hosts say so", lambda: all(site.said(host, "cannot ") for host in "abc"))
            began = time.monotonic()
            site.nodes["c"].stop()
            ended = time.monotonic() - began
            expect(ended < END_SECONDS, f"the node ends after {ended:.0f} s")
        finally:
            cluster.resume()
        wait("the site is whole again", lambda: all(site.said(host, "the site is whole again") for host in "ab"))
        move_found(site, 1, "b")
        return f"without a cluster: ready after {ready:.1f} s, 16 MiB arrive in {arrived:.1f} s, the node ends in {ended:.1f} s"


def merger(cluster: Cluster, binary: str, folder: Path) -> str:
    kills = 8
    with two_hosts(cluster, binary, folder) as site:
        for number in range(kills):
            site.index("ab"[number % 2], 30 + number)
            victim = "ab"[number // 2 % 2]
            # Anywhere in a turn, of which the work takes the first second.
            time.sleep(random.Random(number).uniform(0, 12))
            site.nodes[victim].kill()
            site.start(victim)
        # A lease lasts for a minute.
        site.wait_until_listed(kills + 1)
        wait("nothing is left over", lambda: not any(name.startswith("~") for name in site.keys("samples")), 120)
        expect(site.site("verify") == "" and not site.orphans(), f"{site.orphans()}")
        move_found(site, 37, "a" if (kills - 1) % 2 else "b")
        return f"{kills} kills, {len(site.keys('samples'))} catalogues"


def peak(node: Node) -> int:
    """The most memory that a node has had, in bytes."""
    lines = Path(f"/proc/{node.process.pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) << 10 for line in lines if line.startswith("VmHWM"))


def liar(cluster: Cluster, binary: str, folder: Path) -> str:
    """A member whose images are not what its tables say, and that writes entries which make no sense, or are huge."""
    with two_hosts(cluster, binary, folder) as site:
        # A disk each for what is found before, with other bytes in the image, and with other records.
        for seed in (40, 41, 42):
            site.index("l", seed)
        site.start("l")
        site.wait_until_listed(4)
        move_found(site, 40, "b")
        for seed in (41, 42):
            site.image(f"l-{seed}.raw", seed).write_bytes(random.Random(seed + 100).randbytes(IMAGE))
        expect(site.move(41, "b")["neighbour"] == 0, "other bytes than the table says count as found")
        site.nodes["l"].kill()
        rados = ("rados", "-p", "rbd", "-N", site.namespace)
        absent = {"size": 200 << 22, "id": "0123456789abcdef" * 2, "host": "l", "pieces": [[0, 199]]}
        entries: dict[str, bytes] = {f"huge{number}": bytes(LONG_ENTRY) for number in range(4)}
        entries |= {f"{number:032x}.table": json.dumps(absent).encode() for number in range(8)}
        entries |= {"x.table": b"{", f"{9:032x}.table": json.dumps(absent | {"pieces": [[5, 1]]}).encode()}
        before = peak(site.nodes["b"])
        for target in ("hosts/l", "samples"):
            for name, value in entries.items():
                (folder / "value").write_bytes(value)
                cluster.run(*rados, "setomapval", target, name.replace(".table", ".catalogue" if target == "samples" else ".table"),
                            "--input-file", folder / "value")
        # A record with the address of another member, which has none of the images.
        record = json.loads(cluster.run(*rados, "get", "hosts/l/host.json", "-"))
        record |= {"address": f"127.0.0.1:{site.ports['a']}", "beat": record["beat"] + 100}
        (folder / "value").write_text(json.dumps(record))
        cluster.run(*rados, "put", "hosts/l/host.json", folder / "value")
        wait("the others say so", lambda: all(site.said(host, "wrong length") for host in "ab"))
        expect(site.move(42, "b")["neighbour"] == 0, "bytes of a host that lacks the image count as found")
        site.index("a", 43)
        move_found(site, 1, "b")
        move_found(site, 43, "b")
        more = peak(site.nodes["b"]) - before
        # Of the long entries, and of what a move takes.
        expect(more < 8 * LONG_ENTRY + 256 * MEBIBYTE, f"{more >> 20} MiB of memory for entries of {LONG_ENTRY >> 20} MiB")
        for name in entries:
            cluster.run(*rados, "rmomapkey", "samples", name.replace(".table", ".catalogue"))
        site.site("remove", "l")
        wait("all is whole again", lambda: not json.loads(site.site("status", "--json"))["problems"])
        expect(site.site("verify") == "" and not site.orphans(), f"{site.orphans()}")
        return f"{more >> 20} MiB more at the host that looks"
