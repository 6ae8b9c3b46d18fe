"""migration.print_wire_bytes IDEAL REPORT...: compares migrations' reports with IDEAL bytes of compressed data."""
import json
import sys

ideal = int(sys.argv[1])
print(f"zstd -3 --long=27 over the blocks that the neighbour does not hold: {ideal} bytes")
print(f"{'run':>3} {'on the wire':>12} {'data':>12} {'fingerprints':>12} {'control':>8} {'ratio':>7} {'seconds':>8}")
ratios = []
for number, path in enumerate(sys.argv[2:], 1):
    with open(path) as file:
        report = json.load(file)
    wire = report["wire"]
    ratios.append(wire["total"] / (ideal + wire["fingerprints"]))
    print(
        f"{number:>3} {wire['total']:>12} {wire['data']:>12} {wire['fingerprints']:>12} {wire['control']:>8}"
        f" {ratios[-1]:>7.3f} {report['seconds']['total']:>8.2f}"
    )
print(f"ratio to that plus the fingerprints: {min(ratios):.3f} to {max(ratios):.3f}")
