"""The tests of `package`, each in a machine of its own."""
import re
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, ExitStack
from dataclasses import dataclass
from pathlib import Path

from nearblock_tests.guests.bench import Bench
from nearblock_tests.nodes import Node, free_port
from nearblock_tests.package import form
from nearblock_tests.package.load import Writer, make_image, start_kernel, start_qemu
from nearblock_tests.package.machine import Failure, Machine, wait_until
from nearblock_tests.package.packages import Packages

SERVICE = "nearblock.service"
IMAGES = "/var/lib/nearblock/images"
SOCKET = "/run/nearblock/nbd.sock"
CONTROL = "/run/nearblock/control.sock"
# systemd-analyze security counts from 0 to 10.
MOST_EXPOSURE = 3.0
# The exports of a node that is restarted, in MiB.
SIZES = {"qemu": 96, "disk": 96, "lib": 16}
# What arrives meanwhile.
MOVING = 32


@dataclass
class Context:
    packages: Packages
    archive: Path
    folder: Path
    kernel: Path
    restarts: int

    @contextmanager
    def machine(self) -> Iterator[Machine]:
        with Machine(self.archive, self.folder) as machine:
            yield machine

    def bench(self, name: str, program: Path, seconds: int) -> Bench:
        folder = self.folder / name
        folder.mkdir()
        return Bench(folder, str(program), self.kernel, seconds)


def run_form(context: Context) -> None:
    form.check(context.packages, context.folder)


# MARK: The service

def configure(machine: Machine, exports: dict[str, int], node: str = "") -> None:
    """Makes the images, which the service's user owns, and the configuration."""
    text = f"[node]\n{node}\n"
    for name, megabytes in exports.items():
        make_image(machine.root / f"var/lib/nearblock/images/{name}.raw", megabytes)
        machine.do("chown", "nearblock:nearblock", f"{IMAGES}/{name}.raw")
        text += f"[export {name}]\nimage = {IMAGES}/{name}.raw\n"
    machine.write("/etc/nearblock.conf", text)


def listen_on(machine: Machine, unit: str, address: str) -> None:
    machine.write(f"/etc/systemd/system/{unit}.d/address.conf", f"[Socket]\nListenStream=\nListenStream={SOCKET}\n"
                  f"ListenStream={address}\n" if unit == "nearblock.socket" else f"[Socket]\nListenStream=\nListenStream={address}\n")


def restart_all(machine: Machine, *sockets: str) -> None:
    machine.do("systemctl", "daemon-reload")
    machine.do("systemctl", "stop", SERVICE, "nearblock.socket")
    machine.do("systemctl", "start", "nearblock.socket", *sockets)
    machine.do("systemctl", "start", SERVICE)


def check_exposure(machine: Machine) -> None:
    said = machine.do("systemd-analyze", "security", "--no-pager", SERVICE)
    found = re.search(r"Overall exposure level for nearblock.service: ([0-9.]+)", said)
    if not found or float(found.group(1)) > MOST_EXPOSURE:
        raise Failure(f"systemd-analyze security: {found.group(0) if found else said}")
    print(f"        {found.group(0)}", flush=True)
    warnings = machine.ask("systemd-analyze", "verify", SERVICE, "nearblock.socket", "nearblock-peer.socket")
    if [line for line in warnings.stderr.splitlines() if line.startswith("nearblock")]:
        raise Failure(f"systemd-analyze verify: {warnings.stderr}")


def check_confined(machine: Machine) -> None:
    """The service can't do what it need not do; the ring carries its I/O."""
    number = machine.do("systemctl", "show", "--value", "--property=MainPID", SERVICE).strip()
    status = machine.do("cat", f"/proc/{number}/status")
    for line in ("NoNewPrivs:\t1", "Seccomp:\t2", "CapEff:\t0000000000000000"):
        if line not in status:
            raise Failure(f"the service runs without {line!r}")
    if "anon_inode:[io_uring]" not in machine.do("ls", "-l", f"/proc/{number}/fd"):
        raise Failure("the service has no ring")
    inside = f"nsenter --target={number} --mount -- setpriv --reuid=nearblock --regid=nearblock --clear-groups"
    for what, command in (("write to /etc", "touch /etc/x"), ("see /home", "ls /home/."), ("see disks", "test -b /dev/vda")):
        if machine.ask("sh", "-c", f"{inside} {command}").returncode == 0:
            raise Failure(f"the service could {what}")


