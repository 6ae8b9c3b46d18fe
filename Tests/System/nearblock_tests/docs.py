"""test docs [TARGET ...]

Makes a DocC archive of each library target, or of those that are named, in .build/docs: of its public and package
declarations. Fails on the warnings of DocC, such as a parameter that the function does not have, or a link that leads
nowhere. Builds all targets first, in the folder that the unit tests use.
"""
import argparse
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from nearblock_tests.repository import ROOT, SuiteParser, install, note, swift

TARGET = f"{os.uname().machine}-unknown-linux-gnu"
# Parameters whose names say everything have no text, even where others of the same function have one.
TOLERATED = re.compile(r"Parameter '.*' is missing documentation")


def run(*command: str) -> bool:
    """Whether a command succeeded. If not, the suite prints what the command has printed."""
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if done.returncode:
        note(done.stdout.rstrip())
    return done.returncode == 0


def output(*command: str) -> str:
    """What a command prints; ends the suite if it fails."""
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    if done.returncode:
        sys.exit(f"docs: {shlex.join(command)} failed")
    return done.stdout


def libraries(driver: str) -> list[str]:
    """The names of the Swift library targets under Sources."""
    package = json.loads(output(driver, "package", "describe", "--type", "json"))
    return [target["name"] for target in package["targets"]
            if target["type"] == "library" and target["module_type"] == "SwiftTarget"
            and target["path"].startswith("Sources/")]


class Archives:
    """Makes archives from a finished debug build."""

    def __init__(self, driver: str) -> None:
        self.driver = driver
        self.docc = str(Path(os.path.realpath(driver)).parent / "docc")
        if not os.access(self.docc, os.X_OK):
            sys.exit(f"docs: {self.docc} is missing; install a complete Swift toolchain")
        self.products = Path(output(driver, "build", "--show-bin-path").strip())
        self.folder = ROOT / ".build/docs"
        # A module is loaded with all that it imports, C modules too.
        maps = [*self.products.glob("*.build/module.modulemap"), *ROOT.glob("Sources/*/module.modulemap"),
                *ROOT.glob(".build/checkouts/*/Sources/*/include/module.modulemap")]
        glib = shlex.split(output("pkg-config", "--cflags", "glib-2.0"))
        self.clang = [word for flag in [*(f"-fmodule-map-file={path}" for path in sorted(maps)), *glib]
                      for word in ("-Xcc", flag)]

    def make(self, target: str) -> Iterator[str]:
        """Makes the archive, and yields a complaint for each warning."""
        graphs = self.folder / f"{target}.graphs"
        archive = self.folder / f"{target}.doccarchive"
        diagnostics = self.folder / f"{target}.json"
        for old in (graphs, archive):
            shutil.rmtree(old, ignore_errors=True)
        graphs.mkdir(parents=True)
        if not run(self.driver, "symbolgraph-extract", "-module-name", target, "-target", TARGET, "-minimum-access-level",
                   "package", "-skip-inherited-docs", "-I", str(self.products / "Modules"), *self.clang, "-output-dir",
                   str(graphs)):
            yield f"{target}: no symbol graph"
            return
        if not run(self.docc, "convert", "--additional-symbol-graph-dir", str(graphs), "--fallback-display-name", target,
                   "--fallback-bundle-identifier", f"nearblock.{target}", "--diagnostics-file", str(diagnostics),
                   "--output-path", str(archive)):
            yield f"{target}: no archive"
        for fault in json.loads(diagnostics.read_text())["diagnostics"]:
            if fault["severity"] in ("warning", "error") and not TOLERATED.fullmatch(fault["summary"]):
                file = os.path.relpath(fault.get("source", "").removeprefix("file://") or ROOT, ROOT)
                yield f"{file}:{fault.get('range', {}).get('start', {}).get('line', 0)}: {fault['summary']}"


def main() -> int:
    parser = SuiteParser("docs", __doc__)
    parser.add_argument("targets", nargs="*", metavar="TARGET", help=argparse.SUPPRESS)
    options = parser.parse_args()
    driver = swift()
    known = libraries(driver)
    for target in options.targets:
        if target not in known:
            parser.error(f"there is no library target '{target}'")
    install("build")
    if subprocess.run([driver, "build"], cwd=ROOT).returncode:
        return 1
    archives = Archives(driver)
    faults = 0
    for target in options.targets or known:
        note(f"docs: {target}")
        for complaint in archives.make(target):
            note(f"docs: {complaint}")
            faults += 1
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
