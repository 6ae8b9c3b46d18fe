"""Nodes as processes: started, asked, killed and started again."""
import json
import os
import socket
import subprocess
import time
from collections.abc import Sequence
from typing import Any

# What `status --json` says of each export, by its name.
Status = dict[str, dict[str, Any]]


class NodeFailure(Exception):
    pass


def free_port() -> int:
    """A port of loopback's that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class Node:
    """`nearblock serve` with its sockets, state and log in `folder`; `prefix` comes before the command line."""

    def __init__(self, binary: str, folder: str, arguments: Sequence[str], prefix: Sequence[str] = ()) -> None:
        self.binary, self.folder, self.arguments, self.prefix = binary, folder, arguments, prefix
        os.makedirs(folder, exist_ok=True)
        self.start()

    def start(self) -> None:
        """Returns once it is ready."""
        with open(f"{self.folder}/log", "ab") as log:
            mark = log.tell()
            self.process = subprocess.Popen(
                [*self.prefix, self.binary, "serve", "--control", f"{self.folder}/control", "--state",
                 f"{self.folder}/state", "--socket", f"{self.folder}/nbd", *self.arguments], stderr=log)
        end = time.time() + 30
        while b"ready" not in self.log()[mark:]:
            if self.process.poll() is not None or time.time() > end:
                self.kill()
                said = self.log().decode(errors="replace").strip().splitlines() or ["it says nothing"]
                raise NodeFailure(f"the node in {self.folder} does not start: {said[-1]}")
            time.sleep(0.01)

    def log(self) -> bytes:
        with open(f"{self.folder}/log", "rb") as log:
            return log.read()

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait()

    def ask(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([self.binary, *arguments, "--control", f"{self.folder}/control"],
                              capture_output=True, text=True)

    def do(self, *arguments: str) -> str:
        """As `ask`; returns what it says, and raises where it fails."""
        answer = self.ask(*arguments)
        if answer.returncode:
            raise NodeFailure(f"{' '.join(arguments[:2])}: {answer.stderr.strip()}")
        return answer.stdout

    def status(self) -> Status:
        """The exports; none where the node does not answer."""
        answer = self.ask("status", "--json")
        return {e["export"]: e for e in json.loads(answer.stdout)["exports"]} if answer.returncode == 0 else {}

    def state(self, name: str) -> str:
        """The state of an export; empty where the node does not answer, or has no such export."""
        state: str = self.status().get(name, {}).get("state", "")
        return state
