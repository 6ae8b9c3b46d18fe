"""Lines of the log: clients, priorities, levels, floods and secrets."""
import os
import re
import subprocess
import time

from nearblock_tests.monitoring.scene import DISKS, Scene, check, wait_until
from nearblock_tests.nodes import free_port

LINE = re.compile(rb"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z (trace|debug|info|notice|warning|error|critical) nearblock: .+$")


def of_migration(scene: Scene) -> str:
    """Every line has the form; clients and ledgers are there."""
    for name, node in scene.nodes.items():
        for line in node.log().splitlines():
            check(bool(LINE.match(line)) or line.startswith(b"nearblock: ready: "), f"the {name} logs: {line!r}")
    said = scene.source.log().decode()
    check(re.search(r"info nearblock: client connected client=unix:pid:\d+,uid:\d+ export=one tls=no\n", said) is not None,
          f"no line for a client: {said}")
    check("client gone: it has disconnected client=" in said, f"no line for a client that has gone: {said}")
    for name in DISKS:
        check(re.search(rf"notice nearblock: {name}: the migration is complete downtime=[\d.]+ export={name} .*"
                        rf"neighbour=\d+ .*zero=\d+", said) is not None, f"no ledger of {name}: {said}")
    check(re.search(r"three has arrived and is served here link=\d+ neighbour=\d+", scene.destination.log().decode()) is not None,
          "no ledger at the destination")
    return "client lines and ledgers"


def of_journal(scene: Scene) -> str:
    """Priorities under JOURNAL_STREAM, the least level, and a thousand clients that are refused."""
    folder = f"{scene.folder}/journal"
    os.makedirs(folder)
    port = free_port()
    with open(f"{folder}/disk.raw", "wb") as image:
        image.truncate(1 << 20)
    with open(f"{folder}/keys.psk", "w") as keys:
        keys.write("guest:00112233445566778899aabbccddeeff\n")
    with open(f"{folder}/log", "wb") as log:
        info = os.fstat(log.fileno())
        process = subprocess.Popen(
            [scene.binary, "serve", f"{folder}/disk.raw", "--export", "disk", "--listen", f"127.0.0.1:{port}", "--control",
             f"{folder}/control", "--state", f"{folder}/state", "--tls", folder], stderr=log,
            env={**os.environ, "JOURNAL_STREAM": f"{info.st_dev}:{info.st_ino}"})

    def said() -> str:
        with open(f"{folder}/log") as text:
            return text.read()

    wait_until("the node is ready", lambda: "ready: " in said())
    began = time.monotonic()
    knock = ("import socket, sys\n"
             "for _ in range(1000):\n"
             "    client = socket.create_connection(('127.0.0.1', int(sys.argv[1])))\n"
             "    client.recv(18)\n"
             "    client.sendall(bytes([0, 0, 0, 3]) + b'IHAVEOPT' + bytes([0, 0, 0, 7, 0, 0, 0, 10]) + bytes(3) + b'\\x04diskXX'[:5]"
             " + bytes(2))\n"
             "    client.recv(64)\n"
             "    client.close()\n")
    subprocess.run(["python3", "-c", knock, str(port)], check=True)
    took = time.monotonic() - began
    wait_until("a refusal is told", lambda: "client refused" in said())
    process.terminate()
    process.wait()
    lines = said().splitlines()
    # One at once, and one for each minute.
    refused = [line for line in lines if "client refused" in line]
    check(len(refused) <= 2 + took / 60, f"{len(refused)} lines for refused clients")
    check("<4>client refused: it did not use TLS, which is required" in refused[0] and "client=127.0.0.1:" in refused[0]
          and "reason=needs-tls" in refused[0], refused[0])
    check(all(re.match(r"<[2-7]>", line) for line in lines), f"lines without priority: {lines}")
    check("00112233" not in said(), "a key is in the log")
    return f"{len(lines)} lines for 1000 clients"
