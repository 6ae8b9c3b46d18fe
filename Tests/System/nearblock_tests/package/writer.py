"""writer URI REPORT: a client that connects again, and checks every flushed write.

Writes numbered blocks, flushes, and reads back, until SIGTERM. When the connection ends it connects again, and repeats what was
not flushed. An error of the server's, or a block that is none of those that it may be, ends it with status 1. REPORT has the
number of flushes, of connections, of refused ones, and the longest pause in seconds; it is written anew after each flush.
"""
import json
import os
import random
import signal
import sys
import time

import nbd

BLOCK = 4096
# Seconds without a server.
PATIENCE = 120


class Writer:
    def __init__(self, uri: str, report: str) -> None:
        self.uri, self.report = uri, report
        self.is_over = False
        self.number = 0
        # What each block holds for certain, and what was written to it since, in order.
        self.flushed: dict[int, int] = {}
        self.pending: dict[int, list[int]] = {}
        self.flushes, self.connections, self.refused, self.longest = 0, 0, 0, 0.0
        self.answered = time.monotonic()
        self.handle = self.connect()
        self.blocks = self.handle.get_size() // BLOCK

    def connect(self) -> nbd.NBD:
        end = time.monotonic() + PATIENCE
        while True:
            handle = nbd.NBD()
            try:
                handle.connect_uri(self.uri)
                self.connections += 1
                return handle
            except nbd.Error as error:
                # A server that is not there refuses, and one that ends hangs up. No name is ever unknown.
                if error.errno == "ENOENT" or time.monotonic() > end:
                    raise
                self.refused += error.errno == "ECONNREFUSED"
                time.sleep(0.01)

    def is_lost(self) -> bool:
        return bool(self.handle.aio_is_dead() or self.handle.aio_is_closed())

    def again(self) -> None:
        self.handle = self.connect()
        for block, numbers in self.pending.items():
            self.handle.pwrite(self.contents(numbers[-1]), block * BLOCK)

    @staticmethod
    def contents(number: int) -> bytes:
        return number.to_bytes(8, "little") * (BLOCK // 8)

    def step(self) -> None:
        """Some writes, a flush, and a look at blocks."""
        for _ in range(8):
            block = random.randrange(self.blocks)
            self.number += 1
            self.pending.setdefault(block, []).append(self.number)
            self.handle.pwrite(self.contents(self.number), block * BLOCK)
        self.handle.flush()
        for block, numbers in self.pending.items():
            self.flushed[block] = numbers[-1]
        self.pending = {}
        self.flushes += 1
        for block in random.sample(sorted(self.flushed), min(4, len(self.flushed))):
            self.check(block)

    def check(self, block: int) -> None:
        found = self.handle.pread(BLOCK, block * BLOCK)
        may = [self.flushed.get(block, 0), *self.pending.get(block, [])]
        if bytes(found) not in [self.contents(number) for number in may]:
            sys.exit(f"block {block} holds {bytes(found[:8]).hex()} and none of {may}")

    def note(self) -> None:
        now = time.monotonic()
        self.longest, self.answered = max(self.longest, now - self.answered), now
        with open(f"{self.report}.new", "w") as file:
            json.dump({"flushes": self.flushes, "connections": self.connections, "refused": self.refused,
                       "longest": self.longest}, file)
        os.rename(f"{self.report}.new", self.report)

    def try_to(self, what: str) -> bool:
        """Whether it was done; the connection may have ended meanwhile."""
        try:
            {"work": self.step, "connect": self.again, "check": self.check_all}[what]()
            return True
        except nbd.Error as error:
            if not self.is_lost():
                sys.exit(f"the server answers with an error: {error}")
            return False

    def check_all(self) -> None:
        for block in self.flushed:
            self.check(block)

    def run(self) -> None:
        is_connected = True
        while not self.is_over:
            is_connected = self.try_to("work" if is_connected else "connect")
            if is_connected:
                self.note()
        while not (is_connected and self.try_to("check")):
            is_connected = self.try_to("connect")
        self.note()


def main() -> None:
    writer = Writer(*sys.argv[1:3])

    def end(*_: object) -> None:
        writer.is_over = True

    signal.signal(signal.SIGTERM, end)
    writer.run()


if __name__ == "__main__":
    main()
