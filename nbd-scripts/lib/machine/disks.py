"""The disks of a guest that moves, as nearblock tells of them."""
import json
import subprocess
import tempfile
import time

from machine.site import SiteError

# After so many rounds that leave no less to send, the guest writes as fast as the link carries.
IDLE_ROUNDS = 2
# A migration is over where the export is served here as before for so long, in seconds: a node that was started again
# takes a moment to take it up.
SETTLED = 3


def has_moved(export):
    return export["state"].startswith("moved") or export["state"] == "released"


class Disks:
    """Exports that move together from the node `here` to the one `there`, whose peer address is `to`."""

    def __init__(self, names, here, there, to):
        self.names, self.here, self.there, self.to = names, here, there, to
        self.command = None
        self.reports, self.last = [], {}
        self.rounds: dict[str, list[tuple[int, int]]] = {name: [] for name in names}
        self.caught_up = set()
        self.served_since = None

    def check(self):
        """Raises SiteError unless both nodes answer and the disks can go; returns whether they have gone already."""
        mine = self.here.status()
        for name in self.names:
            if name not in mine:
                raise SiteError(f"the node here has no export '{name}'; it has: {', '.join(mine) or 'none'}")
        gone = [has_moved(mine[name]) and mine[name].get("destination") == self.to for name in self.names]
        for name, has_gone in zip(self.names, gone):
            if not has_gone and mine[name]["state"] != "serving":
                raise SiteError(f"'{name}' can't be moved from here: it is {mine[name]['state']}")
        if any(gone) and not all(gone):
            raise SiteError(f"some of the disks are at {self.to} already, others are not")
        self.theirs = self.there.status()
        return all(gone)

    def come_back(self):
        """Whether the node there still forwards clients of a disk that has come from there."""
        return any(name in self.theirs and has_moved(self.theirs[name]) for name in self.names)

    def trimmed(self):
        """Bytes that clients have trimmed at the node here since it started."""
        status = self.here.status()
        return sum(status.get(name, {}).get("trimmed", 0) for name in self.names)

    def begin(self, switch, options):
        """The command waits for the end and then says what it took; where the node is killed it says so, and the disks go
        on by themselves."""
        self.output, self.errors = tempfile.TemporaryFile("w+"), tempfile.TemporaryFile("w+")
        arguments = ["migrate", *self.names, "--to", self.to, "--switch", switch, *options, "--json"]
        self.command = subprocess.Popen(
            self.here.command(*arguments), stdin=subprocess.DEVNULL, stdout=self.output, stderr=self.errors,
            start_new_session=True)

    def look(self):
        """The exports at the source; None where its node does not answer. Raises SiteError where the migration is over
        and the disks are still here."""
        status = self.here.status_if_any()
        if status is None or any(name not in status for name in self.names):
            self.served_since = None
            return None
        mine = {name: status[name] for name in self.names}
        for name, export in mine.items():
            if export.get("progress"):
                self.last[name] = export["progress"]
        self.check_runs(mine)
        return mine

    def check_runs(self, mine):
        if self.command.poll() is None or any(export["state"] != "serving" for export in mine.values()):
            self.served_since = None
            return
        self.served_since = self.served_since or time.monotonic()
        if time.monotonic() - self.served_since > SETTLED:
            raise SiteError(self.complaint())

    def complaint(self):
        self.errors.seek(0)
        lines = self.errors.read().strip().splitlines()
        return lines[-1].removeprefix("nearblock: ") if lines else "the migration of the disks has ended"

    def have_been_announced(self):
        """Whether the node there answers for all of them."""
        status = self.there.status_if_any() or {}
        return all(name in status for name in self.names)

    def have_caught_up(self, mine):
        """Whether memory may follow: each disk has waited for the switchover once, or comes no nearer to that."""
        for name, export in mine.items():
            progress = export.get("progress") or {}
            if export["state"] == "waiting" or has_moved(export) or self.is_stuck(name, progress):
                self.caught_up.add(name)
        return len(self.caught_up) == len(self.names)

    def is_stuck(self, name, progress):
        """Whether rounds leave no less to send than those before."""
        rounds, number = self.rounds[name], progress.get("round", 0)
        if number < 2:
            return False
        if not rounds or rounds[-1][0] != number:
            rounds.append((number, progress["total"]))
        sizes = [size for _, size in rounds]
        return len(sizes) > IDLE_ROUNDS and min(sizes[-IDLE_ROUNDS:]) >= 0.8 * sizes[-IDLE_ROUNDS - 1]

    def are_handed_over(self):
        mine = self.look()
        return mine is not None and all(map(has_moved, mine.values()))

    def switch(self):
        self.here.ask("switch", self.names[0])

    def cancel(self):
        """Returns whether the disks are here; raises SiteError where that can't be told."""
        try:
            self.here.ask("cancel", self.names[0])
            return True
        except SiteError as error:
            complaint = error
        mine = self.here.status_if_any()
        if mine is None or any(name not in mine for name in self.names):
            raise complaint
        return not any(has_moved(mine[name]) for name in self.names)

    def withdraw(self):
        """The node there answers for them no more; what has come stays for another attempt."""
        for name in self.names:
            if name not in self.theirs:
                try:
                    self.there.ask("cancel", name)
                except SiteError:
                    pass

    def are_complete(self):
        """Whether nothing of the source is needed any more; the source itself may be gone."""
        mine = self.here.status_if_any()
        for export in (mine or {}).values():
            if export["export"] in self.names and export["state"] not in ("moved", "released"):
                return False
        theirs = self.there.status_if_any() or {}
        return all(theirs.get(name, {}).get("state") == "serving" and theirs[name].get("missing") is None
                   for name in self.names)

    def bill(self):
        """Bytes on the wire, and how long the guest's requests waited, in seconds; None where nobody has told."""
        if self.command is None:
            return 0, 0
        try:
            self.command.wait(timeout=10)
            self.output.seek(0)
            reports = [json.loads(line) for line in self.output.read().splitlines()]
        except (subprocess.TimeoutExpired, ValueError):
            reports = []
        self.reports = reports
        if len(reports) < len(self.names):
            return sum(progress["wire"] for progress in self.last.values()) or None, None
        return (sum(report["wire"]["total"] for report in reports),
                max(report["seconds"]["pause"] for report in reports))
