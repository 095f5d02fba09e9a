r"""LaTeX as text: accents become letters, and the facts of the document are read.

Only what stands for a letter changes, within its line. Listings stay as they are.
"""

from __future__ import annotations

import re
import unicodedata

from retriever.reading.dates import iso_date

_MARKS = {
    "`": "\u0300",
    "'": "\u0301",
    "^": "\u0302",
    "~": "\u0303",
    '"': "\u0308",
    "=": "\u0304",
    ".": "\u0307",
    "u": "\u0306",
    "v": "\u030c",
    "H": "\u030b",
    "c": "\u0327",
    "k": "\u0328",
    "r": "\u030a",
    "d": "\u0323",
    "b": "\u0331",
}
_LETTERS = {"ss": "ß", "SS": "ẞ", "o": "ø", "O": "Ø", "l": "ł", "L": "Ł", "ae": "æ", "AE": "Æ"}
_LETTERS |= {"oe": "œ", "OE": "Œ", "aa": "å", "AA": "Å", "th": "þ", "TH": "Þ", "dh": "ð", "DH": "Ð"}
_LETTERS |= {"dj": "đ", "DJ": "Đ", "ng": "ŋ", "NG": "Ŋ"}
_NAMES = "|".join(sorted(_LETTERS, key=len, reverse=True))

_LISTING = (
    r"\\begin\{(?P<listing>verbatim|Verbatim|lstlisting|minted|alltt|tabbing)(?P<star>\*?)\}"
    r"(?:[^\\]|\\(?!(?:begin|end)\{))*+\\end\{(?P=listing)(?P=star)\}|\\(?:verb|lstinline)\*?(?P<mark>[^\sA-Za-z*])[^\n]*?(?P=mark)"
)
_BASE = (
    r"(?:\{{[ ]?(?P<{0}>\\[ij]|[A-Za-z])[ ]?\}}|(?P<{1}>\\[ij])(?![A-Za-z])[ ]?|(?P<{2}>[A-Za-z]))"
)
_SYMBOL = r"\\(?P<symbol>[`'^~\"=.])" + _BASE.format("s1", "s2", "s3")
_WORD = r"\\(?P<word>[uvHckrdb])(?:[ ]?\{(?P<w1>\\[ij]|[A-Za-z])\}|[ ](?P<w2>\\[ij]|[A-Za-z])\b)"
_SPECIAL = rf"\\(?P<special>{_NAMES})(?:\{{\}}|(?![A-Za-z])[ \t]*)"
_ACCENT = re.compile(
    rf"{_LISTING}|(?P<open>\{{)?(?:{_SYMBOL}|{_WORD}|{_SPECIAL})(?(open)\}})"
    r"|(?<=[^\W\d_])\\-(?=[^\W\d_])|\\\\",  # the last is a line break, no accent
    re.DOTALL,
)
_COMMAND_BEFORE = re.compile(r"\\[A-Za-z]+\*?(?:\[[^\[\]]*\])?\Z")
_DEFINED = re.compile(
    r"\\(?:re|provide)?(?:newcommand|DeclareMathOperator)\*?\s*\{?\\([A-Za-z]+)|\\def\s*\\([A-Za-z]+)"
)
_GERMAN = re.compile(
    r"\\usepackage\[[^\]]*\b(?:n?german|n?austrian|n?swissgerman)\b[^\]]*\]\{babel\}"
    r"|\\usepackage\{n?german\}"
)
_UMLAUT = re.compile(r"\"(?:([aouAOU])|([sz])|-(?=[^\W\d_]))")

_ARGUMENT = r"\\{}\*?\s*(?:\[[^\]]{{0,300}}\]\s*)?\{{"
_MAX_FACT = 2_000
_NOTE = re.compile(r"\\(?:thanks|footnote|inst|orcidID|label|vspace|hspace)\*?\{")
_COMMAND = re.compile(r"\\(?:and)\b|\\\\(?:\[[^\]]*\])?|\\([A-Za-z]+)\*?[ \t]*|\\([^A-Za-z])")
_LOGOS = {"LaTeX": "LaTeX", "TeX": "TeX", "BibTeX": "BibTeX", "LaTeXe": "LaTeX2e"}


