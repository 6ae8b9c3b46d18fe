"""free_blocks BINARY RATE [IMAGE]: when the used blocks of a disk had been sent, and when all had been."""
import os
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
FOLDERS = ("/usr/bin", "/usr/lib/x86_64-linux-gnu", "/usr/share/perl", "/usr/share/locale", "/usr/share/doc", "/usr/lib/python3")


def delete_files(image):
    """Every third file of some folders of a Debian; its bytes stay."""
    disk = f"{image}?offset={PARTITION}"
    commands = []
    for folder in FOLDERS:
        commands += [f"rm {path}" for index, path in enumerate(files_below(disk, folder)) if index % 3 == 0]
    subprocess.run(["debugfs", "-w", "-f", "-", disk], input="\n".join(commands), text=True, check=True,
                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


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


def watch(source, began):
    """Seconds and bytes when the used blocks had been sent (None where nothing is known of free ones), and all; the free bytes."""
    used = free = None
    while True:
        export = source.status().get("disk", {})
        progress = export.get("progress") or {}
        now, wire = time.monotonic() - began, progress.get("wire")
        free = progress.get("free") or free
        if free and used is None and progress.get("round") == 1:
            if progress["done"] - free["sent"] >= progress["total"] - free["known"]:
                used = (now, wire)
        if export.get("state") == "waiting":
            return used, (now, wire), free
        if export.get("state") == "serving" and now > 5:
            sys.exit("the migration has ended: see the node's log")
        time.sleep(0.05)


def show(words, figures):
    seconds, wire = figures
    print(f"{words:32} {seconds:7.1f} s  {wire / MEBIBYTE:7.1f} MiB on the wire")


def main():
    binary, rate, *image = sys.argv[1:]
    with tempfile.TemporaryDirectory(prefix="nearblock-") as work:
        disk = f"{work}/disk.raw"
        copy_image(image[0] if image else make_debian(), disk)
        if not image:
            delete_files(disk)
        port = free_port()
        os.mkdir(f"{work}/images")
        target = Node(binary, f"{work}/to", ["--peer-listen", f"127.0.0.1:{port}", "--images", f"{work}/images"])
        source = Node(binary, f"{work}/from", [disk, "--export", "disk"])
        try:
            began = time.monotonic()
            source.do("migrate", "disk", "--to", f"127.0.0.1:{port}", "--switch", "manual", "--rate", rate, "--detach")
            used, everything, free = watch(source, began)
        finally:
            source.kill()
            target.kill()
    if used:
        print(f"free at the start: {free['known'] / MEBIBYTE:.1f} MiB, sent of them: {free['sent'] / MEBIBYTE:.1f} MiB")
        show("all used blocks had been sent", used)
    show("all blocks had been sent", everything)


if __name__ == "__main__":
    main()