def service(context: Context) -> None:
    """Installed, used, reloaded, stopped, removed and purged."""
    with context.machine() as machine:
        if machine.ask("sh", "-c", "command -v swift; ls -d /usr/lib/*/libswift* /usr/lib/swift").stdout:
            raise Failure("there is Swift")
        machine.install(context.packages.now)
        for unit in (SERVICE, "nearblock.socket"):
            if not machine.is_active(unit):
                raise Failure(f"{unit} is not active after the installation: {machine.journal()}")
        if machine.is_active("nearblock-peer.socket"):
            raise Failure("peers are let in without having been asked for")
        check_exposure(machine)
        configure(machine, {"web": 8})
        machine.do("systemctl", "reload", SERVICE)
        wait_until(lambda: "web is offered" in machine.journal(), machine.journal)
        use(machine)
        check_confined(machine)
        open_more(machine, context)
        arrive(machine, context)
        read_free_space(machine, context)
        leave(machine)


def use(machine: Machine) -> None:
    uri = f"nbd+unix:///web?socket={SOCKET}"
    if machine.do("nbdinfo", "--size", uri).strip() != str(8 << 20):
        raise Failure("the export has another size")
    machine.write("/debs/data", "x" * 4096)
    machine.do("truncate", "--size=8M", "/debs/data")
    machine.do("nbdcopy", "/debs/data", uri)
    machine.do("cmp", "/debs/data", f"{IMAGES}/web.raw")
    # Root's command finds the node; another user's does not.
    if "web" not in machine.do("nearblock", "status"):
        raise Failure("status does not show the export")
    if machine.ask("setpriv", "--reuid=daemon", "--regid=daemon", "--clear-groups", "nearblock", "status",
                   f"--control={CONTROL}").returncode == 0:
        raise Failure("anybody may give commands")
    if machine.ask("setpriv", "--reuid=daemon", "--regid=daemon", "--clear-groups", "nbdinfo", uri).returncode == 0:
        raise Failure("anybody may attach the export")
    completed = machine.do("bash", "-c", "source /usr/share/bash-completion/completions/nearblock; COMP_WORDS=(nearblock switch w); "
                           "COMP_CWORD=2; COMP_LINE='nearblock switch w'; COMP_POINT=18; _nearblock; echo ${COMPREPLY[@]}")
    if completed.split() != ["web"]:
        raise Failure(f"bash completes 'nearblock switch w' to {completed!r}")


DROP_IN = """[Service]
ReadWritePaths=/srv/images
SupplementaryGroups=disk
PrivateDevices=no
DevicePolicy=closed
DeviceAllow={device} rw
"""


def open_more(machine: Machine, context: Context) -> None:
    """The manual's drop-in: images elsewhere, and the block devices that it names; others stay out of reach."""
    devices = [attach_loop(context.folder / f"{name}.raw") for name in ("named", "other")]
    try:
        for device in devices:
            machine.do("mknod", "-m", "660", device, "b", "7", device.removeprefix("/dev/loop"))
            machine.do("chgrp", "disk", device)
        (machine.root / "srv/images").mkdir()
        make_image(machine.root / "srv/images/srv.raw", 1)
        machine.do("chown", "-R", "nearblock:nearblock", "/srv/images")
        configuration = (machine.root / "etc/nearblock.conf").read_text()
        machine.write("/etc/nearblock.conf", f"{configuration}[export srv]\nimage = /srv/images/srv.raw\n"
                      f"[export named]\nimage = {devices[0]}\n[export other]\nimage = {devices[1]}\n")
        expect_served(machine, {"web"})
        expect_faults(machine, "ReadWritePaths=/srv/images", *(f"DeviceAllow={device} rw" for device in devices))
        machine.write(f"/etc/systemd/system/{SERVICE}.d/more.conf", DROP_IN.format(device=devices[0]))
        expect_served(machine, {"web", "srv", "named"})
        expect_faults(machine, f"DeviceAllow={devices[1]} rw")
    finally:
        machine.do("systemctl", "stop", SERVICE)
        for device in devices:
            subprocess.run(["losetup", "--detach", device], check=True)
    machine.do("rm", f"/etc/systemd/system/{SERVICE}.d/more.conf")


def expect_faults(machine: Machine, *remedies: str) -> None:
    """Root's check knows what the service can't do: each remedy is named, and nothing but for its sake."""
    said = machine.ask("nearblock", "check", "/etc/nearblock.conf")
    lines = [line for line in said.stdout.splitlines() if "[export" in line and "can't be read and written" not in line]
    if said.returncode != bool(remedies) or len(lines) != len(remedies) or not all(
            any(remedy in line for line in lines) for remedy in remedies):
        raise Failure(f"check does not name {remedies}: {said.stdout}{said.stderr}")
    if "judged as user nearblock, as nearblock.service runs" not in said.stdout + said.stderr:
        raise Failure(f"check judges as another user: {said.stdout}{said.stderr}")


