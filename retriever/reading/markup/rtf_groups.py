r"""The groups of a Rich Text file, rewritten so that `striprtf` gives the text of all of them.

`striprtf` drops whole destinations: footnotes, headers, comments, the text of boxes, formulas and
objects. They are collected here, or put in place of what surrounds them. The ends of table cells
and rows become marks, because `striprtf` writes them like text.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

CELL, ROW, ROW_BEGIN, BREAK = "\ufdd0", "\ufdd1", "\ufdd2", "\ufdd3"
"""Marks in the rewritten source, which no file contains: a cell ends, a row begins and ends with
the number of its `RowShape`, and one collected text ends."""

_TOKEN = re.compile(
    r"(?P<open>\{)|(?P<close>\})|\\(?P<word>[a-zA-Z]{1,32})(?P<number>-?\d{1,10})? ?"
    r"|(?P<star>\\\*)|\\'[0-9a-fA-F]{2}|\\[^a-zA-Z]|[^\\{}]+|\\",
    re.DOTALL,
)
_BINARY = re.compile(r"\\bin(\d{1,9}) ?")
_MARK = "\\wvamark {}".format  # an unknown word ends what follows a character's code
_MAX_DEPTH = 500  # of groups
_NOTHING = "{}"  # keeps a word before it apart from the text behind it
_RUNNING = frozenset(
    [f"{edge}{kind}" for edge in ("header", "footer") for kind in ("", "l", "r", "f")]
)
_BOXES = frozenset(["shptxt", "dptxbxtext", "result", "ud"])
_DROPPED = frozenset(["pict", "shprslt", "nonshppict", "objdata", "nonesttables", "mmathPict"])
# What surrounds a box; its text is put behind the outermost of them.
_AROUND = frozenset(["shp", "shpinst", "shpgrp", "do", "object", "upr", "background", "shppict"])
_FORMULA = frozenset(
    [
        *["mmath", "moMath", "moMathPara", "mr", "mf", "mnum", "mden", "me", "msSup", "msSub"],
        *["msup", "msub", "msSubSup", "msPre", "mrad", "mdeg", "mnary", "md", "mm", "mfunc"],
        *["mfName", "mlim", "mlimLow", "mlimlow", "mlimUpp", "mlimupp", "macc", "mbar", "mbox"],
        *["mborderBox", "mgroupChr", "meqArr", "mphant"],
    ]
)
_MERGES = {"clvmgf": "down", "clvmrg": "above", "clmgf": "right", "clmrg": "left"}


@dataclass(slots=True)
class RowShape:
    """What a table row says about its cells: whether they name columns, and how they are merged.

    `merges` has for each cell the ways it is merged: "above" and "left" continue another cell.
    """

    is_header: bool = False
    merges: list[frozenset[str]] = field(default_factory=list)


@dataclass(slots=True)
class Groups:
    """A file taken apart: its text, and collected groups, each the source of a Rich Text file."""

    text: str
    notes: str
    running: str
    comments: str
    deleted: str
    codes: str
    shapes: list[RowShape]


@dataclass(slots=True)
class _Group:
    """An open group: its source so far, its destination, and the boxes found in it."""

    pieces: list[str] = field(default_factory=list)
    kind: str = ""
    begins: bool = True
    deleted_at: int = -1  # where the deleted text begins that is open
    boxes: list[str] = field(default_factory=list)


def without_binary(source: str) -> str:
    r"""Remove binary data, whose length the file states.

    >>> without_binary(r"{\pict\bin3 }}{} after")
    '{\\pict} after'
    """
    pieces: list[str] = []
    at = 0
    while found := _BINARY.search(source, at):
        pieces.append(source[at : found.start()])
        at = found.end() + int(found[1])
    return "".join([*pieces, source[at:]])


def take_apart(source: str) -> Groups:
    """Rewrite the source of a file."""
    return _Rewriter().read(source)


class _Rewriter:
    def __init__(self) -> None:
        self._stack = [_Group()]
        self._found: dict[str, list[str]] = {}
        self._author = ""
        self._fonts = ""
        self._head: list[str] = []
        self._shapes: list[RowShape] = []
        self._shape = RowShape()
        self._ways: set[str] = set()
        self._deeper = 0  # open groups below the deepest that is looked at

    def read(self, source: str) -> Groups:
        for token in _TOKEN.finditer(source):
            self._token(token)
        while len(self._stack) > 1:
            self._close()
        text = "".join(self._stack[0].pieces)
        kinds = ("notes", "running", "comments", "deleted", "codes")
        notes, running, comments, deleted, codes = map(self._collected, kinds)
        return Groups(text, notes, running, comments, deleted, codes, self._shapes)

    def _collected(self, kind: str) -> str:
        found = self._found.get(kind)
        head = "".join(self._head)
        inner = f"\\par {_MARK(BREAK)}\\par ".join(found or ())
        return f"{{\\rtf1\\ansi{head}{self._fonts}{inner}}}" if found else ""

    def _token(self, token: re.Match[str]) -> None:
        group = self._stack[-1]
        word = token["word"]
        if token["open"] or token["close"]:
            self._brace(group, token[0])
            return
        if word:
            self._word(group, word, token[0], token["number"] or "")
        else:
            group.pieces.append(token[0])
        group.begins = group.begins and (bool(token["star"]) or not token[0].strip())

    def _brace(self, group: _Group, brace: str) -> None:
        if brace == "{" and len(self._stack) <= _MAX_DEPTH:
            self._stack.append(_Group())
        elif brace == "}" and not self._deeper and len(self._stack) > 1:
            self._close()
        else:  # too deep for a real file, or one brace too many
            self._deeper = max(0, self._deeper + (1 if brace == "{" else -1))
            group.pieces.append(brace)

    def _word(self, group: _Group, word: str, text: str, number: str) -> None:
        if group.begins:
            group.kind = word
        if word in ("ansicpg", "deff") and len(self._stack) <= 2:
            self._head.append(text)
        if word in ("deleted", "plain"):
            self._cut_deleted(group)
        self._table_word(word)
        group.pieces.append(self._rewritten(group, word, text))
        if word == "deleted" and number != "0":
            group.deleted_at = len(group.pieces)

    def _cut_deleted(self, group: _Group) -> None:
        """Take the deleted text out of a group, from where it begins."""
        if group.deleted_at >= 0:
            kept = self._put("deleted", "".join(group.pieces[group.deleted_at :]))
            group.pieces[group.deleted_at :] = [kept]
            group.deleted_at = -1

    def _table_word(self, word: str) -> None:
        if word == "trowd":
            self._shape, self._ways = RowShape(), set()
        elif word == "trhdr":
            self._shape.is_header = True
        elif word in _MERGES:
            self._ways.add(_MERGES[word])
        elif word == "cellx":
            self._shape.merges.append(frozenset(self._ways))
            self._ways = set()

    def _rewritten(self, group: _Group, word: str, text: str) -> str:
        if word == "cell":
            return _MARK(CELL)
        if word == "nestcell":
            return " | "
        if word == "row":
            self._shapes.append(self._shape)
            return _MARK(f"{ROW}{len(self._shapes) - 1}{ROW}\n\\par ")
        if word == "trowd":
            return text + _MARK(ROW_BEGIN)
        if word in _FORMULA:
            if group.pieces and group.pieces[-1] == "\\*":
                group.pieces.pop()
            return " "
        return text

    def _close(self) -> None:
        group = self._stack.pop()
        parent = self._stack[-1]
        self._cut_deleted(group)
        inner = "".join(group.pieces)
        kept = self._collect(group, inner)
        if group.kind in _AROUND and parent.kind in _AROUND | {"*"}:
            parent.boxes += group.boxes
        elif kept is not None:
            around = "\\par ".join(["", *group.boxes, ""]) if group.boxes else ""
            parent.pieces.append(kept + around)
        elif group.kind in _BOXES:
            parent.boxes.append(f"{{{_content(inner, group.kind)}}}")

    def _collect(self, group: _Group, inner: str) -> str | None:
        """What stays of a closed group in its place; None for a box."""
        kind = group.kind
        if kind == "footnote":
            return self._put("notes", _content(inner, kind))
        if kind in _RUNNING:
            return self._put("running", _content(inner, kind))
        if kind == "annotation":
            author = f"{self._author}: " if self._author else ""
            return self._put("comments", author + _content(inner, kind))
        if kind in _BOXES and (self._stack[-1].kind in _AROUND):
            return None
        if kind == "fldinst":
            self._put("codes", _content(inner, kind))
        elif kind == "atnauthor":
            self._author = _content(inner, kind).strip()
        elif kind == "fonttbl" and not self._fonts:
            self._fonts = f"{{{inner}}}"
        return _NOTHING if kind in _DROPPED else f"{{{inner}}}"

    def _put(self, kind: str, source: str) -> str:
        self._found.setdefault(kind, []).append(f"{{{source}}}")
        return _NOTHING


def _content(inner: str, kind: str) -> str:
    """The source of a group without the word that makes it a destination."""
    return re.sub(rf"^\s*(?:\\\*)?\s*\\{kind}(?![a-zA-Z])-?\d* ?", "", inner, count=1)
