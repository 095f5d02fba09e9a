"""Tables in text files: rows with the names of their columns, in any dialect."""

from __future__ import annotations

import csv
import io

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from retriever.reading.options import PAGE_SECONDS, ReadOptions
from retriever.reading.tables import delimited, rows
from retriever.reading.tables.delimited import read_table, shape_of
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


def test_a_backslash_at_the_end_of_a_cell_is_no_escape():
    folders = [
        ["Name", "Path", "Owner"],
        ["Logs", "C:\\Data\\", "Ada"],
        ["Temp", "D:\\x, y\\", "Bob"],
    ]
    expected = (
        "Name: Logs | Path: C:\\Data\\ | Owner: Ada\nName: Temp | Path: D:\\x, y\\ | Owner: Bob"
    )
    for delimiter in ",;":
        data = saved(folders, delimiter=delimiter, quoting=csv.QUOTE_ALL)
        assert only(read(data)) == expected
    more = [*folders, *([f"n{n}", f"E:\\{n}", "Cy"] for n in range(8))]
    assert only(read(saved(more, quoting=csv.QUOTE_ALL))).startswith(expected)
    both = b'name,said,age\nAda,"C:\\temp \\"b\\", c",36\nBob,"x\\\\y",37\n'
    assert only(read(both)) == (
        'name: Ada | said: C:\\temp "b", c | age: 36\nname: Bob | said: x\\y | age: 37'
    )


@pytest.mark.parametrize("mark", ["#", "//", "%", ";"])
def test_comment_lines_above_a_table_are_titles(mark):
    data = f"{mark} exported by a tool, version 2\n{mark} unit: mm, s\n\ntime,height\n1,20\n2,40\n"
    assert only(read(data.encode())) == (
        f"{mark} exported by a tool, version 2\n{mark} unit: mm, s\ntime: 1 | height: 20\n"
        "time: 2 | height: 40"
    )
    same = data.replace("\n\n", "\n").encode()
    assert only(read(same)) == only(read(data.encode()))


def test_a_comment_line_that_names_the_columns():
    assert only(read(b"# made by hand\n#id,size\n7,20\n8,40\n")) == (
        "# made by hand\nid: 7 | size: 20\nid: 8 | size: 40"
    )
    assert only(read(b"#,Name,Points\n1,Ada,40\n2,Bob,30\n")).startswith("#: 1 | Name: Ada")
    assert only(read(b";2019;2020\nUlm;1;2\nBonn;3;4\n")).startswith("Ulm | 2019: 1 | 2020: 2")


def test_a_second_table_of_words_does_not_get_the_names_of_the_first():
    first = b"Employee,City,Role\nAda,London,Analyst\nBob,Paris,Clerk\n"
    named = (
        "Employee: Ada | City: London | Role: Analyst\nEmployee: Bob | City: Paris | Role: Clerk\n"
    )
    assert only(read(first + b"\nSupplier,Product,Country\nAcme,Rope,Peru\n")) == (
        named + "Supplier | Product | Country\nAcme | Rope | Peru"
    )
    assert only(read(first + b"\nCy,Paris,Boss\nDi,Rome,Boss\n")) == (
        named + "Employee: Cy | City: Paris | Role: Boss\nEmployee: Di | City: Rome | Role: Boss"
    )


def test_the_same_names_again_begin_the_next_table():
    names = b"Employee,City,Role\n"
    text = only(read(names + b"Ada,London,Analyst\n\n" + names + b"Cy,Rome,Boss\n"))
    assert text == (
        "Employee: Ada | City: London | Role: Analyst\nEmployee: Cy | City: Rome | Role: Boss"
    )


def test_names_of_columns_without_values_are_kept():
    assert only(read(b"Name,Born,Remarks\nAda,1815,\nMary,1797,\n")) == (
        "Remarks\nName: Ada | Born: 1815\nName: Mary | Born: 1797"
    )


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
    extensions: list[float] = []
    table = [["n", "square"], *([str(n), str(n * n)] for n in range(1_200))]
    pages = read_table(saved(table), "a.csv", ReadOptions(extend_deadline=extensions.append)).pages
    assert [page.label for page in pages] == ["rows 2–501", "rows 502–1001", "rows 1002–1201"]
    assert pages[1].text.startswith("n: 500 | square: 250000\n")
    assert sum(len(page.text.split("\n")) for page in pages) == 1_200
    assert extensions == [PAGE_SECONDS] * 3


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
