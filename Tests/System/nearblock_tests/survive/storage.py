"""What the disks of `survive` are kept in, at either node."""
import os
import subprocess
from collections.abc import Callable
from pathlib import Path

from nearblock_tests.initrd import find_program
from nearblock_tests.repository import SCRIPTS

MEBIBYTE = 1 << 20


class Storage:
    """Raw files. `folder` is the run's; the disk `name` begins as FOLDER/NAME.raw at the source."""

    name = "raw"
    # What QEMU calls the images' format at each node.
    source_format = target_format = "raw"

    def __init__(self, folder: str) -> None:
        self.folder = folder

    @property
    def has_helper(self) -> bool:
        """Whether the nodes have a qemu-storage-daemon for each disk."""
        return self.source_format != "raw"

    def section(self, name: str) -> str:
        """Makes the source's image of FOLDER/NAME.raw, and returns its keys in the configuration."""
        return f"image = {self.source(name)}\n"

    def target_options(self) -> list[str]:
        """Of the destination's node."""
        return []

    def source(self, name: str) -> str:
        """The path of the source's image."""
        return f"{self.folder}/{name}.raw"

    def target(self, name: str) -> str:
        """The path of the destination's image."""
        return f"{self.folder}/images/{name}.raw"

    def faults(self, name: str) -> str:
        """What is wrong with the images beyond the bytes of the disk, now that no node has them open; empty for nothing."""
        return ""

    def end(self) -> None:
        """Gives back what does not go with the folder."""


class QemuImage(Storage):
    """Another format of QEMU's at both nodes."""

    def __init__(self, folder: str, name: str) -> None:
        super().__init__(folder)
        self.name = self.source_format = self.target_format = name

    def section(self, name: str) -> str:
        run("qemu-img", "convert", "-f", "raw", "-O", self.name, f"{self.folder}/{name}.raw", self.source(name))
        return f"image = {self.source(name)}\nformat = {self.name}\n"

    def target_options(self) -> list[str]:
        command = Path(self.folder, "prepare")
        command.write_text("#!/bin/sh -e\n"
                           f'image={self.folder}/images/$NEARBLOCK_EXPORT.{self.name}\n'
                           f'[ -e "$image" ] || qemu-img create -q -f {self.name} "$image" "$NEARBLOCK_SIZE"\n'
                           f'echo "format={self.name} $image"\n')
        command.chmod(0o755)
        return ["--prepare", str(command)]

    def source(self, name: str) -> str:
        return f"{self.folder}/{name}.{self.name}"

    def target(self, name: str) -> str:
        return f"{self.folder}/images/{name}.{self.name}"

    def faults(self, name: str) -> str:
        # A helper that is killed leaves clusters that nobody refers to, and no damage. QEMU can't check VHDX further.
        for image in (self.source(name), self.target(name)):
            checked = subprocess.run(["qemu-img", "check", "-f", self.name, image], capture_output=True, text=True)
            if checked.returncode not in (0, 3, 63):
                return f"{image}: {checked.stdout}{checked.stderr}"
        return ""


class Layered(QemuImage):
    """qcow2 with a backing file and an internal snapshot at the source, and what the ready script makes at the destination."""

    def __init__(self, folder: str) -> None:
        super().__init__(folder, "qcow2")

    def section(self, name: str) -> str:
        plain, base, image = f"{self.folder}/{name}.raw", f"{self.folder}/{name}.base", self.source(name)
        os.rename(plain, base)
        run("qemu-img", "create", "-q", "-f", "qcow2", "-b", base, "-F", "raw", image)
        run("qemu-io", "-f", "qcow2", "-c", "write -P 1 1M 3M", "-c", "write -z 10M 1M", image)
        run("qemu-img", "snapshot", "-c", "before", image)
        run("qemu-img", "convert", "-f", "qcow2", "-l", "before", "-O", "raw", image, f"{self.folder}/{name}.before")
        run("qemu-io", "-f", "qcow2", "-c", "write -P 2 2500k 3M", "-c", "discard 1M 512k", "-c", "write -z 20M 1M", image)
        run("qemu-img", "convert", "-f", "qcow2", "-O", "raw", image, plain)
        return f"image = {image}\nformat = qcow2\n"

    def target_options(self) -> list[str]:
        script = f"{SCRIPTS}/targets/qcow2 --folder {self.folder}/images"
        return ["--prepare", f"{script} prepare", "--release", f"{script} release"]

    def faults(self, name: str) -> str:
        before = f"{self.folder}/{name}.before"
        run("qemu-img", "convert", "-f", "qcow2", "-l", "before", "-O", "raw", self.source(name), f"{before}.now")
        same = subprocess.run(["cmp", before, f"{before}.now"], capture_output=True, text=True)
        return super().faults(name) or same.stdout + same.stderr


class Loop(Storage):
    """Loop devices with sectors of 4096 bytes at both nodes; at the destination full of old bytes."""

    name = "loop"

    def __init__(self, folder: str) -> None:
        super().__init__(folder)
        self.devices: dict[str, str] = {}

    def attach(self, file: str) -> str:
        """Returns the device of a file."""
        self.devices[file] = run(find_program("losetup"), "--find", "--show", "--sector-size", "4096", file).strip()
        return self.devices[file]

    def section(self, name: str) -> str:
        plain, store = f"{self.folder}/{name}.raw", f"{self.folder}/{name}.store"
        run("cp", "--sparse=always", plain, store)
        old = Path(self.folder, f"{name}.old")
        old.write_bytes(b"old bytes" * ((os.path.getsize(plain) + MEBIBYTE) // 9 // 4096 * 4096))
        os.symlink(self.attach(str(old)), f"{self.folder}/{name}.place")
        return f"image = {self.attach(store)}\n"

    def target_options(self) -> list[str]:
        command = Path(self.folder, "prepare")
        command.write_text(f"#!/bin/sh\nreadlink {self.folder}/$NEARBLOCK_EXPORT.place\n")
        command.chmod(0o755)
        return ["--prepare", str(command)]

    def source(self, name: str) -> str:
        return self.devices[f"{self.folder}/{name}.store"]

    def target(self, name: str) -> str:
        return self.devices[f"{self.folder}/{name}.old"]

    def end(self) -> None:
        for device in self.devices.values():
            run(find_program("losetup"), "--detach", device)


def run(*command: str) -> str:
    """What it says; raises where it fails."""
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def qemu(name: str) -> Callable[[str], Storage]:
    return lambda folder: QemuImage(folder, name)


KINDS: dict[str, Callable[[str], Storage]] = {
    "raw": Storage, "qcow2": Layered, "loop": Loop, "vmdk": qemu("vmdk"), "vdi": qemu("vdi"), "vhdx": qemu("vhdx")}
