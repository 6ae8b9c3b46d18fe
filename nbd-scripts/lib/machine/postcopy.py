"""Post-copy of a guest's memory: the guest runs there before all of its memory has come.

Before `migrate-continue`, everything can be undone: QEMU pauses ahead of the switch. Behind it nothing is undone, because the
guest may run there; what is left is to bring the rest of its memory.
"""
import time

from machine.qmp import QmpError
from machine.relay import WayError
from machine.site import SiteError

CAPABILITY = "postcopy-ram"
# Beside the main connection, one for pages that the guest waits for.
PREEMPT = "postcopy-preempt"
# The bitmap of written pages has been read again: each page was sent once.
SECOND_PASS = 2
# How long an attempt to go on after a cut may take, in seconds.
ATTEMPT = 60.0


class PostCopy:
    """Begins after the first pass over the memory, or `seconds` after its start, whichever is first; None for the pass."""

    def __init__(self, seconds=None):
        self.seconds = seconds
        self.has_begun = False
        # The guest may run there.
        self.is_past_return = False
        self.before = {}
        self.recoveries = 0

    def enable(self, source, target, names):
        """Raises SiteError where the QEMU there can't."""
        known = {each["capability"]: each["state"] for each in source.execute("query-migrate-capabilities")}
        if CAPABILITY not in known:
            raise SiteError("the QEMU here knows no post-copy: leave --postcopy out")
        wanted = {CAPABILITY: True}
        if PREEMPT in known:
            wanted[PREEMPT] = False
        try:
            self.set(target, wanted)
        except QmpError as error:
            raise SiteError(f"{error}; post-copy needs userfaultfd at {names}: set vm.unprivileged_userfaultfd to 1 there, or "
                            "leave --postcopy out") from error
        self.before = {name: known[name] for name in wanted}
        self.set(source, wanted)

    def disable(self, source):
        """A later attempt finds QEMU as this one has."""
        if self.before:
            self.set(source, self.before)

    @staticmethod
    def set(monitor, states):
        monitor.execute("migrate-set-capabilities",
                        capabilities=[{"capability": name, "state": state} for name, state in states.items()])

    def start(self):
        self.began = time.monotonic()

    def step(self, source, progress):
        """Has QEMU switch as soon as it may."""
        if self.has_begun or progress["status"] != "active":
            return
        passes = progress.get("ram", {}).get("dirty-sync-count", 0)
        is_late = self.seconds is not None and time.monotonic() - self.began >= self.seconds
        if passes >= SECOND_PASS or is_late:
            source.execute("migrate-start-postcopy")
            self.has_begun = True

    def recover(self, memory):
        """The connection is gone: makes another. Raises WayError where that can't be done yet."""
        relay = memory.relay
        # QEMU before 8.2 hangs where an attempt fails, so nothing is begun before the way is there.
        relay.check_way()
        self.listen_again(memory.target, f"unix:{relay.target}")
        self.recoveries += 1
        socket = relay.begin_again(self.recoveries)
        memory.source.execute("migrate", uri=f"unix:{socket}", resume=True)
        self.wait_for_answer(memory)

    @staticmethod
    def listen_again(target, address):
        try:
            target.execute_at_once("migrate-recover", uri=address)
        except QmpError as error:
            if "refuses" not in str(error):
                raise
            # It has not noticed the cut.
            try:
                target.execute_at_once("migrate-pause")
            except QmpError:
                pass
            raise WayError(str(error)) from error

    @staticmethod
    def wait_for_answer(memory):
        end = time.monotonic() + ATTEMPT
        while (status := memory.progress()["status"]).startswith("postcopy-recover"):
            if time.monotonic() > end:
                raise SiteError("the memory does not go on within a minute")
            time.sleep(0.1)
        if status == "postcopy-paused":
            raise WayError("the memory was cut off again")
