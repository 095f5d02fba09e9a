"""Markdown: the source is kept, without front matter, comments and HTML tags."""

from __future__ import annotations

import pytest

from retriever.reading.markup.markdown import read_markdown, split_front_matter
from retriever.types import PageState


def read(source: str):
    return read_markdown(source.encode(), "notes/a.md")


def text_of(source: str) -> str:
    return read(source).pages[0].text


def test_front_matter_becomes_facts():
    found = read(
        "---\ntitle: 'On Trust'\nauthor: [Ada, {name: Grace}]\ndate: 2024-03-07\n"
        "tags: [a, b]\nyear: 2024\ndraft: true\nnested: {x: 1}\n---\n\n# Other\n\nText."
    )
    assert (found.title, found.author, found.date) == ("On Trust", "Ada, Grace", "2024-03-07")
    assert found.metadata == {"tags": "a, b", "year": 2024, "draft": True}
    assert found.pages[0].text == "# Other\n\nText."


def test_toml_and_broken_yaml():
    assert read('+++\ntitle = "T one"\n+++\nx').title == "T one"
    found = read("---\ntitle: Trust: a history\nauthor: Ada\n---\nx")
    assert (found.title, found.author, found.pages[0].text) == ("Trust: a history", "Ada", "x")


@pytest.mark.parametrize(
    "source",
    [
        "---\nA sentence.\n---\nMore.",
        "---\n\n- a\n- b\n\n---\nx",
        "---\nno end",
        "text\n---\na: b\n---",
    ],
)
def test_rules_are_no_front_matter(source):
    assert split_front_matter(source) == ({}, source)


def test_only_front_matter():
    page = read("---\ntitle: x y\n---\n").pages[0]
    assert (page.state, page.number) == (PageState.EMPTY, None)


@pytest.mark.parametrize(
    ("source", "title"),
    [
        ("intro\n\n# The *real* title #\n", "The real title"),
        ("Under lined\n===========\n\n# Later", "Under lined"),
        ("```\n# comment in code\n```\n\n# Real one", "Real one"),
        ("# [Linked](http://x) `code`", "Linked code"),
        ("## 5 Sections\n\nText\n\n### 5.1 More", "5 Sections"),
        ("## First\n\na\n\n## Second\n\nb", ""),
        ("no heading", ""),
        (r"# Profile of \[Alex\]", "Profile of [Alex]"),
    ],
)
def test_titles(source, title):
    assert read(source).title == title


def test_markup_goes_and_text_stays():
    source = (
        '## <a name="x"></a> 5.1 Scope\n\n<!-- a\nhidden\nremark -->Seen &amp; kept<br>next '
        "<b>bold</b> 1 < 2 and `<b>` code\n\n```html\n<!-- shown --><b>&amp;</b>\n```\n"
        '<div class="c">\n<ul><li>one</li>\n<li>two</li></ul></div>\n'
    )
    text = text_of(source)
    assert "## 5.1 Scope" in text
    assert "hidden" not in text
    assert "Seen & kept\nnext bold 1 < 2 and `<b>` code" in text
    assert "<!-- shown --><b>&amp;</b>" in text
    assert "- one" in text
    assert "<div" not in text


KEPT = [
    "Groups differed (n<s and p>q) in spring; p <i was ignored when t> 3.",
    r"$p<i \land q>r$ and $a<b>c$",
    "Use Vec<u> and Map<i>, then a<b and c>d.",
    "Call it as run <source> <p> <table> in turn.",
    "We require a <b for every pair.\n\nAnother.\n\n> A quote about reeds.",
    "    cp <source> <target>\n    <div>Hello</div>\n    <!-- keep this -->",
    "- item\n\n      <b>code</b> of an item\n\n  ```html\n  <i>fenced</i> &amp;\n  ```",
    "1. one\n   - two\n     ```\n     <b>deep</b>\n     ```",
    "> ~~~\n> <b>quoted code</b>\n> ~~~",
    r"An escaped \<b>tag\</b>.",
    "``a ` <b>`` and <https://example.org/?a=1&b=2> stay",
    "<Tabs>\n\nA component\n\n</Tabs>",
    "text <!-- begins here\n\nand ends in another paragraph -->",
]


