"""How readable a piece of text is: prose, or markup, identifiers and dot leaders.

It serves to choose among sentences, so it is a rough share of what looks like words.
"""

from __future__ import annotations

import re
from functools import lru_cache

_AROUND = "\"'“”‘’«»„()[],.;:!?…*_`。，、！？；：「」『』（）《》•‣·–—-"
_NUMBER = re.compile(r"[$€£¥§~<>±+−-]?\d[\d.,:/–−-]{0,14}[%°]?[a-zA-Z°]{0,3}")
_WORD = re.compile(r"[^\W\d_]+(?:[-’'./&\u00ad‐‑–—,;:]{1,2}[^\W\d_]+)*(?:[’']s)?")
_NAME = re.compile(r"\w+(?:[-./]\w+)*")  # AC-2, SP800-63B
_LONGEST_WORD = 30
_LONGEST_NAME = 12

_LEAST, _MOST = 0.4, 0.8  # shares of words: nothing can be read below, all above
_FEW_WORDS = 4
_FRAGMENT = 0.6  # of a text of fewer words
_NUMBERS = 0.3  # of a text of numbers alone
_WIDE = 2  # characters of a script without spaces that count as a word


def readability(text: str) -> float:
    """From 0 (markup, identifiers, dot leaders) to 1 (a sentence).

    >>> readability("Passwords are at least eight characters long.")
    1.0
    >>> readability('<prop name="id" ns="https://a.b/ns" value="ac-2" />')
    0.0
    >>> readability("1 Scope ................ 3") < 0.2
    True
    """
    tokens = text.split()
    whole = sum(map(len, tokens))
    if not whole:
        return 0.0
    words = [token for token in tokens if _is_word(token)]
    share = sum(map(len, words)) / whole
    found = min(1.0, max(0.0, (share - _LEAST) / (_MOST - _LEAST)))
    count = sum(any(map(str.isalpha, token)) for token in words)
    if count < _FEW_WORDS and not text.isascii():
        count = max(count, sum(letter >= "\u0e00" for letter in text) // _WIDE)
    return found * (1.0 if count >= _FEW_WORDS else _FRAGMENT if count else _NUMBERS)


@lru_cache(maxsize=1 << 14)
def _is_word(token: str) -> bool:
    """Whether something between spaces is a word, a number or a short name such as AC-2."""
    core = token.strip(_AROUND)
    if not core:
        return False
    if not core.isascii() and any(letter >= "\u0e00" for letter in core):
        return 2 * sum(map(str.isalpha, core)) >= len(core)  # a script without spaces
    if _WORD.fullmatch(core):
        return max(map(len, re.split(r"\W", core))) <= _LONGEST_WORD
    if _NUMBER.fullmatch(core):
        return True
    return len(core) <= _LONGEST_NAME and bool(_NAME.fullmatch(core))


__all__ = ["readability"]
