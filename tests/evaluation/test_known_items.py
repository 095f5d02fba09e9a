"""Known-item data sets: reproducible, one relevant passage per query, bounded per file."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from retriever.evaluation.known_items import MIN_SENTENCES, known_item_dataset
from retriever.types import UsageError

WORDS = [a + b for a in ("ba", "ce", "di", "fo", "gu", "ma", "ne", "ri") for b in ("ln", "rt", "s")]


def sentence(draw: random.Random, words: int = 12) -> str:
    return " ".join(draw.choices(WORDS, k=words)).capitalize() + "."


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Thirty files of one paragraph, and a book of three hundred."""
    draw = random.Random(1)
    docs = tmp_path / "docs"
    docs.mkdir()
    for number in range(30):
        text = " ".join(sentence(draw) for _ in range(5))
        (docs / f"note-{number}.txt").write_text(text)
    book = "\n\n".join(" ".join(sentence(draw) for _ in range(6)) for _ in range(300))
    (docs / "book.txt").write_text(book)
    (docs / "broken.pdf").write_bytes(b"%PDF-1.4 broken")
    return docs


def test_a_query_occurs_in_no_document(folder: Path) -> None:
    found = known_item_dataset(folder, 60)
    assert len(found.corpus) == 60
    assert len(found.queries) >= 50
    texts = {name: " ".join(text.split()) for name, (_, text) in found.corpus.items()}
    for name, asked in found.queries.items():
        assert found.qrels[name] == {name: 1.0}
        assert not any(asked in text for text in texts.values())
        whole = " ".join((folder / name.split("#")[0]).read_text().split())
        assert whole.count(asked) == 1
        before = texts[name].split()
        assert " ".join(before[:5]) in whole
        assert len(before) >= 25


def test_it_is_always_the_same_test(folder: Path) -> None:
    assert known_item_dataset(folder, 40) == known_item_dataset(folder, 40)


def test_one_large_file_does_not_fill_it(folder: Path) -> None:
    names = [name.split("#")[0] for name in known_item_dataset(folder, 30).corpus]
    assert names.count("book.txt") <= 3
    # Where the small ones are not enough, the large one fills up.
    many = [name.split("#")[0] for name in known_item_dataset(folder, 100).corpus]
    assert len(many) == 100
    assert len(set(many)) == 31


def test_a_sentence_in_two_passages_is_not_asked(tmp_path: Path) -> None:
    draw = random.Random(2)
    common = "This report is for the use of the members of the board only."
    for number in range(40):
        rest = " ".join(sentence(draw, 14) for _ in range(3))
        (tmp_path / f"{number}.txt").write_text(f"{common} {rest}")
    asked = known_item_dataset(tmp_path, 40).queries.values()
    assert len(asked) == 40
    assert common not in asked


def test_too_little_is_said(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("Short.")
    with pytest.raises(UsageError, match=f"0 sentences can be asked, {MIN_SENTENCES} are"):
        known_item_dataset(tmp_path)
    with pytest.raises(UsageError, match="not 3"):
        known_item_dataset(tmp_path, 3)
    with pytest.raises(UsageError, match="no file or folder"):
        known_item_dataset(tmp_path / "none")
