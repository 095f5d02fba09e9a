"""One process that reads files for all tests, because starting one is slow."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from retriever.evaluation import known_items
from retriever.indexing import sync
from retriever.reading.formats import ReadOptions
from retriever.reading.subprocess_reader import FileReader, Limits

_idle: list[FileReader] = []


@contextmanager
def file_reader(options: ReadOptions, limits: Limits | None = None) -> Iterator[FileReader]:
    """As the real `file_reader`, but the next one gets the same process if it is sound.

    A process that another thread uses is not shared.
    """
    one = _idle.pop() if _idle else FileReader()
    one.options, one.on_part, wanted = options, lambda part: None, limits or Limits()
    if one.limits != wanted:
        one.close()
        one.limits = wanted
    try:
        yield one
    finally:
        _idle.append(one)


def close() -> None:
    """End the idle processes."""
    while _idle:
        _idle.pop().close()


def install() -> None:
    """Make the indexing code use the shared process."""
    for module in (sync, known_items):
        module.file_reader = file_reader
