"""nbd.causes: see benchmarks/floor."""
import argparse
import collections
import contextlib
import json
import os
import re
import statistics
import subprocess
import time

from nearblock_benchmarks.nbd import compare
from nearblock_benchmarks.nbd.clients import Work, by_turns, measure
from nearblock_benchmarks.nbd.servers import TICK, Server

# Kernel and user symbols by what they are for; the first that matches counts. The rest is `other`.
GROUPS = [
    ("copying", r"rep_movs|copy_(to|from)_(user|iter)|_copy_(to|from)_iter|copyout|copyin|copy_page_|copy_folio_|memcpy|"
                r"simple_copy|skb_copy|fault_in"),
    ("page cache", r"filemap|xas_|xa_|folio|generic_file|ext4|mark_page|touch_atime|file_accessed|atime|rw_verify|vfs_|"
                   r"fsnotify|iov_iter|iovec|import_|kiocb|fdget|__fget|do_p?read|do_pwrite|ksys_|jbd2|balance_dirty"),
    ("io_uring", r"io_|__io|task_work"),
    ("socket", r"unix_|sock_|skb|sk_|tcp_|ip_|net_|__alloc_skb|kmalloc|kmem_cache|kfree|slab|consume_|alloc_pages|"
               r"get_page_from|free_|rmqueue|sendmsg|recvmsg|sys_send|sys_recv|security_|apparmor|dev_|loopback|nf_|"
               r"__x64_sys_(send|recv)|move_addr|import_ubuf|scm_|wait_for_unix|page_|__page|mod_memcg|obj_cgroup"),
    ("waking and waiting", r"sched|wake|schedule|ttwu|enqueue|dequeue|pick_|switch_|update_|finish_task|idle|poll|"
                           r"ep_|prepare_to|select_task|rb_|hrtimer|resched|__switch|rcu|cpu|avg|vruntime|ktime|clock"),
    ("entry of system calls", r"entry_|syscall|do_syscall|srso|retbleed|x64_sys|exit_to_user|return_thunk|clear_bhb|"
                              r"fpregs|__get_user|__put_user|native_|_raw_spin|mutex|lock"),
]

CALLS = ["io_uring_enter", "preadv2", "pread64", "pwrite64", "sendmsg", "sendto", "recvfrom", "poll"]
WORKS = [Work("4K read, depth 1", 4096, 1, 1, 100, False), Work("4K read, depth 32", 4096, 32, 1, 100, False),
         Work("4K read, depth 32 x 4", 4096, 32, 4, 100, False)]

Run = collections.namedtuple("Run", "rate cpu user system switches migrations p99 client")


class Candidate(Server):
    """A server that is pinned to a core, or not, with options of its own."""

    def __init__(self, kind, settings, options, core, under=()):
        """`under` is a command that runs the server."""
        super().__init__(kind, settings, settings.image, settings.transport)
        self.options, self.core, self.under = options, core, under

    def command(self):
        command = super().command()
        if self.kind == "floor":
            command = [command[0], *self.options, *command[1:]]
        return [*self.under, *(["taskset", "-c", str(self.core)] if self.core is not None else []), *command]

    def times(self):
        """Seconds in user space and in the kernel."""
        fields = open(f"/proc/{self.pid}/stat").read().rsplit(")", 1)[1].split()
        return int(fields[11]) / TICK, int(fields[12]) / TICK

    def counted(self):
        """Context switches and migrations between cores of all threads."""
        switches = migrations = 0
        for task in os.listdir(f"/proc/{self.pid}/task"):
            text = open(f"/proc/{self.pid}/task/{task}/sched").read()
            switches += int(re.search(r"nr_switches\s*:\s*(\d+)", text).group(1))
            migrations += int(re.search(r"nr_migrations\s*:\s*(\d+)", text).group(1))
        return switches, migrations


def load(server, settings, core, options):
    command = (["taskset", "-c", str(core)] if core is not None else []) + [
        settings.load, "--seconds", str(settings.seconds), *options, server.address(), server.export]
    times, counts = server.times(), server.counted()
    done = json.loads(subprocess.check_output(command))
    times = [after - before for before, after in zip(times, server.times())]
    counts = [after - before for before, after in zip(counts, server.counted())]
    total = done["requests"]
    return Run(total / done["seconds"], sum(times) / total * 1e9, times[0] / total * 1e9, times[1] / total * 1e9,
               counts[0] / total, counts[1] / total, done["p99"] / 1000, done["client_cpu"] / total * 1e9)


@contextlib.contextmanager
def awake(is_wanted):
    """Keeps two cores from halting, by processes that run only where nothing else does."""
    spinning = [subprocess.Popen(["chrt", "-i", "0", "sh", "-c", "while :; do :; done"]) for _ in range(2 if is_wanted else 0)]
    try:
        yield
    finally:
        for process in spinning:
            process.kill()
            process.wait()


