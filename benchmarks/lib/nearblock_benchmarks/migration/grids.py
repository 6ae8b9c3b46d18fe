"""grids BINARY OLD [IMAGE]: bytes on the wire of a disk whose neighbour has the same partition at another sector.

OLD is the binary of an earlier release, or "-".
"""
import json
import os
import subprocess
import sys
import tempfile

from nearblock_tests.images import copy_image
from nearblock_tests.nodes import Node, free_port
from nearblock_tests.vms.kernel import make_debian

MEBIBYTE = 1 << 20
SECTOR = 512


def partition_of(image):
    """Start and length of the only partition, in sectors."""
    said = subprocess.run(["sfdisk", "--json", image], capture_output=True, text=True, check=True).stdout
    partitions = json.loads(said)["partitiontable"]["partitions"]
    largest = max(partitions, key=lambda partition: partition["size"])
    return largest["start"], largest["size"]


def shift(image, sector, path):
    """A disk of its own with the image's partition at a sector."""
    start, length = partition_of(image)
    with open(path, "wb") as disk:
        disk.truncate((sector + length + 2048) * SECTOR)
    subprocess.run(["sfdisk", "--quiet", "--force", path], input=f"label: dos\nstart={sector}, size={length}, type=83\n",
                   text=True, check=True)
    subprocess.run(["dd", f"if={image}", f"of={path}", f"bs={SECTOR * 128}", "conv=notrunc,sparse", "status=none",
                    "iflag=skip_bytes,count_bytes", "oflag=seek_bytes", f"skip={start * SECTOR}",
                    f"count={length * SECTOR}", f"seek={sector * SECTOR}"], check=True)


def migrate(binary, disk, neighbour, work):
    """The report of one migration."""
    with tempfile.TemporaryDirectory(dir=work) as folder:
        subprocess.run([binary, "index", "add", "--index", f"{folder}/index", neighbour], check=True,
                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        port = free_port()
        os.mkdir(f"{folder}/images")
        target = Node(binary, f"{folder}/to", ["--peer-listen", f"127.0.0.1:{port}", "--images", f"{folder}/images",
                                               "--index", f"{folder}/index"])
        source = Node(binary, f"{folder}/from", [disk, "--export", "disk"])
        try:
            report = json.loads(source.do("migrate", "disk", "--to", f"127.0.0.1:{port}", "--json"))
        finally:
            source.kill()
            target.kill()
        if subprocess.run(["cmp", disk, f"{folder}/images/disk.raw"]).returncode != 0:
            sys.exit("the disk that has arrived is another one")
        return report


def main():
    binary, old, *image = sys.argv[1:]
    with tempfile.TemporaryDirectory(prefix="nearblock-") as work:
        original = f"{work}/original.raw"
        copy_image(image[0] if image else make_debian(), original)
        disks = {sector: f"{work}/at-{sector}.raw" for sector in (63, 2048)}
        for sector, path in disks.items():
            shift(original, sector, path)
        os.remove(original)
        for here, there in ((63, 2048), (2048, 63)):
            for words, program in (("earlier release", old), ("this one", binary)):
                if program == "-":
                    continue
                report = migrate(program, disks[here], disks[there], work)
                ledger = report["ledger"]
                held = sum(ledger.values()) - ledger["zero"]
                print(f"sector {here:4} -> {there:4}  {words:16} {report['wire']['total'] / MEBIBYTE:8.2f} MiB on the wire,"
                      f" {100 * ledger['neighbour'] / held:5.1f} % of what is not zero found at the neighbour")


if __name__ == "__main__":
    main()
