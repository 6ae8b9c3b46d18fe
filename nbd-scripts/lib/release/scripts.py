"""The manual pages of the operator's scripts, from the text that their --help prints."""
import ast
import datetime
import re
from pathlib import Path

from release import mdoc

OPTION = re.compile(r"^  (--?\S.*?)(?:  +|$)(.*)$")

NUMBERED = re.compile(r"^\d+\. ")


def header(script: Path) -> str:
    """The comment at the head of a shell script, or the docstring of a Python program."""
    text = script.read_text()
    if "python3" in text.partition("\n")[0]:
        return ast.get_docstring(ast.parse(text)) or ""
    lines = text.splitlines()[1:]
    end = next(number for number, line in enumerate(lines) if not line.startswith("#"))
    return "\n".join(re.sub(r"^# ?", "", line) for line in lines[:end])


def paragraph(lines: list[str]) -> list[str]:
    """A paragraph, whose rows that begin with two blanks and an option are a list."""
    page: list[str] = []
    is_list = False
    for line in lines:
        if found := OPTION.match(line):
            if not is_list:
                page.append(".Bl -tag -width Ds")
            is_list = True
            page += [f".It {mdoc.quoted(found.group(1))}", mdoc.escape(found.group(2))]
        else:
            page += [".Pp"] * bool(NUMBERED.match(line) and page) + [mdoc.escape(line.strip())]
    return [*page, ".El"] if is_list else page


def page(name: str, section: int, what: str, script: Path, date: datetime.date) -> str:
    """- Parameter what: one line, for apropos(1)."""
    usage, *paragraphs = [part.splitlines() for part in header(script).split("\n\n")]
    synopsis = [mdoc.escape(line.strip()) for line in usage]
    synopsis[0] = synopsis[0].partition(" ")[2]
    lines = [*mdoc.head(name, section, what, date), ".Sh SYNOPSIS", ".Nm", *synopsis, ".Sh DESCRIPTION"]
    for number, part in enumerate(paragraphs):
        lines += ([".Pp"] if number else []) + paragraph(part)
    other = {"nearblock-attach": [("nearblock-detach", 8)], "nearblock-detach": [("nearblock-attach", 8)],
             "nearblock-migrate-vm": [("nearblock-migrate", 1), ("nearblock-memory", 1)]}
    return "\n".join([*lines, *mdoc.see_also([("nearblock", 1), *other.get(name, [])])]) + "\n"
