"""Example searches made of an index."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from retriever import Document, Index, Page
from retriever.searching import examples
from tests.fakes import FakeEmbedder

FILLER = "The town council met again in the old hall and spoke about many things of every day."
DOCUMENTS = {
    "help/faq.md": (
        "# Help\n\n## How do I renew my library card?\n\nA card is renewed at the desk in the hall."
        "\n\n## What now?\n\nNothing happens after that, and everybody goes home."
    ),
    "garden/beds.md": (
        "# Garden\n\n## Raised beds against snails\n\nA raised bed keeps snails away from lettuce."
        "\n\n## Introduction\n\nThis is about gardens and what grows in them over the year."
    ),
    "glossary.md": (
        "Words\n\nA relying party is an organisation that trusts what somebody else has verified. "
        "This is a sentence about nothing. It is the second of them. The clerk is a man of honour."
    ),
    "logs/data.xml": (
        "Inventory Of Pipes\n\n<pipe uuid='0aa5-99' id='x1'/><pipe uuid='0aa5-98' id='x2'/>"
        "<pipe uuid='0aa5-97' id='x3'/> pipes."
    ),
    "contents.md": (
        "Contents Of The Handbook\n\nSafety at work ........ 3\nFirst aid ........ 4\n"
        "Ladders and scaffolds ........ 9\nNoise and hearing ........ 12"
    ),
    "odd.md": (
        "# Form 27-B/6 submission\n\nForms are kept in a drawer, and nobody looks for them.\n\n"
        "# See chapter above\n\nNothing can be seen there, and nobody has looked for it."
    ),
    **{f"minutes/{day}.txt": f"{FILLER} It was day {day}." for day in range(40)},
}


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Index]:
    with Index.open_or_create(tmp_path_factory.mktemp("examples"), FakeEmbedder()) as opened:
        opened.add(Document(path, "md", (Page(None, text),)) for path, text in DOCUMENTS.items())
        yield opened


def test_they_are_questions_definitions_and_headings_that_read_alone(index: Index) -> None:
    assert index.examples(20) == [
        "How do I renew my library card?",
        "What is a relying party?",
        "Raised beds against snails",
    ]


def test_they_are_as_many_as_asked_for(index: Index) -> None:
    assert [index.examples(k) for k in (1, 2)] == [index.examples()[:1], index.examples()[:2]]


def test_a_keyword_search_finds_the_passage_first(index: Index) -> None:
    for example, path in zip(
        index.examples(), ("help/faq.md", "glossary.md", "garden/beds.md"), strict=True
    ):
        assert index.search(example, 1, mode="keyword")[0].chunk.path == path


def test_they_are_of_different_folders(tmp_path: Path) -> None:
    texts = {
        "a/one.md": "# Steam engines in mines\n\nPumps were driven by engines.",
        "a/two.md": "# Canal boats and locks\n\nBoats were drawn by horses.",
        "b/three.md": "# Bees in winter\n\nA swarm keeps itself warm.",
    }
    with Index.open_or_create(tmp_path / "index", FakeEmbedder()) as index:
        index.add(Document(path, "md", (Page(None, text),)) for path, text in texts.items())
        found = index.examples(2)
        assert "Bees in winter" in found
        assert index.examples(2) == found
        assert sorted(index.examples(3)) == [
            "Bees in winter",
            "Canal boats and locks",
            "Steam engines in mines",
        ]


def test_questions_of_other_languages_are_examples(tmp_path: Path) -> None:
    text = (
        "# Fragen\n\n## Wie lange darf ich ein Buch ausleihen?\n\nEin Buch darf vier Wochen lang "
        "ausgeliehen werden. Danach wird eine Gebühr fällig, und sie ist nicht hoch."
    )
    with Index.open_or_create(tmp_path / "index", FakeEmbedder()) as index:
        index.add([Document("faq.md", "md", (Page(None, text),))])
        assert index.examples() == ["Wie lange darf ich ein Buch ausleihen?"]


def test_an_empty_index_has_none(tmp_path: Path) -> None:
    with Index.open_or_create(tmp_path / "index", FakeEmbedder()) as index:
        assert index.examples() == []


def test_a_large_index_is_sampled(index: Index, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(examples, "SAMPLE", 1)
    assert len(index.examples()) <= 1
