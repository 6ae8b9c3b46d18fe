"""The form of comments in Swift files: how a description begins, and how long a sentence may be."""
import re
from collections.abc import Iterator
from typing import NamedTuple

LONGEST_SENTENCE = 25
# A description begins with its subject, and not with a clause that stands for one.
FORBIDDEN_BEGINNINGS = {"What", "Whatever", "Who", "Whoever", "Whose", "Of", "Where", "That"}

COMMENT = re.compile(r"^\s*(///?)(?!/)(.*)$")
# A comment behind code; what stands in a string is none.
TRAILING = re.compile(r'^((?:[^"/]|"(?:[^"\\]|\\.)*"|/(?!/))*)//\s(.*)$')
ITEM = re.compile(r"^\s*(?:[-*]|\d+\.)\s+")
CODE = re.compile(r"`[^`]*`")
URL = re.compile(r"https?://\S+")
# The end of a sentence: what follows begins with a capital, a number, a quotation or a piece of code.
END = re.compile(r"(?<=[.!?])[)\"']?\s+(?=[\"'(A-Z0-9\x00]|nil\b)")


class Paragraph(NamedTuple):
    """Consecutive words of a comment: a paragraph, or an item of a list."""
    line: int
    text: str
    opens_description: bool


def paragraphs(text: str) -> Iterator[Paragraph]:
    marker, start, opens = "", 0, False
    words: list[str] = []
    multiline_string = False
    for number, line in enumerate([*text.splitlines(), ""], 1):
        comment = None if multiline_string else COMMENT.match(line)
        if line.count('"""') % 2 == 1 and comment is None:
            multiline_string = not multiline_string
        here, content = (comment[1], comment[2]) if comment else ("", "")
        begins = here != marker
        # What is indented at the beginning of a paragraph is a table or code.
        if content.startswith("     ") and not ITEM.match(content) and not words:
            content = ""
        if words and (begins or not content.strip() or ITEM.match(content)):
            yield Paragraph(start, " ".join(words), opens)
            words = []
        if content.strip():
            if not words:
                start, opens = number, begins and here == "///"
            words.append(ITEM.sub("", content).strip())
        elif not comment and not multiline_string and (trailing := TRAILING.match(line)):
            yield Paragraph(number, trailing[2], False)
        marker = here


def sentences(text: str) -> list[str]:
    """A piece of code and an address count as one word each, whatever they hold."""
    return END.split(URL.sub("\x00", CODE.sub("\x00", text)))


def complaints(text: str) -> Iterator[tuple[int, str]]:
    """The faults of a file's comments, each with the number of the line where its paragraph begins."""
    for paragraph in paragraphs(text):
        first = re.match(r"[A-Za-z]*", paragraph.text)
        if paragraph.opens_description and first and first[0] in FORBIDDEN_BEGINNINGS:
            yield paragraph.line, f"a description begins with {first[0]}, and not with its subject"
        for sentence in sentences(paragraph.text):
            words = [word for word in sentence.split() if re.search(r"[\w\x00]", word)]
            if len(words) > LONGEST_SENTENCE:
                beginning = " ".join(words[:5]).replace("\x00", "`...`")
                yield paragraph.line, f"a sentence of {len(words)} words, {LONGEST_SENTENCE} at most: {beginning} ..."
