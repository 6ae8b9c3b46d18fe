"""Reads Prometheus' text format."""
import re

SAMPLE = re.compile(r'^(?P<name>[A-Za-z_:][\w:]*)(?:\{(?P<labels>.*)\})? (?P<value>\S+)$')
LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')

Labels = frozenset[tuple[str, str]]
Samples = dict[tuple[str, Labels], float]


def parse(text: str) -> Samples:
    """The samples; raises ValueError at a line that is none."""
    samples: Samples = {}
    for line in text.splitlines():
        if line.startswith("#"):
            continue
        match = SAMPLE.match(line)
        if not match:
            raise ValueError(f"no sample: {line}")
        labels = frozenset((name, re.sub(r"\\(.)", lambda c: "\n" if c[1] == "n" else c[1], value))
                           for name, value in LABEL.findall(match["labels"] or ""))
        if (match["name"], labels) in samples:
            raise ValueError(f"twice: {line}")
        samples[match["name"], labels] = float(match["value"])
    return samples


def value(samples: Samples, name: str, **labels: str) -> float:
    """The sample with exactly these labels; 0 if there is none."""
    return samples.get((name, frozenset(labels.items())), 0)


def names(samples: Samples) -> set[str]:
    return {name for name, _ in samples}
