"""What several commands' options choose: the embedder, how files are read, the filter."""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from retriever.settings import (
    DEFAULT_LAYERS,
    DEFAULT_MODEL,
    POOLINGS,
    Prompts,
    check_pooling,
)
from retriever.types import UsageError

if TYPE_CHECKING:
    from retriever.embedding.aligned_wva import AlignedWVA
    from retriever.searching.options import SearchOptions


def requested_embedder(options: argparse.Namespace) -> AlignedWVA | None:
    """The embedder asked for, or None: then the index's own is meant."""
    asked = options.model or options.layers or options.pooling or options.prompts
    return load_embedder(options) if asked else None


def load_embedder(options: argparse.Namespace, pooling: str = "") -> AlignedWVA:
    """The embedder asked for, the default one unless told otherwise; `pooling` overrules."""
    from retriever.embedding.aligned_wva import AlignedWVA

    chosen = pooling or options.pooling or POOLINGS[0]
    check_pooling(chosen)
    return AlignedWVA(
        options.model or DEFAULT_MODEL,
        layers=options.layers or DEFAULT_LAYERS,
        prompts=Prompts.read(Path(options.prompts)) if options.prompts else None,
        pooling=chosen,
        device=options.device,
        dtype=options.dtype,
    )


def reading_arguments(options: argparse.Namespace) -> dict[str, Any]:
    """How files are to be read: passwords, those in a file one a line, and an OCR's languages.

    The languages are empty for no OCR, and None for what the index remembers.
    """
    passwords = list(options.password)
    if options.password_file:
        path = Path(options.password_file)
        try:
            known = sys.stdin.buffer.read() if str(path) == "-" else path.read_bytes()
            passwords += filter(None, known.decode("utf-8-sig").splitlines())
        except (OSError, ValueError):
            raise UsageError(f"the password file {str(path)!r} cannot be read as text") from None
    languages = _ocr_languages(options)
    if languages:
        from retriever.reading.pictures.ocr import available

        reason = available(languages)
        if reason:
            raise UsageError(f"--ocr: {reason}")
    return {"passwords": passwords, "ocr": languages}


def search_options(options: argparse.Namespace) -> SearchOptions:
    """How to search: a command's options by the names of `SearchOptions`, and its filter."""
    from retriever.searching.options import SearchOptions

    given = vars(options)
    names = (each.name for each in fields(SearchOptions) if each.name in given)
    values = {name: given[name] for name in names}
    return SearchOptions(**{**values, "where": search_filter(options)})


def _ocr_languages(options: argparse.Namespace) -> str | None:
    if options.ocr:
        return options.ocr_languages or "eng"
    return "" if options.no_ocr else None


def search_filter(options: argparse.Namespace) -> dict[str, Any] | None:
    """The filter options as one filter; all of them must hold."""
    parts: list[dict[str, Any]] = []
    if options.path:
        parts.append({"$or": [{"path": {"glob": pattern}} for pattern in options.path]})
    if options.format:
        parts.append({"format": {"in": options.format}})
    if options.page:
        first, _, last = options.page.partition("-")
        if not first.isdigit() or (last and not last.isdigit()):
            raise UsageError(f"--page takes a page or a range such as 3-7, not {options.page!r}")
        parts.append({"page": {"gte": int(first), "lte": int(last or first)}})
    if options.since:
        parts.append({"date": {"gte": options.since}})
    if options.until:
        parts.append({"date": {"lte": options.until}})
    if options.where:
        try:
            parts.append(dict(json.loads(options.where)))
        except ValueError as error:
            raise UsageError(f"--where needs a JSON object: {error}") from None
    return {"$and": parts} if parts else None