@pytest.mark.parametrize("source", KEPT)
def test_what_is_no_tag_stays_as_it_is(source):
    found = read(f"# Head\n\n{source}\n\nEnd.")
    assert found.pages[0].text == f"# Head\n\n{source}\n\nEnd."
    assert found.left_out == ()


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("a <b>bold</b> <i>word</i>", "a bold word"),
        ("<b>bold\n\nstill bold</b>", "bold\n\nstill bold"),
        ('<a name="x"></a>Anchor <img src="p.png" alt="A pump">', "Anchor A pump"),
        ("one<br>two<br/> three", "one\ntwo\nthree"),
        ('<h1 align="center">Title</h1>\n\nText', "# Title\n\nText"),
        ("<details>\n<summary>More</summary>\n\nText\n\n</details>", "More\n\nText"),
        ("The treaty<sup>1</sup> and 10<sup>23</sup> m<sup>2</sup>", "The treaty[1] and 10^23 m2"),
        ("<div>\n<!-- a\n\n    b\n-->shown\n</div>", "shown"),
        ("<table>\n\n    <tr><td>1</td>\n\n    <td>2</td></tr></table>\nafter", "1 | 2\n\nafter"),
        ("the <table> tag\n\n<table><tr><td>1</table>", "the <table> tag\n\n1"),
        ("<table><tr><td><b>1</b><table><tr><td>2</table></table>", "1\n\n2"),
    ],
)
def test_tags_go(source, text):
    assert text_of(source) == text


def test_what_is_left_out_is_named_in_order():
    found = read(
        "---\ntitle: A b\nnested: {x: [1, 2]}\n---\nText<!-- one `two` -->\n\n"
        "<style>\np {}\n</style>\n\n<table><tr><td>x<script>y()</script></table>\n\n"
        "<!--\nthree\n\nfour\n-->"
    )
    assert found.pages[0].text == "Text\n\nx"
    assert [(part.kind, part.text) for part in found.left_out] == [
        ("front matter", "title: A b\nnested: {x: [1, 2]}"),
        ("comments", "one `two`"),
        ("scripts", "p {}"),
        ("scripts", "y()"),
        ("comments", "three\n\nfour"),
    ]


def test_an_abstract_is_text():
    found = read(
        "---\ntitle: On mills\nabstract: |\n  How mills burn.\n\n  And why.\ntags: [a]\n---\n"
        "# One\n"
    )
    assert found.pages[0].text == "How mills burn.\n\nAnd why.\n\n# One"
    assert [part.text for part in found.left_out] == ["title: On mills\ntags: [a]"]
    assert text_of("+++\nabstract = 'How mills burn'\n+++\nText") == "Text"


def test_sentences_between_rules_are_text():
    source = "---\nWarning: prime the pump before use\n---\n# Manual\nText."
    assert text_of(source) == source
    assert read("---\ntitle: prime the pump before use\n---\nText.").title != ""


def test_html_tables_become_rows():
    text = text_of("a\n\n<table><tr><th>Name<th>Use</tr><tr><td>x<td>y</tr></table>\n\nb")
    assert text == "a\n\nName: x | Use: y\n\nb"


def test_a_comment_shown_as_code_and_one_without_end():
    assert text_of("use `<!-- x -->` here") == "use `<!-- x -->` here"
    assert text_of("a <!-- never closed\nb") == "a <!-- never closed\nb"


def test_plain_source_is_unchanged():
    source = (
        "# T\n\n- a *b* [c](d) ![e](f)\n\n| x | y |\n|---|---|\n| 1 | 2 |\n\n> quote\n\n    code"
    )
    assert text_of(source) == source


@pytest.mark.parametrize(
    "piece",
    ["<!--", "`", "` ``", "<table>", "<a ", "#", "# ", "```\n", "[a](", "&a", "---\n", "*a"],
)
def test_time_is_linear(piece):
    source = "# x " + piece * (200_000 // len(piece))
    assert read(source).pages[0].state is PageState.TEXT  # quadratic patterns run into the timeout


@pytest.mark.parametrize(
    "piece",
    [
        *["<b>", "</b>", "<b></b>", "<table>\n\n", "<p>\n\n", "<!-- -->", "<div>\n<!--\n\n"],
        *["<script>\n", "<a b=c ", "<a b='", "- a\n", "> ", "  - a\n", "a<sup>1", "\\<"],
        *["<table></table>", "</table>\n\n", "`<!--", "<style>a</style>\n\n", "    <table>\n"],
    ],
)
def test_time_with_html_is_linear(piece):
    assert len(read("# One\n\n" + piece * (100_000 // len(piece))).pages) == 1
