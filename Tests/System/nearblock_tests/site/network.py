"""A LAN of hosts in network and mount namespaces, with a WAN between it and a source."""
import subprocess
from typing import Any

from nearblock_tests.wan.wan import Wan, run


class Host:
    """The namespaces of one host. Its processes see the store at a mount of their own, so that it can be taken from them."""

    def __init__(self, lan: "Lan", number: int, store: str) -> None:
        self.name, self.address = f"h{number}", f"10.98.0.{10 + number}"
        self.namespace, self.store = f"{lan.router}-{number}", store
        run("ip", "netns", "add", self.namespace)
        link, end = f"p{number}", "lan0"
        Wan.inside(lan.router, "ip", "link", "add", link, "type", "veth", "peer", "name", end, "netns", self.namespace)
        Wan.inside(lan.router, "ip", "link", "set", link, "master", "br0", "up")
        Wan.inside(self.namespace, "ip", "link", "set", "lo", "up")
        Wan.inside(self.namespace, "ip", "address", "add", f"{self.address}/24", "dev", end)
        Wan.inside(self.namespace, "ip", "link", "set", end, "up")
        Wan.inside(self.namespace, "ip", "route", "add", "default", "via", Lan.gateway)
        self.holder: subprocess.Popen[bytes] = subprocess.Popen(
            Wan.command(self.namespace, "unshare", "--mount", "sh", "-c",
                        f"mount --bind '{store}' '{store}' && echo ready && exec sleep infinity"),
            stdout=subprocess.PIPE, stdin=subprocess.DEVNULL)
        if not (self.holder.stdout and self.holder.stdout.readline()):
            raise RuntimeError(f"cannot make the mount namespace of {self.name}")

    @property
    def prefix(self) -> list[str]:
        return ["nsenter", f"--target={self.holder.pid}", "--mount", "--net", "--"]

    def hide_store(self) -> None:
        """An empty folder takes the place of the store, as where a share is not mounted."""
        run(*self.prefix, "mount", "-t", "tmpfs", "none", self.store)

    def show_store(self) -> None:
        run(*self.prefix, "umount", self.store)

    def close(self) -> None:
        self.holder.kill()
        self.holder.wait()
        run("ip", "netns", "delete", self.namespace)


class Lan:
    """To be used with `with`. The router's namespace has the bridge of the hosts and the end of the WAN."""

    gateway = "10.98.0.1"

    def __init__(self, relay: str, rate: float, rtt: float) -> None:
        self.wan = Wan(relay, rate, rtt)
        self.hosts: list[Host] = []

    def __enter__(self) -> "Lan":
        self.wan.__enter__()
        self.router = self.wan.far
        inside = self.wan.inside
        inside(self.router, "ip", "link", "add", "br0", "type", "bridge")
        inside(self.router, "ip", "address", "add", f"{self.gateway}/24", "dev", "br0")
        inside(self.router, "ip", "link", "set", "br0", "up")
        inside(self.router, "sysctl", "-q", "net.ipv4.ip_forward=1")
        inside(self.wan.near, "ip", "route", "add", "10.98.0.0/24", "via", self.wan.far_address)
        return self

    def add(self, number: int, store: str) -> Host:
        self.hosts.append(Host(self, number, store))
        return self.hosts[-1]

    def __exit__(self, *failure: Any) -> None:
        for host in self.hosts:
            host.close()
        self.wan.__exit__(*failure)
