"""Readers of labelled files, on valid and invalid files."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from retriever.evaluation.datasets import (
    LabelledQuestion,
    RelevantPlace,
    SentencePair,
    read_beir,
    read_questions,
    read_sentence_pairs,
)
from retriever.types import UsageError


def beir(folder: Path, qrels: str = "qrels.tsv") -> Path:
    documents = [{"_id": "d1", "title": "T", "text": "one\u2028line"}, {"_id": "d2", "text": ""}]
    queries = [{"_id": name, "text": f"query {name}"} for name in ("q1", "q2", "unjudged")]
    for name, rows in (("corpus", documents), ("queries", queries)):
        lines = "\n".join(json.dumps(row, ensure_ascii=False) for row in rows)
        (folder / f"{name}.jsonl").write_text(lines + "\n\n", encoding="utf-8")
    (folder / qrels).parent.mkdir(exist_ok=True)
    judged = "query-id\tcorpus-id\tscore\r\nq1\td1\t1\r\nq1\td2\t0\r\nq2\td2\t2\r\ngone\td1\t1\r\n"
    (folder / qrels).write_bytes(judged.encode())
    return folder


@pytest.mark.parametrize("qrels", ["qrels.tsv", "qrels/test.tsv"])
def test_a_beir_folder(tmp_path: Path, qrels: str) -> None:
    found = read_beir(beir(tmp_path, qrels))
    assert found.corpus == {"d1": ("T", "one\u2028line"), "d2": ("", "")}
    assert found.queries == {"q1": "query q1", "q2": "query q2"}
    assert found.qrels == {"q1": {"d1": 1, "d2": 0}, "q2": {"d2": 2}}


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("corpus.jsonl", '{"_id": "a", "text": "x"}\n{oops', r"corpus\.jsonl, line 2: .*JSON"),
        ("corpus.jsonl", '\n{"_id": 7, "text": "x"}', r"corpus\.jsonl, line 2: .*strings"),
        ("corpus.jsonl", '["a"]', r"corpus\.jsonl, line 1"),
        ("corpus.jsonl", '{"_id": "a", "text": "x", "title": 3}', r"line 1: \"title\""),
        (
            "queries.jsonl",
            '{"_id": "q1", "text": "x"}\n' * 2,
            r"queries\.jsonl, line 2: .*duplicate",
        ),
        ("queries.jsonl", '{"_id": "other", "text": "x"}', "no query .* judgement"),
        ("qrels.tsv", "query-id\tcorpus-id\tscore\nq1 d1 1", r"qrels\.tsv, line 2"),
        ("qrels.tsv", "q1\td1\tone", r"qrels\.tsv, line 1: .*'one' is not a number"),
    ],
)
def test_a_bad_beir_file_is_named_with_its_line(
    tmp_path: Path, file: str, content: str, message: str
) -> None:
    (beir(tmp_path) / file).write_text(content)
    with pytest.raises(UsageError, match=message):
        read_beir(tmp_path)


def test_missing_files(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is not a folder"):
        read_beir(tmp_path / "none")
    for name in ("corpus.jsonl", "queries.jsonl"):
        (beir(tmp_path) / name).unlink()
        with pytest.raises(UsageError, match=f"{name} cannot be read"):
            read_beir(tmp_path)
    (beir(tmp_path) / "qrels.tsv").unlink()
    with pytest.raises(UsageError, match=r"neither qrels\.tsv nor qrels/test\.tsv"):
        read_beir(tmp_path)


def test_pairs_keep_their_quotes(tmp_path: Path) -> None:
    path = tmp_path / "sts.tsv"
    path.write_bytes(
        '\ufeffscore\tsentence1\tsentence2\r\n4.5\t"Hi," he said\tit\'s "ok\r\n0\ta\tb\n'.encode()
    )
    assert read_sentence_pairs(path) == [
        SentencePair(4.5, '"Hi," he said', "it's \"ok"),
        SentencePair(0.0, "a", "b"),
    ]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "line 1: the header"),
        (b"a\tb\tc\n", "line 1: the header"),
        (b"score\tsentence1\tsentence2\n", "no pairs"),
        (b"score\tsentence1\tsentence2\n1\ta\tb\n\n2\ta\n", "line 4: three"),
        (b"score\tsentence1\tsentence2\nhigh\ta\tb\n", "line 2: the score 'high'"),
        (b"score\tsentence1\tsentence2\nnan\ta\tb\n", "line 2: the score 'nan'"),
        (b"score\tsentence1\tsentence2\n1\t\xff\tb\n", "not UTF-8"),
    ],
)
def test_bad_pairs_are_named_with_their_line(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "sts.tsv"
    path.write_bytes(content)
    with pytest.raises(UsageError, match=rf"sts\.tsv.* {message}"):
        read_sentence_pairs(path)


def test_questions_in_both_forms(tmp_path: Path) -> None:
    path = tmp_path / "questions.jsonl"
    lines = [
        {"id": "a", "query": "one?", "relevant": [{"path": "x.pdf", "pages": [3, 4]}]},
        {"query": "two?", "path": "x.pdf", "page": 5},
        {"id": "p", "query": "two?", "path": "x.pdf", "pages": [5]},
        {"id": "seven", "query": "three?", "path": "y.md"},
        {"query": "four?", "relevant": [{"path": "y.md", "pages": []}, {"path": "z.md"}] * 2},
    ]
    path.write_text("\n\n".join(json.dumps(line) for line in lines))
    assert read_questions(path) == [
        LabelledQuestion("a", "one?", (RelevantPlace("x.pdf", 3), RelevantPlace("x.pdf", 4))),
        LabelledQuestion(
            "3", "two?", (RelevantPlace("x.pdf", 5),)
        ),  # on the third line of the file
        LabelledQuestion("p", "two?", (RelevantPlace("x.pdf", 5),)),
        LabelledQuestion("seven", "three?", (RelevantPlace("y.md"),)),
        LabelledQuestion("9", "four?", (RelevantPlace("y.md"), RelevantPlace("z.md"))),
    ]
    assert str(RelevantPlace("x.pdf", 3)) == "x.pdf, page 3"


def test_the_projects_own_questions_are_of_this_form() -> None:
    questions = read_questions(Path("data/queries.jsonl"))
    assert len(questions) == 14
    for question in questions:
        for place in question.places:
            assert Path("data/sample", place.path).is_file()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "no questions"),
        ("{oops", "line 1: this is not JSON"),
        ("[" * 100_000, "line 1: this is not JSON"),
        ('"text"', 'line 1: it needs a "query"'),
        ('{"query": " ", "path": "a"}', 'line 1: it needs a "query"'),
        ('{"query": "x"}', 'line 1: it needs "relevant"'),
        ('{"query": "x", "path": "a", "page": "3"}', "pages are whole numbers"),
        ('{"query": "x", "path": "a", "page": true}', "pages are whole numbers"),
        ('{"query": "x", "relevant": []}', "at least one file"),
        ('{"query": "x", "relevant": {"path": "a"}}', "at least one file"),
        ('{"query": "x", "relevant": ["a"]}', 'line 1: it needs "relevant"'),
        ('{"id": [1], "query": "x", "path": "a"}', '"id" must be'),
        ('{"id": "1", "query": "x", "path": "a"}\n' * 2, "line 2: the id '1' is a duplicate"),
        (
            '{"query": "x", "path": "a"}\n{"id": 1, "query": "x", "path": "a"}',
            "line 2: .*duplicate",
        ),
    ],
)
def test_bad_questions_are_named_with_their_line(
    tmp_path: Path, content: str, message: str
) -> None:
    path = tmp_path / "questions.jsonl"
    path.write_text(content)
    with pytest.raises(UsageError, match=message):
        read_questions(path)
