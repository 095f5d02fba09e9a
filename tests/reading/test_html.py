"""HTML pages: all of the text, nothing of the site's navigation."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from retriever.reading.markup.html import read_html
from retriever.types import PageState

CHAPTERS = sorted((Path(__file__).parents[2] / "data/sample/books/the-time-machine").iterdir())

PAGE = """<!DOCTYPE html><html lang="en"><head><meta charset="utf-8">
<title>On Trust | Example Site</title><meta name="author" content="Ada Lovelace">
<meta property="article:published_time" content="2024-03-07T10:00:00Z">
<meta name="description" content="A short piece."><script>var hidden = 1;</script>
<style>p {color: red}</style></head><body class="has-sidebar">
<header><a href="/">Logo words</a><nav><ul><li><a href="/a">Navigation</a></li></ul></nav></header>
<div id="cookie-banner">We value your privacy <button>Accept</button></div>
<div role="navigation">Breadcrumb trail</div>
<main><article><header><h1>On Trust</h1><p>By Ada</p></header>
<p>First <em>para</em>graph with&nbsp;a <a href="#">link</a>.<br>Second line.</p>
<h2>A section</h2><ul><li>one</li><li>two<ul><li>inner</li></ul></li></ul>
<ol start="3"><li>three</li><li>four</li></ol>
<table><thead><tr><th>Name</th><th>Age</th></tr></thead>
<tbody><tr><td>Ada</td><td>36</td></tr><tr><td>Bob</td><td><p>40</p></td></tr></tbody></table>
<pre>def f():
    return 1</pre><blockquote>Quoted.<footer>A. Uthor</footer></blockquote></article></main>
<aside>Related stories</aside><footer>Copyright notice</footer></body></html>"""


def read(source: str | bytes):
    return read_html(source.encode() if isinstance(source, str) else source, "a.html")


def text_of(source: str | bytes) -> str:
    return read(source).pages[0].text


def test_a_page_in_order():
    assert text_of(PAGE) == (
        "# On Trust\n\nBy Ada\n\nFirst paragraph with\xa0a link.\nSecond line.\n\n## A section\n\n"
        "- one\n- two\n  - inner\n\n3. three\n4. four\n\n"
        "Name: Ada | Age: 36\nName: Bob | Age: 40\n\ndef f():\n    return 1\n\nQuoted.\n\nA. Uthor"
    )


def test_facts_of_a_page():
    found = read(PAGE)
    assert (found.title, found.author) == ("On Trust", "Ada Lovelace")
    assert found.date == "2024-03-07T10:00:00+00:00"
    assert found.metadata == {"description": "A short piece.", "language": "en"}


def test_facts_from_linked_data():
    found = read(
        '<title>x y</title><script type="application/ld+json">{"@graph":[{"@type":"Article",'
        '"headline":"x y","author":[{"name":"A B"},{"name":"C D"}],"datePublished":"2020-01-02"}]}'
        "</script><p>t"
    )
    assert (found.author, found.date) == ("A B, C D", "2020-01-02")


class PlainText(HTMLParser):
    """All text of a page's body by the standard library, independent of the reader."""

    def __init__(self):
        super().__init__()
        self.text, self.inside = [], False

    def handle_starttag(self, tag, attrs):
        self.inside = self.inside or tag == "body"

    def handle_data(self, data):
        if self.inside:
            self.text.append(data)


@pytest.mark.parametrize("path", CHAPTERS, ids=lambda path: path.name)
def test_no_word_of_a_book_is_lost(path):
    plain = PlainText()
    plain.feed(path.read_text(encoding="utf-8"))
    invisible = dict.fromkeys(map(ord, "\u2060\ufeff\u00ad"))
    expected = re.findall(r"\w+", "".join(plain.text).translate(invisible))
    assert re.findall(r"\w+", text_of(path.read_bytes())) == expected
    assert len(expected) > 250


def test_a_page_without_structure_is_complete():
    assert text_of("just words") == "just words"
    assert text_of("<div>a<div>b</div>c</div><p>d<p>e") == "a\n\nb\n\nc\n\nd\n\ne"
    links = "".join(f'<li><a href="/{n}">Bookmark {n}</a></li>' for n in range(5))
    assert text_of(f"<ul>{links}</ul>").count("Bookmark") == 5


def test_a_small_main_does_not_hide_the_text():
    long = "<p>" + "The story goes on and on. " * 30 + "</p>"
    assert "The story" in text_of(f"<body><main><p>Search</p></main><div>{long}</div></body>")


def test_a_menu_class_on_the_whole_page_does_not_empty_it():
    assert "kept" in text_of('<body><div class="menu"><p>All of this is kept.</p></div></body>')


@pytest.mark.parametrize(
    "noise",
    [
        "<nav>noise</nav>",
        "<aside>noise</aside>",
        "<footer>noise</footer>",
        '<div class="cookie-consent">noise</div>',
        '<div class="sidebar">noise</div>',
        '<div id="sidebar"><a href="/">noise</a></div>',
        '<ul class="breadcrumbs"><li>noise</li></ul>',
        '<div role="banner">noise</div>',
        "<div hidden>noise</div>",
        '<p style="display: none">noise</p>',
        "<script>noise</script>",
        "<style>noise</style>",
        "<noscript>noise</noscript>",
        "<template>noise</template>",
        "<!-- noise -->",
        "<svg><title>noise</title></svg>",
        "<select><option>noise</option></select>",
        '<ul><li><a href="a">noise</a><li><a href="b">noise</a><li><a href="c">noise</a></ul>',
    ],
)
def test_noise_goes_and_its_surroundings_stay(noise):
    text = "Words before it are kept, and there are enough of them to be a page of text."
    assert text_of(f"<body><p>{text}</p>{noise}<p>{text}</p>tail</body>") == (
        f"{text}\n\n{text}\n\ntail"
    )


