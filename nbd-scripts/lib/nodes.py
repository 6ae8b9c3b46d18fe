"""Nodes as processes, for scripts: started, asked, killed and started again."""
import json
import os
import socket
import subprocess
import time


class NodeFailure(Exception):
    pass


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Node:
    """`nearblock serve` with its sockets, state and log in `folder`; `prefix` comes before the command line."""

    def __init__(self, binary, folder, arguments, prefix=()):
        self.binary, self.folder, self.arguments, self.prefix = binary, folder, arguments, prefix
        os.makedirs(folder, exist_ok=True)
        self.start()

    def start(self):
        """Returns once it is ready."""
        log = open(f"{self.folder}/log", "ab")
        mark = log.tell()
        self.process = subprocess.Popen(
            [*self.prefix, self.binary, "serve", "--control", f"{self.folder}/control", "--state",
             f"{self.folder}/state", "--socket", f"{self.folder}/nbd", *self.arguments], stderr=log)
        end = time.time() + 30
        while b"ready" not in open(f"{self.folder}/log", "rb").read()[mark:]:
            if self.process.poll() is not None or time.time() > end:
                self.kill()
                said = open(f"{self.folder}/log", errors="replace").read().strip().splitlines() or ["it says nothing"]
                raise NodeFailure(f"the node in {self.folder} does not start: {said[-1]}")
            time.sleep(0.01)

    def kill(self):
        self.process.kill()
        self.process.wait()

    def stop(self):
        self.process.terminate()
        self.process.wait()

    def ask(self, *arguments):
        return subprocess.run([self.binary, *arguments, "--control", f"{self.folder}/control"],
                              capture_output=True, text=True)

    def do(self, *arguments):
        """As `ask`; returns what it says, and raises where it fails."""
        answer = self.ask(*arguments)
        if answer.returncode:
            raise NodeFailure(f"{' '.join(arguments[:2])}: {answer.stderr.strip()}")
        return answer.stdout

    def status(self):
        answer = self.ask("status", "--json")
        return {e["export"]: e for e in json.loads(answer.stdout)["exports"]} if answer.returncode == 0 else {}
