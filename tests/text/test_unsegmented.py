"""The ranges of scripts without spaces, against Unicode's own names and categories."""

import re
import sys
import unicodedata

from retriever.searching.near_duplicates import _WORDS
from retriever.text.unsegmented import HANGUL, HANGUL_SYLLABLES, UNSEGMENTED, UNSEGMENTED_LETTERS

SCRIPTS = {
    *("THAI", "LAO", "MYANMAR", "KHMER", "HIRAGANA", "KATAKANA", "KATAKANA-HIRAGANA", "COMBINING"),
    *("HALFWIDTH", "HENTAIGANA", "CJK", "IDEOGRAPHIC", "HANGZHOU", "MASU", "VERTICAL", "BOPOMOFO"),
}


def named(inside: str) -> dict[str, str]:
    """Every assigned character of a character class, with its Unicode name."""
    pattern = re.compile(f"[{inside}]")
    everything = map(chr, range(sys.maxunicode + 1))
    return {
        character: name
        for character in everything
        if pattern.match(character) and (name := unicodedata.name(character, ""))
    }


def test_every_character_is_of_a_script_without_spaces() -> None:
    for inside in (UNSEGMENTED, UNSEGMENTED_LETTERS):
        assert {name.split()[0] for name in named(inside).values()} <= SCRIPTS
    assert {name.split()[0] for name in named(HANGUL).values()} == {"HANGUL", "HALFWIDTH"}
    assert {name.split()[0] for name in named(HANGUL_SYLLABLES).values()} == {"HANGUL"}


def test_letters_are_no_combining_marks() -> None:
    for inside in (UNSEGMENTED_LETTERS, HANGUL):
        assert not [c for c in named(inside) if unicodedata.category(c)[0] == "M"]


def test_letters_of_the_blocks_are_in_both_ranges() -> None:
    letters = named(UNSEGMENTED_LETTERS)
    blocks = {c for c in named(UNSEGMENTED) if unicodedata.category(c) == "Lo"}
    missing = {unicodedata.name(c) for c in blocks - letters.keys()}
    assert missing == set(), sorted(missing)


def test_a_zero_is_a_character_among_characters() -> None:
    assert [match.group() for match in _WORDS.finditer("二〇三 한국 abc")] == [
        *"二〇三한국",
        "abc",
    ]
