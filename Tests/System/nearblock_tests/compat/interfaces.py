"""The interfaces that scripts use: control socket, configuration files, exit statuses, index and records."""
import json
import os
import re
import shutil
import subprocess
import time
from collections.abc import Sequence
from typing import Any

from nearblock_tests.compat.builds import Build, Builds
from nearblock_tests.compat.scene import (LIMIT, Failure, Scene, Site, expect, has_moved, objects, run, wait_until,
                                          wait_until_complete)
from nearblock_tests.nodes import free_port


def same(what: str, first: Any, second: Any) -> None:
    if first != second:
        raise Failure(f"{what}: {first} and {second}")


def control(scene: Scene, command: Build, node: Build) -> str:
    """The command line of one build asks nodes of the other."""
    disk = scene.disk("disk", 16)
    source = scene.site("source", node, "--dirty-bitmap", "backup", disk.image, "--export", "disk")
    destination = scene.site("destination", node)
    client = scene.client(disk, source)

    def ask(*arguments: str, site: Site = source, status: int = 0) -> str:
        return expect([command.program, *arguments, "--control", f"{site.folder}/control"], status)

    def state() -> str:
        found: str = objects(ask("status", "--json"))[0]["exports"][0]["state"]
        return found

    same("status --json", *common(objects(ask("status", "--json")), objects(source.do("status", "--json"))))
    ask("status")
    ask("checkpoint", "disk")
    ask("checkpoint", "disk", "--failed")
    estimates = [objects(text)[0] for text in (
        ask("migrate", "disk", "--to", destination.address, "--dry-run", "--json", "--rate", "10M"),
        source.do("migrate", "disk", "--to", destination.address, "--dry-run", "--json", "--rate", "10M"))]
    same("keys of an estimate", keys(estimates[0]), keys(estimates[1]))
    for failing in (("cancel", "none"), ("switch", "none"), ("rate", "none", "1M"), ("checkpoint", "none"),
                    ("cancel", "disk"), ("switch", "disk"), ("migrate", "none", "--to", destination.address)):
        ask(*failing, status=1)
        same(f"status of {failing[0]}", source.ask(*failing).returncode, 1)
    ask("migrate", "disk", "--to", destination.address, "--detach", "--switch", "manual", "--rate", "8M")
    wait_until("copying", lambda: state() == "copying")
    asked, done = keys(objects(ask("status", "--json"))), keys(objects(source.do("status", "--json")))
    if common(asked, done)[0] not in (asked, done):
        raise Failure(f"keys of status: neither has all of the other: {asked} and {done}")
    ask("status")
    ask("rate", "disk", "16M")
    client.work(10)
    ask("cancel", "disk")
    wait_until("serving", lambda: state() == "serving")
    wait_until("nothing is left at the destination", lambda: not destination.status())
    ask("migrate", "disk", "--to", destination.address, "--detach", "--switch", "manual", "--rate", "8M")
    ask("rate", "disk")
    wait_until("waiting", lambda: state() == "waiting")
    ask("switch", "disk")
    wait_until_complete([disk], source, destination)
    client.work(10)
    records = [objects(expect([build.program, "record", "list", "--json", "--state", f"{source.folder}/state"]))
               for build in (command, node)]
    same("the records", *records)
    report = objects(ask("migrate", "disk", "--to", source.address, "--json", "--max-pause", "1s", site=destination))[0]
    same("the end of the move back", report["state"], "complete")
    client.work(10)
    scene.finish([disk], source)
    return f"{len(records[0][0]['records'])} records"


def keys(value: Any) -> Any:
    """The keys of JSON objects; optional ones of a phase may come and go, and are left out."""
    if isinstance(value, dict):
        return {key: keys(part) for key, part in value.items() if key not in ("secondsLeft", "problem")}
    return [keys(part) for part in value] if isinstance(value, list) else ""


def common(first: Any, second: Any) -> tuple[Any, Any]:
    """Both values with the keys that are in both: a later release has more of them."""
    if isinstance(first, dict) and isinstance(second, dict):
        pairs = {key: common(first[key], second[key]) for key in first if key in second}
        return {key: pair[0] for key, pair in pairs.items()}, {key: pair[1] for key, pair in pairs.items()}
    if isinstance(first, list) and isinstance(second, list) and len(first) == len(second):
        parts = [common(one, other) for one, other in zip(first, second)]
        return [part[0] for part in parts], [part[1] for part in parts]
    return first, second


def index(scene: Scene, first: Build, second: Build) -> str:
    """An index that both builds change in turn."""
    folder, names = f"{scene.folder}/index", ("a", "b", "c")
    images = {name: scene.disk(name, 8).image for name in names}

    def do(build: Build, *arguments: str) -> list[Any]:
        return objects(expect([build.program, "index", *arguments, "--index", folder, "--json"]))

    def compare() -> None:
        for command in (("list",), ("stats",), ("verify",), ("similarity", images["b"])):
            same(f"index {command[0]}", do(first, *command), do(second, *command))

    do(first, "add", images["a"], images["b"])
    compare()
    do(second, "add", images["c"], "--domain", "shop")
    compare()
    with open(images["a"], "r+b") as image:
        image.write(scene.chance.randbytes(1 << 20))
    do(second, "refresh")
    compare()
    do(first, "remove", images["c"])
    compare()
    if found := do(first, "verify")[0]["problems"]:
        raise Failure(f"the index is damaged: {found}")
    return ""


