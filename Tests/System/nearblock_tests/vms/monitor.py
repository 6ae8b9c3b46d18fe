"""The second monitor of a guest's QEMU: migrate-vm holds the first."""
import json
import socket
from typing import Any

from nearblock_tests.vms.sites import Site


class MonitorFailure(Exception):
    """QEMU does not answer, or refuses."""


class Monitor:
    """To be used with `with`."""

    def __init__(self, site: Site, timeout: float = 60) -> None:
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(timeout)
        try:
            self.socket.connect(f"{site.folder}/monitor")
        except OSError as error:
            self.socket.close()
            raise MonitorFailure(f"no QEMU answers at {site.name}: {error.strerror}") from error
        self.name = site.name
        self.stream = self.socket.makefile("r", encoding="utf-8")

    def __enter__(self) -> "Monitor":
        self.receive()
        self.execute("qmp_capabilities")
        return self

    def __exit__(self, *failure: Any) -> None:
        self.stream.close()
        self.socket.close()

    def execute(self, command: str, **arguments: Any) -> Any:
        try:
            self.socket.sendall(json.dumps({"execute": command, "arguments": arguments}).encode() + b"\n")
        except OSError as error:
            raise MonitorFailure(f"the QEMU at {self.name} has gone: {error.strerror}") from error
        while "event" in (answer := self.receive()):
            pass
        if "error" in answer:
            raise MonitorFailure(f"the QEMU at {self.name} refuses {command}: {answer['error']['desc']}")
        return answer["return"]

    def receive(self) -> dict[str, Any]:
        try:
            line = self.stream.readline()
        except OSError as error:
            raise MonitorFailure(f"the QEMU at {self.name} does not answer: {error}") from error
        if not line:
            raise MonitorFailure(f"the QEMU at {self.name} has gone")
        answer: dict[str, Any] = json.loads(line)
        return answer


def run_state(site: Site) -> str:
    """The state of the guest at a site, in QEMU's words; empty where no QEMU answers."""
    try:
        with Monitor(site, timeout=20) as monitor:
            state: str = monitor.execute("query-status")["status"]
            return state
    except MonitorFailure:
        return ""
