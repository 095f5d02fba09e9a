"""The files of a collection that need their owner, each with what helps.

The words are those of the page: no option of the command line is named.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from retriever.indexing.coverage import CoverageStatus, FileCoverage
from retriever.indexing.sync import PICTURE
from retriever.types import PageState

_EMPTY = "zero bytes"
_FLAGS = re.compile(r"[:;,]?[^:;,]*--[a-z].*$")


class Need(StrEnum):
    """What helps a file."""

    PASSWORD = "password"  # noqa: S105 - no password
    OCR = "ocr"
    SPLIT = "split"
    CHECK = "check"  # open it in the program it was made with, or remove it
    NOTHING = "nothing"  # there is nothing in it


@dataclass(frozen=True, slots=True)
class Attention:
    """A file that needs its owner: what helps, and a sentence."""

    file: FileCoverage
    need: Need
    sentence: str


def needs_attention(files: Iterable[FileCoverage]) -> list[Attention]:
    """The files that need their owner, those that are helped with a click first."""
    found = [one for one in map(_attention, files) if one is not None]
    return sorted(found, key=lambda one: list(Need).index(one.need))


def plain_reason(file: FileCoverage) -> str:
    """Why a file cannot be found completely, in words without options of the command line.

    An empty file is `empty`, and not a failure.
    """
    if file.reason == _EMPTY:
        return "empty: zero bytes"
    if file.reason == PICTURE:
        return "a picture that is not read yet"
    return _FLAGS.sub("", file.reason)


def is_empty(file: FileCoverage) -> bool:
    """Whether the file has no bytes."""
    return file.reason == _EMPTY


def _attention(file: FileCoverage) -> Attention | None:
    need = _need(file)
    return None if need is None else Attention(file, need, _sentence(file, need))


def _need(file: FileCoverage) -> Need | None:
    if file.reason == PICTURE:
        return Need.OCR
    if is_empty(file):
        return Need.NOTHING
    states = {page.state for page in file.pages if page.state.incomplete}
    if PageState.ENCRYPTED in states or (file.reason.startswith("password") and not states):
        # A mail that only its own program can decrypt takes no password here.
        own = any("decrypt it" in page.reason for page in file.pages)
        return Need.CHECK if own else Need.PASSWORD
    if PageState.TOO_LONG in states:
        return Need.SPLIT
    if PageState.SCANNED in states or (PageState.GARBLED in states and file.format == "pdf"):
        return Need.OCR
    failed = file.status in (CoverageStatus.FAILED, CoverageStatus.OUTDATED) or states
    return Need.CHECK if failed else None


def _sentence(file: FileCoverage, need: Need) -> str:
    if file.status is CoverageStatus.OUTDATED:
        return f"It cannot be read any more ({plain_reason(file)}); its former text is still found."
    bad = sum(page.state.incomplete for page in file.pages)
    some = len(file.pages) > 1
    many = f"{bad:,} of {len(file.pages):,} pages"
    match need:
        case Need.PASSWORD:
            given = "the one given does not open it" in file.reason
            return (
                "It is under a password; the one given does not open it."
                if given
                else ("It is under a password.")
            )
        case Need.OCR:
            return f"{many} are scans without text." if some else "A scan: a picture without text."
        case Need.SPLIT:
            said = f"{many} are too long" if some else f"Too long: {plain_reason(file)}"
            return f"{said}. Split it into smaller files, and add those."
        case Need.NOTHING:
            return "It is empty: there is nothing to find."
    reason = plain_reason(file).removeprefix("broken: ")
    why = f"{many} cannot be read" if some else f"It cannot be read ({reason})"
    return f"{why}. Open it in the program it was made with, and save it again."


__all__ = ["Attention", "Need", "is_empty", "needs_attention", "plain_reason"]
