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

from retriever.storage.filters import Words
from retriever.text import analyzer
from retriever.text.analyzer import (
    BOUNDARY,
    content_terms,
    count_term,
    index_terms,
    matching_words,
    passage_terms,
    phrase_forms,
    query_terms,
    query_words,
    words,
)
from retriever.text.words import _SAFE


def found(query: str, text: str, language: str = "") -> bool:
    """Whether the text has every word of the query in one of its spellings; runs count as words."""
    terms = index_terms(text, language)
    asked = query_words(query, [language] if language else [])
    return bool(asked) and all(
        any(count_term(terms, term) for term in (*word.terms, *(one for one, _ in word.others)))
        for word in asked
    )


def has_phrase(phrase: str, text: str, language: str = "") -> bool:
    """Whether the filter for a phrase accepts the text."""
    return Words(phrase).matches({"$text": text, "$language": language})


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
        ("hepatitis A", "hepatitis, a disease"),
        ("v2.3.1", "v23.1"),
        ("103", "10³"),
        ("110", "1.10"),
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


def test_index_keeps_order_and_repetitions_and_marks_stop_words() -> None:
    assert index_terms("The cat, THE dog and cats") == [
        *("theø0", "cat", "theø0", "dog", "andø0", "cat")
    ]
    assert content_terms(index_terms("The cat, THE dog and cats")) == ["cat", "dog", "cat"]


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
        ("AC", 2),
    ]
    city, cities, _ = query_words("City, city, cities, tree", ["de"])
    assert (city.typed, city.times, cities.times) == ("City", 2, 1)


def test_query_terms_fall_back_only_when_nothing_else_is_there() -> None:
    assert query_terms("to be or not to be") == ["toø0", "beø0", "orø0", "notø0"]
    assert query_words("to be or not to be")[-1].others == (
        ("toø0 beø0 orø0 notø0 toø0 beø0", 1.0),
    )
    assert query_terms("to be a cat") == ["cat"]
    assert query_terms("what is a cat") == ["cat"]
    assert query_terms("who are they") == ["who", "areø0", "theyø0"]
    assert query_terms("A") == ["aø0"]
    assert query_terms("7") == ["7"]
    for nothing in ("", "  \n", "?!… — 😀", "\u0301\u200b"):
        assert query_terms(nothing) == []


def test_it_the_technology_is_no_stop_word() -> None:
    assert content_terms(index_terms("IT is what it is")) == ["it", "what"]


def test_a_letter_behind_a_word_is_a_name() -> None:
    assert index_terms("Vitamin A is a vitamin. I know, as A does")[1] == "a"
    assert index_terms("A vitamin. A test, a word")[::2] == ["aø0", "aø0", "aø0"]
    (vitamin, named) = query_words("vitamin A")
    assert vitamin.terms == ("vitamin",)
    assert named.others == (("vitamin a", 1.0),)
    assert query_words("vitamin a")[1].others == (("vitamin a", 1.0), ("vitamin aø0", 0.7))
    assert query_terms("what may I eat with a vitamin") == ["mai", "eat", "vitamin"]


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
    assert [(word.typed, word.terms) for word in query_words("AC-2")] == [
        ("AC-2", ()),
        ("AC", ("ac",)),
    ]
    assert "2" in index_terms("AC-2")


def test_a_stop_word_is_marked_only_where_it_is_part_of_a_word() -> None:
    text = "access to the company, in person; access to resources"
    found = [text[w.start : w.end] for w in matching_words(text, "access to resources")]
    assert found == ["access", "access", "resources"]
    found = [text[w.start : w.end] for w in matching_words(text, "in-person")]
    assert found == ["in", "person"]


def test_a_chain_binds_the_word_behind_it() -> None:
    """So that the one-time password is not any password that is used one time."""
    (run, _, _, bound, _) = query_words("one-time passwords")
    assert (run.typed, bound.typed) == ("one-time", "one-time passwords")
    assert [term for term, _ in bound.others] == ["onetim password", "on time password"]
    loose = [word for word in query_words("one time passwords") if word.needs]
    assert [(word.typed, word.needs) for word in loose[:2]] == [
        ("one time", ("onetim",)),
        ("one time passwords", ("onetim",)),
    ]
    assert [term for term, _ in loose[1].others] == ["onetim password", "on time password"]
    assert not [word for word in query_words("the rapist") if word.needs]


