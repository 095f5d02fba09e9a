"""Explanations as text for the command line. Nothing is printed here."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

from retriever.arrays import DoubleVectors
from retriever.embedding.word_attribution import WordSpan
from retriever.explaining.compare import Difference, TermDifference
from retriever.explaining.faithfulness import DeletionTest
from retriever.explaining.score import DenseScore, Explanation, Term
from retriever.explaining.summary import Summary, difference_summary, summary
from retriever.explaining.why_not import WhyNot
from retriever.interface.terminal.characters import count_text, one_line, printable
from retriever.interface.terminal.printing import BOLD, DIM, RESET
from retriever.interface.terminal.results import text_width
from retriever.interface.terminal.table import table
from retriever.storage.records import KeywordWord

MAX_PAIRS = 8
MAX_MARKED_WORDS = 12
"""Marked words per passage; each must contribute at least `_MIN_SHARE` of the first one's value."""

_MIN_SHARE = 0.2
_ON, _OFF = "\ue000", "\ue001"  # one column wide each while lines are wrapped


def explanation_lines(explanation: Explanation, *, colour: bool) -> list[str]:
    """The summary, the passage with its strongest words marked, the score's terms, word pairs."""
    chunk, dense = explanation.chunk, explanation.dense
    bold, dim, reset = (BOLD, DIM, RESET) if colour else ("", "", "")
    place = ", ".join(filter(None, [one_line(chunk.path), one_line(chunk.place)]))
    lines = [f"{bold}{place}{reset}{dim}  {one_line(chunk.title)}  {chunk.id}{reset}".rstrip()]
    lines += [*_summary_lines(summary(explanation)), ""]
    lines += [f"    {line}" for line in _passage_lines(explanation, colour=colour)]
    total = " ".join(f"{term.name} {term.value:+.3f}" for term in explanation.terms)
    lines += ["", f"score {explanation.score:.3f} = {total}"]
    lines += [f"    {_term_line(term)}" for term in explanation.terms]
    if explanation.keyword is not None and explanation.keyword.words:
        score = f"keywords {explanation.keyword.score:.3f}"
        lines += ["", f"{score} (those in the title count twice)"]
        lines += [f"    {_word_line(word)}" for word in explanation.keyword.shown]
    if explanation.keyword is not None and explanation.keyword.added:
        added = explanation.keyword.added
        lines += ["", f"words of the first passages {sum(word.score for word in added):.3f}"]
        listed = ", ".join(f"{printable(word.word)} {word.score:+.3f}" for word in added)
        lines += [f"    {line}" for line in textwrap.wrap(listed, 90, break_on_hyphens=False)]
    return [*lines, *(_dense_lines(dense) if dense else []), ""]


def _summary_lines(said: Summary) -> list[str]:
    return textwrap.wrap(printable(str(said)), text_width())


def strongest(dense: DenseScore, count: int = MAX_MARKED_WORDS) -> list[WordSpan]:
    """The passage's words that contribute most, best first."""
    values = dense.by_passage_word
    order = sorted(range(len(values)), key=lambda at: -values[at])[:count]
    least = _MIN_SHARE * max(0.0, float(values[order[0]])) if order else 0.0
    return [dense.passage_words[at] for at in order if values[at] > 0 and values[at] >= least]


def _passage_lines(explanation: Explanation, *, colour: bool) -> list[str]:
    text = printable(explanation.chunk.text)
    words = strongest(explanation.dense) if explanation.dense else []
    for word in sorted(words, key=lambda word: -word.start):
        if not word.in_title:
            marked = f"{_ON}{text[word.start : word.end]}{_OFF}"
            text = text[: word.start] + marked + text[word.end :]
    width = text_width()
    on, off = (BOLD, RESET) if colour else ("*", "*")
    wrapped = textwrap.wrap(" ".join(text.split()), width) or [""]
    return [line.replace(_ON, on).replace(_OFF, off) for line in wrapped]


