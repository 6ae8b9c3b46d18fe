"""free_blocks BINARY RATE [--image IMAGE] [--against BINARY]: when the used blocks of a disk had arrived, and all been sent."""
import argparse
import os
import random
import re
import subprocess
import sys
import tempfile
import time

from nearblock_tests.images import copy_image
from nearblock_tests.nodes import Node, free_port
from nearblock_tests.vms.kernel import make_debian

MEBIBYTE = 1 << 20
# Of make-disk's images.
PARTITION = MEBIBYTE
# Where the deleted files stood.
# An aged disk: so often files of so many bytes are written, and then half of all files is deleted.
ROUNDS = 4
WRITTEN = 128 * MEBIBYTE
BLOCK = 4096
# Used blocks that are looked for at the destination.
SAMPLES = 4000
FOLDERS = ("/usr/bin", "/usr/lib/x86_64-linux-gnu", "/usr/share/perl", "/usr/share/locale", "/usr/share/doc", "/usr/lib/python3")


def delete_files(image):
    """Every third file of some folders of a Debian; its bytes stay."""
    disk = f"{image}?offset={PARTITION}"
    commands = []
    for folder in FOLDERS:
        commands += [f"rm {path}" for index, path in enumerate(files_below(disk, folder)) if index % 3 == 0]
    subprocess.run(["debugfs", "-w", "-f", "-", disk], input="\n".join(commands), text=True, check=True,
                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def age(image, work):
    """Writes files and deletes others at random, again and again, so that used and free blocks lie in between each other."""
    disk = f"{image}?offset={PARTITION}"
    choice = random.Random(1)
    files = [path for folder in FOLDERS for path in files_below(disk, folder)]
    for turn in range(ROUNDS):
        commands, left = [], WRITTEN
        while left > 0:
            size = min(left, choice.randrange(BLOCK, 2 * MEBIBYTE))
            name = f"aged-{turn}-{left}"
            with open(f"{work}/{name}", "wb") as file:
                file.write(choice.randbytes(size))
            commands.append(f"write {work}/{name} {name}")
            files.append(f"/{name}")
            left -= size
        choice.shuffle(files)
        gone, files = files[:len(files) // 2], files[len(files) // 2:]
        commands += [f"rm {path}" for path in gone]
        subprocess.run(["debugfs", "-w", "-f", "-", disk], input="\n".join(commands), text=True, check=True,
                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def used_blocks(image):
    """Places of used blocks that are not zeros, in bytes of the disk: a sample, with the last of them."""
    said = subprocess.run(["dumpe2fs", f"{image}?offset={PARTITION}"], capture_output=True, text=True, check=True).stdout
    size = int(re.search(r"^Block size: +(\d+)", said, re.M)[1])
    count = int(re.search(r"^Block count: +(\d+)", said, re.M)[1])
    used = bytearray(b"\1") * count
    for line in re.findall(r"^  Free blocks: (.+)$", said, re.M):
        for first, _, last in (run.partition("-") for run in line.split(", ") if run.strip()):
            used[int(first):int(last or first) + 1] = bytes(int(last or first) + 1 - int(first))
    places, position = [], 0
    with open(image, "rb") as file:
        while (position := data_from(file, position)) is not None:
            end = os.lseek(file.fileno(), position, os.SEEK_HOLE)
            for place in range(-(-position // BLOCK) * BLOCK, end - BLOCK + 1, BLOCK):
                block = (place - PARTITION) // size
                if 0 <= block < count and used[block] and any(os.pread(file.fileno(), BLOCK, place)):
                    places.append(place)
            position = end
    return sorted({places[-1], *random.Random(1).sample(places, min(SAMPLES, len(places)))})


def data_from(file, position):
    try:
        return os.lseek(file.fileno(), position, os.SEEK_DATA)
    except OSError:
        return None


def files_below(disk, folder):
    said = subprocess.run(["debugfs", "-R", f"ls -p {folder}", disk], capture_output=True, text=True).stdout
    for line in said.splitlines():
        # /inode/mode/user/group/name/size/
        fields = line.split("/")
        if len(fields) < 7 or fields[5] in (".", ".."):
            continue
        path = f"{folder}/{fields[5]}"
        if fields[2].startswith("04"):
            yield from files_below(disk, path)
        elif fields[2].startswith("10"):
            yield path


def arrived(images, missing):
    """Of blocks, those that the destination does not have yet."""
    for name in os.listdir(images):
        with open(f"{images}/{name}", "rb") as file:
            return [place for place in missing if not any(os.pread(file.fileno(), BLOCK, place))]
    return missing


def watch(source, began, images, missing):
    """Seconds and bytes when the used blocks were at the destination, and all had been sent; the free bytes if they are known."""
    used = free = None
    while True:
        export = source.status().get("disk", {})
        progress = export.get("progress") or {}
        now, wire = time.monotonic() - began, progress.get("wire")
        free = progress.get("free") or free
        missing = arrived(images, missing)
        if used is None and not missing:
            used = (now, wire)
        if export.get("state") == "waiting":
            return used or (now, wire), (now, wire), free
        if export.get("state") == "serving" and now > 5:
            sys.exit("the migration has ended: see the node's log")
        time.sleep(0.05)


def show(words, figures):
    seconds, wire = figures
    print(f"{words:32} {seconds:7.1f} s  {wire / MEBIBYTE:7.1f} MiB on the wire", flush=True)


def move(binary, disk, rate, work, missing):
    """Seconds until all used blocks had arrived."""
    port = free_port()
    subprocess.run(["rm", "-rf", f"{work}/images", f"{work}/to", f"{work}/from"], check=True)
    os.mkdir(f"{work}/images")
    target = Node(binary, f"{work}/to", ["--peer-listen", f"127.0.0.1:{port}", "--images", f"{work}/images"])
    source = Node(binary, f"{work}/from", [disk, "--export", "disk"])
    try:
        began = time.monotonic()
        source.do("migrate", "disk", "--to", f"127.0.0.1:{port}", "--switch", "manual", "--rate", rate, "--detach")
        used, everything, free = watch(source, began, f"{work}/images", missing)
    finally:
        source.kill()
        target.kill()
    if free:
        print(f"free at the start: {free['known'] / MEBIBYTE:.1f} MiB, sent of them: {free['sent'] / MEBIBYTE:.1f} MiB")
    show("all used blocks had arrived", used)
    show("all blocks had been sent", everything)
    return used[0]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("binary")
    parser.add_argument("rate")
    parser.add_argument("--image")
    parser.add_argument("--aged", action="store_true")
    parser.add_argument("--against")
    parser.add_argument("--turns", type=int, default=1)
    wanted = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="nearblock-") as work:
        disk = f"{work}/disk.raw"
        copy_image(wanted.image or make_debian(), disk)
        if wanted.aged:
            age(disk, work)
        elif not wanted.image:
            delete_files(disk)
        missing = used_blocks(disk)
        for _ in range(wanted.turns):
            seconds = move(wanted.binary, disk, wanted.rate, work, missing)
            if wanted.against:
                print("the other build:")
                other = move(wanted.against, disk, wanted.rate, work, missing)
                print(f"last used block: {seconds / other:.2f} of the time of the other build", flush=True)


if __name__ == "__main__":
    main()
