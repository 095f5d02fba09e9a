"""The words of ZIP packages: Office, OpenDocument and EPUB files, by the text nodes of their XML.

Each package is a list of parts with text. Elements are told apart by their local names alone, and
no relation between parts is followed: a part that nothing points to counts.
"""

from __future__ import annotations

import io
import re
import zipfile
from collections import Counter
from collections.abc import Iterator
from html import unescape

from retriever.reading.account.decoding import certain_text
from retriever.reading.account.markup import html_text
from retriever.reading.account.words import count_words, joined, words

MAX_TEXT = 20_000_000
"""Bytes of unpacked XML; the words of a larger package are not counted."""

_TEXT = re.compile(r"<(?:\w+:)?(t|delText|text|p|br|cr|tab|tc|cm|si)(?:\s[^>]*)?(/?)>([^<]*)")
_WORD_PARTS = re.compile(
    r"word/(?:document|footnotes|endnotes|comments|header\d*|footer\d*)\.xml"
    r"|word/(?:charts/chart|diagrams/data)\d*\.xml"
)
_WORD_REPEATED = re.compile(r"word/(?:header|footer)\d*\.xml")
_SLIDE_PARTS = re.compile(
    r"ppt/(?:slides/slide|notesSlides/notesSlide|diagrams/data|comments/\w*?)\d*\.xml"
)
_SHEET_PARTS = re.compile(r"xl/(?:comments|threadedComments|drawings|diagrams)\w*/?\w*\.xml")
_SHEET = re.compile(r"xl/worksheets/[^/]+\.xml")
_FALLBACK = re.compile(r"<(?:\w+:)?Fallback[ >].*?</(?:\w+:)?Fallback>", re.DOTALL)
_FIELD = re.compile(
    r'<(?:\w+:)?fld [^>]*type="(?:slidenum|datetime)[^"]*".*?</(?:\w+:)?fld>', re.DOTALL
)
_CELL = re.compile(r"<(?:\w+:)?c(?=[ >])([^>]*)(?<!/)>(.*?)</(?:\w+:)?c>", re.DOTALL)
_TYPE, _STYLE = re.compile(r'\bt="(\w+)"'), re.compile(r'\bs="(\d+)"')
_VALUE = re.compile(r"<(?:\w+:)?v(?:\s[^>]*)?>([^<]*)<")
_SHORT = re.compile(r"-?\d{1,15}(?:\.\d{1,17})?")
_STRING = re.compile(r"<(?:\w+:)?si(?:\s[^>]*)?(?:/>|>(.*?)</(?:\w+:)?si>)", re.DOTALL)
_PHONETIC = re.compile(r"<(?:\w+:)?rPh[ >].*?</(?:\w+:)?rPh>", re.DOTALL)
_FORMATS = re.compile(r"<(?:\w+:)?cellXfs[ >](.*?)</(?:\w+:)?cellXfs>", re.DOTALL)
_FORMAT = re.compile(r'<(?:\w+:)?xf [^>]*?numFmtId="(\d+)"')
_ESCAPED = re.compile(r"_x([0-9A-Fa-f]{4})_")
_NO_TEXT = re.compile(
    r"<(?P<name>(?:dc|meta|config):[\w-]+|text:page-number|office:(?:binary-data|scripts|settings))"
    r"(?=[ >])[^>]*(?<!/)>.*?</(?P=name)>",
    re.DOTALL,
)
_LINE = re.compile(
    r"</?text:(?:span|a|ruby|ruby-base|bookmark[\w-]*|soft-page-break)(?=[ />])[^>]*>"
)
_TAG = re.compile(r"<[^>]*>")
_HEADERS = re.compile(r"<style:(header|footer)[\w-]*(?=[ >])[^>]*>.*?</style:\1[\w-]*>", re.DOTALL)
_BODY = re.compile(r"<office:body(?=[ >]).*</office:body>", re.DOTALL)
_PAGES = re.compile(r".*\.x?html?", re.IGNORECASE)


class TooLargeError(Exception):
    """There is more text than is counted."""


def docx_words(data: bytes) -> Counter[str]:
    """The words of a Word document; equal headers of several sections count once."""
    texts: dict[str, None] = {}
    count: Counter[str] = Counter()
    for name, source in _parts(data, _WORD_PARTS):
        text = _runs(source)
        if _WORD_REPEATED.fullmatch(name):
            if text.strip() in texts:
                continue
            texts[text.strip()] = None
        count.update(words(text))
    return count


