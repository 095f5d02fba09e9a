"""Results as files: JSON for programs, CSV for spreadsheets, Markdown with citations.

No text of a document can act on the program that opens the file: in CSV a cell that would be a
formula gets an apostrophe before it, in Markdown the text is escaped.
"""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from retriever.interface.terminal.characters import without_controls
from retriever.interface.terminal.printing import escape_json
from retriever.types import DocumentRow, Hit

COLUMNS = (
    *("rank", "score", "strength", "meaning", "keywords", "path", "place", "title", "author"),
    *("date", "citation", "text", "sentence"),
)
"""The columns of the CSV file."""

# Spreadsheets pass over white space and quotes before a formula, and read the full-width forms of
# its signs like the plain ones.
_FORMULA = re.compile(
    r"[\s\ufeff\u200b-\u200f\u2060\u00ad\ufffd\"'`\u2018-\u201f]*"
    r"[=+\-@\u2212\u207a-\u207c\u208a-\u208c\ufb29\ufe62\ufe63\ufe66\ufe6b\uff0b\uff0d\uff1d\uff20"
    r"\u2a75\u2a76]"
)
_EDGE = ("\t", "\r", "\n")
_MARKDOWN = re.compile(r"([\\`*_\[\]<>#|!~$&^]|:(?=[\w+-]+:))")
_LIST_ITEM = re.compile(r"^(\s*)([-+]|\d+[.)])(?=\s|$)", re.MULTILINE)
_RULE = re.compile(r"^(\s*)(?=(?:=+|-[- \t]+)[ \t]*$)", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class SearchExport:
    """A search and its results, in order; `documents` maps ids to the hits' documents, if known."""

    query: str
    index: str
    mode: str
    hits: Sequence[Hit]
    filters: Sequence[str] = ()
    documents: Mapping[str, DocumentRow] = field(default_factory=dict)


def citation(hit: Hit, row: DocumentRow | None = None) -> str:
    """The citation of a passage: author, year, title, file, page.

    >>> from retriever.types import Chunk
    >>> citation(Hit(1, 0.5, Chunk("", "", "a/b.pdf", "pdf", "On pears", 3, 0, 1, "x")))
    'On pears. a/b.pdf, page 3'
    >>> citation(Hit(1, 0.5, Chunk("", "", "a/b.pdf", "pdf", "", 39, 0, 1, "x", printed="23")))
    'a/b.pdf, page 23 (PDF page 39)'
    """
    chunk = hit.chunk
    author, date = (row.author.strip(), row.date[:4]) if row else ("", "")
    who = f"{author} ({date})" if author and date else author or (f"({date})" if date else "")
    where = ", ".join(filter(None, [chunk.path, chunk.place]))
    return ". ".join(filter(None, [who.rstrip("."), chunk.title.strip().rstrip("."), where]))


def as_json(found: SearchExport) -> str:
    """One JSON document; a hit is what `Hit.to_json` gives, with author, date and citation."""
    values = {
        "query": found.query,
        "index": found.index,
        "mode": found.mode,
        "filters": list(found.filters),
        "hits": [_record(hit, found) for hit in found.hits],
    }
    return escape_json(json.dumps(values, ensure_ascii=False, indent=2)) + "\n"


def _record(hit: Hit, found: SearchExport) -> dict[str, Any]:
    row = found.documents.get(hit.chunk.document_id)
    return {
        **hit.to_json(),
        "author": row.author if row else "",
        "date": row.date if row else "",
        "citation": citation(hit, row),
    }


def as_csv(found: SearchExport) -> str:
    """A table with a row for each result, `COLUMNS` first; begins with a byte order mark.

    Spreadsheets read text as UTF-8 only with that mark.
    """
    table = io.StringIO(newline="")
    table.write("\ufeff")
    rows = csv.writer(table)
    rows.writerow(COLUMNS)
    for hit in found.hits:
        chunk, row = hit.chunk, found.documents.get(hit.chunk.document_id)
        author, date = (row.author, row.date) if row else ("", "")
        values = [hit.rank, hit.score, hit.strength, hit.dense, hit.keyword]
        texts = [chunk.path, chunk.place, chunk.title, author, date, citation(hit, row), hit.text]
        texts.append(hit.sentence.text if hit.sentence else "")
        rows.writerow([*values, *map(_cell, texts)])
    return table.getvalue()


def _cell(text: str) -> str:
    """The text, so that no spreadsheet reads it as a formula.

    >>> _cell("=1+1"), _cell("a=1")
    ("'=1+1", 'a=1')
    """
    text = without_controls(text)
    return f"'{text}" if text.startswith(_EDGE) or _FORMULA.match(text) else text


def as_markdown(found: SearchExport) -> str:
    """The passages as quotations, each below its best sentence and above its citation."""
    told = [f"{len(found.hits)} results in {found.index}", *found.filters]
    lines = [f"# {_in_line(found.query)}", "", _in_line("; ".join(told)), ""]
    for hit in found.hits:
        row = found.documents.get(hit.chunk.document_id)
        if hit.sentence and hit.sentence.text.strip() != hit.text.strip():
            lines += [f"**{_in_line(hit.sentence.text)}**", ""]
        quoted = _escape_markdown(hit.text.strip()).splitlines() or [""]
        lines += [f"> {line}".rstrip() for line in quoted]
        lines += ["", f"[{hit.rank}] {_in_line(citation(hit, row))}", ""]
    return "\n".join(lines)


def _escape_markdown(text: str) -> str:
    r"""The text, so that Markdown shows it unchanged.

    >>> _escape_markdown("<b> *x*"), _escape_markdown("1. one")
    ('\\<b\\> \\*x\\*', '1\\. one')
    """
    text = _MARKDOWN.sub(r"\\\1", without_controls(text))
    text = _LIST_ITEM.sub(lambda m: f"{m[1]}{m[2][:-1]}\\{m[2][-1]}", text)
    return _RULE.sub(r"\1\\", text)


def _in_line(text: str) -> str:
    """The text as Markdown of one line."""
    return _escape_markdown(" ".join(text.split()))


FORMATS = {
    "JSON": (as_json, "json", "application/json"),
    "CSV": (as_csv, "csv", "text/csv"),
    "Markdown": (as_markdown, "md", "text/markdown"),
}
"""A format's name → its function, file ending and media type."""

__all__ = ["COLUMNS", "FORMATS", "SearchExport", "as_csv", "as_json", "as_markdown", "citation"]
