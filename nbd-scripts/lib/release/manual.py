"""The manual pages of the program's commands, by the argument parser's own generator."""
import datetime
import json
import re
import subprocess
from pathlib import Path
from typing import Any

from release import mdoc
from release.tools import PackageFailure, output, run

EXAMPLES = "Examples:\n"
# The manual shows all of them.
HIDDEN = "--help-hidden shows the rarer options, too."


def prepare(command: dict[str, Any], examples: dict[str, list[str]]) -> None:
    """Shows options in the manual that --help leaves to --help-hidden, and takes the examples out of the texts: the generator
    would fill them like a paragraph."""
    title = ".".join([*command.get("superCommands", []), command["commandName"]])
    text, _, shown = (command.get("discussion") or "").partition(EXAMPLES)
    examples[title] = [line.strip() for line in shown.splitlines()]
    command["discussion"] = text.replace(HIDDEN, "").strip() or None
    for argument in command.get("arguments", []):
        names = [name["name"] for name in argument.get("names", [])]
        argument["shouldDisplay"] = "help" not in names and "help-hidden" not in names
    command["subcommands"] = [sub for sub in command.get("subcommands", []) if sub["commandName"] != "help"] or None
    for sub in command["subcommands"] or []:
        prepare(sub, examples)


def related(title: str, titles: list[str]) -> list[tuple[str, int]]:
    """The pages to which that of a command refers: those of its group, and those that every operator needs."""
    group = title.rpartition(".")[0]
    near = [other for other in titles if other.rpartition(".")[0] == title]
    if "." in group:
        near += [other for other in titles if other.rpartition(".")[0] == group]
    names = [other.replace(".", "-") for other in (group, *near) if other and other != title]
    pages = [*((name, 1) for name in names), ("nearblock.conf", 5)]
    return pages if group else [*pages, ("nearblock-migrate-vm", 1), ("nearblock-attach", 8), ("nearblock-detach", 8)]


def finish(page: str, title: str, examples: list[str], titles: list[str]) -> str:
    """A page with its examples, under the name that man finds it by; other pages too are named so."""
    words = title.replace(".", " ")
    page = page.replace(f'.Nm "{words}"\n', f".Nm {title.replace('.', '-')}\n", 1)
    page = page.replace(".Sh SYNOPSIS\n.Nm\n", f'.Sh SYNOPSIS\n.Nm "{words}"\n', 1)
    page = page.replace("\n.Ex -std", f'\n.Ex -std "{words}"', 1)
    page = re.sub(r'^\.Sh "?SEE ALSO"?\n(?:(?!\.Sh).*\n?)*', "", page, flags=re.MULTILINE)
    page = re.sub(r"^\.Dt (\S+)", lambda found: f".Dt {found.group(1).replace('.', '-')}", page, flags=re.MULTILINE)
    page = re.sub(r"^\s*$\n?", ".Pp\n", page.strip(), flags=re.MULTILINE) + "\n"
    shown = "\n".join([".Sh EXAMPLES", *mdoc.display(examples)])
    page = re.sub(r'^\.Sh "?EXIT STATUS', lambda found: f"{shown}\n{found.group(0)}", page, flags=re.MULTILINE)
    others = "\n".join(mdoc.see_also(related(title, titles))) + "\n"
    body, heading, authors = page.partition('.Sh AUTHORS\n')
    return body + others + heading + authors


def write_pages(program: Path, generator: Path, folder: Path, date: datetime.date) -> None:
    """nearblock.1, nearblock-serve.1 and so on."""
    dump = json.loads(output(program, "--experimental-dump-help"))
    examples: dict[str, list[str]] = {}
    prepare(dump["command"], examples)
    made = folder / "made"
    made.mkdir(parents=True)
    (made / "dump.json").write_text(json.dumps(dump))
    # The generator asks a program for its description.
    speaker = made / "speaker"
    speaker.write_text('#!/bin/sh\nexec cat "$(dirname "$0")/dump.json"\n')
    speaker.chmod(0o755)
    run(generator, speaker, "--multi-page", "--date", date.isoformat(), "--output-directory", made)
    for title, lines in examples.items():
        page = made / f"{title}.1"
        if not page.exists():
            raise PackageFailure(f"the generator has made no manual page of {title}")
        (folder / f"{title.replace('.', '-')}.1").write_text(finish(page.read_text(), title, lines, list(examples)))
    subprocess.run(["rm", "-r", made], check=True)
