"""Rich Text (.rtf): the text with its footnotes at the end, and title, author and date if stated.

Headers and footers, and comments, are parts of their own. Tables are rows with the names of their
columns. Pictures are dropped; deleted text, field codes and page numbers are left out.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace

from retriever.reading.extras import load
from retriever.reading.facts import clean_author, clean_title, iso_date
from retriever.reading.markup.rtf_groups import (
    BREAK,
    CELL,
    ROW,
    ROW_BEGIN,
    RowShape,
    take_apart,
    without_binary,
)
from retriever.reading.pages import MAX_CHARACTERS, make_page, too_long_page
from retriever.reading.tables.grid import Cell, grid_lines
from retriever.types import Document, LeftOut, Page, PageState

_MAX_BYTES = 100_000_000
_HEAD = 20_000  # characters searched for the metadata
# Pictures are hexadecimal digits and often half of the file.
_PICTURE = re.compile(r"(?:[0-9A-Fa-f]{2}){32,}")
_FACT = re.compile(r"\{\\(title|author)\s([^{}]{1,2000})\}")
# A header with nothing but the number of its page: "Page 3", "Page 3 of 10".
_PAGE = re.compile(r"(?:\w{1,9}\.? ?)?\d{1,5}(?: ?(?:/|\w{1,4}) ?\d{1,5})?")
# The library ends at a code that no character has, and at a count that is not given.
_CHARACTER = re.compile(r"\\u(-?\d{5,10}) ?")
_NO_COUNT = re.compile(r"\\uc(?![a-zA-Z\d-])")
_DATE = re.compile(r"\{\\creatim\\yr(\d{4})\\mo(\d{1,2})\\dy(\d{1,2})")


def read_rtf(data: bytes, name: str) -> Document:
    """Read a Rich Text file into one page."""
    if len(data) > _MAX_BYTES:
        return Document(name, "rtf", (too_long_page(None, f"{len(data):,} bytes"),))
    # RTF escapes non-ASCII characters; raw bytes are Windows-1252.
    source = without_binary(data.decode("cp1252", "replace")).replace("\x00", "")
    source = _PICTURE.sub("", source)
    if len(source) > 4 * MAX_CHARACTERS:
        return Document(name, "rtf", (too_long_page(None, f"{len(source):,} characters"),))
    facts = {
        key: _text(f"{{\\rtf1\\ansi {value}}}") for key, value in _FACT.findall(source[:_HEAD])
    }
    made = _DATE.search(source[:_HEAD])
    groups = take_apart(source)
    notes = [" ".join(note.split()) for note in _texts(groups.notes)]
    body = "\n\n".join(filter(None, [_laid_out(_text(groups.text), groups.shapes), *notes]))
    running, numbers = _running(groups.running)
    left_out = [
        *(LeftOut("deleted text", text) for text in _texts(groups.deleted)),
        *(LeftOut("field codes", text) for text in _texts(groups.codes)),
        *(LeftOut("page numbers", text) for text in numbers),
    ]
    return Document(
        path=name,
        format="rtf",
        pages=(
            make_page(None, body, "no text in it"),
            *_part("headers and footers", running),
            *_part("comments", list(_texts(groups.comments))),
        ),
        title=clean_title(facts.get("title"), name),
        author=clean_author(facts.get("author")),
        date=iso_date("{}-{:0>2}-{:0>2}".format(*made.groups())) if made else "",
        left_out=tuple(left_out),
    )


def _part(label: str, texts: list[str]) -> list[Page]:
    """A page for some texts beside the others; none if there are none."""
    page = make_page(None, "\n\n".join(texts))
    return [] if page.state is PageState.EMPTY else [replace(page, label=label)]


def _text(source: str) -> str:
    library = load("striprtf.striprtf", "markup", "Rich Text files")
    possible = _CHARACTER.sub(_possible_character, _NO_COUNT.sub(r"\\uc1", source))
    text = str(library.rtf_to_text(possible, errors="replace"))
    # A character beyond the basic plane is written as two halves.
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _possible_character(match: re.Match[str]) -> str:
    """The code of a character as it is, or of the one that stands for a character unknown."""
    return match[0] if -0x10000 <= int(match[1]) <= 0x10FFFF else "\\u65533 "


def _texts(source: str) -> Iterator[str]:
    """The texts of some collected groups."""
    for text in _text(source).split(BREAK) if source else ():
        shown = re.sub(f"[{CELL}{ROW}{ROW_BEGIN}]", " ", text)
        lines = (" ".join(line.split()) for line in shown.split("\n"))
        yield from filter(None, ["\n".join(line for line in lines if line)])


def _running(source: str) -> tuple[list[str], list[str]]:
    """The headers and footers, each once, and those that hold the number of the page only."""
    texts = dict.fromkeys(_texts(source))
    numbers = [text for text in texts if not any(map(str.isalpha, text)) or _PAGE.fullmatch(text)]
    return [text for text in texts if text not in numbers], numbers


def _laid_out(text: str, shapes: list[RowShape]) -> str:
    """Write table rows with the names of their columns, and collapse blank lines."""
    pieces = text.split(ROW)  # text and cells of a row, its number, …, text
    blocks: list[str] = []
    table: list[tuple[str, RowShape]] = []
    for cells, number in zip(pieces[::2], pieces[1::2], strict=False):
        before, row = _row_begins(cells)
        if before.strip():
            blocks += [*_table(table), before.strip("\n")]
            table = []
        shape = shapes[int(number)] if number.isdecimal() else RowShape()
        table.append((row, shape))
    last = pieces[-1] if len(pieces) % 2 else ""
    blocks += [*_table(table), _plain(last).strip("\n")]
    lines = (line.rstrip() for line in "\n".join(blocks).split("\n"))
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).strip("\n")


def _row_begins(text: str) -> tuple[str, str]:
    """What stands before a row, and its cells."""
    first = text.partition(CELL)[0]
    edge = first.find(ROW_BEGIN)
    edge = first.rfind("\n") if edge < 0 else edge
    return _plain(text[: edge + 1]), text[edge + 1 :]


def _plain(text: str) -> str:
    """Text outside of tables; a cell without a row keeps a bar."""
    return text.replace(ROW_BEGIN, "").replace(CELL, " | ")


def _table(table: list[tuple[str, RowShape]]) -> list[str]:
    """The lines of a table; a cell that is merged with another one is part of that."""
    grid: list[list[Cell]] = []
    open_cells: dict[int, tuple[int, int]] = {}  # by column: the row and place of its cell
    for row, shape in table:
        line: list[Cell] = []
        grid.append(line)
        for column, text in enumerate(_cells(row)):
            ways = shape.merges[column] if column < len(shape.merges) else frozenset()
            if "left" in ways and line and not text:
                line[-1] = line[-1]._replace(columns=line[-1].columns + 1)
            elif "above" in ways and column in open_cells and not text:
                at, place = open_cells[column]
                grid[at][place] = grid[at][place]._replace(rows=len(grid) - at)
            else:
                line.append(Cell(text, is_header=shape.is_header))
                open_cells[column] = (len(grid) - 1, len(line) - 1)
    return grid_lines(grid)


def _cells(row: str) -> list[str]:
    texts = [" ".join(text.replace(ROW_BEGIN, " ").split()) for text in row.split(CELL)]
    return texts if texts[-1] else texts[:-1]


__all__ = ["read_rtf"]
