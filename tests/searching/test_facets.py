"""Facet counts against counting by hand, and folders against the filter's definition."""

from __future__ import annotations

from retriever.searching.facets import count_facets, document_folders, folder_filter
from retriever.storage.filters import Filter, document_fields
from retriever.types import DocumentRow


def row(source: str, path: str, format_: str = "pdf", date: str = "") -> DocumentRow:
    return DocumentRow("", source, "", path, format_, date=date)


ROWS = [
    row("docs", "a.pdf", date="2024-03-01"),
    row("docs", "2024/b.txt", "txt", "2024"),
    row("docs", "2024/deep/c.pdf", date="2023-01"),
    row("docs", "[x]*/d.pdf"),
    row("", "fruit/e.txt", "txt"),
]


def test_each_document_is_counted_where_it_is() -> None:
    found = count_facets(ROWS)
    assert found.formats == {"pdf": 3, "txt": 2}
    assert found.folders == {"": 1, "/fruit": 1, "docs": 4, "docs/2024": 2, "docs/[x]*": 1}
    assert list(found.years.items()) == [("2024", 2), ("2023", 1)]


def test_the_other_filters_hold_and_what_is_left_out_counts_none() -> None:
    wheres = {"formats": {"source": "docs"}, "folders": {"format": "txt"}, "years": None}
    found = count_facets(ROWS, wheres.get)
    assert found.formats == {"pdf": 3, "txt": 1}
    assert found.folders == {"": 1, "/fruit": 1, "docs": 1, "docs/2024": 1, "docs/[x]*": 0}


def test_a_folder_s_filter_lets_through_what_was_counted() -> None:
    for folder, count in count_facets(ROWS).folders.items():
        condition = Filter.parse(folder_filter(folder))
        inside = [one for one in ROWS if condition.matches(document_fields(one))]
        assert len(inside) == count
        assert all(folder in document_folders(one) for one in inside)
