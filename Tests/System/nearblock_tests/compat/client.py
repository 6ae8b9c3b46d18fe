"""A client that verifies a disk while it is moved: python3 -m nearblock_tests.compat.client URI MODEL SEED

MODEL is a file with the disk's bytes. The client writes and zeroes parts of the disk, and does the same to the model once the
server has acknowledged it; every read must return the model's bytes. If the server goes away, the client connects again and
repeats the request. It ends when its standard input does, after it has read again every place that it wrote. The number of
finished requests is in MODEL.count, 8 bytes, little endian.

It is a process of its own, because libnbd may hold Python's lock while a request waits.
"""
import errno
import os
import random
import select
import sys
import time
from collections.abc import Callable
from typing import Any

import nbd

SECTOR = 512
HOT = 2 << 20
LONGEST = 64 << 10
# Seconds between requests, on average: what a guest writes must stay little beside the disk's own data.
PACE = 0.02
# Seconds that a request may wait for a server, and for a node that is restarted.
PATIENCE = 120


class Client:
    def __init__(self, uri: str, model: str, seed: int) -> None:
        self.uri, self.chance = uri, random.Random(seed)
        self.model = os.open(model, os.O_RDWR)
        self.size = os.fstat(self.model).st_size
        self.counter = os.open(f"{model}.count", os.O_RDWR | os.O_CREAT)
        self.handle: Any = None
        self.written: set[tuple[int, int]] = set()

    def perform(self, request: Callable[[Any], Any]) -> Any:
        end = time.monotonic() + PATIENCE
        while True:
            try:
                if self.handle is None:
                    handle = nbd.NBD()
                    handle.connect_uri(self.uri)
                    self.handle = handle
                return request(self.handle)
            except nbd.Error as error:
                # An error that the server has sent leaves the connection as it is; a server that ends sends ESHUTDOWN.
                is_refused = self.handle is not None and self.handle.aio_is_ready() and error.errnum != errno.ESHUTDOWN
                if is_refused or time.monotonic() > end:
                    raise
                self.handle = None
                time.sleep(0.05)

    def place(self) -> tuple[int, int]:
        """Returns offset and length: mostly a block in one small part of the disk."""
        area = min(HOT, self.size) if self.chance.random() < 0.8 else self.size
        unit, longest = (SECTOR, 16 * SECTOR) if self.chance.random() < 0.2 else (4096, 4096)
        if self.chance.random() < 0.05:
            longest = LONGEST
        length = min(self.chance.randrange(unit, longest + 1, unit), self.size)
        return self.chance.randrange(0, area - length + 1, unit), length

    def write(self) -> None:
        offset, length = self.place()
        if self.chance.random() < 0.1:
            data = bytes(length)
            self.perform(lambda handle: handle.zero(length, offset))
        else:
            data = self.chance.randbytes(length)
            flags = nbd.CMD_FLAG_FUA if self.chance.random() < 0.05 else 0
            self.perform(lambda handle: handle.pwrite(data, offset, flags))
        os.pwrite(self.model, data, offset)
        self.written.add((offset, length))

    def read(self, offset: int, length: int) -> None:
        found, wanted = self.perform(lambda handle: handle.pread(length, offset)), os.pread(self.model, length, offset)
        if found != wanted:
            first = next(place for place in range(length) if found[place] != wanted[place])
            sys.exit(f"byte {offset + first} is {found[first]} and not {wanted[first]}")

    def run(self) -> None:
        count = 0
        while not select.select([sys.stdin], [], [], self.chance.uniform(0, 2 * PACE))[0]:
            if self.chance.random() < 0.5:
                self.write()
            else:
                self.read(*self.place())
            if count % 50 == 0:
                self.perform(lambda handle: handle.flush())
            count += 1
            os.pwrite(self.counter, count.to_bytes(8, "little"), 0)
        for place in sorted(self.written):
            self.read(*place)
        self.perform(lambda handle: handle.flush())
        self.handle.shutdown()


if __name__ == "__main__":
    try:
        Client(sys.argv[1], sys.argv[2], int(sys.argv[3])).run()
    except nbd.Error as error:
        sys.exit(f"a request failed: {error.string}")
