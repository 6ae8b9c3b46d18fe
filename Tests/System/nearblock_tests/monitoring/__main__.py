"""test monitoring [--binary PATH] [--pictures DIR] [--keep]

Runs a real Prometheus against two nodes while three disks move from one to the other over TLS, and Debian's Chromium on the
page of each. Checks metrics by promtool, counts requests exactly, tests the alert rules, asks Prometheus every expression of
the Grafana dashboard, lets clients ask and read nothing, and reads the log's lines.

--binary PATH in the place of .build/debug/nearblock, which is built if it is not there; --pictures DIR keeps the screenshots
there; --keep leaves the folder of the run behind, as a failure does.
"""
import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import threading

from nearblock_tests.monitoring import logs, metrics, page, readers
from nearblock_tests.monitoring.browser import Browser
from nearblock_tests.monitoring.prometheus import Prometheus
from nearblock_tests.monitoring.scene import Scene, wait_until
from nearblock_tests.repository import ROOT, SuiteParser, install, note, swift


def write_slowly(scene: Scene, stop: threading.Event) -> None:
    """A guest that writes now and then, so that blocks become dirty."""
    import nbd
    client = nbd.NBD()
    client.connect_uri(scene.uri("two"))
    number = 0
    while not stop.wait(0.02):
        client.pwrite(os.urandom(4096), (number * 37 % 2048) * 4096 + (10 << 20))
        number += 1
    client.shutdown()


def run(scene: Scene, pictures: str | None) -> None:
    prometheus = Prometheus(scene.folder, scene.metrics)
    browser = Browser(scene.folder)
    stop = threading.Event()
    guest = threading.Thread(target=write_slowly, args=(scene, stop))
    try:
        note(f"monitoring: rules: {metrics.rules(scene)}")
        note(f"monitoring: counts: {metrics.counts(scene)}")
        note(f"monitoring: failures: {metrics.failures(scene)}")
        note(f"monitoring: refusals: {metrics.refusals(scene)}")
        note(f"monitoring: page at rest: {page.before_move(scene, browser)}")
        note(f"monitoring: slow readers: {readers.silent(scene)}")
        known = metrics.form(scene)
        guest.start()
        scene.start_move("8M")
        wait_until("it copies", lambda: "copying" in scene.source.state("one"))
        note(f"monitoring: page during the move: {page.during_move(scene, browser, pictures)}")
        known |= metrics.form(scene)
        for name in ("one", "two", "three"):
            scene.source.do("rate", name, "1G")
        wait_until("all disks have moved", scene.has_moved)
        note(f"monitoring: page after the move: {page.after_move(scene, browser)}")
        known |= metrics.form(scene)
        note(f"monitoring: Prometheus: {metrics.after_move(scene, prometheus, known)}")
        stop.set()
        guest.join()
        note(f"monitoring: log: {logs.of_migration(scene)}")
        note(f"monitoring: journal: {logs.of_journal(scene)}")
    finally:
        stop.set()
        browser.close()
        prometheus.stop()
        scene.stop()


def main() -> int:
    parser = SuiteParser("monitoring", __doc__)
    parser.add_argument("--binary", help=argparse.SUPPRESS)
    parser.add_argument("--pictures", help=argparse.SUPPRESS)
    parser.add_argument("--keep", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    install("build", "test", "monitoring")
    binary = options.binary or str(ROOT / ".build/debug/nearblock")
    if not os.access(binary, os.X_OK):
        subprocess.run([swift(), "build"], cwd=ROOT, check=True, stdout=sys.stderr)
    if options.pictures:
        os.makedirs(options.pictures, exist_ok=True)
    folder = tempfile.mkdtemp(prefix="nearblock-monitoring-")
    try:
        run(Scene(os.path.realpath(binary), folder), options.pictures)
    except Exception:
        note(f"monitoring: the run is left in {folder}")
        raise
    if options.keep:
        note(f"monitoring: the run is in {folder}")
    else:
        shutil.rmtree(folder)
    return 0


if __name__ == "__main__":
    sys.exit(main())
