"""The tests of `guests`: each drives a guest that runs the test of some name in Tests/System/guest."""
import hashlib
import os
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

from nearblock_tests import initrd
from nearblock_tests.guests.bench import NETWORK, Bench, Failure, wait_until
from nearblock_tests.nodes import Node, free_port
from nearblock_tests.repository import SCRIPTS, cache_folder


def with_client(bench: Bench, test: str, options: str, *arguments: str) -> None:
    """The guest's nbd-client with these options, of a server with these arguments."""
    bench.make_images()
    port, exports = bench.exports()
    server = bench.start_server(*exports, *arguments)
    bench.start_guest(test, f"port={port} options={options}", *NETWORK)
    bench.end_guest()
    server.stop()
    bench.check_file_system(bench.folder / "disk.raw")


def client(bench: Bench) -> None:
    with_client(bench, "filesystem", "")


def connections(bench: Bench) -> None:
    with_client(bench, "filesystem", "-C,4")


def kinds(bench: Bench) -> None:
    bench.make_images()
    port, exports = bench.exports()
    bench.start_server(*exports)
    bench.start_guest("kinds", f"port={port}", *NETWORK)
    bench.end_guest()


def tls(bench: Bench) -> None:
    certificates = bench.make_certificates()
    inside = bench.folder / "certificates"
    (inside / "tls").mkdir(parents=True)
    shutil.copy(certificates / "ca-cert.pem", inside / "tls")
    bench.add_to_guest(inside)
    with_client(bench, "filesystem", "-cacertfile,/tls/ca-cert.pem,-tlshostname,nearblock.test", "--tls", str(certificates))


def with_server_inside(bench: Bench, test: str, parameters: str = "", *more: str) -> None:
    """With nearblock in the guest, and with what is in the folder `inside`."""
    inside = bench.folder / "inside"
    bench.add_server(inside)
    bench.add_to_guest(inside)
    bench.start_guest(test, parameters, *more)
    bench.end_guest()


def kernel(bench: Bench) -> None:
    with_server_inside(bench, "kernel")


def xen(bench: Bench) -> None:
    with_server_inside(bench, "xen")


def attach(bench: Bench) -> None:
    shutil.copytree(bench.make_certificates(), bench.folder / "inside/tls")
    with_server_inside(bench, "attach")


def volumes(bench: Bench) -> None:
    image = bench.folder / "volumes.raw"
    with open(image, "wb") as file:
        file.truncate(64 << 20)
    with_server_inside(bench, "volumes", "", "-drive", f"file={image},format=raw,if=virtio")


def with_target_scripts(bench: Bench, test: str, size: int, parameters: str = "") -> None:
    """With nbd-scripts/targets and what these need, and a disk for LVM."""
    inside, image = bench.folder / "inside", bench.folder / "lvm.raw"
    shutil.copytree(SCRIPTS / "targets", inside / "nbd-scripts/targets")
    for file in SCRIPTS.glob("lib/*.sh"):
        initrd.install_file(str(file), inside / "nbd-scripts/lib" / file.name, 0o644)
    initrd.install_program(initrd.find_program("bash"), inside)
    for program in ("pvcreate", "vgcreate", "vgchange", "vgs", "lvcreate", "lvchange", "lvremove", "lvs"):
        (inside / "sbin" / program).symlink_to("lvm")
    (inside / "usr/bin").mkdir(parents=True)
    (inside / "usr/bin/env").symlink_to("/bin/busybox")
    with open(image, "wb") as file_:
        file_.truncate(size)
    with_server_inside(bench, test, parameters, "-drive", f"file={image},format=raw,if=virtio")


def places(bench: Bench) -> None:
    with_target_scripts(bench, "places", 96 << 20)


def thin(bench: Bench) -> None:
    """A round for each 4 seconds that others are under load."""
    print(f"thin: seed {bench.seed}", flush=True)
    with_target_scripts(bench, "thin", 96 << 20, f"seed={bench.seed} rounds={max(2, bench.seconds // 4)}")


def kill_and_start(node: Node) -> None:
    node.kill()
    time.sleep(1)
    node.start()


