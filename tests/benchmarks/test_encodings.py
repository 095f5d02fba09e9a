"""The benchmark of older encodings: its table by hand, and its published result."""

from __future__ import annotations

import pytest

from benchmarks import encodings
from retriever.reading.encodings import decode


@pytest.fixture
def texts(tmp_path):
    path = tmp_path / "texts.tsv"
    path.write_text("German\tcp1252\tGrüße\tonly ASCII\nGreek\tcp1253\tΚαλημέρα\n", "utf-8")
    return path


def test_a_text_is_a_case_where_its_encoding_changes_bytes(texts):
    found = [(case.language, case.kind, case.text) for case in encodings.cases(texts)]
    older = [
        *[("German", "sentence", "Grüße"), ("German", "paragraph", "Grüße only ASCII")],
        *[("Greek", "sentence", "Καλημέρα"), ("Greek", "paragraph", "Καλημέρα")],
    ]
    assert found == older[:2] * 4 + older[2:] * 4


def test_the_table_counts_texts_that_come_back_whole(texts, monkeypatch):
    decoders = {"latin": lambda data: data.decode("cp1252", "replace"), "none": lambda _: None}
    monkeypatch.setattr(encodings, "DECODERS", decoders)
    found = [
        (case, {name: case.is_right(decoder) for name, decoder in decoders.items()})
        for case in encodings.cases(texts)
    ]
    assert encodings.table(found)[2:] == [
        "| older encodings | 1 of 2 | 0 of 2 | 1 of 2 | 0 of 2 |",
        "| Unicode without a mark | 0 of 6 | 0 of 6 | 0 of 6 | 0 of 6 |",
        "| German | 1 of 1 | 0 of 1 | 1 of 1 | 0 of 1 |",
        "| Greek | 0 of 1 | 0 of 1 | 0 of 1 | 0 of 1 |",
    ]


def test_texts_in_older_encodings_come_back():
    cases = [case for case in encodings.cases() if case.encoding not in encodings.UNICODE]
    right = sum(case.is_right(decode) for case in cases)
    assert (right, len(cases)) == (330, 340)


def test_the_command_prints_its_table(texts, monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["encodings", "--texts", str(texts)])
    encodings.main()
    printed = capsys.readouterr().out
    assert "| German | 1 of 1 |" in printed
    assert "charset-normalizer" in printed
