"""The benchmark of sentences: answers are read, carried over and compared as stated."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks.sentences import (
    BASELINES,
    OURS,
    Outcome,
    bm25,
    in_other_language,
    read_answers,
    table,
)
from retriever.evaluation.datasets import RetrievalDataset

TEXT = "Tea is hot. It has 12 leaves."
DATA = RetrievalDataset({"p1": ("", TEXT)}, {"q1": "How many?"}, {"q1": {"p1": 1.0}})


def test_answers_of_squad_are_spans_of_our_text(tmp_path: Path) -> None:
    context = f"  {TEXT}"
    start = context.index("12 leaves")
    answers = [{"answer_start": start, "text": "12 leaves"}]
    known = {"context": context, "qas": [{"id": "q1", "answers": answers}, {"id": "q9"}]}
    path = tmp_path / "xquad.en.json"
    path.write_text(json.dumps({"data": [{"paragraphs": [known]}]}))
    ((first, last),) = read_answers(path, DATA)["q1"]
    assert TEXT[first:last] == "12 leaves"
    lines = tmp_path / "spans.tsv"
    lines.write_text("# said\nq1\tp1\t12-29 0-11\n")
    assert read_answers(lines, DATA) == {"q1": [(12, 29), (0, 11)]}


def test_answers_are_carried_over_by_their_number() -> None:
    german = "Tee ist heiß. Er hat 12 Blätter."
    other = RetrievalDataset({"p1": ("", german)}, {}, {})
    spans = {"q1": [(12, 29)]}
    ((first, last),) = in_other_language(spans, DATA, other)["q1"]
    assert german[first:last] == "Er hat 12 Blätter."
    fewer = RetrievalDataset({"p1": ("", "Tee hat 12 Blätter.")}, {}, {})
    assert in_other_language(spans, DATA, fewer) == {}


def test_bm25_of_sentences() -> None:
    words = [((("tea", 2.0),),), ((("leav", 1.0),), (("leaf", 0.5),))]
    scores = bm25(words, ["Tea and tea is hot.", "Leaves.", "Milk."], "", 2.0)
    hot = 1.2 * (0.25 + 0.75 * 3 / 2)  # tea, tea, hot
    leaf = 1.2 * (0.25 + 0.75 * 1 / 2)
    assert scores == [
        pytest.approx(2.0 * 2.2 * 2 / (2 + hot)),
        pytest.approx(2.2 * 1 / (1 + leaf)),
        0.0,
    ]


def test_a_table_has_both_halves() -> None:
    right = {OURS: True, **dict.fromkeys(BASELINES, False)}
    found = [Outcome(f"p{n}", 3, right) for n in range(1, 21)] + [Outcome("p1", 1, right)]
    whole, odd, even = table("set", found)
    assert whole.startswith("| set, all | 20 | **1.000** (1.000 to 1.000) | 0.000 (+1.000,")
    assert "| 10 |" in odd
    assert "| 10 |" in even
