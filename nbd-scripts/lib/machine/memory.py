"""The memory of a guest that moves, between the monitors of two QEMUs."""
import re
import time
import urllib.parse

from machine.site import SiteError
from machine.qmp import QmpError

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


def check_disks(disks, used):
    """Raises SiteError unless the guest has these disks and no other of their node; `used` is exports with sockets."""
    for name in disks:
        if name not in used:
            raise SiteError(f"no disk of the guest is the export '{name}'; there are: {', '.join(used) or 'none'}")
    sockets = {used[name] for name in disks}
    for name, path in used.items():
        if path in sockets and name not in disks:
            raise SiteError(f"the guest has '{name}' of the same node as well; name it with --disk, too")


class Memory:
    """From the QEMU of the site `here` to that of `there`, at `address`, which `command` starts.

    `rate` is in bits a second, `downtime` in milliseconds; None for QEMU's own. `relay` carries it through the nodes; None
    where QEMU connects to `address` itself.
    """

    # Bytes a second; the node limits what it sends.
    UNLIMITED = 10**10

    # How disks that come back are handed over.
    switch_back = "manual"

    def __init__(self, here, there, command, address, rate, downtime, relay=None):
        self.here, self.there, self.command, self.address = here, there, command, address
        self.relay = relay
        self.rate, self.downtime = rate, downtime
        self.target = None
        self.has_target = self.was_started = False
        self.parameters = {}

    def check(self, disks):
        """Raises QmpError or SiteError unless there is a running guest with these disks and no other of that node."""
        self.source = self.here.open_monitor()
        state = self.source.execute("query-status")["status"]
        if state != "running":
            raise SiteError(f"the guest does not run: it is {state}")
        if self.progress()["status"] in UNDER_WAY:
            raise SiteError("its memory is being moved already")
        check_disks(disks, dict(exports_of(self.source)))
        try:
            self.there.open_monitor().close()
        except QmpError:
            return
        raise SiteError(f"a QEMU answers at {self.there.monitor} of {self.there.name} already; end it first")

    def prepare(self):
        """There is a QEMU there that waits for the guest."""
        self.has_target = True
        self.there.run(self.command)
        self.attach()

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

    def check_target(self):
        """Raises QmpError where the QEMU there has gone."""
        self.target.execute("query-status")

    def start(self, pauses):
        """`pauses` before the switchover."""
        # With a return path QEMU does not believe that the memory is across before the QEMU there has said so.
        self.source.execute("migrate-set-capabilities",
                            capabilities=[{"capability": "pause-before-switchover", "state": pauses},
                                          {"capability": "return-path", "state": self.relay is not None}])
        rate = self.rate and max(self.rate // 8, 1)
        if self.relay and not rate:
            rate = self.UNLIMITED
        self.limit({"max-bandwidth": rate, "downtime-limit": self.downtime})
        self.target.execute("migrate-incoming", uri=f"unix:{self.relay.target}" if self.relay else self.address)
        self.was_started = True
        self.source.execute("migrate", uri=f"unix:{self.relay.socket}" if self.relay else self.address)

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
        """How far it is. Raises SiteError where it has failed, or the QEMU there has gone."""
        progress = self.progress()
        if self.relay:
            self.relay.check_runs()
        if progress["status"] in ("failed", "cancelled", "cancelling"):
            raise SiteError(f"moving the memory failed: {progress.get('error-desc', 'QEMU says ' + progress['status'])}")
        return {"status": progress["status"], "transferred": progress.get("ram", {}).get("transferred")}

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

    def end_source(self):
        self.quit(self.source)

    def end_target(self):
        """Whether the QEMU there has ended."""
        if not self.has_target:
            return True
        try:
            monitor = self.target or self.there.open_monitor()
        except QmpError:
            return self.is_target_gone()
        return self.quit(monitor) or self.is_target_gone()

    def is_target_gone(self):
        """Told from a site that can't be reached."""
        try:
            self.there.run(":", limit=20)
        except SiteError:
            return False
        try:
            self.quit(self.there.open_monitor())
        except QmpError:
            pass
        return True

    def bill(self):
        """Bytes, and seconds."""
        try:
            progress = self.progress()
        except QmpError:
            return {"bytes": None, "seconds": None, "downtime": None}
        return {"bytes": progress.get("ram", {}).get("transferred"),
                "seconds": progress.get("total-time", 0) / 1000, "downtime": progress.get("downtime", 0) / 1000}

    @staticmethod
    def quit(monitor):
        """Whether QEMU has heard it; one that has gone by itself has."""
        try:
            monitor.execute("quit")
        except QmpError as error:
            return "has gone" in str(error)
        return True