def records(scene: Scene, first: Build, second: Build) -> str:
    """The second build holds back other files at the paths of disks that the first one has moved, and settles both doubts."""
    disks = [scene.disk("a", 4), scene.disk("b", 4)]
    source, destination = scene.site("source", first, disks=disks), scene.site("destination", first)
    source.move(disks, destination.address)
    source.end()
    for disk in disks:
        expect(["cp", disk.image, f"{disk.image}.copy"])
        os.rename(f"{disk.image}.copy", disk.image)
    source.restart(second)
    same("held back", [source.state(disk.name) for disk in disks], ["held back"] * 2)
    source.end()
    state = f"{source.folder}/state"
    expect([second.program, "record", "adopt", disks[0].image, "--state", state])
    expect([second.program, "record", "disown", disks[1].image, "--state", state])
    for build in (second, first):
        source.restart(build)
        wait_until("forwarded to the destination", lambda: has_moved(source.state("a")))
        same("the disowned disk", source.state("b"), "serving")
    with open(disks[1].image, "r+b") as image:
        image.write(b"another disk")
    expect(["qemu-img", "compare", "-f", "raw", "-F", "raw", disks[0].model, source.uri("a")])
    expect(["qemu-img", "compare", "-f", "raw", "-F", "raw", disks[1].image, source.uri("b")])
    expect(["qemu-img", "compare", "-f", "raw", "-F", "raw", disks[1].model, destination.uri("b")])
    return ""


# Names of configurations, with what stands in the file after `[node]`; {folder} has the images a.raw and b.raw.
CONFIGURATIONS = {
    "two exports": """
listen = 127.0.0.1:{port}
[export a]
image = {folder}/a.raw
description = the first
read-only = true
[export b]
image = {folder}/b.raw
default = true
dirty-bitmap = backup
max-connections = 3
""",
    "no exports": "socket = {folder}/other\n",
    "missing image": "[export a]\nimage = {folder}/a.raw\n[export b]\nimage = {folder}/none.raw\n",
    "repeated key": "socket = {folder}/other\nsocket = {folder}/another\n",
    "repeated section": "[export a]\nimage = {folder}/a.raw\n[export a]\nimage = {folder}/b.raw\n",
    "unknown key": "sokcet = {folder}/other\n[export a]\nimage = {folder}/a.raw\n",
    "unknown key of an export": "[export a]\nimage = {folder}/a.raw\nwritable = true\n",
    "bad value": "[export a]\nimage = {folder}/a.raw\nread-only = perhaps\n",
    "bad number": "keep-index = 10 parsecs\n[export a]\nimage = {folder}/a.raw\n",
    "no image": "[export a]\ndescription = nothing\n",
    "no TLS files": "tls = {folder}/none\n[export a]\nimage = {folder}/a.raw\n",
    "public peers": "peer-listen = 0.0.0.0:{port}\nimages = {folder}/arrived\n",
}
NBD_SERVER = """[generic]
allowlist = true
port = {port}
listenaddr = 127.0.0.1
[a]
exportname = {folder}/a.raw
readonly = true
[b]
exportname = {folder}/b.raw
copyonwrite = true
"""
# Command lines of serve, beside sockets and a state directory; most are refused.
SERVE = (
    "", "--help", "{folder}/none.raw", "{folder}/a.raw", "{folder}/a.raw --nonsense", "{folder}/a.raw --socket-mode 9",
    "{folder}/a.raw --socket-mode 0660", "{folder}/a.raw --config {folder}/none.conf", "{folder}/a.raw --export a --export b",
    "{folder}/a.raw --keep-index 10m", "--images {folder}/arrived", "{folder}/a.raw {folder}/b.raw",
    "{folder}/a.raw --tls-mode optional --tls-verify-client", "{folder}/a.raw --read-only --description x --direct",
    "{folder}/a.raw --peer-listen 0.0.0.0:1 --images {folder}/arrived", "nbd+unix:///?socket={folder}/none",
)
# Other command lines.
COMMANDS = (
    "--version", "--help", "nonsense", "status", "status --json", "cancel", "cancel a", "rate a 1X", "rate a 0", "switch a",
    "migrate a", "migrate --to b:7", "migrate a --to b", "migrate a --to b:0", "migrate a --to b:7 --switch never",
    "migrate a --to b:7 --rate fast", "migrate a --to b:7 --max-pause -1s", "migrate a --to b:7 --max-rounds 0",
    "migrate a b a --to b:7", "index list --index {folder}/none", "index add {folder}/none.raw --index {folder}/index",
    "index add --index {folder}/index", "index verify --index {folder}/a.raw",
    "index similarity {folder}/a.raw --index {folder}/none", "record list --state {folder}/none",
    "record adopt {folder}/a.raw --state {folder}/none",
)
# The commands among them that ask a node.
ASKING = ("status", "cancel", "rate", "switch", "migrate")
# The commands with options.
HELP = ("serve", "migrate", "status", "switch", "cancel", "rate", "checkpoint", *(
    f"index {name}" for name in ("add", "refresh", "remove", "list", "stats", "verify", "similarity")), *(
    f"record {name}" for name in ("list", "adopt", "disown")))
