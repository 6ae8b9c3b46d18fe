"""Disks on RBD images that another host of the site takes over. Used by `test ceph`."""
import contextlib
import datetime
import json
import os
import random
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import nbd
from nearblock_tests.ceph.cluster import Cluster
from nearblock_tests.ceph.sites import MEBIBYTE, Site, expect, wait
from nearblock_tests.nodes import Node, NodeFailure, free_port

BLOCK = 4096
# fio's part of the disk, and after it that of the writer.
FIO_SIZE, BLOCKS = 8 * MEBIBYTE, 512
SIZE = FIO_SIZE + BLOCKS * BLOCK
# Requests of a client whose server is gone.
CLIENT_SECONDS = 60


def connect(uri: str) -> nbd.NBD:
    client = nbd.NBD()
    client.connect_uri(uri)
    return client


class Writer(threading.Thread):
    """Writes numbered blocks and flushes now and then, until the connection ends. What a flush has covered must survive."""

    def __init__(self, uri: str, seed: int, flushed: dict[int, int]) -> None:
        super().__init__(daemon=True)
        self.uri, self.random, self.flushed = uri, random.Random(seed), flushed
        # Versions that may be there instead of the flushed one: written, and perhaps not flushed.
        self.later: dict[int, set[int]] = {}
        self.flushes, self.number, self.is_wanted = 0, seed << 32, True

    def run(self) -> None:
        with contextlib.suppress(nbd.Error):
            client = connect(self.uri)
            while self.is_wanted:
                written: dict[int, int] = {}
                for _ in range(self.random.randrange(1, 8)):
                    self.number += 1
                    block = self.random.randrange(BLOCKS)
                    self.later.setdefault(block, set()).add(self.number)
                    client.pwrite(content(block, self.number), FIO_SIZE + block * BLOCK)
                    written[block] = self.number
                client.flush()
                self.flushes += 1
                for block, number in written.items():
                    self.flushed[block] = number
                    self.later[block] = set()

    def stop(self, seconds: float) -> None:
        self.is_wanted = False
        self.join(seconds)
        expect(not self.is_alive(), "a writer does not end")


