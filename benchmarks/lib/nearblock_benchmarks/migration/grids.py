"""grids BINARY OLD OTHER [IMAGE]: bytes on the wire of a disk whose neighbour has the same partition at another sector.

OLD is the binary of an earlier release, or "-". OTHER is a disk whose partition stands beside that of IMAGE on a disk with
mixed origins, or "-".
"""
import json
import os
import subprocess
import sys
import tempfile

from nearblock_benchmarks.systems.shift import join, shift
from nearblock_tests.images import copy_image
from nearblock_tests.nodes import Node, free_port
from nearblock_tests.vms.kernel import make_debian

MEBIBYTE = 1 << 20


def migrate(binary, disk, neighbours, work):
    """The report of one migration."""
    with tempfile.TemporaryDirectory(dir=work) as folder:
        subprocess.run([binary, "index", "add", "--index", f"{folder}/index", *neighbours], check=True,
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


def compare(words, binary, old, disk, neighbours, work):
    for name, program in (("earlier release", old), ("this one", binary)):
        if program == "-":
            continue
        report = migrate(program, disk, neighbours, work)
        ledger = report["ledger"]
        held = sum(ledger.values()) - ledger["zero"]
        print(f"{words:22}  {name:16} {report['wire']['total'] / MEBIBYTE:8.2f} MiB on the wire,"
              f" {100 * ledger['neighbour'] / held:5.1f} % of what is not zero found at the neighbour", flush=True)


def main():
    binary, old, mixed, *image = sys.argv[1:]
    with tempfile.TemporaryDirectory(prefix="nearblock-") as work:
        original = f"{work}/original.raw"
        copy_image(image[0] if image else make_debian(), original)
        disks = {sector: f"{work}/at-{sector}.raw" for sector in (63, 2048)}
        for sector, path in disks.items():
            shift(original, sector, path)
        for here, there in ((63, 2048), (2048, 63)):
            compare(f"sector {here:4} -> {there:4}", binary, old, disks[here], [disks[there]], work)
        for path in disks.values():
            os.remove(path)
        if mixed != "-":
            disk = f"{work}/mixed.raw"
            join([original, mixed], disk)
            compare("mixed origins -> 2048", binary, old, disk, [original, mixed], work)


if __name__ == "__main__":
    main()
