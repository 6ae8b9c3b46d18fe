"""What is done to the hosts and the store of a site, one thing after another. Each costs misses and a line, never wrong bytes."""
import glob
import os
import random
import subprocess
from collections.abc import Callable

from nearblock_tests.site.scene import MEBIBYTE, Failure, Scene, check, wait_until


def neighbours(report: dict[str, dict[str, int]]) -> int:
    return report["ledger"]["neighbour"]


def warning(scene: Scene, name: str) -> Callable[[], bool]:
    """Whether a node has warned since now."""
    before = scene.said(name, "warning")
    return lambda: scene.said(name, "warning") > before


def whole_again(scene: Scene, name: str) -> Callable[[], bool]:
    """Whether a node has said since now that the site is whole again."""
    before = scene.said(name, "the site is whole again")
    return lambda: scene.said(name, "the site is whole again") > before


def spread(scene: Scene) -> str:
    """Disks arrive at all hosts at once: what crosses the WAN is what one host with all the images needs."""
    names = [os.path.basename(disk).removesuffix(".raw") for disk in scene.disks]
    moves = [scene.begin("first", name, scene.alone) for name in names]
    alone = [scene.finish(move, name, "alone") for move, name in zip(moves, names)]
    hosts = list(scene.hosts)
    moves = [scene.begin("second", name, scene.hosts[host]) for name, host in zip(names, hosts)]
    reports = [scene.finish(move, name, host) for move, name, host in zip(moves, names, hosts)]
    one, all_hosts = (sum(report["wire"]["total"] for report in each) for each in (alone, reports))
    data = sum(os.path.getsize(disk) for disk in scene.disks)
    text = (f"{all_hosts / MEBIBYTE:.1f} MiB for {data / MEBIBYTE:.0f} MiB of disks, "
            f"{all_hosts / one:.3f} of what one host with all images needs")
    check(all_hosts <= 1.02 * one, text)
    return text


def killed_owner(scene: Scene) -> str:
    move = scene.begin("second", "small0", scene.hosts["h2"], "--rate", "8M")
    scene.nodes["h1"].kill()
    report = scene.finish(move, "small0", "h2")
    scene.start("h1")
    return f"{neighbours(report) / MEBIBYTE:.1f} MiB from neighbours all the same"


def hidden_store(scene: Scene) -> str:
    """One host loses the mount of the store."""
    host = scene.hosts["h3"]
    mended, warned = whole_again(scene, "h3"), warning(scene, "h3")
    host.hide_store()
    wait_until("h3 says that the store is away", warned)
    scene.move("small1", "h3")
    scene.move("small2", "h4")
    host.show_store()
    wait_until("h3 is back", mended)
    return "said, and over"


def unwritable(scene: Scene, name: str, disk: str, change: Callable[[bool], None]) -> str:
    """A disk arrives at a host that can't write to the store, and has said so.

    All hosts must be back at the end: one that is not would not warn of the next harm.
    """
    mended = {host: whole_again(scene, host) for host in scene.hosts}
    warned = {host: warning(scene, host) for host in scene.hosts}
    change(True)
    try:
        wait_until(f"{name} says that it can't write", warned[name])
        report = scene.move(disk, name)
    finally:
        change(False)
    wait_until("all hosts are back", lambda: all(mended[host]() or not warned[host]() for host in scene.hosts))
    return f"{neighbours(report) / MEBIBYTE:.1f} MiB from neighbours"


def read_only_store(scene: Scene) -> str:
    return unwritable(scene, "h1", "small3", scene.shared.set_read_only)


def full_store(scene: Scene) -> str:
    return unwritable(scene, "h2", "small4", scene.shared.set_full)


def damaged_store(scene: Scene) -> str:
    """Bytes of every table and catalogue change. Owners find their tables; catalogues are named, and are made anew once removed."""
    chance = random.Random(30)
    tables = glob.glob(f"{scene.store}/hosts/*/*.table")
    for path in (*tables, *glob.glob(f"{scene.store}/samples/*.catalogue")):
        with open(path, "r+b") as file:
            for _ in range(20):
                file.seek(chance.randrange(4096, os.path.getsize(path) - 8))
                file.write(chance.randbytes(8))
    scene.move("small5", "h5")

    def problems() -> str:
        done = subprocess.run([scene.binary, "site", "verify", "--site", scene.store], capture_output=True, text=True)
        return done.stderr

    wait_until("the tables are mended", lambda: ".table" not in problems())
    for path in glob.glob(f"{scene.store}/samples/*.catalogue"):
        if os.path.basename(path) in problems():
            os.unlink(path)
    wait_until("the store is whole", lambda: not problems() and scene.is_whole())
    check(all(scene.said(name, "is published again") > 0 for name in scene.hosts), "a host has not said what was damaged")
    return f"{len(tables)} tables were published again"


def lying_member(scene: Scene) -> str:
    """The images of a host are other ones than its tables say."""
    for image in scene.images["h1"]:
        size = os.path.getsize(image)
        with open(image, "wb") as file:
            file.write(random.Random(5).randbytes(size))
    report = scene.move("small6", "h5")
    return f"{neighbours(report) / MEBIBYTE:.1f} MiB from the others"


def killed_merger(scene: Scene) -> str:
    merger = scene.merger()
    scene.nodes[merger].kill()
    wait_until("another host merges", lambda: scene.merger() != merger, 180)
    after = scene.merger()
    scene.start(merger)
    scene.wait_until_known()
    report = scene.move("small9", merger)
    check(neighbours(report) > 0, f"nothing is found after {merger} was killed")
    return f"{after} after {merger}"


HARMS: tuple[tuple[str, Callable[[Scene], str], bool], ...] = (
    ("disks at all hosts", spread, True), ("a killed owner", killed_owner, True),
    ("a store that is away", hidden_store, False), ("a read-only store", read_only_store, False),
    ("a full store", full_store, False), ("a damaged store", damaged_store, True),
    ("a killed merger", killed_merger, False),
    ("a member that lies", lying_member, True))


def do(scene: Scene, is_short: bool, names: list[str] | None, say: Callable[[str], None]) -> None:
    for name, harm, is_in_short in HARMS:
        if (names and name not in names) or (is_short and not names and not is_in_short):
            continue
        try:
            say(f"site: {name}: {harm(scene)}")
        except Failure as failure:
            raise Failure(f"{name}: {failure}") from failure
