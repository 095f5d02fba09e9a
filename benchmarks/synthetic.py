"""A synthetic collection of any size: documents, vectors, queries and filters, all from one seed.

`python -m benchmarks.synthetic INDEX --size 100000` builds an index of it, without a model.

- **Texts** are made of English function words and invented words, whose frequencies follow Zipf's
  law: a quarter of the words come from the whole vocabulary, a fifth from the document's topic, a
  tenth from the document's own subject. Stop words, common and rare words are as frequent as in
  prose. Documents have 1 to 60 passages, most of them few.
- **Vectors** are a pure function of the text (`SyntheticEmbedder`): the weighted sum of the words'
  directions in 64 dimensions, a shift that all texts share, and some noise that depends on the
  whole text. So documents and topics are clusters, and a query lies near the passages with its
  words.
- **Filters** let 10, 1 or 0.1 % of the documents through, by folder (which is the topic's), by date
  or by a number of the metadata (which are independent of it).

Documents are written by `Writer.upsert` in large transactions, with the terms that the analyzer
would find: see `build`. Nothing but one block of documents is held in memory.
"""

from __future__ import annotations

import argparse
import hashlib
import sys
import time
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from retriever import Index
from retriever.arrays import Vectors
from retriever.indexing.fitting import Fitter
from retriever.settings import ChunkSettings, EmbedderSettings, Prompts
from retriever.storage.backends.embedded import EmbeddedBackend
from retriever.storage.catalog import Catalog
from retriever.storage.records import NewChunk, NewDocument, PassageTerms
from retriever.text.analyzer import BOUNDARY, content_terms, index_terms
from retriever.text.languages import FUNCTION_WORDS
from retriever.types import DocumentRow, Page, Span, document_id

DIMENSION = 576  # that of the default model
LATENT = 64  # dimensions that carry meaning
TOPICS = 1000
TOPIC_WORDS = 2000
SUBJECT_WORDS = 12
BLOCK = 128  # documents that are made together
SHARES = (0.1, 0.01, 0.001)
"""The shares of the documents that the filters let through."""

KINDS = ("folder", "date", "metadata")
FIRST_DAY = date(2023, 1, 1)
PROMPT = "{}"

_SHIFT, _NOISE = 0.7, 0.3
_FIELDS = 500  # of meaning: words of the same field have similar directions
_TOPIC_FIELDS = 8
_PRIME = 7919  # has no factor in common with 1,000: it spreads consecutive numbers
_COMMON = """the of and to in a is that for it as was with be by on not he this are or his from at
which but have an had they you were their one all we can her has there been if more when will would
who so no she other its may these what them than some him time into only do such my new about out
also two any up first could our""".split()  # noqa: SIM905 - readable
_FORMATS = ("pdf", "md", "docx", "eml", "html", "pdf", "txt", "md", "docx", "pdf")
_SYLLABLES = [c + v for c in "bdfgklmnprstvz" for v in "aeiou"]
_ENDINGS = ("", "n", "r", "l", "s", "ment", "ing", "ter")
_ASKING = ("how does the {} of {}", "{} and the {}", "what is {} for {}", "{} {}", "the {} in {}")

Numbers = NDArray[np.int64]


