"""Two nodes with metrics and pages, disks, and what talks HTTP to them."""
import http.client
import os
import random
import subprocess
import time
import urllib.parse
import urllib.request
from collections.abc import Callable

from nearblock_tests.compat.encrypted import Authority
from nearblock_tests.nodes import Node, free_port

MEBIBYTE = 1 << 20
DISKS = ("one", "two", "three")
# Characters that would end a label, or HTML.
ODD_NAME = 'odd "<b>name</b>\\'


class Failure(Exception):
    pass


def check(holds: bool, complaint: str) -> None:
    if not holds:
        raise Failure(complaint)


def wait_until(what: str, holds: Callable[[], bool], seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > end:
            raise Failure(f"waited in vain until {what}")
        time.sleep(0.05)


def get(port: int, path: str, host: str = "127.0.0.1") -> tuple[int, bytes]:
    """The status and the body of a GET with that Host header."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    try:
        connection.request("GET", path, headers={"Host": host})
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def fetch(url: str, **parameters: str) -> bytes:
    query = f"?{urllib.parse.urlencode(parameters)}" if parameters else ""
    with urllib.request.urlopen(url + query, timeout=20) as answer:
        body: bytes = answer.read()
        return body


class Scene:
    """A source with three disks, a sparse one of 1 TiB, one with an odd name and one that can't be written, and a destination
    with an index."""

    def __init__(self, binary: str, folder: str) -> None:
        self.binary, self.folder = binary, folder
        self.chance = random.Random(29)
        shared = self.chance.randbytes(8 * MEBIBYTE)
        for number, name in enumerate(DISKS):
            self.make(name, shared, 12 + 4 * number)
        self.sizes = {name: os.path.getsize(f"{folder}/{name}.raw") for name in DISKS}
        with open(f"{folder}/neighbour.raw", "wb") as image:
            image.write(shared + self.chance.randbytes(2 * MEBIBYTE))
        with open(f"{folder}/large.raw", "wb") as image:
            image.truncate(1 << 40)
            for place in range(0, 1 << 40, 1 << 36):
                image.seek(place)
                image.write(bytes([1]) * MEBIBYTE)
        with open(f"{folder}/odd.raw", "wb") as image:
            image.truncate(MEBIBYTE)
        subprocess.run([binary, "index", "add", "--index", f"{folder}/index", f"{folder}/neighbour.raw"], check=True,
                       capture_output=True)
        self.start()

    def make(self, name: str, shared: bytes, own: int) -> None:
        """Zeros, blocks of a neighbour, blocks of its own, and the first of these again."""
        with open(f"{self.folder}/{name}.raw", "wb") as image:
            data = self.chance.randbytes(own * MEBIBYTE)
            image.truncate(8 * MEBIBYTE)
            image.seek(8 * MEBIBYTE)
            image.write(shared + data + data[:4 * MEBIBYTE])

    def start(self) -> None:
        folder = self.folder
        authority = Authority(f"{folder}/ca")
        with open(f"{folder}/source.conf", "w") as configuration:
            for name in (*DISKS, "large"):
                configuration.write(f"[export {name}]\nimage = {folder}/{name}.raw\n")
            configuration.write(f"[export faulty]\nimage = nbd+unix:///?socket={folder}/faulty\n")
        self.faulty = subprocess.Popen(["nbdkit", "-f", "-U", f"{folder}/faulty", "--filter=error", "memory", "1M",
                                        "error-pwrite=ENOSPC", "error-pwrite-rate=100%"], stderr=subprocess.DEVNULL)
        wait_until("the faulty storage is there", lambda: os.path.exists(f"{folder}/faulty"))
        self.metrics = {name: free_port() for name in ("source", "destination")}
        self.web = {name: free_port() for name in ("source", "destination")}
        self.peer = free_port()
        os.makedirs(f"{folder}/site", exist_ok=True)
        self.destination = Node(self.binary, f"{folder}/destination", [
            "--peer-listen", f"127.0.0.1:{self.peer}", "--images", f"{folder}/images", "--index", f"{folder}/index",
            "--peer-tls", authority.directory("far"), "--site", f"{folder}/site", "--host", "far",
            *self.monitored("destination")])
        self.source = Node(self.binary, f"{folder}/source", [
            f"{folder}/odd.raw", "--export", ODD_NAME, "--config", f"{folder}/source.conf", "--peer-tls",
            authority.directory("near"), *self.monitored("source")])
        self.nodes = {"source": self.source, "destination": self.destination}

    def monitored(self, name: str) -> list[str]:
        # A port alone is one of loopback's.
        return ["--metrics", str(self.metrics[name]), "--web", f"127.0.0.1:{self.web[name]}"]

    def text(self, name: str) -> str:
        """The metrics of a node."""
        status, body = get(self.metrics[name], "/metrics")
        check(status == 200, f"/metrics of the {name} answers {status}")
        return body.decode()

    def uri(self, name: str) -> str:
        return f"nbd+unix:///{name}?socket={self.folder}/source/nbd"

    def start_move(self, rate: str = "40M") -> None:
        self.source.do("migrate", *DISKS, "--to", f"127.0.0.1:{self.peer}", "--rate", rate, "--detach")

    def has_moved(self) -> bool:
        states = self.source.status()
        return all(states.get(name, {}).get("state", "").startswith(("moved", "released")) for name in DISKS)

    def stop(self) -> None:
        for node in self.nodes.values():
            node.stop()
        self.faulty.terminate()
        self.faulty.wait()
