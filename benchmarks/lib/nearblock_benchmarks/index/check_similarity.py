"""index.check_similarity BLOCK-SIZE RESULTS IMAGE...

Counts, over the raw images and with nothing of nearblock, what `nearblock index similarity` has counted, and compares.
"""

import hashlib
import json
import os
import sys

block, results, images = int(sys.argv[1]), sys.argv[2], sys.argv[3:]
zero = bytes(block)


def hashes(path):
    """The digest of every block that is not zero. Holes are passed over."""
    found = []
    image = os.open(path, os.O_RDONLY)
    place, end = 0, os.path.getsize(path)
    while place < end:
        try:
            place = os.lseek(image, place, os.SEEK_DATA) // 65536 * 65536
        except OSError:
            break
        data = os.pread(image, 65536, place)
        data += bytes(-len(data) % block)
        for start in range(0, len(data), block):
            piece = data[start : start + block]
            if piece != zero:
                found.append(hashlib.sha256(piece).digest()[:16])
        place += 65536
    os.close(image)
    return found


blocks = {path: hashes(path) for path in images}
sets = {path: set(found) for path, found in blocks.items()}
wrong = compared = 0
for path, mine in blocks.items():
    name = os.path.basename(path).removesuffix(".raw")
    with open(os.path.join(results, f"{block}-{name}.json")) as file:
        said = json.load(file)
    others = [other for other in images if other != path]
    union = set().union(*(sets[other] for other in others))
    expected = {"found": sum(digest in union for digest in mine), "distinct": len(sets[path])}
    expected["zero"] = -(-os.path.getsize(path) // block) - len(mine)
    for key, value in expected.items():
        compared += 1
        wrong += said[key] != value
    for share in said["neighbours"]:
        theirs = sets[os.path.realpath(share["name"])]
        compared += 1
        wrong += share["found"] != sum(digest in theirs for digest in mine)
print(f"blocks of {block}: {compared} figures compared, {wrong} differ")
sys.exit(wrong > 0)
