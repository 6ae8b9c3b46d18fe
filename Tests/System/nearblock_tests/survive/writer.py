"""writer URI IMAGE SECONDS

Writes to a disk, flushes and reads it back, as a database does. What was flushed must stay. If a flush fails with EIO, what was
written since the one before may be gone, and is written again. IMAGE has the disk's bytes at first. At the end the whole
disk is read and compared, and IMAGE has its bytes then. Any other error, and any wrong byte, ends it with status 1.
"""
import errno
import random
import struct
import sys
import time

import nbd

BLOCK = 4096
FIRST, COUNT = (8 << 20) // BLOCK, (8 << 20) // BLOCK
# Writes between two flushes, and writes a second.
BATCH, RATE = 40, 400
MEBIBYTE = 1 << 20


class Wrong(Exception):
    pass


class Writer:
    """One client of a disk. `image` has what was flushed last, `pending` what was written to a block since then."""

    def __init__(self, uri: str, image: str) -> None:
        self.handle = nbd.NBD()
        self.handle.connect_uri(uri)
        self.image = open(image, "r+b", buffering=0)
        self.pending: dict[int, list[bytes]] = {}
        self.written = self.losses = 0

    def durable(self, block: int) -> bytes:
        self.image.seek(block * BLOCK)
        return self.image.read(BLOCK)

    def write(self, block: int) -> None:
        self.written += 1
        data = struct.pack("<QQ", block, self.written) * (BLOCK // 16)
        self.pending.setdefault(block, []).append(data)
        self.handle.pwrite(data, block * BLOCK)

    def read(self, block: int) -> None:
        found = bytes(self.handle.pread(BLOCK, block * BLOCK))
        written = self.pending.get(block, [])
        # Until the next flush nobody knows whether a helper was killed since the write.
        if found not in (written or [self.durable(block)]) and found != self.durable(block):
            raise Wrong(f"block {block} has {found[:16].hex()} of neither {len(written)} writes nor the last flush")

    def flush(self) -> None:
        while True:
            try:
                self.handle.flush()
                break
            except nbd.Error as error:
                if error.errnum != errno.EIO:
                    raise
                self.losses += 1
            for block, values in list(self.pending.items()):
                self.handle.pwrite(values[-1], block * BLOCK)
        for block, values in self.pending.items():
            self.image.seek(block * BLOCK)
            self.image.write(values[-1])
        self.pending = {}

    def work(self, seconds: float, chance: random.Random) -> None:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            for _ in range(BATCH):
                self.write(chance.randrange(FIRST, FIRST + COUNT))
                self.read(chance.randrange(FIRST, FIRST + COUNT))
                time.sleep(1 / RATE)
            self.flush()

    def check(self) -> None:
        size, place = self.handle.get_size(), 0
        while place < size:
            count = min(MEBIBYTE, size - place)
            self.image.seek(place)
            if self.handle.pread(count, place) != self.image.read(count):
                raise Wrong(f"the {count} bytes at {place} are not what was flushed")
            place += count


def main(uri: str, image: str, seconds: str) -> int:
    writer = Writer(uri, image)
    try:
        writer.work(float(seconds), random.Random())
        writer.check()
    except (Wrong, nbd.Error) as failure:
        print(f"writer: {failure}", file=sys.stderr)
        return 1
    print(f"{writer.written} writes, {writer.losses} failed flushes")
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
