"""A small Ceph cluster of plain processes in one folder: a monitor, a manager and OSDs with the pool `rbd`."""
import contextlib
import json
import os
import shutil
import signal
import subprocess
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from nearblock_tests.nodes import free_port

START_SECONDS = 120
# Time in which OSDs that work write a second's objects and remove them.
PROBE_SECONDS = 30
SETTINGS = """\
[global]
fsid = {fsid}
mon host = [v2:127.0.0.1:{port}/0]
public addr = 127.0.0.1
keyring = {folder}/keyring
run dir = {folder}
crash dir = {folder}
log file = {folder}/$name.log
mon allow pool size one = true
mon warn on pool no redundancy = false
mon data avail warn = 2
mon cluster log to file = false
auth allow insecure global id reclaim = false
mgr initial modules =
mgr stats period = 1
osd pool default size = 1
osd pool default pg num = 8
osd pool default pg autoscale mode = off
osd crush chooseleaf type = 0
bluestore block size = 4294967296
bluestore cache autotune = false
bluestore cache size = 67108864
"""


class CephFailure(Exception):
    pass


class Cluster:
    """Started by `with`. Its processes can be killed, stopped and started again, by their names: `mon.a`, `mgr.x`, `osd.0`."""

    def __init__(self, folder: Path, osds: int = 3, has_files: bool = False) -> None:
        self.folder, self.names = folder, ["mon.a", "mgr.x", *(f"osd.{number}" for number in range(osds))]
        self.has_files = has_files
        self.conf = folder / "ceph.conf"
        self.processes: dict[str, subprocess.Popen[bytes]] = {}

    def __enter__(self) -> "Cluster":
        try:
            self.make()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: Any) -> None:
        for process in self.processes.values():
            process.send_signal(signal.SIGCONT)
            process.kill()
            process.wait()

    def run(self, *command: str | Path, fails: bool = False) -> str:
        """What a program of Ceph's says; raises where it fails."""
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=START_SECONDS,
                                  env={**os.environ, "CEPH_CONF": str(self.conf), "CEPH_ARGS": ""})
        except subprocess.TimeoutExpired as limit:
            raise CephFailure(f"{' '.join(map(str, command[:4]))}: no answer within {START_SECONDS} s") from limit
        if done.returncode and not fails:
            raise CephFailure(f"{' '.join(map(str, command[:4]))}: {done.stderr.strip()}")
        return done.stdout

    @contextlib.contextmanager
    def restricted(self, user: str, folder: Path, pool: str = "rbd") -> Iterator[None]:
        """What is started inside finds the keyring of no other user than this one, who may use one pool only."""
        keyring, conf = folder / "keyring", folder / "ceph.conf"
        keyring.write_text(self.run("ceph", "auth", "get-or-create", f"client.{user}", "mon", "profile rbd", "osd", f"profile rbd pool={pool}"))
        conf.write_text(self.conf.read_text().replace(str(self.folder / "keyring"), str(keyring)))
        earlier = os.environ.get("CEPH_CONF", str(self.conf))
        os.environ.update(CEPH_CONF=str(conf), CEPH_ARGS=f"--id {user}")
        try:
            yield
        finally:
            os.environ["CEPH_CONF"] = earlier
            del os.environ["CEPH_ARGS"]

    def start(self, name: str, *options: str) -> None:
        kind, number = name.split(".")
        program = shutil.which(f"ceph-{kind}") or f"/usr/bin/ceph-{kind}"
        with open(self.folder / f"{name}.out", "ab") as log:
            self.processes[name] = subprocess.Popen(
                [program, "-f", "-c", str(self.conf), "-i", number, f"--{kind}-data={self.folder / name}", *options],
                stdout=log, stderr=log, stdin=subprocess.DEVNULL)

    def kill(self, name: str) -> None:
        self.processes[name].kill()
        self.processes[name].wait()

    def signal(self, number: int) -> None:
        """To all processes: SIGSTOP makes a cluster that does not answer."""
        for process in self.processes.values():
            process.send_signal(number)

    def resume(self) -> None:
        """Lets a cluster that was stopped go on, and returns when it answers."""
        self.signal(signal.SIGCONT)
        self.wait_until_clean()

    def writes(self) -> bool:
        """Whether all placement groups of the pool take writes."""
        bench = ["rados", "-p", "rbd", "bench", "1", "write", "-b", "4096", "-t", "32", "--run-name", f"probe-{uuid.uuid4()}"]
        done = subprocess.run(["timeout", str(PROBE_SECONDS), *bench], capture_output=True,
                              env={**os.environ, "CEPH_CONF": str(self.conf), "CEPH_ARGS": ""})
        return done.returncode == 0

    def wait(self, what: str, *command: str, seconds: int = START_SECONDS) -> None:
        end = time.monotonic() + seconds
        while what not in self.run(*command, fails=True):
            if time.monotonic() > end:
                raise CephFailure(f"no {what} in {' '.join(command)} after {seconds} s; see {self.folder}")
            time.sleep(0.2)

    def prepare(self, name: str, *options: str) -> None:
        """Makes the files of a process."""
        kind, number = name.split(".")
        (self.folder / name).mkdir()
        self.run(f"ceph-{kind}", "--mkfs", "-c", self.conf, "-i", number, f"--{kind}-data={self.folder / name}", *options)

    def make(self) -> None:
        port = free_port()
        self.conf.write_text(SETTINGS.format(fsid=uuid.uuid4(), port=port, folder=self.folder))
        caps = {"mon.": ["mon", "allow *"], "client.admin": ["mon", "allow *", "mgr", "allow *", "osd", "allow *", "mds", "allow *"],
                "mgr.x": ["mon", "allow profile mgr", "osd", "allow *"]}
        caps |= {name: ["mon", "allow profile osd", "mgr", "allow profile osd", "osd", "allow *"]
                 for name in self.names if name.startswith("osd.")}
        for number, (name, allowed) in enumerate(caps.items()):
            pairs = [word for what, may in zip(allowed[::2], allowed[1::2]) for word in ("--cap", what, may)]
            self.run("ceph-authtool", *(["--create-keyring"] if number == 0 else []), "--gen-key", "-n", name, *pairs,
                     self.folder / "keyring")
        self.prepare("mon.a", f"--keyring={self.folder}/keyring", f"--public-addrv=[v2:127.0.0.1:{port}/0]")
        self.start("mon.a")
        self.wait("quorum", "ceph", "quorum_status")
        self.start("mgr.x")
        for name in self.names:
            if name.startswith("osd."):
                identity = str(uuid.uuid4())
                self.run("ceph", "osd", "new", identity, name.removeprefix("osd."))
                self.prepare(name, f"--osd-uuid={identity}")
                self.start(name)
        self.run("ceph", "osd", "pool", "create", "rbd")
        self.run("rbd", "pool", "init", "rbd")
        if self.has_files:
            self.make_file_system()
        self.wait('"available": true', "ceph", "mgr", "stat")
        self.wait_until_clean()

    def make_file_system(self) -> None:
        """CephFS with the name `cephfs`, and its server `mds.a`."""
        self.run("ceph-authtool", "--gen-key", "-n", "mds.a", "--cap", "mon", "allow profile mds", "--cap", "mgr",
                 "allow profile mds", "--cap", "osd", "allow rwx", "--cap", "mds", "allow", self.folder / "keyring")
        self.run("ceph", "auth", "import", "-i", self.folder / "keyring")
        (self.folder / "mds.a").mkdir()
        for pool in ("cephfs.meta", "cephfs.data"):
            self.run("ceph", "osd", "pool", "create", pool)
        self.start("mds.a")
        self.names.append("mds.a")
        self.run("ceph", "fs", "new", "cephfs", "cephfs.meta", "cephfs.data")
        self.wait("up:active", "ceph", "mds", "stat")

    def wait_until_clean(self) -> None:
        """Returns when all groups are clean and take writes.

        A group of Ceph 16 with one copy can stay laggy for ever when its OSD has stood still: it waits for a lease that it gives itself.
        Its OSD is then started again.
        """
        self.wait_for_states()
        if self.writes():
            return
        for name in self.names:
            if name.startswith("osd."):
                self.kill(name)
                self.start(name)
        time.sleep(1)
        self.wait_for_states()
        if not self.writes():
            raise CephFailure(f"the cluster takes no writes; see {self.folder}")

    def wait_for_states(self) -> None:
        end = time.monotonic() + START_SECONDS
        while True:
            said = self.run("ceph", "status", "--format", "json", fails=True)
            state: dict[str, Any] = json.loads(said or "{}")
            states = [row["state_name"] for row in state.get("pgmap", {}).get("pgs_by_state", [])]
            osds = state.get("osdmap", {})
            if states == ["active+clean"] and osds.get("num_up_osds") == osds.get("num_osds"):
                return
            if time.monotonic() > end:
                raise CephFailure(f"the cluster is not clean after {START_SECONDS} s: {states}")
            time.sleep(0.2)

    def fill(self, is_full: bool, pool: str = "rbd") -> None:
        """Makes a pool full by a quota, or ends that."""
        self.run("ceph", "osd", "pool", "set-quota", pool, "max_objects", "1" if is_full else "0")
        end = time.monotonic() + 60
        while ("full_quota" in self.run("ceph", "osd", "dump")) != is_full:
            if time.monotonic() > end:
                raise CephFailure("the pool does not become full, or does not cease to be")
            time.sleep(0.2)
