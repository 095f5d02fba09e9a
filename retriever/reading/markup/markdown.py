"""Markdown: the page's text is the source itself.

Front matter becomes metadata. Outside code, comments, HTML tags, anchors and entities are removed,
and HTML tables become rows. Nothing is rendered and no link is followed.
"""

from __future__ import annotations

import html
import re
import tomllib
from collections.abc import Iterator
from typing import Any

import yaml

from retriever.reading.facts import clean_author, clean_title, iso_date, scalars
from retriever.reading.markup.html import table_rows
from retriever.reading.pages import (
    MAX_CHARACTERS,
    drop_controls,
    make_page,
    too_long_page,
    unify_lines,
)
from retriever.reading.plain.text import decode_text
from retriever.types import Document

_MAX_FRONT_MATTER = 65_536
_FRONT_MATTER = re.compile(
    r"(?P<fence>---|\+\+\+)[ \t]*\n(?P<body>.*?\n)??(?P=fence)[ \t]*(?:\n|\Z)", re.DOTALL
)
_YAML_END = re.compile(r"---[ \t]*\n(?P<body>.*?\n)??\.\.\.[ \t]*(?:\n|\Z)", re.DOTALL)
_OWN_FACTS = frozenset(["title", "author", "authors", "date"])

_FENCE = re.compile(r" {0,3}(?P<marks>`{3,}|~{3,})(?P<info>[^\n]*)")
_TICKS = re.compile(r"(`+)")
_TABLE_START = re.compile(r"<table\b", re.IGNORECASE)
_TABLE_END = re.compile(r"</table\s{0,20}>", re.IGNORECASE)
_BLOCKS = "div|p|section|article|details|summary|figure|figcaption|center|blockquote|ul|ol|dl|dd|dt"
_BREAK = re.compile(rf"<(?:br\s*/?|/?(?:{_BLOCKS})(?:\s[^<>]*)?)>[ \t]*", re.IGNORECASE)
_ITEM = re.compile(r"[ \t]*<li(?:\s[^<>]*)?>[ \t]*", re.IGNORECASE)
_TAG = re.compile(
    r"</?(?:a|abbr|b|big|cite|code|del|em|font|i|img|ins|kbd|li|mark|q|s|samp|small|span|strike|"
    r"strong|sub|sup|tt|u|var|picture|source|wbr|table|thead|tbody|tr|td|th|hr|nobr)"
    r"(?:\s[^<>]*)?/?>",
    re.IGNORECASE,
)
_ENTITY = re.compile(r"&(?:[A-Za-z][A-Za-z0-9]{1,30}|#\d{1,7}|#[xX][0-9A-Fa-f]{1,6});")
# Every pattern is linear, also on adversarial text: no two repetitions share a character.
_ATX_TITLE = re.compile(r"^ {0,3}#[ \t](?P<title>[^\n]*)", re.MULTILINE)
_HEADING = re.compile(r"^(?P<marks>#{2,6})[ \t](?P<title>[^\n]*)", re.MULTILINE)
_SETEXT_TITLE = re.compile(r"^ {0,3}(?P<title>\S[^\n]*)\n {0,3}=+[ \t]*$", re.MULTILINE)
_MAX_TITLE = 1_000


def read_markdown(data: bytes, name: str) -> Document:
    """Read a Markdown file into one page."""
    if len(data) > 4 * MAX_CHARACTERS:
        return Document(name, "markdown", (too_long_page(None, f"{len(data):,} bytes"),))
    source = drop_controls(unify_lines(decode_text(data)))
    facts, body = split_front_matter(source)
    text, prose = _without_markup(body)
    page = make_page(None, text, "nothing but blanks or front matter in it")
    title = clean_title(facts.get("title"), name) or clean_title(_first_heading(prose), name)
    author = facts.get("author") or facts.get("authors") or ""
    people = author if isinstance(author, list) else [author]
    return Document(
        path=name,
        format="markdown",
        pages=(page,),
        title=title,
        author=clean_author(", ".join(filter(None, map(_person, people)))),
        date=iso_date(facts.get("date")),
        metadata=scalars({k: v for k, v in facts.items() if k.lower() not in _OWN_FACTS}),
    )


