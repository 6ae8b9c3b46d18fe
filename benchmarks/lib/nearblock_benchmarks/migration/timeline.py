"""The stages of a migration, by what crosses the link. A process in the namespace of the source counts bytes every few milliseconds."""
import bisect
import subprocess

# Seconds between two looks, and of a window in which the link counts as used or not.
LOOK, WINDOW = 0.004, 0.04
COUNTER = f"""
import time
with open("/sys/class/net/wan0/statistics/tx_bytes") as file:
    while True:
        file.seek(0)
        print(time.monotonic(), int(file.read()), flush=True)
        time.sleep({LOOK})
"""


class Timeline:
    """From `with` to its end."""

    def __init__(self, wan):
        self.wan = wan

    def __enter__(self):
        command = self.wan.command(self.wan.near, "python3", "-c", COUNTER)
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        self.process.stdout.readline()
        return self

    def __exit__(self, *_):
        self.process.terminate()
        lines = [line.split() for line in self.process.communicate()[0].splitlines()]
        self.looks = [(float(line[0]), int(line[1])) for line in lines if len(line) == 2]

    def sent(self, when):
        """Bytes that the source had sent at a time."""
        place = bisect.bisect_right(self.looks, (when, 1 << 62)) - 1
        return self.looks[max(place, 0)][1]

    def stages(self, began, ended, rate):
        """Seconds of each stage of what happened between two times, on a link of so many bits a second."""
        room = rate / 8 * WINDOW
        windows, when = [], began
        while when < ended:
            windows.append(min(1.0, (self.sent(when + WINDOW) - self.sent(when)) / room))
            when += WINDOW
        busy = [number for number, used in enumerate(windows) if used > 0.5]
        if not busy:
            return {"all": ended - began}
        first, last = busy[0], busy[-1] + 1
        between = windows[first:last]
        return {
            "before the link is half full": first * WINDOW,
            "the link carries": sum(between) * WINDOW,
            "the link idles between": (len(between) - sum(between)) * WINDOW,
            "after the link was last half full": ended - began - last * WINDOW,
        }
