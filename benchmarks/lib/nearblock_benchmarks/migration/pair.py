"""Two nodes at the ends of a WAN, for benchmarks."""
import json

from nearblock_tests.nodes import Node

PORT = 10810


class Pair:
    """From `with` to its end: `near` serves FOLDER/disk.raw, and `far` takes disks in; each with these options."""

    def __init__(self, binary, wan, folder, far=(), near=()):
        self.binary, self.wan, self.folder, self.more, self.near_more = binary, wan, folder, far, near
        self.near = self.far = None

    def __enter__(self):
        try:
            self.start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def start(self):
        self.address = f"{self.wan.far_address}:{PORT}"
        self.far = Node(
            self.binary, f"{self.folder}/far",
            ["--insecure-peer", "--peer-listen", self.address, "--images", f"{self.folder}/images", *self.more],
            self.wan.command(self.wan.far))
        self.near = Node(self.binary, f"{self.folder}/near",
                         ["--insecure-peer", f"{self.folder}/disk.raw", "--export", "disk", *self.near_more],
                         self.wan.command(self.wan.near))

    def move(self, *options):
        """Returns what `migrate` reports."""
        return json.loads(self.near.do("migrate", "disk", "--to", self.address, "--json", *options))

    def __exit__(self, *_):
        for node in (self.near, self.far):
            if node:
                node.stop()
