"""Pairs from an index without labels: held-out documents, no repeats, no document too often."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator

import pytest

from retriever import Index
from retriever.searching.near_duplicates import fingerprint, repeating_pairs
from retriever.settings import ChunkSettings
from retriever.tuning.documents import (
    DocumentPairs,
    headed_sections,
    pairs_from_index,
    passages_per_document,
)
from retriever.tuning.leakage import normalised, without
from retriever.types import Document, Page, UsageError
from tests.fakes import FakeEmbedder

WORDS = [a + b + c for a in "bcdfgmnr" for b in ("al", "en", "or", "ut") for c in ("k", "m", "st")]
CONTENTS = "\n".join(f"{n} Chapter of things ........ {n + 3}" for n in range(1, 30))


def sentence(draw: random.Random, words: int = 12) -> str:
    return " ".join(draw.choices(WORDS, k=words)).capitalize() + "."


def paragraph(draw: random.Random, count: int = 6) -> str:
    return " ".join(sentence(draw) for _ in range(count))


def document(name: str, *texts: str, title: str = "") -> Document:
    return Document(name, "text", (Page(None, "\n\n".join(texts)),), title=title)


def documents() -> Iterator[Document]:
    """Sixty notes with a heading each, a book, a copy of a note, and what is of no use."""
    draw = random.Random(1)
    for n in range(45):
        heading = f"# {' '.join(draw.choices(WORDS, k=3)).capitalize()}"
        note = document(
            f"note{n}", heading, paragraph(draw), paragraph(draw), title=f"Of {sentence(draw, 4)}"
        )
        yield note
        if n % 3 == 0:
            yield document(f"copy{n}", note.pages[0].text.replace("#", "##"), title=f"Copy {n}")
    yield document("book", *(paragraph(draw) for _ in range(120)), title="Intro")
    table = "\n".join(f"| {' | '.join(draw.choices(WORDS, k=8))} |" for _ in range(30))
    yield document("table", f"| a | b | c | d | e | f | g | h |\n{'|---' * 8}|\n{table}")
    yield document("contents", CONTENTS)
    yield document("markup", " ".join(f"<a_{n}='x{n}_{n}/{n}'/>" for n in range(90)))
    yield document("short", "Too short.")
    german = "Die Frist ist nicht von der Behörde oder dem Gericht zu setzen und wird mit dem Tag "
    yield document("german", german * 3)


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Index]:
    folder = tmp_path_factory.mktemp("documents") / "index"
    with Index.open_or_create(folder, FakeEmbedder(32), chunking=ChunkSettings(size=90)) as opened:
        opened.add(documents())
        yield opened


@pytest.fixture(scope="module")
def made(index: Index) -> DocumentPairs:
    return pairs_from_index(index, held_share=0.25)


def homes(index: Index) -> dict[str, str]:
    """The document of every passage."""
    return {chunk.id: row.path for row in index.documents() for chunk in index.chunks(row.id)}


def test_a_document_is_on_one_side(index: Index, made: DocumentPairs) -> None:
    home = homes(index)
    ours = {home[pair.positive.id] for pair in made.train.pairs}
    theirs = {home[pair.positive.id] for pair in made.held.pairs}
    assert ours.isdisjoint(theirs)
    assert len(ours) > 30
    assert len(theirs) > 8
    assert without(made.train, made.held) == (made.train, {})
    # A copy of a note is not on the other side either.
    trained = [made.train.corpus[name].text for name in made.train.corpus]
    whole = {chunk.id: chunk.text for row in index.documents() for chunk in index.chunks(row.id)}
    prints = [fingerprint(text) for text in trained]
    for pair in made.held.pairs:
        asked = fingerprint(whole[pair.positive.id])
        assert not any(one.repeats(asked) or asked.repeats(one) for one in prints)
        assert all(normalised(pair.query) not in normalised(text) for text in trained)


def test_queries_and_their_passages(index: Index, made: DocumentPairs) -> None:
    whole = {chunk.id: chunk for row in index.documents() for chunk in index.chunks(row.id)}
    kinds: Counter[str] = Counter()
    for pair in made.train.pairs:
        chunk = whole[pair.positive.id]
        text, own = normalised(chunk.text), normalised(pair.positive.text)
        assert made.train.corpus[chunk.id].text == chunk.text
        assert len(own) > 80
        if pair.query == chunk.title:
            kinds["title"] += 1
            assert (pair.positive.title, own) == ("", text)
        elif f"# {pair.query}" in chunk.text:
            kinds["heading"] += 1
            assert pair.positive.title == ""
            assert normalised(pair.query) not in own
            assert own in text
        elif own not in text:
            kinds["sentence"] += 1
            assert normalised(pair.query) in text
            assert normalised(pair.query) not in own
            assert len(own) + len(normalised(pair.query)) + 1 == len(text)
        else:
            kinds["crops"] += 1
            assert normalised(pair.query) in text
    assert min(kinds[kind] for kind in ("title", "heading", "sentence", "crops")) > 20
    assert not any("|" in pair.query or pair.query.startswith("#") for pair in made.train.pairs)
    passages: dict[str, set[str]] = {}
    for pair in made.train.pairs:
        passages.setdefault(normalised(pair.query), set()).add(pair.positive.id)
    assert all(len(each) == 1 for each in passages.values())


def test_held_sentences_are_in_no_passage_that_is_searched(made: DocumentPairs) -> None:
    texts = [normalised(passage.text) for passage in made.held.corpus.values()]
    for pair in made.held.pairs:
        assert made.held.corpus[pair.positive.id] == pair.positive
        assert not any(normalised(pair.query) in text for text in texts)
    asked = {pair.positive.id for pair in made.held.pairs}
    assert len(asked) == len(made.held.pairs)
    assert set(made.held.corpus) - asked  # others are searched, too


def test_what_is_of_no_use_is_counted(index: Index, made: DocumentPairs) -> None:
    home = homes(index)
    used = {home[pair.positive.id] for pair in [*made.train.pairs, *made.held.pairs]}
    assert used.isdisjoint({"contents", "markup", "short", "german"})
    said = " ".join(made.left_out)
    for reason in ("tables of contents", "hardly readable", "fewer than 25 words", "repeat others"):
        assert reason in said
    assert "language that hardly any" in said
    assert made.train.notes == made.left_out


def test_a_book_does_not_fill_a_small_number_of_pairs(index: Index) -> None:
    home = homes(index)
    found = pairs_from_index(index, most=100, held_share=0.25).train.pairs
    assert len(found) == 100
    by_document = Counter(home[pair.positive.id] for pair in found)
    assert max(by_document.values()) <= 6


def test_the_same_index_gives_the_same_pairs(index: Index, made: DocumentPairs) -> None:
    assert pairs_from_index(index, held_share=0.25) == made
    other = pairs_from_index(index, held_share=0.25, seed=1)
    assert {pair.query for pair in other.held.pairs} != {pair.query for pair in made.held.pairs}


def test_too_little_is_said(tmp_path: object, index: Index) -> None:
    with pytest.raises(UsageError, match="pairs to make"):
        pairs_from_index(index, held_share=1.0)
    with Index.open_or_create(f"{tmp_path}/index", FakeEmbedder(32)) as small:
        small.add([document("a", paragraph(random.Random(1)))])
        with pytest.raises(UsageError, match="1 documents with text; two are needed"):
            pairs_from_index(small)
        small.add([document("b", "Short."), document("a", "Shorter.")])
        with pytest.raises(UsageError, match="too little text to train on"):
            pairs_from_index(small)


def naive_limit(counts: list[int], limit: int) -> int:
    for most in range(max(counts), 1, -1):
        total = sum(min(count, most) for count in counts)
        share = max(0.1, 2 / len(counts))
        if total <= limit and (most <= 200 or most <= share * total):
            return most
    return 1


@pytest.mark.parametrize(
    ("counts", "limit"),
    [
        ([5] * 10 + [3000], 5000),
        ([5] * 400 + [900], 50_000),
        ([7], 100),
        ([900, 1000], 5000),
        ([40] * 50, 30),
        ([1, 2, 3, 500], 400),
    ],
)
def test_no_document_gives_many_more_passages(counts: list[int], limit: int) -> None:
    assert passages_per_document(counts, limit) == naive_limit(counts, limit)


def test_sections_of_headings() -> None:
    text = "Before all.\n\n# One\n\nFirst text. It goes on.\n\n# II. Two words here\n\nLast."
    assert list(headed_sections(text)) == [
        ("One", "First text. It goes on."),
        ("Two words here", "Last."),
    ]
    assert list(headed_sections("No heading. At all.")) == []
    assert list(headed_sections("# Alone")) == []


def test_repeating_pairs_equal_brute_force() -> None:
    draw = random.Random(3)
    base = [paragraph(draw, 4) for _ in range(12)]
    texts = list(base)
    for text in base:
        words = text.split()
        texts += [
            text.replace(" ", "\n").upper(),
            " ".join(words[:30]),
            " ".join(words[: len(words) - 1]),
            " ".join([*words, *draw.choices(WORDS, k=20)]),
            " ".join(draw.choices(WORDS, k=1) + words[1:]),
        ]
    texts += ["", "?", "Yes.", "yes", base[0]]
    prints = [fingerprint(text) for text in texts]
    expected = [
        (one, other)
        for one in range(len(texts))
        for other in range(len(texts))
        if one != other and prints[one].repeats(prints[other])
    ]
    assert len(expected) > 30
    assert repeating_pairs(texts) == expected
    assert repeating_pairs([]) == []
