"""Answers in the documents' own words: chosen over all results, exact, or honestly none."""

from __future__ import annotations

import json
from collections.abc import Iterator
from math import sqrt
from pathlib import Path

import pytest

from retriever import Document, Index, Page
from retriever.answers import Answer, best_sentences
from retriever.interface.cli import main
from retriever.interface.terminal.answers import sentence_lines
from retriever.searching.sentences import SentenceChooser
from retriever.types import Chunk, Hit, UsageError
from tests.fakes import FakeEmbedder

TEXTS = {
    "secrets.md": "Secrets are kept in a safe. A memorized secret is at least eight characters "
    "long. Nobody tells it to others.",
    "length.md": "The length of the river is great. A secret has characters, too.",
    "tea.md": "Tea is drunk with milk in the morning. The kettle sings.",
    "rain.md": "Rain falls on the station all night. Trains are late.",
    "cats.md": "A cat sleeps on the roof. It sees a bird in the garden.",
}
QUESTION = "how many characters has a memorized secret at least?"


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Index]:
    folder = tmp_path_factory.mktemp("answers") / "ix"
    with Index.open_or_create(folder, FakeEmbedder()) as opened:
        opened.add([Document(name, "md", (Page(None, text),)) for name, text in TEXTS.items()])
        yield opened


def test_the_sentence_that_says_it_comes_first_word_for_word(index: Index) -> None:
    answer = best_sentences(index, QUESTION)
    assert not answer.abstained
    assert answer.sentences[0].text == "A memorized secret is at least eight characters long."
    assert len(answer.sentences) <= 3
    for one in answer.sentences:
        page = index.pages(one.hit.chunk.document_id)[0]
        assert page.text[one.excerpt.start : one.excerpt.end] == one.text


def test_sentences_are_ordered_by_value_over_the_root_of_the_rank(index: Index) -> None:
    hits = index.search(QUESTION, 10)
    with index.snapshot(dense=False) as now:
        chooser = SentenceChooser(now.word_values(QUESTION, tolerant=True))
    naive = sorted(
        (
            (-value / sqrt(hit.rank), excerpt.text)
            for hit in hits
            for value, excerpt in chooser.ranked(hit)
        ),
        key=lambda pair: pair[0],
    )
    answer = best_sentences(index, QUESTION, 5)
    assert [one.text for one in answer.sentences] == [text for _, text in naive[:5]]
    assert [one.score for one in answer.sentences] == [-value for value, _ in naive[:5]]


def test_the_first_of_ranked_is_the_best(index: Index) -> None:
    for question in (QUESTION, "kettle", "no such words", "the station at night"):
        with index.snapshot(dense=False) as now:
            chooser = SentenceChooser(now.word_values(question, tolerant=True))
        for hit in index.search(question, 10):
            assert chooser.ranked(hit)[0][1] == chooser.best(hit)


def test_the_same_sentence_is_told_once(tmp_path: Path) -> None:
    text = "Bread is baked from flour and water."
    with Index.open_or_create(tmp_path / "ix", FakeEmbedder()) as opened:
        opened.add(
            [
                Document(f"{n}.md", "md", (Page(None, f"{text}\n\nPage {n} ends."),))
                for n in range(4)
            ]
        )
        found = best_sentences(opened, "bread baked from flour", fold=False)
        assert [one.text for one in found.sentences].count(text) == 1


def test_without_a_match_there_is_no_answer(index: Index) -> None:
    answer = best_sentences(index, "salary of the president of Mars")
    assert answer.abstained
    assert not answer.sentences
    assert answer.said
    assert best_sentences(index, QUESTION, where={"path": "none"}).said == "Nothing was found."


def test_wrong_arguments_are_refused(index: Index) -> None:
    for question in ("", "  "):
        with pytest.raises(UsageError, match="empty"):
            best_sentences(index, question)
    with pytest.raises(UsageError, match="text"):
        best_sentences(index, 3)  # type: ignore[arg-type]
    with pytest.raises(UsageError):
        best_sentences(index, QUESTION, 0)


def test_the_command_prints_sentences_with_their_places(
    index: Index, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    command = ["answer", QUESTION, "--mode", "keyword", "--index", index.name]
    assert main(command) == 0
    out = capsys.readouterr().out
    assert out.startswith(
        " 1. A memorized secret is at least eight characters long.\n    secrets.md"
    )
    assert main([*command, "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    first = answer["sentences"][0]
    assert (first["path"], answer["abstained"]) == ("secrets.md", False)
    assert TEXTS["secrets.md"][first["start"] : first["end"]] == first["text"]
    assert (
        main(["answer", QUESTION, "--path", "none", "--mode", "keyword", "--index", index.name])
        == 0
    )
    assert capsys.readouterr().out == "Nothing was found.\n"
    assert main(["answer", "  ", "--index", index.name]) == 2
    assert "empty" in capsys.readouterr().err
    assert main([*command, "--llm-model", "x"]) == 2


@pytest.mark.parametrize(
    "said", ["", "The question is in German, the documents are in English.", "These come nearest."]
)
def test_places_without_an_answer_are_never_shown_as_one(said: str) -> None:
    hit = Hit(1, 1.0, Chunk("c", "d", "tea.md", "md", "", None, 0, 4, "Tea."))
    *lines, place = sentence_lines(Answer("q", (), (hit,), abstained=True, said=said), colour=False)
    assert " ".join(lines).endswith("come nearest.")
    assert " ".join(lines).count("nearest") == 1
    assert place == "    tea.md"
