"""test lint [--commits [BASE]]

Checks the form of everything in the repository, in 10 seconds:
  swift format, shellcheck, pyflakes, pycodestyle, and mypy with Tests/System/mypy.ini
    links of documents, and the names of files, types and tests in them
  folders of more than 25 files, but for the corpora of the fuzzers
  imports: pure targets import no input or output, and what operators run does not need the tests
--commits also checks the commits since the merge base with BASE (origin/HEAD, or main): a subject of at most 72 characters,
and a body. Installs the checkers that are missing.
"""
import argparse
import os
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

from nearblock_tests import comments
from nearblock_tests.repository import ROOT, SYSTEM, SuiteParser, install, note, swift

MOST_FILES = 25
LONGEST_SUBJECT = 72
PACKAGES = ("nearblock_tests", "nearblock_benchmarks", "machine", "release")
# Of these modules' folders mypy finds the packages.
PACKAGE_FOLDERS = ("Tests/System", "benchmarks/lib", "nbd-scripts/lib")
# What a target that does no input or output may import; one whose folder is not there is passed over.
MIGRATION = {"Hashing", "BlockModel", "PeerModel", "MigrationProtocol", "NIOCore"}
PURE: dict[str, set[str]] = {"NBD": set(), "Hashing": {"COpenSSL", "Glibc"}, "BlockModel": {"Glibc", "Synchronization"},
    "PeerModel": set(), "MigrationProtocol": MIGRATION, "MigrationCore": MIGRATION}
# Functions of the C library that compute and do nothing else.
ARITHMETIC = {"Glibc.exp", "Glibc.exp2", "Glibc.pow"}

IMPORT = re.compile(
    r"^\s*(?:@\w+(?:\([^)]*\))?\s+)*(?:(?:public|package|internal|fileprivate|private)\s+)?import\s+"
    r"(?:(?:struct|class|enum|protocol|func|var|let|typealias|actor)\s+)?(\w+(?:\.\w+)?)", re.MULTILINE)
LINK = re.compile(r"\]\(([^)#:]+)")
CODE = re.compile(r"`([^`\n]+)`")
# A type, a function of one, or a group of tests, as documents name them.
SYMBOL = re.compile(r"^([A-Z]\w*[a-z]\w*)(?:[./]([A-Za-z]\w*))?$")
WORD = re.compile(r"\w+")
# Documents that name Swift files by the ends of their paths.
GUIDES = ("docs/architecture.md", "docs/protocol.md")
# Folders whose names in a document are paths from the root.
PATH = re.compile(r"^(?:Sources|Tests|docs|benchmarks|nbd-scripts)/[\w./+-]+$")


def git(*arguments: str) -> str:
    return subprocess.run(["git", *arguments], cwd=ROOT, check=True, capture_output=True, text=True).stdout


def tracked() -> list[str]:
    """The files of the repository, without those that are deleted and not yet committed."""
    files = git("ls-files", "-z", "--cached", "--others", "--exclude-standard").split("\0")
    return sorted({file for file in files if file and (ROOT / file).is_file()})


def first_line(file: str) -> str:
    with open(ROOT / file, "rb") as text:
        return text.readline(200).decode(errors="replace").rstrip()


