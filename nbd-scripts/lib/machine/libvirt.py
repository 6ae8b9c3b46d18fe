"""The memory of a domain of libvirt that moves, by virsh."""
import re
import shlex
import subprocess
import tempfile
import time
import xml.etree.ElementTree as xml

from machine.memory import check_disks
from machine.site import SiteError

# What virsh says of amounts.
UNITS = {"B": 1, "bytes": 1, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30, "TiB": 2**40}


def exports_of(description):
    """The exports that a domain's disks are, with their sockets, of those on Unix sockets."""
    for source in xml.fromstring(description).iterfind("./devices/disk[@type='network']/source[@protocol='nbd']"):
        host = source.find("host[@transport='unix']")
        if host is not None:
            yield source.get("name", ""), host.get("socket")


class LibvirtMemory:
    """Of `domain`, from the libvirt at `here` to that at `there`, which are URIs; `address` is a migration URI or None.

    As `Memory`, which says what the parts mean. libvirt starts and ends the QEMUs, and resumes the one here where it fails.
    """

    # libvirt stops for nobody before the switchover: disks that come back go ahead of the memory.
    switch_back = "converged"

    def __init__(self, site, domain, here, there, address, rate, downtime, relay=None, postcopy=False):
        self.relay, self.postcopy = relay, postcopy
        # The guest may run there while its memory is needed here.
        self.is_past_return = False
        self.site, self.domain, self.here, self.there, self.address = site, domain, here, there, address
        self.rate, self.downtime = rate, downtime
        self.process = None

    def virsh(self, uri, *arguments):
        # Its first line says what is wrong.
        try:
            return self.site.run(shlex.join(["virsh", "--connect", uri, *arguments])).strip()
        except SiteError as error:
            raise SiteError(f"virsh {arguments[0]}: {str(error).removeprefix('error: ')}") from error

    def state(self, uri):
        return self.virsh(uri, "domstate", self.domain)

    def check(self, disks):
        state = self.state(self.here)
        if state != "running":
            raise SiteError(f"the domain '{self.domain}' does not run: it is {state}")
        check_disks(disks, dict(exports_of(self.virsh(self.here, "dumpxml", self.domain))))
        # Refused now where that libvirt does not answer.
        if self.domain in self.virsh(self.there, "list", "--name").split("\n"):
            raise SiteError(f"a domain '{self.domain}' runs at {self.there} already")
        self.is_persistent = "yes" in re.search(r"Persistent:\s*(\w+)", self.virsh(self.here, "dominfo", self.domain))[1]

    def prepare(self):
        """libvirt starts QEMU there by itself."""

    def check_target(self):
        """libvirt says so where the QEMU there has gone."""

    def start(self, pauses):
        command = ["virsh", "--connect", self.here, "migrate", "--live", self.domain, self.there]
        if self.is_persistent:
            command += ["--persistent", "--undefinesource"]
        # libvirt has QEMU there wait on the path that it connects to here.
        address = f"unix://{self.relay.socket}" if self.relay else self.address
        if address:
            command += ["--migrateuri", address]
        rate = str(max((self.rate or 0) // 8 // 2**20, 1))
        if self.rate:
            command += ["--bandwidth", rate]
        if self.postcopy:
            command += ["--postcopy", "--postcopy-after-precopy", *(["--postcopy-bandwidth", rate] if self.rate else [])]
        self.errors = tempfile.TemporaryFile("w+")
        self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=self.errors,
                                        start_new_session=True)
        self.limit_downtime()

    def limit_downtime(self):
        """Can be set only while it runs."""
        while self.downtime is not None and self.process.poll() is None:
            try:
                return self.virsh(self.here, "migrate-setmaxdowntime", self.domain, str(self.downtime))
            except SiteError:
                time.sleep(0.1)

    def look(self):
        self.look_for_switch()
        if self.process.poll() is None:
            return {"status": "active", "transferred": self.transferred()}
        if self.process.returncode != 0:
            raise SiteError(f"moving the memory failed: {self.complaint()}")
        return {"status": "completed"}

    def look_for_switch(self):
        """libvirt calls the guest here paused for post-copy from the switch on, also where that has failed."""
        if self.postcopy and not self.is_past_return:
            try:
                self.is_past_return = "post-copy" in self.virsh(self.here, "domstate", self.domain, "--reason")
            except SiteError:
                # It has moved.
                pass

    def may_run_there(self):
        """Whether the guest may run there while its memory is needed here."""
        self.look_for_switch()
        return self.is_past_return

    def has_arrived(self):
        return self.process is not None and self.process.poll() == 0

    def transferred(self):
        time.sleep(0.3)
        try:
            return amount(self.virsh(self.here, "domjobinfo", self.domain), "Memory processed")
        except SiteError:
            return None

    def complaint(self):
        self.errors.seek(0)
        lines = self.errors.read().strip().splitlines()
        return lines[-1].removeprefix("error: ") if lines else f"virsh ends with {self.process.returncode}"

    def go_on(self):
        """libvirt does."""

    def runs_there(self):
        return self.state(self.there) == "running"

    def cancel(self, limit=60):
        if self.process is None:
            return True
        end = time.monotonic() + limit
        while self.process.poll() is None and time.monotonic() < end:
            self.look_for_switch()
            if self.is_past_return:
                return False
            try:
                self.virsh(self.here, "domjobabort", self.domain)
            except SiteError:
                pass
            time.sleep(0.2)
        self.look_for_switch()
        return self.process.poll() != 0 and not self.is_past_return

    def resume(self):
        if self.state(self.here) == "paused":
            self.virsh(self.here, "resume", self.domain)

    def end_source(self):
        """libvirt has done that."""

    def end_target(self):
        """Only libvirt's own failure leaves one: it has ended it as well."""
        return self.process is None or self.process.poll() != 0

    def bill(self):
        try:
            said = self.virsh(self.there, "domjobinfo", self.domain, "--completed")
        except SiteError:
            said = ""
        return {"bytes": amount(said, "Memory processed"), "seconds": milliseconds(said, "Time elapsed"),
                "downtime": milliseconds(said, "Total downtime")}


def amount(said, name):
    match = re.search(rf"^{name}:\s+([\d.]+) (\w+)$", said, re.MULTILINE)
    return match and int(float(match[1]) * UNITS[match[2]])


def milliseconds(said, name):
    match = re.search(rf"^{name}:\s+(\d+)\s+ms$", said, re.MULTILINE)
    return match and int(match[1]) / 1000
