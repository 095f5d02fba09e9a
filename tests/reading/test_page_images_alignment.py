"""Alignment of text and drawn characters: against known edits, and a longest common match."""

from __future__ import annotations

import random
import string
from difflib import SequenceMatcher

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as some

from retriever.reading.page_images.alignment import Box, Characters, Placement, align

WORDS = random.Random(7)


def sentence(count: int) -> str:
    made = (
        "".join(WORDS.choices(string.ascii_lowercase, k=WORDS.randint(1, 9))) for _ in "x" * count
    )
    return " ".join(made)


def laid_out(*lines: tuple[float, float, str], upright: bool = True) -> Characters:
    """Letters 5 points wide and 10 high on 200 by 100 points; each line has its left and top."""
    letters, boxes = "", []
    for left, top, text in lines:
        letters += text + "\n"
        for at, _ in enumerate(text + "\n"):
            along = 5.0 * at
            if upright:
                boxes.append((left + along, top, left + along + 5, top + 10))
            else:
                boxes.append((left, top + along, left + 10, top + along + 5))
    stands = np.full(len(letters), upright)
    return Characters(letters, np.array(boxes, dtype=np.float32), stands, 200.0, 100.0)


def same_letters(text: str, drawn: str) -> None:
    """Paired letters are equal, and no drawn letter is paired twice."""
    at = align(text, drawn)
    known = [(here, there) for here, there in enumerate(at.tolist()) if there >= 0]
    assert all(text[here] == drawn[there] for here, there in known)
    assert len({there for _, there in known}) == len(known)


@settings(deadline=None)
@given(some.text(alphabet="abc de", max_size=60), some.text(alphabet="abc de", max_size=60))
def test_only_equal_letters_are_paired_each_once(text: str, drawn: str) -> None:
    same_letters(text, drawn)


@settings(deadline=None)
@given(some.text(max_size=80))
def test_a_text_is_at_its_own_places(text: str) -> None:
    at = align(text, text)
    blank = [c.isspace() or c in "-\u2010\u2011\u00ad\x02\x00\ufffe\uffff" for c in text]
    ascii_only = [here for here, c in enumerate(text) if c.isascii() and not blank[here]]
    assert all(at[here] == here for here in ascii_only)
    assert all(at[here] == -1 for here, skipped in enumerate(blank) if skipped)


def test_columns_drawn_line_by_line_across_are_found() -> None:
    left = [sentence(6) for _ in range(12)]
    right = [sentence(6) for _ in range(12)]
    text = "\n".join([*left, *right])
    drawn = "\n".join(f"{one} {other}" for one, other in zip(left, right, strict=True))
    at = align(text, drawn)
    for here, letter in enumerate(text):
        if not letter.isspace():
            row, column = divmod(text.count("\n", 0, here), 12)
            line = drawn.split("\n")[column]
            begin = sum(len(other) + 1 for other in drawn.split("\n")[:column])
            side = line.index((left, right)[row][column])
            inside = here - text.rindex("\n", 0, here) - 1 if "\n" in text[:here] else here
            assert at[here] == begin + side + inside


def test_what_the_page_does_not_show_has_no_place() -> None:
    drawn = sentence(80)
    text = f"{drawn[:200]}\nname of the applicant: Zoë Quux 1984\n{drawn[200:]}"
    at = align(text, drawn)
    assert [there for there in at if there >= 0] == [
        here for here, letter in enumerate(drawn) if not letter.isspace()
    ]


def test_joined_words_ligatures_accents_and_repeated_lines_are_found() -> None:
    text = "Information\nabout the efficient café. Total 5 Total 5 Total 5"
    drawn = (
        "Infor\x02\r\nmation about the e\ufb03cient cafe\u0301.\r\nTotal 5\r\nTotal 5\r\nTotal 5"
    )
    at = align(text, drawn)
    assert all(at[here] >= 0 for here, letter in enumerate(text) if not letter.isspace())
    assert at[text.index("mation")] == drawn.index("mation")
    assert at[text.index("ffi")] == at[text.index("ffi") + 2] == drawn.index("\ufb03")
    assert at[text.index("é")] == drawn.index("e\u0301")
    blocks = SequenceMatcher(None, "5T5T5", "5T5T5", autojunk=False).get_matching_blocks()
    assert blocks[0].size == 5
    assert sorted(at[-21:][at[-21:] >= 0]) == at[-21:][at[-21:] >= 0].tolist()


def test_another_text_has_no_place() -> None:
    at = align("Völlig anders geschrieben, nichts davon.", string.digits * 40)
    assert (at < 0).all()


def test_lines_are_boxes_in_shares_a_tenth_less_high() -> None:
    place = Placement("ab cd\nef", laid_out((10, 20, "ab cd"), (10, 31, "ef")))
    one, other = place.boxes(0, 8)
    assert one == Box(10 / 200, 21 / 100, 35 / 200, 29 / 100)
    assert other == Box(10 / 200, 32 / 100, 20 / 200, 40 / 100)
    assert place.boxes(3, 4) == [Box(25 / 200, 21 / 100, 30 / 200, 29 / 100)]
    assert place.boxes(2, 3) == []
    assert place.weighted_boxes([(0, 2, 0.5), (6, 8, -1.0)]) == [
        (Box(0.05, 0.21, 0.1, 0.29), 0.5),
        (Box(0.05, 0.32, 0.1, 0.40), -1.0),
    ]


def test_cells_far_apart_are_boxes_of_their_own() -> None:
    place = Placement("one two", laid_out((10, 20, "one"), (120, 20, "two")))
    assert [box.left for box in place.boxes(0, 7)] == [0.05, 0.6]


def test_text_that_runs_upwards_is_one_box() -> None:
    place = Placement("upwards", laid_out((50, 10, "upwards"), upright=False))
    assert place.boxes(0, 7) == [Box(51 / 200, 0.1, 59 / 200, 0.45)]


def test_characters_without_a_place_are_left_out() -> None:
    drawn = laid_out((10, 20, "abc"))
    drawn.boxes[1] = (np.nan, 0, 0, 0)
    assert Placement("abc", drawn).boxes(1, 2) == []
    assert len(Placement("abc", drawn).boxes(0, 3)) == 1