def under_restarts(bench: Bench, server: Node) -> None:
    """Ends the server, hard and softly, as long as the guest is under load."""
    bench.wait_for("GUEST: running")
    for end in (server.kill, server.stop, server.kill):
        time.sleep(bench.seconds // 4 + 1)
        end()
        time.sleep(1)
        server.start()


def restarts(bench: Bench) -> None:
    for options in ("--connections,1", "--connections,4"):
        bench.make_images()
        port, exports = bench.exports()
        server = bench.start_server(*exports)
        # Under load until after the last restart.
        bench.start_guest("restarts", f"port={port} options={options} seconds={bench.seconds + 12}", *NETWORK)
        under_restarts(bench, server)
        bench.end_guest()
        server.stop()
        bench.check_file_system(bench.folder / "disk.raw")


def wait_for_state(node: Node, *states: str) -> None:
    wait_until(lambda: node.state("disk") in states, 60,
               lambda: f"the disk is in the state '{node.state('disk')}' and not {' or '.join(states)}")


def check_moved(bench: Bench) -> None:
    """The destination's image is a whole file system, with what the guest has written."""
    image = bench.folder / "images/disk.raw"
    bench.check_file_system(image)
    for file in ("random", "old", "file"):
        contents = subprocess.run(["debugfs", "-R", f"cat /{file}", image], capture_output=True, check=True,
                                  env={**os.environ, "PATH": f"{os.environ['PATH']}:/usr/sbin:/sbin"}).stdout
        digest = hashlib.sha256(contents).hexdigest()
        if f"GUEST: {file} {digest}" not in bench.said():
            raise Failure(f"{file} at the destination is {digest}")


def move(bench: Bench) -> None:
    bench.make_images()
    # What takes a while to move.
    bench.make_file_system("disk.raw", {"old": os.urandom(32 << 20)})
    peer = free_port()
    destination = bench.start_node("destination", "--peer-listen", f"127.0.0.1:{peer}", "--images",
                                   str(bench.folder / "images"))
    port, exports = bench.exports()
    server = bench.start_server(*exports)
    bench.start_guest("move", f"port={port} seconds={bench.seconds + 15}", *NETWORK)
    bench.wait_for("GUEST: running")
    server.do("migrate", "disk", "--to", f"127.0.0.1:{peer}", "--switch", "converged", "--rate", "60M", "--detach")
    time.sleep(2)
    if not server.state("disk").startswith("copying"):
        raise Failure(f"the disk is not being copied but in the state '{server.state('disk')}'")
    kill_and_start(server)
    wait_until(lambda: server.state("disk").startswith(("moved", "released")), 60, lambda: "the disk has not moved")
    kill_and_start(server)
    wait_for_state(server, "moved", "released")
    wait_for_state(destination, "serving")
    if "GUEST: verified" in bench.said():
        raise Failure("the guest was done before its disk had moved")
    bench.end_guest()
    server.stop()
    destination.stop()
    check_moved(bench)


def qemu_disk(server: Node) -> tuple[str, ...]:
    """QEMU's arguments for the server's export `disk`."""
    return ("-blockdev", "driver=nbd,node-name=disk,reconnect-delay=60,server.type=unix,"
            f"server.path={server.folder}/nbd,export=disk", "-device", "virtio-blk-pci,drive=disk")


def reconnect(bench: Bench) -> None:
    bench.make_images()
    server = bench.start_server("--config", str(bench.folder / "exports.conf"))
    bench.start_guest("virtual", "", *qemu_disk(server))
    under_restarts(bench, server)
    bench.end_guest()


# Boots to the target, works, and powers off.
WORK = ('/bin/sh -c "apt-cache gencaches; cp -a /usr/share /root/share; sync; '
        'diff -r /usr/share /root/share && echo GUEST: end 0 > /dev/ttyS0"')


def boot(bench: Bench) -> None:
    master = cache_folder() / "guest-debian.raw"
    if not master.exists():
        subprocess.run([SCRIPTS / "make-disk", master, "--size", "2G"], check=True)
    image: Path = bench.copy(master, "debian.raw")
    server = bench.start_server(str(image), "--export", "disk")
    bench.start_guest("boot", f"rw systemd.run='{WORK}' systemd.run_success_action=poweroff "
                      "systemd.run_failure_action=poweroff", *qemu_disk(server))
    bench.wait_for("GUEST: switching")
    time.sleep(10)
    kill_and_start(server)
    bench.end_guest()
    server.stop()
    # The root partition begins at 1 MiB.
    root = bench.folder / "root.raw"
    subprocess.run(["dd", f"if={image}", f"of={root}", "bs=1M", "skip=1", "conv=sparse", "status=none"], check=True)
    bench.check_file_system(root)


TESTS: tuple[Callable[[Bench], None], ...] = (
    client, connections, kinds, tls, kernel, restarts, reconnect, attach, xen, move, volumes, places, thin, boot)
ALL = {test.__name__: test for test in TESTS}
