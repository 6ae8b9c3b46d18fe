"""What the package files are."""
import gzip
import re
import subprocess
from pathlib import Path

from nearblock_tests.package.machine import Failure
from nearblock_tests.package.packages import Packages
from nearblock_tests.repository import SCRIPTS

KEY = re.compile(r"^#([a-z-]+) = ", re.MULTILINE)
SHELLS = {"bash": "bash-completion/completions/nearblock", "zsh": "zsh/vendor-completions/_nearblock",
          "fish": "fish/vendor_completions.d/nearblock.fish"}


def said(*command: str | Path) -> str:
    result = subprocess.run([str(word) for word in command], capture_output=True, text=True)
    if result.returncode:
        raise Failure(f"{' '.join(map(str, command))}: {result.stdout}{result.stderr}")
    return result.stdout + result.stderr


def check_lintian(packages: Packages) -> None:
    complaints = said("lintian", "--fail-on", "none", "--no-tag-display-limit", packages.now, packages.symbols)
    bad = [line for line in complaints.splitlines() if line.startswith(("E:", "W:"))]
    if bad:
        raise Failure("lintian complains:\n" + "\n".join(bad))


def unpack(deb: Path, folder: Path) -> Path:
    said("dpkg-deb", "--extract", deb, folder)
    return folder


def check_program(packages: Packages, root: Path, symbols: Path) -> None:
    """Stripped, without Swift's libraries, and with a build id under which the debug information is found."""
    program = root / "usr/bin/nearblock"
    needed = re.findall(r"\(NEEDED\).*\[(.*)\]", said("readelf", "--dynamic", program))
    swift = [name for name in needed if "swift" in name.lower() or "Foundation" in name or name.startswith("libicu")]
    if swift or not needed:
        raise Failure(f"the program needs {swift or needed}")
    found = re.search(r"Build ID: ([0-9a-f]{40})", said("readelf", "--notes", program))
    if not found:
        raise Failure("the program has no build id")
    debug = symbols / f"usr/lib/debug/.build-id/{found.group(1)[:2]}/{found.group(1)[2:]}.debug"
    if ".debug_info" not in said("readelf", "--sections", "--wide", debug):
        raise Failure(f"{debug} has no debug information")
    if ".symtab" in said("readelf", "--sections", "--wide", program):
        raise Failure("the program is not stripped")


def check_manual(program: Path, root: Path) -> None:
    """A page for each command, and for each script in PATH; man has nothing to say about them."""
    pages = {file.name.removesuffix(".gz") for file in (root / "usr/share/man").rglob("*.gz")}
    wanted = {"nearblock.conf.5", "nearblock-attach.8", "nearblock-detach.8", "nearblock-migrate-vm.1"}
    wanted |= {f"{'-'.join(words)}.1" for words in commands(program)}
    if pages != wanted:
        raise Failure(f"manual pages: {pages ^ wanted} are missing or too many")
    for file in (root / "usr/share/man").rglob("*.gz"):
        formatted = subprocess.run(["man", "--warnings=all", "--local-file", "--encoding=UTF-8", "--ditroff", file],
                                   capture_output=True, text=True)
        if formatted.returncode or formatted.stderr:
            raise Failure(f"{file.name}: {formatted.stderr}")
        if ".Sh SEE ALSO" not in gzip.decompress(file.read_bytes()).decode():
            raise Failure(f"{file.name} refers to no other page")
    # An option that --help hides.
    if "--tls-verify-client" not in said("man", "--local-file", root / "usr/share/man/man1/nearblock-serve.1.gz"):
        raise Failure("nearblock-serve.1 lacks options")


def commands(program: Path, path: tuple[str, ...] = ("nearblock",)) -> list[tuple[str, ...]]:
    """The words of each command, by the help of those above it."""
    listing = said(program, *path[1:], "--help").partition("SUBCOMMANDS:")[2]
    names = re.findall(r"^  ([a-z][a-z-]*) ", listing, re.MULTILINE)
    return [path, *(words for name in names for words in commands(program, (*path, name)))]


def check_completions(root: Path) -> None:
    for shell, path in SHELLS.items():
        file = root / "usr/share" / path
        said(shell, "--no-execute" if shell == "fish" else "-n", file)
        if "---completion" not in file.read_text():
            raise Failure(f"{path} does not ask for the names of exports")


def check_configuration(program: Path, folder: Path) -> None:
    """The installed file shows each key that there is, and no other; and each example in it is taken."""
    text = (SCRIPTS / "debian/etc/nearblock.conf").read_text()
    node, export, domain = (set(KEY.findall(part)) for part in re.split(r"#\[(?:export web|domain tenant)\]", text))
    needed = {"node": "", "export web": "image = x\n", "domain tenant": "prepare = /bin/true\n"}
    for section, shown in (("node", node), ("export web", export), ("domain tenant", domain)):
        file = folder / "unknown.conf"
        file.write_text(f"[{section}]\n{needed[section]}no-such-key = 1\n")
        answer = subprocess.run([program, "serve", "--config", file], capture_output=True, text=True)
        listed = re.search(r"no-such-key.*there are (.*)", answer.stderr)
        known = set(re.findall(r"[a-z-]+", listed.group(1))) if listed else set()
        if shown != known:
            raise Failure(f"nearblock.conf: keys of [{section}] that are missing or too many: {shown ^ known}; {answer.stderr}")


def check_tarball(packages: Packages, root: Path, folder: Path) -> None:
    """The files of the package, and sums of all files that were built."""
    subprocess.run(["sha256sum", "--check", "--quiet", "SHA256SUMS"], cwd=packages.folder, check=True)
    tarball = next(packages.folder.glob("*.tar.zst"))
    said("tar", "--extract", "--file", tarball, "--directory", folder)
    unpacked = next(path for path in folder.iterdir() if path.is_dir() and path.name.startswith("nearblock-"))
    difference = subprocess.run(["diff", "--recursive", "--brief", "--no-dereference", root, unpacked], capture_output=True,
                                text=True)
    if difference.returncode:
        raise Failure(f"the tarball has other files than the package: {difference.stdout}{difference.stderr}")


def check(packages: Packages, folder: Path) -> None:
    check_lintian(packages)
    root, symbols = unpack(packages.now, folder / "unpacked"), unpack(packages.symbols, folder / "symbols")
    program = root / "usr/bin/nearblock"
    check_program(packages, root, symbols)
    check_manual(program, root)
    check_completions(root)
    check_configuration(program, folder)
    (folder / "tarball").mkdir()
    check_tarball(packages, root, folder / "tarball")
