"""The memory of a guest that moves, between the monitors of two QEMUs."""
import re
import time
import urllib.parse

from machine.site import SiteError
from qmp import QmpError

# While these last, QEMU takes care of the guest by itself.
UNDER_WAY = ("setup", "active", "pre-switchover", "device", "wait-unplug", "cancelling")


def exports_of(monitor):
    """The exports that the guest's disks are, with their sockets, of those on Unix sockets."""
    for node in monitor.execute("query-named-block-nodes"):
        if node["drv"] != "nbd":
            continue
        address = re.sub(r"^nbd:unix:([^:]*):exportname=(.*)$", r"nbd+unix:///\2?socket=\1", node["file"])
        parts = urllib.parse.urlparse(address)
        path = urllib.parse.parse_qs(parts.query).get("socket", [None])[0]
        if path:
            yield urllib.parse.unquote(parts.path.lstrip("/")), path


class Memory:
    """From the QEMU of the site `here` to that of `there`."""

    def __init__(self, here, there):
        self.here, self.there = here, there
        self.target = None
        self.was_started = False
        self.parameters = {}

    def check(self, disks):
        """Raises QmpError or SiteError unless there is a running guest with these disks and no other of that node."""
        self.source = self.here.open_monitor()
        state = self.source.execute("query-status")["status"]
        if state != "running":
            raise SiteError(f"the guest does not run: it is {state}")
        if self.progress()["status"] in UNDER_WAY:
            raise SiteError("its memory is being moved already")
        self.check_disks(disks)
        try:
            self.there.open_monitor().close()
        except QmpError:
            return
        raise SiteError(f"a QEMU answers at {self.there.monitor} of {self.there.name} already; end it first")

    def check_disks(self, disks):
        used = dict(exports_of(self.source))
        for name in disks:
            if name not in used:
                raise SiteError(f"no disk of the guest is the export '{name}'; there are: {', '.join(used) or 'none'}")
        sockets = {used[name] for name in disks}
        for name, path in used.items():
            if path in sockets and name not in disks:
                raise SiteError(f"the guest has '{name}' of the same node as well; name it with --disk, too")

    def attach(self, limit=30):
        """Opens the monitor there, once it answers."""
        end = time.monotonic() + limit
        while True:
            try:
                self.target = self.there.open_monitor()
                break
            except QmpError:
                if time.monotonic() > end:
                    raise
                time.sleep(0.2)
        state = self.target.execute("query-status")["status"]
        if state != "inmigrate":
            raise SiteError(f"the QEMU at {self.there.name} does not wait for a guest: it is {state}; "
                            "start it with -incoming defer")

    def start(self, address, pauses, rate, downtime):
        """`pauses` before the switchover; `rate` in bits a second, `downtime` in milliseconds, None for QEMU's own."""
        self.source.execute("migrate-set-capabilities",
                            capabilities=[{"capability": "pause-before-switchover", "state": pauses}])
        self.limit({"max-bandwidth": rate and max(rate // 8, 1), "downtime-limit": downtime})
        self.target.execute("migrate-incoming", uri=address)
        self.was_started = True
        self.source.execute("migrate", uri=address)

    def limit(self, limits):
        limits = {name: value for name, value in limits.items() if value is not None}
        before = self.source.execute("query-migrate-parameters")
        self.parameters = {name: before[name] for name in limits}
        if limits:
            self.source.execute("migrate-set-parameters", **limits)

    def progress(self):
        """As QEMU tells it; the status is `none` where nothing has begun."""
        return {"status": "none", **self.source.execute("query-migrate")}

    def look(self):
        """Raises SiteError where it has failed, or the QEMU there has gone."""
        progress = self.progress()
        if progress["status"] in ("failed", "cancelled", "cancelling"):
            raise SiteError(f"moving the memory failed: {progress.get('error-desc', 'QEMU says ' + progress['status'])}")
        return progress

    def go_on(self):
        """After the pause before the switchover."""
        self.source.execute("migrate-continue", state="pre-switchover")

    def runs_there(self):
        return self.target.execute("query-status")["status"] == "running"

    def cancel(self, limit=60):
        """Returns once nothing is under way; whether the guest is at the source still."""
        if not self.was_started:
            return True
        end = time.monotonic() + limit
        while (status := self.progress()["status"]) in UNDER_WAY and time.monotonic() < end:
            if status != "cancelling":
                self.source.execute("migrate_cancel")
            time.sleep(0.05)
        # A later attempt finds QEMU as this one has.
        if self.parameters:
            self.source.execute("migrate-set-parameters", **self.parameters)
        return status != "completed"

    def resume(self):
        """The guest runs at the source."""
        if self.source.execute("query-status")["status"] != "running":
            self.source.execute("cont")

    @staticmethod
    def quit(monitor):
        """Whether QEMU has heard it; one that has gone by itself has."""
        try:
            monitor.execute("quit")
        except QmpError as error:
            return "has gone" in str(error)
        return True
