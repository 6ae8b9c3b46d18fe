"""nonzero-bytes.py IMAGE: prints how many bytes of IMAGE stand in 4096-byte blocks that are not all zero."""

import os
import sys
from collections.abc import Iterator

BLOCK = 4096
CHUNK = 1 << 20


def extents(file: int, end: int) -> Iterator[tuple[int, int]]:
    """The parts of a sparse file that are not holes, as (start, end)."""
    start = 0
    while start < end:
        try:
            start = os.lseek(file, start, os.SEEK_DATA)
        except OSError:  # only a hole is left
            return
        stop = os.lseek(file, start, os.SEEK_HOLE)
        yield start, stop
        start = stop


def nonzero(data: bytes) -> int:
    if not any(data):
        return 0
    return sum(BLOCK for at in range(0, len(data), BLOCK) if any(data[at : at + BLOCK]))


def main() -> None:
    file = os.open(sys.argv[1], os.O_RDONLY)
    total = 0
    for start, stop in extents(file, os.fstat(file).st_size):
        for at in range(start, stop, CHUNK):
            total += nonzero(os.pread(file, min(CHUNK, stop - at), at))
    print(total)


main()
