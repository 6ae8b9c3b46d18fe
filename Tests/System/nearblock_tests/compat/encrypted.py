"""Moves over TLS between nodes of different builds; `near` is the source's build, and `far` the destination's."""
import os

from nearblock_tests.compat.builds import Build
from nearblock_tests.compat.scene import Failure, Scene, expect, has_moved, wait_until, wait_until_complete


class Authority:
    """A certificate authority in a folder."""

    def __init__(self, folder: str, key: str = "ec") -> None:
        self.folder = folder
        self.new_key = ["-nodes", "-newkey", *(("ec", "-pkeyopt", "ec_paramgen_curve:P-256") if key == "ec" else ("rsa:2048",))]
        os.makedirs(folder)
        expect(["openssl", "req", "-x509", *self.new_key, "-days", "2", "-subj", "/CN=compat", "-keyout",
                f"{folder}/key.pem", "-out", f"{folder}/cert.pem"])

    def directory(self, name: str, trusted: "Authority | None" = None) -> str:
        """Makes a directory for --peer-tls; its owner trusts peers of `trusted`."""
        path = f"{self.folder}/{name}"
        os.makedirs(path)
        expect(["cp", f"{(trusted or self).folder}/cert.pem", f"{path}/ca-cert.pem"])
        with open(f"{path}/names", "w") as file:
            file.write("subjectAltName=DNS:localhost,IP:127.0.0.1\n")
        for kind in ("server", "client"):
            expect(["openssl", "req", *self.new_key, "-subj", f"/CN={name}", "-keyout", f"{path}/{kind}-key.pem",
                    "-out", f"{path}/request"])
            expect(["openssl", "x509", "-req", "-in", f"{path}/request", "-CA", f"{self.folder}/cert.pem", "-CAkey",
                    f"{self.folder}/key.pem", "-CAcreateserial", "-days", "2", "-extfile", f"{path}/names", "-out",
                    f"{path}/{kind}-cert.pem"])
        return path

    def revoke(self, path: str, *certificates: str) -> None:
        """Puts a list of revoked certificates into a directory."""
        settings = f"{path}/ca.conf"
        with open(settings, "w") as file:
            file.write(f"[ca]\ndefault_ca = d\n[d]\ndatabase = {path}/database\ndefault_md = sha256\ndefault_crl_days = 2\n")
        open(f"{path}/database", "w").close()
        base = ["openssl", "ca", "-config", settings, "-keyfile", f"{self.folder}/key.pem", "-cert", f"{self.folder}/cert.pem"]
        for certificate in certificates:
            expect([*base, "-revoke", certificate])
        expect([*base, "-gencrl", "-out", f"{path}/ca-crl.pem"])


def tls(scene: Scene, near: Build, far: Build) -> str:
    """Both flows of post-copy and what is forwarded are encrypted; a node of another authority is refused before."""
    disk = scene.disk("disk", 24)
    authority, stranger = Authority(f"{scene.folder}/ca"), Authority(f"{scene.folder}/stranger", "rsa")
    source = scene.site("source", near, "--peer-tls", authority.directory("source"), disks=[disk])
    destination = scene.site("destination", far, "--peer-tls", authority.directory("destination"))
    distrusting = scene.site("distrusting", far, "--peer-tls", authority.directory("distrusting", trusted=stranger))
    distrusted = scene.site("distrusted", far, "--peer-tls", stranger.directory("distrusted"))
    plain = scene.site("plain", far)
    client = scene.client(disk, source)
    for site in (distrusting, distrusted, plain):
        expect([near.program, "migrate", "disk", "--to", site.address, "--control", f"{source.folder}/control"], 1)
        if source.state("disk") != "serving" or site.status():
            raise Failure(f"after a refused move: {source.status()} {site.status()}")
        site.end()
    source.start_move([disk], destination.address, "--switch", "now", "--rate", "80M")
    wait_until("the switchover", lambda: has_moved(source.state("disk")))
    client.work()
    wait_until_complete([disk], source, destination)
    report = destination.move([disk], source.address)[0]
    client.work()
    scene.finish([disk], source)
    return f"{report['wire']['total'] >> 10} KiB on the way back"


def rsa(scene: Scene, near: Build, far: Build) -> str:
    """RSA keys, and a list of revoked certificates at the new build, which honours one for peers."""
    disk = scene.disk("disk", 16)
    authority = Authority(f"{scene.folder}/ca", "rsa")
    folders = {build.name: authority.directory(build.name) for build in (near, far)}
    authority.revoke(folders["new"])
    source = scene.site("source", near, "--peer-tls", folders[near.name], disks=[disk])
    destination = scene.site("destination", far, "--peer-tls", folders[far.name])
    client = scene.client(disk, source)
    source.move([disk], destination.address)
    client.work()
    scene.finish([disk], destination)
    return ""
