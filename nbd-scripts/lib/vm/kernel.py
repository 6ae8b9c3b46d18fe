"""What the guests of vm-tests boot, and the relay between their sites."""
import os
import shutil
import subprocess

SCRIPTS = os.path.realpath(f"{os.path.dirname(os.path.abspath(__file__))}/../..")


def cache_folder():
    folder = os.environ.get("XDG_CACHE_HOME", os.path.expanduser("~/.cache"))
    return os.environ.get("NEARBLOCK_CACHE", f"{folder}/nearblock")


def make_debian(name="vm-debian", size="2G", include="fio"):
    """A Debian disk, kept for the next time."""
    master = f"{cache_folder()}/{name}.raw"
    if not os.path.exists(master):
        subprocess.run([f"{SCRIPTS}/make-disk", master, "--size", size, "--include", include], check=True)
    return master


def make_relay(scratch):
    subprocess.run(["gcc", "-O2", "-Wall", "-o", f"{scratch}/relay", f"{SCRIPTS}/lib/wan/relay.c", "-lpthread"], check=True)
    return f"{scratch}/relay"


def make_kernel(scratch, work=f"{SCRIPTS}/guest/debian-work"):
    """A folder with vmlinuz and initrd: that of guest-tests, with the test of vm-tests in an initrd behind it.

    `work` is what a Debian does that has booted from its disk.
    """
    made, root = f"{cache_folder()}/guest", f"{scratch}/root"
    subprocess.run([f"{SCRIPTS}/guest/make-initrd", made], check=True)
    os.makedirs(f"{root}/tests")
    os.makedirs(f"{root}/sbin")
    for name in ("machine", "debian"):
        shutil.copy(f"{SCRIPTS}/guest/{name}", f"{root}/tests")
    shutil.copy(work, f"{root}/tests/debian-work")
    subprocess.run(["cc", "-std=gnu11", "-O2", "-static", "-o", f"{root}/sbin/pulse", f"{SCRIPTS}/guest/pulse.c"],
                   check=True)
    shutil.copy(f"{made}/vmlinuz", scratch)
    packed = subprocess.run(["bash", "-c", f"source '{SCRIPTS}/lib/guest.sh'; pack_initrd '{root}'"], check=True,
                            capture_output=True).stdout
    with open(f"{scratch}/initrd", "wb") as initrd:
        initrd.write(open(f"{made}/initrd", "rb").read())
        initrd.write(packed)
    return scratch
