r"""Path patterns: `*` and `?` stay within a folder, `**` crosses folders, `[a-z]` is one character.

Python 3.11 has only `fnmatch` (whose `*` crosses `/`) and `Path.match` (without `**`), so this
module translates patterns to regular expressions itself. Matching takes linear time in practice:
every star but the last is atomic (`(?>…)`), because the leftmost match of what follows a star is
as good as any later one.

Pattern and path are compared in the Unicode form NFC: file systems and archives of macOS spell "ü"
as two characters. The case of a file's ending does not count: `*.pdf` matches `REPORT.PDF`.
"""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache
from pathlib import PurePosixPath

# Without stars and sets, and without the three characters that the form NFC makes of others.
_LITERAL = re.compile(r"[^*?\[K;`\x7f-\U0010ffff]+")


def glob_matches(pattern: str, path: str) -> bool:
    """Whether the whole path matches; a pattern without `/` is matched against the file's name.

    >>> glob_matches("reports/**/*.pdf", "reports/a.pdf"), glob_matches("*.pdf", "reports/a.pdf")
    (True, True)
    >>> glob_matches("reports/*.pdf", "reports/2024/a.pdf")
    False
    """
    name = path if "/" in pattern else path.rsplit("/", 1)[-1]
    return _compiled(pattern).fullmatch(unicodedata.normalize("NFC", name)) is not None


def literal_beginning(pattern: str) -> str:
    """ASCII characters with which every path begins that a pattern matches; often empty.

    >>> literal_beginning("reports/2024/*.pdf"), literal_beginning("*.pdf")
    ('reports/2024/', '')
    """
    if "/" not in pattern:
        return ""
    found = _LITERAL.match(unicodedata.normalize("NFC", pattern))
    beginning = found[0] if found else ""
    # The case of an ending does not count.
    return beginning.rpartition(".")[0] if "." in beginning else beginning


def selects(pattern: str, path: str, *, within: bool = True) -> bool:
    """Whether a pattern selects a file, read as a line of .gitignore is.

    A pattern without an inner `/` is a name at any depth, any other one begins at the root. A
    folder stands for all files in it, and with a `/` at its end a pattern means folders alone. If
    `within` is false, a pattern such as `docs/*` does not reach into the folders that it matches.

    >>> selects("drafts", "a/drafts/b.txt"), selects("./drafts/", "drafts/b.txt")
    (True, True)
    >>> selects("/drafts", "a/drafts/b.txt"), selects("drafts/", "a/drafts")
    (False, False)
    """
    body = pattern
    while body.startswith("./"):
        body = body[2:]
    anchor = "/" if body != pattern or "/" in body.rstrip("/") else ""
    folders_only = body.endswith("/")
    body = body.strip("/")
    if not body:
        return False
    reaches = within or folders_only or not any(c in "*?[" for c in body.rsplit("/", 1)[-1])
    folders = PurePosixPath(path).parents[:-1] if reaches else ()
    several = [*([] if folders_only else [path]), *map(str, folders)]
    return any(glob_matches(anchor + body, anchor + each) for each in several)


@lru_cache(maxsize=256)
def _compiled(pattern: str) -> re.Pattern[str]:
    tokens = _tokens(unicodedata.normalize("NFC", pattern))
    return re.compile(_translated(_with_any_ending(tokens)), re.DOTALL)


def _with_any_ending(tokens: list[str]) -> list[str]:
    """The tokens with the letters of a file's ending, if it is spelled out, in both cases."""
    dot = max((at for at, each in enumerate(tokens) if each == r"\."), default=len(tokens))
    ending = tokens[dot + 1 :]
    if not all(len(token) == 1 and token.isalnum() and token.isascii() for token in ending):
        return tokens
    return [*tokens[: dot + 1], *(f"[{token.lower()}{token.upper()}]" for token in ending)]


def _tokens(pattern: str) -> list[str]:
    """The pattern's tokens: regular expressions, and the stars `*`, `**` and `**/` unchanged.

    >>> _tokens("a*/**/[!b]")
    ['a', '*', '/', '**/', '(?!/)[^b]']
    """
    tokens: list[str] = []
    at = 0
    while at < len(pattern):
        stars = len(pattern) - at - len(pattern[at:].lstrip("*"))
        if stars:
            starts_folder = at == 0 or pattern[at - 1] == "/"
            at += stars
            if stars == 1:
                tokens.append("*")
            elif starts_folder and pattern[at : at + 1] == "/":
                tokens.append("**/")
                at += 1
            else:
                tokens.append("**")
            continue
        token, at = _single(pattern, at)
        tokens.append(token)
    return tokens


def _single(pattern: str, at: int) -> tuple[str, int]:
    """The regular expression of the single-character token at `at`, and where the next starts."""
    if pattern[at] == "?":
        return "[^/]", at + 1
    # A "]" right after "[" or "[!" is a member of the set, not its end.
    body = at + 2 if pattern[at + 1 : at + 2] in ("!", "^") else at + 1
    end = pattern.find("]", body + 1) if pattern[at] == "[" else -1
    if end < 0:
        return re.escape(pattern[at]), at + 1
    members = _members(pattern[body:end])
    if body == at + 2:
        return (f"(?!/)[^{members}]" if members else "[^/]"), end + 1
    return (f"(?!/)[{members}]" if members else "(?!)"), end + 1


def _members(body: str) -> str:
    """The inside of a character class; a reversed range is empty."""
    members = []
    at = 0
    while at < len(body):
        if body[at + 1 : at + 2] == "-" and at + 2 < len(body):
            if body[at] <= body[at + 2]:
                members.append(f"{re.escape(body[at])}-{re.escape(body[at + 2])}")
            at += 3
        else:
            members.append(re.escape(body[at]))
            at += 1
    return "".join(members)


def _translated(tokens: list[str]) -> str:
    """The tokens as one regular expression; a star's group extends to the next star of its kind."""
    return _groups(tokens, ("**", "**/"), {"**": ".*?", "**/": "(?:[^/]*/)*?"}, inner=True)


def _groups(tokens: list[str], stars: tuple[str, ...], gaps: dict[str, str], inner: bool) -> str:
    starts = [i for i, token in enumerate(tokens) if token in stars]
    bounds = [*starts, len(tokens)]
    result = [_fixed(tokens[: bounds[0]], inner)]
    for i, start in enumerate(starts):
        piece = gaps[tokens[start]] + _fixed(tokens[start + 1 : bounds[i + 1]], inner)
        # The last star must be able to backtrack to the end of the path.
        result.append(piece if i == len(starts) - 1 else f"(?>{piece})")
    return "".join(result)


def _fixed(tokens: list[str], inner: bool) -> str:
    return _groups(tokens, ("*",), {"*": "[^/]*?"}, inner=False) if inner else "".join(tokens)


__all__ = ["glob_matches", "selects"]
