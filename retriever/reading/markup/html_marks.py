"""Raised numbers, note references and pictures within the text of a web page.

A note reference becomes "[1]": directly after a word it would be part of the word. A power of a
number becomes "10^23", because "1023" is another number. "m2" and "CO2" are words as they stand.
"""

from __future__ import annotations

import re

from lxml import etree

_NUMBERS = re.compile(r"\d{1,4}[a-z]?(?:\s*[,;–-]\s*\d{1,4}[a-z]?)*")
_LINK_MARK = re.compile(
    rf"{_NUMBERS.pattern}|[a-zA-Z]{{1,2}}|[ivxlc]{{1,6}}|[^\W\d]{{1,12}}\.? \d+"
)
_LETTER_MARK = re.compile(r"[a-d](?:\s*,\s*[a-d])*")
_POWER = re.compile(r"[-−–+]?\d{1,6}|[nkxmp]")
_SIGN = frozenset(["tm", "sm"])
_SMALL_POWER = re.compile(r"[2-9]")
_WITH_POWERS = frozenset(
    [
        *["km", "cm", "mm", "dm", "nm", "µm", "μm", "um", "pm", "hm", "dam", "ft", "yd", "mi"],
        *["in", "sec", "min", "hr", "rad", "kg", "mol", "px", "sin", "cos", "tan", "cot", "csc"],
        *["log", "ln", "exp", "sinh", "cosh", "tanh", "det", "arg"],
    ]
)
"""Units and functions, which take a power and seldom a note."""

_ENDS = frozenset(".,;:!?…\"'”’»]）。、，")  # signs behind which a note reference stands
_LAST_WORD = re.compile(r"[^\W\d_]+\Z")
_SUPER = re.compile(r"vertical-align\s*:\s*(?:super|text-top)", re.IGNORECASE)
_RAISED = frozenset(["superscript", "sup", "fnref", "noteref", "footnote-ref", "footnote-anchor"])
_BEFORE = 40  # characters before an element that are looked at
_MAX_MARK = 40
_RAISES = {"msup": "^", "msubsup": "^", "mover": "", "mfrac": "/"}
_FILE = re.compile(r"(?:https?:|\S+\.(?:png|jpe?g|gif|svg|webp|bmp)\b)", re.IGNORECASE)
_MIN_PICTURE = 3  # words: shorter descriptions are names of icons and logos


def mark_before(element: etree._Element, line: str) -> tuple[str, str]:
    """What to write before and after an element that is raised or refers to a note.

    `line` is the text before it. Both are empty for any other element.
    """
    refers = _refers(element)
    raised = _is_raised(element)
    if not (raised or refers) or not line or line[-1].isspace():
        return "", ""
    text = _short_text(element)
    linked = refers or element.find(".//a[@href]") is not None
    return marks_around(text, line[-_BEFORE:], linked=linked, raised=raised)


def marks_around(text: str, line: str, *, linked: bool, raised: bool) -> tuple[str, str]:
    """What to write before and after a `text` that stands directly behind `line`.

    >>> marks_around("1", "The treaty", linked=False, raised=True)
    ('[', ']')
    >>> marks_around("23", "6 × 10", linked=False, raised=True)
    ('^', '')
    """
    last = line[-1]
    if last.isdigit():
        if linked and _LINK_MARK.fullmatch(text):
            return "[", "]"
        return ("^", "") if raised and _POWER.fullmatch(text) else ("", "")
    mark = (_LINK_MARK if linked else _NUMBERS).fullmatch(text) is not None
    word = _LAST_WORD.search(line)
    if word is None:
        behind = last in _ENDS or (linked and last == ")")
        return ("[", "]") if mark and behind else ("", "")
    if linked:
        return ("[", "]") if mark else ("", "")
    if text.lower() in _SIGN:
        return " ", ""
    letters = word[0]
    mark = mark or (len(letters) > 3 and _LETTER_MARK.fullmatch(text) is not None)
    power = letters.lower() in _WITH_POWERS and _SMALL_POWER.fullmatch(text)
    return ("[", "]") if mark and len(letters) > 1 and not power else ("", "")


def _is_raised(element: etree._Element) -> bool:
    if element.tag == "sup":
        return True
    if element.tag not in ("span", "a", "small"):
        return False
    names = (element.get("class") or "").lower().split()
    return not _RAISED.isdisjoint(names) or bool(_SUPER.search(element.get("style") or ""))


def _refers(element: etree._Element) -> bool:
    """Whether an element is a link, which refers to a note if it holds a mark."""
    if element.tag != "a":
        return False
    kind = f"{element.get('epub:type') or ''} {element.get('role') or ''}"
    return element.get("href") is not None or "noteref" in kind


def _short_text(element: etree._Element) -> str:
    """The text of an element if it can be a mark."""
    found = ""
    for text in element.itertext(with_tail=True):
        found += text
        if len(found) > _MAX_MARK:
            return ""
    return found.strip()


def exponent(element: etree._Element) -> str:
    """The sign before a part of a formula (MathML) that is raised or below a line."""
    parent = element.getparent()
    if parent is None or parent.tag not in _RAISES or element is not parent[-1]:
        return ""
    return _RAISES[parent.tag] if len(parent) > 1 else ""


def picture_words(picture: etree._Element) -> str:
    """The description of a picture that is text: a sentence, or all that a heading holds."""
    words = " ".join((picture.get("alt") or "").split())
    if not words or _FILE.match(words):
        return ""
    if len(words.split()) >= _MIN_PICTURE:
        return "" if words in _around(picture) else words
    heading = next(picture.iterancestors("h1", "h2", "h3", "h4", "h5", "h6"), None)
    if heading is None or "".join(heading.itertext()).strip():
        return ""
    return words


def _around(picture: etree._Element) -> str:
    """The text near a picture, which may repeat its description."""
    above = next(picture.iterancestors("figure", "a", "li", "div", "section", "td"), None)
    found: list[str] = []
    size = 0
    for text in () if above is None else above.itertext():
        found.append(text)
        size += len(text)
        if size > 2_000:
            break
    return " ".join("".join(found).split())
