"""The servers that are compared: how each is started, and what CPU it has taken."""
import os
import signal
import socket
import subprocess
import time

from nearblock_tests.nodes import free_port

TICK = os.sysconf("SC_CLK_TCK")

# The C loops, by their options. The second answers in chunks whoever asks for them, as all other servers do.
FLOORS: dict[str, list[str]] = {"floor": [], "floor, chunks": ["--structured"]}

# A second program of nearblock, for example one of before a change.
OTHER = "other nearblock"


class Server:
    """One server of one image, from `with` to its end."""

    def __init__(self, kind, settings, image, transport="unix", direct=False, tls=None, keeps=None):
        """`keeps` is an index that a nearblock keeps current."""
        self.kind, self.settings, self.image = kind, settings, image
        self.transport, self.direct, self.tls, self.keeps = transport, direct, tls, keeps
        self.folder = settings.folder
        self.socket = f"{self.folder}/nbd.sock"
        self.port = free_port()
        self.is_nearblock = kind in ("nearblock", OTHER)
        self.export = "disk" if self.is_nearblock or kind == "nbd-server" else ""

    @staticmethod
    def can(kind, direct=False, tls=None):
        """What not every server does."""
        if kind in FLOORS:
            return not direct and not tls
        return not (direct and kind not in ("nearblock", OTHER, "qemu-nbd")) and not (tls and kind == "nbd-server")

    def command(self):
        tcp = self.transport == "tcp"
        if self.is_nearblock:
            where = ["--listen", f"127.0.0.1:{self.port}"] if tcp else ["--socket", self.socket]
            program = self.settings.against if self.kind == OTHER else self.settings.nearblock
            return [program, "serve", self.image, "--export", "disk", *where, "--state",
                    f"{self.folder}/state", "--control", f"{self.folder}/control.sock",
                    *(["--direct"] if self.direct else []), *(["--tls", self.tls] if self.tls else []),
                    *(["--index", self.keeps, "--keep-index", "3600s"] if self.keeps else [])]
        if self.kind == "nbdkit":
            where = ["-p", str(self.port), "-i", "127.0.0.1"] if tcp else ["-U", self.socket]
            tls = ["--tls=require", f"--tls-certificates={self.tls}"] if self.tls else []
            return ["nbdkit", "-f", *where, *tls, "file", self.image]
        if self.kind == "qemu-nbd":
            where = ["-b", "127.0.0.1", "-p", str(self.port)] if tcp else ["-k", self.socket]
            tls = ["--object", f"tls-creds-x509,id=tls,endpoint=server,dir={self.tls},verify-peer=no", "--tls-creds",
                   "tls"] if self.tls else []
            cache = "none" if self.direct else "writeback"
            return ["qemu-nbd", "-f", "raw", "-t", "-e", "0", f"--cache={cache}", "--aio=io_uring", "--discard=unmap",
                    *where, *tls, self.image]
        if self.kind in FLOORS:
            return [self.settings.floor, *FLOORS[self.kind], self.address(), self.image]
        address = f"port = {self.port}\nlistenaddr = 127.0.0.1\n" if tcp else f"unixsock = {self.socket}\n"
        with open(f"{self.folder}/config", "w") as config:
            config.write(f"[generic]\n{address}[disk]\nexportname = {self.image}\n")
        return ["nbd-server", "-C", f"{self.folder}/config", "-p", f"{self.folder}/pid"]

    def __enter__(self):
        for name in ("nbd.sock", "control.sock", "pid"):
            if os.path.lexists(f"{self.folder}/{name}"):
                os.unlink(f"{self.folder}/{name}")
        log = open(f"{self.folder}/log", "w")
        self.process = subprocess.Popen(self.command(), stdout=log, stderr=log, stdin=subprocess.DEVNULL)
        for _ in range(500):
            if self.answers():
                break
            time.sleep(0.02)
        else:
            raise SystemExit(f"{self.kind} did not start: {open(f'{self.folder}/log').read().strip()}")
        self.pid = self.process.pid
        if self.kind == "nbd-server":
            self.pid = int(open(f"{self.folder}/pid").read())
        time.sleep(0.1)
        return self

    def answers(self):
        is_tcp = self.transport == "tcp"
        with socket.socket(socket.AF_INET if is_tcp else socket.AF_UNIX) as probe:
            return probe.connect_ex(("127.0.0.1", self.port) if is_tcp else self.socket) == 0

    def __exit__(self, *_):
        os.kill(self.pid, signal.SIGTERM)
        if self.kind != "nbd-server":
            self.process.wait()
            return
        while os.path.exists(f"/proc/{self.pid}"):
            time.sleep(0.02)

    def cpu(self):
        """Seconds of CPU, with those of children that have ended."""
        fields = open(f"/proc/{self.pid}/stat").read().rsplit(")", 1)[1].split()
        return sum(int(field) for field in fields[11:15]) / TICK

    def wait_until_idle(self):
        """Returns once it takes no CPU any more."""
        before = -1
        while self.cpu() != before:
            before = self.cpu()
            time.sleep(0.5)

    def resident(self):
        """Bytes of memory."""
        return int(open(f"/proc/{self.pid}/statm").read().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    def uri(self):
        if self.transport == "tcp":
            scheme, tail = ("nbds", f"?tls-certificates={self.tls}") if self.tls else ("nbd", "")
            return f"{scheme}://localhost:{self.port}/{self.export}{tail}"
        return f"nbd+unix:///{self.export}?socket={self.socket}"

    def address(self):
        """As `load` wants it."""
        return f"127.0.0.1:{self.port}" if self.transport == "tcp" else self.socket
