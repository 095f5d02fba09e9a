"""Tables of documents: names of columns, merged cells, and no word lost."""

from __future__ import annotations

import time
from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from retriever.reading.tables.grid import Cell, grid_lines


def lines(*table: list[str | Cell], **known) -> list[str]:
    cells = [[Cell(cell) if isinstance(cell, str) else cell for cell in row] for row in table]
    return grid_lines(cells, **known)


def head(text: str, rows: int = 1, columns: int = 1) -> Cell:
    return Cell(text, rows, columns, is_header=True)


def test_empty_cells_do_not_shift_names():
    table = (["Name", "Phone", "Room"], ["Ada", "", "14"], ["Bob", "555", ""])
    assert lines(*table) == ["Name: Ada | Room: 14", "Name: Bob | Phone: 555"]
    assert lines(*table, header_rows=1) == lines(*table)
    assert lines(*table, header_rows=0)[0] == "Name | Phone | Room"


def test_words_alone_name_columns_only_if_marked_or_wide():
    table = (["Name", "Ada"], ["Town", "London"])
    assert lines(*table) == ["Name | Ada", "Town | London"]
    assert lines(*table, header_rows=1) == ["Name: Town | Ada: London"]
    assert lines([head("Word"), head("Sense")], ["cat", "animal"]) == ["Word: cat | Sense: animal"]
    assert lines([head("Word"), head("Sense")]) == ["Word | Sense"]


def test_a_data_sheet_of_two_columns_has_no_names():
    sheets = (
        (["Name", "Ada"], ["Born", "1815"], ["Phone", "030 12345"], ["Town", "London"]),
        (["Title", "Herons"], ["Date", "07.03.2024"], ["Version", "1.2"], ["Pages", "14"]),
        (["Model", "X-200"], ["Weight", "3 kg"], ["Height", "12 mm"]),
        (["Model:", "X-200"], ["Year:", "1999"]),
    )
    for sheet in sheets:
        assert lines(*sheet) == [" | ".join(row) for row in sheet]
    assert lines(["Item", "Weight"], ["Rope", "3 kg"], ["Lamp", ""], ["Tent", "7 kg"]) == [
        "Item: Rope | Weight: 3 kg",
        "Item: Lamp",
        "Item: Tent | Weight: 7 kg",
    ]


def test_two_rows_of_names_are_joined():
    body = (["North", "10", "11", "12", "13"], ["South", "20", "", "22", "23"])
    expected = [
        "Region: North | Q1 plan: 10 | Q1 actual: 11 | Q2 plan: 12 | Q2 actual: 13",
        "Region: South | Q1 plan: 20 | Q2 plan: 22 | Q2 actual: 23",
    ]
    below = ["plan", "actual", "plan", "actual"]
    merged = ["Region", Cell("Q1", columns=2), Cell("Q2", columns=2)]
    assert lines(merged, ["", *below], *body) == expected
    assert lines([Cell("Region", rows=2), *merged[1:]], below, *body) == expected
    assert lines(["Region", "Q1", "", "Q2", ""], ["", *below], *body) == expected
    assert lines(["Region", "Q1", "Q1", "Q2", "Q2"], ["in", *below], *body)[0] == (
        "Region in: North | Q1 plan: 10 | Q1 actual: 11 | Q2 plan: 12 | Q2 actual: 13"
    )
    years = lines(["", "2023", "", "2024", ""], ["Town", *below], *body)
    assert years[0] == (
        "Town: North | 2023 plan: 10 | 2023 actual: 11 | 2024 plan: 12 | 2024 actual: 13"
    )
    marked = [head("Region", 2), head("Q1", 1, 2), head("Q2", 1, 2)]
    assert lines(marked, [head(name) for name in below], *body) == expected
    words = lines(marked, [head(name) for name in below], ["North", "a", "b", "c", "d"])
    assert words == ["Region: North | Q1 plan: a | Q1 actual: b | Q2 plan: c | Q2 actual: d"]


def test_two_rows_of_names_beside_an_empty_corner_are_joined():
    body = (["North", "10", "11", "12", "13"], ["South", "20", "", "22", "23"])
    expected = [
        "North | Q1 plan: 10 | Q1 actual: 11 | Q2 plan: 12 | Q2 actual: 13",
        "South | Q1 plan: 20 | Q2 plan: 22 | Q2 actual: 23",
    ]
    below = ["", "plan", "actual", "plan", "actual"]
    assert lines(["", Cell("Q1", columns=2), Cell("Q2", columns=2)], below, *body) == expected
    assert lines(["", "Q1", "", "Q2", ""], below, *body) == expected
    assert lines(["", "Q1", "Q1", "Q2", "Q2"], below, *body) == expected
    one = (["", "plan", "actual"], ["North", "10", "11"], ["South", "", "21"])
    assert lines(["", Cell("Q1", columns=2)], *one) == [
        "North | Q1 plan: 10 | Q1 actual: 11",
        "South | Q1 actual: 21",
    ]
    title = lines(["", Cell("Report", columns=2)], ["", "Town", "Born"], ["", "Rome", "1815"])
    assert title == ["Report", "Town: Rome | Born: 1815"]


