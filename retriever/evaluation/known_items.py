"""Known-item search: a retrieval data set from one's own folder, without labels.

A sentence is removed from its passage; the query is the sentence, the relevant document the rest of
the passage (an inverse cloze task). People do not type such queries, and they share words with
their passages, which favours keyword search; but the test is the same for every model, on one's own
documents.

Passages are split by a model-independent count of tokens, so all models see the same ones. The
choice depends on the files alone: the same folder gives the same data set.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from retriever.evaluation.datasets import RetrievalDataset
from retriever.indexing.cloze import cloze_questions, hash_key
from retriever.reading.options import ReadOptions
from retriever.reading.scan import FoundFile, scan, targets
from retriever.reading.subprocess_reader import file_reader
from retriever.settings import ChunkSettings
from retriever.text.chunking import chunk_document
from retriever.types import Document, ReadError, UsageError

PASSAGES = 300
"""The default number of passages: about a minute for a small model on two cores."""

MAX_SENTENCES = 200
MIN_SENTENCES = 20
PASSAGE = ChunkSettings(size=224)

_FILE_SHARE = 10  # at most a tenth of the passages are from one file, if there are enough others
_PIECE = re.compile(r"\w{1,5}|[^\w\s]")

Passage = tuple[str, str, str]
"""(name such as "path#3", title, text)."""


def known_item_dataset(
    path: Path, passages: int = PASSAGES, *, progress: Callable[[str], None] = lambda text: None
) -> RetrievalDataset:
    """The data set of the files below `path`: sentences as queries, passages as documents.

    Unreadable files are skipped. Raises UsageError if there is too little text.
    """
    if passages < MIN_SENTENCES:
        raise UsageError(f"a comparison needs at least {MIN_SENTENCES} passages, not {passages}")
    chosen = _sample(path, passages, progress)
    found = known_items(chosen)
    if len(found.queries) < MIN_SENTENCES:
        raise UsageError(
            f"{str(path)!r} has too little text to compare models on: {len(found.queries)} "
            f"sentences can be asked, {MIN_SENTENCES} are needed"
        )
    return found


def known_items(
    passages: Sequence[Passage], *, most: int = MAX_SENTENCES, others: Sequence[str] = ()
) -> RetrievalDataset:
    """The data set of these passages: the first `most` that have a usable sentence are asked for.

    A sentence that also occurs in another passage, or in one of the texts `others`, is not asked.
    """
    corpus = {name: (title, text) for name, title, text in passages}
    whole = [" ".join(text.split()) for text in (*(text for _, _, text in passages), *others)]
    queries: dict[str, str] = {}
    for name, (title, text) in list(corpus.items()):
        if len(queries) == most:
            break
        for sentence, rest in cloze_questions(text):
            if sum(sentence in other for other in whole) == 1:  # it occurs in one passage only
                queries[name], corpus[name] = sentence, (title, rest)
                break
    return RetrievalDataset(corpus, queries, {name: {name: 1.0} for name in queries})


def _sample(path: Path, wanted: int, progress: Callable[[str], None]) -> list[Passage]:
    """At most `wanted` passages, from many files, in a reproducible random order."""
    share = max(1, wanted // _FILE_SHARE)
    chosen: dict[str, Passage] = {}
    spare: list[Passage] = []
    files = sorted(_files(path), key=lambda file: hash_key(file.path))
    progress(f"reading passages of {len(files)} files …")
    with file_reader(ReadOptions()) as reader:
        for file in files:
            if len(chosen) >= wanted:
                break
            try:
                document = reader.read(file.location, file.path)
            except ReadError:
                continue
            found = list(_passages(document))
            random.Random(hash_key(file.path)).shuffle(found)  # noqa: S311  (not a secret)
            chosen.update((passage[2], passage) for passage in found[:share])
            spare += found[share : share + wanted]
    for passage in sorted(spare, key=lambda passage: hash_key(passage[0])):
        if len(chosen) >= wanted:
            break
        chosen.setdefault(passage[2], passage)
    return sorted(list(chosen.values())[:wanted], key=lambda passage: hash_key(passage[0]))


def _files(path: Path) -> Iterator[FoundFile]:
    for target in targets([path], []):
        yield from (file for file in scan(target, (), (), ()) if not file.reason)


def _passages(document: Document) -> Iterator[Passage]:
    """The document's passages, numbered from 1 in their names."""
    spans = chunk_document(
        document.pages, PASSAGE, lambda text: [m.span() for m in _PIECE.finditer(text)]
    )
    for number, (page, span) in enumerate(spans, 1):
        text = document.pages[page].text[span.start : span.end]
        yield f"{document.path}#{number}", document.title, text


__all__ = ["MAX_SENTENCES", "MIN_SENTENCES", "PASSAGES", "known_item_dataset", "known_items"]
