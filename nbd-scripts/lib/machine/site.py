"""One end of a move: how commands run there, its node, and its QEMU."""
import json
import shlex
import socket
import subprocess

from machine.qmp import Qmp, QmpError

# The monitor's socket as standard input and output; QEMU speaks first, so that sh, which reads its script from the same
# stream, has nothing left to read.
BRIDGE = """
import os, socket, sys, threading
monitor = socket.socket(socket.AF_UNIX)
try:
    monitor.connect(sys.argv[1])
except OSError as error:
    sys.exit(f"{sys.argv[1]}: {error.strerror}")
def pump(read, write):
    while data := read(65536):
        while data:
            data = data[write(data):]
    os._exit(0)
threading.Thread(target=pump, args=(monitor.recv, lambda data: os.write(1, data)), daemon=True).start()
pump(lambda size: os.read(0, size), monitor.send)
"""


class SiteError(Exception):
    """A command fails, or the site can't be reached."""


class Site:
    """`prefix` comes before a shell that reads its script from standard input; empty where that is this machine."""

    def __init__(self, name, prefix, nearblock, control, monitor):
        self.name, self.prefix, self.nearblock, self.monitor = name, shlex.split(prefix), nearblock, monitor
        self.control = ["--control", control] if control else []
        # Where the node listens for commands; that of a node of root's without the option.
        self.control_path = control or "/run/nearblock/control.sock"

    def run(self, script, limit=60):
        """Runs a shell script and returns what it says.

        It has a session of its own: Ctrl-C is for whoever waits for it.
        """
        try:
            done = subprocess.run(
                [*self.prefix, "sh"], input=f"{{\n{script}\n}} </dev/null\nexit $?\n", text=True, timeout=limit,
                capture_output=True, start_new_session=True)
        except subprocess.TimeoutExpired as error:
            raise SiteError(f"{self.name} does not answer within {limit} s") from error
        except OSError as error:
            raise SiteError(f"{self.prefix[0]} can't be run: {error.strerror}") from error
        if done.returncode:
            said = (done.stderr.strip() or done.stdout.strip()).splitlines()
            raise SiteError(said[-1] if said else f"a command at {self.name} ends with {done.returncode}")
        return done.stdout

    def command(self, *arguments):
        """A command line of nearblock's, to this site's node."""
        return [self.nearblock, *arguments, *self.control]

    def ask(self, *arguments, limit=60):
        return self.run(shlex.join(self.command(*arguments)), limit)

    def status(self):
        """The node's exports by their names."""
        return {export["export"]: export for export in self.answer()["exports"]}

    def answer(self):
        """Everything that the node says of itself."""
        return json.loads(self.ask("status", "--json", limit=20))

    def status_if_any(self):
        """None where the node does not answer, as while it is started again."""
        try:
            return self.status()
        except (SiteError, ValueError):
            return None

    def open_monitor(self):
        """Raises QmpError where no QEMU answers."""
        name = f"the QEMU at {self.name}"
        if not self.prefix:
            return Qmp.connect(self.monitor, name)
        ours, theirs = socket.socketpair()
        with theirs:
            bridge = subprocess.Popen([*self.prefix, "sh"], stdin=theirs.fileno(), stdout=theirs.fileno(), stderr=subprocess.PIPE,
                                      start_new_session=True)
        ours.sendall(f"exec python3 -c {shlex.quote(BRIDGE)} {shlex.quote(self.monitor)}\n".encode())
        try:
            return Qmp(ours, name)
        except QmpError as error:
            ours.close()
            said = bridge.communicate()[1].decode().strip().splitlines()
            raise QmpError(f"no QEMU answers at {self.name}: {said[-1] if said else error}") from error
