"""JSON and JSON Lines: records as rows with the names of their fields."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from retriever.reading.options import ReadOptions
from retriever.reading.tables import jsonl
from retriever.reading.tables.jsonl import read_json, read_jsonl
from retriever.types import Document, PageState


def only(document: Document) -> str:
    assert [page.state for page in document.pages] == [PageState.TEXT], document.pages
    assert document.pages[0].number is None
    return document.pages[0].text


def lines(*values: object) -> bytes:
    return "\n".join(v if isinstance(v, str) else json.dumps(v) for v in values).encode()


def test_records_with_nested_values():
    record = {"id": 7, "user": {"name": "Ada", "tags": ["a", "b"]}, "ok": True, "none": None}
    document = read_jsonl(lines(record, {"id": 8, "price": 1.10}), "a.jsonl", ReadOptions())
    assert document.format == "jsonl"
    assert (
        only(document) == "id: 7 | user.name: Ada | user.tags: a, b | ok: true\nid: 8 | price: 1.1"
    )


def test_long_texts_are_paragraphs_and_data_is_left_out():
    story = "Once upon a time. " * 30
    record = {"title": "T", "vector": [0.5] * 768, "text": story, "image": "iVBOR" * 999}
    text = only(read_jsonl(lines(record, {"title": "U"}), "a.jsonl", ReadOptions()))
    assert text == (
        "title: T | vector: [768 numbers] | image: [4,995 characters of data]\n\n"
        f"text: {story.strip()}\n\ntitle: U"
    )


def test_lines_that_are_not_json_are_kept_and_said():
    data = lines({"a": 1}, '{"text": "Ada was born', {"a": 2}, "[" * 100_000)
    page = read_jsonl(data, "a.jsonl", ReadOptions()).pages[0]
    assert page.reason == "not JSON, kept as they stand: 2 lines (2, 4)"
    assert '{"text": "Ada was born' in page.text
    document = read_jsonl(b"Dear Sir,\nno JSON here.", "a.jsonl", ReadOptions())
    assert (document.format, only(document)) == ("txt", "Dear Sir,\nno JSON here.")
    assert document.pages[0].reason == "no line of it is JSON: read as plain text"


def test_pages_of_lines():
    data = lines(*({"n": n} for n in range(450)))
    pages = read_jsonl(data, "a.jsonl", ReadOptions()).pages
    assert [page.label for page in pages] == ["lines 1–200", "lines 201–400", "lines 401–450"]
    assert pages[2].text.startswith("n: 400\n")


def test_json_of_every_shape():
    def text(value: object) -> str:
        return only(read_json(json.dumps(value).encode(), "a.json", ReadOptions()))

    assert text([{"a": 1}, {"a": 2, "b": [1, 2]}]) == "a: 1\na: 2 | b: 1, 2"
    assert text({"name": "x", "deps": {"a": "1.0"}, "list": [{"k": "v"}]}) == (
        "name: x\ndeps.a: 1.0\nlist[1].k: v"
    )
    assert text([1, 2, "three"]) == "1, 2, three"
    assert text("alone") == "alone"
    assert only(read_json(lines({"a": 1}, {"a": 2}), "a.json", ReadOptions())) == "a: 1\na: 2"


@pytest.mark.parametrize("data", [b'{"a": ', b"[" * 200_000, b"// a comment\n{}"])
def test_what_is_not_json_is_text(data):
    document = read_json(data, "a.json", ReadOptions())
    assert document.format == "txt"
    assert document.pages[0].reason.startswith("not JSON (")


def test_numbers_stay_as_written():
    huge = "9" * 5_000
    text = only(
        read_json(
            b'{"a": 0.10, "b": 12345678901234567890123, "c": ' + huge.encode() + b"}",
            "a.json",
            ReadOptions(),
        )
    )
    assert text.startswith("a: 0.10\nb: 12345678901234567890123\nc: ")


def test_json_too_large_and_nothing_in_it(monkeypatch):
    assert read_json(b"{}", "a.json", ReadOptions()).pages[0].state is PageState.EMPTY
    assert read_json(b"[]", "a.json", ReadOptions()).pages[0].state is PageState.EMPTY
    monkeypatch.setattr(jsonl, "MAX_JSON_BYTES", 3)
    monkeypatch.setattr(jsonl, "MAX_BYTES", 3)
    for reader in (read_json, read_jsonl):
        assert reader(b'{"a": 1}', "a.json", ReadOptions()).pages[0].state is PageState.TOO_LONG


def test_what_package_managers_write_is_left_out():
    (page,) = read_json(
        b'{"name": "web", "packages": {}}', "web/package-lock.json", ReadOptions()
    ).pages
    assert page.state is PageState.SKIPPED
    assert "lock file" in page.reason
    assert read_json(b'{"name": "web"}', "web/package.json", ReadOptions()).pages[0].state.readable


JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text(max_size=9),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4)
    ),
)


@settings(max_examples=60, deadline=None)
@given(value=JSON, cut=st.integers(0, 200))
def test_any_json_is_read_to_some_state(value, cut):
    for data in (json.dumps(value).encode(), json.dumps(value).encode()[:cut] or b"0"):
        for reader in (read_json, read_jsonl):
            for page in reader(data, "a.json", ReadOptions()).pages:
                assert page.state.readable == bool(page.text.strip())
                page.text.encode()
