"""Subtitles (.srt .vtt .sbv .ass .ssa): the spoken text, in paragraphs that begin with their time.

A paragraph ends at a pause in speech, or at the end of a sentence after half a minute, so a hit
shows the time to go to: "[00:01:05] …". Tags, positions and numbers are removed; comments, names of
cues and lines that rolling captions repeat are left out. A cue is recognised by its time line
alone, so a damaged or missing number loses nothing.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from retriever.reading.facts import clean_title
from retriever.reading.pages import (
    MAX_CHARACTERS,
    drop_controls,
    make_page,
    too_long_page,
    unify_lines,
)
from retriever.reading.plain.text import decode_text
from retriever.types import Document, LeftOut

ENDINGS = (".srt", ".vtt", ".sbv", ".ass", ".ssa")
"""The endings that promise subtitles."""

_MIN_PAUSE = 3.0  # seconds of silence that end a paragraph
_MIN_PARAGRAPH = 30.0  # seconds after which a paragraph ends with the sentence
_MAX_PARAGRAPH = 60.0  # seconds after which it ends even inside a sentence
_MAX_ROLLING_GAP = 0.25  # seconds between a caption and the one that repeats it, at most

_CLOCK = r"(?:(\d{1,3}):)?(\d{1,2}):(\d{1,2})(?:[.,](\d{1,3}))?"
_TIMES = re.compile(rf"\s*{_CLOCK}\s*--?>\s*{_CLOCK}(?![\d:])")
_BARE_TIMES = re.compile(rf"\s*{_CLOCK},{_CLOCK}\s*$")  # a whole line in .sbv files
_DIALOGUE = re.compile(r"Dialogue:\s*(?P<fields>(?:[^,\n]*,){9})(?P<text>.*)")
# Not every word in angle brackets: "<laughs>" is heard.
_TAG = re.compile(
    r"</?(?:[biusc]|em|strong|ruby|rt)(?:\.[^\s<>]{0,100})?>|<[\d:.]{5,12}>"
    r"|</?(?:font|span|div|p|v|lang|br)(?:[.\s][^<>\n]{0,200})?/?>",
    re.IGNORECASE,
)
_HEADER = re.compile(r"WEBVTT[ \t]*[-–][ \t]*(\S.*)|Title:[ \t]*(\S.*)")
_BLOCKS = {"WEBVTT": "metadata", "NOTE": "comments", "STYLE": "styles", "REGION": "styles"}
_VOICE = re.compile(r"<v(?:\.[^\s<>]{0,100})?\s+([^<>\n]{1,100})>")
_OVERRIDE = re.compile(r"\{[\\=][^{}\n]{0,500}\}")
_ENTITY = re.compile(r"&(?:[a-z]{2,8}|#\d{2,6});")
_BREAKS = re.compile(r"\\[Nn]|<br\s*/?>")
_END_OF_SENTENCE = re.compile(r"[.!?…。！？][\"'”’»)\]]*$")


@dataclass(frozen=True, slots=True)
class _Cue:
    """The text shown from `start` to `end`, in seconds."""

    start: float
    end: float
    lines: tuple[str, ...]
    voice: str = ""


def read_subtitles(data: bytes, name: str) -> Document:
    """Read a subtitle file into one page."""
    if len(data) > 4 * MAX_CHARACTERS:
        return Document(name, "subtitles", (too_long_page(None, f"{len(data):,} bytes"),))
    source = drop_controls(unify_lines(decode_text(data)))
    rest: list[str] = []
    repeated: list[str] = []
    cues = sorted(_cues(source.split("\n"), rest), key=lambda cue: cue.start)
    said = _paragraphs(_without_repeats(cues, repeated))
    page = make_page(None, "\n\n".join(said), "nothing is said in it")
    if not cues and source.strip():
        note = "no times found in it: read as plain text"
        return Document(name, "subtitles", (replace(make_page(None, source), reason=note),))
    left_out = [*_left_out(rest)]
    if repeated:
        left_out.append(LeftOut("repeated lines", "\n".join(repeated)))
    title = next((match[1] or match[2] for match in map(_HEADER.match, rest) if match), "")
    return Document(
        name, "subtitles", (page,), title=clean_title(title, name), left_out=tuple(left_out)
    )


def _left_out(rest: list[str]) -> Iterator[LeftOut]:
    """The lines that are not said, by kind: comments, styles, facts of the file, names of cues."""
    block = ""
    for line in rest:
        first = line.split(maxsplit=1)[0] if line.strip() else ""
        if not first or first.isdigit():
            block = block if block == "script" else ""
            continue
        if first.startswith("[") and line.rstrip().endswith("]"):
            block = "script"  # the sections of SubStation
        elif block != "script":
            block = block or _BLOCKS.get(first, "names of cues")
        if block == "script":
            yield LeftOut("comments" if first in ("Comment:", ";") else "metadata", line)
        else:
            yield LeftOut(block, line)


def _cues(lines: list[str], rest: list[str]) -> Iterator[_Cue]:
    """All cues of the file, in order; the lines of no cue are added to `rest`."""
    times: tuple[float, float] | None = None
    said: list[str] = []
    for line in [*lines, ""]:
        if dialogue := _DIALOGUE.match(line):
            yield from _styled_cues(dialogue)
        elif match := _TIMES.match(line) or _BARE_TIMES.match(line):
            if times and said and said[-1].strip().isdigit():
                said.pop()  # the next cue's number, without a blank line before it
            if times:
                yield _cue(times, said)
            times, said = (_seconds(match.groups()[:4]), _seconds(match.groups()[4:])), []
        elif times and line.strip():
            said.append(line)
        elif times and said:
            yield _cue(times, said)
            times, said = None, []
        elif not times:
            rest.append(line)
    if times:
        yield _cue(times, said)


def _styled_cues(match: re.Match[str]) -> Iterator[_Cue]:
    """Parse a line of (Advanced) SubStation: layer, start, end, style, speaker, …, text."""
    fields = match["fields"].split(",")
    times = _BARE_TIMES.match(f"{fields[1].strip()},{fields[2].strip()}")
    drawn = re.search(r"\\p[1-9]", match["text"])
    if times and not drawn:
        said = _BREAKS.sub("\n", match["text"]).split("\n")
        span = (_seconds(times.groups()[:4]), _seconds(times.groups()[4:]))
        yield replace(_cue(span, said), voice=fields[4].strip())


def _cue(times: tuple[float, float], said: list[str]) -> _Cue:
    voice = next((match[1].strip() for line in said if (match := _VOICE.search(line))), "")
    if voice:  # the first is said once, a further one where it begins to speak
        first, *others = _VOICE.split("\n".join(said))[::2]
        speakers = _VOICE.findall("\n".join(said))
        turns = [f"{name}: {text}" for name, text in zip(speakers[1:], others[1:], strict=True)]
        said = " ".join([first, others[0], *turns]).split("\n")
    shown = (_plain(part) for line in said for part in _BREAKS.split(line))
    return _Cue(*times, tuple(filter(None, shown)), voice)


def _plain(line: str) -> str:
    text = _ENTITY.sub(lambda match: html.unescape(match[0]), _OVERRIDE.sub("", line))
    return " ".join(_TAG.sub("", text).split())


def _seconds(clock: Iterable[str | None]) -> float:
    """Convert hours, minutes, seconds and thousandths to seconds.

    >>> _seconds(("1", "02", "03", "5"))
    3723.5
    """
    hours, minutes, seconds, fraction = (part or "0" for part in clock)
    whole = int(hours) * 3600 + int(minutes) * 60 + int(seconds)
    return whole + float(f"0.{fraction}")


def _without_repeats(cues: Iterable[_Cue], repeated: list[str]) -> Iterator[_Cue]:
    """Remove lines that were already on the screen; they are added to `repeated`."""
    shown: tuple[str, ...] = ()
    until = float("-inf")
    for cue in cues:
        if not cue.lines:
            continue
        new = cue.lines
        if cue.start - until <= _MAX_ROLLING_GAP:
            kept = min(len(shown), len(new))
            same = (n for n in range(kept, 0, -1) if shown[-n:] == new[:n])
            already = next(same, 0)
            repeated += new[:already]
            new = new[already:]
        shown, until = cue.lines, max(cue.end, cue.start)
        if new:
            yield replace(cue, lines=new)


def _paragraphs(cues: Iterable[_Cue]) -> Iterator[str]:
    said: list[str] = []
    begin = until = 0.0
    voice = ""
    for cue in cues:
        if said and _ends(said[-1], cue.start - until, cue.start - begin):
            yield _paragraph(begin, said)
            said = []
        if not said:
            begin, voice = cue.start, ""
        text = _join(cue.lines)
        said.append(f"{cue.voice}: {text}" if cue.voice and cue.voice != voice else text)
        until, voice = max(until, cue.end), cue.voice
    if said:
        yield _paragraph(begin, said)


def _paragraph(begin: float, said: list[str]) -> str:
    return re.sub(r" *\n+ *", "\n", f"[{_clock(begin)}] {' '.join(said)}").strip()


def _join(lines: tuple[str, ...]) -> str:
    """Join the lines of a cue; two speakers keep a line each."""
    if len(lines) > 1 and all(line.startswith(("-", "–", "‐")) for line in lines):
        return "\n".join(["", *lines, ""])
    return " ".join(lines)


def _ends(before: str, pause: float, length: float) -> bool:
    """Whether a paragraph ends after `before`, given its length and the pause that follows."""
    if pause >= _MIN_PAUSE or length >= _MAX_PARAGRAPH:
        return True
    return length >= _MIN_PARAGRAPH and _END_OF_SENTENCE.search(before) is not None


def _clock(seconds: float) -> str:
    """Format a time: "01:02:03".

    >>> _clock(3723.5)
    '01:02:03'
    """
    whole = int(seconds)
    return f"{whole // 3600:02}:{whole // 60 % 60:02}:{whole % 60:02}"


__all__ = ["ENDINGS", "read_subtitles"]
