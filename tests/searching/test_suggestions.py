"""Suggestions while typing, compared with a search through all words of a small index."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator

import pytest

from retriever import Document, Index, Page, RetrieverError
from retriever.searching import suggestions
from retriever.text.analyzer import index_terms
from tests.fakes import FakeEmbedder

DOCUMENTS = {
    "policy/access-control.md": (
        "Access Control",
        "Access is granted by policy. Policies name who may access what.",
    ),
    "policy/2024/passwords.md": (
        "Password Policy",
        "A password has eight characters. Passwords are never passed on, passengers have none.",
    ),
    "notes/zurich.md": ("Zürich notes", "Zürich, zur Brücke. The OSCAL format; Utterson wrote it."),
    "notes/état.md": ("", "L'authentification, authentication, authenticator, authenticators."),
    "notes/multi.md": ("", "Multi-factor codes. A multi-factor device. There and then: theory."),
    "Zürich.txt": ("", "Policy of the town. Utterson, again, and passages of the passage."),
}


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Index]:
    folder = tmp_path_factory.mktemp("suggestions")
    with Index.open_or_create(folder, FakeEmbedder()) as opened:
        opened.add(
            Document(path, "md", (Page(None, text),), title=title)
            for path, (title, text) in DOCUMENTS.items()
        )
        yield opened


def words(index: Index, text: str, k: int = 8) -> dict[str, int]:
    return {one.text: one.count for one in index.suggest(text, k) if one.kind == "word"}


def texts(index: Index, text: str, kind: str, k: int = 8) -> list[str]:
    return [one.text for one in index.suggest(text, k) if one.kind == kind]


def plain(text: str) -> str:
    """Without case and accents."""
    apart = unicodedata.normalize("NFD", text.casefold())
    return "".join(letter for letter in apart if not unicodedata.combining(letter))


def brute_force(prefix: str) -> dict[str, set[str]]:
    """The words longer than `prefix` that begin with it → the documents with their term."""
    texts = {path: f"{title} {text}" for path, (title, text) in DOCUMENTS.items()}
    written = {
        word.lower()
        for text in texts.values()
        for word in re.findall(r"[^\W_]+", text)
        if plain(word).startswith(plain(prefix)) and len(word) > len(prefix)
    }
    terms = {path: set(index_terms(text)) for path, text in texts.items()}
    return {
        word: {path for path, has in terms.items() if set(index_terms(word)) <= has}
        for word in written
    }


@pytest.mark.parametrize(
    "prefix", ["p", "pa", "pass", "passw", "Poli", "policie", "acc", "zu", "c"]
)
def test_words_are_those_of_a_search_through_all_texts(index: Index, prefix: str) -> None:
    expected = brute_force(prefix)
    found = words(index, prefix, 30)
    assert {word.lower(): count for word, count in found.items()} == {
        word: len(expected[word]) for word in map(str.lower, found)
    }
    kinds = {frozenset(index_terms(word)) for word in expected}
    assert {frozenset(index_terms(word)) for word in found} == kinds
    assert list(found.values()) == sorted(found.values(), reverse=True)


def test_the_last_word_is_completed_and_those_before_stay(index: Index) -> None:
    assert list(words(index, "Who passes +passw")) == ["Who passes +password"]
    assert words(index, "passw ") == {}


def test_a_word_is_spelled_as_the_documents_spell_it(index: Index) -> None:
    assert words(index, "osc") == {"OSCAL": 1}
    assert words(index, "UTT") == {"Utterson": 2}
    assert "Zürich" in words(index, "zuri")
    assert "policy" in words(index, "POL")
    assert words(index, "multi-fa") == {"multi-factor": 1}


def test_a_beginning_longer_than_the_stem_is_completed(index: Index) -> None:
    assert set(words(index, "authenticat")) == {"authentication", "authenticator"}


def test_function_words_are_not_suggested(index: Index) -> None:
    assert set(words(index, "th", 30)) == {"theory"}
    assert "who" not in words(index, "w", 30)


@pytest.mark.parametrize("text", ["", "  ", "\t", "?!", "type:pd", "page:", "x" * 500])
def test_nothing_is_suggested_for_a_text_without_a_word(index: Index, text: str) -> None:
    assert index.suggest(text) == []


def test_titles_go_on_from_the_start_of_a_word(index: Index) -> None:
    assert texts(index, "access c", "title") == ["Access Control"]
    assert texts(index, "pol", "title") == ["Password Policy"]
    assert texts(index, "ontrol", "title") == []
    assert texts(index, "zurich", "title") == ["Zürich notes"]


@pytest.mark.parametrize(
    ("typed", "expected"),
    [
        ("zur", ['file:"Zürich.txt"', 'file:"notes/zurich.md"']),
        ("notes/mul", ['file:"notes/multi.md"']),
        ("notes", ['file:"notes/"']),
        ("policy", ['file:"policy/"']),
        ("access con", ['file:"policy/access-control.md"']),
        ("who may acc", ['who may file:"policy/access-control.md"']),
        ("file:pol", ['file:"policy/"']),
        ('codes file:"policy/2024/p', ['codes file:"policy/2024/passwords.md"']),
    ],
)
def test_paths_become_the_operator(index: Index, typed: str, expected: list[str]) -> None:
    assert texts(index, typed, "path") == expected


@pytest.mark.parametrize("typed", ["zur", "notes", "policy", "2024", "etat", "passwords"])
def test_a_suggested_path_finds_its_documents_alone(index: Index, typed: str) -> None:
    for one in index.suggest(typed):
        if one.kind == "path":
            place = one.text.removeprefix('file:"').removesuffix('"')
            hits = index.search(one.text, 50, mode="keyword")
            expected = {path for path in DOCUMENTS if path == place or path.startswith(place)}
            assert {hit.chunk.path for hit in hits} == expected
            assert one.count == len(expected)


def test_there_are_as_many_as_asked_for_with_room_for_each_kind(index: Index) -> None:
    for k in (1, 2, 4, 8):
        found = index.suggest("pass", k)
        assert len(found) == min(k, len(index.suggest("pass", 100)))
        assert len(set(found)) == len(found)
    assert {one.kind for one in index.suggest("pass", 4)} == {"word", "title", "path"}


def test_new_documents_are_suggested_at_once(tmp_path) -> None:
    with Index.open_or_create(tmp_path / "index", FakeEmbedder()) as index:
        assert index.suggest("gar") == []
        index.add([Document("garden.md", "md", (Page(None, "A garden."),), title="Garden work")])
        assert [one.kind for one in index.suggest("gar")] == ["word", "title", "path"]
        index.remove(["garden.md"])
        assert index.suggest("gar") == []


def test_a_short_beginning_in_a_large_index_is_completed_from_a_sample(
    index: Index, monkeypatch: pytest.MonkeyPatch
) -> None:
    complete = words(index, "p", 30)
    monkeypatch.setattr(suggestions, "MAX_POSTINGS", 1)
    assert words(index, "p", 30) == complete


def test_a_language_without_spaces_gets_no_words(index: Index) -> None:
    assert index.suggest("東京") == []


@pytest.mark.parametrize("wrong", [None, 5, ["pass"]])
def test_a_wrong_text_is_refused(index: Index, wrong: object) -> None:
    with pytest.raises(RetrieverError, match="the text must be a text"):
        index.suggest(wrong)
