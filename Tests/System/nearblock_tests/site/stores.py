"""The shared folders of a site: one of the kernel's, and CephFS of a real cluster."""
import subprocess
import time
from pathlib import Path
from typing import Any

from nearblock_tests.ceph.cluster import CephFailure, Cluster
from nearblock_tests.site.network import Host
from nearblock_tests.wan.wan import run


class LocalFolder:
    """A tmpfs that all hosts see: one kernel, so what a host writes is there for the others at once."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __enter__(self) -> "LocalFolder":
        run("mount", "-t", "tmpfs", "-o", "size=64M", "none", self.path)
        return self

    def __exit__(self, *_: Any) -> None:
        run("umount", "-l", self.path)

    def attach(self, host: Host) -> None:
        """The host has it, as its namespace of mounts is a copy."""

    def set_read_only(self, is_read_only: bool) -> None:
        command = ["mount", "-o", f"remount,{'ro' if is_read_only else 'rw'}", self.path]
        # The kernel refuses it while a host has a file open for writing.
        end = time.monotonic() + 30
        while subprocess.run(command, stderr=subprocess.DEVNULL).returncode and time.monotonic() < end:
            time.sleep(0.05)
        run(*command)

    def set_full(self, is_full: bool) -> None:
        filler = Path(self.path, "filler")
        if not is_full:
            return filler.unlink()
        with filler.open("wb") as file:
            subprocess.run(["dd", "if=/dev/zero", "bs=64K"], stdout=file, stderr=subprocess.DEVNULL)


class CephFolder:
    """A CephFS that each host mounts by itself with ceph-fuse, as hosts of a site do. The suite has a mount of its own."""

    def __init__(self, path: str, cluster: str) -> None:
        self.path = path
        Path(cluster).mkdir()
        self.cluster = Cluster(Path(cluster), osds=1, has_files=True)
        self.clients: list[subprocess.Popen[bytes]] = []
        self.hosts: list[Host] = []

    def __enter__(self) -> "CephFolder":
        self.cluster.__enter__()
        try:
            self.mount("self", [])
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *failure: Any) -> None:
        subprocess.run(["umount", "-l", self.path], stderr=subprocess.DEVNULL)
        for client in self.clients:
            client.kill()
            client.wait()
        self.cluster.__exit__(*failure)

    def mount(self, process: str, prefix: list[str]) -> None:
        """Mounts it where a process sees it."""
        def mounts() -> int:
            return Path("/proc", process, "mountinfo").read_text().count("fuse.ceph-fuse")

        before = mounts()
        with open(f"{self.cluster.folder}/fuse.{len(self.clients)}.out", "wb") as log:
            self.clients.append(subprocess.Popen([*prefix, "ceph-fuse", "-f", "-c", str(self.cluster.conf), self.path],
                                                 stdin=subprocess.DEVNULL, stdout=log, stderr=log))
        end = time.monotonic() + 60
        while mounts() == before:
            if time.monotonic() > end:
                raise CephFailure(f"ceph-fuse does not mount {self.path}; see {self.cluster.folder}")
            time.sleep(0.1)

    def attach(self, host: Host) -> None:
        self.hosts.append(host)
        # The cluster is on loopback, so the client is in the host's namespace of mounts only.
        self.mount(str(host.holder.pid), ["nsenter", f"--target={host.holder.pid}", "--mount", "--"])

    def set_read_only(self, is_read_only: bool) -> None:
        for host in self.hosts:
            run(*host.prefix, "mount", "-o", f"remount,bind,{'ro' if is_read_only else 'rw'}", self.path)

    def set_full(self, is_full: bool) -> None:
        self.cluster.fill(is_full, "cephfs.data")
