"""The adapter: a linear map of calibrated vectors, which `wva tune INDEX --adapter` trains.

    y = normalise(M (raw − mean))

With the side "query" only queries are mapped, and stored vectors stay as they are; with "both" one
map is applied to queries and passages. The map is linear, so that a text's vector remains a sum
over its words, and explanations remain exact. It is invertible, so that steering and feedback can
name a raw query for a direction. This module knows arrays and JSON only.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from retriever.arrays import Vectors, normalise
from retriever.types import UsageError

QUERY, BOTH = "query", "both"
SIDES = (QUERY, BOTH)
"""What an adapter is applied to: queries alone, or queries and passages."""

MAX_CONDITION = 1e3
"""The largest condition number of a map: single precision then keeps four digits of an inverse."""


@dataclass(frozen=True, slots=True, eq=False)
class Adapter:
    """A map M (dim, dim) of one or both sides, and its inverse.

    `facts` tell where it comes from, as plain JSON; `before` is what was fitted to the index
    without it, and is restored when it is removed.
    """

    side: str
    matrix: Vectors
    inverse: Vectors
    facts: Mapping[str, Any] = field(default_factory=dict)
    before: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        side: str,
        matrix: NDArray[np.floating],
        facts: Mapping[str, Any] | None = None,
        before: Mapping[str, Any] | None = None,
    ) -> Adapter:
        """An adapter with this map. Raises UsageError for one that cannot be inverted."""
        if side not in SIDES:
            raise UsageError(f"an adapter's side is one of {', '.join(SIDES)}; it is {side!r}")
        stored = np.ascontiguousarray(matrix, dtype=np.float32)
        if stored.ndim != 2 or stored.shape[0] != stored.shape[1]:
            raise UsageError(f"an adapter is a square matrix; this has the shape {stored.shape}")
        exact = stored.astype(np.float64)
        if not np.isfinite(exact).all() or not np.linalg.cond(exact) <= MAX_CONDITION:
            raise UsageError("this adapter maps different directions to one; it cannot be used")
        inverse: Vectors = np.linalg.inv(exact).astype(np.float32)
        return cls(side, stored, inverse, dict(facts or {}), dict(before or {}))

    @property
    def dimension(self) -> int:
        """The number of dimensions of the vectors."""
        return len(self.matrix)

    @property
    def of_passages(self) -> bool:
        """Whether passages are mapped, too."""
        return self.side == BOTH

    def query(self, units: Vectors) -> Vectors:
        """Calibrated queries (..., dim), mapped, at length one; zeros stay zeros."""
        return normalise(units @ self.matrix.T)

    def passage(self, units: Vectors) -> Vectors:
        """Calibrated passages (..., dim), mapped if this side is, at length one."""
        return normalise(units @ self.matrix.T) if self.of_passages else units

    def unmapped_query(self, direction: NDArray[np.floating]) -> Vectors:
        """A unit vector (dim,) that `query` maps to this direction (dim,)."""
        return normalise(self.inverse @ np.asarray(direction, dtype=np.float32))

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values, from which the map comes back to the last bit."""
        return {
            "side": self.side,
            "dimension": self.dimension,
            "matrix": base64.b64encode(self.matrix.astype("<f4").tobytes()).decode(),
            "facts": dict(self.facts),
            "before": dict(self.before),
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Adapter:
        """The inverse of `to_json`. Raises UsageError for another form."""
        if not is_adapter(value):
            raise UsageError("this is no adapter")
        size = int(value["dimension"])
        flat = np.frombuffer(base64.b64decode(value["matrix"]), "<f4").astype(np.float32)
        return cls.of(value["side"], flat.reshape(size, size), value["facts"], value["before"])


def is_adapter(value: Any) -> bool:
    """Whether a JSON value has the form of a stored adapter."""
    if not isinstance(value, Mapping):
        return False
    size, matrix = value.get("dimension"), value.get("matrix")
    if not (type(size) is int and size > 0 and isinstance(matrix, str)):
        return False
    objects = (value.get("facts"), value.get("before"))
    return (
        value.get("side") in SIDES
        and len(matrix) == 4 * -(-4 * size * size // 3)
        and all(isinstance(one, Mapping) for one in objects)
    )


def adapter_facts(adapter: Adapter | None) -> dict[str, Any] | None:
    """What `Documents.info` tells of an adapter; None without one."""
    return None if adapter is None else {"side": adapter.side, **adapter.facts}


def same_adapter(one: Adapter | None, other: Adapter | None) -> bool:
    """Whether two adapters, or none, are equal."""
    if one is None or other is None:
        return one is other
    return json.dumps(one.to_json(), sort_keys=True) == json.dumps(other.to_json(), sort_keys=True)


__all__ = [
    "BOTH",
    "MAX_CONDITION",
    "QUERY",
    "SIDES",
    "Adapter",
    "adapter_facts",
    "is_adapter",
    "same_adapter",
]
