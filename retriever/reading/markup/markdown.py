"""Markdown: the page's text is the source itself.

Front matter becomes metadata, but an abstract in it is text. Outside code, comments, HTML tags,
anchors and entities are removed, and HTML tables become rows. Nothing is rendered and no link is
followed. CommonMark's rules decide what is code and what is a tag.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Any

import yaml

from retriever.reading.facts import clean_author, clean_title, iso_date, scalars
from retriever.reading.markup.html import table_rows
from retriever.reading.markup.markdown_blocks import CODE, Block, split_blocks
from retriever.reading.markup.markdown_tags import TagRemover
from retriever.reading.pages import (
    MAX_CHARACTERS,
    drop_controls,
    make_page,
    too_long_page,
    unify_lines,
)
from retriever.reading.plain.text import decode_text
from retriever.types import Document, LeftOut

_MAX_FRONT_MATTER = 65_536
_FRONT_MATTER = re.compile(
    r"(?P<fence>---|\+\+\+)[ \t]*\n(?P<body>.*?\n)??(?P=fence)[ \t]*(?:\n|\Z)", re.DOTALL
)
_MAX_VALUES = 65_536  # of front matter: one for each of its characters, when nothing is repeated
_NOT_YAML = (
    *(yaml.YAMLError, ValueError, TypeError, AttributeError, LookupError),
    *(RecursionError, OverflowError),
)
"""What the parsers raise for a block that is not well-formed."""

_YAML_END = re.compile(r"---[ \t]*\n(?P<body>.*?\n)??\.\.\.[ \t]*(?:\n|\Z)", re.DOTALL)
_KNOWN_KEYS = frozenset(
    [
        *["abstract", "alias", "aliases", "author", "authors", "bibliography", "categories"],
        *["category", "cover", "created", "date", "description", "draft", "excerpt", "format"],
        *["id", "image", "keywords", "lang", "language", "lastmod", "layout", "license", "name"],
        *["order", "output", "permalink", "position", "published", "sidebar", "sidebar_label"],
        *["slug", "status", "subtitle", "summary", "tag", "tags", "template", "theme", "title"],
        *["toc", "type", "uid", "updated", "url", "version", "weight"],
    ]
)
_SHOWN_KEYS = ("subtitle", "abstract")
_MIN_PROSE = 4  # words of a value that is no setting
_OWN_FACTS = frozenset(["title", "author", "authors", "date"])

# Every pattern is linear, also on adversarial text: no two repetitions share a character.
_ATX_TITLE = re.compile(r"^ {0,3}#[ \t](?P<title>[^\n]*)", re.MULTILINE)
_HEADING = re.compile(r"^(?P<marks>#{2,6})[ \t](?P<title>[^\n]*)", re.MULTILINE)
_SETEXT_TITLE = re.compile(r"^ {0,3}(?P<title>\S[^\n]*)\n {0,3}=+[ \t]*$", re.MULTILINE)
_MAX_TITLE = 1_000
_EXACT = frozenset([*CODE, "table"])


def read_markdown(data: bytes, name: str) -> Document:
    """Read a Markdown file into one page."""
    if len(data) > 4 * MAX_CHARACTERS:
        return Document(name, "markdown", (too_long_page(None, f"{len(data):,} bytes"),))
    source = drop_controls(unify_lines(decode_text(data)))
    facts, body = split_front_matter(source)
    text, prose, left_out = _without_markup(body)
    shown, front = _shown_facts(facts, source[: len(source) - len(body)])
    page = make_page(None, "\n\n".join([*shown, text]), "nothing but blanks or front matter in it")
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
        left_out=(*front, *left_out),
    )


def split_front_matter(source: str) -> tuple[dict[str, Any], str]:
    r"""Split off a leading YAML (`---`) or TOML (`+++`) block.

    A block that is not a mapping, or holds sentences and no usual key, is not front matter but text
    between two rules.

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
    if facts is None or (head.startswith("---") and _is_prose(facts)):
        return {}, source
    return {str(key).lower(): value for key, value in facts.items()}, source[match.end() :]


