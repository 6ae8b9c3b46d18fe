"""systems.use web|user FOLDER SEED

Writes files below a folder, rewrites some and deletes most again, as a web server or a user does in months.
"""
import gzip
import os
import random
import shutil
import sys

MEBIBYTE = 1 << 20
WORDS = ("the block a disk neighbour moves over link while guest reads and writes its file system index page window"
         " order free used origin grid stream level time host site").split()


class Use:
    def __init__(self, folder, seed):
        self.folder, self.choice = folder, random.Random(seed)

    def path(self, name):
        path = os.path.join(self.folder, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        return path

    def write(self, name, data, mode="wb"):
        """Small pieces, and on the disk afterwards: what is deleted before it is written leaves nothing there."""
        with open(self.path(name), mode) as file:
            for start in range(0, len(data), 1 << 16):
                file.write(data[start:start + (1 << 16)])
            file.flush()
            os.fsync(file.fileno())

    def text(self, size):
        words = self.choice.choices(WORDS, k=size // 5)
        return " ".join(words).encode()[:size]

    def noise(self, most):
        """Of a size as those of pictures and packed pages: many small ones, and few large ones."""
        return self.choice.randbytes(int(4096 * (most / 4096) ** self.choice.random()))


class Web(Use):
    DAYS, LOGS, DEPLOYS = 60, 7, 8

    def run(self):
        for day in range(self.DAYS):
            self.log()
            for number in range(40):
                self.write(f"lib/php/sessions/sess_{day}_{number}", self.text(self.choice.randrange(200, 6000)))
            for name in self.old("lib/php/sessions", 200):
                os.remove(name)
            self.write(f"www/uploads/{day}.jpg", self.noise(2 * MEBIBYTE))
            if day % (self.DAYS // self.DEPLOYS) == 0:
                self.deploy(day)

    def old(self, folder, kept):
        """The files of a folder that are older than the last so many."""
        names = [entry.path for entry in os.scandir(self.path(f"{folder}/x")[:-2])]
        return sorted(names, key=lambda name: os.stat(name).st_mtime_ns)[:-kept]

    def log(self):
        """A day's log in appended pieces; the day before is compressed, and the oldest is deleted."""
        for age in range(self.LOGS, 0, -1):
            name = self.path(f"log/access.log.{age}")
            if age == self.LOGS and os.path.exists(name + ".gz"):
                os.remove(name + ".gz")
            elif os.path.exists(name + ".gz"):
                os.rename(name + ".gz", self.path(f"log/access.log.{age + 1}.gz"))
        name = self.path("log/access.log")
        if os.path.exists(name):
            with open(name, "rb") as log:
                self.write("log/access.log.1.gz", gzip.compress(log.read(), 6, mtime=0))
            os.remove(name)
        for _ in range(24):
            lines = []
            for _ in range(1000):
                address = ".".join(str(self.choice.randrange(1, 255)) for _ in range(4))
                lines.append(f'{address} - - "GET /{self.choice.choice(WORDS)}/{self.choice.randrange(9999)} HTTP/1.1" 200 '
                             f"{self.choice.randrange(1 << 17)}")
            self.write("log/access.log", "\n".join(lines).encode() + b"\n", "ab")

    def deploy(self, day):
        """A release of the site: most files as in the one before, some changed. The last two releases are kept."""
        releases = self.path("www/releases/x")[:-2]
        known = sorted(os.listdir(releases), key=int)
        new = self.path(f"www/releases/{day}/x")[:-2]
        if known:
            shutil.copytree(f"{releases}/{known[-1]}", new, dirs_exist_ok=True)
        for number in range(600):
            if not known or self.choice.random() < 0.1:
                size = self.choice.randrange(500, 40000)
                self.write(f"www/releases/{day}/{number % 20}/{number}.php", self.text(size))
        for release in known[:-1]:
            shutil.rmtree(f"{releases}/{release}")


class User(Use):
    WEEKS = 20

    def run(self):
        cached: list[str] = []
        documents: dict[str, bytes] = {}
        for week in range(self.WEEKS):
            for number in range(150):
                name = f"cache/{week}-{number}"
                self.write(name, self.noise(MEBIBYTE))
                cached.append(name)
            self.choice.shuffle(cached)
            while len(cached) > 400:
                os.remove(self.path(cached.pop()))
            self.write(f"Downloads/{week}.zip", self.choice.randbytes(20 * MEBIBYTE))
            if week >= 3:
                os.remove(self.path(f"Downloads/{week - 3}.zip"))
            for number in range(10):
                self.write(f"Pictures/{week}-{number}.jpg", self.choice.randbytes(self.choice.randrange(MEBIBYTE)))
            for number in range(15):
                self.save(f"Documents/{self.choice.randrange(60)}.odt", documents)

    def save(self, name, documents):
        """A new version beside the old one, which it then replaces."""
        documents[name] = documents.get(name, b"") + self.text(self.choice.randrange(2000, 60000))
        self.write(name + "~", documents[name])
        os.replace(self.path(name + "~"), self.path(name))


def main():
    kind, folder, seed = sys.argv[1:]
    if kind == "web":
        Web(folder, int(seed)).run()
    else:
        User(folder, int(seed)).run()


if __name__ == "__main__":
    main()
