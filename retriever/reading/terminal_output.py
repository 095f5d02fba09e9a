r"""Terminal output as text: without escape sequences, overstrikes and overwritten progress.

Logs, recordings of `script`, pasted output and the outputs of notebooks hold what was sent to a
terminal. Here it becomes what the terminal showed. A sequence that moves the cursor to another line
becomes a newline, one that moves it within the line a blank, so no words are joined.
"""

from __future__ import annotations

import re
import unicodedata

_STRING_END = "(?:\x1b\\\\|\x07|\x9c)"
_SEQUENCE = re.compile(
    # ESC may also be written as cat -v and some editors show it; then only colours are certain.
    r"(?:\^\[|\u241b)\[[\d;:]*[mK]"
    r"|(?:\x1b\[\[[A-E])"  # function keys of the Linux console
    r"|(?:\x1b\[|\x9b(?=[\d;?]+[A-Za-z]))(?P<arguments>[0-?]*+)[ -/]*+(?P<final>[@-~]?)"
    rf"|\x1b\](?:[^\x07\x1b\x9c\n]*+{_STRING_END}|\d*;?)"  # titles and hyperlinks
    rf"|\x1b[PX^_](?:[^\x07\x1b\x9c]*+{_STRING_END})?"  # pictures and messages
    rf"|\x1bk(?:[^\x07\x1b\n]*+{_STRING_END})?"  # titles of screen and tmux
    r"|\x1b[ -/]++[0-~]?"  # character sets
    r"|\x1b[0-~]?"
    r"|\x07"
)
_RUN = re.compile(f"(?:{_SEQUENCE.pattern.replace('?P<arguments>', '').replace('?P<final>', '')})+")
_TO_LINE = frozenset("ABEFHdf")
_IN_LINE = frozenset("CG")
# Text copied from a terminal or a web page has lost the escape character before "[32m".
_BARE_COLOUR = re.compile(r"\[(?:\d{1,3}(?:;\d{1,3})*m(?!\])|m(?![\w\]]))")
_BARE_RESET = re.compile(r"\[(?:0m(?!\])|m(?![\w\]]))")
_BARE_START = re.compile(r"\[[1-9]\d{0,2}(?:;\d{1,3})*m(?!\])")
_LINE_DRAWING = re.compile(r"\x1b\(0([^\x1b\n]*)")
_DRAWN = str.maketrans("`ajklmnqtuvwx~", "◆▒┘┐┌└┼─├┤┴┬│·")

_MARKS = {"'": "\u0301", "`": "\u0300", '"': "\u0308", "^": "\u0302", "~": "\u0303", ",": "\u0327"}
_BULLET = {"+", "o"}

_LINES = re.compile(r"([\n\r]+)")
_PROGRESS = re.compile(r"\d\s?%|\d ?/ ?\d|\d ?[kKMG]i?B\b|[#=>█▏▎▍▌▋▊▉━╸.]{3}|\d:\d\d|^\W{0,3}$")
_NO_LETTERS = re.compile(r"[\W\d_]+")


def drop_terminal_codes(text: str) -> str:
    r"""`text` as a terminal shows it, but for what a carriage return overwrites.

    >>> drop_terminal_codes("\x1b[31mERROR\x1b[0m: pump\x1b[5Cstopped")
    'ERROR: pump stopped'
    >>> drop_terminal_codes("N\bNA\bAM\bME\bE of _\bl_\bs")
    'NAME of ls'
    """
    if "\x1b(0" in text:
        text = _LINE_DRAWING.sub(lambda match: match[1].translate(_DRAWN), text)
    if any(mark in text for mark in ("\x1b", "\x9b", "\x07", "^[[", "\u241b[")):
        text = _RUN.sub(_moved, text)
    if "\b" in text:
        parts = (_overstruck(part) if "\b" in part else part for part in _LINES.split(text))
        text = "".join(parts)
    return text


def drop_bare_colours(text: str) -> str:
    """`text` without colours that have lost their escape character, if it also resets them.

    >>> drop_bare_colours("[32mok[0m 3 tests, [5m] apart")
    'ok 3 tests, [5m] apart'
    >>> drop_bare_colours("[32mok[m: :argu[ment] and x[m + 1]")
    'ok: :argu[ment] and x + 1]'
    >>> drop_bare_colours(":argu[ment] x[m + 1] y[m, n]")
    ':argu[ment] x[m + 1] y[m, n]'
    """
    if not _BARE_RESET.search(text) or not _BARE_START.search(text):
        return text
    return _BARE_COLOUR.sub("", text)


def drop_overwritten(text: str) -> tuple[str, str]:
    r"""`text` without progress that a carriage return overwrites, and what was dropped.

    Only a part with the same letters as the one after it is dropped. A file without line feeds
    ends its lines with carriage returns.

    >>> drop_overwritten("load: 10%\rload: 90%\rload: 100%\nready")
    ('load: 100%\nready', 'load: 10%\nload: 90%')
    """
    if "\r" not in text or "\n" not in text:
        return text, ""
    dropped: list[str] = []
    lines = (_last_states(line, dropped) if "\r" in line else line for line in text.split("\n"))
    return "\n".join(lines), "\n".join(filter(str.strip, dropped))


def _last_states(line: str, dropped: list[str]) -> str:
    """The line without the states of a progress that others follow."""
    ended = line.rstrip("\r")
    parts = ended.split("\r")
    kept = [
        part
        for part, following in zip(parts, [*parts[1:], None], strict=True)
        if following is None or not _is_overwritten(part, following, dropped)
    ]
    return "\r".join(kept) + line[len(ended) :]


def _is_overwritten(part: str, following: str, dropped: list[str]) -> bool:
    """Whether `following` is the next state of the same progress; `part` is noted as dropped."""
    if part.strip() and not following.startswith(part):
        same = _NO_LETTERS.sub("", part) == _NO_LETTERS.sub("", following)
        if not (same and _PROGRESS.search(part)):
            return False
        dropped.append(part.strip())
    return True


def _moved(match: re.Match[str]) -> str:
    """What a run of sequences becomes: a newline, a blank or nothing."""
    finals = {each["final"] for each in _SEQUENCE.finditer(match[0]) if each["final"]}
    before = match.string[match.start() - 1] if match.start() else "\n"
    after = match.string[match.end() : match.end() + 1] or "\n"
    if finals & _TO_LINE:
        return "" if before in "\n\r" or after in "\n\r" else "\n"
    if finals & _IN_LINE:
        return "" if before.isspace() or after.isspace() else " "
    return ""


def _overstruck(line: str) -> str:
    """The line after its backspaces: bold and underlined letters once, erased ones gone."""
    cells: list[str] = []
    at = 0
    for character in line:
        if character == "\b":
            at = max(0, at - 1)
            continue
        if at < len(cells):
            cells[at] = _struck_over(cells[at], character)
        else:
            cells.append(character)
        at += 1
    return "".join(cells)


def _struck_over(old: str, new: str) -> str:
    """The character that two at the same place show.

    >>> _struck_over("_", "a"), _struck_over("e", "'"), _struck_over("+", "o")
    ('a', 'é', '•')
    """
    if {old, new} == _BULLET:
        return "•"
    if new == "_":
        return old
    for letter, mark in ((old, new), (new, old)):
        if letter.isalpha() and mark in _MARKS:
            marked = unicodedata.normalize("NFC", letter + _MARKS[mark])
            if len(marked) == 1:
                return marked
    return new


__all__ = ["drop_bare_colours", "drop_overwritten", "drop_terminal_codes"]
