"""Tables in text files, JSON and JSON Lines: rows that keep the names of their columns."""

from __future__ import annotations

import csv
import io
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from retriever.reading.options import PAGE_SECONDS, ReadOptions
from retriever.reading.tables import delimited, jsonl, rows
from retriever.reading.tables.delimited import read_table, shape_of
from retriever.reading.tables.jsonl import read_json, read_jsonl
from retriever.types import Document, PageState, ReadError

PEOPLE = [["Name", "Born", "City"], ["Ada", "1815", "London"], ["Mary", "1797", ""]]
WRITTEN = "Name: Ada | Born: 1815 | City: London\nName: Mary | Born: 1797"


def saved(table: list[list[str]], **how) -> bytes:
    buffer = io.StringIO(newline="")
    csv.writer(buffer, **how).writerows(table)
    return buffer.getvalue().encode()


def read(data: bytes, name: str = "a.csv") -> Document:
    return read_table(data, name, ReadOptions())


def only(document: Document) -> str:
    assert [page.state for page in document.pages] == [PageState.TEXT], document.pages
    assert document.pages[0].number is None
    return document.pages[0].text


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
@pytest.mark.parametrize("name", ["a.csv", "a.tsv"])
def test_any_delimiter_whatever_the_name(delimiter, name):
    document = read(saved(PEOPLE, delimiter=delimiter), name)
    assert (document.format, only(document)) == ("csv", WRITTEN)
    assert document.pages[0].label == ""


def test_encodings_and_the_line_excel_writes_in_front():
    table = [["Straße", "Größe"], ["Müllerweg", "1,5"], ["Königsallee", "2,5"]]
    data = saved(table, delimiter=";")
    expected = "Straße: Müllerweg | Größe: 1,5\nStraße: Königsallee | Größe: 2,5"
    assert only(read(b"\xef\xbb\xbfsep=;\r\n" + data)) == expected
    assert only(read(data.decode().encode("cp1252"))) == expected
    assert only(read(data.decode().encode("utf-16"))) == expected


def test_quoted_cells_keep_delimiters_quotes_and_lines():
    table = [["Name", "Said"], ["Ada", 'I am, "so to say", here;\nreally'], ["Bob", "no"]]
    expected = 'Name: Ada | Said: I am, "so to say", here; really\nName: Bob | Said: no'
    assert only(read(saved(table))) == expected
    escaped = b'name,said,age\nAda,"a \\"b\\", c",36\nBob,"x",37\n'
    assert only(read(escaped)).startswith('name: Ada | said: a "b", c | age: 36')


def test_a_quotation_mark_that_is_never_closed_swallows_nothing():
    lines = [
        "id,height,name",
        '1,5" tall,Ada',
        '2,"broken,Bob',
        *(f"{n},6,N{n}" for n in range(99)),
    ]
    page = read("\n".join(lines).encode()).pages[0]
    assert len(page.text.split("\n")) == len(lines) - 1
    assert page.reason.startswith("a quotation mark is never closed")
    odd = read(b'id,height,name\n1,6,Ada\n2,"7,Bob\n3,8,Eve\n').pages[0]
    assert odd.text.split("\n")[1:] == [
        'id: 2 | height: "7 | name: Bob',
        "id: 3 | height: 8 | name: Eve",
    ]
    assert odd.reason.startswith("a quotation mark is never closed")


def test_prose_is_no_table():
    prose = "Dear Sir,\n\nI write, as you see, to say this.\nAnd, well, that, too.\n\nYours, Ada\n"
    document = read(prose.encode())
    assert (document.format, only(document)) == ("txt", prose.strip())
    assert document.pages[0].reason == "no columns in it: read as plain text"
    assert shape_of("one\ntwo\nthree\n") is None


def test_titles_above_and_tables_without_names():
    data = b"Population of towns\n\nTown;1990;2000\nUlm;1;2\nBonn;3;4\n"
    assert only(read(data)) == (
        "Population of towns\nTown: Ulm | 1990: 1 | 2000: 2\nTown: Bonn | 1990: 3 | 2000: 4"
    )
    assert only(read(b"Ada,1815\nMary,1797\n")) == "Ada | 1815\nMary | 1797"
    assert only(read(b"1,2\n3,4\n")) == "1 | 2\n3 | 4"


def test_a_blank_row_inside_of_a_table_does_not_end_its_names():
    data = b"Name,Born\nAda,1815\n,\nMary,1797\nEmmy,1882\n"
    assert (
        only(read(data))
        == "Name: Ada | Born: 1815\nName: Mary | Born: 1797\nName: Emmy | Born: 1882"
    )


def test_whole_texts_in_cells_become_paragraphs():
    story = "It was a dark night. " * 20 + "\n\nThen came the day."
    text = only(read(saved([["id", "story"], ["1", story], ["2", "short"]])))
    assert text == f"id: 1\n\nstory: {story}\n\nid: 2 | story: short"


def test_pages_of_rows_numbered_as_in_a_spreadsheet():
    earned: list[float] = []
    table = [["n", "square"], *([str(n), str(n * n)] for n in range(1_200))]
    pages = read_table(saved(table), "a.csv", ReadOptions(extend_deadline=earned.append)).pages
    assert [page.label for page in pages] == ["rows 2–501", "rows 502–1001", "rows 1002–1201"]
    assert pages[1].text.startswith("n: 500 | square: 250000\n")
    assert sum(len(page.text.split("\n")) for page in pages) == 1_200
    assert earned == [PAGE_SECONDS] * 3


def test_limits(monkeypatch):
    monkeypatch.setattr(rows, "MAX_TEXT", 3_000)
    monkeypatch.setattr(rows, "PART_CHARACTERS", 1_000)
    pages = read(saved([["n", "square"], *([str(n), str(n * n)] for n in range(1_000))])).pages
    assert [page.state for page in pages] == [PageState.TEXT] * 3 + [PageState.TOO_LONG]
    assert pages[-1].label == f"rows after {pages[2].label.rsplit('–', 1)[1]}"
    monkeypatch.setattr(delimited, "MAX_BYTES", 10)
    assert read(b"a,b\n1,2\n3,4\n").pages[0].state is PageState.TOO_LONG


def test_nothing_in_it():
    for data in (b"\n\n", b" , \n , \n"):
        assert [page.state for page in read(data).pages] == [PageState.EMPTY]
    with pytest.raises(ReadError, match="binary"):
        read(bytes(range(256)) * 4)


CELLS = st.text(st.characters(codec="utf-8", exclude_characters="\x00"), max_size=12)


@settings(max_examples=60, deadline=None)
@given(
    table=st.lists(st.lists(CELLS, min_size=2, max_size=5), max_size=8),
    delimiter=st.sampled_from(",;\t|"),
    cut=st.integers(0, 400),
)
def test_any_table_is_read_to_some_state(table, delimiter, cut):
    try:
        document = read(saved(table, delimiter=delimiter)[: cut + 1] or b"\n")
    except ReadError:
        return  # controls alone are no text
    for page in document.pages:
        assert page.state.readable == bool(page.text)
        assert page.state.readable or page.reason
        page.text.encode()


@given(table=st.lists(st.tuples(*[st.from_regex(r"[a-z]{1,9}", fullmatch=True)] * 3), min_size=2))
def test_every_cell_is_found_again(table):
    text = only(read(saved([list(row) for row in table])))
    for row in table:
        assert all(cell in text for cell in row)


# JSON Lines and JSON


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