@pytest.mark.parametrize(
    ("encoding", "declaration"),
    [
        ("iso8859-1", '<meta charset="iso-8859-1">'),
        ("cp1251", '<meta http-equiv="Content-Type" content="text/html; charset=windows-1251">'),
        ("shift_jis", "<meta charset=Shift_JIS>"),
        ("gb2312", '<meta charset="gb2312">'),
        ("koi8-r", '<?xml version="1.0" encoding="KOI8-R"?>'),
        ("utf-8", ""),
        ("utf-8", '<meta charset="iso-8859-1">'),  # wrong: the bytes are valid UTF-8
        ("utf-8-sig", '<meta charset="koi8-r">'),
        ("utf-16", ""),
        ("utf-16-le", ""),
        ("utf-8", '<?xml version="1.0" encoding="UTF-8"?>'),
    ],
)
def test_encodings(encoding, declaration):
    words = {
        "cp1251": "Привет, мир",
        "koi8-r": "Привет, мир",
        "shift_jis": "日本語",
        "gb2312": "中文",
    }
    text = words.get(encoding, "Größe, café")
    assert text_of(f"{declaration}<html><body><p>{text}</p></body></html>".encode(encoding)) == text


@pytest.mark.parametrize("depth", [100, 2_000, 10_000, 100_000])
def test_depth_loses_nothing(depth):
    text = text_of("<p>before</p>" + "<div>" * depth + "deep" + "</div>" * depth + "<p>after</p>")
    assert text.split() == ["before", "deep", "after"]


TABLES = {
    "a cell that spans rows, and an empty one": (
        "<tr><th>Town<th>Desk<th>Hours<tr><td rowspan=2>Narvik<td>Visas<td>9-12"
        "<tr><td>Customs<td>13-16<tr><td>Bodo<td><td>8-10",
        "Town: Narvik | Desk: Visas | Hours: 9-12\nTown: Narvik | Desk: Customs | Hours: 13-16\n"
        "Town: Bodo | Hours: 8-10",
    ),
    "two rows of names": (
        "<thead><tr><th rowspan=2>Town<th colspan=2>Q1<tr><th>plan<th>real</thead>"
        "<tr><td>Bodo<td>10<td>11",
        "Town: Bodo | Q1 plan: 10 | Q1 real: 11",
    ),
    "a head without header cells": (
        "<thead><tr><td>Name<td>Room</thead><tr><td>Ada<td>north<tr><td><td>south",
        "Name: Ada | Room: north\nRoom: south",
    ),
    "blocks in cells": (
        "<tr><th>A<th>B<tr><td>x<h3>Head</h3>y<td><pre>k\n  l</pre><tr><td>1<td><ul><li>2</ul>",
        "A: x Head y | B: k l\nA: 1 | B: 2",
    ),
    "a caption": ("<caption>Fees</caption><tr><th>Y<th>Z<tr><td>1<td>2", "Fees\n\nY: 1 | Z: 2"),
    "no names": ("<tr><td>Ada<td><td>Bob<tr><td>x<td>y<td>z", "Ada | Bob\nx | y | z"),
    "rows without end": ("<tr><td rowspan=0>a<td>1<tr><td>2<tr><td>3", "a | 1\na | 2\na | 3"),
}


@pytest.mark.parametrize("kind", TABLES)
def test_tables_keep_names_and_places(kind):
    rows, text = TABLES[kind]
    assert text_of(f"<p>a</p><table>{rows}</table><p>b</p>") == f"a\n\n{text}\n\nb"


def test_text_between_rows_keeps_its_place():
    source = "<table><tr><td>a<td>b</tr>loose<tr><td>c</tr></table>"
    assert text_of(source) == "a | b\n\nloose\n\nc"
    assert text_of("<ul><li><table><tr><td>a<td>b</tr></table><li>c</ul>") == "- a | b\n- c"


def test_layout_tables_are_paragraphs():
    long = "A paragraph of a page from the last century. " * 12
    cell = f"<h1>Head</h1><p>{long}</p><p>{long}</p>"
    assert text_of(f"<table><tr><td>{cell}</td></tr></table>").startswith("# Head\n\nA paragraph")


def test_states():
    empty = read("<html><head><title>A b</title></head><body><script>x</script></body></html>")
    assert (empty.pages[0].state, empty.title) == (PageState.EMPTY, "A b")
    assert read("<" * 2_000_001).pages[0].state is PageState.TOO_LONG


@pytest.mark.parametrize("end", ["</body></html>", "</html>", "</BODY></HTML >"])
def test_what_stands_behind_the_end_of_the_page_is_read(end: str) -> None:
    """Pages joined into one file, and text that a program adds: browsers show both."""
    page = f"<html><body><p>one{end}\n<!doctype html><html><body><p>two{end} three"
    document = read_html(page.encode(), "x.html")
    assert document.pages[0].text.split() == ["one", "two", "three"]
