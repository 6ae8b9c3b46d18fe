"""A Debian without Swift, whose first process is systemd."""
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

BOOT = Path(__file__).with_name("boot")
# Where the hierarchy of control groups is that systemd uses: alone, or beside older ones.
HIERARCHIES = ("/sys/fs/cgroup", "/sys/fs/cgroup/unified")
PATH = "/usr/sbin:/usr/bin:/sbin:/bin"
# Of this, what the package depends on is made, too.
PACKAGES = ("systemd", "systemd-sysv", "libnbd-bin", "e2fsprogs", "man-db", "bash-completion")
LIMIT = 60


class Failure(Exception):
    pass


def wait_until(is_so: Callable[[], bool], complaint: Callable[[], str], limit: float = LIMIT) -> None:
    end = time.monotonic() + limit
    while not is_so():
        if time.monotonic() > end:
            raise Failure(complaint())
        time.sleep(0.1)


def make_root(archive: Path, depends: list[str]) -> None:
    """An archive of a minimal Debian with what a package depends on, and systemd."""
    archive.parent.mkdir(parents=True, exist_ok=True)
    made = archive.with_suffix(".new")
    subprocess.run(["mmdebstrap", "--quiet", "--variant=minbase", "--format=tar", f"--include={','.join([*PACKAGES, *depends])}",
                    "bookworm", made], check=True)
    made.rename(archive)


def cgroup_folder() -> Path:
    for hierarchy in HIERARCHIES:
        if (Path(hierarchy) / "cgroup.procs").exists() and (Path(hierarchy) / "cgroup.controllers").exists():
            return Path(tempfile.mkdtemp(prefix="nearblock-test-", dir=hierarchy))
    raise Failure("there is no cgroup2 hierarchy for systemd")


class Machine:
    """From `with` to its end, at which all its processes end."""

    def __init__(self, archive: Path, folder: Path) -> None:
        self.folder, self.root = folder, folder / "root"
        self.root.mkdir()
        subprocess.run(["tar", "--extract", "--numeric-owner", "--xattrs", "--file", archive, "--directory", self.root], check=True)
        (self.root / "debs").mkdir()
        # There is no console to log in at.
        (self.root / "etc/systemd/system/console-getty.service").symlink_to("/dev/null")

    def __enter__(self) -> "Machine":
        self.group = cgroup_folder()
        self.process = subprocess.Popen([BOOT, self.root, self.group], stdin=subprocess.DEVNULL,
                                        stdout=subprocess.DEVNULL, stderr=open(self.folder / "boot.log", "wb"))
        try:
            wait_until(lambda: self.ask("systemctl", "is-system-running", "--wait").stdout.strip() in ("running", "degraded"),
                       lambda: f"systemd does not start: {(self.folder / 'boot.log').read_text()}")
        except BaseException:
            self.end()
            raise
        return self

    def __exit__(self, *_: Any) -> None:
        self.end()

    def end(self) -> None:
        first = self.first
        if first:
            os.kill(first, signal.SIGKILL)
        self.process.wait()
        # Groups can be removed once their last process is gone, the innermost first.
        for folder, _, _ in os.walk(self.group, topdown=False):
            wait_until(lambda: try_remove(Path(folder)), lambda: f"{folder} stays")

    @property
    def first(self) -> int:
        """systemd's number outside; 0 if it is not there."""
        try:
            with open(f"/proc/{self.process.pid}/task/{self.process.pid}/children") as children:
                return int((children.read().split() or ["0"])[0])
        except FileNotFoundError:
            return 0

    def ask(self, *command: str) -> subprocess.CompletedProcess[str]:
        """Runs a command as root in the machine."""
        return subprocess.run(
            ["nsenter", f"--target={self.first}", "--mount", "--pid", "--ipc", "--uts", "--cgroup", "--", "env", "-i",
             f"PATH={PATH}", "LC_ALL=C.UTF-8", "TERM=dumb", "DEBIAN_FRONTEND=noninteractive", *command],
            stdin=subprocess.DEVNULL, capture_output=True, text=True)

    def do(self, *command: str) -> str:
        """As `ask`; returns what it prints, and raises where it fails."""
        answer = self.ask(*command)
        if answer.returncode:
            raise Failure(f"{' '.join(command)} ended with {answer.returncode}: {answer.stdout}{answer.stderr}")
        return answer.stdout

    def install(self, deb: Path) -> str:
        """Returns what dpkg says."""
        shutil.copy(deb, self.root / "debs")
        answer = self.ask("dpkg", "--install", f"/debs/{deb.name}")
        if answer.returncode:
            raise Failure(f"dpkg: {answer.stdout}{answer.stderr}")
        return answer.stdout + answer.stderr

    def write(self, path: str, text: str) -> None:
        target = self.root / path.lstrip("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text)

    def journal(self) -> str:
        return self.ask("journalctl", "--no-pager", "--unit=nearblock.service", "--output=cat").stdout

    def is_active(self, unit: str) -> bool:
        return self.ask("systemctl", "is-active", "--quiet", unit).returncode == 0


def try_remove(folder: Path) -> bool:
    try:
        folder.rmdir()
    except OSError:
        return not folder.exists()
    return True
