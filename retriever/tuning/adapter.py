"""Training of the adapter: a matrix M for calibrated vectors, with NumPy alone.

    y = normalise(M q),  x = normalise(M p) or p;   loss = −log softmax_j(y · x_j / τ) at the answer

The loss is contrastive (InfoNCE, van den Oord et al., 2018): a query's own passage is compared with
those of the other queries of a batch and with hard negatives, its nearest passages that are no
answers. The gradient is written out, and Adam follows it (Kingma and Ba, 2015).

Few pairs say little about dim² numbers, so training begins at a map that is good without them, and
ends early. It begins at the best of the identity, partial whitenings of the passages (Su et al.,
"Whitening Sentence Representations", 2021, with a power below one), and ridge regressions of
passages on queries, drawn towards the identity. It ends when a validation part, which no step sees,
is ranked no better. Everything is seeded: the same examples give the same map.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from retriever.arrays import Float, Integers, Mask, Vectors, normalise
from retriever.storage.adapter import BOTH, inverted

TEMPERATURE = 0.05
"""τ: differences of cosines of this size matter."""

TEMPERATURES = (0.04, 0.06, 0.09, 0.13, 0.2)
"""Temperatures of which the best one judges a map."""

BATCH = 128
"""Pairs in a step."""

HARD = 4
"""Hard negatives of each pair in a step."""

RATE = 1e-4
"""Step size of Adam, for numbers of a matrix whose rows have length one."""

STEPS = 400
"""Largest number of steps."""

EVERY = 20
"""Steps between two looks at the validation part."""

PATIENCE = 4
"""Looks without a better ranking after which training ends."""

POWERS = (0.25, 0.5)
"""Exponents of the whitenings that training may begin at; 1 would be a full whitening."""

RIDGES = (30.0, 100.0)
"""Weights of the identity in the regressions that training may begin at, in pairs."""

MOST_UNEVEN = 100.0
"""Largest condition number of a trained map: it also says how much more a vector's rounding counts
in an explanation."""

_LEAST_VARIANCE = 0.05  # added to the variances of a whitening, relative to their mean
_BETAS = 0.9, 0.999
_MASKED = -1e9


@dataclass(frozen=True, slots=True)
class Examples:
    """Calibrated vectors of queries (q, dim) and passages (p, dim), and what belongs together.

    `pairs` (n, 2) are rows of a query and of a passage that answers it; `negatives` (q, h) are rows
    of near passages that do not; `answers` are the numbers query · p + passage of all that do,
    ascending: these are never taken for negatives. `background` (m, dim) is a sample of all
    passages.
    """

    queries: Vectors
    passages: Vectors
    pairs: Integers
    negatives: Integers
    answers: Integers
    background: Vectors

    def is_answer(self, queries: Integers, passages: Integers) -> Mask:
        """Which passages (c,) answer which queries (b,): (b, c)."""
        wanted = queries[:, None] * len(self.passages) + passages[None, :]
        at = np.minimum(np.searchsorted(self.answers, wanted), max(0, len(self.answers) - 1))
        found: Mask = self.answers[at] == wanted
        return found


@dataclass(frozen=True, slots=True)
class Fitted:
    """A trained map (dim, dim): where training began, its best step, and the ranking there.

    `before` and `after` are the validation part's mean log likelihoods.
    """

    matrix: Vectors
    start: str
    steps: int
    before: float
    after: float


def fit_map(
    examples: Examples,
    validation: Examples,
    side: str,
    *,
    seed: int = 0,
    seconds: float = float("inf"),
    steps: int = STEPS,
) -> Fitted:
    """The map that ranks the validation part best, after so many seconds at most."""
    until = time.monotonic() + seconds
    both = side == BOTH
    judged = _Judged(validation, both)
    before = judged.best_value
    for name, start in _starts(examples, both):
        judged.offer(name, 0, start)
        if time.monotonic() > until:
            break
    name, best = judged.name, judged.matrix
    for step, matrix in _descent(examples, best, both, seed, steps):
        if step % EVERY:
            continue
        judged.offer(name, step, matrix)
        if step - judged.step >= PATIENCE * EVERY or time.monotonic() > until:
            break
    return Fitted(judged.matrix, judged.name, judged.step, before, judged.best_value)


class _Judged:
    """The best map so far, by the likelihood of the validation part."""

    def __init__(self, validation: Examples, both: bool) -> None:
        self._examples, self._both = validation, both
        self.name, self.step = "identity", 0
        self.matrix: Vectors = np.eye(validation.queries.shape[1], dtype=np.float32)
        self.best_value = log_likelihood(validation, self.matrix, both)

    def offer(self, name: str, step: int, matrix: Vectors) -> None:
        """Take a map if it is better, and can be inverted."""
        value = log_likelihood(self._examples, matrix, self._both)
        if value > self.best_value and inverted(matrix)[1] < MOST_UNEVEN:
            self.name, self.step, self.matrix = name, step, matrix.copy()
            self.best_value = value


def log_likelihood(examples: Examples, matrix: Vectors, both: bool) -> float:
    """How well a map ranks each pair's passage among the background and the hard negatives.

    The mean logarithm of the softmax at the passage, over all of them at once, at the temperature
    that is best for this map: a map that only spreads the cosines is not better. It is smoother
    than a mean of ranks, which few examples leave to chance.
    """
    asked = normalise(examples.queries @ matrix.T)
    passages, background = examples.passages, examples.background
    if both:
        passages, background = (normalise(one @ matrix.T) for one in (passages, background))
    among, everywhere = asked @ passages.T, asked @ background.T
    query, passage = examples.pairs.T
    own = among[query, passage].astype(np.float64)
    rows, columns = np.divmod(examples.answers, len(passages))
    among[rows, columns] = -np.inf

    def at(temperature: float) -> float:
        rest = sum(np.exp((one - 1) / temperature).sum(axis=1) for one in (among, everywhere))
        first = np.exp((own - 1) / temperature)
        return float(np.log(first / (first + rest[query])).mean())

    return max(map(at, TEMPERATURES))


def _starts(examples: Examples, both: bool) -> Iterator[tuple[str, Vectors]]:
    """The maps that training may begin at, beside the identity, with their names."""
    for power in POWERS:
        yield f"whitening {power}", whitening(examples.background, power)
    if not both:
        for weight in RIDGES:
            yield f"ridge {weight:g}", ridge(examples, weight)


def whitening(vectors: Vectors, power: float) -> Vectors:
    """C^(−power / 2) of the second moment C of vectors (n, dim), its mean variance at one."""
    exact = vectors.astype(np.float64)
    variances, directions = np.linalg.eigh(exact.T @ exact / max(1, len(exact)))
    scaled = np.maximum(variances, 0) / max(float(variances.mean()), 1e-12) + _LEAST_VARIANCE
    found: Vectors = ((directions * scaled ** (-power / 2)) @ directions.T).astype(np.float32)
    return found


def ridge(examples: Examples, weight: float) -> Vectors:
    """The map from queries to their passages by least squares, drawn towards the identity."""
    queries, passages = (
        vectors[rows].astype(np.float64)
        for vectors, rows in (
            (examples.queries, examples.pairs[:, 0]),
            (examples.passages, examples.pairs[:, 1]),
        )
    )
    drawn = weight * np.eye(queries.shape[1])
    transposed = np.linalg.solve(queries.T @ queries + drawn, queries.T @ passages + drawn)
    found: Vectors = np.ascontiguousarray(transposed.T, dtype=np.float32)
    return found


def _descent(
    examples: Examples, start: Vectors, both: bool, seed: int, steps: int
) -> Iterator[tuple[int, Vectors]]:
    """The map after each step, from 1."""
    draw = np.random.default_rng(seed)
    matrix = start.copy()
    first, second = np.zeros_like(matrix), np.zeros_like(matrix)
    for step in range(1, steps + 1):
        rows = draw.choice(len(examples.pairs), min(BATCH, len(examples.pairs)), replace=False)
        gradient = _batch_gradient(examples, rows, draw, matrix, both)
        first = _BETAS[0] * first + (1 - _BETAS[0]) * gradient
        second = _BETAS[1] * second + (1 - _BETAS[1]) * gradient**2
        mean, spread = first / (1 - _BETAS[0] ** step), second / (1 - _BETAS[1] ** step)
        matrix = (matrix - RATE * mean / (np.sqrt(spread) + 1e-8)).astype(np.float32)
        yield step, matrix


def _batch_gradient(
    examples: Examples,
    rows: Integers,
    draw: np.random.Generator,
    matrix: Vectors,
    both: bool,
) -> Vectors:
    asked, answered = examples.pairs[rows, 0], examples.pairs[rows, 1]
    some = examples.negatives[asked]
    columns = draw.integers(0, some.shape[1], (len(rows), HARD)) if some.shape[1] else None
    hard = np.empty(0, np.int64) if columns is None else np.take_along_axis(some, columns, 1)
    candidates = np.concatenate([answered, hard.ravel()])
    known = examples.is_answer(asked, candidates)
    np.fill_diagonal(known, False)
    _, gradient = loss_and_gradient(
        matrix, examples.queries[asked], examples.passages[candidates], known, both
    )
    return gradient


def loss_and_gradient(
    matrix: NDArray[Float],
    queries: NDArray[Float],
    candidates: NDArray[Float],
    left_out: Mask,
    both: bool,
    temperature: float = TEMPERATURE,
) -> tuple[float, NDArray[Float]]:
    """The mean loss of queries (b, dim) whose answers are the first of the candidates (c, dim).

    Candidates in `left_out` (b, c) do not count for a query. The gradient is that of the map.
    """
    count = len(queries)
    scale = matrix.dtype.type(temperature)
    asked, asked_lengths = _units(queries @ matrix.T)
    mapped, lengths = _units(candidates @ matrix.T) if both else (candidates, None)
    logits = asked @ mapped.T / scale
    logits[left_out] = _MASKED
    logits -= logits.max(axis=1, keepdims=True)
    chances = np.exp(logits)
    chances /= chances.sum(axis=1, keepdims=True)
    own = np.arange(count)
    loss = float(-np.log(np.maximum(chances[own, own], 1e-30)).mean())
    chances[own, own] -= 1
    slope = chances / (scale * count)
    gradient: NDArray[Float] = _through_unit(slope @ mapped, asked, asked_lengths).T @ queries
    if lengths is not None:
        gradient += _through_unit(slope.T @ asked, mapped, lengths).T @ candidates
    return loss, gradient


def _units(vectors: NDArray[Float]) -> tuple[NDArray[Float], NDArray[Float]]:
    """Vectors (n, dim) at length one, and their lengths (n, 1)."""
    lengths = np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
    return vectors / lengths, lengths


def _through_unit(
    slope: NDArray[Float], units: NDArray[Float], lengths: NDArray[Float]
) -> NDArray[Float]:
    """The derivative by vectors (n, dim), from that by their `units`."""
    along = (slope * units).sum(axis=1, keepdims=True)
    found: NDArray[Float] = (slope - along * units) / lengths
    return found


__all__ = ["Examples", "Fitted", "fit_map", "log_likelihood", "loss_and_gradient"]
