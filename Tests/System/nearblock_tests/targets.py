"""test targets [--ceph-conf FILE] [--ceph-pool POOL] [--binary PATH] [--keep] [TEST ...]

Runs the scripts of nbd-scripts/targets as a node does: what they refuse, that a second run prints the same place, that they
release only what they have made and nothing that is in use. qcow2 is tested with QEMU's programs. zfs is tested with a stand-in
that notes its arguments, since it was never tried with ZFS. rbd needs a Ceph cluster, whose configuration --ceph-conf names, qemu-block-extra, and a pool
(default: rbd); without it, only its refusals are tested. lvm and lvm-thin are tested by: test guests places.

Then a real Debian in qcow2, with a backing file and an internal snapshot, moves to each place under a verifying fio: a file, qcow2,
a loop device with sectors of 4096 bytes (as root), and rbd. The place is compared by qemu-img. The disk moves back by what has
changed: the bytes that cross are counted.

The tests are refusals, qcow2, zfs, rbd, and move-directory, move-qcow2, move-loop, move-rbd. --binary PATH in the place of
.build/debug/nearblock; --keep leaves the folders of tests that failed.
"""
import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from nearblock_tests import places
from nearblock_tests.nodes import NodeFailure
from nearblock_tests.repository import SCRIPTS, SuiteParser, debug_binary, install

MINE, OTHER = "0123456789abcdef" * 2, "f" * 32
# What makes each script go as far as to look at the request, or at what it needs.
COMMANDS = {"lvm": ["--group", "vg"], "lvm-thin": ["--pool", "vg/pool"], "qcow2": ["--folder", "/tmp"], "rbd": ["--pool", "rbd"],
            "zfs": ["--dataset", "tank/vms"]}
BAD_REQUESTS = {
    "NEARBLOCK_EXPORT": ["", "a/b", "..", ".hidden", "-x", "a b", "a\nb", "$(id)", "ü", "x" * 128],
    "NEARBLOCK_SIZE": ["", "0", "-1", "1e9", "0x10", "9" * 19, "1 + 1", "a[$(id)]"],
    "NEARBLOCK_USED": ["-1", "9" * 30, "x"],
    "NEARBLOCK_ARRIVAL": ["", "0123", MINE.upper(), MINE + "0"],
}
BAD_OPTIONS: list[list[str]] = [[], ["prepare", "release"], ["steal"], ["--nothing", "x", "prepare"], ["prepare", "--prefix"]]


class Failure(Exception):
    pass


