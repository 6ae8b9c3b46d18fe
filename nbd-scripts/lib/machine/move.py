"""A guest moves, memory and disks, from one site to another: the order of things, and what is undone where it fails.

What is right after a failure depends on where the disks are, and only the node knows that: `nearblock cancel` either
leaves them here for good, or says that it is too late.

1. They are here: the guest goes on here. Where QEMU has moved the memory already, the QEMU there ends first; it has
   written nothing, because its first write would have taken the disks along.
2. They are there and the memory is not (`manual`, between the switchover and QEMU's end): the guest goes on here, the node
   passes its requests on. The same command moves the rest later.
3. Both are there: there is nothing to go back to.
4. The guest runs there and its memory follows (post-copy): it can't go on here, and both QEMUs are needed until the end.
"""
import os
import signal
import sys
import time

from machine.site import SiteError
from machine.qmp import QmpError
from machine.trim import TrimFailed

# How long the first write there is waited for before the disks are switched over without it.
FIRST_WRITE = 1.0
# A guest that trims for longer, in seconds, is not waited for.
TRIM_LIMIT = 600.0
INTERVAL = 0.2
# The name by which the script was called: packages install it as nearblock-migrate-vm.
PROGRAM = os.path.basename(sys.argv[0])
# While the guest stands still.
SHORT_INTERVAL = 0.02


class Interrupted(Exception):
    def __init__(self, number):
        super().__init__(f"interrupted by {signal.Signals(number).name}")


class MoveFailed(Exception):
    """Says what stands now."""


FAILURES = (Interrupted, QmpError, SiteError)


class Signals:
    """Notes them; they count where somebody waits, and never in the middle of an exchange."""

    def __init__(self):
        self.number = None
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, self.note)

    def note(self, number, _):
        self.number = number

    def sleep(self, seconds):
        if self.number is not None:
            raise Interrupted(self.number)
        time.sleep(seconds)


def advice(has_arrived, there):
    """For a guest that was switched to post-copy and that this script leaves."""
    if has_arrived:
        return (f"the guest runs at {there} with all of its memory, and its disks follow with its first write: see nearblock "
                "status there")
    return (f"the guest runs at {there} and some of its memory is only here: keep both QEMUs and both nodes until QEMU here says "
            "completed, as losing one loses the guest. Do not resume it here. docs/manual.md says how to bring the memory on after "
            "a cut")