def letters_of_accents(text: str) -> str:
    r"""The text with letters in place of the commands for them.

    >>> letters_of_accents(r"K{\"o}ln, caf\'e, Stra\ss e, S{\o}ren, \v{C}apek, na\"{\i}ve")
    'Köln, café, Straße, Søren, Čapek, naïve'
    """
    defined = {name for pair in _DEFINED.findall(text) for name in pair if name}
    text = _ACCENT.sub(lambda match: _letter(match, defined), text)
    if _GERMAN.search(text):
        text = _UMLAUT.sub(_umlaut, text)
    return text


def latex_facts(text: str) -> tuple[str, str, str]:
    r"""The title, the authors and the date that a document states; each empty if it does not.

    >>> latex_facts(r"\title{The \emph{Great} Mill\thanks{Grant 7}}\author{Ada \and Bob}")
    ('The Great Mill', 'Ada, Bob', '')
    """
    title = plain_words(_argument(text, "title"))
    author = ", ".join(
        filter(None, map(plain_words, re.split(r"\\and\b|\\And\b", _argument(text, "author"))))
    )
    return title, author, iso_date(plain_words(_argument(text, "date")))


def plain_words(source: str) -> str:
    """The words of an argument on one line: no commands, no footnotes, no braces."""
    while note := _NOTE.search(source):
        source = (
            source[: note.start()] + source[note.end() + len(_balanced(source, note.end())) + 1 :]
        )
    source = re.sub(r"(?<!\\)%[^\n]*\n?", "", source)
    source = _COMMAND.sub(_shown, source.replace("~", " "))
    return " ".join(re.sub(r"[{}$]", "", source).split())


def _shown(match: re.Match[str]) -> str:
    """What a command shows of its own: a logo, an escaped sign, or a blank."""
    if match[2]:
        return match[2] if match[2] in "&%#_$" else " " if match[2] in " ,;:!/" else ""
    return f"{_LOGOS[match[1]]} " if match[1] in _LOGOS else "" if match[1] else " "


def _argument(text: str, command: str) -> str:
    start = re.search(_ARGUMENT.format(command), text)
    return _balanced(text, start.end()) if start else ""


def _balanced(text: str, start: int) -> str:
    """The text from `start` to the brace that closes it."""
    depth = 1
    for at in range(start, min(len(text), start + _MAX_FACT)):
        if text[at] in "{}" and text[at - 1] != "\\":
            depth += 1 if text[at] == "{" else -1
        if not depth:
            return text[start:at]
    return ""


def _letter(match: re.Match[str], defined: set[str]) -> str:
    """The letter of a command; the command itself if there is none."""
    if match[0] == "\\-":
        return ""
    letter = _composed(match, defined)
    if not letter:
        return match[0]
    before = match.string[max(0, match.start() - 60) : match.start()]
    # The braces may be those of an argument: \textbf{\"o}.
    return f"{{{letter}}}" if match["open"] and _COMMAND_BEFORE.search(before) else letter


def _composed(match: re.Match[str], defined: set[str]) -> str:
    if special := match["special"]:
        return "" if special in defined else _LETTERS[special]
    accent = match["symbol"] or match["word"]
    if not accent or accent in defined:
        return ""
    base = next(filter(None, (match[key] for key in ("s1", "s2", "s3", "w1", "w2"))))
    letter = unicodedata.normalize("NFC", base.removeprefix("\\") + _MARKS[accent])
    around = match.string[max(0, match.start() - 1) : match.start()]
    around += match.string[match.end() : match.end() + 1]
    # A dot or a bar below occurs inside of words; alone it is rather a command of the author's.
    lonely = accent in "db" and not any(map(str.isalpha, around))
    return "" if len(letter) > 1 or lonely else letter


def _umlaut(match: re.Match[str]) -> str:
    if match[1]:
        return unicodedata.normalize("NFC", match[1] + "\u0308")
    return "ß" if match[2] else ""


__all__ = ["latex_facts", "letters_of_accents", "plain_words"]
