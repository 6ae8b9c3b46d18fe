"""QEMU's blockdev-mirror, as benchmarks tell it to run: the whole of its node `disk` goes to an NBD server."""

from machine.qmp import QmpError


def begin(qemu, host, port, **export):
    """`export` names it where it has a name."""
    qemu.execute("blockdev-add", driver="nbd", node_name="copy", discard="unmap",
                 server={"type": "inet", "host": host, "port": str(port)}, **export)
    qemu.execute("blockdev-mirror", job_id="mirror", device="disk", target="copy", sync="full")


def is_ready(qemu):
    """Whether nothing is left but what is written meanwhile."""
    jobs = qemu.execute("query-block-jobs")
    if not jobs:
        raise QmpError(f"{qemu.name}'s mirror has failed")
    return jobs[0]["ready"]


def end(qemu):
    """What is written from now on stays here."""
    qemu.execute("block-job-cancel", device="mirror")


def has_ended(qemu):
    return not qemu.execute("query-block-jobs")
