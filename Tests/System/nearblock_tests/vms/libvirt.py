"""A libvirt of its own at each site, and guests that are its domains."""
import shlex
import subprocess
import time
from xml.sax.saxutils import quoteattr

from nearblock_tests.vms.guest import Guest, GuestFailure
from nearblock_tests.vms.sites import Site

# Nothing of this machine's own libvirt is touched; what it needs of a host that is not there is left out.
BEGIN = """
set -e
hostname {name}
ip link set lo up
mount -t tmpfs tmpfs /run
mkdir -p /etc/libvirt /var/lib/libvirt /var/cache/libvirt /var/log/libvirt
for folder in /etc/libvirt /var/lib/libvirt /var/cache/libvirt /var/log/libvirt; do mount -t tmpfs tmpfs $folder; done
# The user that libvirt runs QEMU as comes with a package that would start a libvirt on this machine.
for file in passwd group; do
    cp /etc/$file /run/$file
    grep -q ^libvirt-qemu: /run/$file || case $file in
        passwd) echo libvirt-qemu:x:64055:64055::/:/usr/sbin/nologin >>/run/passwd ;;
        group) echo libvirt-qemu:x:64055: >>/run/group ;;
    esac
    mount --bind /run/$file /etc/$file
done
cat >/etc/libvirt/qemu.conf <<END
user = "root"
group = "root"
security_driver = "none"
cgroup_controllers = []
namespaces = []
dynamic_ownership = 0
remember_owner = 0
stdio_handler = "file"
END
cat >{folder}/libvirtd.conf <<END
host_uuid = "{uuid}"
unix_sock_dir = "{folder}/libvirt"
auth_unix_ro = "none"
auth_unix_rw = "none"
END
mkdir -p {folder}/libvirt
exec libvirtd --config {folder}/libvirtd.conf --pid-file {folder}/libvirtd.pid
"""


AGENT = '<channel type="unix"><target type="virtio" name="org.qemu.guest_agent.0"/></channel>'


class Libvirt:
    """At a site, which has its folder, its network and its mounts."""

    def __init__(self, site: Site) -> None:
        self.site = site
        script = BEGIN.format(name=site.name, folder=site.folder, uuid=open("/proc/sys/kernel/random/uuid").read().strip())
        self.log = open(f"{site.folder}/libvirtd.log", "wb")
        self.process = subprocess.Popen([*site.prefix, "unshare", "--uts", "bash", "-c", script], stdout=self.log,
                                        stderr=self.log, stdin=subprocess.DEVNULL)
        end = time.monotonic() + 30
        while subprocess.run(self.virsh("version"), capture_output=True).returncode != 0:
            if self.process.poll() is not None or time.monotonic() > end:
                raise GuestFailure(f"libvirtd at {site.name} does not start")
            time.sleep(0.2)

    @property
    def uri(self) -> str:
        return f"qemu+unix:///system?socket={self.site.folder}/libvirt/libvirt-sock"

    def virsh(self, *arguments: str) -> list[str]:
        return [*self.site.prefix, "virsh", "--quiet", "--connect", self.uri, *arguments]

    def close(self, domain: str) -> None:
        subprocess.run(self.virsh("destroy", domain), capture_output=True)
        self.process.kill()
        self.process.wait()


def libvirt_of(site: Site) -> Libvirt:
    assert site.libvirt, f"no libvirt runs at {site.name}"
    return site.libvirt


class LibvirtGuest(Guest):
    NAME = "guest"

    def start(self, site: Site) -> None:
        description = f"{site.folder}/guest.xml"
        with open(description, "w") as file:
            file.write(self.description(site))
        subprocess.run(libvirt_of(site).virsh("create", description), check=True, stdout=subprocess.DEVNULL)

    def description(self, site: Site) -> str:
        disks = "".join(self.disk(site, name, f"vd{'abc'[number]}") for number, name in enumerate(self.disks))
        serials = "".join(self.serial(site, name, port) for port, name in enumerate(("console", "pulse")))
        return f"""<domain type="qemu">
            <name>{self.NAME}</name><memory unit="MiB">{self.memory}</memory><vcpu>1</vcpu>
            <cputune><vcpusched vcpus="0" scheduler="fifo" priority="1"/></cputune>
            <os><type arch="x86_64" machine="pc-q35-7.2">hvm</type><kernel>{self.kernel}/vmlinuz</kernel>
            <initrd>{self.kernel}/initrd</initrd>
            <cmdline>console=ttyS0 quiet panic=-1 {self.arguments}</cmdline></os>
            <features><acpi/></features><cpu mode="custom" match="exact"><model>qemu64</model></cpu>
            <devices>{disks}{serials}{AGENT}<controller type="usb" model="none"/><memballoon model="none"/></devices></domain>"""

    @staticmethod
    def disk(site: Site, name: str, target: str) -> str:
        return f"""<disk type="network" device="disk"><driver name="qemu" type="raw" cache="none" discard="unmap"/>
            <source protocol="nbd" name={quoteattr(name)}><host transport="unix" socket="{site.path}/nbd"/>
            <reconnect delay="60"/></source><target dev="{target}" bus="virtio"/></disk>"""

    @staticmethod
    def serial(site: Site, name: str, port: int) -> str:
        return f"""<serial type="unix"><source mode="bind" path="{site.path}/{name}"/>
            <log file="{site.path}/{name}.log" append="on"/><target port="{port}"/></serial>"""

    def wait_until_off(self, site: Site, limit: float) -> None:
        end = time.monotonic() + limit
        while subprocess.run(libvirt_of(site).virsh("domstate", self.NAME), capture_output=True).returncode == 0:
            if time.monotonic() > end:
                raise GuestFailure(f"the guest has not powered off within {limit} s")
            time.sleep(0.2)


def move_command(program: str, source: Site, target: Site, nearblock: str) -> list[str]:
    """migrate-vm's, but for the disks."""
    return [*source.prefix, program, "--json", "--nearblock", nearblock, "--domain", LibvirtGuest.NAME,
            "--libvirt", libvirt_of(source).uri, "--libvirt-to", libvirt_of(target).uri,
            "--control", f"{source.folder}/control", "--control-there", f"{target.folder}/control", "--to", target.peer,
            "--there", shlex.join(target.prefix)]
