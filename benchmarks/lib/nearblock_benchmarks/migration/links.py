"""What the benchmarks over a WAN share: how links are written, and how figures are."""
import statistics

UNITS = {"K": 1e3, "M": 1e6, "G": 1e9}


def parse(link):
    """`100M/20` or `1G/50/0.001` as bits a second, milliseconds of a round trip, and a share of lost packets."""
    rate, rtt, *loss = link.split("/")
    factor = UNITS.get(rate[-1].upper())
    return (float(rate[:-1]) * factor if factor else float(rate)), float(rtt), float(loss[0]) if loss else 0.0


def spread(values, digits):
    """The median, with the least and the most."""
    return f"{statistics.median(values):.{digits}f} ({min(values):.{digits}f}-{max(values):.{digits}f})"