def test_a_word_counts_as_often_as_the_query_has_it() -> None:
    assert [(word.typed, word.times) for word in query_words("cats, a Cat and dogs")] == [
        ("cats", 2),
        ("dogs", 1),
    ]


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
        assert all(_SAFE.fullmatch(term) for term in content_terms(index_terms(text)))


@given(st.text(max_size=60))
def test_any_text(text: str) -> None:
    found_words = list(words(text))
    assert [word.start for word in found_words] == sorted(word.start for word in found_words)
    assert all(0 <= word.start < word.end <= len(text) for word in found_words)
    named = {"a", "i"}  # the last letter of a query
    assert set(query_terms(text)) <= {word.term for word in found_words} | named
    assert bool(query_words(text)) == bool(found_words)
    terms = index_terms(text)
    assert _tokens_of_fts5(terms) == [[term] for term in terms]
    assert all(has_phrase(text, text) for _ in terms[:1])
    marked = matching_words(text, text)
    assert all(a.end <= b.start for a, b in itertools.pairwise(marked))


@given(st.text(alphabet="ab1é国水한국น้ำ-_.,()'@ \n", max_size=30))
def test_a_text_finds_itself(text: str) -> None:
    assert found(text, text) == bool(query_words(text))


@given(st.text(alphabet="ab1é国水한국น้ำ-_.,()'@ \n", max_size=30))
def test_a_phrase_has_the_terms_of_its_text(text: str) -> None:
    forms = phrase_forms(text)
    terms = index_terms(text)
    pieces = terms[: terms.index(BOUNDARY)] if BOUNDARY in terms else terms
    assert forms[:1] == ([tuple(pieces)] if pieces else [])
    assert len(set(forms)) == len(forms) <= 27


def test_a_phrase_with_codes_has_several_forms() -> None:
    assert phrase_forms("use AC-2 or e-mail") == [
        (*use, "orø0", *email)
        for use in (["us", "ac", "2"], ["us", "ac2"])
        for email in (["e", "mail"], ["email"])
    ]
    assert len(phrase_forms("A-1 B-2 C-3")) == 8
    assert len(phrase_forms("A-1 B-2 C-3 D-4 E-5")) == 1
    assert phrase_forms("") == []
    assert phrase_forms("to be") == [("toø0", "beø0")]


WRITTEN_ALIKE = [
    ["multi-factor", "multifactor", "Multi‑Factor", "multi-\nfactor"],
    ["re-authentication", "reauthentication", "re-\n  authentication"],
    ["AC-2", "AC2", "ac2"],
    ["ISO 27001", "ISO27001", "ISO-27001", "iso 27001"],
    ["64bit", "64-bit", "64 bit", "64 bits"],
    ["800-63B", "80063B"],
    ["16 GB", "16GB", "16-GB"],
    ["getUserById", "get_user_by_id", "get user by id", "GetUserByID"],
    ["parseHTTPResponse", "parse_http_response"],
    ["XMLHttpRequest", "xmlhttprequest"],
    ["WiFi", "wi-fi", "wifi", "Wi-Fi"],
    ["Node.js", "nodejs"],
    ["TCP/IP", "tcpip"],
    ["e-mail", "email", "E-Mail"],
    ["O'Neill", "ONeill", "oneill", "O’Neill"],
    ["12 500", "12500", "12,500", "12'500", "12\u202f500", "12’500", "12\u00a0500"],
    ["CO₂", "CO2"],
    ["m²", "m2"],
    ["covid-19", "covid19", "Covid 19"],
    ["FY2024", "FY 2024"],
    ["U.S.", "US"],
    ["Müller", "Mueller"],
    ["Müller", "muller"],
    ["Hawaiʻi", "Hawai'i", "Hawaii"],
    ["Qurʾān", "quran"],
    ["بـيت", "بيت"],
    ["می‌شود", "می شود"],
    ['צה"ל', "צהל"],
    ["हिन्दी", "हिंदी"],
]