def middle(runs):
    return Run(*(statistics.median(column) for column in zip(*runs)))


class Causes:
    def __init__(self, settings):
        self.settings = settings

    def measure(self, candidates, works):
        """Every candidate by turns, each as (name, kind, options of the server, options of the client, whether pinned)."""
        chosen = [candidate for candidate in candidates if re.search(self.settings.only, candidate[0])]
        for title, work in works:
            print(f"\n## {title}\n\n| server | requests/s | CPU ns | user | kernel | client ns | switches | p99 us |")
            print("| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |")
            runs = collections.defaultdict(list)
            for name, kind, options, client, pinned in by_turns(chosen, self.settings.rounds):
                with Candidate(kind, self.settings, options, 0 if pinned else None) as server:
                    runs[name].append(load(server, self.settings, 1 if pinned else None, [*work, *client]))
            for name, *_ in chosen:
                run = middle(runs[name])
                print(f"| {name} | {run.rate:.0f} | {run.cpu:.0f} | {run.user:.0f} | {run.system:.0f} | {run.client:.0f} | "
                      f"{run.switches:.3f} | {run.p99:.0f} |", flush=True)

    def profile(self, kinds, works):
        """Nanoseconds a request by group of symbols, as the processor's clock samples them."""
        for title, work in works:
            print(f"\n## {title}: nanoseconds a request by cause\n")
            columns = {}
            for kind in kinds:
                with Candidate(kind, self.settings, [], 0) as server:
                    record = f"{self.settings.folder}/perf.data"
                    perf = subprocess.Popen(["perf", "record", "-q", "-e", "cpu-clock", "-F", "9973", "-p", str(server.pid),
                                             "-o", record], stderr=subprocess.DEVNULL)
                    time.sleep(0.3)
                    run = load(server, self.settings, 1, work)
                    perf.send_signal(2)
                    perf.wait()
                    columns[kind] = self.grouped(record, run)
            print("| cause | " + " | ".join(kinds) + " |\n| --- |" + " ---: |" * len(kinds))
            for name in [name for name, _ in GROUPS] + ["other of the kernel", "the program's own code", "all"]:
                print(f"| {name} | " + " | ".join(f"{columns[kind][name]:.0f}" for kind in kinds) + " |", flush=True)

    def calls(self, kinds, works):
        """System calls and switches a request, as the kernel's tracepoints count them, under fio and under `load`."""
        events = [f"syscalls:sys_enter_{name}" for name in CALLS] + ["sched:sched_switch", "sched:sched_migrate_task"]
        for work in works:
            for client in ("fio", "load"):
                print(f"\n## {work.name}, {client}, not pinned: calls a request\n\n| server | requests/s | "
                      + " | ".join([*CALLS, "switches", "migrations"]) + " |")
                print("| --- | ---: |" + " ---: |" * len(events))
                for kind in kinds:
                    with Candidate(kind, self.settings, [], None) as server:
                        out = f"{self.settings.folder}/stat"
                        perf = subprocess.Popen(["perf", "stat", "-x,", "-o", out, "-e", ",".join(events), "-p",
                                                 str(server.pid)])
                        time.sleep(0.3)
                        run = measure(server, work, self.settings.seconds, client, os.path.getsize(self.settings.image))
                        perf.send_signal(2)
                        perf.wait()
                        total = run.rate * self.settings.seconds
                        counts = [line.split(",")[0] for line in open(out) if line.strip() and line[0] not in "#\n"]
                        print(f"| {kind} | {run.rate:.0f} | "
                              + " | ".join(f"{int(count) / total:.3f}" for count in counts) + " |", flush=True)

    def add(self, steps, works):
        """Servers by turns under fio, each as (name, kind, options of the server): what the steps from the loop to nearblock
        cost, as ratios to the first within a round."""
        for work in works:
            if not re.search(self.settings.only, work.name):
                continue
            print(f"\n## {work.name}, fio, not pinned\n\n| server | requests/s | CPU us | rate / loop | CPU / loop |")
            print("| --- | ---: | ---: | --- | --- |")
            results = collections.defaultdict(list)
            for name, kind, options in by_turns(steps, self.settings.rounds):
                with Candidate(kind, self.settings, options, None) as server:
                    results[name].append(
                        measure(server, work, self.settings.seconds, "fio", os.path.getsize(self.settings.image)))
            for name, _, _ in steps:
                rate, cpu = (statistics.median(run[column] for run in results[name]) for column in (0, 1))
                ratios = " | ".join(compare.Bench.by_rounds(results, name, steps[0][0], column) for column in (0, 1))
                print(f"| {name} | {rate:.0f} | {cpu:.2f} | {ratios} |", flush=True)

    def place(self, kinds, works):
        """Requests a second under fio by where server and client run, and whether the cores may halt."""
        for work in works:
            print(f"\n## {work.name}, fio: requests a second\n\n| server and client | " + " | ".join(kinds) + " |")
            print("| --- |" + " ---: |" * len(kinds))
            for title, ours, theirs, halts in PLACES:
                rates = collections.defaultdict(list)
                for kind in by_turns(kinds, self.settings.rounds):
                    with Candidate(kind, self.settings, [], ours) as server, awake(not halts):
                        rates[kind].append(measure(server, work, self.settings.seconds, "fio",
                                                   os.path.getsize(self.settings.image), theirs).rate)
                print(f"| {title} | " + " | ".join(f"{statistics.median(rates[kind]):.0f}" for kind in kinds) + " |", flush=True)

    def grouped(self, record, run):
        """Of one recording; prints the largest symbols too where it is asked to."""
        text = subprocess.check_output(["perf", "report", "-i", record, "--stdio", "--sort", "dso,symbol", "-F",
                                        "overhead,dso,symbol", "-g", "none"], text=True, stderr=subprocess.DEVNULL)
        parts = collections.Counter(all=run.cpu)
        for line in text.split("\n"):
            found = re.match(r"\s*([\d.]+)%\s+(\S+)\s+\[(.)\]\s+(\S+)", line)
            if not found:
                continue
            spent = float(found.group(1)) / 100 * run.cpu
            name = "the program's own code"
            if found.group(3) == "k":
                name = next((name for name, form in GROUPS if re.search(form, found.group(4))), "other of the kernel")
            parts[name] += spent
            if self.settings.symbols and spent > run.cpu / 200:
                print(f"{spent:7.0f} {name:24} {found.group(2)[:16]:16} {found.group(4)}")
        return parts


