"""What has a guest trim its file systems before its disks are copied: blocks that they do not use are holes from then on.

A trim saves bytes and nothing else, so no failure of it ends a move. A trimmer has `check`, which raises SiteError where a
trim can't be asked for; `begin`; `is_done`, which raises TrimFailed; `end`; and `outcome`, the guest's own words on a trim
of which nothing has reached the node.
"""
import json
import os
import shlex
import socket
import subprocess
import tempfile
import time

from machine.site import SiteError

# An agent that runs answers at once; one on a loaded machine within seconds.
ANSWER_SECONDS = 10
# Of a guest that may say anything. A path of a file system and its words take some hundred bytes.
ANSWER_BYTES = 1 << 20
TEXT_LENGTH = 200

UNMAP = "give its disks discard=unmap where QEMU is started (-blockdev …,discard=unmap)"
UNMAP_LIBVIRT = "give its disks <driver … discard='unmap'/> in the domain's description"


class TrimFailed(Exception):
    """The guest has not trimmed, or not said so."""


def plain(words):
    """Of a guest, for the operator's terminal."""
    return "".join(letter if letter.isprintable() else "?" for letter in str(words)[:TEXT_LENGTH])


class AgentTrim:
    """By a guest's agent on `path`, the Unix socket of QEMU's channel org.qemu.guest_agent.0."""

    def __init__(self, path):
        self.path = path
        self.connection, self.received, self.answer = None, b"", None
        # The agent has left the requests of earlier clients behind.
        self.is_in_step = False

    def check(self):
        self.open()
        self.end()

    def open(self):
        self.connection = socket.socket(socket.AF_UNIX)
        self.connection.settimeout(ANSWER_SECONDS)
        try:
            self.connection.connect(self.path)
        except OSError as error:
            self.end()
            raise SiteError(f"no agent's socket at {self.path}: {error.strerror or error}; --agent takes the path of QEMU's "
                            "channel org.qemu.guest_agent.0") from error

    def begin(self):
        self.open()
        self.number = int.from_bytes(os.urandom(4), "big")
        self.deadline = time.monotonic() + ANSWER_SECONDS
        self.send({"execute": "guest-sync-delimited", "arguments": {"id": self.number}}, b"\xff")
        self.connection.setblocking(False)

    def send(self, request, before=b""):
        # The channel's buffers take some KiB.
        try:
            self.connection.sendall(before + json.dumps(request).encode() + b"\n")
        except OSError as error:
            raise TrimFailed(f"the guest's agent has gone: {error.strerror or error}") from error

    def is_done(self):
        self.receive()
        if not self.is_in_step:
            self.look_for_number()
        if self.is_in_step and b"\n" in self.received:
            self.answer = self.parse(self.received.partition(b"\n")[0])
        return self.answer is not None

    def receive(self):
        while True:
            try:
                data = self.connection.recv(65536)
            except BlockingIOError:
                return
            except OSError as error:
                raise TrimFailed(f"the guest's agent has gone: {error.strerror or error}") from error
            self.received += data
            if not data:
                raise TrimFailed("QEMU has closed the agent's socket")
            if len(self.received) > ANSWER_BYTES:
                raise TrimFailed("the guest's agent says more than an answer has")

    def look_for_number(self):
        """An answer to another client's question may come first."""
        *lines, rest = self.received.rpartition(b"\xff")[2].split(b"\n")
        for index, line in enumerate(lines):
            if self.is_number(line):
                self.received = b"\n".join([*lines[index + 1:], rest])
                self.is_in_step = True
                return self.send({"execute": "guest-fstrim"})
        if time.monotonic() > self.deadline:
            raise TrimFailed(f"the guest's agent has not answered within {ANSWER_SECONDS} s: see that qemu-guest-agent runs in "
                             f"the guest, and that no other program is connected to {self.path}")

    def is_number(self, line):
        try:
            return json.loads(line) == {"return": self.number}
        except (ValueError, RecursionError):
            return False

    def parse(self, line):
        """The file systems; each is a dictionary."""
        try:
            answer = json.loads(line)
            if "error" in answer:
                raise TrimFailed(f"the guest's agent refuses guest-fstrim: {plain(answer['error']['desc'])}")
            return [{**path} for path in answer["return"]["paths"]]
        except (ValueError, TypeError, KeyError, RecursionError) as error:
            raise TrimFailed("the guest's agent answers guest-fstrim with something else") from error

    def end(self):
        if self.connection:
            self.connection.close()
        self.connection = None

    def outcome(self):
        errors = [path for path in self.answer or [] if path.get("error")]
        if any(path.get("trimmed") for path in self.answer or []):
            return f"the guest has trimmed, and nothing of it has reached the node: {UNMAP}"
        if errors:
            path, error = plain(errors[0].get("path")), plain(errors[0]["error"])
            return f"the guest can't trim {path}: {error}; where its disk refuses, {UNMAP}"
        return "the guest has found nothing to trim"


class LibvirtTrim:
    """By the agent of a domain, which only libvirt may talk to."""

    def __init__(self, uri, domain):
        self.command = ["virsh", "--connect", uri, "domfstrim", domain]
        self.process = None

    def check(self):
        """libvirt says so where there is none."""

    def begin(self):
        self.errors = tempfile.TemporaryFile("w+")
        try:
            self.process = subprocess.Popen(self.command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                            stderr=self.errors, start_new_session=True)
        except OSError as error:
            raise TrimFailed(f"{shlex.join(self.command)}: {error.strerror}") from error

    def is_done(self):
        if self.process.poll() is None:
            return False
        if self.process.returncode != 0:
            self.errors.seek(0)
            lines = self.errors.read().strip().splitlines() or [f"it ends with {self.process.returncode}"]
            raise TrimFailed(f"virsh domfstrim: {plain(lines[-1].removeprefix('error: '))}")
        return True

    def end(self):
        if self.process and self.process.poll() is None:
            self.process.terminate()

    def outcome(self):
        return f"no trim of the guest has reached the node: if its file systems have free blocks, {UNMAP_LIBVIRT}"
