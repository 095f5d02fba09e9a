"""What `Documents.info` tells of an index in Milvus."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from retriever.storage.adapter import adapter_facts
from retriever.storage.addresses import Address
from retriever.storage.backends.milvus.reading import MilvusReader
from retriever.storage.backends.milvus.schema import FLAT
from retriever.types import DocumentRow


def described(
    address: Address, reader: MilvusReader, others: Mapping[str, Any], *, written: bool
) -> dict[str, Any]:
    """Counts, sizes and settings; `others` are settings that begin no generation.

    Progress without a writer is left over from a killed process.
    """
    background = reader.match_scale()
    facts = None if background is None else background.get("facts")
    return {
        "path": address.text,
        **totals(reader),
        "model": reader.setting("embedder"),
        "wished_model": others.get("wished_model"),
        "chunking": reader.setting("chunking"),
        "calibration": reader.calibration_facts(),
        "adapter": adapter_facts(reader.adapter()),
        "background": facts and dict(facts),
        "store": {
            "kind": reader.setting("kind") or FLAT,
            "vectors": reader.count_vectors(),
            "snapshot_generation": None,
        },
        "bytes": sizes(address),
        "generation": reader.generation(),
        "last_run": reader.last_run(),
        "progress": others.get("progress") if written else None,
    }


def totals(reader: MilvusReader) -> dict[str, Any]:
    """The counts of documents, pages, passages, states, formats and sources."""
    rows = [one.row for one in reader.every_document()]
    states: Counter[str] = Counter()
    for row in rows:
        states.update({state.value: count for state, count in row.page_states.items()})
    unread = Counter(file.status.value for file in reader.unread())
    return {
        "documents": len(rows),
        "chunks": reader.count_chunks(),
        "pending": reader.count_pending(),
        "pages": states.total(),
        "page_states": dict(states),
        "unread": dict(sorted(unread.items())),
        "formats": dict(sorted(Counter(row.format for row in rows).items())),
        "sources": _sources(rows),
    }


def _sources(rows: list[DocumentRow]) -> list[dict[str, Any]]:
    roots: dict[str, str] = {}
    for row in rows:
        roots[row.source] = max(row.root, roots.get(row.source, ""))
    counts = Counter(row.source for row in rows)
    return [
        {"name": name, "root": root, "documents": counts[name]}
        for name, root in sorted(roots.items())
    ]


def sizes(address: Address) -> dict[str, int]:
    """Bytes on this machine's disk: those of Milvus Lite; a server's are not known."""
    size = 0
    if address.is_lite:
        files = (path for path in Path(address.uri).rglob("*") if path.is_file())
        size = sum(path.stat().st_size for path in files)
    return {"catalog": size, "snapshot": 0, "total": size}


__all__ = ["described", "sizes", "totals"]
