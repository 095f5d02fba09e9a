"""The analyzer: queries and documents agree, spans are exact, terms are safe for FTS5."""

from __future__ import annotations

import collections
import itertools
import sqlite3
import sys
import unicodedata
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from retriever.text import analyzer
from retriever.text.analyzer import (
    _SAFE,
    BOUNDARY,
    index_terms,
    matching_words,
    passage_terms,
    phrase_forms,
    query_terms,
    query_words,
    words,
)


def found(query: str, text: str) -> bool:
    """Whether the text has every term of the query."""
    wanted = query_terms(query)
    return bool(wanted) and set(wanted) <= set(index_terms(text))


@pytest.mark.parametrize(
    ("query", "text"),
    [
        ("running", "She RUNS daily"),
        ("cafe", "un CAFÉ noir"),
        ("café", "cafe\u0301"),
        ("naive", "naïve"),
        ("strasse", "Straße"),
        ("lodz", "Łódź"),
        ("Σίσυφος", "ΣΙΣΥΦΟΣ"),
        ("елка", "Ёлка"),
        ("ударение", "ударе\u0301ние"),
        ("istanbul", "İstanbul"),
        ("GPU", "ＧＰＵ"),
        ("file", "the ﬁle"),
        ("information", "infor\u00admation"),
        ("information", "infor\u00ad\nmation"),
        ("don't", "don’t"),
        ("dont", "I DON'T know"),
        ("john", "John’s book"),
        ("homme", "l'homme"),
        ("AC-2", "control AC-2(1) applies"),
        ("AC-2(1)", "control AC-2(1) applies"),
        ("ac2", "see AC-2."),
        ("AC 2", "see AC-2."),
        ("800-63B", "NIST SP 800-63B"),
        ("SP 800 63B", "NIST SP 800‑63B"),
        ("3.14", "pi is 3.14"),
        ("1000", "1,000 people"),
        ("2024-03-07", "on 2024/03/07"),
        ("foo_bar", "call foo_bar()"),
        ("foo", "call foo_bar()"),
        ("foobar", "call foo_bar()"),
        ("C++", "written in C++."),
        ("c#", "in C# and F#"),
        ("user@example.org", "mail to <user@example.org>"),
        ("example.org", "mail to <user@example.org>"),
        ("email", "an e-mail"),
        ("US", "the U.S. government"),
        ("12", "١٢"),
        ("كتاب", "كِتَاب"),
        ("检索", "语义检索系统"),
        ("水", "喝水吧"),
        ("水", "水"),
        ("検索", "全文検\n索する"),
        ("ガン", "ｶﾞﾝ"),
        ("が", "か\u3099"),
        ("한국", "한국에서"),
        ("한국", unicodedata.normalize("NFD", "한국에서")),
        ("국", "한국에서"),
        ("น้ำ", "ดื่มน้ำเย็น"),
        ("ดื่ม", "ดื่มน้ำเย็น"),
        ("ภาษาไทย", "คนพูดภาษาไทยได้"),
        ("ខ្មែរ", "ភាសាខ្មែរ"),
        ("加速", "GPU加速"),
        ("gpu", "GPU加速"),
        ("2024年", "在2024年度"),
        ("हिन्दी", "यह हिन्दी है"),
    ],
)
def test_a_query_finds_the_text(query: str, text: str) -> None:
    assert found(query, text)


@pytest.mark.parametrize(
    ("query", "text"),
    [
        ("AC-21", "AC-2(1)"),
        ("AC-2", "AC-3 and 2"),
        ("C++", "vitamin C"),
        ("3.14", "3 of 14"),
        ("かき", "がき"),  # another word: the voicing mark is no accent
        ("й", "и"),
        ("한국", "국한"),
        ("มา", "ม้า"),  # come, horse
        ("कल", "काल"),
        ("中国", "中 国"),
    ],
)
def test_another_word_is_not_found(query: str, text: str) -> None:
    assert not found(query, text)


