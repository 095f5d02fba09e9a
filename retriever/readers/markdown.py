"""Markdown stays Markdown: the page's text is the source, readable as it is.

Left out is what is no text: the front matter (it becomes facts), comments, HTML tags, anchors and
entities outside of code. An HTML table becomes rows. Nothing is rendered and no link is followed.
"""

from __future__ import annotations

import html
import re
import tomllib
from typing import Any

import yaml

from retriever.readers.facts import clean_author, clean_title, iso_date, scalars
from retriever.readers.html import table_rows
from retriever.readers.pages import MAX_CHARACTERS, drop_controls, make_page, too_long, unify_lines
from retriever.readers.text import decoded
from retriever.types import Document

VERSION = 1

_MAX_FRONT_MATTER = 65_536
_FRONT_MATTER = re.compile(
    r"(?P<fence>---|\+\+\+)[ \t]*\n(?P<body>.*?\n)??(?P=fence)[ \t]*(?:\n|\Z)", re.DOTALL
)
_YAML_END = re.compile(r"---[ \t]*\n(?P<body>.*?\n)??\.\.\.[ \t]*(?:\n|\Z)", re.DOTALL)
_OWN_FACTS = frozenset(["title", "author", "authors", "date"])

_FENCE = re.compile(r" {0,3}(?P<marks>`{3,}|~{3,})(?P<info>[^\n]*)")
_INLINE_CODE = re.compile(r"(`+)(?!`).+?(?<!`)\1(?!`)", re.DOTALL)
_COMMENT = re.compile(r"<!--.*?-->", re.DOTALL)
_TABLE = re.compile(r"<table\b.*?</table\s*>", re.DOTALL | re.IGNORECASE)
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
_ATX_TITLE = re.compile(r"^ {0,3}#(?!#)[ \t]+(?P<title>[^\n]*?)[ \t]*#*[ \t]*$", re.MULTILINE)
_HEADING = re.compile(r"^(?P<marks>#{2,6})[ \t]+(?P<title>[^\n]*?)[ \t]*#*[ \t]*$", re.MULTILINE)
_SETEXT_TITLE = re.compile(r"^ {0,3}(?P<title>\S[^\n]*?)[ \t]*\n {0,3}=+[ \t]*$", re.MULTILINE)


def read_markdown(data: bytes, name: str) -> Document:
    """The document of a Markdown file."""
    if len(data) > 4 * MAX_CHARACTERS:
        return Document(name, "markdown", (too_long(None, f"{len(data):,} bytes"),))
    source = drop_controls(unify_lines(decoded(data)))
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
    r"""The facts in a leading YAML (`---`) or TOML (`+++`) block, and the text after it.

    A block that is no mapping is not front matter but text between two rules.

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
    """`key: value` lines of a block that is no valid YAML ("title: A: B" is what people write)."""
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
    """The text without tags and comments, and its prose alone (no code), for finding titles."""
    text: list[str] = []
    prose: list[str] = []
    for code, block in _code_and_prose(_COMMENT_OUTSIDE.sub(_keep_code, body)):
        if code:
            text.append(block)
        else:
            cleaned = _clean_prose(block)
            text.append(cleaned)
            prose.append(cleaned)
    return "".join(text), "\n".join(prose)


# A comment may hold a fence, and a fence a comment: whichever begins first swallows the other.
_COMMENT_OUTSIDE = re.compile(
    r"(?P<code>^ {0,3}(?P<marks>`{3,}|~{3,})[^\n]*\n.*?(?:^ {0,3}(?P=marks)[`~]*[ \t]*$|\Z))"
    r"|<!--.*?-->",
    re.DOTALL | re.MULTILINE,
)


def _keep_code(match: re.Match[str]) -> str:
    return match["code"] or ""


def _code_and_prose(text: str) -> list[tuple[bool, str]]:
    """The text cut into fenced code (True) and everything else (False), nothing lost."""
    blocks: list[tuple[bool, str]] = []
    current: list[str] = []
    fence = ""
    for line in text.splitlines(keepends=True):
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


def _clean_prose(block: str) -> str:
    """Tags, anchors and entities out; inline code untouched."""
    block = _TABLE.sub(lambda match: "\n\n" + table_rows(match[0]) + "\n\n", block)
    pieces: list[str] = []
    place = 0
    for match in _INLINE_CODE.finditer(block):
        pieces += [_clean_inline(block[place : match.start()]), match[0]]
        place = match.end()
    pieces.append(_clean_inline(block[place:]))
    return re.sub(r"\n[ \t]*\n(?:[ \t]*\n)+", "\n\n", "".join(pieces))


def _clean_inline(text: str) -> str:
    if "<" in text:
        text = _ITEM.sub("- ", _COMMENT.sub("", text))
        text = _TAG.sub("", _BREAK.sub("\n", text))
        text = re.sub(r"^(#{1,6})[ \t]+", r"\1 ", text, flags=re.MULTILINE)
    return _ENTITY.sub(lambda match: html.unescape(match[0]), text)


def _first_heading(prose: str) -> str:
    """The first heading of the first level as plain words, or the one that heads everything."""
    found = [match for match in (_ATX_TITLE.search(prose), _SETEXT_TITLE.search(prose)) if match]
    match = min(found, key=lambda one: one.start()) if found else _only_head(prose)
    if match is None:
        return ""
    title = re.sub(r"!?\[([^\]]*)\]\([^)]*\)", r"\1", match["title"])
    title = re.sub(r"(?<!\\)[*_`]{1,3}(\S(?:.*?\S)?)(?<!\\)[*_`]{1,3}", r"\1", title)
    return re.sub(r"\\([!-/:-@\[-`{-~])", r"\1", title)


def _only_head(prose: str) -> re.Match[str] | None:
    """A lower heading on the first line, if no other heading is as high (a chapter's file)."""
    first = _HEADING.match(prose.lstrip())
    if first is None:
        return None
    levels = [len(match["marks"]) for match in _HEADING.finditer(prose)]
    alone = levels.count(levels[0]) == 1 and min(levels) == levels[0]
    return first if alone else None
