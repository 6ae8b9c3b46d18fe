"""What joins a guest to its users, wherever it runs: a namespace of theirs with an Ethernet to both sites."""
import os
import subprocess
import sys
import threading
import time

from nearblock_tests.wan.wan import Wan, run

HERE = os.path.dirname(os.path.abspath(__file__))
GUEST, USERS = "10.98.0.2", "10.98.0.1"
# What QEMU needs to have the guest on it.
DEVICE = ["-netdev", "tap,id=lan,ifname=guest,script=no,downscript=no", "-device", "virtio-net-pci,netdev=lan,romfile="]


class Lan:
    """`sites` are the names of their network namespaces. QEMU announces a guest that has come."""

    def __init__(self, sites):
        self.sites, self.users = sites, f"nearblock-users-{os.getpid()}"

    def make(self):
        """What it has made goes with the sites, but for the namespace of the users."""
        run("ip", "netns", "add", self.users)
        self.bridge(self.users)
        run("ip", "-n", self.users, "address", "add", f"{USERS}/24", "dev", "lan")
        for number, site in enumerate(self.sites):
            self.bridge(site)
            run("ip", "link", "add", "users", "netns", site, "type", "veth", "peer", "name", f"site{number}", "netns",
                self.users)
            run("ip", "-n", site, "tuntap", "add", "guest", "mode", "tap")
            for namespace, device in ((site, "users"), (self.users, f"site{number}"), (site, "guest")):
                run("ip", "-n", namespace, "link", "set", device, "master", "lan", "up")
        return self

    @staticmethod
    def bridge(namespace):
        run("ip", "-n", namespace, "link", "add", "lan", "type", "bridge", "forward_delay", "0")
        run("ip", "-n", namespace, "link", "set", "lan", "up")

    def remove(self):
        subprocess.run(["ip", "netns", "delete", self.users], stderr=subprocess.DEVNULL)


class Poll:
    """A client that asks the guest for something over and over, answered or not; notes in `beats` when answers come."""

    def __init__(self, lan, word, beats, *command):
        self.word, self.beats = word, beats
        self.process = subprocess.Popen(Wan.command(lan.users, *command), stdout=subprocess.PIPE,
                                        stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL, text=True)
        self.thread = threading.Thread(target=self.listen, daemon=True)
        self.thread.start()

    @classmethod
    def by_ping(cls, lan, beats):
        return cls(lan, "p", beats, "ping", "-n", "-i", "0.01", GUEST)

    @classmethod
    def by_http(cls, lan, beats):
        return cls(lan, "h", beats, sys.executable, "-u", f"{HERE}/poll_http.py", GUEST)

    def listen(self):
        for line in self.process.stdout:
            if "bytes from" in line:
                self.beats.append((time.monotonic(), self.word))

    def end(self):
        self.process.kill()
        self.process.wait()
        self.thread.join()
