"""index.make_tables INDEX TABLES BLOCKS

Writes TABLES tables of neighbours that do not exist, of BLOCKS blocks of 4096 bytes each, into a new index. Every
fingerprint is 16 random bytes: no two blocks are equal, which is the worst case for size and for look-ups. The layout is
that of Sources/Index/TableHeader.swift. The catalogue is left to nearblock.
"""

import hashlib
import os
import struct
import sys

BLOCK = 4096
LEAF = 1 << 20


def sha(data):
    return hashlib.sha256(data).digest()


def write_table(folder, number, blocks):
    name = f"/synthetic/{number:06}.raw".encode()
    domain = b"default"
    start = (256 + len(name) + len(domain) + 4095) // 4096 * 4096
    path = os.path.join(folder, sha(name)[:16].hex() + ".table")
    root = hashlib.sha256()
    with open(path, "wb") as table:
        table.seek(start)
        left = blocks * 16
        leaf = 0
        while left > 0:
            data = os.urandom(min(LEAF, left))
            table.write(data)
            root.update(struct.pack("<Q", leaf) + sha(data))
            left -= len(data)
            leaf += 1
        header = b"nearblk\n" + struct.pack(
            "<IIQQQQII", 2, BLOCK, blocks * BLOCK, blocks, 0, blocks, len(name), len(domain)
        )
        header += struct.pack("<QQQQ", 1, number + 1, blocks * BLOCK, 1) + os.urandom(16)
        header += sha(name + domain) + root.digest()
        header = header.ljust(224, b"\0")
        table.seek(0)
        table.write(header + sha(header) + name + domain)


def write_settings(folder):
    """Makes a new index."""
    os.makedirs(folder, exist_ok=True)
    with open(os.path.join(folder, "index.json"), "w") as settings:
        settings.write('{"blockSize":%d,"version":%d}' % (BLOCK, 1))


def main():
    if len(sys.argv) != 4 or not sys.argv[2].isdigit() or not sys.argv[3].isdigit():
        sys.exit(__doc__)
    folder = sys.argv[1]
    write_settings(folder)
    for number in range(int(sys.argv[2])):
        write_table(folder, number, int(sys.argv[3]))


if __name__ == "__main__":
    main()
