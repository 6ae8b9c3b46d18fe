"""The repository, and commands that end the script when they fail."""
import os
import shlex
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

SCRIPTS = Path(__file__).resolve().parents[2]
ROOT = SCRIPTS.parent
BUILD = ROOT / ".build/package"


class PackageFailure(Exception):
    """A step that failed, in one line."""


def note(text: str) -> None:
    print(f"package: {text}", file=sys.stderr, flush=True)


def run(*command: str | Path, cwd: Path = ROOT, environment: Mapping[str, str] | None = None) -> None:
    """Runs a command; its output goes to standard error."""
    words = [str(word) for word in command]
    if subprocess.run(words, cwd=cwd, env={**os.environ, **(environment or {})}, stdout=sys.stderr).returncode:
        raise PackageFailure(f"failed: {shlex.join(words)}")


def output(*command: str | Path, cwd: Path = ROOT) -> str:
    """What a command prints on standard output."""
    words = [str(word) for word in command]
    result = subprocess.run(words, cwd=cwd, stdout=subprocess.PIPE, text=True)
    if result.returncode:
        raise PackageFailure(f"failed: {shlex.join(words)}")
    return result.stdout
