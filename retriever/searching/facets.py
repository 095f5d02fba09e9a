"""What a search can be narrowed to, and how many documents that leaves: formats, folders, years.

A folder is written as the root's name, or as that with the first folder below it: "reports",
"reports/2024"; documents handed over by a caller have the root "".
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from retriever.storage.filters import Filter, document_fields
from retriever.types import DocumentRow

Where = Mapping[str, Any] | None


@dataclass(frozen=True, slots=True)
class Facets:
    """Counts of documents by format, folder and year, in the order they are shown in."""

    formats: Mapping[str, int]
    folders: Mapping[str, int]
    years: Mapping[str, int]


def count_facets(
    rows: Sequence[DocumentRow], where: Callable[[str], Where] = lambda name: None
) -> Facets:
    """The facets of these documents.

    `where(name)` is the filter that holds while the facet so called ("formats", "folders",
    "years") is counted: all conditions but its own. It must not speak of pages or texts, which a
    document as such has not.
    """
    return Facets(
        formats=_counts(rows, where("formats"), lambda row: [row.format]),
        folders=_counts(rows, where("folders"), document_folders),
        years=dict(
            reversed(
                _counts(rows, where("years"), lambda row: [row.date[:4]] * bool(row.date)).items()
            )
        ),
    )


def _counts(
    rows: Iterable[DocumentRow], where: Where, names: Callable[[DocumentRow], list[str]]
) -> dict[str, int]:
    condition = Filter.parse(where or {})
    counts: Counter[str] = Counter()
    for row in rows:
        met = condition.matches(document_fields(row))
        for name in names(row):
            counts[name] += met
    return dict(sorted(counts.items()))


def document_folders(row: DocumentRow) -> list[str]:
    """The folders a document is counted in.

    >>> document_folders(DocumentRow("", "docs", "/docs", "2024/may/a.pdf", "pdf"))
    ['docs', 'docs/2024']
    """
    first, below, _ = row.path.partition("/")
    return [row.source, f"{row.source}/{first}"] if below else [row.source]


def folder_filter(folder: str) -> dict[str, Any]:
    """The filter for a folder's documents.

    >>> folder_filter("docs/a*")
    {'source': 'docs', 'path': {'glob': 'a[*]/**'}}
    """
    source, below, first = folder.partition("/")
    if not below:
        return {"source": source}
    literal = "".join(f"[{c}]" if c in "*?[" else c for c in first)
    return {"source": source, "path": {"glob": f"{literal}/**"}}


__all__ = ["Facets", "count_facets", "document_folders", "folder_filter"]
