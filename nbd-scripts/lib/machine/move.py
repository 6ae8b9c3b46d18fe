"""A guest moves, memory and disks, from one site to another: the order of things, and what is undone where it fails.

What is right after a failure depends on where the disks are, and only the node knows that: `nearblock cancel` either
leaves them here for good, or says that it is too late.

1. They are here: the guest goes on here. Where QEMU has moved the memory already, the QEMU there ends first; it has
   written nothing, because its first write would have taken the disks along.
2. They are there and the memory is not (`manual`, between the switchover and QEMU's end): the guest goes on here, the node
   passes its requests on. The same command moves the rest later.
3. Both are there: there is nothing to go back to.
"""
import signal
import sys
import time

from machine.site import SiteError
from qmp import QmpError

# How long the first write there is waited for before the disks are switched over without it.
FIRST_WRITE = 1.0
INTERVAL = 0.2
# While the guest stands still.
SHORT_INTERVAL = 0.02


class Interrupted(Exception):
    def __init__(self, number):
        super().__init__(f"interrupted by {signal.Signals(number).name}")


class MoveFailed(Exception):
    """Says what stands now."""


FAILURES = (Interrupted, QmpError, SiteError)


def raise_interrupted(number, _):
    raise Interrupted(number)


def on_signals(what):
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, what)


