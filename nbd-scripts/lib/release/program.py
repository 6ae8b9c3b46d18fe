"""Builds the programs."""
import shlex
from pathlib import Path

from release.tools import BUILD, SCRIPTS, output, run

# The debug information is found by the build id. The rest is what Debian's own packages have.
LINKER = ("--build-id=sha1", "-z,relro", "-z,now")


def build_program() -> Path:
    """nearblock with Swift's runtime in it, not stripped."""
    options = [word for option in LINKER for part in option.split(",") for word in ("-Xlinker", part)]
    command = ["swift", "build", "-c", "release", "--static-swift-stdlib", "--scratch-path", str(BUILD),
               "--product", "nearblock", *options]
    run(*command)
    return Path(output(*command, "--show-bin-path").strip()) / "nearblock"


def build_manual_generator() -> Path:
    """The tool behind the argument parser's plugin generate-manual. The plugin itself would first build everything once more."""
    command = ["swift", "build", "--package-path", str(BUILD / "checkouts/swift-argument-parser"),
               "--scratch-path", str(BUILD / "manual"), "--product", "generate-manual"]
    run(*command)
    return Path(output(*command, "--show-bin-path").strip()) / "generate-manual"


def build_keeper(target: Path) -> None:
    """nbd-keep, with the flags that Debian builds C with."""
    flags = [flag for kind in ("CFLAGS", "CPPFLAGS", "LDFLAGS")
             for flag in shlex.split(output("dpkg-buildflags", "--get", kind))]
    run("cc", "-std=gnu11", *flags, "-Wl,-z,now", "-o", target, SCRIPTS / "lib/nbd-keep.c")
