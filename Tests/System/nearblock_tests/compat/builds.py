"""The two builds: an old commit's program, which is built once and kept, and the program of the tree."""
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from nearblock_tests.repository import ROOT, note, swift

# The last commit before the rebuild of the sources. Peers use BoringSSL in it, and OpenSSL since.
BEFORE_THE_REBUILD = "b4b5791"


@dataclass(frozen=True)
class Build:
    """`name` is old or new."""

    name: str
    program: str


@dataclass(frozen=True)
class Builds:
    old: Build
    new: Build

    def pairs(self) -> list[tuple[Build, Build]]:
        """Both directions."""
        return [(self.old, self.new), (self.new, self.old)]

    def other(self, build: Build) -> Build:
        return self.new if build == self.old else self.old


def git(*arguments: str) -> str | None:
    """Returns the output without its last newline, or None if git fails."""
    result = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True)
    return None if result.returncode else result.stdout.strip()


def old_commit(name: str | None) -> str:
    """Returns the full hash of `name`; by default of the last release, or of the commit before the rebuild. Ends the suite if
    the repository does not have the commit."""
    name = name or git("describe", "--tags", "--match", "v*", "--abbrev=0", "HEAD") or BEFORE_THE_REBUILD
    return git("rev-parse", "--verify", "--quiet", f"{name}^{{commit}}") or sys.exit(
        f"test compat: there is no commit '{name}' here; if the clone is shallow: git fetch --unshallow")


def old_program(commit: str) -> str:
    """Builds the program of a commit, unless an earlier run did, and returns its path."""
    folder = ROOT / ".build/compat" / commit
    program = folder / "nearblock"
    if not os.access(program, os.X_OK):
        build(commit, folder / "sources", program)
    return str(program)


def build(commit: str, sources: Path, program: Path) -> None:
    note(f"compat: building {commit[:12]}, once")
    if not sources.is_dir():
        sources.mkdir(parents=True)
        archive = subprocess.run(["git", "archive", commit], cwd=ROOT, check=True, capture_output=True).stdout
        subprocess.run(["tar", "-x"], cwd=sources, check=True, input=archive)
        # The same versions of what both depend on.
        if (ROOT / "Package.resolved").exists():
            shutil.copy(ROOT / "Package.resolved", sources)
    subprocess.run([swift(), "build", "-c", "release", "--product", "nearblock"], cwd=sources, check=True, stdout=sys.stderr)
    shutil.copy(sources / ".build/release/nearblock", program.with_suffix(".part"))
    program.with_suffix(".part").rename(program)
    shutil.rmtree(sources)
