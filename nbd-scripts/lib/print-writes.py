"""print-writes.py FIO-REPORT.json ...: what the guest's writers did, as one sentence; exit status 1 after an error."""

import json
import pathlib
import sys
from typing import Any


def job_of(path: str) -> Any:
    text = pathlib.Path(path).read_text()
    return json.loads(text[text.index("{") :])["jobs"][0]  # fio may put a notice first


def main() -> None:
    jobs = [job_of(path) for path in sys.argv[1:]]
    errors = sum(job["error"] != 0 or job.get("total_err", 0) != 0 for job in jobs)
    written = sum(job["write"]["total_ios"] for job in jobs)
    verified = sum(job["read"]["total_ios"] for job in jobs)
    slowest = max(job["write"]["lat_ns"]["max"] for job in jobs) / 1e6
    print(f"{written} guest writes, {verified} read back and verified, {errors} errors; the slowest write took {slowest:.0f} ms")
    if errors or verified != written:
        sys.exit(1)


main()
