"""The analyzer: text → terms, for documents, queries and highlighting.

Two words match if they have the same *term*. Case, accents, endings, soft hyphens and full-width
forms make no difference. Documents and queries go through the same code:

- **Languages**: a passage is analysed in its own language (`retriever.text.languages`). A stemmed
  term ends with a mark of the language: "Häuser" is `hausøde` in a German passage. English terms,
  terms of unknown languages, and terms that are not letters alone have no mark. A query is analysed
  in all languages of the index; the terms of one word count as one word.
- **Words** are runs of letters and digits. `don't` is `dont`; `John's` is `john`; `C++` and `C#`
  are `cplusplus` and `csharp`; `1,000`, `1 000` and `1'000` are `1000`. A stop word has a term of
  its own ("the" is `theø0`), so that a phrase has every word; queries leave it out.
- **Pieces**: what is written in one, but of several parts, gives the term of each part, in order.
  Parts end between letters and digits (`ISO27001`), at humps (`getUserById`), at `-`, `/`, `_`,
  `@`, `.` and apostrophes (`multi-factor`, `SP 800-63B`, `10.20.30.1/16`, `user@example.org`), and
  where a hyphen ends a line. So `AC-2`, `AC2` and `AC 2` have the same terms side by side.
- **Joined forms**: such a chain also gives its parts as one word (`multifactor`, `getuserbyid`,
  `ac2`), since others write it so. An `x` separates two numbers: 1.10 differs from 11.0. Joined
  forms are at the end of a passage's terms, and no phrase crosses them.
- **Chinese, Japanese, Korean, Thai, Lao, Khmer and Burmese** put no spaces between words (Korean
  glues endings to them). A run of their characters becomes overlapping bigrams. Documents also
  give the single characters, for queries of one character.

A term consists of the letters and digits of `_SAFE`, or of `ø` and hexadecimal digits. The latter
encode other scripts, which SQLite's `unicode61` tokenizer would break at combining marks. A term
therefore has no white space, quote or NUL, and FTS5 with `unicode61` keeps it as one token. Several
terms with spaces between them are a phrase.

The module knows nothing of scores and databases.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from itertools import chain, islice, product
from math import prod

from retriever.text import query_units
from retriever.text.detection import detect_language
from retriever.text.languages import LANGUAGES
from retriever.text.query_units import QueryWord
from retriever.text.words import (
    JOINED_KINDS,
    MARK,
    STOP,
    Word,
    is_one_word,
    scan,
    term_of,
    terms,
    units,
    without_version_letter,
)

VERSION = 4
"""Version of the terms. An index with terms of another version is analysed again."""

BOUNDARY = MARK
"""A token in a passage's terms that no phrase crosses. It is not the term of any word."""

_MAX_FORMS = 27  # of a phrase with chains: three of them, each in three ways
_MAX_SPLITS = 60  # of a phrase's words into two
_MIN_SPLIT = 2  # letters of each part


def words(text: str, language: str = "") -> Iterator[Word]:
    """The words of `text` with their exact spans, ordered by start.

    A chain gives its joined forms, then its pieces; a run of Chinese (…) gives bigrams. `language`
    is one of `retriever.text.languages`; any other value means English.

    >>> [(word.term, word.start, word.end) for word in words("Running GPU加速")]
    [('run', 0, 7), ('gpu', 8, 11), ('加速', 11, 13)]
    >>> [word.term for word in words("AC-2(1)")]
    ['ac2x1', 'ac2', 'ac', '2', '1']
    """
    return (word for word in scan(text, language) if word.kind != "single")


def count_words(text: str, most: int) -> int:
    """The number of words of a text (bigrams in unsegmented scripts), counted up to `most`.

    >>> count_words("The cat sat", 9), count_words("The cat sat", 2)
    (3, 2)
    """
    return sum(1 for _ in islice(word_ends(text), most))


def word_ends(text: str) -> Iterator[int]:
    """Where the words of a text end: 64bit is one word here, zero-trust is two.

    >>> list(word_ends("The 64bit zero-trust"))
    [3, 9, 14, 20]
    """
    end = 0
    for word in words(text):
        if word.kind in JOINED_KINDS:
            continue
        if end and word.start != end:
            yield end
        end = word.end
    if end:
        yield end


def index_terms(text: str, language: str = "") -> list[str]:
    """The terms of a text, in order and with repetitions, then its joined forms.

    >>> index_terms("the cats and the cat"), index_terms("Häuser der EU", "de")
    (['theø0', 'cat', 'andø0', 'theø0', 'cat'], ['hausøde', 'derø0', 'eu'])
    >>> index_terms("multi-factor")
    ['multi', 'factor', 'ø', 'multifactor']
    """
    found, joined = _terms(text, language)
    return [*found, *joined]


