"""Sections of a page that a script writes: between <!-- NAME --> and <!-- end NAME -->."""


def replace_section(path, name, lines):
    with open(path) as page:
        text = page.read()
    begin, end = f"<!-- {name} -->\n", f"<!-- end {name} -->"
    before, rest = text.split(begin, 1)
    _, after = rest.split(end, 1)
    with open(path, "w") as page:
        page.write(before + begin + "\n".join([""] + lines + [""]) + "\n" + end + after)
