"""make-data.py FOLDER SEED: writes a guest's own data, the same for the same seed.

64 MiB of rows that compress (orders.csv) and 64 MiB that do not (photos.bin).
"""

import pathlib
import random
import sys
from collections.abc import Iterator

FILE_SIZE = 64 << 20
CHUNK = 1 << 20


def rows(generator: random.Random, count: int) -> Iterator[bytes]:
    """Rows as a shop would keep them: much repeats, nothing twice."""
    towns = ("Aarhus", "Bergen", "Cork", "Delft", "Espoo", "Faro", "Gdansk", "Hamburg")
    goods = ("desk lamp", "oak table", "wool carpet", "garden chair", "bookshelf", "mirror")
    number = 0
    while True:
        chunk = []
        for _ in range(count):
            number += 1
            bits = generator.getrandbits(48)
            chunk.append(f"{number},{towns[bits & 7]},{goods[(bits >> 3) % 6]},{1 + (bits >> 8) % 9},{(bits >> 16) % 100000 / 100:.2f}\n")
        yield "".join(chunk).encode()


def write(path: pathlib.Path, chunks: Iterator[bytes]) -> None:
    with path.open("wb") as file:
        while (left := FILE_SIZE - file.tell()) > 0:
            file.write(next(chunks)[:left])


def main() -> None:
    folder, seed = pathlib.Path(sys.argv[1]), sys.argv[2]
    folder.mkdir(parents=True, exist_ok=True)
    generator = random.Random(seed)
    write(folder / "orders.csv", rows(generator, 20000))
    write(folder / "photos.bin", iter(lambda: generator.randbytes(CHUNK), b""))


main()
