"""The words of Markdown, notebooks, tables and other files of text."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator
from typing import Any

from retriever.reading.account.decoding import certain_text
from retriever.reading.account.markup import html_text, markdown_text
from retriever.reading.account.rtf import rtf_text
from retriever.reading.account.words import count_words, joined

_ACCENTED = re.compile(
    r"""(?<!\S)(?=\S*\\(?:["'`^~=.]|[cvuHkrbdt]\{|(?:ss|[ao]e|aa|[oli]|AE|OE|AA|[OL])\b))\S+"""
)
_SPACED = re.compile(r"(\\(?:ss|[ao]e|aa|[oli]|AE|OE|AA|[OL]))[ \t]+(?=\w)")  # ends at the blank
_LATEX = re.compile(r"\\begin\{|^@[A-Za-z]+\{", re.MULTILINE)
_BARE_START = re.compile(r"\[[1-9][0-9;]*m(?!\])")
_BARE_COLOUR = re.compile(r"(?:(?<!\w)\w++)?\[[0-9;]*m\w*+")  # and the words it may be glued to
_MANY_NUMBERS = 20
_LONG_DATA = 1_000  # characters without a blank
_SEPARATOR = re.compile(r"\A\s*sep=.\r?\n")


def html_words(data: bytes) -> Counter[str]:
    """The words of a page."""
    return count_words(html_text(_certain(data)))


def markdown_words(data: bytes) -> Counter[str]:
    """The words of a Markdown file."""
    return count_words(markdown_text(_certain(data)))


def rtf_words(data: bytes) -> Counter[str]:
    """The words of a Rich Text file."""
    return count_words(rtf_text(data.decode("cp1252", "replace").replace("\x00", "")))


def text_words(data: bytes) -> Counter[str]:
    """The words of a text, without those that have accents of LaTeX."""
    text = _certain(data)
    if "\x1b" not in text and _BARE_START.search(text):
        text = _BARE_COLOUR.sub(" ", text)
    if _LATEX.search(text):
        text = _ACCENTED.sub(" ", _SPACED.sub(r"\1{}", text))
    return count_words(text)


def table_words(data: bytes) -> Counter[str]:
    """The words of a table in a text file."""
    return count_words(_SEPARATOR.sub("", _certain(data)))


def json_words(data: bytes) -> Counter[str]:
    """The words of a JSON file: its values, and each name once."""
    return _values_words([json.loads(_certain(data))])


def jsonl_words(data: bytes) -> Counter[str]:
    """The words of JSON Lines; of a broken line none."""
    values = []
    for line in _certain(data).split("\n"):
        try:
            values.append(json.loads(line))
        except ValueError:
            continue
    return _values_words(values)


def _values_words(values: list[Any]) -> Counter[str]:
    names: dict[str, None] = {}
    texts: list[str] = []
    for value in values:
        _collect(value, names, texts)
    return count_words(*names, *texts)


def _collect(value: Any, names: dict[str, None], texts: list[str]) -> bool:
    """Collect the texts of a value and the names in it; returns whether it has any text.

    Long lists of numbers and long data are no text, and a name without a value is none.
    """
    before = len(texts)
    if isinstance(value, dict):
        for name, inner in value.items():
            if _collect(inner, names, texts):
                names[name] = None
    elif isinstance(value, list):
        if sum(isinstance(inner, int | float) for inner in value) < _MANY_NUMBERS:
            for inner in value:
                _collect(inner, names, texts)
    elif isinstance(value, str) and (len(value) < _LONG_DATA or " " in value):
        texts += [value] if value else []
    elif isinstance(value, int) and not isinstance(value, bool):
        texts.append(str(value))
    return len(texts) > before


def notebook_words(data: bytes) -> Counter[str]:
    """The words of a notebook: sources and outputs of its cells."""
    book = json.loads(_certain(data))
    sheets = book.get("worksheets") or [book]
    count: Counter[str] = Counter()
    for cell in (cell for sheet in sheets for cell in sheet.get("cells") or ()):
        count += count_words(_joined(cell.get("source", cell.get("input"))))
        for output in cell.get("outputs") or ():
            count += _output_words(output)
    return count


def _output_words(output: dict[str, Any]) -> Counter[str]:
    """The words of an output; of several forms of a text the most of each word."""
    texts = [_joined(output.get("text")), str(output.get("ename") or "")]
    count = count_words(joined(texts))
    count += count_words(str(output.get("evalue") or ""))
    forms: Counter[str] = Counter()
    for kind, value in (output.get("data") or {}).items():
        forms |= count_words(*_form(kind, _joined(value)))
    return count + forms


def _form(kind: str, text: str) -> Iterator[str]:
    if kind == "text/html":
        yield html_text(text)
    elif kind in ("text/plain", "text/markdown", "text/latex") and not text.startswith("<"):
        yield text


def _joined(value: object) -> str:
    if isinstance(value, list):
        return "".join(line for line in value if isinstance(line, str))
    return value if isinstance(value, str) else ""


def _certain(data: bytes) -> str:
    text = certain_text(data)
    if text is None:
        raise UnicodeError("no certain encoding")
    return text


__all__ = [
    "html_words",
    "json_words",
    "jsonl_words",
    "markdown_words",
    "notebook_words",
    "rtf_words",
    "table_words",
    "text_words",
]
