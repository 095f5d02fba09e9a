"""Chunks are exact, complete, within the budget, and end at strong boundaries."""

from __future__ import annotations

import itertools
import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from retriever.settings import ChunkSettings
from retriever.text import chunking
from retriever.text.chunking import chunk_document, chunk_page
from retriever.text.structure import breaks, read_lines, sentences
from retriever.types import Page, PageState, Span


def by_word(text: str) -> list[tuple[int, int]]:
    return [match.span() for match in re.finditer(r"\w+|[^\w\s]", text)]


def by_character(text: str) -> list[tuple[int, int]]:
    return [(at, at + 1) for at in range(len(text))]


def by_byte(text: str) -> list[tuple[int, int]]:
    """Like a byte-level tokenizer on rare characters: several tokens with the same span."""
    return [
        (at, at + 1) for at, letter in enumerate(text) for _ in letter.encode("utf-8", "replace")
    ]


def by_place(text: str) -> list[tuple[int, int]]:
    """Like sub-word models: a word is one token after a space, three without."""
    tokens = []
    for match in re.finditer(r" ?\S+|\s", text):
        start, end = match.span()
        parts = 1 if text[start] == " " else min(3, end - start)
        tokens += [(start + part, start + part + 1) for part in range(parts - 1)]
        tokens.append((start + parts - 1, end))
    return tokens


TOKENIZERS = [by_word, by_character, by_byte, by_place]


def pieces(text: str, size: int = 40, overlap: int = 0) -> list[str]:
    spans = chunk_page(text, ChunkSettings(size, overlap), by_word)
    return [text[span.start : span.end] for span in spans]


def covered(text: str, spans: list[Span]) -> list[bool]:
    inside = [letter.isspace() for letter in text]
    for span in spans:
        inside[span.start : span.end] = [True] * (span.end - span.start)
    return inside


structures = [
    "# Title\n",
    "\n\n",
    "\n",
    "```\n",
    "| a | b |\n",
    "- item ",
    "===\n",
    "\r\n",
    "\f",
    "\u2028",
]
phrases = [
    "One ends here. ",
    "检索。",
    "สวัสดี ",
    "3.2 Access control\n",
    "is it, or not; ",
    "한국어 ",
    "ab: ",
]
letters = ["Word ", "a", "e\u0301", "Dr. ", ". ", "👩\u200d👧", " ", "\t", "x" * 60, "\ufeff"]
fragments = st.sampled_from([*structures, *phrases, *letters])
texts = st.one_of(st.lists(fragments, max_size=60).map("".join), st.text(max_size=200))


