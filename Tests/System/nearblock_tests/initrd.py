"""What test guests boot: Debian's cloud kernel, and initial RAM disks."""
import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

from nearblock_tests.repository import SCRIPTS, SYSTEM

GUEST = SYSTEM / "guest"
MODULES = ("virtio_pci", "virtio_console", "virtio_net", "virtio_blk", "nbd", "crc32c_generic", "tls", "vsock_loopback", "dm_mod",
           "dm_thin_pool")
# This machine's, which the tests are about.
PROGRAMS = ("nbd-client", "mkfs.ext4", "e2fsck", "fio", "fstrim", "nbdinfo", "blockdev", "flock", "lvm")
# BusyBox has these too.
NOT_OF_BUSYBOX = ("nbd-client", "mke2fs", "mkfs.ext2", "fstrim", "blkdiscard", "blockdev", "flock")


def find_program(name: str) -> str:
    """The path of a program; what only root runs is not in a plain user's PATH."""
    path = shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin:/sbin")
    if not path:
        raise FileNotFoundError(f"{name} is missing")
    return path


def install_file(source: str, target: Path, mode: int = 0o755) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)
    target.chmod(mode)


def install_program(program: str, root: Path) -> None:
    """Into ROOT/sbin, with the libraries that it needs."""
    install_file(program, root / "sbin" / os.path.basename(program))
    for library in re.findall(r"/\S*", subprocess.run(["ldd", program], capture_output=True, text=True).stdout):
        if not (root / library[1:]).exists():
            install_file(library, root / library[1:])


def pack(root: Path) -> bytes:
    """Not compressed: a guest without KVM takes seconds to unpack what is."""
    names = b"\0".join(os.fsencode(path.relative_to(root)) for path in [root, *sorted(root.rglob("*"))])
    return subprocess.run(["cpio", "--null", "--create", "--format=newc", "--quiet"], cwd=root, input=names,
                          stdout=subprocess.PIPE, check=True).stdout


def fetch(scratch: Path) -> Path:
    """The contents of Debian's kernel, of BusyBox and of QEMU's guest agent; none is installed here."""
    depends = subprocess.run(["apt-cache", "depends", "linux-image-cloud-amd64"], capture_output=True, text=True).stdout
    found = re.search(r"Depends: (linux-image\S+)", depends)
    if not found:
        raise FileNotFoundError("apt knows no linux-image-cloud-amd64: run apt-get update")
    # Whatever apt-get says of its sandbox is of no interest.
    subprocess.run(["apt-get", "-q", "download", found.group(1), "busybox-static", "qemu-guest-agent"], cwd=scratch, check=True,
                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    packages = scratch / "packages"
    for package in scratch.glob("*.deb"):
        subprocess.run(["dpkg-deb", "-x", package, packages], check=True)
    return packages


def install_modules(packages: Path, release: str, root: Path) -> None:
    """In the order in which they are to be loaded, which ROOT/modules.list has."""
    subprocess.run([find_program("depmod"), "-b", packages, release], check=True)
    files: dict[str, None] = {}
    for module in MODULES:
        shown = subprocess.run([find_program("modprobe"), "-d", packages, "-S", release, "--show-depends", module],
                               capture_output=True, text=True).stdout
        files |= dict.fromkeys(re.findall(r"^insmod (\S+)", shown, re.MULTILINE))
    for file in files:
        install_file(file, root / "modules" / os.path.basename(file), 0o644)
    (root / "modules.list").write_text("".join(f"/modules/{os.path.basename(file)}\n" for file in files))


def make_root(packages: Path, root: Path) -> None:
    for folder in ("bin", "sbin", "dev", "proc", "sys", "tests"):
        (root / folder).mkdir(parents=True)
    busybox = packages / "bin/busybox"
    install_file(str(busybox), root / "bin/busybox")
    for name in subprocess.run([busybox, "--list"], capture_output=True, text=True, check=True).stdout.split():
        if name != "busybox" and name not in NOT_OF_BUSYBOX:
            (root / "bin" / name).symlink_to("busybox")
    for name in PROGRAMS:
        install_program(find_program(name), root)
    # Its libraries are glib's and QEMU's, which are here.
    install_program(str(packages / "usr/sbin/qemu-ga"), root)
    subprocess.run([SCRIPTS / "install-client", root / "usr/local"], check=True)
    install_file(str(GUEST / "xenstore"), root / "sbin/xenstore")
    for verb in ("read", "write", "list", "rm"):
        (root / f"sbin/xenstore-{verb}").symlink_to("xenstore")
    install_file(str(GUEST / "init"), root / "init")
    for test in (GUEST / "tests").glob("*.sh"):
        install_file(str(test), root / "tests" / test.name, 0o644)


def make(target: Path) -> None:
    """Makes TARGET/vmlinuz and TARGET/initrd: a guest that runs the tests of `guests` with this machine's nbd-client, fio,
    e2fsprogs, util-linux and LVM, with what install-client installs, and with a stand-in for Xen's store."""
    target.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        scratch, root = Path(folder), Path(folder) / "root"
        packages = fetch(scratch)
        release = next((packages / "lib/modules").iterdir()).name
        make_root(packages, root)
        install_modules(packages, release, root)
        (scratch / "initrd").write_bytes(pack(root))
        shutil.move(packages / f"boot/vmlinuz-{release}", target / "vmlinuz")
        shutil.move(scratch / "initrd", target / "initrd")
