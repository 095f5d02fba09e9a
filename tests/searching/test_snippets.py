"""Snippets: the best sentence at the start, readable text after it, what is skipped is told."""

from __future__ import annotations

from retriever.searching.snippets import LENGTH, Snippet, snippet
from retriever.types import Chunk, Excerpt, Hit


def shown(text: str, best: str, length: int = LENGTH) -> Snippet:
    start = text.index(best)
    whole = Chunk("c", "d", "a.md", "md", "", 3, 100, 100 + len(text), text)
    end = start + len(best)
    found = snippet(
        Hit(1, 1.0, whole, sentence=Excerpt(3, "", 100 + start, 100 + end, best)), length
    )
    for one in found.excerpts:
        assert text[one.start - 100 : one.end - 100] == one.text
        assert one.page == 3
    return found


def test_the_best_sentence_is_first_with_what_follows() -> None:
    text = (
        "This sentence is too long to stand before the best one, which has to be seen at once. "
        "Secrets have eight\ncharacters. They may have more."
    )
    found = shown(text, "Secrets have eight\ncharacters.")
    assert found.text == "Secrets have eight characters. They may have more."
    assert found.sentence == "Secrets have eight characters."
    assert [one.text for one in found.excerpts] == [text[text.index("Secrets") :]]


def test_a_short_sentence_before_it_is_shown() -> None:
    found = shown(
        "Here is a rule. Secrets have eight characters.", "Secrets have eight characters."
    )
    assert found.text == "Here is a rule. Secrets have eight characters."
    assert found.start == 16
    # Not a fragment, a heading, or a sentence of another paragraph.
    for before in ("History. ", "## A rule for all\n\n", "Here is a rule.\n\n"):
        found = shown(f"{before}Secrets have eight characters.", "Secrets have eight characters.")
        assert (found.text, found.start) == ("Secrets have eight characters.", 0)


def test_what_cannot_be_read_is_skipped() -> None:
    text = (
        "Secrets have eight characters.\n\n"
        '<prop name="a" uuid="0aa54106-8a63-4953-ac0d-30ff91f8d4ab"/>\n\n'
        "1 Scope ................ 3\n\n## Heading\n\nThey may have more characters.\n\n|---|---|\n"
    )
    found = shown(text, "Secrets have eight characters.")
    assert found.text == "Secrets have eight characters. … They may have more characters. …"
    assert [one.text for one in found.excerpts] == [
        "Secrets have eight characters.",
        "They may have more characters.",
    ]


def test_marks_are_not_shown() -> None:
    text = "See [[Policies]](#policies) in **all** cases, please. [Section 5](#five) has them."
    found = shown(text, "See [[Policies]](#policies) in **all** cases, please.")
    assert found.text == "See Policies in all cases, please. Section 5 has them."
    assert found.sentence == "See Policies in all cases, please."


def test_a_snippet_has_its_length() -> None:
    text = "Secrets have eight characters. " + "They may have more characters than that. " * 30
    for length in (40, 100, LENGTH):
        found = shown(text, "Secrets have eight characters.", length)
        assert found.sentence == "Secrets have eight characters."
        assert length * 0.5 < len(found.text) <= length + 2
        assert found.text.endswith(" …")
    long = "Secrets " + "have very many characters " * 30 + "in all."
    found = shown(f"Rules are made here. {long}", long, 100)
    assert found.text.startswith("Rules are made here. Secrets have very many")
    assert found.text[found.end :] == " …"
    assert len(found.text) <= 102


def test_a_part_of_a_sentence_says_so() -> None:
    text = "The first thing of all, the second thing of all, the third thing of all things."
    found = shown(text, "the second thing of all,")
    assert found.text == "… the second thing of all, …"
    assert found.sentence == "the second thing of all,"


def test_without_a_sentence_there_is_no_snippet() -> None:
    assert snippet(Hit(1, 1.0, Chunk("", "", "", "", "", None, 0, 1, "…"))) == Snippet("", 0, 0)


def test_sentences_without_a_blank_between_them_have_none() -> None:
    text = "苍鹭在湖边筑巢。看守人数到四十七个巢。鳗鱼变得稀少。"
    assert shown(text, "看守人数到四十七个巢。").text == text
