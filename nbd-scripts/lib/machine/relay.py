"""The memory's way through the nodes: the sockets of the two QEMUs, and what the node says of it."""
import json
import os
import shlex
import socket as sockets
import subprocess
import tempfile
import time

from machine.site import SiteError


# The users of the QEMU and the node behind two sockets; and whether sockets in a folder get rights of the folder's. A process
# may have changed its user since it made its socket.
RIGHTS = """
import json, os, pwd, socket, struct, sys
def user(path):
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(path)
        number = struct.unpack("3i", connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))[0]
    with open(f"/proc/{number}/status") as lines:
        uid = next(int(line.split()[2]) for line in lines if line.startswith("Uid:"))
    try:
        return {"uid": uid, "name": pwd.getpwuid(uid).pw_name}
    except KeyError:
        return {"uid": uid, "name": str(uid)}
try:
    os.getxattr(sys.argv[3], "system.posix_acl_default")
    inherits = True
except OSError:
    inherits = False
print(json.dumps({"qemu": user(sys.argv[1]), "node": user(sys.argv[2]), "inherits": inherits}))
"""


class WayError(Exception):
    """The memory's way is not there yet."""


def is_listening(path):
    """Whether a process of this machine listens on a Unix socket. A connection would be taken for QEMU's."""
    with open("/proc/net/unix", encoding="utf-8") as table:
        # Number, references, protocol, flags (__SO_ACCEPTCON), type, state, inode, path.
        rows = (line.rstrip("\n").split(maxsplit=7) for line in table)
        return any(fields[3] == "00010000" and fields[7:] == [path] for fields in rows)


class Relay:
    """For the guest `name`, from a socket here to the one on which its QEMU waits there.

    `socket` is the path here; None for the same path as there.
    """

    def __init__(self, here, there, name, socket, at_once, rate, to):
        self.here, self.there, self.name, self.socket, self.at_once, self.rate = here, there, name, socket, at_once, rate
        self.to = to
        self.command = None
        # Whether the QEMU there was told to make its socket.
        self.has_target = False

    def check(self):
        """Raises SiteError unless the node there takes memory."""
        folder = self.there.answer().get("memoryDirectory")
        if not folder:
            raise SiteError(f"the node at {self.there.name} takes no memory: start it with --memory-dir, or move the memory "
                            "by QEMU's own connection, with --memory-to")
        self.target = f"{folder}/{self.name}.sock"
        self.socket = self.socket or self.target

    def check_user(self):
        """Raises SiteError where the node there may not connect to a socket that its QEMU makes; that is found out late otherwise.
        """
        try:
            rights = json.loads(self.there.run(shlex.join(
                ["python3", "-c", RIGHTS, self.there.monitor, self.there.control_path, os.path.dirname(self.target)])))
        except (SiteError, ValueError):
            # Only the move itself can tell then.
            return
        node, qemu = rights["node"], rights["qemu"]
        if node["uid"] in (0, qemu["uid"]) or rights["inherits"]:
            return
        raise SiteError(f"the QEMU at {self.there.name} runs as {qemu['name']}, and its node as {node['name']}, "
                        f"who may not connect to QEMU's socket {self.target}: start QEMU there with -runas {node['name']}")

    def reason(self, limit=3.0):
        """What the node here says of the memory that has failed; None where it says nothing in time."""
        end = time.monotonic() + limit
        while time.monotonic() < end:
            if self.command:
                if self.command.poll() is not None:
                    return self.last_words()
            else:
                for export in (self.here.status_if_any() or {}).values():
                    memory = export.get("memory") or {}
                    if memory.get("name") == self.name and memory.get("state") == "failed":
                        return memory.get("problem")
            time.sleep(0.1)
        return None

    def last_words(self):
        self.errors.seek(0)
        lines = self.errors.read().strip().splitlines()
        return lines[-1].removeprefix("nearblock: ") if lines else None

    def clean(self):
        """Removes the socket of a QEMU there that has ended: it leaves its own behind."""
        if self.has_target:
            try:
                self.there.run(shlex.join(["rm", "-f", self.target]))
                self.has_target = False
            except SiteError:
                # The next QEMU takes its place.
                pass

    def options(self):
        """Of the command that moves the disks, too."""
        return [*self.names(), *(["--at-once"] if self.at_once else [])]

    def names(self):
        return ["--memory", self.socket, "--memory-name", self.name]

    def begin(self, names):
        """Where the disks are there already, only the memory is moved."""
        self.run(*names, *self.names())

    def run(self, *arguments):
        rate = [] if self.rate is None else ["--rate", self.rate]
        self.output, self.errors = tempfile.TemporaryFile("w+"), tempfile.TemporaryFile("w+")
        self.command = subprocess.Popen(
            self.here.command("memory", "--to", self.to, *arguments, *rate, "--json"),
            stdin=subprocess.DEVNULL, stdout=self.output, stderr=self.errors, start_new_session=True)

    def check_way(self):
        """Raises WayError unless the node there answers."""
        host, port = self.to.rsplit(":", 1)
        try:
            sockets.create_connection((host.strip("[]"), int(port)), 5).close()
        except OSError as error:
            raise WayError(f"{self.to} does not answer: {error}") from error

    def begin_again(self, number, limit=10):
        """Carries a post-copy that goes on after a cut; returns the socket for it.

        Nothing is looked for on disks: the guest waits, and to read them takes long.
        """
        self.end()
        path = f"{self.socket}.{number}"
        self.run("--memory", path, "--memory-name", self.name)
        end = time.monotonic() + limit
        while not is_listening(path):
            if self.command.poll() is not None or time.monotonic() > end:
                raise WayError("the node here makes no socket for the memory")
            time.sleep(0.05)
        return path

    def check_runs(self):
        """Raises SiteError where the node has given it up."""
        if self.command and self.command.poll():
            raise SiteError(self.last_words() or "the node has given the memory up")

    def end(self):
        if self.command and self.command.poll() is None:
            self.command.terminate()

    def bill(self, reports):
        """What the node says of the memory, of the reports of the disks or its own; None where nobody has told."""
        if self.command is None:
            return next((report["memory"] for report in reports if report.get("memory")), None)
        try:
            self.command.wait(timeout=10)
            self.output.seek(0)
            return json.loads(self.output.read())
        except (subprocess.TimeoutExpired, ValueError):
            return None
