"""Manual pages in mdoc(7)."""
import datetime
from collections.abc import Iterable


def escape(text: str) -> str:
    """A line of text that holds no command."""
    text = text.replace("\\", "\\e").replace("-", "\\-")
    return f"\\&{text}" if text[:1] in (".", "'") else text


def quoted(text: str) -> str:
    """An argument of a macro."""
    return '"' + escape(text).replace('"', "\\(dq") + '"'


def display(lines: Iterable[str]) -> list[str]:
    """Lines that stay as they are."""
    return [".Bd -literal -offset indent", *(escape(line) for line in lines), ".Ed"]


def see_also(pages: Iterable[tuple[str, int]]) -> list[str]:
    """The section that names other pages, in the order that mandoc wants."""
    ordered = sorted(set(pages), key=lambda page: (page[1], page[0]))
    ends = [" ,"] * (len(ordered) - 1) + [""]
    return [".Sh SEE ALSO", *(f".Xr {name} {section}{end}" for (name, section), end in zip(ordered, ends, strict=True))]


def head(name: str, section: int, what: str, date: datetime.date) -> list[str]:
    return [f".Dd {date:%B} {date.day}, {date.year}", f".Dt {name.upper()} {section}", ".Os", ".Sh NAME", f".Nm {name}",
            f".Nd {escape(what)}"]
