"""A guest of `vms`: its QEMU at either site, what it says, and when it stood still."""
import functools
import os
import re
import shlex
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Sequence

from nearblock_tests.vms.sites import Site, Sites

# Without KVM, QEMU 7.2 notes that a page is written, and writes it a moment later. A processor that loses its core in
# between writes to a page that has been sent meanwhile, and the guest finds its memory corrupted at the destination: on two
# busy cores, once in some twenty moves, with nearblock or without. So the guest has one processor, which gives way to
# nobody, where this system lets us say so.
UNDISTURBED = ["chrt", "--fifo", "1"]
# Every QEMU since 7.2 has it; the name without a version is another machine in each.
MACHINE = "pc-q35-7.2"


class GuestFailure(Exception):
    pass


@functools.cache
def undisturbed() -> Sequence[str]:
    if subprocess.run([*UNDISTURBED, "true"], stderr=subprocess.DEVNULL).returncode == 0:
        return UNDISTURBED
    print("chrt is not allowed here: on a busy machine QEMU may corrupt the memory of a guest that moves", file=sys.stderr)
    return []


class Guest:
    """`disks` are the exports; `kernel` is a folder with vmlinuz and initrd."""

    # What QEMU does with discards: unmap or ignore.
    discard = "unmap"

    def __init__(self, sites: Sites, kernel: str, disks: Sequence[str], arguments: str, memory: int = 512) -> None:
        self.sites, self.kernel, self.disks, self.arguments, self.memory = sites, kernel, disks, arguments, memory
        self.beats: list[tuple[float, str]] = []
        self.is_over = threading.Event()
        self.listeners: list[threading.Thread] = []

    def command(self, site: Site, *more: str) -> str:
        """QEMU's, at a site; returns once it runs."""
        path = site.path
        words = [*undisturbed(), site.qemu, "-machine", MACHINE, "-accel", "tcg,thread=multi", "-cpu", "qemu64",
                 "-smp", "1", "-m", str(self.memory), "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot",
                 "-daemonize", "-pidfile", f"{path}/qemu.pid", "-qmp", f"unix:{path}/qmp,server=on,wait=off",
                 "-qmp", f"unix:{path}/monitor,server=on,wait=off",
                 "-kernel", f"{self.kernel}/vmlinuz", "-initrd", f"{self.kernel}/initrd", "-append",
                 f"console=ttyS0 quiet panic=-1 {self.arguments}"]
        for name in ("console", "pulse"):
            words += ["-chardev", f"socket,id={name},path={path}/{name},server=on,wait=off,logfile={path}/{name}.log,"
                      "logappend=on", "-serial", f"chardev:{name}"]
        for name in self.disks:
            words += ["-blockdev", f"node-name={name},discard={self.discard},{self.medium(path, name)}",
                      "-device", f"virtio-blk-pci,drive={name}"]
        words += ["-device", "virtio-serial-pci", "-chardev", f"socket,id=agent,path={path}/agent,server=on,wait=off",
                  "-device", "virtserialport,chardev=agent,name=org.qemu.guest_agent.0"]
        return shlex.join([*words, *more])

    @staticmethod
    def medium(path: str, name: str) -> str:
        """Where QEMU finds a disk: the node's export."""
        return f"driver=nbd,reconnect-delay=60,server.type=unix,server.path={path}/nbd,export={name}"

    def start(self, site: Site) -> None:
        subprocess.run([*site.prefix, "sh", "-c", self.command(site)], check=True, stdin=subprocess.DEVNULL)

    def watch(self, site: Site) -> None:
        """Notes when the guest gives a sign of life at a site, whenever QEMU is there."""
        listener = threading.Thread(target=self.listen, args=(f"{site.folder}/pulse",), daemon=True)
        self.listeners.append(listener)
        listener.start()

    def listen(self, path: str) -> None:
        while not self.is_over.wait(0.05):
            try:
                with socket.socket(socket.AF_UNIX) as serial:
                    serial.connect(path)
                    serial.settimeout(0.5)
                    self.receive(serial)
            except OSError:
                pass

    def receive(self, serial: socket.socket) -> None:
        while not self.is_over.is_set():
            try:
                words = serial.recv(4096)
            except TimeoutError:
                continue
            if not words:
                return
            now = time.monotonic()
            self.beats += [(now, word) for word in words.decode()]

    def pace(self, word: str, since: float, step: float) -> list[int]:
        """How many signs of life of that kind came in each `step` seconds."""
        counts: list[int] = []
        for when, what in self.beats:
            if what == word and when >= since:
                index = int((when - since) / step)
                counts += [0] * (index + 1 - len(counts))
                counts[index] += 1
        return counts

    def gap(self, word: str, since: float) -> float:
        """The longest time without a sign of life of that kind, in seconds."""
        times = sorted(when for when, what in self.beats if what == word and when >= since)
        return max((later - earlier for earlier, later in zip(times, times[1:])), default=float("inf"))

    def log(self, site: Site) -> str:
        try:
            with open(f"{site.folder}/console.log", errors="replace") as log:
                return log.read()
        except FileNotFoundError:
            return ""

    def wait_for(self, words: str, site: Site, limit: float) -> None:
        """Until the guest has said them at that site."""
        end = time.monotonic() + limit
        while words not in (said := self.log(site)):
            if "GUEST: failed" in said or "GUEST: end 1" in said or "Kernel panic" in said:
                raise GuestFailure("the guest has failed")
            if time.monotonic() > end:
                raise GuestFailure(f"the guest has not said '{words}' within {limit} s")
            time.sleep(0.1)

    def wait_until_off(self, site: Site, limit: float) -> None:
        end = time.monotonic() + limit
        while os.path.exists(f"{site.folder}/qemu.pid"):
            if time.monotonic() > end:
                raise GuestFailure(f"the guest has not powered off within {limit} s")
            time.sleep(0.1)

    def end(self, site: Site, limit: float = 240) -> dict[str, str]:
        """Has it look at what it has written and power off; returns its digests of its disks."""
        with socket.socket(socket.AF_UNIX) as console:
            console.connect(f"{site.folder}/console")
            console.sendall(b"end\n")
        self.wait_for("GUEST: end 0", site, limit)
        self.wait_until_off(site, 60)
        self.is_over.set()
        said = "".join(self.log(each) for each in (self.sites.near, self.sites.far))
        if re.search(r"GUEST: kernel|I/O error|EXT4-fs error|Kernel panic|soft lockup", said):
            raise GuestFailure("the guest's kernel has seen an error")
        return dict(re.findall(r"GUEST: sum (\w+) (\w+)", said))
