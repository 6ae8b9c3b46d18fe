"""The load: fio's NBD engine, or the lighter `load`."""
import collections
import json
import subprocess
import time

Work = collections.namedtuple("Work", "name block depth connections reads sequential")
# Requests a second, microseconds of the server's CPU a request, microseconds that 99 % took at most; then the part of a core
# that each thread of the client took.
Result = collections.namedtuple("Result", "rate cpu p99 client")


def run_fio(server, work, seconds, size, core=None):
    way = {100: "read", 0: "write"}.get(work.reads, "rw")
    way = way if work.sequential else f"rand{way}"
    command = ["fio", "--name=job", "--ioengine=nbd", f"--uri={server.uri()}", f"--rw={way}", f"--bs={work.block}",
               f"--iodepth={work.depth}", f"--numjobs={work.connections}", "--group_reporting", "--time_based",
               f"--runtime={seconds}", f"--size={size}", "--output-format=json", "--norandommap", "--randrepeat=0",
               f"--aux-path={server.folder}"]
    if work.reads not in (0, 100):
        command.append(f"--rwmixread={work.reads}")
    if work.sequential and work.connections > 1:
        command.append(f"--offset_increment={size // work.connections}")
    if core is not None:
        command = ["taskset", "-c", str(core), *command]
    before = server.cpu()
    done = subprocess.run(command, capture_output=True, text=True, cwd=server.folder)
    if done.returncode != 0:
        raise SystemExit(f"fio on {server.kind}: {done.stderr.strip() or done.stdout.strip()}")
    job = json.loads(done.stdout[done.stdout.index("{"):])["jobs"][0]
    parts = [job[kind] for kind in ("read", "write") if job[kind]["total_ios"] > 0]
    total = sum(part["total_ios"] for part in parts)
    rate = total / max(part["runtime"] for part in parts) * 1000
    p99 = max(part["clat_ns"]["percentile"]["99.000000"] for part in parts) / 1000
    return total, rate, p99, (job["usr_cpu"] + job["sys_cpu"]) / 100, before


def run_load(server, work, seconds, size):
    command = [server.settings.load, "--seconds", str(seconds), "--block", str(work.block), "--depth", str(work.depth),
               "--connections", str(work.connections), "--reads", str(work.reads)]
    if work.sequential:
        command.append("--sequential")
    before = server.cpu()
    done = json.loads(subprocess.check_output([*command, server.address(), server.export]))
    client = done["client_cpu"] / done["seconds"] / work.connections
    return done["requests"], done["requests"] / done["seconds"], done["p99"] / 1000, client, before


def by_turns(candidates, rounds):
    """Each candidate once in each round. Another one is the first each time: whoever comes later finds more dirty pages."""
    for number in range(rounds):
        start = number % len(candidates)
        yield from [*candidates[start:], *candidates[:start]]


def measure(server, work, seconds, client, size, core=None):
    """Runs one load against a server that is there, fio on a core where one is named, and returns a Result."""
    total, rate, p99, client, before = (run_load(server, work, seconds, size) if client == "load" else
                                        run_fio(server, work, seconds, size, core))
    if server.kind == "nbd-server":
        # Its children's CPU counts once they have been waited for.
        time.sleep(0.3)
    return Result(rate, (server.cpu() - before) / total * 1e6, p99, client)
