"""Fitting an index to its documents: the two means, the weight of the dense side, the match scale.

Everything is fitted from stored vectors and from sentences that are embedded once.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from typing import Any

import numpy as np

from retriever.arrays import Vectors, shrunk_mean
from retriever.embedding.protocols import Embedder
from retriever.indexing.dense_weight import cloze_items, fit_dense_weight, fit_is_due
from retriever.searching import match
from retriever.storage.adapter import Adapter
from retriever.storage.backends import CatalogReader, DocumentRow, Documents
from retriever.text.analyzer import count_words, word_ends
from retriever.text.structure import sentences
from retriever.types import Chunk, Phase

FIT_PASSAGES = 16_384
"""Largest number of chunk vectors for the passage mean."""

FIT_SENTENCES = 256
"""Number of sentences of the corpus, embedded as queries, for the query mean."""

EARLY_SENTENCES = 128
"""Number of sentences while the corpus still grows; the last fit samples others."""

GENERAL_SHARE = 0.5
"""Share of the general questions in the query mean, for a corpus in English; the rest are sentences
of the corpus. People type questions, and rarely the corpus's sentences. The general questions are
in
English, so they do not represent queries in other languages."""

_DENSE_WEIGHT_FACTS = ("dense_weight", "held_out", "found_again", "weighed_at", "weighing")
"""Facts about the dense weight, kept when only the means are fitted again."""

SENTENCE_WORDS = range(5, 41)
"""Lengths, in words, of sentences that can represent a query."""

LONG_SENTENCE_WORDS = 20
"""Number of words kept of a longer sentence."""

# Approximate shares of the time of the last fit: the means; then the weight of the dense side.
_MEANS_SHARE, _WEIGHT_SHARE = 0.5, 0.9


@dataclass(frozen=True, slots=True)
class Fitter:
    """Fits an index; `on_phase` is called before each step with the share of them that is done."""

    backend: Documents
    embedder: Embedder
    on_phase: Callable[[Phase, float], None] = lambda phase, part: None

    def begin(self) -> None:
        """Store the model's general means in an index without means.

        The first vectors are then calibrated, before there are enough to fit means to.
        """
        with self.backend.reading() as catalog:
            known = catalog.calibration_facts() is not None
        if not known:
            self.backend.calibrate(*self.embedder.general_means(), {"passages": 0, "sentences": 0})

    def fit_if_due(self) -> None:
        """Fit everything to the documents, unless it is fitted to them already."""
        with self.backend.reading() as catalog:
            fitted = calibration_is_current(catalog)
        if not fitted:
            self.fit()

    def fit(self, *, early: bool = False) -> None:
        """Fit both means to the documents in the backend; nothing is embedded twice.

        `early`: the corpus still grows, so fewer sentences are enough.
        """
        self.on_phase(Phase.FITTING, 0.0)
        with self.backend.reading() as catalog:
            passages = catalog.sample_vectors(FIT_PASSAGES)
            sample = catalog.sample_chunks(EARLY_SENTENCES if early else FIT_SENTENCES)
            rows = [] if early else catalog.documents()
            before = catalog.calibration_facts() or {}
        queries = self._question_vectors(sample)
        passage_prior, query_prior = self.embedder.general_means()
        facts: dict[str, Any] = {"passages": len(passages), "sentences": len(queries)}
        general = self._general_vectors()
        share = GENERAL_SHARE * english_share(sample)
        means = (
            shrunk_mean(passages, passage_prior),
            (1 - share) * shrunk_mean(queries, query_prior) + share * general.mean(axis=0),
        )
        facts |= {"questions": len(general), "questions_share": round(share, 3)}
        facts |= {name: before[name] for name in _DENSE_WEIGHT_FACTS if name in before}
        self.backend.calibrate(*means, facts)
        if not early:
            self.on_phase(Phase.FITTING, _MEANS_SHARE)
            if fit_is_due(before, sum(row.chunks for row in rows)):
                facts |= self._fit_dense_weight()
            self.on_phase(Phase.FITTING, _WEIGHT_SHARE)
            self._fit_match_scale()
            # Last: a fit that is killed before is not one to this corpus.
            self.backend.calibrate(*means, facts | {"corpus": corpus_digest(rows)})

    def set_adapter(self, adapter: Adapter | None, weight: Mapping[str, Any] | None = None) -> None:
        """Store or remove an adapter, and fit the scores to it; the means stay.

        `weight` are facts of a dense weight; without them it is fitted. If this is stopped
        half-way, the next run fits everything.
        """
        with self.backend.reading() as catalog:
            known, facts = catalog.means(), dict(catalog.calibration_facts() or {})
        means = known.passage_mean, known.query_mean
        unfitted = {name: value for name, value in facts.items() if name != "corpus"}
        self.backend.calibrate(*means, unfitted)
        self.backend.set_adapter(adapter)
        found = dict(self._fit_dense_weight() if weight is None else weight)
        self.backend.calibrate(*means, unfitted | found)
        self._fit_match_scale()
        self.backend.calibrate(*means, facts | found)

    def _fit_dense_weight(self) -> dict[str, Any]:
        """Fit the weight of the dense side, with the fitted means."""
        with self.backend.snapshot() as snapshot:
            asked = cloze_items(snapshot)
        sentences = self._query_vectors([one.sentence for one in asked])
        inputs = [self.embedder.passage_input(one.rest, one.chunk.title) for one in asked]
        rests = self.embedder.embed_inputs(inputs) if inputs else sentences
        with self.backend.snapshot() as snapshot:
            facts = fit_dense_weight(snapshot, asked, sentences, rests)
            return facts | {"weighed_at": snapshot.passages.count()}

    def _fit_match_scale(self) -> None:
        """Fit the match scale to the general questions, with the fitted means."""
        with self.backend.reading() as catalog:
            chunks = sum(row.chunks for row in catalog.documents())
        if not chunks:
            self.backend.set_match_scale(None)
            return
        questions = match.general_questions()
        vectors = self._general_vectors()
        with self.backend.snapshot() as snapshot:
            fitted = match.fit_match_scale(snapshot, questions, vectors)
        facts = {"questions": fitted.questions, "chunks": chunks, "at": _now()}
        self.backend.set_match_scale({**fitted.to_json(), "facts": facts})

    def _question_vectors(self, chunks: Sequence[Chunk]) -> Vectors:
        """Raw vectors of sentences of these chunks, embedded as queries: (n, dim)."""
        return self._query_vectors(list(filter(None, map(typical_sentence, chunks))))

    def _general_vectors(self) -> Vectors:
        """Raw vectors of the general questions: (questions, dim)."""
        questions = match.general_questions()

        def remembered(new: Sequence[str]) -> Vectors:
            of = dict(zip(questions, self.embedder.embed_fixed_queries(questions), strict=True))
            return np.array([of[question] for question in new])

        return self._query_vectors(questions, remembered)

    def _query_vectors(
        self, texts: Sequence[str], embed: Callable[[Sequence[str]], Vectors] | None = None
    ) -> Vectors:
        """Raw vectors of the distinct texts as queries; nothing is embedded twice: (n, dim)."""
        embed = embed or self.embedder.embed_queries
        texts = list(dict.fromkeys(texts))
        inputs = map(self.embedder.query_inputs, texts)
        keys = ["q:" + self.embedder.key("\0".join(readings)) for readings in inputs]
        with self.backend.reading() as catalog:
            known = catalog.known_vectors(keys)
        new = {key: text for key, text in zip(keys, texts, strict=True) if key not in known}
        if new:
            self.backend.save_vectors(list(new), embed(list(new.values())))
        if not keys:
            return np.zeros((0, self.embedder.settings.dimension), dtype=np.float32)
        with self.backend.reading() as catalog:
            return catalog.load_vectors(keys)


def corpus_digest(rows: Iterable[DocumentRow]) -> str:
    """16 hex digits that change with the corpus's content, but not when a file is renamed."""
    facts = sorted(f"{r.sha256 or r.id} {r.format} {r.settings} {r.chunks}" for r in rows)
    return hashlib.sha256("\n".join(facts).encode()).hexdigest()[:16]


