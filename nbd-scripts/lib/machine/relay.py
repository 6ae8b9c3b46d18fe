"""The memory's way through the nodes: the sockets of the two QEMUs, and what the node says of it."""
import json
import subprocess
import tempfile

from machine.site import SiteError


class Relay:
    """For the guest `name`, from a socket here to the one on which its QEMU waits there.

    `socket` is the path here; None for the same path as there.
    """

    def __init__(self, here, there, name, socket, at_once, rate):
        self.here, self.there, self.name, self.socket, self.at_once, self.rate = here, there, name, socket, at_once, rate
        self.command = None

    def check(self):
        """Raises SiteError unless the node there takes memory."""
        folder = self.there.answer().get("memoryDirectory")
        if not folder:
            raise SiteError(f"the node at {self.there.name} takes no memory: start it with --memory-dir, or move the memory "
                            "by QEMU's own connection, with --memory-to")
        self.target = f"{folder}/{self.name}.sock"
        self.socket = self.socket or self.target

    def options(self):
        """Of the command that moves the disks, too."""
        return [*self.names(), *(["--at-once"] if self.at_once else [])]

    def names(self):
        return ["--memory", self.socket, "--memory-name", self.name]

    def begin(self, names, to):
        """Where the disks are there already, only the memory is moved."""
        rate = [] if self.rate is None else ["--rate", self.rate]
        self.output, self.errors = tempfile.TemporaryFile("w+"), tempfile.TemporaryFile("w+")
        self.command = subprocess.Popen(
            self.here.command("memory", *names, "--to", to, *self.names(), *rate, "--json"),
            stdin=subprocess.DEVNULL, stdout=self.output, stderr=self.errors, start_new_session=True)

    def check_runs(self):
        """Raises SiteError where the node has given it up."""
        if self.command and self.command.poll():
            self.errors.seek(0)
            lines = self.errors.read().strip().splitlines()
            raise SiteError(lines[-1].removeprefix("nearblock: ") if lines else "the node has given the memory up")

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
