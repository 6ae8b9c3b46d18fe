"""Two sites on one machine: network and mount namespaces with a node each, joined by an emulated WAN."""
import os
import subprocess
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from nearblock_tests.nodes import Node
from nearblock_tests.wan.wan import Wan

if TYPE_CHECKING:
    from nearblock_tests.vms.libvirt import Libvirt

PEER_PORT, MEMORY_PORT = 7000, 7001
QEMU = "qemu-system-x86_64"


class Site:
    """A folder that its processes know as `path`, which is the same at both sites; and a node in it."""

    def __init__(self, name: str, wan: Wan, namespace: str, address: str, scratch: str, binary: str, qemu: str) -> None:
        self.name, self.wan, self.namespace, self.address, self.binary = name, wan, namespace, address, binary
        self.qemu = qemu
        self.folder, self.path = f"{scratch}/{name}", f"{scratch}/site"
        os.makedirs(f"{self.folder}/images")
        os.makedirs(f"{self.folder}/memory", mode=0o755)
        os.makedirs(self.path, exist_ok=True)
        self.running: Node | None = None
        # Where the guests are domains.
        self.libvirt: Libvirt | None = None
        # Holds the mount namespace.
        self.holder: subprocess.Popen[bytes] = subprocess.Popen(
            wan.command(namespace, "unshare", "--mount", "sh", "-c",
                        f"mount --bind '{self.folder}' '{self.path}' && echo ready && exec sleep infinity"),
            stdout=subprocess.PIPE, stdin=subprocess.DEVNULL)
        if not (self.holder.stdout and self.holder.stdout.readline()):
            raise RuntimeError(f"cannot make the mount namespace of {name}")

    @property
    def node(self) -> Node:
        assert self.running, f"no node runs at {self.name}"
        return self.running

    @property
    def peer(self) -> str:
        return f"{self.address}:{PEER_PORT}"

    @property
    def memory(self) -> str:
        return f"tcp:{self.address}:{MEMORY_PORT}"

    @property
    def prefix(self) -> list[str]:
        return ["nsenter", f"--target={self.holder.pid}", "--mount", "--net", "--"]

    def start_node(self, images: Mapping[str, str], more: Sequence[str] = ()) -> None:
        """Serves `images`, by the names of their exports, and takes disks in; `more` are options of the node."""
        with open(f"{self.folder}/exports", "w") as configuration:
            for name, image in images.items():
                configuration.write(f"[export {name}]\nimage = {image}\n")
        self.running = Node(
            self.binary, self.folder,
            ["--insecure-peer", "--peer-listen", self.peer, "--images", f"{self.folder}/images", "--config",
             f"{self.folder}/exports", "--memory-dir", f"{self.path}/memory", *more], self.prefix)

    def end_qemu(self) -> None:
        try:
            pid = int(open(f"{self.folder}/qemu.pid").read())
            os.kill(pid, 9)
        except (OSError, ValueError):
            pass

    def close(self) -> None:
        self.end_qemu()
        if self.running:
            self.running.kill()
            self.running = None
        self.holder.kill()
        self.holder.wait()

    def vanish(self) -> None:
        """As a machine that loses its power."""
        self.close()
        self.wan.remove(self.namespace)


class Sites:
    """`near` and `far`."""

    def __init__(self, relay: str, binary: str, scratch: str, rate: float, rtt: float,
                 qemus: tuple[str, str] = (QEMU, QEMU)) -> None:
        self.wan = Wan(relay, rate, rtt)
        self.binary, self.scratch, self.qemus = binary, scratch, qemus

    def __enter__(self) -> "Sites":
        self.wan.__enter__()
        self.near = Site("near", self.wan, self.wan.near, self.wan.near_address, self.scratch, self.binary,
                         self.qemus[0])
        self.far = Site("far", self.wan, self.wan.far, self.wan.far_address, self.scratch, self.binary, self.qemus[1])
        return self

    def __exit__(self, *failure: Any) -> None:
        for site in (self.near, self.far):
            site.close()
        self.wan.__exit__(*failure)
