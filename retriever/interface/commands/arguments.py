"""Parsed options → arguments of the library: embedder, reading, search and filter."""

from __future__ import annotations

import argparse
import json
import re
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
    from retriever.embedding.protocols import Embedder
    from retriever.searching.options import SearchOptions


def requested_embedder(options: argparse.Namespace) -> AlignedWVA | None:
    """The embedder that the model options name; None without one, for the index's own."""
    return load_embedder(options) if _names_model(options) else None


def requested_text_side(options: argparse.Namespace) -> Embedder | None:
    """`requested_embedder` for a run that makes no vectors: the model is loaded only if it must."""
    if not _names_model(options):
        return None
    from retriever.embedding.text_side import text_side

    pooling = options.pooling or POOLINGS[0]
    check_pooling(pooling)
    return text_side(
        lambda: load_embedder(options),
        model=options.model or DEFAULT_MODEL,
        layers=options.layers or DEFAULT_LAYERS,
        prompts=Prompts.read(Path(options.prompts)) if options.prompts else None,
        pooling=pooling,
    )


def _names_model(options: argparse.Namespace) -> bool:
    return bool(options.model or options.layers or options.pooling or options.prompts)


def load_embedder(options: argparse.Namespace, pooling: str = "") -> AlignedWVA:
    """The embedder that the model options name, by default the shipped one.

    `pooling`, if it is given, overrides the option.
    """
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
    """The keywords of `Index.sync` that say how files are read: `passwords` and `ocr`.

    Passwords come from the option and, one per line, from a file. `ocr` holds Tesseract's
    languages: "" means no OCR, None means as the index remembers.
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
        from retriever.reading.pictures.ocr import unavailable_reason

        reason = unavailable_reason(languages)
        if reason:
            raise UsageError(f"--ocr: {reason}")
    return {"passwords": passwords, "ocr": languages}


def search_options(options: argparse.Namespace) -> SearchOptions:
    """The `SearchOptions` of a command: its options with the same names, and its filter."""
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
    """The filter options joined by `$and`; None without any."""
    parts: list[dict[str, Any]] = []
    if options.path:
        globs = [glob for pattern in options.path for glob in _path_globs(pattern)]
        parts.append({"$or": [{"path": {"glob": glob}} for glob in globs]})
    if options.format:
        names = [name.strip() for each in options.format for name in each.split(",")]
        parts.append({"format": {"in": names}})
    if options.page is not None:  # an empty one, of an unset variable, is no filter but a mistake
        parts.append({"page": _page_range(options.page)})
    parts += _dates(options.since, options.until)
    if options.where is not None:
        parts.append(_json_filter(options.where))
    return {"$and": parts} if parts else None


def _path_globs(pattern: str) -> list[str]:
    """The globs of a pattern: "./" does not count, and a folder stands for its files.

    >>> _path_globs("./reports/*.pdf"), _path_globs("reports/")
    (['reports/*.pdf'], ['reports', 'reports/**', '**/reports/**'])
    """
    bare = pattern
    while bare.startswith(("./", "/")):
        bare = bare.lstrip("/").removeprefix("./")
    bare = bare.rstrip("/")
    if not bare or any(character in bare for character in "*?["):
        return [bare or pattern]
    return [bare, f"{bare}/**", f"**/{bare}/**"]


def _page_range(text: str) -> dict[str, int]:
    """A page, or a range of pages, as the operators of a filter.

    >>> _page_range("3-7"), _page_range("3")
    ({'gte': 3, 'lte': 7}, {'gte': 3, 'lte': 3})
    """
    found = _PAGES.fullmatch(text)
    if not found:
        raise UsageError(f"--page takes a page or a range such as 3-7, not {text!r}")
    first, last = int(found[1]), int(found[2] or found[1])
    if first > last:
        raise UsageError(f"--page takes the lower page first: {last}-{first}, not {text!r}")
    return {"gte": first, "lte": last}


def _dates(since: str | None, until: str | None) -> list[dict[str, Any]]:
    """The conditions on the date: from `since` on, up to the end of `until`."""
    from retriever.storage.filters import between

    first = _date("--since", since) if since is not None else None
    last = _date("--until", until) if until is not None else None
    if first and last and not between("date", first).matches({"date": last}):
        raise UsageError(f"--since {since} lies after --until {until}; exchange them")
    bounds = (("gte", first), ("lte", last))
    return [{"date": {op: bound}} for op, bound in bounds if bound]


def _date(option: str, text: str) -> str:
    from retriever.text.dates import read_date

    try:
        return read_date(text)
    except UsageError as error:
        raise UsageError(f"{option} takes a date: {error}") from None


def _json_filter(text: str) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:
        shown = text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"
        raise UsageError(
            f'--where takes a JSON object such as {{"format": "pdf"}}, not {shown!r}: {error}'
        ) from None
    if not isinstance(found, dict):
        raise UsageError(f'--where takes a JSON object such as {{"format": "pdf"}}, not {text}')
    return found


_PAGES = re.compile(r"([1-9][0-9]{0,8})(?:-([1-9][0-9]{0,8}))?")
_SHOWN = 200  # characters of a wrong value
