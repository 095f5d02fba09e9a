"""Every word of generated pages and Markdown is on a page or named as left out, in order, once.

All words differ. Those of the source are known from building it; the reader's code counts nothing.
"""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from retriever.reading.markup.html import extract, parse, read_html
from retriever.reading.markup.markdown import read_markdown
from retriever.types import LeftOut

_NAMES = [
    *["pagination", "navigation", "menu", "cookies", "gdpr", "consent", "modal", "popup", "ads"],
    *["sidebar", "share", "newsletter", "footer", "breadcrumbs", "cookie-banner", "site-header"],
    *["related-posts", "sr-only", "print-only", "note", "footnotes", "sup", "copy", "main", "x"],
]
_ROLES = [
    *["navigation", "banner", "contentinfo", "search", "complementary", "dialog", "alert", "menu"],
    *["alertdialog", "menubar", "toolbar", "tablist", "tabpanel", "tooltip", "main", "article"],
    *["doc-footnote", "doc-noteref", "presentation", "note", "region", "tab", "button", "list"],
]
_ATTRIBUTES = st.sampled_from(
    ["", "", "", "hidden", "hidden=until-found", "style='display:none'", "aria-hidden=true"]
    + ["href='/x'", "href='#x'", "aria-expanded=true", "aria-controls=x", "epub:type=footnote"]
    + ["style='vertical-align:super'", "rowspan=2", "rowspan=0", "colspan=3", "start=4"]
    + [f"id={name}" for name in _NAMES]
    + [f"class={name}" for name in _NAMES]
    + [f"role={name}" for name in _ROLES]
)
_BLOCKS = [
    *["div", "section", "article", "main", "aside", "header", "footer", "nav", "form", "p", "ul"],
    *["ol", "li", "dl", "dt", "dd", "blockquote", "details", "summary", "dialog", "figure"],
    *["figcaption", "fieldset", "legend", "h1", "h2", "h3", "center", "address", "hgroup", "pre"],
    *["menu", "search", "noscript", "template", "object", "canvas", "video", "svg", "math"],
]
_INLINE = [
    *["a", "b", "span", "sup", "sub", "em", "code", "button", "label", "small", "del", "mark"],
    *["q", "ruby", "rt", "rp", "text", "tspan", "desc", "msup", "mi", "mn", "mfrac", "font"],
]
_TEXTS = st.tuples(st.just("words"), st.just(""), st.integers(1, 14))
_LEAVES = st.one_of(
    _TEXTS,
    _TEXTS,
    st.tuples(
        st.sampled_from(["script", "style", "textarea", "title", "comment"]),
        _ATTRIBUTES,
        st.integers(1, 3),
    ),
    st.tuples(st.just("select"), _ATTRIBUTES, st.integers(1, 3)),
    st.tuples(st.just("frame"), st.just(""), st.integers(1, 9)),
    st.tuples(st.just("void"), st.just(""), st.sampled_from(["br", "hr", "img", "input", "wbr"])),
)
_TREES = st.lists(
    st.recursive(
        _LEAVES,
        lambda inner: st.one_of(
            st.tuples(
                st.sampled_from(_BLOCKS), _ATTRIBUTES, st.lists(inner, min_size=1, max_size=4)
            ),
            st.tuples(
                st.sampled_from(_INLINE), _ATTRIBUTES, st.lists(inner, min_size=1, max_size=3)
            ),
            st.tuples(
                st.just("table"),
                _ATTRIBUTES,
                st.lists(
                    st.lists(st.tuples(_ATTRIBUTES, inner), min_size=1, max_size=3),
                    min_size=1,
                    max_size=3,
                ),
            ),
        ),
        max_leaves=20,
    ),
    min_size=1,
    max_size=5,
)

Tree = list[Any]


class Words:
    """Words that differ: "awe1o", "awe2o", …; those in tables may be repeated or change places."""

    def __init__(self) -> None:
        self.given: list[str] = []
        self.in_tables: set[str] = set()
        self._tables = 0

    def some(self, many: int) -> str:
        found = [f"awe{len(self.given) + at}o" for at in range(many)]
        self.given += found
        if self._tables:
            self.in_tables.update(found)
        return " ".join(found)

    def written(self, tree: Tree) -> str:
        return "".join(self._block(*block) for block in tree)

    def _block(self, kind: str, attributes: str, inner: Any) -> str:
        start = f" {attributes}".rstrip()
        if kind == "words":
            return f" {self.some(inner)} "
        if kind == "void":
            return f"<{inner}>"
        if kind == "comment":
            return f"<!-- {self.some(inner)} -->"
        if kind == "select":
            options = "".join(f"<option>{self.some(1)}</option>" for _ in range(inner))
            return f"<select{start}>{options}</select>"
        if kind == "frame":
            return f'<iframe srcdoc="&lt;p&gt;{self.some(inner)}&lt;/p&gt;"></iframe>'
        if kind == "table":
            return self._table(start, inner)
        text = self.some(inner) if isinstance(inner, int) else self.written(inner)
        return f"<{kind}{start}>{text}</{kind}>"

    def _table(self, start: str, rows: list[list[tuple[str, Any]]]) -> str:
        self._tables += 1
        lines = (
            "".join(
                f"<{'th' if at == 0 else 'td'} {attributes}>{self.written([cell])}"
                for attributes, cell in row
            )
            for at, row in enumerate(rows)
        )
        found = f"<table{start}>{''.join(f'<tr>{line}</tr>' for line in lines)}</table>"
        self._tables -= 1
        return found