def split_front_matter(source: str) -> tuple[dict[str, Any], str]:
    r"""Split off a leading YAML (`---`) or TOML (`+++`) block.

    A block that is not a mapping is not front matter but text between two rules.

    >>> split_front_matter("---\ntitle: A\n---\n# B\n")
    ({'title': 'A'}, '# B\n')
    >>> split_front_matter("---\nA line.\n---\nAnother.\n")[0]
    {}
    """
    head = source[:_MAX_FRONT_MATTER]
    match = _FRONT_MATTER.match(head) or _YAML_END.match(head)
    if not match:
        return {}, source
    facts = _parse_front_matter(match["body"] or "", toml=head.startswith("+++"))
    if facts is None:
        return {}, source
    return {str(key).lower(): value for key, value in facts.items()}, source[match.end() :]


def _parse_front_matter(block: str, *, toml: bool) -> dict[Any, Any] | None:
    try:
        facts = tomllib.loads(block) if toml else yaml.safe_load(block)
    except (yaml.YAMLError, ValueError, TypeError, AttributeError, RecursionError, OverflowError):
        return _plain_lines(block)
    if facts is None:
        return {}
    return facts if isinstance(facts, dict) else None


def _plain_lines(block: str) -> dict[Any, Any] | None:
    """Parse `key: value` lines that are not valid YAML ("title: A: B" is common)."""
    pairs = re.findall(r"^([A-Za-z_][\w -]{0,60}):[ \t]*([^\n]*)$", block, re.MULTILINE)
    filled = [line for line in block.split("\n") if line.strip()]
    if not pairs or len(pairs) < len(filled) / 2:
        return None
    return {key: value.strip().strip("\"'") for key, value in pairs}


def _person(value: object) -> str:
    if isinstance(value, dict):
        value = value.get("name")
    return value if isinstance(value, str) else ""


def _without_markup(body: str) -> tuple[str, str]:
    """The text without tags and comments, and its prose without code, to find the title."""
    text: list[str] = []
    prose: list[str] = []
    for code, block in _code_and_prose(body):
        cleaned = block if code else _clean_prose(block)
        text.append(cleaned)
        if not code:
            prose.append(cleaned)
    return "".join(text), "\n".join(prose)


def _code_and_prose(text: str) -> list[tuple[bool, str]]:
    """Split the text into fenced code (True) and the rest (False), without comments.

    A comment may hold a fence, and a fence a comment: the one that begins first contains the other.
    """
    blocks: list[tuple[bool, str]] = []
    current: list[str] = []
    fence = ""
    for line in _without_comments(text):
        match = _FENCE.match(line)
        if not fence and match:
            blocks.append((False, "".join(current)))
            current, fence = [line], match["marks"]
        elif fence and match and match["marks"].startswith(fence) and not match["info"].strip():
            blocks.append((True, "".join([*current, line])))
            current, fence = [], ""
        else:
            current.append(line)
    blocks.append((bool(fence), "".join(current)))
    return blocks


def _without_comments(text: str) -> Iterator[str]:
    """The lines without comments outside fenced code."""
    lines = text.splitlines(keepends=True)
    last = max((number for number, line in enumerate(lines) if "-->" in line), default=-1)
    fence = ""
    inside = False
    for number, line in enumerate(lines):
        match = _FENCE.match(line)
        if inside:
            _, closed, line = line.partition("-->")
            inside = not closed
        elif fence:
            if match and match["marks"].startswith(fence) and not match["info"].strip():
                fence = ""
            yield line
            continue
        elif match:
            fence = match["marks"]
        kept, inside = ("", True) if inside else _cut_comments(line, number < last)
        yield kept