@dataclass
class Script:
    name: str
    options: list[str]
    # Comes before other programs.
    path: str = ""

    def run(self, action: str, **request: str) -> subprocess.CompletedProcess[str]:
        return self.start([*self.options, action], request)

    def start(self, words: list[str], request: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
        known = {"NEARBLOCK_EXPORT": "web", "NEARBLOCK_SIZE": "10485760", "NEARBLOCK_ARRIVAL": MINE, **request}
        path = ":".join(filter(None, [self.path, os.environ["PATH"], "/usr/sbin:/sbin"]))
        return subprocess.run([SCRIPTS / "targets" / self.name, *words], capture_output=True, text=True, check=False,
                              stdin=subprocess.DEVNULL, env={"PATH": path, **known})

    def place(self, **request: str) -> str:
        """The line that it prints; the same if it is asked again."""
        first, second = self.run("prepare", **request), self.run("prepare", **request)
        for result in (first, second):
            expect(result.returncode == 0, f"{self.name} prepare: {result.stderr}")
        expect(first.stdout == second.stdout and first.stdout.count("\n") == 1, f"{first.stdout!r}, then {second.stdout!r}")
        return first.stdout.rstrip("\n")

    def release(self, **request: str) -> None:
        for _ in range(2):
            result = self.run("release", **request)
            expect(result.returncode == 0, f"{self.name} release: {result.stderr}")

    def refuses(self, action: str, reason: str, **request: str) -> None:
        expect_refused(self.name, self.run(action, **request), reason)


def expect(holds: bool, what: str) -> None:
    if not holds:
        raise Failure(what)


def expect_refused(name: str, result: subprocess.CompletedProcess[str], reason: str) -> None:
    lines = result.stderr.splitlines()
    expect(result.returncode != 0 and not result.stdout, f"{name} was not refused: {result}")
    expect(bool(lines) and lines[-1].startswith(f"{name}: ") and reason in lines[-1], f"no '{reason}' in {result.stderr!r}")


def refusals(folder: Path) -> None:
    # Programs that are not here are missing after the request was looked at.
    for name, options in COMMANDS.items():
        script = Script(name, options)
        shown = script.start(["--help"], {})
        expect(shown.returncode == 0 and shown.stdout.startswith(f"{name} "), f"{name} --help: {shown}")
        for words in BAD_OPTIONS:
            result = script.start([*options, *words], {})
            expect(result.returncode == 2, f"{name} {words}: {result}")
        expect(script.start(["prepare"], {}).returncode == 2, f"{name} does without its option")
        for variable, values in BAD_REQUESTS.items():
            for value in values:
                for action in ("prepare", "release"):
                    if variable == "NEARBLOCK_USED" and not value:
                        continue
                    result = script.run(action, **{variable: value})
                    expect(result.returncode == 1 and not result.stdout, f"{name} {action} with {variable}={value!r}: {result}")
    expect(not any(folder.iterdir()), "a refusal has left something")


def qcow2(folder: Path) -> None:
    script = Script("qcow2", ["--folder", str(folder), "--prefix", "nb-", "--cluster", "131072", "--preallocation", "metadata"])
    image = folder / "nb-web.qcow2"
    expect(script.place() == f"format=qcow2 {image}", "another place")
    info = json.loads(subprocess.run(["qemu-img", "info", "--output=json", image], capture_output=True, check=True).stdout)
    expect((info["virtual-size"], info["cluster-size"]) == (10485760, 131072), f"another image: {info}")
    script.refuses("prepare", "exists already", NEARBLOCK_ARRIVAL=OTHER)
    script.release(NEARBLOCK_ARRIVAL=OTHER)
    expect(image.exists(), "it has released another arrival's image")
    with subprocess.Popen(["qemu-nbd", "-k", str(folder / "socket"), "-f", "qcow2", "-t", str(image)]) as server:
        while not (folder / "socket").exists():
            expect(server.poll() is None, "qemu-nbd has ended")
        script.refuses("release", "is in use")
        server.terminate()
    (folder / "socket").unlink(missing_ok=True)
    image.unlink()
    # Interrupted between the mark and the image.
    script.place()
    script.release()
    image.touch()
    script.refuses("prepare", "exists already")
    script.release()
    expect(image.exists(), "it has released what it has not made")
    image.unlink()
    Script("qcow2", ["--folder", "/"]).refuses("prepare", "bytes free", NEARBLOCK_SIZE=str(1 << 58), NEARBLOCK_USED=str(1 << 58))
    Script("qcow2", ["--folder", "relative"]).refuses("prepare", "absolute path")
    for cluster in ("1000", "256", "4194304"):
        result = Script("qcow2", ["--folder", str(folder), "--cluster", cluster]).run("prepare")
        expect(result.returncode == 2, f"clusters of {cluster}: {result}")


# Notes what it is asked, and knows datasets as files.
FAKE_ZFS = """#!/usr/bin/python3
import os, sys
from pathlib import Path
words, root = sys.argv[1:], Path(__file__).parent
with open(root / "calls", "a") as calls: print(*words, file=calls)
known = root / words[-1].replace("/", "+")
if words[0] == "create":
    known.write_text(words[words.index("-o") + 1].split("=")[1])
elif words[0] == "destroy": known.unlink()
elif words[-2] == "available": print(1 << 30)
elif words[-1] != "tank/vms" and not known.exists(): sys.exit(1)
elif words[0] == "get": print(known.read_text())
"""


def zfs(folder: Path) -> None:
    (folder / "zfs").write_text(FAKE_ZFS)
    (folder / "zfs").chmod(0o755)
    script = Script("zfs", ["--dataset", "tank/vms", "--block-size", "8192"], str(folder))
    # Without ZFS there is no device.
    script.refuses("prepare", "has not made /dev/zvol/tank/vms/web", NEARBLOCK_SIZE="10000000")
    calls = (folder / "calls").read_text()
    expect(f"create -s -b 8192 -o nearblock:arrival={MINE} -V 10002432 tank/vms/web\n" in calls, calls)
    script.refuses("prepare", "exists already", NEARBLOCK_ARRIVAL=OTHER)
    script.release(NEARBLOCK_ARRIVAL=OTHER)
    script.release()
    expect((folder / "calls").read_text().count("destroy tank/vms/web\n") == 1, "not destroyed once")
    script.refuses("prepare", "bytes free", NEARBLOCK_SIZE=str(2 << 30))
    script.refuses("prepare", "has a +", NEARBLOCK_EXPORT="a+b")
    Script("zfs", ["--dataset", "tank/../x"], str(folder)).refuses("prepare", "no name of a dataset")


def rbd(conf: str, pool: str) -> None:
    script = Script("rbd", ["--pool", pool, "--prefix", "nb-", "--conf", conf, "--map", "no"])
    ceph = ["rbd", "--conf", conf]
    expect(script.place() == f"rbd:{pool}/nb-web", "another place")
    info = json.loads(subprocess.run([*ceph, "info", "--format", "json", f"{pool}/nb-web"], capture_output=True, check=True).stdout)
    expect(info["size"] == 10485760, f"another image: {info}")
    script.refuses("prepare", "exists already", NEARBLOCK_ARRIVAL=OTHER)
    script.release(NEARBLOCK_ARRIVAL=OTHER)
    expect(subprocess.run([*ceph, "info", f"{pool}/nb-web"], capture_output=True).returncode == 0, "another arrival's is gone")
    script.release()
    expect(subprocess.run([*ceph, "info", f"{pool}/nb-web"], capture_output=True).returncode != 0, "it is not released")
    subprocess.run([*ceph, "create", "--size", "1M", f"{pool}/nb-web"], check=True)
    script.refuses("prepare", "exists already")
    script.release()
    subprocess.run([*ceph, "rm", "--no-progress", f"{pool}/nb-web"], check=True)
    Script("rbd", ["--pool", "nothing", "--conf", conf]).refuses("prepare", "can't be listed")


def scripts(options: argparse.Namespace) -> dict[str, Callable[[Path], str | None]]:
    tests: dict[str, Callable[[Path], str | None]] = {"refusals": refusals, "qcow2": qcow2, "zfs": zfs}
    if options.ceph_conf:
        tests["rbd"] = lambda _: rbd(options.ceph_conf, options.ceph_pool)
    return tests


def moves(options: argparse.Namespace, common: Path) -> dict[str, Callable[[Path], str | None]]:
    """`common` is where the disk is made, once."""
    def disk() -> Path:
        made = common / "disk.qcow2"
        return made if made.exists() else places.make_disk(common)

    def move(place: Callable[[str, Path, Path], str]) -> Callable[[Path], str]:
        return lambda folder: place(options.binary, folder / "move", disk())
    tests: dict[str, Callable[[Path], str | None]] = {f"move-{name}": move(place) for name, place in places.PLACES.items()}
    if os.geteuid() != 0:
        del tests["move-loop"]
    if options.ceph_conf:
        tests["move-rbd"] = lambda folder: places.rbd(
            options.binary, folder / "move", disk(), options.ceph_conf, options.ceph_pool)
    return tests


def perform(name: str, test: Callable[[Path], str | None], keep: bool) -> bool:
    folder, passed = Path(tempfile.mkdtemp(prefix="nearblock-targets-")), False
    try:
        print(f"ok      {name:14} {test(folder) or ''}".rstrip(), flush=True)
        passed = True
    except (Failure, places.Failure, NodeFailure) as failure:
        print(f"FAILED  {name:14} {failure}{f'; see {folder}' if keep else ''}", flush=True)
    finally:
        if passed or not keep:
            shutil.rmtree(folder)
    return passed


def main() -> int:
    parser = SuiteParser("targets", __doc__)
    parser.add_argument("--ceph-conf", help=argparse.SUPPRESS)
    parser.add_argument("--ceph-pool", default="rbd", help=argparse.SUPPRESS)
    parser.add_argument("--binary", help=argparse.SUPPRESS)
    parser.add_argument("--keep", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("tests", nargs="*", help=argparse.SUPPRESS)
    options = parser.parse_args()
    install("test", "disks")
    options.binary = os.path.abspath(options.binary or debug_binary())
    with tempfile.TemporaryDirectory(prefix="nearblock-targets-") as common:
        tests = {**scripts(options), **moves(options, Path(common))}
        for name in options.tests:
            if name not in tests:
                parser.error(f"there is no test '{name}' here")
        results = [perform(name, test, options.keep) for name, test in tests.items() if name in (options.tests or tests)]
    return 0 if all(results) else 1


if __name__ == "__main__":
    sys.exit(main())