def pptx_words(data: bytes) -> Counter[str]:
    """The words of a presentation: slides, notes, diagrams and comments."""
    return count_words(*(_runs(_FIELD.sub("", part)) for _, part in _parts(data, _SLIDE_PARTS)))


def _runs(source: str) -> str:
    """The text of runs; those of one paragraph are joined."""
    if "Fallback" in source:
        source = _FALLBACK.sub("", source)
    found = "".join(
        text if kind in ("t", "delText") and not empty else "\n" + ("" if empty else text)
        for kind, empty, text in _TEXT.findall(source)
    )
    return unescape(found)


def xlsx_words(data: bytes) -> Counter[str]:
    """The words of a workbook: texts of cells, comments, drawings, numbers without a format."""
    parts = dict(_parts(data, re.compile(r"xl/(?:sharedStrings|styles)\.xml")))
    found = parts.get("xl/sharedStrings.xml", "")
    strings = [_runs(_PHONETIC.sub("", text)) for text in _STRING.findall(found)]
    listed = _FORMATS.search(parts.get("xl/styles.xml", ""))
    formats = _FORMAT.findall(listed[1]) if listed else []
    texts = [_runs(part) for _, part in _parts(data, _SHEET_PARTS)]
    for _, part in _parts(data, _SHEET):
        texts += (_cell(own, inner, strings, formats) for own, inner in _CELL.findall(part))
    return count_words(_ESCAPED.sub(lambda sign: chr(int(sign[1], 16)), joined(texts)))


def _cell(attributes: str, inner: str, strings: list[str], formats: list[str]) -> str:
    """What is known of a cell's text: a number with a format is shown in another way."""
    kind = _TYPE.search(attributes)
    if kind is not None and kind[1] == "inlineStr":
        return _runs(_PHONETIC.sub("", inner))
    value = _VALUE.search(inner)
    if value is None:
        return ""
    if kind is not None and kind[1] == "s":
        return strings[int(value[1])] if int(value[1]) < len(strings) else ""
    if kind is not None and kind[1] == "str":
        text = unescape(value[1])
        return "" if text.startswith("#") else text
    style = _STYLE.search(attributes)
    plain = style is None or (int(style[1]) < len(formats) and formats[int(style[1])] == "0")
    return _number(value[1].strip()) if plain and (kind is None or kind[1] == "n") else ""


def _number(value: str) -> str:
    """A number as every sheet shows it; empty where that is not certain: it has many digits."""
    shown = f"{float(value):.15g}" if _SHORT.fullmatch(value) else "e"
    return "" if "e" in shown else shown


def odf_words(data: bytes) -> Counter[str]:
    """The words of an OpenDocument file, with equal headers and footers once."""
    parts = dict(_parts(data, re.compile(r"(?:content|styles)\.xml")))
    body = _BODY.search(parts.get("content.xml", ""))
    headers = [found[0] for found in _HEADERS.finditer(parts.get("styles.xml", ""))]
    texts = dict.fromkeys(_odf_text(source).strip() for source in headers)
    return count_words(_odf_text(body[0]) if body else "", *texts)


def _odf_text(source: str) -> str:
    return unescape(_TAG.sub("\n", _LINE.sub("", _NO_TEXT.sub(" ", source))))


def epub_words(data: bytes) -> Counter[str]:
    """The words of all pages of a book, listed in its contents or not."""
    return count_words(*(html_text(source) for _, source in _parts(data, _PAGES)))


def _parts(data: bytes, wanted: re.Pattern[str]) -> Iterator[tuple[str, str]]:
    """Name and text of the parts of a package with such names; TooLargeError for too much."""
    left = MAX_TEXT
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        for part in archive.infolist():
            if not wanted.fullmatch(part.filename):
                continue
            left -= part.file_size
            if left < 0:
                raise TooLargeError
            source = certain_text(archive.read(part))
            if source is None:
                raise UnicodeError(part.filename)
            yield part.filename, source


__all__ = [
    "TooLargeError",
    "docx_words",
    "epub_words",
    "odf_words",
    "pptx_words",
    "xlsx_words",
]