@pytest.mark.parametrize("spellings", WRITTEN_ALIKE, ids=lambda spellings: spellings[0])
def test_spellings_of_one_word_find_each_other(spellings: list[str]) -> None:
    for query, written in itertools.permutations(spellings, 2):
        text = f"They wrote {written} there."
        terms = index_terms(text)
        asked = query_words(query)
        runs = [word for word in asked if not word.terms] or asked
        for word in runs:
            spelt = (*word.terms, *(term for term, _ in word.others))
            assert any(count_term(terms, term) for term in spelt), (query, written, spelt, terms)
        assert has_phrase(query, text), (query, written)
        assert not has_phrase(f"there {query}", text)


@pytest.mark.parametrize(
    ("query", "text"),
    [
        ("10.20.30.1", "reached in the subnet 10.20.30.1/16."),
        ("10.20.30", "reached in the subnet 10.20.30.1/16."),
        ("4.1.2", "Clause 4.1.2-4.1.5 governs"),
        ("2024-03-12", "Meeting at 2024-03-12T10:30 in room 4."),
        ("2024-05-09", "from 2024-05-03/2024-05-09 on"),
        ("2.5 Nm", "a torque of 2.5-3.5 Nm or 2.5 Nm"),
        ("1.2.3", "/srv/data/2024_05/report_v1.2.3_final.pdf"),
        ("report_v1.2.3_final", "/srv/data/2024_05/report_v1.2.3_final.pdf"),
        ("KX-200", "Order codes KX-100/KX-200/KX-300"),
        ("KX200", "Order codes KX-100/KX-200/KX-300"),
        ("v2.3.1", "Release 2.3.1 repairs"),
        ("2.3.1", "Release v2.3.1 repairs"),
        ("DIN 6800-2.1", "DIN6800-2.1/DIN6800-2.2"),
        ("treaty", "The treaty1 on lobsters"),
        ("armistice", "The armistice¹ of the fishermen²"),
        ("Kowalczyk", "Kowalczyk1,2"),
        ("transportation", "the trans-\nportation of whales"),
        ("welcome letter", "def sendWelcomeLetter(self)"),
        ("you tube", "YouTube"),
        ("in-person", "seen in person"),
        ("in person", "an in-person meeting"),
        ("hepatitis A", "Hepatitis A is passed on"),
        ("world war I", "World War I began"),
        ("rm -rf", "type rm -rf and its name"),
        ("to be or not to be", "he asked: to be or not to be?"),
        ("multifactor authentication", "a multi-factor authentication"),
        ("whale transportation", "of whale trans-\nportation"),
    ],
)
def test_a_part_of_a_longer_run_is_a_phrase_of_it(query: str, text: str) -> None:
    assert has_phrase(query, text)
    assert any(
        count_term(index_terms(text), term)
        for word in query_words(query)
        for term in (*word.terms, *(one for one, _ in word.others))
    )


@pytest.mark.parametrize(
    ("query", "text", "language"),
    [
        ("مكتبة", "ذهبت إلى المكتبة", "ar"),
        ("ירושלים", "גרנו בירושלים", "he"),
        ("12500", "Es kostet 12.500 Euro", "de"),
        ("12,500", "Es kostet 12.500 Euro", "de"),
        ("3,5", "genau 3,5 kg", "de"),
        ("loreal", "chez L’Oréal", "fr"),
        ("homme", "l’homme", "fr"),
    ],
)
def test_spellings_of_other_languages(query: str, text: str, language: str) -> None:
    assert found(query, text, language)


def test_a_decimal_number_is_no_thousand() -> None:
    assert "3500" not in index_terms("3,500 kg", "de")
    assert index_terms("3,500 kg") == ["3500", "kg"]


