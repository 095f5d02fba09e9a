"""How much of an element is text, links and controls: what tells text from navigation."""

from __future__ import annotations

import re
from dataclasses import dataclass

from lxml import etree

CONTROLS = frozenset(["button", "input", "select", "textarea"])
HEADINGS = frozenset(["h1", "h2", "h3", "h4", "h5", "h6"])
_UNCOUNTED = frozenset(["script", "style", "template", "noscript", "head"])
# Letters of scripts that write no spaces between words: two of them count as a word.
_UNSPACED = re.compile("[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff]")


@dataclass(slots=True)
class Size:
    """Counts below an element; `run` is the longest single text without a link, in words."""

    words: int = 0
    linked: int = 0
    links: int = 0
    controls: int = 0
    headings: int = 0
    run: int = 0

    @property
    def mostly_links(self) -> bool:
        """Whether half of the words and more are links."""
        return self.links > 0 and self.linked >= 0.5 * self.words

    @property
    def unlinked(self) -> int:
        """The number of words outside links."""
        return self.words - self.linked


def measure(root: etree._Element, without: object = ()) -> dict[etree._Element, Size]:
    """The sizes of all elements, in one pass from the leaves up; `without` elements are empty."""
    excluded = without if isinstance(without, dict | set | frozenset) else frozenset()
    sizes: dict[etree._Element, Size] = {}
    for _, element in etree.iterwalk(root, events=("end",)):
        size = sizes.setdefault(element, Size())
        if element.tag in _UNCOUNTED or element in excluded:
            size = sizes[element] = Size()
        else:
            _add_text(size, element.text)
            size.controls += element.tag in CONTROLS
            size.headings += element.tag in HEADINGS
        if element.tag == "a" and element.get("href") is not None:
            size.linked, size.links, size.run = size.words, 1, 0
        parent = element.getparent()
        if parent is not None and element is not root:
            _add(sizes.setdefault(parent, Size()), size)
            _add_text(sizes[parent], element.tail)
    return sizes


def _add(above: Size, size: Size) -> None:
    above.words += size.words
    above.linked += size.linked
    above.links += size.links
    above.controls += size.controls
    above.headings += size.headings
    above.run = max(above.run, size.run)


def _add_text(size: Size, text: str | None) -> None:
    words = word_count(text)
    size.words += words
    size.run = max(size.run, words)


def word_count(text: str | None) -> int:
    """The number of words; where no spaces are written, half the number of letters.

    >>> word_count("one two"), word_count("東京都庁"), word_count(None)
    (2, 2, 0)
    """
    if not text:
        return 0
    spaced = len(text.split())
    if spaced == 0 or text.isascii():
        return spaced
    return max(spaced, len(_UNSPACED.findall(text)) // 2)
