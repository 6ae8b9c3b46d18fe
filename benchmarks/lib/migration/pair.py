"""Two nodes at the ends of a WAN, for benchmarks."""
import json
import os
import subprocess

from nodes import Node

PORT = 10810


class Pair:
    """From `with` to its end: `near` serves a copy of `disk`, and `far` takes disks in; all in `folder`."""

    def __init__(self, binary, wan, folder, disk, far=()):
        self.binary, self.wan, self.folder, self.disk, self.more = binary, wan, folder, disk, far

    def __enter__(self):
        os.makedirs(self.folder, exist_ok=True)
        subprocess.run(["cp", "--sparse=always", "--reflink=auto", self.disk, f"{self.folder}/disk.raw"], check=True)
        self.address = f"{self.wan.far_address}:{PORT}"
        self.far = Node(
            self.binary, f"{self.folder}/far",
            ["--insecure-peer", "--peer-listen", self.address, "--images", f"{self.folder}/images", *self.more],
            self.wan.command(self.wan.far))
        self.near = Node(self.binary, f"{self.folder}/near",
                         ["--insecure-peer", f"{self.folder}/disk.raw", "--export", "disk"],
                         self.wan.command(self.wan.near))
        return self

    def move(self, *options):
        """Returns what `migrate` reports."""
        return json.loads(self.near.do("migrate", "disk", "--to", self.address, "--json", *options))

    def __exit__(self, *_):
        for node in ("near", "far"):
            if hasattr(self, node):
                getattr(self, node).stop()
