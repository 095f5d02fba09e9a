"""Readers of training pairs, on valid and invalid files."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from retriever.tuning.pairs import Pair, Passage, passage_id
from retriever.tuning.reading import read_measured, read_pairs
from retriever.types import UsageError
from tests.evaluation import test_datasets as datasets


def write(path: Path, rows: list[object]) -> Path:
    path.write_text("\n\n".join(json.dumps(row) for row in rows), encoding="utf-8")
    return path


def beir(folder: Path, qrels: str = "qrels.tsv", second: str = "two") -> Path:
    """The documents d1 and d2, the latter with this text."""
    folder.mkdir(exist_ok=True)
    path = datasets.beir(folder, qrels) / "corpus.jsonl"
    path.write_text(path.read_text().replace('"text": ""', f'"text": "{second}"'))
    return folder


def made(text: str, title: str = "") -> Passage:
    return Passage(text, title, passage_id(text, title))


def test_json_lines(tmp_path: Path) -> None:
    rows: list[object] = [
        {"query": "one?", "positive": "first", "negatives": ["second", {"text": "x", "id": 7}]},
        {"query": "two?", "positive": {"text": "second", "title": None}, "id": "q2"},
        {"query": "two?", "positive": {"text": "second", "title": "T", "id": "d"}, "id": 3},
        {"query": "three?", "positive": {"text": "", "title": "Only"}, "negatives": None},
    ]
    found = read_pairs(write(tmp_path / "pairs.jsonl", rows))
    assert found.pairs == [
        Pair("one?", made("first"), (made("second"), Passage("x", id="7"))),
        Pair("two?", made("second"), id="q2"),
        Pair("two?", Passage("second", "T", "d"), id="3"),
        Pair("three?", made("Only")),  # a search finds no passage without text
    ]
    assert (found.name, found.scored, found.notes) == ("pairs.jsonl", False, ())
    named = [found.pairs[0].negatives[1], found.pairs[2].positive, found.pairs[3].positive]
    assert found.corpus == {each.id: each for each in [made("first"), made("second"), *named]}
    # A passage that two lines name is in memory once.
    assert found.pairs[0].negatives[0] is found.pairs[1].positive


def test_rated_sentences_of_both_kinds_of_files(tmp_path: Path) -> None:
    rows: list[object] = [{"query": "a b", "positive": "b a", "score": 4}]
    lines = read_pairs(write(tmp_path / "rated.jsonl", rows))
    table = tmp_path / "rated.tsv"
    table.write_text("score\tsentence1\tsentence2\n4.0\ta b\tb a\n")
    assert lines.pairs == read_pairs(table).pairs == [Pair("a b", made("b a"), score=4.0)]
    assert lines.scored
    assert lines.corpus == read_pairs(table).corpus


def test_what_a_folder_measures_with(tmp_path: Path) -> None:
    beir(tmp_path, "qrels/train.tsv")
    (tmp_path / "qrels" / "test.tsv").write_text("q2\td1\t1\n")
    both, other = read_measured(tmp_path), read_measured(tmp_path, tmp_path)
    assert [set(part.queries) for part in other] == [{"q2"}]
    assert len(both) == 2
    assert read_measured(beir(tmp_path / "whole"), tmp_path)[0].queries
    assert read_measured(write(tmp_path / "a.jsonl", [{"query": "a", "positive": "b"}]))[0].pairs


def test_documents_without_text_are_left_out(tmp_path: Path) -> None:
    found = read_pairs(beir(tmp_path, second=" "))
    assert set(found.corpus) == {"d1"}
    assert [pair.positive.id for pair in found.pairs] == ["d1"]
    assert any("2 judgements" in note and "documents without text" in note for note in found.notes)


@pytest.mark.parametrize("qrels", ["qrels.tsv", "qrels/train.tsv"])
def test_a_beir_folder(tmp_path: Path, qrels: str) -> None:
    found = read_pairs(beir(tmp_path, qrels))
    first, second = Passage("one\u2028line", "T", "d1"), Passage("two", "", "d2")
    assert found.corpus == {"d1": first, "d2": second}
    assert found.pairs == [
        Pair("query q1", first, (second,), id="q1"),
        Pair("query q2", second, id="q2"),
    ]
    assert found.name == tmp_path.name


def test_the_split_is_chosen_before_the_whole(tmp_path: Path) -> None:
    beir(tmp_path)
    (tmp_path / "qrels").mkdir()
    (tmp_path / "qrels" / "dev.tsv").write_text("q2\td1\t1\nq2\tgone\t1\n")
    found = read_pairs(tmp_path, split="dev")
    assert [(pair.id, pair.positive.id) for pair in found.pairs] == [("q2", "d1")]
    assert [note.split(" of ")[0] for note in found.notes] == ["1 judgements"]
    assert len(read_pairs(tmp_path).pairs) == 2  # no qrels/train.tsv
    (tmp_path / "qrels.tsv").unlink()
    with pytest.raises(UsageError, match=r"neither qrels\.tsv nor qrels/train\.tsv"):
        read_pairs(tmp_path)
    (tmp_path / "qrels" / "train.tsv").write_text("q2\tgone\t1\nq1\td1\t0\n")
    with pytest.raises(UsageError, match=r"no query .* relevant document"):
        read_pairs(tmp_path)


GOOD = {"query": "q", "positive": "p"}


@pytest.mark.parametrize(
    ("second", "message"),
    [
        ("[]", 'it needs a "query"'),
        ({"query": " ", "positive": "x"}, 'it needs a "query"'),
        ({"query": "x"}, 'it needs a "positive"'),
        ({"query": "x", "positive": 3}, '"positive" must be a text'),
        ({"query": "x", "positive": {"title": "t"}}, '"positive" must be a text'),
        ({"query": "x", "positive": {"text": "t", "title": 3}}, '"positive" must be a text'),
        ({"query": "x", "positive": ""}, '"positive" is empty'),
        (
            {"query": "x", "positive": {"text": "t", "id": 1.5}},
            '"positive": its id must be a string',
        ),
        ({**GOOD, "negatives": "n"}, '"negatives" must be a list'),
        ({**GOOD, "negatives": [None]}, 'a text of "negatives" must be a text'),
        ({**GOOD, "id": True}, '"id" must be a string'),
        ({**GOOD, "score": "4"}, '"score" must be a number'),
        ({**GOOD, "score": float("nan")}, '"score" must be a number'),
        ({**GOOD, "score": 10**400}, '"score" must be a number'),
        ({**GOOD, "score": 1, "negatives": ["n"]}, 'a pair with a "score" has no "negatives"'),
        ({**GOOD, "score": 1}, 'some lines have a "score" and some have none'),
        (
            {**GOOD, "negatives": [{"text": "a", "id": "n"}, {"text": "b", "id": "n"}]},
            "a text of \"negatives\": the id 'n' had another text",
        ),
    ],
)
def test_a_bad_line_is_named(tmp_path: Path, second: object, message: str) -> None:
    path = write(tmp_path / "pairs.jsonl", [GOOD, second])
    with pytest.raises(UsageError, match=rf"pairs\.jsonl, line 3: {message}"):
        read_pairs(path)


def test_an_empty_or_missing_file(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="has no pairs"):
        read_pairs(write(tmp_path / "none.jsonl", []))
    with pytest.raises(UsageError, match="cannot be read"):
        read_pairs(tmp_path / "missing.jsonl")
    (tmp_path / "torn.jsonl").write_bytes(b'{"query": "q", "positive": "p"}\n\n{"query": "\xff"}')
    with pytest.raises(UsageError, match=r"torn\.jsonl is not UTF-8 text \(byte 44\)"):
        read_pairs(tmp_path / "torn.jsonl")