@pytest.mark.parametrize(
    ("phrase", "text"),
    [
        ("hepatitis A", "Hepatitis B and a cold"),
        ("hepatitis A", "hepatitis, a disease"),
        ("terms of use", "terms use"),
        ("nowhere else", "now here else"),
        ("multifactor authentication", "multi factor authentication"),  # joined by no hyphen
        ("1.2.3", "1.2.4 and 3"),
        ("AC-21", "AC-2(1)"),
        ("10.20.30.1", "10.20.30.12"),
        ("lobsters treaty", "treaty of lobsters"),
    ],
)
def test_a_phrase_matches_nowhere_else(phrase: str, text: str) -> None:
    assert not has_phrase(phrase, text)


PLAIN = ("whale", "harbour", "the", "of", "stone", "lantern", "in", "river")
PARTS = ("whale", "stone", "lantern", "harbour", "ox", "77", "4", "500", "B")


@given(
    st.lists(st.sampled_from(PLAIN), max_size=12),
    st.lists(st.sampled_from(PLAIN), min_size=1, max_size=3),
)
def test_a_phrase_matches_where_its_words_stand_side_by_side(
    text: list[str], phrase: list[str]
) -> None:
    starts = range(len(text) - len(phrase) + 1)
    side_by_side = any(text[at : at + len(phrase)] == phrase for at in starts)
    assert has_phrase(" ".join(phrase), " ".join(text)) == side_by_side


@given(
    st.lists(st.sampled_from(PARTS), min_size=2, max_size=4),
    st.sampled_from(["-", "/", "_", ".", "\u2011", "\u2013"]),
)
def test_a_chain_is_found_as_written_by_its_parts_and_joined(parts: list[str], joiner: str) -> None:
    chain = joiner.join(parts)
    text = f"Then came {chain} again."
    assert found(chain, text)
    assert has_phrase(chain, text)
    assert has_phrase(" ".join(parts), text)
    assert has_phrase(f"came {chain} again", text)
    assert not has_phrase(f"again {chain}", text)
    for part in parts:
        assert has_phrase(part, text)
    numbers = any(a[-1].isdigit() and b[0].isdigit() for a, b in itertools.pairwise(parts))
    if not numbers:  # 4-77 and 47-7 would be the same
        assert has_phrase("".join(parts), text)


def test_long_words_are_cut_alike_and_in_linear_time() -> None:
    blob = "Q" * 300_000
    (term,) = index_terms(blob)
    assert term == "q" * 64
    assert len(index_terms("a-" * 100_000)) == 100_002
    assert len(index_terms("1.2(3)" * 20_000)) > 20_000


def test_threads_get_the_same_terms() -> None:
    text = " ".join(
        f"relationa{chr(97 + n % 26)}izationing{n}ational hopping{'x' * n}s" for n in range(300)
    )
    expected = [word.term for word in words(text)]
    from retriever.text import words as cached

    cached._term.cache_clear()
    cached._analysed.cache_clear()
    with ThreadPoolExecutor(8) as pool:
        results = list(pool.map(lambda _: [word.term for word in words(text)], range(16)))
    assert all(result == expected for result in results)


def test_a_title_is_indexed_twice_and_no_phrase_crosses_the_boundary() -> None:
    found = passage_terms("Annual reports", "What board said", "en")
    assert collections.Counter(found) == collections.Counter(
        ["annual", "report"] * 2 + ["what", "board", "said", BOUNDARY]
    )
    pairs = list(itertools.pairwise(found))
    assert pairs.count(("annual", "report")) == 2
    assert ("report", "annual") not in pairs
    assert ("said", "annual") not in pairs
    assert ("report", "what") in pairs  # a phrase may go on from the title
    assert passage_terms(" ", "What the board said") == index_terms("What the board said")


def test_joined_forms_are_no_part_of_a_phrase() -> None:
    terms = passage_terms("Log-in", "A multi-factor and a one-time code")
    assert count_term(terms, "multifactor") == count_term(terms, "onetim") == 1
    assert count_term(terms, "login") == 2
    assert not count_term(terms, "multifactor onetim")


def test_no_word_has_the_boundary_for_a_term() -> None:
    for text in ("ø", "Ø", "ø ø", "Søren's øl", "øøø"):
        for language in ("", "da", "no"):
            assert BOUNDARY not in [word.term for word in words(text, language)]
