"""The command: builds, stages and packs."""
import argparse
import datetime
import email.utils
import hashlib
import os
import re
import shutil
import sys
from pathlib import Path

from release.program import build_program
from release.staging import stage
from release.tools import BUILD, ROOT, SCRIPTS, PackageFailure, note, output, run

SUFFIX = re.compile(r"[A-Za-z0-9.+~]*")


def parse(description: str | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="package", usage=argparse.SUPPRESS, description=description, allow_abbrev=False,
        formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=ROOT / ".build/packages", help=argparse.SUPPRESS)
    parser.add_argument("--suffix", default="", help=argparse.SUPPRESS)
    parser.add_argument("--binary", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--keep", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if not SUFFIX.fullmatch(options.suffix):
        parser.error("--suffix has letters, digits, '.', '+' and '~'")
    if options.binary and not os.access(options.binary, os.X_OK):
        parser.error(f"--binary: {options.binary} is no program")
    return options


def release_time() -> datetime.datetime:
    """When the latest commit was made, so that two builds of it are the same."""
    seconds = int(os.environ.get("SOURCE_DATE_EPOCH") or output("git", "log", "-1", "--format=%ct"))
    return datetime.datetime.fromtimestamp(seconds, datetime.timezone.utc)


def write_changelog(folder: Path, version: str, time: datetime.datetime) -> None:
    maintainer = re.search(r"^Maintainer: (.*)$", (folder / "debian/control").read_text(), re.MULTILINE)
    name = maintainer.group(1) if maintainer else "nobody"
    (folder / "debian/changelog").write_text(
        f"nearblock ({version}) unstable; urgency=medium\n\n  * See changelog.gz for what has changed.\n\n"
        f" -- {name}  {email.utils.format_datetime(time)}\n")


def build_debs(folder: Path, time: datetime.datetime) -> list[Path]:
    run("dpkg-buildpackage", "-b", "-us", "-uc", "--no-check-builddeps", cwd=folder,
        environment={"SOURCE_DATE_EPOCH": str(int(time.timestamp())), "DEB_BUILD_OPTIONS": "nocheck"})
    return sorted(folder.parent.glob("*.deb"))


def build_tarball(folder: Path, version: str, time: datetime.datetime) -> Path:
    """The files of the package, with the paths that they have on a host."""
    name = f"nearblock-{version}-linux-{os.uname().machine}"
    target = folder.parent / f"{name}.tar.zst"
    run("tar", "--create", "--zstd", "--file", target, "--sort=name", "--owner=0", "--group=0", "--numeric-owner",
        f"--mtime=@{int(time.timestamp())}", "--exclude=./DEBIAN", f"--transform=s,^\\.,{name},S",
        "--directory", folder / "debian/nearblock", ".")
    return target


def make(options: argparse.Namespace) -> None:
    run(SCRIPTS / "install-packages", *([] if options.binary else ["build"]), "package")
    program = options.binary.resolve() if options.binary else build_program()
    version, time = output(program, "--version").strip() + options.suffix, release_time()
    note(f"packing {version}")
    work = BUILD / "debian"
    shutil.rmtree(work, ignore_errors=True)
    folder = work / f"nearblock-{version}"
    shutil.copytree(SCRIPTS / "debian", folder / "debian")
    stage(program, folder, time.date())
    write_changelog(folder, version, time)
    made = [*build_debs(folder, time), build_tarball(folder, version, time)]
    options.output.mkdir(parents=True, exist_ok=True)
    sums = []
    for file in made:
        target = options.output / file.name
        shutil.move(file, target)
        sums.append(f"{hashlib.sha256(target.read_bytes()).hexdigest()}  {file.name}\n")
        print(target)
    (options.output / "SHA256SUMS").write_text("".join(sums))
    if not options.keep:
        shutil.rmtree(work)


def main(description: str | None) -> int:
    options = parse(description)
    try:
        make(options)
    except PackageFailure as failure:
        print(f"package: {failure}", file=sys.stderr)
        return 1
    return 0
