"""The memory of a guest that moves, between the monitors of two QEMUs."""
import re
import time
import urllib.parse

from machine.relay import WayError
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
    where QEMU connects to `address` itself. `postcopy` is a PostCopy; None where the guest follows its memory.
    """

    # Bytes a second; the node limits what it sends.
    UNLIMITED = 10**10

    # How disks that come back are handed over.
    switch_back = "manual"

    def __init__(self, here, there, command, address, rate, downtime, relay=None, postcopy=None):
        self.here, self.there, self.command, self.address = here, there, command, address
        self.relay, self.postcopy = relay, postcopy
        self.rate, self.downtime = rate, downtime
        self.target = None
        self.has_target = self.was_started = self.is_cut_off = False
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
        if self.relay:
            self.relay.check_user()
        if self.postcopy:
            self.postcopy.enable(self.source, self.target, self.there.name)

    def check_target(self):
        """Raises QmpError where the QEMU there has gone."""
        self.target.execute("query-status")

    def start(self, pauses):
        """`pauses` before the switchover; it always does with post-copy."""
        needs_answers = self.relay is not None or self.postcopy is not None
        # With a return path QEMU does not believe that the memory is across before the QEMU there has said so.
        self.source.execute("migrate-set-capabilities",
                            capabilities=[{"capability": "pause-before-switchover",
                                           "state": pauses or self.postcopy is not None},
                                          {"capability": "return-path", "state": needs_answers}])
        rate = self.rate and max(self.rate // 8, 1)
        if self.relay and not rate:
            rate = self.UNLIMITED
        limits = {"max-bandwidth": rate, "downtime-limit": self.downtime}
        if self.postcopy and self.rate:
            limits["max-postcopy-bandwidth"] = rate
        self.limit(limits)
        if self.relay:
            self.relay.has_target = True
        self.target.execute("migrate-incoming", uri=f"unix:{self.relay.target}" if self.relay else self.address)
        self.was_started = True
        self.source.execute("migrate", uri=f"unix:{self.relay.socket}" if self.relay else self.address)
        if self.postcopy:
            self.postcopy.start()

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
        was_cut_off, self.is_cut_off = self.is_cut_off, progress["status"] == "postcopy-paused"
        if was_cut_off and self.is_cut_off:
            return self.recover(progress)
        if self.relay and not self.is_past_return:
            self.relay.check_runs()
        if self.postcopy:
            self.postcopy.step(self.source, progress)
        if progress["status"] in ("failed", "cancelled", "cancelling"):
            raise SiteError(f"moving the memory failed: {self.failure(progress)}")
        return {"status": progress["status"], "transferred": progress.get("ram", {}).get("transferred")}

    def failure(self, progress):
        """The node's reason where it has one: QEMU knows only that its connection has gone, as in "Broken pipe"."""
        said = progress.get("error-desc", "QEMU says " + progress["status"])
        reason = self.relay.reason() if self.relay else None
        return f"{reason} (QEMU: {said})" if reason else said

    @property
    def is_past_return(self):
        """Whether the guest may run there while its memory is needed here."""
        return self.postcopy is not None and self.postcopy.is_past_return

    def may_run_there(self):
        return self.is_past_return

    def is_back(self):
        """Whether QEMU itself lets the guest go on here: it has not got to the switch."""
        return self.progress()["status"] in ("failed", "cancelled") and self.runs(self.source)

    def has_arrived(self):
        return self.progress()["status"] == "completed"

    def recover(self, progress):
        """Post-copy was cut off. Returns what `look` does; nothing has moved where it is still."""
        if not self.relay:
            raise SiteError("the connection of the memory is gone")
        try:
            self.postcopy.recover(self)
        except QmpError as error:
            raise SiteError(f"the memory can't be brought on: {error}") from error
        except WayError:
            time.sleep(1)
            return {"status": progress["status"], "transferred": None}
        return {"status": "postcopy-active", "transferred": None}

    def go_on(self):
        """After the pause before the switchover."""
        if self.postcopy:
            self.postcopy.is_past_return = self.postcopy.has_begun
        self.source.execute("migrate-continue", state="pre-switchover")

    def runs_there(self):
        return self.runs(self.target)

    @staticmethod
    def runs(monitor):
        return monitor.execute("query-status")["status"] == "running"

    def cancel(self, limit=60):
        """Returns once nothing is under way; whether the guest is at the source still."""
        if self.is_past_return:
            return self.is_back()
        if not self.was_started:
            self.forget_postcopy()
            return True
        self.reopen()
        end = time.monotonic() + limit
        while (status := self.progress()["status"]) in UNDER_WAY and time.monotonic() < end:
            if status != "cancelling":
                self.source.execute("migrate_cancel")
            time.sleep(0.05)
        # A later attempt finds QEMU as this one has.
        if self.parameters:
            self.source.execute("migrate-set-parameters", **self.parameters)
        self.forget_postcopy()
        return status != "completed"

    def forget_postcopy(self):
        if self.postcopy:
            self.postcopy.disable(self.source)

    def reopen(self):
        """Opens the monitor here anew where it has been lost: QEMU may go on with what it was told."""
        try:
            self.progress()
        except QmpError:
            self.source.close()
            self.source = self.here.open_monitor()

    def resume(self):
        """The guest runs at the source."""
        if not self.runs(self.source):
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
        return self.quit(monitor, waits=True) or self.is_target_gone()

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
        ram = progress.get("ram", {})
        bill = {"bytes": ram.get("transferred"), "seconds": progress.get("total-time", 0) / 1000,
                "downtime": progress.get("downtime", 0) / 1000}
        if self.postcopy:
            # Pages that the guest has asked for, and bytes behind the switch.
            bill["postcopy"] = {"requests": ram.get("postcopy-requests"), "bytes": ram.get("postcopy-bytes"),
                                "recoveries": self.postcopy.recoveries}
        return bill

    @staticmethod
    def quit(monitor, waits=False):
        """Whether QEMU has heard it; one that has gone by itself has. Its sockets are free once it has gone, for which it may be
        waited."""
        try:
            monitor.execute("quit")
        except QmpError as error:
            return "has gone" in str(error)
        try:
            while waits:
                # Events, and then the end.
                monitor.receive()
        except QmpError:
            pass
        return True