def attach_loop(image: Path) -> str:
    make_image(image, 1)
    return subprocess.run(["losetup", "--find", "--show", image], check=True, capture_output=True, text=True).stdout.strip()


def expect_served(machine: Machine, names: set[str]) -> None:
    machine.do("systemctl", "daemon-reload")
    machine.do("systemctl", "restart", SERVICE)
    served = set(re.findall(r'export="([^"]*)"', machine.do("nbdinfo", "--list", f"nbd+unix:///?socket={SOCKET}")))
    if served != names:
        raise Failure(f"the service serves {served} and not {names}: {machine.do('nearblock', 'status')}")


def arrive(machine: Machine, context: Context) -> None:
    """A disk comes to nearblock-peer.socket from a node outside, which has started before."""
    peer = free_port()
    listen_on(machine, "nearblock-peer.socket", f"127.0.0.1:{peer}")
    configure(machine, {"web": 8}, f"images = {IMAGES}")
    machine.do("systemctl", "enable", "nearblock-peer.socket")
    restart_all(machine, "nearblock-peer.socket")
    expect_faults(machine)
    doctor = machine.ask("nearblock", "doctor", "--config", "/etc/nearblock.conf")
    if "systemd listens for peers (nearblock-peer.socket)" not in doctor.stdout or "can't be listened on" in doctor.stdout:
        raise Failure(f"the doctor does not know systemd's sockets: {doctor.stdout}{doctor.stderr}")
    image = context.folder / "coming.raw"
    make_image(image, 8, is_random=True)
    program = str(machine.root / "usr/bin/nearblock")
    node = Node(program, str(context.folder / "source"), [str(image), "--export", "coming"])
    try:
        node.do("migrate", "coming", "--to", f"127.0.0.1:{peer}")
    finally:
        node.stop()
    if subprocess.run(["cmp", image, machine.root / f"{IMAGES[1:]}/coming.raw"]).returncode:
        raise Failure("the disk has not arrived whole")


def read_free_space(machine: Machine, context: Context) -> None:
    """The helper that reads a guest's file system works under the service's own system call filter, and in spite of it."""
    configure(machine, {"files": 32})
    machine.do("mkfs.ext4", "-q", "-F", f"{IMAGES}/files.raw")
    machine.do("systemctl", "reload", SERVICE)
    port = free_port()
    program = str(machine.root / "usr/bin/nearblock")
    node = Node(program, str(context.folder / "taker"),
                ["--peer-listen", f"127.0.0.1:{port}", "--images", str(context.folder / "taken")])
    try:
        wait_until(lambda: "files is offered" in machine.journal(), machine.journal)
        said = machine.do("nearblock", "migrate", "files", "--to", f"127.0.0.1:{port}")
        if "free" not in said:
            raise Failure(f"the ledger knows no free blocks: {said}")
    finally:
        node.stop()


def leave(machine: Machine) -> None:
    """Removed: the files are gone, and configuration, records and images stay. Purged: the images stay."""
    machine.do("dpkg", "--remove", "nearblock")
    for path in ("usr/bin/nearblock", "lib/systemd/system/nearblock.service", "usr/lib/nearblock"):
        if (machine.root / path).exists():
            raise Failure(f"/{path} stays after the removal")
    if machine.is_active(SERVICE) or machine.is_active("nearblock.socket"):
        raise Failure("the service outlives its removal")
    if not (machine.root / "etc/nearblock.conf").exists():
        raise Failure("a removal has taken the configuration")
    machine.do("dpkg", "--purge", "nearblock")
    if (machine.root / "etc/nearblock.conf").exists() or not (machine.root / f"{IMAGES[1:]}/web.raw").exists():
        raise Failure("a purge removes the configuration, and leaves the images")
    if machine.ask("systemctl", "is-failed", "--quiet", SERVICE).returncode == 0:
        raise Failure("the service has failed")


# MARK: Without downtime

