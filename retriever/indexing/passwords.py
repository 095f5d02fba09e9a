"""Which passwords were tried: remembered as marks, so that only a new one is a reason to try again.

A mark is the beginning of a salted, slow hash, four bytes of it: enough to know a password again,
too little to find out which of many guesses was right. The salt belongs to the index.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from functools import cached_property

from retriever.storage.backends import Documents

_MARK_BYTES = 4
_SALT_BYTES = 16


class Passwords:
    """The passwords of one run. Marks are computed when they are first needed: each takes 50 ms."""

    def __init__(self, backend: Documents, passwords: Sequence[str]) -> None:
        self.backend = backend
        self.passwords = tuple(dict.fromkeys(passwords))

    def any_new(self, tried: str) -> bool:
        """Whether the run has a password that is not among the marks `tried`."""
        if not self.passwords or not tried:
            return bool(self.passwords)
        return not self._marks <= set(tried.split("+"))

    def marks(self, tried: str = "") -> str:
        """The marks of the run's passwords and those `tried` before, as one text."""
        known = set(filter(None, tried.split("+")))
        return "+".join(sorted(known | (self._marks if self.passwords else set())))

    @cached_property
    def _marks(self) -> set[str]:
        salt = self.backend.password_salt
        if not salt:
            salt = os.urandom(_SALT_BYTES)
            self.backend.set_password_salt(salt)
        return {_mark(password, salt) for password in self.passwords}


def _mark(password: str, salt: bytes) -> str:
    # A file's name or a pipe may give bytes that are not UTF-8, as lone surrogates.
    text = password.encode("utf-8", "surrogatepass")
    return hashlib.scrypt(text, salt=salt, n=2**14, r=8, p=1, dklen=_MARK_BYTES).hex()


__all__ = ["Passwords"]
