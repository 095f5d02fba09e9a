"""Which cluster does the work, and what it is asked for: the value of `--workers`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl

from retriever.types import UsageError

HERE, RUNNING = "local", "auto"
"""Addresses as Ray knows them: a cluster started by us, and the one that runs on this machine."""

PATIENCE = 900.0
"""Seconds without any progress after which a run ends: a model may have to be fetched first."""

_FORMS = 'it is "ray" for this machine, "ray:auto" for the cluster that this machine belongs to, or'
_HELP = f'{_FORMS} "ray://HOST:PORT"; then perhaps "?actors=2&cpus=4&gpus=1&patience=900"'


@dataclass(frozen=True, slots=True)
class Place:
    """A cluster by its address.

    `actors` embed, each with `cpus` and `gpus`; 0 and None leave that to the program. A run ends
    after `patience` seconds without progress.
    """

    address: str = HERE
    actors: int = 0
    cpus: float | None = None
    gpus: float | None = None
    patience: float = PATIENCE

    @classmethod
    def parse(cls, text: str) -> Place:
        """The place that a user names.

        >>> Place.parse("ray"), Place.parse("ray://head:10001?actors=2").actors
        (Place(address='local', actors=0, cpus=None, gpus=None, patience=900.0), 2)
        """
        name, _, query = text.partition("?")
        known = {"ray": HERE, "ray:auto": RUNNING}
        if name.startswith("ray://") and name.partition("://")[2]:
            known[name] = name
        if name not in known:
            raise UsageError(f"unknown workers {text!r}: {_HELP}")
        return cls(known[name], **_wishes(text, dict(parse_qsl(query, keep_blank_values=True))))

    @property
    def is_own(self) -> bool:
        """Whether the cluster is started and ended by us."""
        return self.address == HERE


def _wishes(text: str, given: Mapping[str, str]) -> dict[str, Any]:
    """The numbers behind the question mark."""
    found: dict[str, Any] = {}
    for name, value in given.items():
        if name not in ("actors", "cpus", "gpus", "patience"):
            raise UsageError(f"unknown wish {name!r} in {text!r}: {_HELP}")
        try:
            found[name] = int(value) if name == "actors" else float(value)
        except ValueError:
            found[name] = -1
        least = 0 if name == "gpus" else 1e-3
        if not least <= found[name] < 1e6:
            raise UsageError(f"{name} in {text!r} is a positive number; it is {value!r}")
    return found


__all__ = ["HERE", "PATIENCE", "RUNNING", "Place"]
