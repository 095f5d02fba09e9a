"""What a library says of a file, as the end of a sentence for the user."""

from __future__ import annotations

VERSION = 1


def said(error: BaseException, most: int = 200) -> str:
    r"""An error's words on one line, at most so many characters; its kind if it has none.

    >>> said(ValueError("no\n  trailer")), said(KeyError())
    ('no trailer', 'KeyError')
    """
    return " ".join(str(error).split())[:most] or type(error).__name__
