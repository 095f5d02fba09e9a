"""Near-duplicates: which passages are and, above all, which are not."""

from __future__ import annotations

import random
import re
import unicodedata

import pytest

from retriever.searching.near_duplicates import FingerprintIndex, fingerprint

FORM = (
    "The organization reviews the list of persons with access to the facility every {} days, "
    "removes those who no longer need it, and keeps a record of {} for {}. Control {} is "
    "{}implemented by the {} office, which reports to {} and costs {} a year. "
) + "Everything else in this form is the same in every copy of it, word for word. " * 6
USUAL = ("30", "visits", "two years", "AC-2", "", "north", "Ada Lovelace", "$400")


def repeats(one: str, other: str) -> bool:
    return fingerprint(one).repeats(fingerprint(other))


def form(**changes: str) -> str:
    values = list(USUAL)
    for place, value in changes.items():
        values[int(place[1:])] = value
    return FORM.format(*values)


@pytest.mark.parametrize(
    "changes",
    [
        {"_0": "60"},
        {"_0": "30.5"},
        {"_0": "-30"},
        {"_0": "≥ 30"},
        {"_2": "three years"},
        {"_3": "AC-3"},
        {"_3": "AC-2(1)"},
        {"_3": "IA-2"},
        {"_4": "not "},
        {"_4": "never "},
        {"_6": "Grace Lovelace"},
        {"_6": "Ada Hopper"},
        {"_7": "€400"},
        {"_7": "$400 000"},
    ],
    ids=str,
)
def test_a_different_particular_makes_two_passages(changes) -> None:
    assert not repeats(form(), form(**changes))
    assert not repeats(form(**changes), form())


def test_figures_that_change_places_make_two_passages() -> None:
    frame = (
        "The first wall is {} m high and the other one {} m, as is said below. " + "We know. " * 40
    )
    assert not repeats(frame.format(3, 5), frame.format(5, 3))
    assert repeats(frame.format(3, 5), frame.format(3, 5))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("It is 5 °C.", "It is -5 °C."),
        ("It rose by 5 %.", "It rose by 5."),
        ("三月的会议在北京举行。", "四月的会议在北京举行。"),
        ("我们同意这个计划。", "我们不同意这个计划。"),
        ("Das ist ein Mangel.", "Das ist kein Mangel."),
        ("You do it.", "You don't it."),
        ("Plan A holds.", "Plan B holds."),
        ("٣ أيام للرد على الطلب", "٤ أيام للرد على الطلب"),
        ("😀", "😢"),
        ("Chapter IV begins.", "Chapter VI begins."),
    ],
)
def test_short_texts_that_differ_in_a_particular(one, other) -> None:
    assert not repeats(one, other)
    assert not repeats(other, one)
    assert repeats(one, one)


@pytest.mark.parametrize(
    "set_otherwise",
    [
        lambda text: text.replace(" ", "\n"),
        lambda text: text.replace("organization", "organi-\nzation"),
        lambda text: text.replace("organization", "organi\u00adzation"),
        lambda text: text.replace("office", "oﬃce"),
        lambda text: text.replace(", ", " – ").replace(". ", ".\n• "),
        lambda text: unicodedata.normalize("NFD", text),
        lambda text: text + " And so on.",
    ],
    ids=["lines", "hyphen", "soft hyphen", "ligature", "bullets", "decomposed", "an end"],
)
def test_the_same_set_in_another_way_is_a_duplicate(set_otherwise) -> None:
    assert repeats(form(), set_otherwise(form()))


def test_one_ordinary_word_in_sixty_may_differ() -> None:
    assert repeats(form(_1="visits"), form(_1="guests"))
    short = "The list is reviewed and old entries are removed by the office."
    assert not repeats(short, short.replace("removed", "kept"))


def test_a_heading_in_a_longer_passage_is_no_duplicate() -> None:
    heading = "access to the facility"
    assert heading in form()
    assert not repeats(heading, form())
    assert not repeats(form(), heading)


def test_what_says_more_is_no_duplicate_of_what_says_less() -> None:
    more = form() + "And there is a last sentence that only the second version of it has."
    assert repeats(form(), more)
    assert not repeats(more, form())


def test_runs_are_contained_as_counted_by_hand() -> None:
    rng = random.Random(5)
    words = [chr(97 + n) * 3 for n in range(26)]
    decided = set()
    for _ in range(300):
        one = [rng.choice(words) for _ in range(rng.randint(3, 60))]
        other = list(one)
        for _ in range(rng.randint(0, 2)):
            other[rng.randrange(len(other))] = rng.choice(words)
        other += [rng.choice(words) for _ in range(rng.randint(0, 40))]
        first, second = ({tuple(t[i : i + 3]) for i in range(len(t) - 2)} for t in (one, other))
        expected = len(first & second) / len(first) >= 0.95 and 2 * len(first) >= len(second)
        assert repeats(" ".join(one), " ".join(other)) == expected
        decided.add(expected)
    assert decided == {True, False}


def test_the_first_owner_is_told_and_can_hand_over() -> None:
    seen: FingerprintIndex[list[str]] = FingerprintIndex()
    first, second = ["first"], ["second"]
    seen.add(fingerprint(form()), first)
    seen.add(fingerprint("Something else."), second)
    assert seen.owner(fingerprint(form().upper().lower())) is None, (
        "names in small letters are others"
    )
    assert seen.owner(fingerprint(re.sub(r"\s+", "  ", form()))) is first
    assert seen.owner(fingerprint("Nothing of it.")) is None
    seen.reassign(first, second)
    assert seen.owner(fingerprint(form())) is second