def passage_terms(title: str, text: str, language: str = "") -> list[str]:
    """The terms of a passage: those of its title, its text, and its title again.

    A title says in few words what its document is about, so its terms count twice. As in BM25F
    (Robertson et al., "Simple BM25 Extension to Multiple Weighted Fields", CIKM 2004), term
    frequencies are added up, not scores. Joined forms are at the end.

    >>> passage_terms("Cats", "Pets sleep"), passage_terms("", "Pets sleep")
    (['cat', 'pet', 'sleep', 'ø', 'cat'], ['pet', 'sleep'])
    """
    found, joined = _terms(text, language)
    again, title_joined = _terms(title, language)
    if not again:
        return [*found, *joined]
    return [*again, *found, BOUNDARY, *again, *title_joined, *joined, *title_joined]


def _terms(text: str, language: str) -> tuple[list[str], list[str]]:
    """The terms in order; and the joined forms, each behind a boundary."""
    pieces, joined = terms(text, language)
    return pieces, [term for form in joined for term in (BOUNDARY, form)]


def content_terms(terms: Iterable[str]) -> list[str]:
    """The terms without stop words and boundaries.

    >>> content_terms(index_terms("the multi-factor"))
    ['multi', 'factor', 'multifactor']
    """
    return [term for term in terms if term != BOUNDARY and not term.endswith(STOP)]


def query_words(text: str, languages: Sequence[str] = ()) -> list[QueryWord]:
    """The distinct words to search for in passages of English and of `languages`, in order.

    Function words are left out, and phrases that only ask (see `request_phrases`). The language
    that has most of the query's function words decides what counts as one: "die" does in a German
    query. A query of nothing but function words keeps them; only a query without letters and digits
    has no words.

    >>> [(word.typed, word.terms) for word in query_words("Welche Häuser?", ["de"])]
    [('Häuser', ('hauser', 'hausøde'))]
    >>> [(word.typed, word.terms or word.others) for word in query_words("AC-2")]
    [('AC-2', (('ac2', 1.0), ('ac 2', 0.9))), ('AC', ('ac',))]
    """
    return query_units.query_words(text, tuple(dict.fromkeys(("", *languages))))


def query_terms(text: str) -> list[str]:
    """The English terms of `query_words`, without runs.

    >>> query_terms("Who are the cats?"), query_terms("to be"), query_terms("?!")
    (['cat'], ['toø0', 'beø0'], [])
    """
    return [word.terms[0] for word in query_words(text) if word.terms]


def language_mark(term: str) -> str:
    """The language of a stemmed term, "" for English and for none.

    >>> language_mark("hausøde"), language_mark("house"), language_mark("ø00939")
    ('de', '', '')
    """
    before, _, language = term.rpartition(MARK)
    return language if before and language in LANGUAGES else ""


def bare_stem(term: str) -> str:
    """The stem of a term as readers know it: without the mark of its language, and decoded.

    A term with spaces is several side by side.

    >>> bare_stem("hausøde"), bare_stem("house"), bare_stem("ø00915009320092eøhi")
    ('haus', 'house', 'कलम')
    >>> bare_stem("theø0"), bare_stem("inø0 person")
    ('the', 'in person')
    """
    if " " in term:
        return " ".join(map(bare_stem, term.split()))
    term = term.removesuffix(STOP)
    language = language_mark(term)
    stem = term[: -len(MARK + language)] if language else term
    if not stem.startswith(MARK):
        return stem
    return "".join(chr(int(stem[at : at + 5], 16)) for at in range(1, len(stem), 5))


# Phrases


def phrase_forms(phrase: str, languages: Sequence[str] = ()) -> list[tuple[str, ...]]:
    """The sequences of terms of which `index_terms` of a text with this phrase contains one.

    Words give one sequence per language. A chain may be written joined or in pieces: AC-2 is found
    in "AC-2", "AC2" and "AC 2".

    >>> phrase_forms("the cats", ["de"])
    [('theø0', 'cat'), ('theøde', 'catøde')]
    >>> phrase_forms("in AC-2")
    [('inø0', 'ac', '2'), ('inø0', 'ac2')]
    """
    forms = chain.from_iterable(_forms(phrase, language) for language in ("", *languages))
    return list(dict.fromkeys(form for form in forms if form))