@contextmanager
def loaded(context: Context, machine: Machine, seconds: int) -> Iterator[tuple[Writer, list[Bench]]]:
    """QEMU, the kernel's client and libnbd at work on three exports, over TCP."""
    port = free_port()
    listen_on(machine, "nearblock.socket", f"127.0.0.1:{port}")
    configure(machine, SIZES | {"moving": MOVING})
    make_image(machine.root / f"{IMAGES[1:]}/moving.raw", MOVING, is_random=True)
    restart_all(machine)
    program = machine.root / "usr/bin/nearblock"
    with ExitStack() as stack:
        benches = [stack.enter_context(context.bench(name, program, seconds)) for name in ("qemu", "kernel")]
        start_qemu(benches[0], port, "qemu")
        start_kernel(benches[1], port)
        writer = Writer(f"nbd://127.0.0.1:{port}/lib", context.folder)
        stack.callback(writer.kill)
        for bench in benches:
            bench.wait_for("GUEST: running")
        yield writer, benches


class BusyRestarts:
    """Counts the restarts during which each guest was under load: how long a restart takes is the machine's affair."""

    LEAST = 3

    def __init__(self, benches: list[Bench]) -> None:
        self.benches, self.counts = benches, [0 for _ in benches]

    def note(self) -> None:
        for number, bench in enumerate(self.benches):
            self.counts[number] += "GUEST: verified" not in bench.said()

    def check(self) -> None:
        print(f"        under load during so many: QEMU {self.counts[0]}, the kernel {self.counts[1]}", flush=True)
        if min(self.counts) < self.LEAST:
            raise Failure("a guest was done before the restarts")


def finish(writer: Writer, benches: list[Bench]) -> None:
    facts = writer.finish()
    for bench in benches:
        bench.end_guest()
    print(f"        {facts['connections']} connections, {facts['flushes']} flushes, longest pause {facts['longest']:.1f} s",
          flush=True)
    if facts["refused"]:
        raise Failure(f"{facts['refused']} connections were refused: the sockets must stay open")


def upgrade(context: Context) -> None:
    """From the version before to this one, and back, under load."""
    with context.machine() as machine:
        machine.install(context.packages.before)
        with loaded(context, machine, 60) as (writer, benches):
            before, busy = writer.facts["connections"], BusyRestarts(benches)
            for deb in (context.packages.now, context.packages.before, context.packages.now):
                machine.install(deb)
                writer.wait_for_more()
                busy.note()
            busy.check()
            if writer.facts["connections"] < before + 3:
                raise Failure("an upgrade has not started the service again")
            finish(writer, benches)
        if "a new version" in machine.journal() or "error" in machine.journal().lower():
            raise Failure(machine.journal())


def restarts(context: Context) -> None:
    """Under load, and while a disk moves away."""
    with context.machine() as machine, ExitStack() as stack:
        machine.install(context.packages.now)
        seconds = 3 * context.restarts + 10
        writer, benches = stack.enter_context(loaded(context, machine, seconds))
        image = context.folder / "moving.raw"
        shutil.copy(machine.root / f"{IMAGES[1:]}/moving.raw", image)
        port, taken = free_port(), context.folder / "taken"
        node = Node(str(machine.root / "usr/bin/nearblock"), str(context.folder / "taker"),
                    ["--peer-listen", f"127.0.0.1:{port}", "--images", str(taken)])
        stack.callback(node.kill)
        # It would take as long as the restarts, and half as long again.
        rate = (MOVING << 20) * 8 * 2 // (3 * seconds)
        machine.do("nearblock", "migrate", "moving", "--to", f"127.0.0.1:{port}", "--rate", str(rate), "--detach")
        stops, busy = [], BusyRestarts(benches)
        for _ in range(context.restarts):
            began = time.monotonic()
            machine.do("systemctl", "restart", SERVICE)
            stops.append(time.monotonic() - began)
            writer.wait_for_more()
            busy.note()
        print(f"        {context.restarts} restarts, {sum(stops) / len(stops):.2f} s each, {max(stops):.2f} s at most", flush=True)
        busy.check()
        if "moving" not in machine.do("nearblock", "status") or "put aside" in machine.do("nearblock", "status"):
            raise Failure(f"the migration does not go on: {machine.do('nearblock', 'status')}")
        machine.do("nearblock", "rate", "moving")
        wait_until(lambda: re.search(r"^moving .*(moved|released)", machine.do("nearblock", "status"), re.MULTILINE) is not None,
                   lambda: machine.do("nearblock", "status"))
        if subprocess.run(["cmp", image, taken / "moving.raw"]).returncode:
            raise Failure("the disk that moved meanwhile is not whole")
        finish(writer, benches)


TESTS: tuple[tuple[str, Callable[[Context], None]], ...] = (
    ("form", run_form), ("service", service), ("upgrade", upgrade), ("restarts", restarts))
ALL = dict(TESTS)