@given(texts, st.sampled_from(TOKENIZERS), st.integers(8, 40), st.data())
def test_any_text(text: str, tokenize, size: int, data) -> None:
    overlap = data.draw(st.integers(0, size // 2))
    spans = chunk_page(text, ChunkSettings(size, overlap), tokenize)
    assert all(covered(text, spans))
    for span in spans:
        chunk = text[span.start : span.end]
        assert chunk == chunk.strip() != ""
        assert len(tokenize(chunk)) <= size or len(chunk) == 1
    for one, two in itertools.pairwise(spans):
        assert one.start < two.start
        assert one.end < two.end
        repeated = len(tokenize(text[two.start : max(one.end, two.start)]))
        assert repeated <= (3 * overlap if tokenize is by_place else overlap)
    assert spans == chunk_page(text, ChunkSettings(size, overlap), tokenize)


@given(texts)
def test_without_overlap_the_spans_rebuild_the_text(text: str) -> None:
    spans = chunk_page(text, ChunkSettings(16, 0), by_word)
    rebuilt, end = "", 0
    for span in spans:
        assert not text[end : span.start].strip()
        rebuilt += text[end : span.end]
        end = span.end
    assert rebuilt + text[end:] == text
    assert not text[end:].strip()


@given(texts)
def test_units_begin_at_zero_and_grow(text: str) -> None:
    starts = [found.at for found in breaks(text)]
    assert starts == sorted(set(starts))
    assert (starts[:1] == [0]) == bool(text.strip())
    spans = [(line.start, line.end) for line in read_lines(text)]
    assert "".join(text[start:end] for start, end in spans) == text


@given(
    st.lists(st.tuples(st.integers(0, 3), st.integers(1, 6)), max_size=20),
    st.integers(0, 60),
    st.integers(1, 60),
)
def test_tokens_of_a_part_are_counted_one_by_one(steps, start: int, length: int) -> None:
    """Gaps and lengths of tokens → their spans; a token counts if a character of it is inside."""
    spans, at, end = [], 0, start + length
    for gap, size in steps:
        spans.append((at + gap, at + gap + size))
        at += gap + size
    tokens = chunking._Tokens(spans)
    inside = [one for one in spans if one[0] < end and one[1] > start]
    assert tokens.count(start, end) == len(inside)


@pytest.mark.parametrize("text", ["", " ", "\n\n\t \u3000", "\u2028"])
def test_nothing_gives_nothing(text: str) -> None:
    assert chunk_page(text, ChunkSettings(), by_word) == []
    assert sentences(text) == []


def test_a_page_that_fits_is_one_chunk() -> None:
    text = "  " + "word " * 40 + "\n"
    assert pieces(text) == [text.strip()]


def test_a_heading_stays_with_its_text() -> None:
    body = "Some words stand here in a row. " * 4
    text = (
        f"# One\n\n{body}\n\n## Two\n\n{body}\n\n3.2 Access control\n\n{body}\n\nFour\n====\n{body}"
    )
    found = pieces(text, size=40)
    assert [chunk.split("\n")[0] for chunk in found] == [
        "# One",
        "## Two",
        "3.2 Access control",
        "Four",
    ]
    assert all("row." in chunk for chunk in found)


def test_a_heading_before_a_long_sentence_is_not_alone() -> None:
    text = "# A rather long heading of eight words\n\n" + "word " * 200
    found = pieces(text, size=30, overlap=4)
    assert len(found[0].split()) > 15


def test_small_sections_share_a_chunk_and_large_ones_do_not() -> None:
    small = "".join(f"# S{n}\n\nA few words.\n\n" for n in range(4))
    assert len(pieces(small, size=40)) == 1
    large = "".join(f"# S{n}\n\n" + "Five words are in here. " * 3 + "\n\n" for n in range(2))
    assert [chunk[:4] for chunk in pieces(large, size=50)] == ["# S0", "# S1"]


def test_paragraphs_before_lines_before_sentences() -> None:
    sentence = "Seven words and a dot make one. "
    text = (sentence * 2 + "\n\n" + sentence * 2).strip()
    assert pieces(text, size=20) == [(sentence * 2).strip()] * 2
    items = "\n".join(f"- item {n} has a few words. It is short" for n in range(4))
    assert all(chunk.startswith("- item") for chunk in pieces(items, size=26))


def test_the_tail_is_not_tiny() -> None:
    text = "Nine words and a dot are in this sentence. " * 9
    counts = [len(by_word(chunk)) for chunk in pieces(text, size=80)]
    assert len(counts) == 2
    assert min(counts) >= 36


def test_code_and_rows_stay_whole() -> None:
    code = "```python\nfor x in y:\n    print(x)\n\n    print(y)\n```"
    prose = "There are eight words in this one sentence. " * 3
    assert sum(code in chunk for chunk in pieces(f"{prose}\n\n{code}\n\n{prose}", size=40)) == 1
    rows = [f"| name {n} | some value. Another one {n} |" for n in range(12)]
    found = pieces("| a | b |\n|---|---|\n" + "\n".join(rows), size=30)
    assert all(any(row in chunk for chunk in found) for row in rows)
    assert found[0].startswith("| a | b |\n|---|---|\n" + rows[0])
    narrow = [f"Name: somebody {n} | Note: some words. And some more {n}" for n in range(12)]
    found = pieces("\n".join(narrow), size=30)
    assert all(any(row in chunk for chunk in found) for row in narrow)


def test_overlap_repeats_whole_sentences_of_the_same_section() -> None:
    text = " ".join(f"Sentence number {n} is here." for n in range(12))
    found = pieces(text, size=24, overlap=7)
    assert len(found) > 3
    for one, two in itertools.pairwise(found):
        shared = re.match(r"Sentence number \d+ is here\.", two)
        assert shared
        assert one.endswith(shared[0])
    headed = f"# A\n\n{'Alpha words here. ' * 8}\n\n# B\n\n{'Beta words here. ' * 8}"
    assert not any("Alpha" in chunk and "Beta" in chunk for chunk in pieces(headed, 24, 8))


def test_overlap_of_a_long_sentence_begins_at_a_word() -> None:
    text = " ".join(f"word{n}" for n in range(100))
    found = pieces(text, size=20, overlap=5)
    for one, two in itertools.pairwise(found):
        first = two.split()[0]
        assert first in one.split()
        assert 0 < len(one.split()) - one.split().index(first) <= 5


def test_marks_stay_with_their_letter() -> None:
    text = "e\u0301" * 200
    assert all(chunk[0] == "e" for chunk in pieces_by_character(text))
    thai = "น้ำ" * 100
    assert not any(chunk[0] == "\u0e49" for chunk in pieces_by_character(thai))


def pieces_by_character(text: str) -> list[str]:
    spans = chunk_page(text, ChunkSettings(9, 3), by_character)
    assert len(spans) > 5
    return [text[span.start : span.end] for span in spans]


def test_lines_that_wrap_are_no_boundaries() -> None:
    lines = [
        "The first line of this paragraph goes on",
        "in the second line of it and then stops. A",
    ]
    lines += ["new sentence begins in the middle of line", "two and ends."]
    assert said("\n".join(lines)) == [
        "The first line of this paragraph goes on\nin the second line of it and then stops.",
        "A\nnew sentence begins in the middle of line\ntwo and ends.",
    ]


def said(text: str) -> list[str]:
    return [text[span.start : span.end] for span in sentences(text)]


@pytest.mark.parametrize(
    "text",
    [
        "Dr. Smith met Mrs. Jones.|They talked.",
        "It costs 3.14 dollars, e.g. This one.|Really?|Yes!",
        "The U.S. government agreed.|The U.S. Army did not.",
        "He lives in the U.S.|They do not.",
        "J. R. Smith wrote it.|See Fig. 3 for more.",
        'He said "Stop!" and left.|"Why?"|Nobody knew.',
        "We meet at 5 p.m. on Monday.|Come early.",
        "Version 2.0 is out.|Version 3 follows...|Soon.",
        "这是第一句。|第二句！|“第三句？”|完了",
        "هل أنت هنا؟|نعم.|لا.",
        "यह पहला है।|यह दूसरा है।",
        "Smith et al. (2020) found it.|Others too.",
        "3. Open the valve now.|Close it.",
        "Wait... what?|No.",
    ],
)
def test_sentences(text: str) -> None:
    expected = text.split("|")
    wide = "。" in text or "！" in text
    assert said(("" if wide else " ").join(expected)) == expected


def test_a_heading_is_a_sentence_of_its_own() -> None:
    assert said("# Title\nText here.\n- one\n- two") == ["# Title", "Text here.", "- one", "- two"]


@pytest.mark.parametrize(
    ("text", "headings"),
    [
        ("## Two\ntext", ["## Two"]),
        ("#hashtag\ntext", []),
        ("Title\n-----\ntext", ["Title"]),
        ("text above\n\n---\n\ntext below", []),
        ("2.1.3 Key management\nKeys are kept.", ["2.1.3 Key management"]),
        ("3.5 million people came.\nThey stayed.", []),
        ("1. Wash the salad\n2. Cut it", []),
        ("Chapter 4\n\nIt was night.", ["Chapter 4"]),
        ("第三章 方法\n\n我们使用一个模型。", ["第三章 方法"]),
        ("Risk management\n\nThe board meets every month and decides.", ["Risk management"]),
        ("SOUPS.\n\n\nTake beans.", ["SOUPS."]),
        ("I see.\n\nThe board meets every month and decides.", []),
        ("```\n# no heading\n```\n\ntext", []),
        ("1.1 Scope ........ 4\n1.2 Terms ........ 5\n\ntext", []),
        ("1.1 Scope\n1.2 Terms\n1.3 Audience\n1.4 Use\n1.5 More\nText begins.", ["1.5 More"]),
    ],
)
def test_headings(text: str, headings: list[str]) -> None:
    found = [
        text[line.start : line.end].strip() for line in read_lines(text) if line.kind == "heading"
    ]
    assert found == headings


def test_pages_are_split_each_by_itself() -> None:
    pages = [
        Page(1, "First page."),
        Page(2, "", PageState.SCANNED, "an image"),
        Page(3, "Third page. " * 9),
    ]
    found = chunk_document(pages, ChunkSettings(16, 0), by_word)
    assert [position for position, _ in found] == [0, 2, 2]
    assert all(
        pages[at].text[span.start : span.end].startswith(("First", "Third")) for at, span in found
    )


def test_running_headers_and_footers_are_in_no_chunk() -> None:
    text = "Annual report 2024\nOne two three four. Five six seven eight nine.\n17"
    body = Span(text.index("One"), text.index("\n17"))
    plain = [
        span
        for _, span in chunk_document(
            [Page(1, text[body.start : body.end])], ChunkSettings(8), by_word
        )
    ]
    found = [
        span for _, span in chunk_document([Page(1, text, body=body)], ChunkSettings(8), by_word)
    ]
    assert len(plain) == 2
    assert [text[s.start : s.end] for s in found] == [
        text[body.start + s.start : body.start + s.end] for s in plain
    ]
    assert chunk_document([Page(1, text, body=Span(5, 5))], ChunkSettings(8), by_word) == []


@pytest.mark.parametrize(
    "line", ["x" * 200_000, "." * 200_000, "a\n" * 50_000, "# a\nb\n" * 10_000]
)
def test_huge_pages_take_linear_time(line: str) -> None:
    began = time.process_time()
    spans = chunk_page(
        line, ChunkSettings(224, 32), lambda text: [(n, n + 3) for n in range(0, len(text), 3)]
    )
    assert len(spans) > 100
    assert time.process_time() - began < 10  # a quadratic step would take minutes


def by_piece(text: str) -> list[tuple[int, int]]:
    """Like models that take an unknown word for one token, however long it is."""
    return [match.span() for match in re.finditer(r"\S+", text)]


@pytest.mark.parametrize("word", ["a", "中", "e\u0301", "👩\u200d", "a\u200b", "-", "ab1+"])
@pytest.mark.parametrize("tokenize", [by_piece, by_word], ids=["by_piece", "by_word"])
def test_a_word_without_an_end_is_cut(word: str, tokenize) -> None:
    text = word * (60_000 // len(word))
    started = time.process_time()
    spans = chunk_page(text, ChunkSettings(40, 0), tokenize)
    assert time.process_time() - started < 3
    assert all(covered(text, spans))
    assert [one.end for one in spans[:-1]] == [one.start for one in spans[1:]]
    assert max(span.end - span.start for span in spans) <= 40 * 100