class Move:
    def __init__(self, options, disks, memory, relay=None, trimmer=None):
        self.options, self.disks, self.memory, self.relay, self.trimmer = options, disks, memory, relay, trimmer
        # Bytes that have reached the node; None where nobody has asked for them.
        self.trimmed = None
        self.are_there = self.has_begun = self.is_cut_off = False
        self.signals = Signals()

    def say(self, words):
        print(f"{PROGRAM}: {words}", file=sys.stderr, flush=True)

    def run(self):
        """Returns what it took. Raises MoveFailed, or one of FAILURES where nothing had begun."""
        self.began = time.monotonic()
        self.check()
        if self.trimmer and not self.are_there:
            self.trim()
        try:
            self.copy()
        except FAILURES as failure:
            self.undo(failure)
        return self.finish()

    def check(self):
        self.memory.check(self.disks.names)
        self.are_there = self.disks.check()
        if self.trimmer:
            self.trimmer.check()
        if self.relay:
            self.relay.check()
        if self.are_there:
            self.switch = None
            self.say("the disks are there already: only the memory is moved")
        elif self.options.switch:
            self.switch = self.options.switch
        else:
            # No first write tells of a guest that comes back to a node that still forwards its disk.
            self.switch = self.memory.switch_back if self.disks.come_back() else "first-write"

    def trim(self):
        """Has the guest trim, and waits as long as trims arrive. Without it the disks take longer, and nothing else."""
        self.say("the guest trims its file systems")
        self.trim_end = time.monotonic() + TRIM_LIMIT
        try:
            before = self.disks.trimmed()
            self.trimmer.begin()
            self.wait(self.has_trimmed)
            self.trimmed = max(self.disks.trimmed() - before, 0)
            if not self.trimmed:
                self.say(self.trimmer.outcome())
        except (TrimFailed, SiteError) as failure:
            self.say(f"{failure}; the disks are copied without a complete trim")
        finally:
            self.trimmer.end()

    def has_trimmed(self):
        if time.monotonic() > self.trim_end:
            raise TrimFailed(f"the guest has not ended its trim within {TRIM_LIMIT:g} s")
        self.note(self.disks.trimmed())
        return self.trimmer.is_done()

    # Before the switchover.

    def copy(self):
        if not self.are_there:
            self.begin_disks()
        elif self.relay:
            self.relay.begin(self.disks.names)
        self.memory.prepare()
        if self.switch == "converged":
            self.say("moving the disks; their requests are passed on")
            self.wait(self.have_moved)
            self.are_there = True
        elif not self.are_there and not self.options.at_once:
            self.say("copying the disks")
            self.wait(self.have_caught_up)
        self.say("copying the memory")
        self.memory.start(pauses=self.switch == "manual")
        self.wait(self.has_memory_moved, SHORT_INTERVAL)
        self.wait(self.memory.runs_there, SHORT_INTERVAL)
        if self.switch == "first-write":
            self.wait_for_first_write()

    def begin_disks(self):
        self.has_begun = True
        options = [] if self.options.rate is None else ["--rate", self.options.rate]
        options += self.relay.options() if self.relay else []
        self.disks.begin(self.switch, options)
        self.wait(lambda: self.disks.look() is not None and self.disks.have_been_announced())

    def have_moved(self):
        mine = self.disks.look()
        self.note(mine)
        return mine is not None and self.disks.are_handed_over()

    def have_caught_up(self):
        self.memory.check_target()
        mine = self.disks.look()
        self.note(mine)
        return mine is not None and self.disks.have_caught_up(mine)

    def has_memory_moved(self):
        progress = self.memory.look()
        self.note(progress)
        is_cut_off = progress["status"] == "postcopy-paused"
        if is_cut_off != self.is_cut_off:
            self.is_cut_off = is_cut_off
            self.say("the memory was cut off; the guest waits for it" if is_cut_off else "the memory goes on")
        if progress["status"] == "pre-switchover":
            if self.switch == "manual":
                self.switch_over()
            self.memory.go_on()
            if self.memory.is_past_return:
                self.say("the guest switches over, and the rest of its memory follows")
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
            self.memory.check_target()
            self.note(self.disks.last)
            self.check_patience(self.options.patience)
            self.signals.sleep(INTERVAL)
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
            self.signals.sleep(interval)

    def note(self, something):
        if something != self.noted:
            self.changed, self.noted = time.monotonic(), something

    def check_patience(self, patience):
        if time.monotonic() - self.changed > patience:
            raise SiteError(f"nothing has moved for {patience:g} s")

    # After a failure before the end. Signals are noted and change nothing.

    def undo(self, failure):
        if self.memory.may_run_there() and self.stop_memory(failure):
            return
        try:
            are_here = not self.are_there and self.cancel_disks()
        except FAILURES as error:
            raise MoveFailed(f"{failure}; and whether the disks are still here can't be told: {error}") from failure
        try:
            is_memory_here = self.memory.cancel()
            if self.relay:
                self.relay.end()
        except (QmpError, SiteError) as error:
            raise MoveFailed(f"{failure}; and the guest here does not answer: {error}") from failure
        if is_memory_here or are_here:
            self.stay(failure, are_here, is_memory_here)
        # Both are there, or were.
        self.go_on_there(failure)

    def stop_memory(self, failure):
        """Ahead of the disks: a guest that may run there can't be brought back. Returns whether all is there."""
        has_arrived = False
        try:
            if self.memory.cancel():
                return False
            has_arrived = self.memory.has_arrived()
            if has_arrived and self.disks.are_handed_over():
                self.go_on_there(failure)
                return True
        except (QmpError, SiteError) as error:
            failure = f"{failure}; and what moves the guest here does not answer: {error}"
        raise MoveFailed(f"{failure}; {advice(has_arrived, self.disks.there.name)}") from None

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
        has_ended = self.memory.end_target()
        if has_ended and self.relay:
            self.relay.clean()
        if not has_ended and not is_memory_here:
            raise MoveFailed(f"{failure}; the disks are here, but {self.disks.there.name} has the guest and can't be "
                             "reached: end its QEMU there, then resume the guest here") from failure
        if are_here and self.has_begun:
            self.disks.withdraw()
        try:
            self.memory.resume()
        except (QmpError, SiteError) as error:
            raise MoveFailed(f"{failure}; and the guest here can't be resumed: {error}") from failure
        where = "" if are_here else f" with its disks at {self.disks.to}; the same command moves the rest"
        left = "" if has_ended else f"; the QEMU at {self.disks.there.name} may be left: end it"
        raise MoveFailed(f"{failure}; the guest goes on here{where}{left}") from failure

    def go_on_there(self, failure):
        self.are_there = True
        try:
            runs = self.memory.runs_there()
        except (QmpError, SiteError):
            runs = False
        if not runs:
            raise MoveFailed(f"{failure}; memory and disks are at {self.disks.there.name}, but its QEMU does not run the "
                             "guest: look at it there, and do not resume the one here") from failure
        self.memory.end_source()
        if isinstance(failure, Interrupted):
            raise MoveFailed(f"{failure}; the guest runs at {self.disks.there.name} already, and its disks follow by "
                             "themselves: see nearblock status there") from failure
        self.say(f"{failure}; the guest runs there nevertheless")

    # After it.

    def finish(self):
        """The source's memory is of the past: its QEMU ends, and the rest of the disks arrives."""
        memory = self.memory.bill()
        self.say("the guest runs there")
        try:
            self.memory.end_source()
            while self.has_begun and not self.disks.are_complete():
                self.signals.sleep(INTERVAL)
            wire, pause = self.disks.bill() if self.has_begun else (0, 0)
        except FAILURES as failure:
            raise MoveFailed(f"{failure}; the guest runs at {self.disks.there.name} and its disks follow by themselves: "
                             "see nearblock status there") from failure
        if self.relay:
            memory["relay"] = self.relay.bill(self.disks.reports)
        return {"seconds": time.monotonic() - self.began, "switch": self.switch or "none", "trimmed": self.trimmed,
                "memory": memory, "disks": {"wire": wire, "pause": pause}}
