"""systems.shift IMAGE SECTOR PATH: a disk with the image's largest partition at a sector."""
import json
import subprocess
import sys

SECTOR = 512


def partition_of(image):
    """Start and length of the largest partition, in sectors."""
    said = subprocess.run(["sfdisk", "--json", image], capture_output=True, text=True, check=True).stdout
    partitions = json.loads(said)["partitiontable"]["partitions"]
    largest = max(partitions, key=lambda partition: partition["size"])
    return largest["start"], largest["size"]


def shift(image, sector, path):
    write([(image, sector)], path)


def join(images, path):
    """A disk with the largest partitions of several images, each at a sector that is no multiple of 8 of its own."""
    places, sector = [], 63
    for image in images:
        places.append((image, sector))
        sector += partition_of(image)[1] + 2
    write(places, path)


def write(places, path):
    """A disk with the largest partition of each image at a sector."""
    parts = [(image, *partition_of(image), sector) for image, sector in places]
    with open(path, "wb") as disk:
        disk.truncate((max(sector + length for _, _, length, sector in parts) + 2048) * SECTOR)
    table = "".join(f"start={sector}, size={length}, type=83\n" for _, _, length, sector in parts)
    subprocess.run(["sfdisk", "--quiet", "--force", path], input=f"label: dos\n{table}", text=True, check=True)
    for image, start, length, sector in parts:
        subprocess.run(["dd", f"if={image}", f"of={path}", f"bs={SECTOR * 128}", "conv=notrunc,sparse", "status=none",
                        "iflag=skip_bytes,count_bytes", "oflag=seek_bytes", f"skip={start * SECTOR}",
                        f"count={length * SECTOR}", f"seek={sector * SECTOR}"], check=True)


if __name__ == "__main__":
    shift(sys.argv[1], int(sys.argv[2]), sys.argv[3])
