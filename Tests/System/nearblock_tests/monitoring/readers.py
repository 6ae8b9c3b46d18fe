"""Clients of the page and of the metrics that ask and read nothing."""
import re
import socket
import time
from pathlib import Path

from nearblock_tests.monitoring.scene import Scene, check, get

# As many as the node takes at once, of each kind.
WATCHERS, SCRAPERS = 16, 31
# Longer than the node is patient with one of them.
SECONDS = 12
MOST_GROWTH = 48


def resident(scene: Scene) -> int:
    """MiB in memory of the source's node."""
    found = re.search(r"VmRSS:\s+(\d+) kB", Path(f"/proc/{scene.source.process.pid}/status").read_text())
    return int(found.group(1)) // 1024 if found else 0


def ask(port: int, path: str) -> socket.socket:
    """A client with a small buffer that has sent its request."""
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
    client.connect(("127.0.0.1", port))
    client.sendall(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode())
    return client


def silent(scene: Scene) -> str:
    """Memory does not grow for them, and others are answered."""
    get(scene.web["source"], "/")
    before = resident(scene)
    clients = [ask(scene.web["source"], "/events") for _ in range(WATCHERS)]
    clients += [ask(scene.metrics["source"], "/metrics") for _ in range(SCRAPERS)]
    most, slowest, end = 0, 0.0, time.monotonic() + SECONDS
    while time.monotonic() < end:
        began = time.monotonic()
        check(get(scene.metrics["source"], "/metrics")[0] == 200, "another client gets no metrics")
        check(get(scene.web["source"], "/page.js")[0] == 200, "another client gets no page")
        slowest = max(slowest, time.monotonic() - began)
        most = max(most, resident(scene) - before)
        time.sleep(0.2)
    for client in clients:
        client.close()
    check(most <= MOST_GROWTH, f"the node has grown by {most} MiB")
    return f"{most} MiB more for {len(clients)} clients, others waited for {slowest * 1000:.0f} ms at most"
