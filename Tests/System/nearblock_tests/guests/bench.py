"""One test's folder, its nodes, and its guest."""
import os
import re
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from nearblock_tests import initrd
from nearblock_tests.nodes import Node, free_port

# A guest without KVM is slow.
LIMIT = 600
NETWORK = ("-netdev", "user,id=net", "-device", "virtio-net-pci,netdev=net")
ERRORS = re.compile(r"GUEST: kernel|I/O error|EXT4-fs error|Kernel panic")

EXPORTS = """[export disk]
image = {folder}/disk.raw
[export odd]
image = {folder}/odd.raw
[export fixed]
image = {folder}/fixed.raw
read-only = true
"""


class Failure(Exception):
    pass


def wait_until(is_so: Callable[[], bool], limit: float, complaint: Callable[[], str]) -> None:
    end = time.monotonic() + limit
    while not is_so():
        if time.monotonic() > end:
            raise Failure(complaint())
        time.sleep(0.2)


class Bench:
    """From `with` to its end, at which all that it has started ends. `made` has vmlinuz and initrd; tests that last as long
    as one likes keep up their load for `seconds`, and make their choices by `seed`."""

    def __init__(self, folder: Path, nearblock: str, made: Path, seconds: int, seed: int = 0) -> None:
        self.folder, self.nearblock, self.seconds, self.seed = folder, nearblock, seconds, seed
        self.kernel, self.initrd = made / "vmlinuz", made / "initrd"
        self.console = folder / "console"
        self.nodes: list[Node] = []
        self.qemu: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> "Bench":
        return self

    def __exit__(self, *_: Any) -> None:
        if self.qemu:
            self.qemu.kill()
            self.qemu.wait()
        for node in self.nodes:
            node.kill()

    def start_node(self, name: str, *arguments: str) -> Node:
        """Its sockets, state and log are in the folder of this name."""
        node = Node(self.nearblock, str(self.folder / name), arguments)
        self.nodes.append(node)
        return node

    def start_server(self, *arguments: str) -> Node:
        return self.start_node("server", *arguments)

    def start_guest(self, test: str, arguments: str = "", *more: str) -> None:
        """`arguments` are words of the kernel's command line, `more` are QEMU's."""
        self.console.write_bytes(b"")
        with open(self.folder / "qemu.log", "wb") as log:
            self.qemu = subprocess.Popen(
                ["qemu-system-x86_64", "-machine", "q35", "-accel", "tcg,thread=multi", "-cpu", "max", "-smp", "2", "-m", "1024",
                 "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot", "-serial", f"file:{self.console}",
                 "-kernel", str(self.kernel), "-initrd", str(self.initrd), "-append",
                 f"console=ttyS0 quiet panic=-1 test={test} seconds={self.seconds} {arguments}", *more],
                stdin=subprocess.DEVNULL, stderr=log)

    def said(self) -> str:
        return self.console.read_text(errors="replace")

    def wait_for(self, words: str) -> None:
        """Until the guest has said them."""
        def have_come() -> bool:
            if words in self.said():
                return True
            if self.qemu is None or self.qemu.poll() is not None:
                raise Failure(f"the guest has ended without saying '{words}'")
            return False
        wait_until(have_come, LIMIT, lambda: f"the guest has not said '{words}'")

    def end_guest(self) -> None:
        """Waits for the guest's end; it must be a good one, and the guest must have seen no error."""
        assert self.qemu
        try:
            self.qemu.wait(timeout=LIMIT)
        except subprocess.TimeoutExpired as error:
            raise Failure(f"the guest has not ended within {LIMIT} s") from error
        said = self.said()
        if "GUEST: end 0" not in said or ERRORS.search(said):
            raise Failure("the guest has found a fault")

    def make_images(self) -> None:
        """The images of EXPORTS, and their configuration."""
        for name, size in (("disk", 256 << 20), ("odd", 1048499), ("fixed", 16 << 20)):
            with open(self.folder / f"{name}.raw", "wb") as image:
                image.truncate(size)
        self.make_file_system("fixed.raw", {"hello": b"hello\n"})
        (self.folder / "exports.conf").write_text(EXPORTS.format(folder=self.folder))

    def make_file_system(self, image: str, files: dict[str, bytes]) -> None:
        tree = self.folder / f"{image}.tree"
        tree.mkdir(exist_ok=True)
        for name, contents in files.items():
            (tree / name).write_bytes(contents)
        subprocess.run([initrd.find_program("mkfs.ext4"), "-q", "-F", "-d", tree, self.folder / image], check=True)

    def exports(self) -> tuple[int, tuple[str, ...]]:
        """A free port, and a server's arguments that serve the images of EXPORTS there."""
        port = free_port()
        return port, ("--config", str(self.folder / "exports.conf"), "--listen", f"127.0.0.1:{port}")

    def check_file_system(self, image: Path) -> None:
        with open(self.folder / "fsck.log", "ab") as log:
            checked = subprocess.run([initrd.find_program("e2fsck"), "-f", "-n", image], stdout=log, stderr=log)
        if checked.returncode != 0:
            raise Failure(f"e2fsck complains of {image.name}")

    def make_certificates(self) -> Path:
        folder = self.folder / "tls"
        folder.mkdir()
        (folder / "names").write_text("subjectAltName=DNS:nearblock.test\n")
        commands = (
            "req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=ca -keyout ca-key.pem -out ca-cert.pem",
            "req -newkey rsa:2048 -nodes -subj /CN=nearblock.test -keyout server-key.pem -out server.csr",
            "x509 -req -in server.csr -CA ca-cert.pem -CAkey ca-key.pem -CAcreateserial -days 2 -extfile names "
            "-out server-cert.pem")
        for command in commands:
            subprocess.run(["openssl", *command.split()], cwd=folder, check=True, capture_output=True)
        return folder

    def add_to_guest(self, root: Path) -> None:
        """The files below `root` are in the guest as well, from an initrd of their own behind the first."""
        more = self.folder / "initrd"
        more.write_bytes(self.initrd.read_bytes() + initrd.pack(root))
        self.initrd = more

    def add_server(self, root: Path) -> None:
        """nearblock into a folder that is added to the guest."""
        initrd.install_program(self.nearblock, root)
        # A guest without KVM takes long to unpack what it does not need.
        subprocess.run(["strip", root / "sbin" / os.path.basename(self.nearblock)], check=True)

    def copy(self, image: Path, name: str) -> Path:
        target = self.folder / name
        subprocess.run(["cp", "--sparse=always", image, target], check=True)
        return target
