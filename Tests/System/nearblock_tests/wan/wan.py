"""Two network namespaces with a WAN between them, made for one use and removed after it."""
import os
import subprocess
from typing import Any


class Wan:
    """`near` and `far`, joined by the relay: `rate` in bits a second, `rtt` in milliseconds, `loss` a share of packets."""

    def __init__(self, relay: str, rate: float, rtt: float, loss: float = 0.0) -> None:
        self.rate, self.rtt, self.loss = rate, rtt, loss
        self.near, self.far = (f"nearblock-{end}-{os.getpid()}" for end in ("near", "far"))
        self.near_address, self.far_address = "10.99.0.1", "10.99.0.2"
        self.relay = relay

    def __enter__(self) -> "Wan":
        self.namespaces = [self.near, self.far]
        for namespace in self.namespaces:
            run("ip", "netns", "add", namespace)
        # As much as the path holds, or 50 ms, whichever is more: a router's buffer.
        queue = max(self.rate / 8 * max(self.rtt, 50) / 1000, 128 << 10)
        self.process = subprocess.Popen(
            [self.relay, self.near, self.far, str(self.rate), str(int(self.rtt * 500)), str(self.loss), str(int(queue))],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.speak, listen = self.process.stdin, self.process.stdout
        assert self.speak and listen
        listen.readline()
        ends = ((self.near, self.near_address, self.far_address), (self.far, self.far_address, self.near_address))
        for namespace, own, other in ends:
            self.inside(namespace, "ip", "link", "set", "lo", "up")
            self.inside(namespace, "ip", "address", "add", own, "peer", other, "dev", "wan0")
            self.inside(namespace, "ip", "link", "set", "wan0", "mtu", "1500", "txqueuelen", "1000", "up")
        return self

    def __exit__(self, *_: Any) -> None:
        if self.speak:
            self.speak.close()
        self.process.wait()
        for namespace in list(self.namespaces):
            self.remove(namespace)

    def remove(self, namespace: str) -> None:
        """A site is gone; the relay ends with it."""
        run("ip", "netns", "delete", namespace)
        self.namespaces.remove(namespace)

    def cut(self) -> None:
        """From now on everything is lost, and nobody is told."""
        self.tell(b"c")

    def mend(self) -> None:
        self.tell(b"m")

    def tell(self, word: bytes) -> None:
        assert self.speak
        self.speak.write(word)
        self.speak.flush()

    @staticmethod
    def inside(namespace: str, *command: str) -> None:
        run("ip", "netns", "exec", namespace, *command)

    @staticmethod
    def command(namespace: str, *command: str) -> list[str]:
        """A command line that runs in a namespace."""
        return ["ip", "netns", "exec", namespace, *command]

    def traffic(self) -> int:
        """Bytes that have crossed so far, in both directions."""
        counts = subprocess.check_output(self.command(
            self.near, "cat", *(f"/sys/class/net/wan0/statistics/{way}_bytes" for way in ("rx", "tx"))), text=True)
        return sum(map(int, counts.split()))

    def plain_rate(self, seconds: float = 6.0) -> float:
        """Bytes a second of one bulk TCP stream, once it has got going."""
        receiver = subprocess.Popen(
            self.command(self.far, "python3", "-c", RECEIVER), stdout=subprocess.PIPE, text=True)
        assert receiver.stdout
        receiver.stdout.readline()
        sender = subprocess.Popen(self.command(self.near, "python3", "-c", SENDER, self.far_address, str(seconds)))
        sender.wait()
        return float(receiver.communicate()[0])


# The second half of the time counts.
RECEIVER = """
import socket, time
listener = socket.create_server(("", 9))
print("ready", flush=True)
connection, _ = listener.accept()
marks = []
total = 0
while data := connection.recv(1 << 20):
    total += len(data)
    marks.append((time.monotonic(), total))
middle = marks[0][0] + (marks[-1][0] - marks[0][0]) / 2
half = next(mark for mark in marks if mark[0] >= middle)
print((marks[-1][1] - half[1]) / max(marks[-1][0] - half[0], 1e-9))
"""
SENDER = """
import socket, sys, time
connection = socket.create_connection((sys.argv[1], 9))
end = time.monotonic() + float(sys.argv[2])
data = bytes(1 << 16)
while time.monotonic() < end:
    connection.sendall(data)
"""


def run(*command: str) -> None:
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
