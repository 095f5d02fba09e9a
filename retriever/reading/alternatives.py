"""Several forms of the same text: which of them is read, and what only the others say.

Mails hold a text as plain text and as HTML, notebooks a result as plain text, HTML and LaTeX.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

_FULLER = 3  # times as many words: then the other form is not the same text
_SENTENCE = 10  # different words
_URL = re.compile(r"(?:https?://|www\.|mailto:)[^\s<>\"]+")
_WORD = re.compile(r"[^\W_]+")


def best_form(forms: Sequence[str]) -> int:
    """The number of the form to read: the first, unless it is only a part of another.

    Links count for nothing: a plain form that only points to the HTML may have long ones.

    >>> best_form(["View it: https://example.org/a/b", "The news of the garden in seven words"])
    1
    >>> best_form(["We need more soil.", "We need more soil."])
    0
    """
    words = [_words(form) for form in forms]
    first = next((at for at, form in enumerate(forms) if form.strip()), 0)
    fullest = max(range(len(forms)), key=lambda at: len(words[at]), default=first)
    if fullest == first or not words:
        return first
    said, more = set(words[first]), set(words[fullest])
    much_more = len(words[fullest]) > _FULLER * len(words[first])
    extract = (
        len(more - said) >= max(_SENTENCE, len(said) / 2) and len(said - more) <= len(said) / 10
    )
    return fullest if much_more or extract else first


def is_other_text(form: str, taken: str) -> bool:
    """Whether a form says mostly what the taken form does not: then both are read.

    >>> is_other_text("Three lanterns leave the depot today, by boat, for pier nine.", "See it.")
    True
    >>> is_other_text("The garden is closed", "The garden is closed. Sent from a phone")
    False
    """
    said, more = set(_words(taken)), set(_words(form))
    return len(more - said) >= max(_SENTENCE, len(more) / 2)


def _words(form: str) -> list[str]:
    """The words of a form, without its links."""
    return _WORD.findall(_URL.sub(" ", form).casefold())


def only_in(form: str, taken: str) -> str:
    r"""The lines of a form with words that the taken form has not.

    >>> only_in("The garden\nis closed", "The garden is open.")
    'is closed'
    """
    known = set(_WORD.findall(taken.casefold()))
    lines = (line for line in form.split("\n") if set(_WORD.findall(line.casefold())) - known)
    return "\n".join(lines)


__all__ = ["best_form", "is_other_text", "only_in"]
