"""Lays out what a package holds."""
import datetime
import re
import shutil
from pathlib import Path

from release import configuration, manual, scripts
from release.program import build_keeper, build_manual_generator
from release.tools import ROOT, SCRIPTS, output

COMPLETIONS = {"bash": "bash-completion/completions/nearblock", "zsh": "zsh/vendor-completions/_nearblock",
               "fish": "fish/vendor_completions.d/nearblock.fish"}
# Under the names that they have where they are installed, with the section of the manual.
SCRIPT_PAGES = {
    "nearblock-attach": ("attach", 8, "attach an export to a device of the kernel"),
    "nearblock-detach": ("detach", 8, "detach a device of the kernel from its export"),
    "nearblock-migrate-vm": ("migrate-vm", 1, "move a running guest of QEMU or libvirt to another site"),
}
DOCUMENTS = ("docs/manual.md", "docs/guide.md", "docs/configuration.md", "docs/troubleshooting.md", "docs/json.md",
             "docs/limits.md", "docs/glossary.md", "docs/memory-streams.md", "SECURITY.md")
# systemd.service(5): the first release that knows Type=notify-reload.
NOTIFY_RELOAD = 253


def copy(source: Path, target: Path, mode: int = 0o644) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)
    target.chmod(mode)


def stage_scripts(usr: Path) -> None:
    """As install-client, and migrate-vm with what it imports."""
    room = usr / "lib/nearblock"
    for name in ("attach", "detach", "block-nearblock", "migrate-vm"):
        copy(SCRIPTS / name, room / name, 0o755)
    for name in ("common.sh", "device.sh", "target.sh", "target-lvm.sh"):
        copy(SCRIPTS / "lib" / name, room / "lib" / name)
    for target in (SCRIPTS / "targets").iterdir():
        copy(target, room / "targets" / target.name, 0o755)
    for module in (SCRIPTS / "lib/machine").glob("*.py"):
        copy(module, room / "lib/machine" / module.name)
    build_keeper(room / "nbd-keep")
    for name, folder in (("attach", "sbin"), ("detach", "sbin"), ("migrate-vm", "bin")):
        (usr / folder).mkdir(exist_ok=True)
        (usr / folder / f"nearblock-{name}").symlink_to(f"../lib/nearblock/{name}")


def stage_completions(program: Path, usr: Path) -> None:
    for shell, path in COMPLETIONS.items():
        target = usr / "share" / path
        target.parent.mkdir(parents=True, exist_ok=True)
        # The shell sources it.
        target.write_text(re.sub(r"^#!.*\n", "", output(program, "--generate-completion-script", shell)))


def stage_manual(program: Path, folder: Path, date: datetime.date) -> None:
    folder.mkdir(parents=True)
    manual.write_pages(program, build_manual_generator(), folder, date)
    for name, (script, section, what) in SCRIPT_PAGES.items():
        (folder / f"{name}.{section}").write_text(scripts.page(name, section, what, SCRIPTS / script, date))
    (folder / "nearblock.conf.5").write_text(configuration.page(SCRIPTS / "debian/etc/nearblock.conf", date))


def stage_units(folder: Path) -> None:
    """The package is for the systemd of this release of Debian."""
    version = re.search(r"\d+", output("dpkg-query", "-W", "-f", "${Version}", "libsystemd0"))
    for unit in (SCRIPTS / "debian/units").iterdir():
        copy(unit, folder / unit.name)
    if version and int(version.group()) >= NOTIFY_RELOAD:
        service = folder / "nearblock.service"
        text = service.read_text().replace("Type=notify\n", "Type=notify-reload\n")
        service.write_text(re.sub(r"^# Fails where.*\nExecReload=.*\n", "", text, flags=re.MULTILINE))


def stage(program: Path, folder: Path, date: datetime.date) -> None:
    """Fills FOLDER/staged, which debian/rules packs."""
    staged, usr = folder / "staged", folder / "staged/usr"
    copy(program, usr / "bin/nearblock", 0o755)
    stage_scripts(usr)
    stage_completions(program, usr)
    stage_manual(program, staged / "man", date)
    stage_units(staged / "units")
    copy(ROOT / "CHANGELOG.md", staged / "CHANGELOG.md")
    for document in DOCUMENTS:
        copy(ROOT / document, staged / "doc" / Path(document).name)
    copy(SCRIPTS / "examples/domain.cfg", staged / "doc/examples/domain.cfg")
    for example in (SCRIPTS / "monitoring").iterdir():
        copy(example, staged / "doc/examples/monitoring" / example.name)