def test_an_empty_corner_or_groups_of_columns_name_words():
    assert lines(["", "Mon", "Tue"], ["early", "Maths", "Art"], ["late", "", "Sport"]) == [
        "early | Mon: Maths | Tue: Art",
        "late | Tue: Sport",
    ]
    groups = ["Region", Cell("Q1", columns=2), Cell("Q2", columns=2)]
    names = ["", "plan", "actual", "plan", "actual"]
    table = (groups, names, ["North", "a", "b", "c", "d"], ["South", "e", "", "", "h"])
    assert lines(*table) == [
        "Region: North | Q1 plan: a | Q1 actual: b | Q2 plan: c | Q2 actual: d",
        "Region: South | Q1 plan: e | Q2 actual: h",
    ]


def test_a_merged_value_is_repeated_in_each_row_and_alone_makes_no_row():
    table = (["Region", "City", "Sales"], [Cell("North", rows=4), "Oslo", "10"], ["Bergen", "11"])
    assert lines(*table, [], ["", "12"], ["South", "Rome", "9"]) == [
        "Region: North | City: Oslo | Sales: 10",
        "Region: North | City: Bergen | Sales: 11",
        "Region: North | Sales: 12",
        "Region: South | City: Rome | Sales: 9",
    ]


def test_titles_and_headings_across_a_table():
    names = [head("Town"), head("Desk"), head("Hours")]
    assert lines(
        [head("Opening hours", columns=3)],
        names,
        ["Ulm", "Visas", "9-12"],
        [Cell("In winter", columns=3)],
        ["Bonn", "", "8-10"],
    ) == [
        "Opening hours",
        "Town: Ulm | Desk: Visas | Hours: 9-12",
        "In winter",
        "Town: Bonn | Hours: 8-10",
    ]
    second = ([head("Fish"), head("Price")], ["Eel", "9"])
    assert lines(names, ["Ulm", "Visas", "9-12"], *second)[1:] == ["Fish: Eel | Price: 9"]


def test_names_above_no_value_and_long_names_are_written_once():
    assert lines([head("Name"), head("Sign here")], ["Ada", ""]) == ["Sign here", "Name: Ada"]
    long = "very " * 40 + "long"
    assert lines([head("Name"), head(long)], ["Ada", "x"]) == [long, "Name: Ada | x"]


def test_spans_that_are_larger_than_the_table():
    assert lines([Cell("a", rows=65_534, columns=1_000_000), "b"], ["c"]) == ["a | b", "a | c"]
    assert lines([Cell("a", rows=-3, columns=0), "b"]) == ["a | b"]
    start = time.monotonic()
    text = "x" * 150
    found = lines(*([Cell(text, rows=9_999, columns=1_000)] for _ in range(2_000)))
    assert sum(map(len, found)) < 10_000_000
    assert time.monotonic() - start < 20


WORDS = st.integers(0, 10**6).map(lambda n: f"w{n}x")
CELLS = st.builds(
    Cell,
    st.one_of(WORDS, st.just(""), st.lists(WORDS, min_size=2, max_size=40).map(" ".join)),
    st.integers(1, 4),
    st.integers(1, 4),
    st.booleans(),
)


@given(
    table=st.lists(st.lists(CELLS, max_size=5), max_size=7), known=st.sampled_from([None, 0, 1, 2])
)
def test_every_word_is_written(table, known):
    written = Counter(" ".join(grid_lines(table, known)).replace(":", " ").split())
    assert written.keys() - {"|"} == {
        word for row in table for cell in row for word in cell.text.split()
    }


@given(table=st.lists(st.lists(CELLS.map(lambda c: Cell(c.text)), max_size=5), max_size=7))
def test_without_names_every_word_is_written_once_and_in_order_of_rows(table):
    written = Counter(" ".join(grid_lines(table, 0)).split())
    del written["|"]
    assert written == Counter(word for row in table for cell in row for word in cell.text.split())


def test_names_above_headings_across_only_are_written():
    table = [[Cell("Town", is_header=True), Cell("Desk", is_header=True)], [Cell("All", columns=2)]]
    assert grid_lines(table) == ["Town | Desk", "All"]