def calibration_is_current(catalog: CatalogReader) -> bool:
    """Whether the means and the match scale are fitted to the current documents."""
    facts = catalog.calibration_facts()
    rows = catalog.documents()
    # An index of an earlier version has the same share of questions in every language.
    if (
        facts is None
        or "questions_share" not in facts
        or facts.get("corpus") != corpus_digest(rows)
    ):
        return False
    # An index of an earlier version has no match scale.
    known = match.MatchScale.from_json(catalog.match_scale())
    return known is not None or not any(row.chunks for row in rows)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def english_share(chunks: Sequence[Chunk]) -> float:
    """The share of the chunks that are in English; 1 where there are no chunks.

    A chunk in an unknown language counts as English if most of its letters are ASCII.
    """
    english = [
        chunk.language == "en" or (not chunk.language and _is_mostly_ascii(chunk.text))
        for chunk in chunks
    ]
    return sum(english) / len(english) if english else 1.0


def _is_mostly_ascii(text: str) -> bool:
    letters = [character for character in text if character.isalpha()]
    return 2 * sum(map(str.isascii, letters)) >= len(letters)


def typical_sentence(chunk: Chunk) -> str:
    """A random sentence of the chunk, always the same one; empty if none is usable.

    A very long one (text without capitals or full stops) is cut.
    """
    found = [" ".join(chunk.text[s.start : s.end].split()) for s in sentences(chunk.text)]
    usable = [text for text in found if _has_words(text, SENTENCE_WORDS.start)]
    # Seeded by the text, so that moving the file does not change the sentence.
    seed = hashlib.sha256(chunk.text.encode("utf-8", "surrogatepass")).digest()
    chosen = random.Random(seed).choice(usable) if usable else ""  # noqa: S311  (not a secret)
    return _beginning(chosen)


def _has_words(text: str, count: int) -> bool:
    return count_words(text, count) == count


def _beginning(text: str) -> str:
    if not _has_words(text, SENTENCE_WORDS.stop):
        return text
    return text[: next(islice(word_ends(text), LONG_SENTENCE_WORDS - 1, None))]
