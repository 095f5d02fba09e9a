"""A library's error message as the end of a sentence for the user."""

from __future__ import annotations


def error_text(error: BaseException, max_length: int = 200) -> str:
    r"""The message on one line, at most `max_length` characters; the error's type if it is empty.

    >>> error_text(ValueError("no\n  trailer")), error_text(KeyError())
    ('no trailer', 'KeyError')
    """
    return " ".join(str(error).split())[:max_length] or type(error).__name__