SMALL = [("4K read, depth 1, pinned", ["--depth", "1"]), ("4K read, depth 32, pinned", ["--depth", "32"])]
CANDIDATES = [
    ("C loop", "floor", [], [], True),
    ("C loop, not pinned", "floor", [], [], False),
    ("C loop, structured replies", "floor", ["--structured"], ["--structured"], True),
    ("C loop, preadv2 with RWF_NOWAIT", "floor", ["--nowait"], [], True),
    ("C loop, ring and provided buffers", "floor", ["--ring"], [], True),
    ("C loop, replies from byte 2048 of a page", "floor", ["--shift", "2048"], [], True),
    ("C loop, structured replies from byte 2048", "floor", ["--structured", "--shift", "2048"], ["--structured"], True),
    ("C loop, data at starts of pages, headers apart", "floor", ["--apart"], [], True),
    ("C loop, replies in 32 regions by turns", "floor", ["--regions", "32"], [], True),
    ("C loop, slices of 100 us, not pinned", "floor", ["--short-turns"], [], False),
    ("C loop, huge pages", "floor", ["--huge"], [], True),
    ("nearblock", "nearblock", [], [], True),
    ("nearblock, structured replies", "nearblock", [], ["--structured"], True),
    ("nearblock, not pinned", "nearblock", [], [], False),
]


# The title, the server's core, the client's, and whether cores without work halt.
PLACES = [("anywhere", None, None, True), ("anywhere, no core halts", None, None, False), ("a core each", 0, 1, True),
          ("one core", 0, 0, True)]
# From the loop to nearblock, a cause more in each step.
STEPS = [
    ("C loop", "floor", []),
    ("chunks", "floor", ["--structured"]),
    ("and RWF_NOWAIT", "floor", ["--structured", "--nowait"]),
    ("and ring, provided buffers", "floor", ["--structured", "--nowait", "--ring"]),
    ("chunks, each request received by itself", "floor", ["--structured", "--split"]),
    ("nearblock", "nearblock", []),
]


def main():
    parser = argparse.ArgumentParser()
    for name in ("nearblock", "load", "floor", "copies", "image", "folder"):
        parser.add_argument(f"--{name}", required=True)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=int, default=1)
    parser.add_argument("--only", default="")
    parser.add_argument("--transport", choices=["unix", "tcp"], default="unix")
    parser.add_argument("--symbols", action="store_true")
    parser.add_argument("parts", nargs="*", default=["copies", "variants", "profile", "steps", "places", "calls"])
    settings = parser.parse_args()
    causes = Causes(settings)
    subprocess.run(["cat", settings.image], stdout=subprocess.DEVNULL, check=True)
    if "copies" in settings.parts:
        subprocess.run([settings.copies, settings.image], check=True)
    if "variants" in settings.parts:
        causes.measure(CANDIDATES, SMALL)
    if "profile" in settings.parts:
        causes.profile(["floor", "nearblock"], SMALL)
    if "steps" in settings.parts:
        causes.add(STEPS, [*compare.SMALL, *compare.LARGE])
    if "places" in settings.parts:
        causes.place(["floor", "nearblock", "nbdkit"], [compare.SMALL[0], compare.SMALL[3]])
    if "calls" in settings.parts:
        causes.calls(["floor", "nearblock"], WORKS)


if __name__ == "__main__":
    main()
