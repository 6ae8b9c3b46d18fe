"""QEMU's monitor, as little of it as scripts need: one command after the other, events passed over."""
import json
import socket
from typing import Any


class QmpError(Exception):
    """The monitor refuses, or is gone."""


class Qmp:
    """A monitor on a connected socket, which it owns from now on.

    Some commands are executed even while QEMU itself hangs, as in a page of the guest that has not come; QEMU calls them
    out-of-band.
    """

    def __init__(self, connection: socket.socket, name: str = "QEMU", timeout: float = 30) -> None:
        self.connection, self.name = connection, name
        connection.settimeout(timeout)
        self.asked = 0
        self.stream = connection.makefile("r", encoding="utf-8")
        greeting = self.receive().get("QMP", {})
        enabled = [name for name in greeting.get("capabilities", []) if name == "oob"]
        self.execute("qmp_capabilities", **({"enable": enabled} if enabled else {}))

    @classmethod
    def connect(cls, path: str, name: str = "QEMU", timeout: float = 30) -> "Qmp":
        connection = socket.socket(socket.AF_UNIX)
        try:
            connection.connect(path)
        except OSError as error:
            connection.close()
            raise QmpError(f"no QEMU answers at {path}: {error.strerror}; does it run, with -qmp unix:{path},server=on,wait=off?"
                           ) from error
        return cls(connection, name, timeout)

    def execute(self, command: str, **arguments: Any) -> Any:
        """Returns what the monitor answers; names of arguments have `_` for `-`."""
        return self.ask("execute", command, arguments)

    def execute_at_once(self, command, **arguments):
        """As `execute`, out of band."""
        return self.ask("exec-oob", command, arguments)

    def ask(self, verb, command, arguments):
        self.asked += 1
        request = {verb: command, "id": self.asked}
        if arguments:
            request["arguments"] = {name.replace("_", "-"): value for name, value in arguments.items()}
        try:
            self.connection.sendall(json.dumps(request).encode() + b"\n")
        except OSError as error:
            raise QmpError(f"{self.name} has gone: {error.strerror or error}") from error
        while True:
            answer = self.receive()
            # That of a command that nobody waits for any more.
            if answer.get("id") != self.asked:
                continue
            if "error" in answer:
                raise QmpError(f"{self.name} refuses {command}: {answer['error']['desc']}")
            if "return" in answer:
                return answer["return"]

    def receive(self):
        try:
            line = self.stream.readline()
        except OSError as error:
            raise QmpError(f"{self.name} does not answer: {error.strerror or error}") from error
        if not line:
            raise QmpError(f"{self.name} has gone")
        try:
            return json.loads(line)
        except ValueError as error:
            raise QmpError(f"this is no QEMU monitor: it says {line[:60]!r}") from error

    def close(self) -> None:
        self.stream.close()
        self.connection.close()