def vocabulary(count: int) -> list[str]:
    """`count` distinct invented words, none of them a function word of any language."""
    function = {word for words in FUNCTION_WORDS.values() for word in words}
    base = len(_SYLLABLES)
    found: dict[str, None] = {}
    number = 0
    while len(found) < count:
        number += 1
        mixed = number * 1_000_003 % base**3
        word = _SYLLABLES[mixed % base] + _SYLLABLES[mixed // base % base]
        if number > 2000:  # common words are short
            word += _SYLLABLES[mixed // base**2]
        word += _ENDINGS[number * _PRIME // 7 % len(_ENDINGS)]
        if word not in function:
            found[word] = None
    return list(found)


def _zipf(count: int) -> NDArray[np.float64]:
    """The cumulated probabilities of `count` words by Zipf's and Mandelbrot's law."""
    weights = 1.0 / (np.arange(count) + 2.7)
    cumulated = np.cumsum(weights)
    return np.asarray(cumulated / cumulated[-1])


@dataclass(frozen=True)
class Language:
    """The vocabulary of a collection, and what each word weighs and means."""

    words: int
    seed: int = 18

    @cached_property
    def entries(self) -> list[str]:
        """Function words first, then the others, the most frequent ones first."""
        return _COMMON + vocabulary(self.words)

    @cached_property
    def numbers(self) -> dict[str, int]:
        """Word → its place in `entries`."""
        return {word: at for at, word in enumerate(self.entries)}

    @cached_property
    def forms(self) -> list[str]:
        """Three forms of each word: as it is, at the end of a sentence, at its beginning."""
        return [form for w in self.entries for form in (w, f"{w}.", w.capitalize())]

    @cached_property
    def terms(self) -> list[str]:
        """The terms of each word, as the analyzer gives them."""
        return [" ".join(index_terms(word, "en")) for word in self.entries]

    @cached_property
    def counts(self) -> Numbers:
        """How many of a word's terms count as the passage's length."""
        return np.array([len(content_terms(terms.split())) for terms in self.terms])

    @cached_property
    def weights(self) -> Vectors:
        """What a word contributes to a vector: nothing for function words, more for rare ones."""
        weights = np.log(np.arange(len(self.entries)) + 1.0) ** 2
        weights[: len(_COMMON)] = 0
        found: Vectors = (weights / weights.max()).astype(np.float32)
        return found

    @cached_property
    def directions(self) -> Vectors:
        """The words' directions: (words, LATENT)."""
        chance = np.random.default_rng((self.seed, 1))
        fields = chance.standard_normal((_FIELDS, LATENT), dtype=np.float32)
        found = chance.standard_normal((len(self.entries), LATENT), dtype=np.float32)
        found += fields[(np.arange(len(self.entries)) - len(_COMMON)) % _FIELDS]
        found *= self.weights[:, None]
        return found


class SyntheticEmbedder:
    """An embedder without a model; it satisfies `retriever.embedding.protocols.Embedder`."""

    max_tokens = 4096

    def __init__(self, language: Language, dimension: int = DIMENSION) -> None:
        self.language = language
        self.settings = EmbedderSettings(
            model="synthetic",
            weights=f"{language.words}-{language.seed}",
            dimension=dimension,
            layers=(0,),
            prompts=Prompts(passage=PROMPT, query=PROMPT, sentence=PROMPT),
            pooling="synthetic",
        )
        chance = np.random.default_rng((language.seed, 2))
        latent = min(LATENT, dimension)
        basis = np.linalg.qr(chance.standard_normal((dimension, latent)))[0].T
        self._basis = np.zeros((LATENT, dimension), np.float32)
        self._basis[:latent] = basis
        self._shift = _unit(chance.standard_normal((1, dimension)).astype(np.float32))[0]
        self._noise = chance.standard_normal(1_000_003 + dimension).astype(np.float32)
        self._noise /= np.sqrt(dimension)

    def passage_input(self, text: str, title: str = "") -> str:
        """The title and the text."""
        return f"{title}. {text}" if title else text

    def query_inputs(self, text: str) -> tuple[str, ...]:
        """The text alone."""
        return (text,)

    def key(self, model_input: str) -> str:
        """A hash of the input."""
        return hashlib.sha256(model_input.encode("utf-8", "surrogatepass")).hexdigest()[:40]

    def meanings(self, rows: Sequence[Numbers]) -> Vectors:
        """The sums of the words' directions, as unit vectors: (n, LATENT)."""
        lengths = np.array([len(row) for row in rows])
        flat = np.concatenate([*rows, np.zeros(1, np.int64)])  # reduceat needs one more
        starts = np.cumsum(lengths) - lengths
        sums = np.add.reduceat(self.language.directions[flat], starts, axis=0)
        sums[lengths == 0] = 0
        return _unit(sums)

    def vectors(self, inputs: Sequence[str], meanings: Vectors) -> Vectors:
        """The raw unit vectors of exact inputs with these meanings: (n, dim)."""
        found = meanings @ self._basis
        found += _SHIFT * self._shift
        dimension = self.settings.dimension
        for row, text in zip(found, inputs, strict=True):
            start = zlib.crc32(text.encode("utf-8", "surrogatepass")) % 1_000_003
            row += _NOISE * self._noise[start : start + dimension]
        return _unit(found)

    def embed_inputs(self, inputs: Sequence[str]) -> Vectors:
        """Raw unit vectors of exact inputs: (n, dim)."""
        if not inputs:
            return np.empty((0, self.settings.dimension), np.float32)
        return self.vectors(inputs, self.meanings([self._numbers(text) for text in inputs]))

    def _numbers(self, text: str) -> Numbers:
        """The words of a text; an unknown one counts as one of the known ones."""
        known, count = self.language.numbers, len(self.language.entries)
        words = (word.strip(".,?!:;\"'()") for word in text.lower().split())
        return np.array(
            [known.get(word, zlib.crc32(word.encode()) % count) for word in words if word],
            dtype=np.int64,
        )

    def embed_queries(self, texts: Sequence[str]) -> Vectors:
        """Raw unit vectors of queries: (n, dim)."""
        return self.embed_inputs(texts)

    def embed_fixed_queries(self, texts: Sequence[str]) -> Vectors:
        """As `embed_queries`."""
        return self.embed_inputs(texts)

    def count_tokens(self, inputs: Sequence[str]) -> int:
        """The number of words."""
        return sum(len(text.split()) for text in inputs)

    def token_spans(self, text: str) -> list[tuple[int, int]]:
        """The span of every word."""
        spans, end = [], 0
        for word in text.split():
            start = text.index(word, end)
            end = start + len(word)
            spans.append((start, end))
        return spans

    def prompt_tokens(self) -> int:
        """There is no prompt."""
        return 0

    def general_means(self) -> tuple[Vectors, Vectors]:
        """The shift that all texts share."""
        return self._shift.copy(), self._shift.copy()


def _unit(vectors: Vectors) -> Vectors:
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.asarray(vectors / np.where(lengths > 0, lengths, 1), np.float32)


@dataclass(frozen=True)
class Question:
    """A query with the topic of the document that it is about."""

    text: str
    topic: int


@dataclass(frozen=True)
class Collection:
    """`size` passages; a smaller collection with the same `words` is the beginning of a larger."""

    size: int
    words: int = 200_000
    seed: int = 18
    dimension: int = DIMENSION

    @classmethod
    def of(cls, size: int, *, words: int | None = None, dimension: int = DIMENSION) -> Collection:
        """A collection with `words`, or as many as such collections have."""
        usual = int(np.clip(2 * size, 4_000, 200_000))
        return cls(size, words=words or usual, dimension=dimension)

    @cached_property
    def language(self) -> Language:
        """The words."""
        return Language(self.words, self.seed)

    @cached_property
    def embedder(self) -> SyntheticEmbedder:
        """The embedder of passages and queries."""
        return SyntheticEmbedder(self.language, self.dimension)

    def blocks(self) -> Iterator[tuple[list[NewDocument], list[str], Vectors]]:
        """Blocks of documents, with the keys (n,) and raw vectors (n, dim) of their passages."""
        left, block = self.size, 0
        while left > 0:
            documents: list[NewDocument] = []
            keys: list[str] = []
            inputs: list[str] = []
            rows: list[Numbers] = []
            for number, passages in self._numbers(block):
                document, more, theirs = self._document(number, passages[:left])
                documents.append(document)
                inputs += more
                rows += theirs
                left -= len(theirs)
                if left <= 0:
                    break
            keys = [chunk.vector for document in documents for chunk in document.chunks]
            yield documents, keys, self.embedder.vectors(inputs, self.embedder.meanings(rows))
            block += 1

    def _numbers(self, block: int) -> Iterator[tuple[int, list[Numbers]]]:
        """The documents of a block, each with the words of its passages."""
        chance = np.random.default_rng((self.seed, 3, block))
        counts = np.minimum(60, chance.geometric(1 / 8, BLOCK))
        lengths = np.clip(chance.normal(95, 30, counts.sum()), 20, 170).astype(np.int64)
        documents = np.repeat(np.repeat(np.arange(BLOCK), counts), lengths) + block * BLOCK
        total = len(documents)
        source, place = chance.random(total), chance.random(total)
        words = np.searchsorted(_zipf(len(_COMMON)), place)
        content = source >= 0.45
        words[content] = len(_COMMON) + np.searchsorted(_zipf(self.words), place[content])
        theirs = source >= 0.7
        ranks = np.searchsorted(_zipf(TOPIC_WORDS), place[theirs])
        words[theirs] = self.topic_word(topic_of(documents[theirs]), ranks)
        own = source >= 0.9
        ranks = self.subject_rank(documents[own], np.searchsorted(_zipf(SUBJECT_WORDS), place[own]))
        words[own] = self.topic_word(topic_of(documents[own]), ranks)
        pieces = np.split(words, np.cumsum(lengths)[:-1])
        first = np.cumsum(counts) - counts
        for at in range(BLOCK):
            yield block * BLOCK + at, pieces[first[at] : first[at] + counts[at]]

    def topic_word(self, topics: Any, ranks: Any) -> Any:
        """The words of topics by their rank in them: common and rare words of a few fields."""
        fields = (topics * 7 + ranks % _TOPIC_FIELDS * 61) % _FIELDS
        among = (topics * 9973 + ranks * 15_485_863 + 400) % (self.words // _FIELDS)
        return len(_COMMON) + fields + _FIELDS * among

    @staticmethod
    def subject_rank(documents: Any, ranks: Any) -> Any:
        """The ranks in their topics of the words that documents repeat."""
        return (documents * 31 + ranks * 127 + 20) % TOPIC_WORDS

    def _document(
        self, number: int, passages: list[Numbers]
    ) -> tuple[NewDocument, list[str], list[Numbers]]:
        """A document, and the inputs and words that its vectors are made of."""
        language, topic = self.language, int(topic_of(number))
        title_words = self.topic_word(topic, self.subject_rank(number, np.arange(3)))
        title = " ".join(language.entries[word] for word in title_words).capitalize()
        title_terms = tuple(language.terms[word] for word in title_words)
        title_length = int(language.counts[title_words].sum())
        form = _FORMATS[number % len(_FORMATS)]
        texts = [" ".join(map(language.forms.__getitem__, _forms(words))) for words in passages]
        pages, places = _paged(texts, numbered=form == "pdf")
        path = f"{folder(topic, 3)}/{title_words[0]}-{number}.{form}"
        row = DocumentRow(
            id=document_id("", path),
            source="",
            root="",
            path=path,
            format="markdown" if form == "md" else form,
            title=title,
            author=language.entries[len(_COMMON) + number * _PRIME % 500].capitalize(),
            date=day_of(number).isoformat(),
            sha256=f"{number:064x}",
            metadata={"project": number * _PRIME % 1000},
            pages=len(pages),
            chunks=len(texts),
        )
        row = replace(row, page_states={page.state: len(pages) for page in pages})
        inputs = [self.embedder.passage_input(text, title) for text in texts]
        chunks = [
            NewChunk(page, span, self.embedder.key(text))
            for (page, span), text in zip(places, inputs, strict=True)
        ]
        terms = [
            PassageTerms(
                "en",
                " ".join((*title_terms, *_terms(language, words), BOUNDARY, *title_terms)),
                int(language.counts[words].sum()) + 2 * title_length,
            )
            for words in passages
        ]
        rows = [np.append(title_words, words) for words in passages]
        return NewDocument(row, pages, chunks, terms=terms), inputs, rows

    def questions(self, count: int) -> list[Question]:
        """Queries: two words of a document of the collection, and up to two others."""
        chance = np.random.default_rng((self.seed, 4))
        documents = max(1, self.size // 8)
        found = []
        for number in chance.integers(0, documents, count).tolist():
            topic = int(topic_of(number))
            ranks = chance.integers(0, 6, 2)
            own = self.topic_word(topic, self.subject_rank(number, ranks))
            others = np.searchsorted(_zipf(self.words), chance.random(chance.integers(0, 3)))
            words = [self.language.entries[word] for word in (*own, *(others + len(_COMMON)))]
            asking = _ASKING[int(chance.integers(0, len(_ASKING)))]
            text = asking.format(words[0], " ".join(words[1:]))
            found.append(Question(text, topic))
        return found

    def filters(self, share: float, questions: Sequence[Question]) -> list[dict[str, Any]]:
        """A filter for each query: by folder, date and metadata in turn, each with other values.

        Half of the folders are that of the query's topic.
        """
        chance = np.random.default_rng((self.seed, 5))
        width = round(share * 1000)
        found: list[dict[str, Any]] = []
        for at, question in enumerate(questions):
            place = int(chance.integers(0, 1000 - width + 1))
            kind = KINDS[at % len(KINDS)]
            if kind == "folder":
                topic = question.topic if at // len(KINDS) % 2 else int(chance.integers(0, TOPICS))
                level = {100: 1, 10: 2, 1: 3}[width]
                found.append({"path": {"glob": f"{folder(topic, level)}/**"}})
            elif kind == "date":
                first, last = (FIRST_DAY + timedelta(days=d) for d in (place, place + width - 1))
                found.append({"date": {"gte": first.isoformat(), "lte": last.isoformat()}})
            else:
                found.append({"metadata.project": {"gte": place, "lt": place + width}})
        return found


def topic_of(document: Any) -> Any:
    """The topics of documents."""
    return document * 317 % TOPICS


def folder(topic: int, level: int) -> str:
    """The folder of a topic; its levels hold 10, 1 and 0.1 % of the documents."""
    names = (f"area-{topic % 10}", f"team-{topic // 10 % 10}", f"case-{topic // 100}")
    return "/".join(names[:level])


def day_of(document: int) -> date:
    """The date of a document."""
    return FIRST_DAY + timedelta(days=document * _PRIME // 3 % 1000)


def _terms(language: Language, words: Numbers) -> Iterator[str]:
    return map(language.terms.__getitem__, words.tolist())


def _forms(words: Numbers) -> list[int]:
    """The forms of a passage's words: sentences of about 14 words."""
    ends = (words * 31 + np.arange(len(words))) % 14 == 0
    ends[-1] = True
    starts = np.append(True, ends[:-1])
    forms: list[int] = (3 * words + np.where(ends, 1, np.where(starts, 2, 0))).tolist()
    return forms


def _paged(texts: Sequence[str], *, numbered: bool) -> tuple[list[Page], list[tuple[int, Span]]]:
    """Passages as pages, two on each if pages are numbered, and their places."""
    per_page = 2 if numbered else len(texts)
    pages: list[Page] = []
    places: list[tuple[int, Span]] = []
    for start in range(0, len(texts), per_page):
        some, at = texts[start : start + per_page], 0
        for text in some:
            places.append((len(pages), Span(at, at + len(text))))
            at += len(text) + 2
        pages.append(Page(len(pages) + 1 if numbered else None, "\n\n".join(some)))
    return pages, places


@dataclass(frozen=True)
class Built:
    """How long the parts of `build` took, in seconds."""

    making: float
    writing: float
    vectors: float  # the vector file, of it
    processor: float  # processor time
    fitting: float  # the rest of the fit


class _TimedBackend(EmbeddedBackend):
    """It measures how long vector files take, which new means cause to be written."""

    seconds = processor = 0.0

    def calibrate(
        self, passage_mean: Vectors, query_mean: Vectors, facts: Mapping[str, Any]
    ) -> None:
        started, busy = time.perf_counter(), time.process_time()
        super().calibrate(passage_mean, query_mean, facts)
        self.seconds += time.perf_counter() - started
        self.processor += time.process_time() - busy


def build(
    folder: Path,
    collection: Collection,
    *,
    store: str | None = None,
    progress: Callable[[str], None] = lambda text: None,
) -> Built:
    """Make an index of the collection in a new folder, fitted as `wva index` does it.

    `Catalog.writing` with `Writer.save_vectors` and `Writer.upsert` is the fastest way into an
    index: reading, cutting, tokenising, analysing and embedding are left out, and the vector file
    is written once, when the means are fitted. `EmbeddedBackend.upsert_many` writes it again
    whenever a quarter has been added.
    """
    embedder, making, writing, done = collection.embedder, 0.0, 0.0, 0
    with EmbeddedBackend.open(folder, create=True, factory=store) as backend:
        backend.bind_embedder(embedder.settings, ChunkSettings())
    catalog = Catalog.open(folder)
    with _TimedBackend(catalog) as backend:
        clock = time.perf_counter()
        for documents, keys, vectors in collection.blocks():
            making, clock = making + time.perf_counter() - clock, time.perf_counter()
            with catalog.writing() as writer:
                writer.save_vectors(keys, vectors)
                for one in documents:
                    writer.upsert(one.row, one.pages, one.chunks, terms=one.terms)
            writing, clock = writing + time.perf_counter() - clock, time.perf_counter()
            before, done = done, done + len(keys)
            if before // 20_000 < done // 20_000:
                progress(f"{done:,} passages, {making:.0f} s to make, {writing:.0f} s to write")
        Fitter(backend, embedder).fit()
        backend.finish({"added": done})
        fitting = time.perf_counter() - clock - backend.seconds
        return Built(making, writing, backend.seconds, backend.processor, fitting)


def main(arguments: Sequence[str] | None = None) -> None:
    """Build an index."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("index", type=Path, help="a new folder")
    parser.add_argument("--size", type=int, default=10_000, help="of passages (10000)")
    parser.add_argument("--words", type=int, help="of the vocabulary (default: by the size)")
    parser.add_argument("--store", help="a FAISS factory string (default: by the size)")
    options = parser.parse_args(arguments)
    collection = Collection.of(options.size, words=options.words)
    built = build(options.index, collection, store=options.store, progress=_say)
    with Index.open(options.index, collection.embedder) as index:
        facts = index.info()
    print("| passages | documents | store | making s | writing s | vectors s | fitting s | bytes |")
    print("|---|---|---|---|---|---|---|---|")
    print(
        f"| {facts['chunks']} | {facts['documents']} | {facts['store']['kind']} "
        f"| {built.making:.1f} | {built.writing:.1f} | {built.vectors:.1f} | {built.fitting:.1f} "
        f"| {facts['bytes']['total']} |"
    )


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
