"""Tesseract, the OCR program: finds it, and runs it on a picture.

Each picture is read by a new process and passed through a pipe, so nothing is written to disk.
Compared with RapidOCR on 16 pages of the sample and generated pages, at 300 and 150 dpi, Tesseract
finds as many words in a quarter of the time with a tenth of the memory; it needs no download and
gives a confidence for each word.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import groupby

from retriever.reading.pages import error_text
from retriever.types import ReadError

MAX_SIDE = 30_000
"""Maximum length of a picture's longer side in pixels; Tesseract refuses 32,768."""

_SECONDS = 28.0  # of one run; a picture may need two. Small print takes four seconds
_MIN_CONFIDENCE = 30.0  # of a word, in percent: fewer wrong words, and 2 in 1000 right ones lost
_MIN_MEAN = 65.0  # of a picture: Cyrillic, Greek and Arabic read as English reach 51 to 60
# Page segmentation modes: with orientation detection, which fails on few letters, and without.
_ORIENTED, _UPRIGHT = "1", "3"
_WINDOWS = r"C:\Program Files\Tesseract-OCR"
_WORD = re.compile(r"[^\W_]{2}")


@dataclass(frozen=True, slots=True)
class Picture:
    """Grey pixels row by row, one byte each (0 is black), and the resolution in dots per inch."""

    width: int
    height: int
    grey: bytes
    dpi: int

    @property
    def digest(self) -> str:
        """SHA-256 of everything that the recognition depends on."""
        head = f"{self.width} {self.height} {self.dpi}\n".encode()
        return hashlib.sha256(head + self.grey).hexdigest()


@dataclass(frozen=True, slots=True)
class OcrResult:
    """Text in paragraphs and the mean confidence of its words, weighted by length, in percent."""

    text: str
    confidence: float

    @property
    def reason(self) -> str:
        """The source of the text, as the reason of a page."""
        return f"recognised by Tesseract, mean confidence {self.confidence:.0f} %"


def unavailable_reason(languages: str = "eng") -> str:
    """Why OCR in these languages ("eng+deu") is unavailable; empty if it is available."""
    program = _program()
    if not program:
        return (
            "Tesseract is not installed: apt-get install tesseract-ocr (Debian, Ubuntu), "
            "brew install tesseract (macOS) or winget install UB-Mannheim.TesseractOCR (Windows)"
        )
    try:
        there = installed_languages()
    except (OSError, subprocess.SubprocessError) as error:
        return f"Tesseract does not start ({error_text(error, 150)}): install it again"
    missing = [name for name in languages.split("+") if name not in there]
    return _missing_language_reason(missing, there) if missing else ""


def recognise(picture: Picture, languages: str) -> OcrResult:
    """Recognise the text of a picture; it is empty if there is none.

    `languages` are those for which `unavailable_reason` is empty. Raises ReadError when Tesseract
    fails, takes too long, or finds no words in the letters.
    """
    found = _recognise(picture, languages, _ORIENTED)
    if found.text and found.confidence < _MIN_MEAN:
        upright = _recognise(picture, languages, _UPRIGHT)
        found = max(found, upright, key=lambda one: one.confidence)
    if found.text and found.confidence < _MIN_MEAN:
        raise ReadError(
            f"OCR made no words of it (mean confidence {found.confidence:.0f} %); "
            f"is it in another language than {languages}?"
        )
    return found


def _recognise(picture: Picture, languages: str, segmentation: str) -> OcrResult:
    head = b"P5\n%d %d\n255\n" % (picture.width, picture.height)
    options = ["-l", languages, "--psm", segmentation, "--dpi", str(picture.dpi), "tsv"]
    try:
        done = subprocess.run(  # noqa: S603 - a fixed program, and no word of a file among its arguments
            [_program(), "stdin", "stdout", *options],
            input=head + picture.grey,
            capture_output=True,
            timeout=_SECONDS,
            env={**os.environ, "OMP_THREAD_LIMIT": "1"},
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise ReadError(f"Tesseract took longer than {_SECONDS:.0f} seconds") from None
    except OSError as error:
        raise ReadError(f"Tesseract does not start: {error.strerror or error}") from None
    if done.returncode:
        message = done.stderr.decode("utf-8", "replace").split("\n")[0].strip()[:150]
        raise ReadError(f"Tesseract failed: {message or f'exit code {done.returncode}'}")
    return parse_tsv(done.stdout.decode("utf-8", "replace"))


def parse_tsv(table: str) -> OcrResult:
    r"""Text and confidence from Tesseract's TSV.

    Lines end as in the picture, and a blank line separates paragraphs. Words of low confidence are
    dropped.

    >>> row = "5\t1\t1\t1\t{}\t1\t0\t0\t9\t9\t{}\t{}"
    >>> parse_tsv("\n".join([row.format(1, 90, "Zero"), row.format(2, 12, "~|"),
    ...     row.format(2, 80, "trust")]))
    OcrResult(text='Zero\ntrust', confidence=84.44444444444444)
    """
    words = [word for word in map(_word, table.split("\n")) if word]
    paragraphs = [
        "\n".join(_join(line) for _, line in groupby(paragraph, key=lambda word: word[0]))
        for _, paragraph in groupby(words, key=lambda word: word[0][:3])
    ]
    text = "\n\n".join(paragraphs)
    if not _WORD.search(text):
        return OcrResult("", 0.0)
    total = sum(len(word) for _, _, word in words)
    return OcrResult(text, sum(len(word) * sure for _, sure, word in words) / total)


_Word = tuple[tuple[int, ...], float, str]  # page, block, paragraph and line; confidence; letters


def _word(row: str) -> _Word | None:
    """The word of a row; None for other rows and for a word of low confidence."""
    cells = row.rstrip("\r").split("\t")
    if len(cells) != 12 or cells[0] != "5":
        return None
    sure, word = float(cells[10]), cells[11].strip()
    if not word or sure < _MIN_CONFIDENCE:
        return None
    return tuple(map(int, cells[1:5])), sure, word


def _join(words: Iterable[_Word]) -> str:
    return " ".join(word for _, _, word in words)


def _program() -> str:
    """The program's path, or empty. Its Windows installer does not add it to the search path."""
    return shutil.which("tesseract") or shutil.which("tesseract", path=_WINDOWS) or ""


def installed_languages() -> list[str]:
    """The codes of the installed languages."""
    done = subprocess.run(  # noqa: S603 - as above
        [_program(), "--list-langs"], capture_output=True, timeout=20, check=False
    )
    lines = (done.stdout or done.stderr).decode("utf-8", "replace").splitlines()[1:]
    return sorted(line.strip() for line in lines if line.strip() and line.strip() != "osd")


def _missing_language_reason(missing: list[str], there: list[str]) -> str:
    names = ", ".join(repr(name[:40]) for name in missing)
    packages = " ".join(f"tesseract-ocr-{name[:40].replace('_', '-')}" for name in missing)
    return (
        f"Tesseract has no language {names}, only {', '.join(there) or 'none'}: apt-get install "
        f"{packages} (Debian, Ubuntu), brew install tesseract-lang (macOS), or tick it in the "
        "installer (Windows)"
    )


__all__ = ["MAX_SIDE", "OcrResult", "Picture", "parse_tsv", "recognise", "unavailable_reason"]