def _parse_front_matter(block: str, *, toml: bool) -> dict[Any, Any] | None:
    try:
        facts = tomllib.loads(block) if toml else _load_yaml(block)
    except _NOT_YAML:
        return _plain_lines(block)
    if facts is None:
        return {}
    return facts if isinstance(facts, dict) else None


def _load_yaml(block: str) -> Any:
    """The value of a YAML block; ValueError if its aliases would make it too large."""
    loader = yaml.SafeLoader(block)
    try:
        node = loader.get_single_node()
        if node is None:
            return None
        if _expanded(node, {}) > _MAX_VALUES:
            raise ValueError("too many values")
        return loader.construct_document(node)
    finally:
        loader.dispose()


def _expanded(node: yaml.Node, known: dict[int, float]) -> float:
    """How many values a node stands for, each alias counted as what it names.

    A node that holds itself is infinite. `known` are the counts of the nodes seen before.
    """
    if id(node) not in known:
        known[id(node)] = float("inf")
        parts = node.value if isinstance(node, yaml.CollectionNode) else []
        if isinstance(node, yaml.MappingNode):
            parts = [part for pair in parts for part in pair]
        known[id(node)] = 1 + sum(_expanded(part, known) for part in parts)
    return known[id(node)]


def _shown_facts(facts: dict[str, Any], block: str) -> tuple[list[str], list[LeftOut]]:
    """The texts of the front matter that a finished document shows, and the rest of the block."""
    rest = "\n".join(block.rstrip("\n").split("\n")[1:-1]) + "\n"
    shown: list[str] = []
    for key in _SHOWN_KEYS:
        lines = re.search(rf"^{key}[ \t]*:.*\n(?:[ \t]+.*\n|[ \t]*\n)*", rest, re.MULTILINE)
        if isinstance(facts.get(key), str) and lines and block.startswith("---"):
            shown.append(facts[key].strip())
            rest = rest[: lines.start()] + rest[lines.end() :]
    return shown, [LeftOut("front matter", rest.strip())] if rest.strip() else []


def _is_prose(facts: dict[Any, Any]) -> bool:
    """Whether the pairs are lines of a text ("Warning: prime the pump before use")."""
    if not _KNOWN_KEYS.isdisjoint(str(key).lower() for key in facts):
        return False
    words = [len(value.split()) if isinstance(value, str) else 0 for value in facts.values()]
    return bool(words) and min(words) > 0 and max(words) >= _MIN_PROSE


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


def _without_markup(body: str) -> tuple[str, str, list[LeftOut]]:
    """The text without tags, the prose in it without code (to find the title), what is left out."""
    blocks = split_blocks(body)
    marked = TagRemover([block for block in blocks if block.kind not in _EXACT]).results()
    text: list[str] = []
    prose: list[str] = []
    left_out: list[LeftOut] = []
    indented = False  # whether the code before is indented; its last line belongs to the prose
    for code, part in groupby(blocks, key=lambda block: block.kind in CODE):
        run = list(part)
        found = [(block.text, []) if code else _cleaned(block, marked) for block in run]
        left_out += [part for _, parts in found for part in parts]
        joined = "".join(piece for piece, _ in found)
        if not code:
            joined = re.sub(r"\n[ \t]*\n(?:[ \t]*\n)+", "\n\n", joined)
            if indented:
                joined = re.sub(r"\A(?:[ \t]*\n){2,}", "\n", joined)
            prose.append(joined)
        text.append(joined)
        indented = run[-1].kind == "indented"
    return "".join(text), "\n".join(prose), left_out


def _cleaned(
    block: Block, marked: Iterator[tuple[str, list[LeftOut]]]
) -> tuple[str, Sequence[LeftOut]]:
    if block.kind != "table":
        return next(marked)
    rows = table_rows(block.text)
    return f"\n\n{rows.text}\n\n", rows.left_out


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
