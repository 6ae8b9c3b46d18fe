"""The manual page of the configuration file, from the file that the package installs as /etc/nearblock.conf."""
import datetime
import re
from dataclasses import dataclass, field
from pathlib import Path

from release import mdoc

SECTION = re.compile(r"^#?\[(node|(?:export|domain) \S+)\]$")
KEY = re.compile(r"^#([a-z-]+) = (.+)$")


@dataclass
class Key:
    name: str
    example: str
    text: list[str]


@dataclass
class Section:
    name: str
    text: list[str]
    keys: list[Key] = field(default_factory=list)


def read(file: Path) -> list[Section]:
    """The sections, with a key for each line that shows one."""
    sections: list[Section] = []
    text: list[str] = []
    for line in file.read_text().splitlines():
        if line.startswith("## "):
            text.append(line[3:])
        elif found := SECTION.match(line):
            sections.append(Section(found.group(1), text))
            text = []
        elif found := KEY.match(line):
            sections[-1].keys.append(Key(found.group(1), found.group(2), text))
            text = []
    return sections


def page(file: Path, date: datetime.date) -> str:
    lines = [*mdoc.head("nearblock.conf", 5, "configuration of a node of nearblock", date), ".Sh DESCRIPTION",
             *map(mdoc.escape, (
                 "The file that nearblock serve reads with --config; the service has /etc/nearblock.conf.",
                 "It has sections, keys with values, and comments that begin with #. Values of one key have ; between them.",
                 "A section or key that is there twice is an error. Each example below is a whole line.")),
             ".Pp", "SIGHUP, or systemctl reload, reads the file again. Addresses, directories, and the modes and groups of files",
             "change only when the node starts again; the log names them."]
    for section in read(file):
        title = "SECTION [node]" if section.name == "node" else f"SECTIONS [{section.name.partition(' ')[0]} NAME]"
        lines += [f".Sh {mdoc.quoted(title)}", *map(mdoc.escape, section.text), ".Bl -tag -width Ds"]
        for key in section.keys:
            lines += [f".It {mdoc.quoted(f'{key.name} = {key.example}')}", *map(mdoc.escape, key.text)]
        lines.append(".El")
    return "\n".join([*lines, ".Sh FILES", ".Bl -tag -width Ds", ".It Pa /etc/nearblock.conf", ".El",
                      *mdoc.see_also((f"nearblock{command}", 1) for command in ("", "-check", "-reload", "-serve"))]) + "\n"