def _cut_comments(line: str, closed_later: bool) -> tuple[str, bool]:
    """The line without comments, and whether a comment goes on in the next line."""
    kept: list[str] = []
    place = 0
    while (begin := line.find("<!--", place)) >= 0:
        if line.count("`", 0, begin) % 2:  # inside inline code it is text
            break
        end = line.find("-->", begin + 4)
        if end < 0 and not closed_later:
            break
        kept.append(line[place:begin])
        if end < 0:
            return "".join(kept) + "\n", True
        place = end + 3
    return "".join(kept) + line[place:], False


def _clean_prose(block: str) -> str:
    """Remove tags, anchors and entities; keep inline code."""
    pieces: list[str] = []
    for code, piece in _inline_code(_tables_as_rows(block)):
        pieces.append(piece if code else _clean_inline(piece))
    return re.sub(r"\n[ \t]*\n(?:[ \t]*\n)+", "\n\n", "".join(pieces))


def _tables_as_rows(block: str) -> str:
    """Rewrite HTML tables as rows; a table without an end is unchanged."""
    pieces: list[str] = []
    place = 0
    while begin := _TABLE_START.search(block, place):
        end = _TABLE_END.search(block, begin.end())
        if end is None:
            break
        rows = table_rows(block[begin.start() : end.end()]).text
        pieces += [block[place : begin.start()], f"\n\n{rows}\n\n"]
        place = end.end()
    return "".join(pieces) + block[place:]


def _inline_code(text: str) -> Iterator[tuple[bool, str]]:
    """Split the text into inline code (True) and the rest; closing and opening ticks match.

    >>> list(_inline_code("a `b` c"))
    [(False, 'a '), (True, '`b`'), (False, ' c')]
    """
    parts = _TICKS.split(text)  # text, ticks, text, ticks, …
    closing: dict[int, int] = {}
    following: dict[str, int] = {}
    for number in range(len(parts) - 2, 0, -2):
        closing[number] = following.get(parts[number], 0)
        following[parts[number]] = number
    number = 0
    while number < len(parts):
        end = closing.get(number, 0) if number % 2 else 0
        if end:
            yield True, "".join(parts[number : end + 1])
            number = end + 1
        else:
            yield False, parts[number]
            number += 1


def _clean_inline(text: str) -> str:
    if "<" in text:
        text = _ITEM.sub("- ", text)
        text = _TAG.sub("", _BREAK.sub("\n", text))
        text = re.sub(r"^(#{1,6})[ \t]+", r"\1 ", text, flags=re.MULTILINE)
    return _ENTITY.sub(lambda match: html.unescape(match[0]), text)


def _first_heading(prose: str) -> str:
    """The first first-level heading as plain text, or the only heading of its level."""
    found = [match for match in (_ATX_TITLE.search(prose), _SETEXT_TITLE.search(prose)) if match]
    match = min(found, key=lambda one: one.start()) if found else _only_head(prose)
    if match is None:
        return ""
    title = match["title"][:_MAX_TITLE].strip().rstrip("#").rstrip()
    title = re.sub(r"!?\[([^\]]*)\]\([^)]*\)", r"\1", title)
    title = re.sub(r"(?<!\\)[*_`]{1,3}(\S(?:.*?\S)?)(?<!\\)[*_`]{1,3}", r"\1", title)
    return re.sub(r"\\([!-/:-@\[-`{-~])", r"\1", title)


def _only_head(prose: str) -> re.Match[str] | None:
    """A lower-level heading on the first line, if no other heading has its level."""
    first = _HEADING.match(prose.lstrip())
    if first is None:
        return None
    levels = [len(match["marks"]) for match in _HEADING.finditer(prose)]
    alone = levels.count(levels[0]) == 1 and min(levels) == levels[0]
    return first if alone else None