def content(block: int, number: int) -> bytes:
    return (block.to_bytes(8, "little") + number.to_bytes(8, "little")) * (BLOCK // 16)


def check_disk(uri: str, flushed: dict[int, int], later: dict[int, set[int]]) -> None:
    """Each block must have the flushed version or a later one; what is there counts as flushed from now on."""
    client = connect(uri)
    for block in range(BLOCKS):
        data = bytes(client.pread(BLOCK, FIO_SIZE + block * BLOCK))
        number = int.from_bytes(data[8:16], "little")
        allowed = {flushed.get(block, 0)} | later.get(block, set())
        expect(number in allowed, f"block {block} has version {number:x}, not one of {[f'{n:x}' for n in sorted(allowed)]}")
        expect(data == (content(block, number) if number else bytes(BLOCK)), f"block {block} is torn: {data[:16].hex()}")
        flushed[block] = number
    client.flush()
    client.shutdown()


def fio(folder: Path, uri: str, *options: str) -> None:
    command = ["fio", "--name=guest", "--ioengine=nbd", f"--uri={uri}", "--rw=randwrite", "--bs=4k", "--iodepth=8", f"--size={FIO_SIZE}",
               "--verify=crc32c", "--verify_fatal=1", f"--aux-path={folder}", *options]
    done = subprocess.run(command, capture_output=True, text=True)
    expect(done.returncode == 0, f"fio: {done.stderr.strip()[-300:] or done.stdout[-300:]}")


class Hosts:
    """Two hosts that may serve `rbd:rbd/IMAGE` as `disk`."""

    def __init__(self, site: Site, image: str) -> None:
        self.site, self.image = site, image
        site.cluster.run("rbd", "create", "--size", f"{SIZE // MEBIBYTE}M", f"rbd/{image}")

    def start(self, host: str) -> Node:
        return self.site.start(host, f"rbd:rbd/{self.image}", "--export", "disk")

    def uri(self, host: str) -> str:
        return f"nbd+unix:///disk?socket={self.site.folder}/{host}/nbd"

    def served(self) -> None:
        """Waits until the record says that all of the disk is there."""
        wait("its record says that it is whole", lambda: "served" in str(self.site.status().get("disks")), 30)

    def take_over(self, host: str, *options: str, fails: bool = False) -> str:
        return self.site.site("takeover", "disk", "--host", host, *options, fails=fails)


def helpers(node: Node) -> list[int]:
    """The helper processes of a node."""
    said = subprocess.run(["pgrep", "-P", str(node.process.pid)], capture_output=True, text=True).stdout
    return [int(word) for word in said.split()]


@contextlib.contextmanager
def stopped(node: Node) -> Iterator[None]:
    """The node and its helpers stand still, as on a host that is very slow, and then go on."""
    processes = [node.process.pid, *helpers(node)]
    for process in processes:
        os.kill(process, signal.SIGSTOP)
    try:
        yield
    finally:
        for process in processes:
            os.kill(process, signal.SIGCONT)


def write_once(uri: str) -> None:
    """Writes what is there already, so that librbd takes the image's lock."""
    client = connect(uri)
    client.pwrite(client.pread(BLOCK, FIO_SIZE), FIO_SIZE)
    client.flush()
    client.shutdown()


def fences(cluster: Cluster) -> dict[str, str]:
    """Clients that are kept out, and until when."""
    said = cluster.run("ceph", "osd", "blocklist", "ls", "--format", "json")
    # After the list come ranges, in another one.
    entries, _ = json.JSONDecoder().raw_decode(said.strip())
    return {entry["addr"]: entry["until"] for entry in entries}


def check_fences(cluster: Cluster, earlier: dict[str, str]) -> None:
    """No fence has become shorter by a write of the new owner's."""
    new = {address: until for address, until in fences(cluster).items() if address not in earlier}
    expect(new, "nobody is fenced")
    for address, until in new.items():
        # "2026-12-30T22:10:00.123456+0000"
        left = datetime.datetime.strptime(until, "%Y-%m-%dT%H:%M:%S.%f%z") - datetime.datetime.now(datetime.timezone.utc)
        expect(left.days >= 28, f"the fence of {address} lasts for {left} only")


def refused(uri: str) -> bool:
    """Whether a connection, a write or its flush fails."""
    client = nbd.NBD()
    try:
        client.connect_uri(uri)
        client.pwrite(b"\xee" * BLOCK, FIO_SIZE)
        client.flush()
    except nbd.Error:
        return True
    return False


def repeated(cluster: Cluster, binary: str, folder: Path, *, rounds: int) -> str:
    names, flushed, flushes = ["a", "b"], dict[int, int](), 0
    seconds: list[float] = []
    earlier = fences(cluster)
    with Site(cluster, binary, folder) as site:
        hosts = Hosts(site, f"disk-{os.getpid()}")
        hosts.start("a")
        wait("the host shows that it lives", lambda: any(host["alive"] for host in site.status()["hosts"]))
        # The other host must not get the disk as long as this one is not known to be gone.
        try:
            hosts.start("b")
            expect(False, "two hosts serve one disk")
        except NodeFailure as failure:
            expect("is served by the host 'a'" in str(failure), str(failure))
        expect("shows that it lives" in hosts.take_over("b", fails=True), "a host that lives loses its disk")
        seed = "--randseed=1000"
        fio(folder, hosts.uri("a"), "--do_verify=0", "--end_fsync=1", seed)
        for number in range(rounds):
            here, there = names[number % 2], names[(number + 1) % 2]
            node = site.nodes[here]
            writer = Writer(hosts.uri(here), number + 1, flushed)
            writer.start()
            wait("the writer has flushed", lambda: writer.flushes > 20 or not writer.is_alive(), 60)
            expect(writer.is_alive(), f"the writer has ended: {site.logs()}")
            began = time.monotonic()
            # One in three is only slow.
            if number % 3 == 2:
                with stopped(node):
                    hosts.take_over(there, "--force")
                    hosts.start(there)
                    seconds.append(time.monotonic() - began)
                    check_disk(hosts.uri(there), flushed, writer.later)
                    next_writer = Writer(hosts.uri(there), 1 << 16 | number + 1, dict(flushed))
                    next_writer.start()
                    wait("the new owner's writer has flushed", lambda: next_writer.flushes > 20, 60)
                    check_fences(cluster, earlier)
                # What the old one had in flight, and what its clients write from now on, fails. The new one writes meanwhile.
                writer.join(CLIENT_SECONDS)
                expect(not writer.is_alive(), "the writer of the slow node has neither failed nor ended")
                expect(refused(hosts.uri(here)), "the node that was slow writes on")
                expect(next_writer.is_alive(), f"the new owner's writer has ended: {site.logs()}")
                node.kill()
                next_writer.stop(CLIENT_SECONDS)
                # A number of the old writer would be in none of these.
                flushed = next_writer.flushed
                check_disk(hosts.uri(there), flushed, next_writer.later)
                flushes += next_writer.flushes
            else:
                node.kill()
                hosts.take_over(there, "--force")
                hosts.start(there)
                seconds.append(time.monotonic() - began)
                writer.join(CLIENT_SECONDS)
                expect(not writer.is_alive(), "the writer of a node that was killed hangs")
                check_disk(hosts.uri(there), flushed, writer.later)
                write_once(hosts.uri(there))
                check_fences(cluster, earlier)
            flushes += writer.flushes
            fio(folder, hosts.uri(there), "--verify_only", seed)
            if number % 5 == 0:
                seed = f"--randseed={number + 1}"
                fio(folder, hosts.uri(there), "--do_verify=0", "--end_fsync=1", seed)
        last = site.nodes[names[rounds % 2]]
        # The same host after a kill, and after an end in order.
        last.kill()
        last.start()
        check_disk(hosts.uri(names[rounds % 2]), flushed, {})
        last.stop()
        last.start()
        check_disk(hosts.uri(names[rounds % 2]), flushed, {})
    middle = sorted(seconds)[len(seconds) // 2]
    return f"{rounds} takeovers, {middle:.1f} s in the middle, {flushes} flushes"


def restricted(cluster: Cluster, binary: str, folder: Path) -> str:
    """Nodes and command as a user of Ceph who may use one pool only. There is no other user's key."""
    earlier, flushed = fences(cluster), dict[int, int]()
    with cluster.restricted("nearblock", folder), Site(cluster, binary, folder) as site:
        hosts = Hosts(site, f"restricted-{os.getpid()}")
        hosts.start("a")
        writer = Writer(hosts.uri("a"), 1, flushed)
        writer.start()
        wait("the writer has flushed", lambda: writer.flushes > 20, 60)
        hosts.served()
        with stopped(site.nodes["a"]):
            hosts.take_over("b", "--force")
            hosts.start("b")
            check_disk(hosts.uri("b"), flushed, writer.later)
            write_once(hosts.uri("b"))
            check_fences(cluster, earlier)
        writer.join(CLIENT_SECONDS)
        expect(not writer.is_alive() and refused(hosts.uri("a")), "the node that was slow writes on")
    return ""


def stays_left(site: Site, host: str) -> None:
    said = site.site("takeover", "disk", "--host", host, "--force", fails=True)
    expect("was moving away" in said, said)


def moved_on(cluster: Cluster, binary: str, folder: Path) -> str:
    """A disk that arrived on RBD and moved on is not taken over, also after a restart of the host in the middle."""
    with Site(cluster, binary, folder) as site:
        image, disk = f"moved-{os.getpid()}", site.image("disk-51.raw", 51)
        cluster.run("rbd", "create", "--size", "16M", f"rbd/{image}")
        site.start("a", "--prepare", f"/bin/echo rbd:rbd/{image}")
        site.start("c")
        source = Node(binary, f"{folder}/source", [str(disk), "--export", "disk"])
        try:
            source.do("migrate", "disk", "--to", f"127.0.0.1:{site.ports['a']}")
            wait("its record says that it is whole", lambda: "served" in str(site.status().get("disks")))
            site.nodes["a"].do("migrate", "disk", "--to", f"127.0.0.1:{site.ports['c']}")
            stays_left(site, "b")
            site.nodes["a"].kill()
            site.nodes["a"].start()
            wait("the node knows the disk", lambda: "moved" in site.nodes["a"].state("disk"))
            stays_left(site, "b")
        finally:
            source.kill()
    return ""


def alone(cluster: Cluster, binary: str, folder: Path) -> str:
    """A disk that moved away while the store was not told, or whose record was removed: the copy left behind is not taken over."""
    with Site(cluster, binary, folder) as site:
        hosts = Hosts(site, f"alone-{os.getpid()}")
        site.start("c")
        away = f"127.0.0.1:{site.ports['c']}"
        record = f"disks/rbd:rbd/{hosts.image}"

        def rados(*words: str | Path) -> None:
            cluster.run("rados", "-p", "rbd", "-N", site.namespace, *words)

        hosts.start("a")
        hosts.served()
        node, arguments = site.nodes["a"], list(site.nodes["a"].arguments)
        node.stop()
        # Without the site.
        node.arguments = [f"rbd:rbd/{hosts.image}", "--export", "disk", "--identity", hosts.image]
        node.start()
        node.do("migrate", "disk", "--to", away)
        node.stop()
        expect("served" in str(site.status().get("disks")), "a node without the site writes to its store")
        for identity in (list[str](), ["--identity", hosts.image]):
            node.arguments = [*arguments, *identity]
            # Without the identity nothing tells the image from others, and the node does not serve it.
            with contextlib.nullcontext() if identity else contextlib.suppress(NodeFailure):
                node.start()
            wait("the node has claimed the disk", lambda: "leaving" in str(site.status().get("disks")), 30)
            stays_left(site, "b")
            node.kill()
        # The record is damaged, and the operator removes it.
        damage = folder / "damage"
        damage.write_bytes(b"?")
        rados("put", record, damage)
        expect("is damaged" in site.site("takeover", "disk", "--host", "b", "--force", fails=True), "a damaged record is taken for none")
        rados("rm", record)
        node.start()
        stays_left(site, "b")
        node.kill()
        # A record by which another host has handed the disk over: nobody knows which one is newer.
        rados("rm", record)
        wait("nobody uses the image", lambda: "none" in cluster.run("rbd", "status", f"rbd/{hosts.image}"))
        hosts.start("d")
        hosts.served()
        site.nodes["d"].kill()
        hosts.take_over("a", "--force")
        try:
            node.start()
            expect(False, "the node serves a disk of which its records say that it has moved")
        except NodeFailure as failure:
            expect("remove the one that is wrong" in str(failure), str(failure))
        expect("served" in str(site.status().get("disks")), "the record has changed")
        moved = [path for path in (folder / "a" / "state").glob("moved-*.json")]
        expect(len(moved) == 1, f"{moved}")
        moved[0].unlink()
        node.start()
        expect(node.state("disk") == "serving", node.state("disk"))
        hosts.served()
    return ""


def unfinished(cluster: Cluster, binary: str, folder: Path) -> str:
    """A disk that arrives on RBD: taken over only once it is there whole, and not once it moves away."""
    with Site(cluster, binary, folder) as site:
        image = f"unfinished-{os.getpid()}"
        cluster.run("rbd", "create", "--size", "16M", f"rbd/{image}")
        site.start("a", "--prepare", f"/bin/echo rbd:rbd/{image}")
        disk, port = site.image("disk-50.raw", 50), free_port()
        source = Node(binary, f"{folder}/source", [str(disk), "--export", "disk", "--peer-listen", f"127.0.0.1:{port}",
                                                   "--images", f"{folder}/source/images"])
        try:
            # Nearly nothing has come at the switchover.
            source.do("migrate", "disk", "--to", f"127.0.0.1:{site.ports['a']}", "--switch", "now", "--rate", "8M", "--detach")
            wait("the disk is switched over", lambda: "active" in site.nodes["a"].state("disk"))
            site.nodes["a"].kill()
            said = site.site("takeover", "disk", "--host", "b", "--force", fails=True)
            expect("had not arrived completely" in said, said)
            site.nodes["a"].start()
            source.do("rate", "disk", "1G")
            wait("the disk is whole", lambda: site.nodes["a"].state("disk") == "serving")
            wait("its record says so", lambda: "served" in str(site.status().get("disks")))
            site.nodes["a"].kill()
            site.site("takeover", "disk", "--host", "b", "--force")
            site.start("b", f"rbd:rbd/{image}", "--export", "disk", "--identity", image)
            client = connect(f"nbd+unix:///disk?socket={folder}/b/nbd")
            expect(bytes(client.pread(16 * MEBIBYTE, 0)) == disk.read_bytes(), "another disk after the takeover")
            client.shutdown()
            # Away from b, and nobody may take the copy that stays behind, also after a command that fails and a restart.
            site.start("c")
            site.nodes["b"].do("migrate", "disk", "--to", f"127.0.0.1:{site.ports['c']}")
            stays_left(site, "a")
            try:
                site.nodes["b"].do("migrate", "disk", "--to", f"127.0.0.1:{site.ports['c']}")
                expect(False, "a disk moves twice")
            except NodeFailure as failure:
                expect("has moved" in str(failure), str(failure))
            stays_left(site, "a")
            for _ in range(2):
                site.nodes["b"].kill()
                stays_left(site, "a")
                site.nodes["b"].start()
            # The same name without its records, which alone know where the disk is.
            site.nodes["b"].kill()
            shutil.rmtree(folder / "b" / "state")
            try:
                site.start("b", f"rbd:rbd/{image}", "--export", "disk", "--identity", image)
                expect(False, "a copy that was left behind is served")
            except NodeFailure as failure:
                expect("only the state directory" in str(failure), str(failure))
        finally:
            source.kill()
    return ""


def reloaded(cluster: Cluster, binary: str, folder: Path) -> str:
    """An export is opened anew while its helper still ends; and one that could not be opened is offered once it can be."""
    image, config = f"reloaded-{os.getpid()}", folder / "node.conf"
    cluster.run("rbd", "create", "--size", f"{SIZE // MEBIBYTE}M", f"rbd/{image}")

    def configure(more: str = "") -> None:
        config.write_text(f"[export disk]\nimage = rbd:rbd/{image}\n{more}")

    with Site(cluster, binary, folder) as site:
        configure()
        node = site.start("a", "--config", str(config))
        for more in ("direct = true\n", "", "direct = true\n"):
            configure(more)
            node.do("reload")
            expect(node.state("disk").startswith("serving"), f"after a reload it is {node.state('disk')!r}")
            write_once(f"nbd+unix:///disk?socket={folder}/a/nbd")
        node.stop()
        client = subprocess.Popen(["rbd", "watch", f"rbd/{image}"], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)
        wait("a client uses it", lambda: "watcher=" in cluster.run("rbd", "status", f"rbd/{image}"), 30)
        node.start()
        expect(not node.state("disk").startswith("serving"), "it is served although another client uses it")
        client.terminate()
        client.wait()
        wait("it is offered", lambda: node.state("disk").startswith("serving"), 60)
    return "3 reloads"