class Lint:
    """Every check yields a complaint for each fault; tools say theirs themselves."""

    def __init__(self) -> None:
        self.files = tracked()
        scripts = [file for file in self.files if "/corpus/" not in file and first_line(file).startswith("#!")]
        self.shell = [file for file in self.files if file.endswith(".sh")] + [
            file for file in scripts if re.search(r"\b(ba)?sh$", first_line(file)) and not file.endswith(".sh")]
        self.modules = [file for file in self.files if file.endswith(".py")]
        self.programs = [file for file in scripts if "python3" in first_line(file) and not file.endswith(".py")]
        self.programs += [file for file in self.modules if re.fullmatch(r"nbd-scripts/lib/[^/]+\.py", file)]
        self.documents = [file for file in self.files if file.endswith(".md")]

    def tool(self, *command: str, **environment: str) -> Iterator[str]:
        if subprocess.run(command, cwd=ROOT, env={**os.environ, **environment}).returncode:
            yield f"{os.path.basename(command[0])} complains: see above"

    def swift_format(self) -> Iterator[str]:
        return self.tool(swift(), "format", "lint", "--strict", "-r", "Sources", "Tests", "benchmarks", "Package.swift")

    def shellcheck(self) -> Iterator[str]:
        # Files that are sourced name what they source from their own folder.
        return self.tool("shellcheck", "-x", "-P", "SCRIPTDIR:benchmarks/lib", *self.shell)

    def pyflakes(self) -> Iterator[str]:
        return self.tool("pyflakes3", *self.modules, *self.programs)

    def pycodestyle(self) -> Iterator[str]:
        # What ruff looks for by default, but for imports that follow a setting of matplotlib's.
        return self.tool("pycodestyle", "--select=E401,E7,E9", *self.modules, *self.programs)

    def mypy(self) -> Iterator[str]:
        path = ":".join(str(ROOT / folder) for folder in PACKAGE_FOLDERS)
        common = ("mypy", "--config-file", str(SYSTEM / "mypy.ini"), "--no-error-summary")
        yield from self.tool(*common, *(word for name in PACKAGES for word in ("-p", name)), MYPYPATH=path)
        # Each is a module of the name __main__.
        for program in self.programs:
            yield from self.tool(*common, program, MYPYPATH=path)

    def links(self) -> Iterator[str]:
        for document in self.documents:
            for target in LINK.findall((ROOT / document).read_text()):
                if not (ROOT / document).parent.joinpath(target).exists():
                    yield f"{document} links to {target}, which is not there"

    def names(self) -> Iterator[str]:
        """Paths from the root, and in the documents that lead through the sources the ends of paths of Swift files."""
        ends = {"/".join(Path(file).parts[-count:]) for file in self.files for count in range(1, len(Path(file).parts) + 1)}
        for document in self.documents:
            for code in CODE.findall((ROOT / document).read_text()):
                word = code.split()[0]
                if PATH.match(word) and not (ROOT / word).exists():
                    yield f"{document} names {word}, which is not there"
                if document in GUIDES and word.endswith(".swift") and word not in ends:
                    yield f"{document} names {word}, which is not there"

    def symbols(self) -> Iterator[str]:
        """Names of types, and of what belongs to them, that no Swift or C file has."""
        known: set[str] = set()
        for file in self.files:
            if file.endswith((".swift", ".c", ".h")):
                known.update((*Path(file).parts, Path(file).stem, "swift"))
                known.update(WORD.findall((ROOT / file).read_text()))
        for document in self.documents:
            for code in CODE.findall((ROOT / document).read_text()):
                if (match := SYMBOL.match(code)) and not known.issuperset(filter(None, match.groups())):
                    yield f"{document} names {code}, which no source has"

    def comments(self) -> Iterator[str]:
        for file in self.files:
            if file.startswith("Sources/") and file.endswith(".swift"):
                for line, complaint in comments.complaints((ROOT / file).read_text()):
                    yield f"{file}:{line}: {complaint}"

    def folders(self) -> Iterator[str]:
        counts = Counter(os.path.dirname(file) for file in self.files)
        for folder, count in sorted(counts.items()):
            if count > MOST_FILES and not folder.startswith("Tests/Fuzz/corpus/"):
                yield f"{folder} has {count} files; {MOST_FILES} at most"

    def imports(self) -> Iterator[str]:
        for target, allowed in PURE.items():
            for file in self.files:
                if file.startswith(f"Sources/{target}/") and file.endswith(".swift"):
                    for module in IMPORT.findall((ROOT / file).read_text()):
                        if module not in allowed | ARITHMETIC:
                            yield f"{file} imports {module}; {target} may import {', '.join(sorted(allowed)) or 'nothing'}"
        for file in self.files:
            if file.startswith("nbd-scripts/") and file != "nbd-scripts/test":
                if re.search(r"Tests/System|nearblock_tests|benchmarks/lib", (ROOT / file).read_text(errors="replace")):
                    yield f"{file} needs the tests or the benchmarks: operators have neither"

    def commits(self, base: str) -> Iterator[str]:
        bases = (base,) if base else ("origin/HEAD", "main")
        known = [name for name in bases
                 if subprocess.run(["git", "merge-base", name, "HEAD"], cwd=ROOT, capture_output=True).returncode == 0]
        if not known:
            note(f"lint: no merge base with {' or '.join(bases)}: no commits to check")
            return
        since = git("merge-base", known[0], "HEAD").strip()
        for commit in git("rev-list", "--no-merges", f"{since}..HEAD").split():
            subject, _, body = git("log", "-1", "--format=%B", commit).strip().partition("\n")
            if len(subject) > LONGEST_SUBJECT:
                yield f"commit {commit[:12]}: its subject has {len(subject)} characters; {LONGEST_SUBJECT} at most"
            if not body.strip():
                yield f"commit {commit[:12]} has no body: {subject}"


def main() -> int:
    parser = SuiteParser("lint", __doc__)
    parser.add_argument("--commits", nargs="?", const="", metavar="BASE", help=argparse.SUPPRESS)
    options = parser.parse_args()
    install("lint")
    lint = Lint()
    checks: list[tuple[str, Callable[[], Iterator[str]]]] = [
        ("swift format", lint.swift_format), ("shellcheck", lint.shellcheck), ("pyflakes", lint.pyflakes),
        ("pycodestyle", lint.pycodestyle), ("mypy", lint.mypy), ("links of documents", lint.links),
        ("names in documents", lint.names), ("symbols in documents", lint.symbols), ("comments", lint.comments),
        ("folders", lint.folders), ("imports", lint.imports)]
    if options.commits is not None:
        checks.append(("commits", lambda: lint.commits(options.commits)))
    faults = 0
    for name, check in checks:
        note(f"lint: {name}")
        for complaint in check():
            note(f"lint: {complaint}")
            faults += 1
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