class Move:
    def __init__(self, options, disks, memory):
        self.options, self.disks, self.memory = options, disks, memory
        self.are_there = self.has_begun = self.was_started = False

    def say(self, words):
        print(f"migrate-vm: {words}", file=sys.stderr, flush=True)

    def run(self):
        """Returns what it took. Raises MoveFailed, or one of FAILURES where nothing had begun."""
        on_signals(raise_interrupted)
        self.began = time.monotonic()
        self.check()
        try:
            self.copy()
        except FAILURES as failure:
            on_signals(signal.SIG_IGN)
            self.undo(failure)
        return self.finish()

    def check(self):
        self.memory.check(self.disks.names)
        self.are_there = self.disks.check()
        if self.are_there:
            self.switch = None
            self.say("the disks are there already: only the memory is moved")
        elif self.options.switch:
            self.switch = self.options.switch
        else:
            # No first write tells of a guest that comes back to a node that still forwards its disk.
            self.switch = "manual" if self.disks.come_back() else "first-write"

    # Before the switchover.

    def copy(self):
        if not self.are_there:
            self.begin_disks()
        self.start_target()
        if not self.are_there and not self.options.at_once:
            self.say("copying the disks")
            self.wait(self.have_caught_up)
        self.say("copying the memory")
        self.memory.start(self.options.memory_to, self.switch == "manual", self.options.memory_rate,
                          self.options.downtime)
        self.wait(self.has_memory_moved, SHORT_INTERVAL)
        self.wait(self.memory.runs_there, SHORT_INTERVAL)
        if self.switch == "first-write":
            self.wait_for_first_write()

    def begin_disks(self):
        self.has_begun = True
        options = [] if self.options.rate is None else ["--rate", self.options.rate]
        self.disks.begin(self.switch, options)
        self.wait(lambda: self.disks.look() is not None and self.disks.have_been_announced())

    def start_target(self):
        self.was_started = True
        self.disks.there.run(self.options.start)
        self.memory.attach()

    def have_caught_up(self):
        self.memory.target.execute("query-status")
        mine = self.disks.look()
        self.note(mine)
        return mine is not None and self.disks.have_caught_up(mine)

    def has_memory_moved(self):
        progress = self.memory.look()
        self.note(progress.get("ram", {}).get("transferred"))
        if progress["status"] == "pre-switchover":
            self.switch_over()
            self.memory.go_on()
        return progress["status"] == "completed"

    def switch_over(self):
        """The guest stands still until the disks are there."""
        self.disks.switch()
        self.wait(self.disks.are_handed_over, SHORT_INTERVAL, self.options.pause_limit)
        self.are_there = True

    def wait_for_first_write(self):
        end = time.monotonic() + FIRST_WRITE
        while not self.disks.are_handed_over():
            # A guest that writes nothing has no need of its disks there yet; the source's machine may have.
            if time.monotonic() > end:
                self.request_switch()
            self.memory.runs_there()
            self.note(self.disks.last)
            self.check_patience(self.options.patience)
            time.sleep(INTERVAL)
        self.are_there = True

    def request_switch(self):
        try:
            self.disks.switch()
        except SiteError:
            # Its node is started again, or the first write was quicker.
            pass

    def wait(self, is_done, interval=INTERVAL, patience=None):
        """Until `is_done`, as long as anything that is told to `note` changes."""
        self.changed, self.noted = time.monotonic(), None
        while not is_done():
            self.check_patience(patience or self.options.patience)
            time.sleep(interval)

    def note(self, something):
        if something != self.noted:
            self.changed, self.noted = time.monotonic(), something

    def check_patience(self, patience):
        if time.monotonic() - self.changed > patience:
            raise SiteError(f"nothing has moved for {patience:g} s")

    # After a failure before the end. Signals are ignored.

    def undo(self, failure):
        try:
            are_here = not self.are_there and self.cancel_disks()
        except FAILURES as error:
            raise MoveFailed(f"{failure}; and whether the disks are still here can't be told: {error}") from failure
        try:
            is_memory_here = self.memory.cancel()
        except QmpError as error:
            raise MoveFailed(f"{failure}; and the QEMU here does not answer: {error}") from failure
        if is_memory_here or are_here:
            self.stay(failure, are_here, is_memory_here)
        # Both are there, or were.
        self.go_on_there(failure)

    def cancel_disks(self):
        """Whether they are here; the node may be on its way up again."""
        end = time.monotonic() + self.options.pause_limit
        while self.has_begun:
            try:
                return self.disks.cancel()
            except SiteError:
                if time.monotonic() > end:
                    raise
                time.sleep(1)
        return True

    def stay(self, failure, are_here, is_memory_here):
        has_ended = self.end_target()
        if not has_ended and not is_memory_here:
            raise MoveFailed(f"{failure}; the disks are here, but the QEMU at {self.disks.there.name} has the guest and "
                             "can't be reached: end it there, then resume the guest here (QMP: cont)") from failure
        if are_here and self.has_begun:
            self.disks.withdraw()
        try:
            self.memory.resume()
        except QmpError as error:
            raise MoveFailed(f"{failure}; and the guest here can't be resumed: {error}") from failure
        where = "" if are_here else f" with its disks at {self.disks.to}; the same command moves the rest"
        left = "" if has_ended else f"; the QEMU at {self.disks.there.name} may be left: end it"
        raise MoveFailed(f"{failure}; the guest goes on here{where}{left}") from failure

    def end_target(self):
        """Whether the QEMU there has ended."""
        if not self.was_started:
            return True
        try:
            monitor = self.memory.target or self.disks.there.open_monitor()
        except QmpError:
            return self.is_target_gone()
        return self.memory.quit(monitor) or self.is_target_gone()

    def is_target_gone(self):
        """Told from a site that can't be reached."""
        try:
            self.disks.there.run(":", limit=20)
        except SiteError:
            return False
        try:
            self.memory.quit(self.disks.there.open_monitor())
        except QmpError:
            pass
        return True

    def go_on_there(self, failure):
        self.are_there = True
        try:
            runs = self.memory.runs_there()
        except QmpError:
            runs = False
        if not runs:
            raise MoveFailed(f"{failure}; memory and disks are at {self.disks.there.name}, but its QEMU does not run the "
                             "guest: look at it there, and do not resume the one here") from failure
        self.memory.quit(self.memory.source)
        if isinstance(failure, Interrupted):
            raise MoveFailed(f"{failure}; the guest runs at {self.disks.there.name} already, and its disks follow by "
                             "themselves: see nearblock status there") from failure
        self.say(f"{failure}; the guest runs there nevertheless")

    # After it.

    def finish(self):
        """The source's memory is of the past: its QEMU ends, and the rest of the disks arrives."""
        on_signals(raise_interrupted)
        memory = self.memory_bill()
        self.say("the guest runs there")
        try:
            self.memory.quit(self.memory.source)
            while self.has_begun and not self.disks.are_complete():
                time.sleep(INTERVAL)
            wire, pause = self.disks.bill() if self.has_begun else (0, 0)
        except FAILURES as failure:
            raise MoveFailed(f"{failure}; the guest runs at {self.disks.there.name} and its disks follow by themselves: "
                             "see nearblock status there") from failure
        return {"seconds": time.monotonic() - self.began, "switch": self.switch or "none", "memory": memory,
                "disks": {"wire": wire, "pause": pause}}

    def memory_bill(self):
        try:
            progress = self.memory.progress()
        except QmpError:
            return {"bytes": None, "seconds": None, "downtime": None}
        return {"bytes": progress.get("ram", {}).get("transferred"),
                "seconds": progress.get("total-time", 0) / 1000, "downtime": progress.get("downtime", 0) / 1000}
