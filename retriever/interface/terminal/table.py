"""A table of the terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from retriever.interface.terminal.characters import one_line


def table(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Rows with the same keys as an aligned table.

    >>> table([{"mode": "dense", "ndcg": 0.5}])
    ['mode   ndcg', 'dense  0.5']
    """
    if not rows:
        return []
    columns = list(rows[0])
    cells = [columns, *([one_line(str(row[column])) for column in columns] for row in rows)]
    widths = [max(len(line[i]) for line in cells) for i in range(len(columns))]
    return [
        "  ".join(cell.ljust(w) for cell, w in zip(line, widths, strict=True)).rstrip()
        for line in cells
    ]
