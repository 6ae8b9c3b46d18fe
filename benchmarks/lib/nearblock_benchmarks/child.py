"""Runs a program and tells what it took."""

import os
import subprocess
import sys
import time


def peak(process):
    """The most that was resident so far, in bytes, mapped files included; 0 where it has ended. What wait4(2) tells
    includes what this program had before it became the other."""
    try:
        with open(f"/proc/{process}/status") as status:
            for line in status:
                if line.startswith("VmHWM:"):
                    return int(line.split()[1]) * 1024
    except OSError:
        pass
    return 0


def timed(*arguments):
    """Seconds, the most memory in bytes, and seconds of processor time."""
    began = time.monotonic()
    process = subprocess.Popen(arguments, stdout=subprocess.DEVNULL)
    memory = 0
    while True:
        ended, status, usage = os.wait4(process.pid, os.WNOHANG)
        if ended:
            break
        memory = max(memory, peak(process.pid))
        time.sleep(0.002)
    if status != 0:
        sys.exit(f"{' '.join(arguments)} failed")
    return time.monotonic() - began, memory, usage.ru_utime + usage.ru_stime
