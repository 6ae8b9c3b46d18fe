"""test guide [--binary PATH] [--keep]

Runs every command of docs/guide.md, and then of docs/troubleshooting.md, on two hosts: namespaces for processes, networks and
mounts with files of their own in /etc, /root, /run, /usr/local and /var/lib, joined by a pair of virtual interfaces. ssh and
sshd, QEMU and libnbd's tools are the real ones. systemd does not run there: `systemctl enable --now nearblock` runs ExecStart of
the unit in docs/guide.md. Ends with status 1 at the first command that fails.

Also checks that the examples of docs/configuration.md are free of mistakes, and that each line in a heading of
docs/troubleshooting.md is in the sources. Needs root.

--binary PATH in the place of .build/debug/nearblock, which is built where it is not there; --keep leaves the hosts running until
Enter is pressed.
"""
import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from nearblock_tests.repository import ROOT, SCRIPTS, SuiteParser, install, note, swift

DOCUMENTS = ("docs/guide.md", "docs/troubleshooting.md")
REFERENCE = "docs/configuration.md"
BLOCK = re.compile(r"^```([^\n]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
HEADING = re.compile(r"^### `(.+)`$", re.MULTILINE)
HOSTS = {"sh on a": "a", "sh on b": "b", "sh on both": "ab"}
START = "systemctl enable --now nearblock"
LIMIT = 120

# The files of a host: $1 is a folder for its own, $2 nearblock, $3 the address.
SET_UP = """
mount -t tmpfs none "$1"
for path in /etc /root /usr/local /var/lib; do
    mkdir -p "$1/upper$path" "$1/work$path"
    mount -t overlay overlay -o "lowerdir=$path,upperdir=$1/upper$path,workdir=$1/work$path" "$path"
done
mount -t tmpfs none /run
mkdir -p /run/sshd
ln -sf "$2" /usr/local/bin/nearblock
printf '10.98.0.1 a.example\\n10.98.0.2 b.example\\n' >> /etc/hosts
ip link set lo up
read -r _ # until the interface is here
ip address add "$3/24" dev guide0
ip link set guide0 up
echo ready
exec sleep infinity
"""


class Failure(Exception):
    pass


def blocks(document: str) -> Iterator[tuple[str, str]]:
    """The kind and the contents of each fenced block."""
    for match in BLOCK.finditer((ROOT / document).read_text()):
        yield match[1], match[2]


def unit_command() -> str:
    """ExecStart of the unit in the guide."""
    match = re.search(r"^ExecStart=(.+)$", (ROOT / "docs/guide.md").read_text(), re.MULTILINE)
    if not match:
        raise Failure("docs/guide.md has no unit with ExecStart")
    return match[1]


class Host:
    def __init__(self, name: str, number: int, folder: Path, binary: str) -> None:
        self.name, self.folder = name, folder / name
        self.folder.mkdir()
        self.log: IO[bytes] = open(folder / f"{name}.log", "wb+")
        self.holder = subprocess.Popen(
            ["unshare", "--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "sh", "-euc", SET_UP, "sh",
             str(self.folder), binary, f"10.98.0.{number}"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.child = self.find_child()
        self.node: subprocess.Popen[bytes] | None = None

    def find_child(self) -> int:
        """The first process of the host."""
        end = time.monotonic() + LIMIT
        while time.monotonic() < end and self.holder.poll() is None:
            if children := Path(f"/proc/{self.holder.pid}/task/{self.holder.pid}/children").read_text().split():
                return int(children[0])
            time.sleep(0.01)
        raise Failure(f"the host {self.name} can't be made")

    def join(self) -> None:
        """Goes on once its end of the pair of interfaces is there."""
        assert self.holder.stdin and self.holder.stdout
        self.holder.stdin.write(b"\n")
        self.holder.stdin.flush()
        if self.holder.stdout.readline() != b"ready\n":
            raise Failure(f"the host {self.name} can't be set up")

    def command(self, *words: str) -> list[str]:
        path = f"/usr/local/bin:{SCRIPTS}:/usr/sbin:/usr/bin:/sbin:/bin"
        return ["nsenter", f"--target={self.child}", "--net", "--mount", "--pid", "--wd=/root", "env", "-i", f"PATH={path}",
                "HOME=/root", "LC_ALL=C.UTF-8", *words]

    def run(self, script: str) -> str:
        """Runs commands of the shell; returns what they print."""
        done = subprocess.run(self.command("bash", "-euo", "pipefail", "-c", script), stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, text=True, timeout=LIMIT)
        if done.returncode:
            raise Failure(f"on {self.name}, status {done.returncode} of:\n{script}{done.stdout}{self.said()}")
        return done.stdout

    def start_node(self) -> None:
        self.node = subprocess.Popen(self.command("bash", "-c", f"exec {unit_command()}"), stdin=subprocess.DEVNULL,
                                     stdout=self.log, stderr=self.log)
        end = time.monotonic() + LIMIT
        while "ready: " not in self.said():
            if self.node.poll() is not None or time.monotonic() > end:
                raise Failure(f"the node on {self.name} does not start: {self.said()}")
            time.sleep(0.02)

    def said(self) -> str:
        """The log of its node."""
        self.log.flush()
        self.log.seek(0)
        return self.log.read().decode(errors="replace")

    def close(self) -> None:
        # All its processes end with the first one.
        self.holder.kill()
        self.holder.wait()
        if self.node:
            self.node.wait()
        self.log.close()


class Hosts:
    def __init__(self, folder: Path, binary: str) -> None:
        self.all: dict[str, Host] = {}
        for number, name in enumerate("ab", 1):
            self.all[name] = Host(name, number, folder, binary)

    def join(self) -> None:
        near, far = self.all["a"].child, self.all["b"].child
        subprocess.run(["ip", "link", "add", "guide0", "netns", str(near), "type", "veth", "peer", "name", "guide0", "netns",
                        str(far)], check=True)
        for host in self.all.values():
            host.join()
        # root of a may use ssh to b.
        key = self.all["a"].run("mkdir -p -m 700 .ssh; rm -f .ssh/*; ssh-keygen -qt ed25519 -N '' -f .ssh/id_ed25519\n"
                                "echo 'StrictHostKeyChecking accept-new' > .ssh/config; cat .ssh/id_ed25519.pub")
        self.all["b"].run(f"mkdir -p -m 700 .ssh; echo '{key.strip()}' > .ssh/authorized_keys; ssh-keygen -A > /dev/null\n"
                          "/usr/sbin/sshd -o UsePAM=no -o PermitRootLogin=yes")

    def run(self, names: str, text: str) -> None:
        for name in names:
            rest = ""
            for line in text.splitlines(keepends=True):
                if line.strip() == START:
                    self.all[name].start_node()
                else:
                    rest += line
            if rest:
                note(f"guide: on {name}: {rest.splitlines()[0]}")
                self.all[name].run(rest)

    def check(self) -> None:
        """The machine and its disk are where the guide says."""
        there = json.loads(self.all["b"].run("nearblock status --json"))["exports"]
        if [(export["export"], export["state"]) for export in there] != [("web", "serving")]:
            raise Failure(f"b serves {there}")
        self.all["b"].run("kill -0 $(cat /run/nearblock/web.pid)")

    def close(self) -> None:
        for host in self.all.values():
            host.close()


def check_lines() -> None:
    """The lines in the headings are the program's, or those of the script that moves a machine."""
    files = [*(ROOT / "Sources").rglob("*.swift"), *(SCRIPTS / "lib/machine").glob("*.py")]
    sources = "\n".join(path.read_text() for path in files)
    missing = [line for line in HEADING.findall((ROOT / DOCUMENTS[1]).read_text()) if line not in sources]
    if missing:
        raise Failure(f"{DOCUMENTS[1]} has lines that the program does not print: {', '.join(missing)}")


def check_examples(binary: str, folder: Path) -> None:
    """The examples of the reference have no mistakes."""
    for kind, text in blocks(REFERENCE):
        if kind != "ini":
            raise Failure(f"{REFERENCE} has a block of the kind '{kind}', which is not tested")
        (folder / "example.conf").write_text(text)
        done = subprocess.run([binary, "check", "--offline", str(folder / "example.conf")], capture_output=True, text=True)
        if done.returncode or "warning" in done.stdout:
            raise Failure(f"an example of {REFERENCE}: {done.stdout}")


def play(binary: str, folder: Path, keep: bool) -> None:
    check_lines()
    check_examples(binary, folder)
    hosts = Hosts(folder, binary)
    try:
        hosts.join()
        for document in DOCUMENTS:
            for kind, text in blocks(document):
                if kind not in HOSTS:
                    raise Failure(f"{document} has a block of the kind '{kind}', which is not tested")
                hosts.run(HOSTS[kind], text)
            hosts.check()
        if keep:
            input("the hosts run; Enter ends them")
    finally:
        hosts.close()


def main() -> int:
    parser = SuiteParser("guide", __doc__)
    parser.add_argument("--binary", help=argparse.SUPPRESS)
    parser.add_argument("--keep", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if os.geteuid() != 0:
        parser.error("it needs root, for namespaces")
    install("build", "guide")
    binary = options.binary or str(ROOT / ".build/debug/nearblock")
    if not options.binary and not os.access(binary, os.X_OK):
        subprocess.run([swift(), "build", "--product", "nearblock"], cwd=ROOT, check=True)
    folder = Path(tempfile.mkdtemp(prefix="nearblock-guide-"))
    try:
        play(os.path.realpath(binary), folder, options.keep)
    except (Failure, subprocess.SubprocessError) as failure:
        note(f"guide: {failure}")
        return 1
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
