"""migration.repeats [--strong] FOLDER IMAGE...: what a longer window finds in the data of disks.

Prints, for each disk, what zstd makes of its blocks that are not zero, each distinct block once: at level 9 with windows of
128 MiB (as the stream has), 256 MiB and 2 GiB; with --strong, also at level 22.
"""
import argparse
import hashlib
import os
import subprocess

BLOCK = 4096
MEBIBYTE = 1 << 20
WINDOWS = (27, 28, 31)


def runs(disk):
    """The extents that hold data."""
    position, end = 0, os.fstat(disk).st_size
    while position < end:
        try:
            start = os.lseek(disk, position, os.SEEK_DATA)
        except OSError:
            return
        position = os.lseek(disk, start, os.SEEK_HOLE)
        yield start // BLOCK * BLOCK, position


def write_blocks(image, path):
    """Writes the blocks that would cross: none of zeros, none twice. Returns their bytes."""
    seen = set()
    disk = os.open(image, os.O_RDONLY)
    with open(path, "wb") as out:
        for start, end in runs(disk):
            while start < end:
                piece = os.pread(disk, min(4 * MEBIBYTE, end - start), start)
                start += len(piece)
                for offset in range(0, len(piece), BLOCK):
                    block = piece[offset:offset + BLOCK]
                    key = hashlib.blake2b(block, digest_size=16).digest()
                    if block.count(0) != len(block) and key not in seen:
                        seen.add(key)
                        out.write(block)
        size = out.tell()
    os.close(disk)
    return size


def packed(path, *options):
    """Bytes that zstd makes of a file."""
    with subprocess.Popen(["zstd", "-q", "-T1", "-c", *options, path], stdout=subprocess.PIPE) as program:
        size = 0
        while piece := program.stdout.read(MEBIBYTE):
            size += len(piece)
    if program.returncode != 0:
        raise SystemExit(f"repeats: zstd {' '.join(options)} has failed")
    return size


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--strong", action="store_true")
    parser.add_argument("folder")
    parser.add_argument("images", nargs="+")
    options = parser.parse_args()
    head = [f"-9, 2^{log}" for log in WINDOWS] + ["left by 2^27"]
    if options.strong:
        head += ["-22, 2^27", "-22, 2^31", "left by 2^27"]
    print("| disk | MiB | " + " | ".join(head) + " |\n| --- |" + " ---: |" * (len(head) + 1))
    path = f"{options.folder}/blocks"
    for image in options.images:
        size = write_blocks(image, path)
        sizes = [packed(path, "-9", f"--long={log}") for log in WINDOWS]
        columns = [f"{size / MEBIBYTE:.1f}" for size in sizes] + [f"{(1 - sizes[-1] / sizes[0]) * 100:.1f} %"]
        if options.strong:
            strong = [packed(path, "--ultra", "-22", f"--long={log}") for log in (27, 31)]
            columns += [f"{size / MEBIBYTE:.1f}" for size in strong] + [f"{(1 - strong[1] / strong[0]) * 100:.1f} %"]
        name = os.path.basename(image).removesuffix(".raw")
        print(f"| {name} | {size / MEBIBYTE:.0f} | " + " | ".join(columns) + " |", flush=True)
        os.remove(path)


if __name__ == "__main__":
    main()
