"""The packages that are tested."""
import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from nearblock_tests.repository import ROOT, SCRIPTS

# Sorts before the same version without it.
BEFORE = "~before"


@dataclass(frozen=True)
class Packages:
    """`before` is an older version of `now`; `folder` has all files that were built with `now`."""

    before: Path
    now: Path
    folder: Path

    @property
    def symbols(self) -> Path:
        return self.now.with_name(self.now.name.replace("nearblock_", "nearblock-dbgsym_"))

    def field(self, name: str) -> str:
        return subprocess.run(["dpkg-deb", "--field", self.now, name], check=True, capture_output=True, text=True).stdout.strip()

    def dependencies(self) -> list[str]:
        """The names of the packages that it depends on, the first of alternatives."""
        return [re.split(r"[ :|(]", depend.strip())[0] for depend in self.field("Depends").split(",")]


def find_deb(folder: Path) -> Path:
    return next(file for file in folder.glob("nearblock_*.deb"))


def build(folder: Path, binary: str | None, before: Path | None) -> Packages:
    """Builds both versions, of one program: the second takes seconds."""
    command = [str(SCRIPTS / "package"), *(["--binary", binary] if binary else [])]
    now = folder / "now"
    subprocess.run([*command, "--output", now], check=True, stdout=sys.stderr)
    if not before:
        older = folder / "before"
        program = binary or os.path.realpath(ROOT / ".build/package/release/nearblock")
        subprocess.run([str(SCRIPTS / "package"), "--binary", program, "--suffix", BEFORE, "--output", older], check=True,
                       stdout=sys.stderr)
        before = find_deb(older)
    return Packages(before, find_deb(now), now)
