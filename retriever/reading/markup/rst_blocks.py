"""A docutils tree → blocks of text: headings, list items, table rows, fenced code.

Nodes are recognised by their class names, so docutils is needed for parsing only.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

from retriever.reading.markup.html import extract, parse
from retriever.reading.markup.html_marks import marks_around
from retriever.reading.plain.code import fence
from retriever.reading.tables.grid import Cell, grid_lines
from retriever.types import LeftOut

_DROPPED = frozenset(
    [
        *["comment", "target", "substitution_definition", "image", "raw", "pending", "decoration"],
        *["meta", "colspec", "transition"],
    ]
)
_LEFT_OUT = {"comment": "comments", "raw": "text for one output format", "meta": "metadata"}
OPTIONS = "directive-options"
"""The class of a comment that holds the options of a directive."""

_RAW = re.compile(r"\.\. +raw:: *(?P<format>[^\n]*)\n(?:[ \t]+:[^\n]*\n)*(?P<text>.*)", re.DOTALL)
"""The source of a part in another markup, which docutils refuses and quotes in a warning."""

_MAX_DEPTH = 200
_SERIOUS = 3  # docutils' errors hold source text that is nowhere else; its warnings only quote it
_MAX_FIELDS = 100
_NUMBERS: dict[str, Callable[[int], str]] = {
    "arabic": str,
    "loweralpha": lambda number: chr(ord("a") + (number - 1) % 26),
    "upperalpha": lambda number: chr(ord("A") + (number - 1) % 26),
}


class Blocks:
    """Collects the text of a tree, with `title` and `fields` of the document.

    A block is a text and a flag: True if no blank line separates it from the block before, as
    between list items.
    """

    def __init__(self) -> None:
        self.title = ""
        self.fields: dict[str, str] = {}
        self.left_out: list[LeftOut] = []
        self._used: set[str] = set()
        self._level = 0
        self._substitutions: dict[str, str] = {}

    def text(self, tree: Any) -> str:
        """All blocks below `tree`, separated by blank lines; items and rows by newlines."""
        known = getattr(tree, "substitution_defs", {})
        self._substitutions = {name: node.astext() for name, node in known.items()}
        pieces: list[str] = []
        for text, close in self._children(tree, 0):
            if text.strip():
                pieces.append(("\n" if close else "\n\n") + text)
        for name, shown in self._substitutions.items():
            if name not in self._used and shown.strip():
                self.left_out.append(LeftOut("unused substitutions", shown))
        return "".join(pieces).strip("\n")

    def _children(self, node: Any, depth: int) -> Iterator[tuple[str, bool]]:
        for child in node.children:
            yield from self._block(child, depth + 1)

    def _block(self, node: Any, depth: int) -> Iterator[tuple[str, bool]]:
        kind = node.__class__.__name__
        if kind in _DROPPED:
            shown = self._dropped(node)
            if shown:
                yield shown, False
            return
        if depth > _MAX_DEPTH:
            yield node.astext(), False
            return
        write = getattr(self, f"_{kind}", None)
        if write is not None:
            yield from write(node, depth)
        elif kind == "Text" or not _has_blocks(node):
            yield self._words(node), False
        else:
            yield from self._children(node, depth)

    def _dropped(self, node: Any) -> str:
        """Note what a node holds that is no text; the description of a picture is text."""
        kind = _kind(node)
        if kind == "image":
            return str(node.get("alt", ""))
        text = str(node.get("content", "")) if kind == "meta" else node.astext()
        if kind in _LEFT_OUT and text.strip():
            options = OPTIONS in node.get("classes", ())
            self.left_out.append(LeftOut("options" if options else _LEFT_OUT[kind], text.strip()))
        return ""

    # Blocks: each method is named after its node

    def _section(self, node: Any, depth: int) -> Iterator[tuple[str, bool]]:
        self._level += 1
        yield from self._children(node, depth)
        self._level -= 1

    def _title(self, node: Any, depth: int) -> Iterator[tuple[str, bool]]:
        words = " ".join(self._words(node).split())
        if node.parent.__class__.__name__ != "section":  # of a table, a topic, an admonition
            yield words, False
            return
        self.title = self.title or words
        yield f"{'#' * min(max(self._level, 1), 6)} {words}", False

    def _literal_block(self, node: Any, depth: int) -> Iterator[tuple[str, bool]]:
        code = node.astext().strip("\n")
        classes = [name for name in node.get("classes", ()) if name != "code"]
        yield fence(code, classes[0] if classes else ""), False

    _doctest_block = _literal_block
    _math_block = _literal_block

    def _line_block(self, node: Any, depth: int) -> Iterator[tuple[str, bool]]:
        lines = [
            "\n".join(text for text, _ in self._line_block(child, depth + 1))
            if child.__class__.__name__ == "line_block" and depth < _MAX_DEPTH
            else self._words(child)
            for child in node.children
        ]
        yield "\n".join(lines), False

    def _bullet_list(self, node: Any, depth: int) -> Iterator[tuple[str, bool]]:
        for position, item in enumerate(node.children):
            yield from self._item(item, "- ", depth, close=position > 0)

    def _enumerated_list(self, node: Any, depth: int) -> Iterator[tuple[str, bool]]:
        number = _NUMBERS.get(node.get("enumtype", "arabic"), str)
        first = int(node.get("start", 1))
        for position, item in enumerate(node.children):
            mark = f"{number(first + position)}. "
            yield from self._item(item, mark, depth, close=position > 0)

    def _item(self, item: Any, mark: str, depth: int, *, close: bool) -> Iterator[tuple[str, bool]]:
        """A list item: its first block after the marker, the others below, indented."""
        pad = " " * len(mark)
        for position, (text, near) in enumerate(self._children(item, depth)):
            lines = text.split("\n")
            first = (mark if position == 0 else pad) + lines[0]
            rest = [pad + line if line else line for line in lines[1:]]
            nested = position > 0 and bool(re.match(r"- |\w{1,3}\. ", text.lstrip()))
            yield "\n".join([first, *rest]), close if position == 0 else near or nested

    def _definition_list_item(self, node: Any, depth: int) -> Iterator[tuple[str, bool]]:
        """The term with its classifiers, and the definition below it."""
        terms = [self._words(part) for part in node.children if _kind(part) == "term"]
        classes = [self._words(part) for part in node.children if _kind(part) == "classifier"]
        yield " : ".join([*terms, *classes]), False
        for part in node.children:
            if _kind(part) == "definition":
                for position, (text, close) in enumerate(self._children(part, depth)):
                    yield "\n".join(f"  {line}" for line in text.split("\n")), close or not position

    def _field_list(self, node: Any, depth: int) -> Iterator[tuple[str, bool]]:
        for position, field in enumerate(node.children):
            name, body = (_child_of_kind(field, kind) for kind in ("field_name", "field_body"))
            label = self._words(name) if name is not None else ""
            blocks = list(self._children(body, depth)) if body is not None else []
            value = "\n".join(text for text, _ in blocks)
            if len(self.fields) < _MAX_FIELDS and self._level <= 1:
                self.fields.setdefault(label.lower(), " ".join(value.split()))
            yield f"{label}: {value}" if value else label, position > 0

    def _docinfo(self, node: Any, depth: int) -> Iterator[tuple[str, bool]]:
        for position, child in enumerate(node.children):
            yield f"{_kind(child).capitalize()}: {self._words(child)}", position > 0

    def _option_list_item(self, node: Any, depth: int) -> Iterator[tuple[str, bool]]:
        group, description = (
            _child_of_kind(node, kind) for kind in ("option_group", "description")
        )
        options = "" if group is None else ", ".join(map(self._words, group.children))
        blocks = [] if description is None else [text for text, _ in self._children(node[1], depth)]
        yield "  ".join([options, "\n".join(blocks)]), node.parent[0] is not node

    def _table(self, node: Any, depth: int) -> Iterator[tuple[str, bool]]:
        """One row a line, with the names of its columns; the title first."""
        for child in node.children:
            if _kind(child) == "title":
                yield self._words(child), False
        rows = list(_below(node, "row"))
        heads = sum(_kind(row.parent) == "thead" for row in rows)
        lines = grid_lines(
            [[self._cell(cell, depth) for cell in row.children] for row in rows], heads or None
        )
        for position, line in enumerate(lines):
            yield line.strip("\n"), position > 0 and not line.startswith("\n")

    def _cell(self, cell: Any, depth: int) -> Cell:
        text = " ".join(" ".join(text for text, _ in self._children(cell, depth)).split())
        return Cell(text, int(cell.get("morerows", 0)) + 1, int(cell.get("morecols", 0)) + 1)

    def _footnote(self, node: Any, depth: int) -> Iterator[tuple[str, bool]]:
        label = _child_of_kind(node, "label")
        names = [*node.get("names", ()), ""]
        mark = self._words(label) if label is not None else names[0]
        rest = [
            text
            for child in node.children
            if child is not label
            for text, _ in self._block(child, depth)
        ]
        yield f"[{mark or '#'}] " + "\n".join(rest), False

    _citation = _footnote

    def _system_message(self, node: Any, depth: int) -> Iterator[tuple[str, bool]]:
        """The source text inside an error message, which docutils could not parse."""
        sources = [child.astext() for child in node.children if _kind(child) == "literal_block"]
        if int(node.get("level", 0)) >= _SERIOUS:
            yield from ((source, False) for source in sources)
        for raw in filter(None, map(_RAW.match, sources)):
            yield self._raw_markup(raw["format"], raw["text"]), False

    def _raw_markup(self, format_: str, text: str) -> str:
        """The text of a part in HTML; a part in another format is left out."""
        root = parse(text) if format_.split()[:1] == ["html"] else None
        if root is None:
            self.left_out.append(LeftOut("text for one output format", text.strip()))
            return ""
        found = extract(root)
        self.left_out += found.left_out
        return found.text

    def _attribution(self, node: Any, depth: int) -> Iterator[tuple[str, bool]]:
        yield f"— {self._words(node)}", False

    def _admonition_like(self, node: Any, depth: int) -> Iterator[tuple[str, bool]]:
        """An admonition with its kind as the first word: "Warning: …"."""
        label = _kind(node).capitalize()
        for position, (text, close) in enumerate(self._children(node, depth)):
            yield (f"{label}: {text}" if position == 0 else text), close

    _note = _warning = _tip = _hint = _important = _caution = _danger = _attention = _error = (
        _admonition_like
    )

    # Inline text

    def _words(self, node: Any) -> str:
        """The inline text of a node, with substitutions and without messages."""
        if _kind(node) == "Text":
            return str(node.astext())
        found: list[str] = []
        stack = [iter(node.children)]
        while stack:
            child = next(stack[-1], None)
            if child is None:
                stack.pop()
                continue
            kind = _kind(child)
            if kind == "substitution_reference":
                self._used.add(child.astext())
                found.append(self._substitutions.get(child.astext(), child.astext()))
            elif kind == "footnote_reference" or kind == "citation_reference":
                found.append(f"[{child.astext() or '#'}]")
            elif kind == "Text":
                found.append(child.astext())
            elif kind == "superscript":
                found.append(_raised(child.astext(), "".join(found[-3:])))
            elif kind in _DROPPED:
                words = self._dropped(child)
                found.append(f" {words} " if words else "")
            elif kind != "system_message":
                found.append(child.get("delimiter", "") if kind == "option_argument" else "")
                stack.append(iter(child.children))
        return "".join(found)


def _raised(text: str, before: str) -> str:
    """A raised text behind others: "word[1]", "10^23"."""
    if not before or before[-1].isspace():
        return text
    opening, closing = marks_around(text, before[-40:], linked=False, raised=True)
    return f"{opening}{text}{closing}"


def _kind(node: Any) -> str:
    return str(node.__class__.__name__)


def _has_blocks(node: Any) -> bool:
    """Whether any child is a block."""
    kinds = {_kind(child) for child in node.children}
    return bool(kinds - _INLINE)


_INLINE = frozenset(
    [
        *["Text", "emphasis", "strong", "literal", "reference", "footnote_reference", "inline"],
        *["citation_reference", "substitution_reference", "title_reference", "abbreviation"],
        *["acronym", "superscript", "subscript", "problematic", "generated", "math", "target"],
        *["image", "raw"],
    ]
)


def _child_of_kind(node: Any, kind: str) -> Any:
    return next((child for child in node.children if _kind(child) == kind), None)


def _below(node: Any, kind: str) -> Iterator[Any]:
    """The nodes of a kind below `node`, without those of nested tables."""
    for child in node.children:
        if _kind(child) == kind:
            yield child
        elif _kind(child) in ("tgroup", "thead", "tbody"):
            yield from _below(child, kind)


__all__ = ["Blocks"]
