"""migration.blocks_not_in DISK NEIGHBOUR: writes those 4 KiB blocks of DISK to standard output, in their order, that are not
zero and do not stand at any block of NEIGHBOUR."""
import sys

BLOCK = 4096


def blocks(path):
    with open(path, "rb") as disk:
        while block := disk.read(BLOCK):
            if block.count(0) != len(block):
                yield block.ljust(BLOCK, b"\0")


held = set(blocks(sys.argv[2]))
for block in blocks(sys.argv[1]):
    if block not in held:
        sys.stdout.buffer.write(block)
