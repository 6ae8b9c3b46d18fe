"""What the guests of `vms` boot, and the relay between their sites."""
import os
import shutil
import subprocess
from pathlib import Path

from nearblock_tests import initrd
from nearblock_tests.repository import SCRIPTS, SYSTEM, cache_folder


def make_debian(name: str = "vm-debian", size: str = "2G", include: str = "fio") -> str:
    """A Debian disk, kept for the next time."""
    master = str(cache_folder() / f"{name}.raw")
    if not os.path.exists(master):
        subprocess.run([SCRIPTS / "make-disk", master, "--size", size, "--include", include], check=True)
    return master


def make_relay(scratch: str) -> str:
    source = SYSTEM / "nearblock_tests/wan/relay.c"
    subprocess.run(["gcc", "-O2", "-Wall", "-o", f"{scratch}/relay", source, "-lpthread"], check=True)
    return f"{scratch}/relay"


def make_kernel(scratch: str, work: str | Path = initrd.GUEST / "debian-work") -> str:
    """A folder with vmlinuz and initrd: that of `guests`, with the test of `vms` in an initrd behind it.

    `work` is what a Debian does that has booted from its disk.
    """
    made, root = cache_folder() / "guest", Path(scratch) / "root"
    initrd.make(made)
    (root / "tests").mkdir(parents=True)
    (root / "sbin").mkdir()
    for name in ("machine", "debian"):
        shutil.copy(initrd.GUEST / name, root / "tests")
    shutil.copy(work, root / "tests/debian-work")
    subprocess.run(["cc", "-std=gnu11", "-O2", "-static", "-o", root / "sbin/pulse", initrd.GUEST / "pulse.c"], check=True)
    shutil.copy(made / "vmlinuz", scratch)
    Path(scratch, "initrd").write_bytes((made / "initrd").read_bytes() + initrd.pack(root))
    return scratch
