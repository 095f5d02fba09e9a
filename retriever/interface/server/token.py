"""The token of a server: from the environment, from a file of its owner, or made anew."""

from __future__ import annotations

import os
import secrets
import stat
from pathlib import Path

from retriever.interface.page_server import TOKEN_VARIABLE
from retriever.types import UsageError

MIN_CHARACTERS = 16


def server_token(file: str = "") -> tuple[str, bool]:
    """The token, and whether it was made now.

    It is the content of `file`, else of the variable WVA_TOKEN, which is removed: child processes
    do not need it. Raises UsageError for a file that others can read, and for a short token.
    """
    from_environment = os.environ.pop(TOKEN_VARIABLE, "")
    if file:
        return _checked(_read(Path(file)), str(file)), False
    if from_environment:
        return _checked(from_environment, TOKEN_VARIABLE), False
    return secrets.token_urlsafe(24), True


def _read(path: Path) -> str:
    try:
        with path.open(encoding="utf-8") as file:
            mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
            if os.name == "posix" and mode & 0o077:
                raise UsageError(
                    f"the token file {str(path)!r} can be read by others: chmod 600 {path}"
                )
            return file.read(4096).strip()
    except (OSError, UnicodeDecodeError):
        raise UsageError(f"the token file {str(path)!r} cannot be read as text") from None


def _checked(token: str, where: str) -> str:
    visible = token.isascii() and token.isprintable() and " " not in token
    if len(token) < MIN_CHARACTERS or not visible:
        raise UsageError(
            f"the token in {where} needs at least {MIN_CHARACTERS} characters, letters, digits and "
            "signs of ASCII without spaces; leave it out to get a random one"
        )
    return token


__all__ = ["server_token"]
