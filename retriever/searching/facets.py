"""Facets of a search: counts of documents by format, folder and year.

A folder is written as the root's name, or as that name and the first folder below it: "reports",
"reports/2024". Documents added by a caller have the root "".
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
    """Counts of documents by format, folder and year, in display order."""

    formats: Mapping[str, int]
    folders: Mapping[str, int]
    years: Mapping[str, int]


def count_facets(
    rows: Sequence[DocumentRow], where: Callable[[str], Where] = lambda name: None
) -> Facets:
    """The facets of these documents.

    `where(name)` is the filter for counting the facet `name` ("formats", "folders", "years"): all
    conditions except the facet's own. It must not use fields of pages or passages, since documents
    are counted.
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
    """The folders that a document counts towards.

    >>> document_folders(DocumentRow("", "docs", "/docs", "2024/may/a.pdf", "pdf"))
    ['docs', 'docs/2024']
    """
    first, below, _ = row.path.partition("/")
    return [row.source, f"{row.source}/{first}"] if below else [row.source]


def folder_names(folders: Iterable[str]) -> dict[str, str]:
    """The folders of `Facets` → their names as results show them: without the only root's name.

    >>> folder_names(["docs", "docs/2024"])
    {'docs': 'docs', 'docs/2024': '2024'}
    >>> folder_names(["docs", "docs/2024", "mail"])["docs/2024"]
    'docs/2024'
    """
    known = list(folders)
    sources = {folder.partition("/")[0] for folder in known}
    return {
        folder: folder.partition("/")[2] or folder if len(sources) == 1 else folder
        for folder in known
    }


def folder_filter(folder: str) -> dict[str, Any]:
    """The filter that selects a folder's documents.

    >>> folder_filter("docs/a*")
    {'source': 'docs', 'path': {'glob': 'a[*]/**'}}
    """
    source, below, first = folder.partition("/")
    if not below:
        return {"source": source}
    literal = "".join(f"[{c}]" if c in "*?[" else c for c in first)
    return {"source": source, "path": {"glob": f"{literal}/**"}}


__all__ = ["Facets", "count_facets", "document_folders", "folder_filter", "folder_names"]
