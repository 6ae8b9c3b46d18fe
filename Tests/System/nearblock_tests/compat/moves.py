"""Moves between nodes of different builds; `near` is the source's build, and `far` the destination's."""
from nearblock_tests.compat.builds import Build
from nearblock_tests.compat.scene import (MEBIBYTE, Failure, Report, Scene, expect, has_moved, objects, wait_until,
                                          wait_until_complete)


def link_share(report: Report) -> float:
    """How much of the disk crossed the link as data, from 0 to 1."""
    share: float = report["ledger"]["link"] / report["size"]
    return share


def precopy(scene: Scene, near: Build, far: Build) -> str:
    disk = scene.disk("disk")
    source, destination = scene.site("source", near, disks=[disk]), scene.site("destination", far)
    client = scene.client(disk, source)
    report = source.move([disk], destination.address, "--max-pause", "2s")[0]
    client.work()
    scene.finish([disk], destination)
    return f"{report['rounds']} rounds, {100 * link_share(report):.0f} % over the link"


def postcopy(scene: Scene, near: Build, far: Build) -> str:
    disk = scene.disk("disk")
    source, destination = scene.site("source", near, disks=[disk]), scene.site("destination", far)
    client = scene.client(disk, source)
    source.start_move([disk], destination.address, "--switch", "now", "--rate", "80M")
    wait_until("the switchover", lambda: has_moved(source.state("disk")))
    missing = destination.missing("disk")
    client.work()
    wait_until_complete([disk], source, destination)
    scene.finish([disk], destination)
    return f"{missing} blocks seen missing"


def neighbour(scene: Scene, near: Build, far: Build) -> str:
    """The source's build has made the index."""
    disk = scene.disk("disk")
    with open(disk.image, "rb") as image, open(f"{scene.folder}/neighbour.raw", "wb") as copy:
        copy.write(scene.chance.randbytes(4096))
        for number in range(disk.size // MEBIBYTE):
            part = image.read(MEBIBYTE)
            copy.write(part if number % 8 else scene.chance.randbytes(MEBIBYTE))
    index = f"{scene.folder}/index"
    expect([near.program, "index", "add", f"{scene.folder}/neighbour.raw", "--index", index])
    similar = [expect([build.program, "index", "similarity", disk.image, "--index", index, "--json"])
               for build in (near, far)]
    if objects(similar[0]) != objects(similar[1]):
        raise Failure(f"the similarity differs: {similar[0]} and {similar[1]}")
    source = scene.site("source", near, disks=[disk])
    destination = scene.site("destination", far, "--index", index, "--keep-index", "1s")
    client = scene.client(disk, source)
    report = source.move([disk], destination.address)[0]
    client.work()
    if report["ledger"]["neighbour"] < disk.size / 2:
        raise Failure(f"only few blocks came from the neighbour: {report['ledger']}")
    # The node adds what it serves; the build that made the index reads that, too.
    wait_until("the disk is in the index", lambda: len(neighbours(far, index)) == 2)
    if neighbours(near, index) != neighbours(far, index):
        raise Failure("the lists of the index differ")
    scene.finish([disk], destination)
    destination.end()
    expect([near.program, "index", "verify", "--index", index])
    return f"{100 * report['ledger']['neighbour'] / disk.size:.0f} % from the neighbour"


def neighbours(build: Build, index: str) -> list[str]:
    listed = objects(expect([build.program, "index", "list", "--index", index, "--json"]))[0]["neighbours"]
    return sorted(entry["name"] for entry in listed)


def group(scene: Scene, near: Build, far: Build) -> str:
    disks = [scene.disk("root", 24), scene.disk("log", 8)]
    source, destination = scene.site("source", near, disks=disks), scene.site("destination", far)
    clients = [scene.client(disk, source) for disk in disks]
    reports = source.move(disks, destination.address)
    for client in clients:
        client.work()
    scene.finish(disks, destination)
    return f"downtimes {', '.join(str(round(report['seconds']['pause'] * 1000)) for report in reports)} ms"


def first_write(scene: Scene, near: Build, far: Build) -> str:
    """The client is at the destination from the start, as that of a guest that moves."""
    disk = scene.disk("disk")
    source, destination = scene.site("source", near, disks=[disk]), scene.site("destination", far)
    source.start_move([disk], destination.address, "--switch", "first-write", "--rate", "80M")
    wait_until("the disk is announced", lambda: destination.state("disk") == "incoming")
    client = scene.client(disk, destination)
    client.work()
    wait_until_complete([disk], source, destination)
    scene.finish([disk], destination)
    return ""


def chain(scene: Scene, near: Build, far: Build) -> str:
    """From a node of `near` over one of `far` to one of `near`; the middle one is killed in the end."""
    disk = scene.disk("disk", 16)
    first, middle, last = scene.site("a", near, disks=[disk]), scene.site("b", far), scene.site("c", near)
    client = scene.client(disk, first)
    first.move([disk], middle.address)
    client.work()
    middle.move([disk], last.address, "--switch", "now")
    client.work()
    for site in (first, middle):
        wait_until(f"{site.name} forwards to the last node", lambda: site.of("disk").get("destination") == last.address)
    middle.kill()
    client.work()
    scene.finish([disk], last)
    return ""


def back(scene: Scene, near: Build, far: Build) -> str:
    """There and back: only changed blocks cross the link the second time."""
    disk = scene.disk("disk")
    source, destination = scene.site("source", near, disks=[disk]), scene.site("destination", far)
    client = scene.client(disk, source)
    source.move([disk], destination.address)
    client.work()
    report = destination.move([disk], source.address)[0]
    client.work()
    scene.finish([disk], source)
    if link_share(report) > 0.3:
        raise Failure(f"most of the disk was sent back: {report['ledger']}")
    return f"{100 * link_share(report):.0f} % sent back"