def words_of(*texts: str) -> list[str]:
    return re.findall(r"awe\d+o", " ".join(texts))


def check(words: Words, text: str, left_out: tuple[LeftOut, ...]) -> None:
    named = words_of(*(part.text for part in left_out))
    found = words_of(text)
    strict = [word for word in words.given if word not in words.in_tables]
    assert set(words.given) == {*found, *named}
    once = [word for word in [*found, *named] if word not in words.in_tables]
    assert sorted(once) == sorted(strict)
    places = {word: at for at, word in enumerate(words.given)}
    for part in (found, named):
        kept = [places[word] for word in part if word not in words.in_tables]
        assert kept == sorted(kept)


@settings(max_examples=150, deadline=None)
@given(tree=_TREES, book=st.booleans())
def test_pages(tree: Tree, book: bool) -> None:
    words = Words()
    source = f"<html><head><title>{words.some(2)}</title></head><body>{words.written(tree)}"
    root = parse(source)
    assert root is not None
    found = extract(root, book=book)
    check(words, found.text, found.left_out)


_KINDS = [
    *["plain", "bold", "less", "formula", "generic", "comment", "code", "table", "indented"],
    *["sup", "script", "raw table", "heading", "placeholder", "image"],
]
_MARKDOWN = st.recursive(
    st.tuples(
        st.sampled_from(_KINDS),
        st.integers(1, 4),
    ),
    lambda inner: st.tuples(
        st.sampled_from(["list", "quote", "details", "div"]),
        st.lists(inner, min_size=1, max_size=4),
    ),
    max_leaves=12,
)


def markdown_blocks(words: Words, tree: Tree, indent: str) -> str:
    return "".join(markdown_block(words, kind, inner, indent) for kind, inner in tree)


def markdown_block(words: Words, kind: str, inner: Any, indent: str) -> str:
    if kind == "list":
        return f"{indent}- {words.some(1)}\n{indent}\n" + markdown_blocks(
            words, inner, f"{indent}  "
        )
    if kind == "quote":
        return markdown_blocks(words, inner, f"{indent}> ") + f"{indent}\n"
    if kind in ("details", "div"):
        tag = f"<{kind}>" if kind == "details" else '<div class="sidebar">'
        content = markdown_blocks(words, inner, indent)
        return f"{indent}{tag}\n{indent}\n{content}{indent}</{kind}>\n{indent}\n"
    w = words.some
    lines = {
        "plain": lambda: w(inner),
        "bold": lambda: f"{w(1)} <b>{w(inner)}</b> {w(1)}",
        "less": lambda: f"{w(1)} <b {w(inner)} and\n{indent}{w(1)}",
        "formula": lambda: f"$p<i {w(inner)}$ and n<s {w(1)} p>q",
        "generic": lambda: f"{w(1)} Vec<u> {w(inner)}",
        "comment": lambda: f"<!-- {w(inner)} -->",
        "code": lambda: f"```\n{indent}<b>{w(inner)} <!-- {w(1)}\n{indent}```",
        "table": lambda: (
            f"| {w(1)} | {w(1)} |\n{indent}|---|---|\n{indent}| {w(1)} | <i>{w(1)}</i> |"
        ),
        "indented": lambda: f"{w(1)}\n{indent}\n{indent}    cp <source> {w(inner)} <!-- {w(1)} -->",
        "sup": lambda: f"{w(inner)}<sup>1</sup> {w(1)}",
        "script": lambda: f"<style>\n{indent}{w(inner)}\n{indent}</style>",
        "raw table": lambda: f"<table>\n{indent}<tr><td>{w(1)}<td>{w(inner)}\n{indent}</table>",
        "heading": lambda: f"## {w(inner)}",
        "placeholder": lambda: f"{w(1)} <table> {w(inner)} <p>",
        "image": lambda: f"![{w(inner)}](x.png) [{w(1)}](http://x)",
    }
    return f"{indent}{lines[kind]()}\n{indent}\n"


@settings(max_examples=150, deadline=None)
@given(tree=st.lists(_MARKDOWN, min_size=1, max_size=5))
def test_markdown(tree: Tree) -> None:
    words = Words()
    source = f"---\ntitle: {words.some(1)}\n---\n\n{markdown_blocks(words, tree, '')}"
    found = read_markdown(source.encode(), "a.md")
    check(words, found.pages[0].text, found.left_out)


@pytest.mark.parametrize(
    "piece",
    [
        *["<table><tr><td>", "<button>", "<div hidden>", "<div class=menu>", "<header><h2>"],
        *["<sup>1</sup>", "<a href=x>1", "<img alt='a b c'>", "<nav><script>", "<footer>"],
        *["<h2>", "<li>", "<iframe srcdoc='<p>'>", "<svg><title>", "<main>", "<p>a?</p><p hidden>"],
        *["<aside>", "<noscript>", "<msup><mn>1</mn>", "<tr><tr>", "<!-- -->", "<pre><textarea>"],
    ],
)
def test_time_is_linear(piece: str) -> None:
    data = ("<p>One" + piece * (60_000 // len(piece))).encode()
    assert len(read_html(data, "a.html").pages) == 1  # quadratic code runs into the timeout