def split_forms(phrase: str, languages: Sequence[str] = ()) -> list[tuple[tuple[str, ...], str]]:
    """Sequences with one word in two pieces, each with the joined form that the text must have.

    So "multifactor authentication" is found in a text with "multi-factor authentication".

    >>> (("multi", "factor", "code"), "multifactor") in split_forms("multifactor codes")
    True
    """
    found: dict[tuple[tuple[str, ...], str], None] = {}
    for language in dict.fromkeys(("", *languages)):
        way = list(units(phrase, language))
        if len(way) < 2:
            continue
        for at, unit in enumerate(way):
            raw = phrase[unit.start : unit.end]
            if not (raw.isalpha() and is_one_word(unit)):
                continue
            before = [word.term for one in way[:at] for word in one.pieces]
            behind = [word.term for one in way[at + 1 :] for word in one.pieces]
            for cut in range(_MIN_SPLIT, len(raw) - _MIN_SPLIT + 1):
                two = (term_of(raw[:cut], language), term_of(raw[cut:], language))
                found[((*before, *two, *behind), unit.pieces[0].term)] = None
    return list(islice(found, _MAX_SPLITS))


def _forms(phrase: str, language: str) -> Iterator[tuple[str, ...]]:
    """The sequences of one language."""
    spellings: list[list[tuple[str, ...]]] = []  # of each unit
    for unit in units(phrase, language):
        own = [word for word in unit.words if word.kind not in JOINED_KINDS]
        ways = [tuple(word.term for word in own)]
        if unit.is_chain and own:
            ways += [(word.term,) for word in unit.joined]
            rest = without_version_letter(own, phrase)
            ways += [tuple(word.term for word in rest)] if rest else []
        spellings.append(list(dict.fromkeys(ways)))
    if prod(map(len, spellings)) > _MAX_FORMS:
        spellings = [ways[:1] for ways in spellings]
    return (tuple(chain.from_iterable(ways)) for ways in product(*spellings))


# Highlighting


def matching_words(
    text: str, query: str, terms: Iterable[str] = (), language: str | None = None
) -> list[Word]:
    """The words of `text` that match the query, for highlighting: in order, without overlaps.

    Overlapping bigrams are merged, and a chain includes its pieces. `terms` match in addition (see
    `Snapshot.matched_terms`). `language` defaults to that of the text, or else that of the query.

    >>> [word.term for word in matching_words("All cats run.", "a running cat")]
    ['cat', 'run']
    >>> [(word.start, word.end) for word in matching_words("The ISO 27001.", "ISO27001")]
    [(4, 7), (8, 13)]
    """
    if language is None:
        language = detect_language(text) or detect_language(query)
    wanted = _terms_of_query(query, language).union(terms)
    found = list(scan(text, language))
    merged: list[Word] = []
    for word in sorted(_matching(found, wanted), key=lambda word: (word.start, -word.end)):
        if merged and word.start < merged[-1].end:
            last = merged.pop()
            word = last._replace(end=max(last.end, word.end))
        merged.append(word)
    return merged


@lru_cache(maxsize=32)  # the results of a search are marked one by one, and a query may be long
def _terms_of_query(query: str, language: str) -> frozenset[str]:
    # Whether two words are one depends on the index: `Snapshot.matched_terms` knows.
    asked = [word for word in query_words(query, [language]) if not word.needs]
    return frozenset(
        term for word in asked for term in (*word.terms, *(one for one, _ in word.others))
    )


def _matching(found: Sequence[Word], wanted: Iterable[str]) -> Iterator[Word]:
    """The words with one of the terms, and those that stand side by side as in a phrase."""
    terms = {term for term in wanted if " " not in term}
    phrases: dict[str, list[list[str]]] = {}
    for phrase in wanted:
        first, *rest = phrase.split(" ")
        if rest:
            phrases.setdefault(first, []).append(rest)
    pieces = [word for word in found if word.kind not in JOINED_KINDS]
    yield from (word for word in found if word.term in terms)
    for at, word in enumerate(pieces if phrases else ()):
        for rest in phrases.get(word.term, ()):
            behind = pieces[at + 1 : at + 1 + len(rest)]
            if [each.term for each in behind] == rest:
                yield from (word, *behind)


def count_term(terms: Sequence[str], term: str) -> int:
    """How often a term, or a phrase, occurs in the terms of a passage.

    >>> count_term(["ac", "2", "ø", "ac2"], "ac 2"), count_term(["ac", "ac"], "ac")
    (1, 2)
    """
    first, *rest = term.split(" ")
    starts = (at for at, one in enumerate(terms) if one == first)
    return sum(list(terms[at + 1 : at + 1 + len(rest)]) == rest for at in starts)


__all__ = [
    "BOUNDARY",
    "MARK",
    "VERSION",
    "QueryWord",
    "Word",
    "bare_stem",
    "content_terms",
    "count_term",
    "count_words",
    "index_terms",
    "language_mark",
    "matching_words",
    "passage_terms",
    "phrase_forms",
    "query_terms",
    "query_words",
    "split_forms",
    "word_ends",
    "words",
]
