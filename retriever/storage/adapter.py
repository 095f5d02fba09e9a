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

from retriever.arrays import DoubleVectors, Vectors, normalise
from retriever.types import UsageError

QUERY, BOTH = "query", "both"
SIDES = (QUERY, BOTH)
"""What an adapter is applied to: queries alone, or queries and passages."""

MAX_CONDITION = 1e3
"""The largest condition number of a map: single precision then keeps four digits of an inverse."""


_ITERATIONS = 40


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
        inverse, condition = inverted(stored)
        if not condition <= MAX_CONDITION:
            raise UsageError("this adapter maps different directions to one; it cannot be used")
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
        """Plain JSON values, from which the map comes back to the last bit.

        The inverse is among them: to compute it takes longer than a search.
        """
        return {
            "side": self.side,
            "dimension": self.dimension,
            "matrix": _encoded(self.matrix),
            "inverse": _encoded(self.inverse),
            "facts": dict(self.facts),
            "before": dict(self.before),
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Adapter:
        """The inverse of `to_json`. Raises UsageError for another form."""
        if is_adapter(value):
            size = int(value["dimension"])
            matrix, inverse = (_decoded(value[name], size) for name in ("matrix", "inverse"))
            if np.isfinite(matrix).all() and np.isfinite(inverse).all():
                return cls(value["side"], matrix, inverse, value["facts"], value["before"])
        raise UsageError("this is no adapter")


def inverted(matrix: Vectors) -> tuple[Vectors, float]:
    """The inverse of a map (dim, dim), and its condition number; infinity if there is none.

    The largest singular values of both come from power iterations: a whole decomposition of 1,024
    dimensions takes seconds.
    """
    exact = matrix.astype(np.float64)
    if not np.isfinite(exact).all():
        return matrix, np.inf
    try:
        inverse: DoubleVectors = np.linalg.inv(exact).astype(np.float64)
    except np.linalg.LinAlgError:
        return matrix, np.inf
    return inverse.astype(np.float32), _largest(exact) * _largest(inverse)


def _largest(matrix: DoubleVectors) -> float:
    """The largest singular value, to about a percent."""
    vector: DoubleVectors = np.random.default_rng(0).standard_normal(len(matrix))
    for _ in range(_ITERATIONS):
        vector = matrix.T @ (matrix @ vector)
        vector /= np.linalg.norm(vector) or 1.0
    return float(np.linalg.norm(matrix @ vector))


def _encoded(matrix: Vectors) -> str:
    return base64.b64encode(matrix.astype("<f4").tobytes()).decode()


def _decoded(text: str, size: int) -> Vectors:
    """A matrix (size, size). Raises UsageError for another text."""
    try:
        flat = np.frombuffer(base64.b64decode(text, validate=True), "<f4")
        return flat.astype(np.float32).reshape(size, size)
    except ValueError:
        raise UsageError("this is no adapter") from None


def is_adapter(value: Any) -> bool:
    """Whether a JSON value has the form of a stored adapter."""
    if not isinstance(value, Mapping):
        return False
    size = value.get("dimension")
    if type(size) is not int or size < 1:
        return False
    length = 4 * -(-4 * size * size // 3)
    matrices = (value.get("matrix"), value.get("inverse"))
    objects = (value.get("facts"), value.get("before"))
    return (
        value.get("side") in SIDES
        and all(isinstance(one, str) and len(one) == length for one in matrices)
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
    "inverted",
    "is_adapter",
    "same_adapter",
]
