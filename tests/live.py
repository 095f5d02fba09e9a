"""One question at a time to what a backend holds now: each opens a snapshot of its own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from retriever.index import Index
from retriever.storage.backends import Documents


class Live:
    """Methods of a snapshot, of its passages and of its catalog, each asked in a new snapshot."""

    def __init__(self, backend: Documents) -> None:
        self._backend = backend

    def __getattr__(self, name: str) -> Callable[..., Any]:
        def ask(*given: Any, **options: Any) -> Any:
            with self._backend.snapshot() as now:
                for one in (now, now.passages, now.catalog):
                    if hasattr(type(one), name):
                        return getattr(one, name)(*given, **options)
            raise AttributeError(name)

        return ask

    @property
    def calibration(self) -> Any:
        with self._backend.snapshot() as now:
            return now.calibration

    @property
    def dense_weight(self) -> float:
        with self._backend.snapshot() as now:
            return now.dense_weight


def asked(of: Documents | Index, question: Callable[..., Any], *rest: Any) -> Any:
    """What a function of a snapshot says now."""
    with (of.backend if isinstance(of, Index) else of).snapshot() as now:
        return question(now, *rest)


def read(of: Documents | Index, question: Callable[..., Any], *rest: Any) -> Any:
    """What a function of a catalog says now."""
    with (of.backend if isinstance(of, Index) else of).reading() as catalog:
        return question(catalog, *rest)


def live(of: Documents | Index) -> Live:
    return Live(of.backend if isinstance(of, Index) else of)