def test_index_keeps_order_and_repetitions_and_drops_stop_words() -> None:
    assert index_terms("The cat, THE dog and cats") == ["cat", "dog", "cat"]


def test_a_query_is_analysed_once_for_all_its_results(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    real = analyzer.query_words
    monkeypatch.setattr(
        analyzer, "query_words", lambda text, *a: asked.append(text) or real(text, *a)
    )
    query = "a heron at the weir " * 500
    for number in range(10):
        text = f"Heron number {number} is at the weirs."
        found = [text[word.start : word.end] for word in matching_words(text, query, ["number"])]
        assert found == ["Heron", "number", "weirs"]
    assert asked == [query]


def test_words_of_a_query_are_counted_as_first_typed() -> None:
    found = query_words("Cats and the cat; CATS, a dog. AC-2, AC2", ["de"])
    assert [(word.typed, word.times) for word in found] == [
        ("Cats", 3),
        ("dog", 1),
        ("AC-2", 2),
        ("AC", 1),
    ]
    city, cities, _ = query_words("City city, cities, tree", ["de"])
    assert (city.typed, city.times, cities.times) == ("City", 2, 1)


def test_query_terms_fall_back_only_when_nothing_else_is_there() -> None:
    assert query_terms("to be or not to be") == ["to", "be", "or", "not"]
    assert query_terms("to be a cat") == ["cat"]
    assert query_terms("what is a cat") == ["cat"]
    assert query_terms("who are they") == ["who", "ar", "thei"]
    assert query_terms("A") == ["a"]
    assert query_terms("7") == ["7"]
    for nothing in ("", "  \n", "?!… — 😀", "\u0301\u200b"):
        assert query_terms(nothing) == []


def test_it_the_technology_is_no_stop_word() -> None:
    assert index_terms("IT is what it is") == ["it", "what"]


def test_spans_are_exact() -> None:
    text = "Ｃafé—don't, AC-2; 检索 ok"
    assert [(word.term, text[word.start : word.end]) for word in words(text)] == [
        ("cafe", "Ｃafé"),
        ("dont", "don't"),
        ("ac2", "AC-2"),
        ("ac", "AC"),
        ("2", "2"),
        ("检索", "检索"),
        ("ok", "ok"),
    ]


def test_thai_pairs_are_made_of_whole_characters() -> None:
    text = "น้ำดื่ม"
    assert [text[word.start : word.end] for word in words(text)] == ["น้ำดื่", "ดื่ม"]


def test_matching_words_merge_pairs_and_codes() -> None:
    text = "语义检索系统, AC-2(1) and Running"
    marked = [text[w.start : w.end] for w in matching_words(text, "检索系统 ac-2(1) runs")]
    assert marked == ["检索系统", "AC-2(1)", "Running"]
    assert matching_words(text, "") == []
    assert [word.start for word in matching_words("水はお水", "水")] == [0, 3]


def test_a_piece_of_a_code_is_left_out_of_queries() -> None:
    assert query_terms("AC-2") == ["ac2", "ac"]
    assert "2" in index_terms("AC-2")


def _tokens_of_fts5(terms: list[str]) -> list[list[str]]:
    """The tokens that SQLite indexes for each term."""
    connection = sqlite3.connect(":memory:")
    connection.execute(
        "create virtual table t using fts5(x, tokenize='unicode61 remove_diacritics 0')"
    )
    connection.executemany("insert into t(rowid, x) values (?, ?)", enumerate(terms))
    connection.execute("create virtual table v using fts5vocab(t, instance)")
    tokens: list[list[str]] = [[] for _ in terms]
    for term, row in connection.execute("select term, doc from v order by doc, offset"):
        tokens[row].append(term)
    connection.close()
    return tokens


def test_every_character_of_unicode_gives_terms_that_fts5_keeps() -> None:
    alone = {term for code in range(sys.maxunicode + 1) for term in index_terms(chr(code))}
    joined = {term for code in range(0x80, 0x3400) for term in index_terms(f"b{chr(code)}7")}
    terms = sorted(alone | joined)
    assert len(terms) > 120_000
    assert _tokens_of_fts5(terms) == [[term] for term in terms]


def test_the_safe_characters_are_not_folded_away() -> None:
    # Unless the class holds what folding produces, everyday words would be encoded needlessly.
    for text in ("zero9", "σισυφος", "ключ", "שלום", "كتاب", "检索", "がく", "カー", "한국"):
        assert all(_SAFE.fullmatch(term) for term in index_terms(text))


@given(st.text(max_size=60))
def test_any_text(text: str) -> None:
    found_words = list(words(text))
    assert [word.start for word in found_words] == sorted(word.start for word in found_words)
    assert all(0 <= word.start < word.end <= len(text) for word in found_words)
    assert set(query_terms(text)) <= {word.term for word in found_words}
    assert bool(query_terms(text)) == bool(found_words)
    terms = index_terms(text)
    assert _tokens_of_fts5(terms) == [[term] for term in terms]
    marked = matching_words(text, text)
    assert all(a.end <= b.start for a, b in itertools.pairwise(marked))


@given(st.text(alphabet="ab1é国水한국น้ำ-_.,()'@ \n", max_size=30))
def test_a_text_finds_itself(text: str) -> None:
    stop = {word.term for word in words(text) if word.kind == "stop"}
    assert set(query_terms(text)) <= set(index_terms(text)) | stop


@given(st.text(alphabet="ab1é国水한국น้ำ-_.,()'@ \n", max_size=30))
def test_a_phrase_has_the_terms_of_its_text(text: str) -> None:
    forms = phrase_forms(text)
    terms = index_terms(text)
    assert forms[:1] == ([tuple(terms)] if terms else [])
    assert len(set(forms)) == len(forms) <= 27


def test_a_phrase_with_codes_has_several_forms() -> None:
    assert phrase_forms("use AC-2 or e-mail") == [
        (*use, *email)
        for use in (["us", "ac2", "ac", "2"], ["us", "ac2"], ["us", "ac", "2"])
        for email in (["email", "e", "mail"], ["email"], ["e", "mail"])
    ]
    assert len(phrase_forms("A-1 B-2 C-3")) == 27
    assert len(phrase_forms("A-1 B-2 C-3 D-4")) == 1
    assert phrase_forms("") == phrase_forms("to be or not") == []


def test_long_words_are_cut_alike_and_in_linear_time() -> None:
    blob = "Q" * 300_000
    (term,) = index_terms(blob)
    assert term == "q" * 64
    assert len(index_terms("a-" * 100_000)) == 1
    assert len(index_terms("1.2(3)" * 20_000)) > 20_000


def test_threads_get_the_same_terms() -> None:
    text = " ".join(
        f"relationa{chr(97 + n % 26)}izationing{n}ational hopping{'x' * n}s" for n in range(300)
    )
    expected = [word.term for word in words(text)]
    from retriever.text import analyzer as terms

    terms._term.cache_clear()
    with ThreadPoolExecutor(8) as pool:
        results = list(pool.map(lambda _: [word.term for word in words(text)], range(16)))
    assert all(result == expected for result in results)


def test_a_title_is_indexed_twice_and_no_phrase_crosses_the_boundary() -> None:
    found = passage_terms("Annual reports", "What the board said", "en")
    assert collections.Counter(found) == collections.Counter(
        ["annual", "report"] * 2 + ["what", "board", "said", BOUNDARY]
    )
    pairs = list(itertools.pairwise(found))
    assert pairs.count(("annual", "report")) == 2
    assert ("report", "annual") not in pairs
    assert ("said", "annual") not in pairs
    assert passage_terms(" ", "What the board said") == index_terms("What the board said")


def test_no_word_has_the_boundary_for_a_term() -> None:
    for text in ("ø", "Ø", "ø ø", "Søren's øl", "øøø"):
        for language in ("", "da", "no"):
            assert BOUNDARY not in index_terms(text, language)
