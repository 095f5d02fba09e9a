"""The words of Rich Text: all groups but the tables of fonts, styles and the like."""

from __future__ import annotations

import re

_TOKEN = re.compile(
    r"(?P<open>\{)|(?P<close>\})"
    r"|\\'(?P<byte>[0-9a-fA-F]{2})"
    r"|\\u(?P<sign>-?\d{1,6}) ?"
    r"|\\(?P<word>[a-zA-Z]{1,32})(?P<number>-?\d{1,10})? ?"
    r"|\\(?P<mark>[^a-zA-Z])"
    r"|(?P<text>[^\\{}]+)",
    re.DOTALL,
)
_NO_TEXT = frozenset(
    [
        *["fonttbl", "colortbl", "stylesheet", "info", "pict", "object", "fldinst", "themedata"],
        *[
            "filetbl",
            "listtable",
            "listoverridetable",
            "revtbl",
            "rsidtbl",
            "generator",
            "datastore",
        ],
        *["latentstyles", "colorschememapping", "xmlnstbl", "pntext", "listtext", "bkmkstart"],
        *["bkmkend", "datafield", "formfield", "nonesttables", "pgptbl", "mmathPr", "nonshppict"],
        *["objdata", "objclass", "fchars", "lchars", "panose", "falt", "leveltext", "levelnumbers"],
        *["atnid", "atnauthor", "atntime", "atndate", "atnref", "atnparent", "wgrffmtfilter"],
        *["sp", "sn", "sv", "background", "userprops", "docvar", "xe", "tc", "upr"],
    ]
)
_SHOWN = frozenset(["shptxt", "moMath", "moMathPara", "ud"])  # in groups that are hidden otherwise
_BLANKS = frozenset(
    [
        *["par", "line", "tab", "cell", "row", "sect", "page", "column", "nestcell", "footnote"],
        *["annotation", "header", "headerl", "headerr", "headerf"],
        *["footer", "footerl", "footerr", "footerf"],
    ]
)
_SIGNS = dict(
    [
        *[("emdash", "—"), ("endash", "–"), ("bullet", "•"), ("lquote", "‘"), ("rquote", "’")],
        *[("ldblquote", "“"), ("rdblquote", "”"), ("emspace", " "), ("enspace", " ")],
    ]
)


def rtf_text(source: str) -> str:
    r"""The text of a file that was decoded as Windows-1252.

    >>> rtf_text(r"{\rtf1{\fonttbl{\f0 Arial;}}K\'f6ln \b bold\b0\par \u937?mega{\*\other x}}")
    'Köln bold Ωmega'
    """
    pieces: list[str] = []
    hidden = [False]  # for each open group whether it has no text
    skip, after = [1], 0  # what follows \u, for programs without Unicode
    first = False
    for token in _TOKEN.finditer(source):
        kind = token.lastgroup
        if kind == "open":
            hidden.append(hidden[-1])
            skip.append(skip[-1])
            first = True
            continue
        if kind == "close":
            if len(hidden) > 1:
                hidden.pop()
                skip.pop()
        elif kind == "mark" and token["mark"] == "*" and first:
            hidden[-1] = True
        elif kind in ("word", "number"):
            _control(token, first, hidden, skip, pieces)
        elif not hidden[-1]:
            after = _text(token, after, skip[-1], pieces)
        first = first and (kind == "mark" or not token[0].strip())
    return "".join(pieces).encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _control(
    token: re.Match[str], first: bool, hidden: list[bool], skip: list[int], pieces: list[str]
) -> None:
    word = token["word"]
    if word in _SHOWN:
        hidden[-1] = False
        pieces.append(" " if word == "shptxt" else "")
    elif first and word in _NO_TEXT:
        hidden[-1] = True
    elif word == "uc":
        skip[-1] = int(token["number"] or 1)
    elif not hidden[-1]:
        pieces.append(" " if word in _BLANKS else _SIGNS.get(word, ""))


def _text(token: re.Match[str], after: int, skip: int, pieces: list[str]) -> int:
    """Add the text of a token; returns how many characters after it stand for it."""
    if token["sign"]:
        pieces.append(chr(int(token["sign"]) % 65536))
        return skip
    if token["mark"]:
        pieces.append({"~": " ", "_": "-", "-": ""}.get(token["mark"], token["mark"]))
        return after
    if token["byte"]:
        shown = bytes.fromhex(token["byte"]).decode("cp1252", "replace")
    else:
        shown = token["text"].replace("\r", "").replace("\n", "")
    pieces.append(shown[after:])
    return max(0, after - len(shown))


__all__ = ["rtf_text"]
