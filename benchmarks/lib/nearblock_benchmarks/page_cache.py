"""Files in and out of the page cache."""

import os


def drop(path):
    descriptor = os.open(path, os.O_RDONLY)
    os.fsync(descriptor)
    os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
    os.close(descriptor)


def warm(path):
    """Reads all but the holes, which would only fill the page cache."""
    descriptor = os.open(path, os.O_RDONLY)
    buffer = bytearray(1 << 22)
    place, end = 0, os.fstat(descriptor).st_size
    while place < end:
        try:
            place = os.lseek(descriptor, place, os.SEEK_DATA)
        except OSError:
            break
        stop = os.lseek(descriptor, place, os.SEEK_HOLE)
        while place < stop:
            place += os.preadv(descriptor, [memoryview(buffer)[: stop - place]], place)
    os.close(descriptor)
