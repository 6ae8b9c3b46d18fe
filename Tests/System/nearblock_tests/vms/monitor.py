"""The second monitor of a guest's QEMU: migrate-vm holds the first."""
import contextlib

from machine.qmp import Qmp, QmpError
from nearblock_tests.vms.sites import Site


def open_monitor(site: Site, timeout: float = 60) -> contextlib.closing[Qmp]:
    """To be used with `with`. Raises QmpError where no QEMU answers."""
    return contextlib.closing(Qmp.connect(f"{site.folder}/monitor", f"the QEMU at {site.name}", timeout))


def run_state(site: Site) -> str:
    """The state of the guest at a site, in QEMU's words; empty where no QEMU answers."""
    try:
        with open_monitor(site, timeout=20) as monitor:
            state: str = monitor.execute("query-status")["status"]
            return state
    except QmpError:
        return ""
