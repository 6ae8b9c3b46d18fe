"""systems.report RESULTS DOCS IMAGE...: writes what benchmarks/paper/histories has measured into DOCS/evaluation.md."""
import json
import os
import re
import sys

from nearblock_benchmarks.index.section import replace_section

MEBIBYTE = 1 << 20


def load(path):
    with open(path) as file:
        return json.load(file)


def main():
    results, docs, *images = sys.argv[1:]
    names = [os.path.basename(path).removesuffix(".raw") for path in images]
    files = [match for match in (re.fullmatch(r"(now|before)-(\d+)-(.+)\.json", name) for name in os.listdir(results)) if match]
    found = {(match[1], int(match[2]), match[3]): load(f"{results}/{match[0]}") for match in files}
    sizes = sorted({size for _, size, _ in found})

    def share(label, size, name):
        one = found.get((label, size, name))
        if not one:
            return ""
        return f"{100 * one['found'] / max(1, one['blocks'] - one['zero']):.1f}"

    lines = ["| system | MiB that are not zero | of these free | blocks begin at | " + " | ".join(map(str, sizes)) + " |",
             "| --- | ---: | ---: | --- |" + " ---: |" * len(sizes)]
    for name in names:
        one = found["now", 4096 if 4096 in sizes else sizes[0], name]
        held = (one["blocks"] - one["zero"]) * one["block"] // MEBIBYTE
        free = sum(part["data"] for part in load(f"{results}/free-{name}.json")["parts"]) // MEBIBYTE
        for label, words in (("now", "its partition"), ("before", "the first byte")):
            shares = " | ".join(share(label, size, name) for size in sizes)
            if shares.strip("| "):
                lines.append(f"| {name} | {held} | {free} | {words} | {shares} |")
    replace_section(os.path.join(docs, "evaluation.md"), "histories", lines)
    print("\n".join(lines))


if __name__ == "__main__":
    main()