# Shell commands for serve --run, whose statuses are passed on.
RUNS = ("true", "exit 3", "kill -9 $$", "qemu-img info \"$uri\"")


def drop_problems(status: Any) -> Any:
    """Without the text of problems, which is for people."""
    for export in status["exports"]:
        if "problem" in export:
            export["problem"] = ""
    return status


def agree(old: Any, new: Any) -> bool:
    """Whether two results of `served` are the same, but for keys that only one release has."""
    if not isinstance(old, tuple) or not isinstance(new, tuple):
        return bool(old == new)
    statuses = common(old[0], new[0])
    return statuses[0] == statuses[1] and old[1:] == new[1:]


def served(build: Build, folder: str, arguments: Sequence[str]) -> Any:
    """Starts a node; returns its exit status, or what it serves and the exit status after SIGTERM."""
    node = f"{folder}/node"
    shutil.rmtree(node, ignore_errors=True)
    os.makedirs(node)
    with open(f"{node}/log", "wb") as log:
        process = subprocess.Popen([build.program, "serve", "--state", f"{node}/state", "--control", f"{node}/control",
                                    "--socket", f"{node}/nbd", *arguments], stdout=subprocess.DEVNULL, stderr=log)
    try:
        end = time.monotonic() + LIMIT
        while process.poll() is None:
            with open(f"{node}/log", "rb") as log:
                if b"ready" in log.read():
                    break
            if time.monotonic() > end:
                raise Failure(f"a node neither starts nor ends: {arguments}")
            time.sleep(0.02)
        else:
            return process.returncode
        status = drop_problems(json.loads(expect([build.program, "status", "--json", "--control", f"{node}/control"])))
        listed = run("nbdinfo", "--list", "--json", f"nbd+unix:///?socket={node}/nbd")
        process.terminate()
        return status, listed.returncode, listed.stdout, process.wait(timeout=LIMIT)
    finally:
        process.kill()
        process.wait()


def configurations(scene: Scene, builds: Builds) -> str:
    """Both builds serve the same, or refuse with the same status."""
    scene.disk("a", 2)
    scene.disk("b", 3)
    folder = scene.folder
    cases = {f"[node] {name}": ("--config", f"[node]\n{text}") for name, text in CONFIGURATIONS.items()}
    cases["nbd-server"] = ("--nbd-server-config", NBD_SERVER)
    faults, started = [], 0
    for name, (option, text) in cases.items():
        port = free_port()
        with open(f"{folder}/configuration", "w") as file:
            file.write(text.format(folder=folder, port=port))
        found = [served(build, folder, (option, f"{folder}/configuration")) for build in (builds.old, builds.new)]
        started += isinstance(found[0], tuple)
        if not agree(found[0], found[1]):
            faults.append(f"{name}: old {found[0]}, new {found[1]}")
    if faults:
        raise Failure("; ".join(faults))
    return f"{started} of {len(cases)} are served"


def options(scene: Scene, builds: Builds) -> str:
    """The new build knows every option of the old one."""
    count, faults = 0, []
    for command in HELP:
        old, new = (set(re.findall(r"(?<![\w-])--[a-z][a-z-]*", expect([build.program, *command.split(), "--help-hidden"])))
                    for build in (builds.old, builds.new))
        count += len(old)
        faults += [f"{command} has no {option} any more" for option in old - new]
    if faults:
        raise Failure("; ".join(faults))
    return f"{count} options"


def statuses(scene: Scene, builds: Builds) -> str:
    """Command lines have the same effect, or end with the same status."""
    for name in ("a", "b"):
        scene.disk(name, 2)
    folder = scene.folder
    both = (builds.old, builds.new)

    def status(build: Build, words: Sequence[str]) -> int:
        return run(build.program, *words).returncode

    found = {f"serve {line}": [served(build, folder, line.format(folder=folder).split()) for build in both] for line in SERVE}
    for line in COMMANDS:
        words = line.format(folder=folder).split()
        if words[0] in ASKING:
            words += ["--control", f"{folder}/none"]
        found[line] = [status(build, words) for build in both]
    for text in RUNS:
        words = ["serve", f"{folder}/a.raw", "--state", f"{folder}/state", "--control", f"{folder}/control", "--run", text]
        found[f"serve --run {text}"] = [status(build, words) for build in both]
    faults = [f"{line}: old {old}, new {new}" for line, (old, new) in found.items() if not agree(old, new)]
    if faults:
        raise Failure("; ".join(faults))
    return f"{len(found)} command lines"
