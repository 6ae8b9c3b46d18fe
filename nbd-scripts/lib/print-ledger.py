"""print-ledger.py REPORT.json NONZERO ZSTD: the ledger of `nearblock migrate --json` as a table.

NONZERO and ZSTD are what a plain copy, and a copy through zstd, would have sent, in bytes.
"""

import json
import sys

MEBIBYTE = 1 << 20
SOURCES = {
    "zero": "zero, so nothing to send",
    "present": "already at the destination",
    "repeated": "repeated within the disk",
    "neighbour": "taken from the neighbour",
    "link": "sent over the link",
}


def mebibytes(count: int) -> str:
    return f"{count / MEBIBYTE:10.1f} MiB"


def row(label: str, count: int, note: str = "") -> None:
    print(f"  {label:<36}{mebibytes(count)}  {note}".rstrip())


def main() -> None:
    with open(sys.argv[1]) as file:
        report = json.load(file)
    nonzero, zstd = int(sys.argv[2]), int(sys.argv[3])
    ledger, wire, seconds = report["ledger"], report["wire"], report["seconds"]

    print("Where the disk's bytes came from:")
    for source, label in SOURCES.items():
        row(label, ledger[source], f"{ledger[source] / report['size']:6.1%} of the disk")
    print("What crossed the link, both ways:")
    row("data, compressed", wire["data"])
    row("fingerprints", wire["fingerprints"])
    row("control", wire["control"])
    row("in all", wire["total"])
    for label, count in (("a plain copy would have sent", nonzero), ("a copy through zstd -3 --long=27", zstd)):
        row(label, count, f"{count / wire['total']:6.1f} times as much" if wire["total"] else "")
    print(
        f"It took {seconds['total']:.1f} s: {seconds['precopy']:.1f} s of copying ahead in {report['rounds']} rounds, "
        f"a pause of {seconds['pause'] * 1000:.0f} ms, {seconds['postcopy']:.1f} s of fetching afterwards."
    )
    print(f"Root hash of the disk on both sides: {report['root']}")


main()