def term_formula(term: Term) -> str:
    """The formula of a term of the score; empty for a term without one.

    >>> term_formula(Term("dense", 2.0, {"score": 0.5, "own": 1, "mean": 0.1, "std": 0.2}))
    '(0.500 − 0.100) / 0.200'
    """
    if term.waiting:
        return "no vector yet, so it counts like an average passage"
    numbers = term.made_of
    if "mean" in numbers:
        own = "" if numbers["own"] == 1 else f"{numbers['own']:.3f} · "
        less = f"{'−' if numbers['mean'] >= 0 else '+'} {abs(numbers['mean']):.3f}"
        return f"({own}{numbers['score']:.3f} {less}) / {numbers['std']:.3f}"
    if "added" in numbers:
        return f"what the first passages add: {numbers['added']:.3f} / {numbers['std']:.3f}"
    if term.name == "contents":
        return f"refers to other pages only: a quarter of {numbers['score']:.3f} taken away"
    return ", ".join(f"{name.replace('_', '-')} {n:.3f}" for name, n in numbers.items())


def _term_line(term: Term) -> str:
    return f"{term.name}: {term_formula(term) or 'reranked'} = {term.value:+.3f}"


def _word_line(word: KeywordWord) -> str:
    """A word's share of the BM25 score.

    >>> _word_line(KeywordWord("teas", ("tea",), 3, 2, 1.25, 1.5))
    '+1.500  teas: 2 times, in 3 passages, weight 1.250'
    >>> _word_line(KeywordWord("teas", ("tea",), 3, 2, 1.25, 2.25, count=2, boost=1.5))
    '+2.250  teas ×2: 2 times, in 3 passages, weight 1.250 × 1.50 for the repetition'
    """
    times = count_text(word.times, "time") if word.times else "not here"
    passages = count_text(word.documents, "passage")
    said = f"{times}, in {passages}, weight {word.idf:.3f}{word.factor}"
    return f"{word.score:+.3f}  {printable(word.label)}: {said}"


def _dense_lines(dense: DenseScore) -> list[str]:
    shares = dense.shares
    parts = [f"{name} {value:+.3f}" for name, value in shares.items() if abs(value) >= 0.0005]
    lines = ["", f"cosine {dense.cosine:.3f} = {', '.join(parts)}"]
    pairs = [pair for pair in dense.pairs(MAX_PAIRS) if pair.value > 0]
    if pairs:
        lines += ["", "strongest pairs of words"]
    width = max((len(pair.query.word) for pair in pairs), default=0)
    for pair in pairs:
        words = f"{printable(pair.query.word):<{width}}  {printable(pair.passage.word)}"
        lines.append(f"    {pair.value:+.3f}  {words}")
    return [
        *lines,
        "",
        f"words of the query: {_word_values(dense.query_words, dense.by_query_word)}",
    ]


def _word_values(words: Sequence[WordSpan], values: DoubleVectors) -> str:
    return ", ".join(
        f"{printable(word.word)} {value:+.3f}" for word, value in zip(words, values, strict=True)
    )


def why_not_lines(told: WhyNot) -> list[str]:
    """Why a document is not among the results, and which results are shown instead."""
    lines = [f"{one_line(told.path)}: {printable(told.sentence)}", ""]
    if told.above:
        places = [(hit, f"{hit.chunk.path}, {hit.chunk.place}".rstrip(", ")) for hit in told.above]
        lines += [f"    {hit.rank:>2}. {hit.score:.3f}  {one_line(place)}" for hit, place in places]
        lines.append("")
    return lines


def difference_lines(told: Difference) -> list[str]:
    """Two explanations side by side."""
    first, second = told.first, told.second
    lines = [
        f"{name}. {one_line(one.chunk.path)}  {one.chunk.id}  score {one.score:.3f}"
        for name, one in (("A", first), ("B", second))
    ]
    lines += ["", *_summary_lines(difference_summary(told, "A", "B"))]
    named = (("terms of the score", told.terms), ("words, dense side", told.words))
    for name, rows in (*named, ("words, keyword side", told.keywords)):
        if rows:
            lines += ["", name, *(f"    {line}" for line in table(list(map(_row, rows))))]
    return [*lines, ""]


def _row(row: TermDifference) -> dict[str, str]:
    return {
        "": one_line(row.name),
        "A": f"{row.first:.3f}",
        "B": f"{row.second:.3f}",
        "A - B": f"{row.difference:+.3f}",
    }


def check_lines(check: DeletionTest) -> list[str]:
    """The deletion check in a sentence."""
    words = ", ".join(printable(word.word) for word in check.words)
    return [
        f"check: without {words} the cosine falls by {check.lost:.3f}; without "
        f"{len(check.words)} words at random by {check.lost_at_random:.3f} on average",
        "",
    ]
