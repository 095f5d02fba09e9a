"""Accuracy of the boxes of passages on PDF pages: `python -m benchmarks.passage_boxes [PATH…]`.

Passages are chunks of the pages of all PDFs found (one word counts as one token), chosen evenly.
Each is placed on its page, and PDFium's own function extracts the text that its boxes touch. In the
table, "found" is the share of the passage's characters inside the boxes (recall), "true" the share
of the characters inside the boxes that belong to the passage (precision). Spaces and hyphens, which
differ at line ends, do not count. For single words, characters count whose centres lie in the
boxes, because the boxes of touching letters overlap.
"""

from __future__ import annotations

import argparse
import contextlib
import re
import statistics
import time
import unicodedata
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pypdfium2

from retriever.reading.formats import ReadOptions, read_bytes
from retriever.reading.page_images.alignment import Box, Placement
from retriever.reading.page_images.render import characters, parse_characters, picture
from retriever.settings import ChunkSettings
from retriever.text.chunking import chunk_document
from retriever.types import Page, Span

ENOUGH = 0.95
WORDS = 160  # per passage: about the 224 tokens of an index


@dataclass(frozen=True)
class Passage:
    """A span of a page's text, and its file."""

    file: Path
    page: Page
    span: Span

    @property
    def text(self) -> str:
        """The text of the span."""
        return self.page.text[self.span.start : self.span.end]


def passages(files: Sequence[Path]) -> list[Passage]:
    """All passages of numbered pages, chunked as in an index, with words as tokens."""
    found = []
    for file in files:
        pages = read_bytes(file.read_bytes(), file.name, ReadOptions()).pages
        for position, span in chunk_document(pages, ChunkSettings(WORDS, 0), _words):
            if pages[position].number is not None and not pages[position].label:
                found.append(Passage(file, pages[position], span))
    return found


def _words(text: str) -> list[tuple[int, int]]:
    return [match.span() for match in re.finditer(r"\S+", text)]


def normalised(text: str) -> str:
    """The text for comparison: NFKC, without spaces, hyphens and control characters."""
    return re.sub(r"[\s\x00-\x1f\-‐\xad\ufffe]", "", unicodedata.normalize("NFKC", text))


def read_back(page: Any, boxes: Sequence[Box]) -> str:
    """The text that PDFium finds in the boxes: every character that they touch."""
    width, height = page.get_size()
    left, bottom = page.get_bbox()[:2]
    text = page.get_textpage()
    return "".join(
        text.get_text_bounded(
            left + box.left * width,
            bottom + (1 - box.bottom) * height,
            left + box.right * width,
            bottom + (1 - box.top) * height,
        )
        for box in boxes
    )


def character_centres(page: Any) -> list[tuple[str, float, float]]:
    """The page's characters with the centres of their boxes, as shares of width and height."""
    width, height = page.get_size()
    left, bottom = page.get_bbox()[:2]
    text = page.get_textpage()
    found = []
    for at in range(text.count_chars()):
        x0, y0, x1, y1 = text.get_charbox(at)
        x, y = ((x0 + x1) / 2 - left) / width, 1 - ((y0 + y1) / 2 - bottom) / height
        found.append((text.get_text_range(at, 1), x, y))
    return found


def characters_inside(letters: Sequence[tuple[str, float, float]], boxes: Sequence[Box]) -> str:
    """The characters whose centres lie in the boxes."""
    return "".join(
        letter
        for letter, x, y in letters
        if any(box.left <= x <= box.right and box.top <= y <= box.bottom for box in boxes)
    )


def shares(passage: str, found: str) -> tuple[float, float]:
    """(recall, precision) of the characters as multisets, since columns differ in order.

    >>> shares("abcd", "abx")
    (0.5, 0.6666666666666666)
    """
    one, other = Counter(normalised(passage)), Counter(normalised(found))
    both = (one & other).total()
    return both / max(one.total(), 1), both / max(other.total(), 1)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("paths", nargs="*", type=Path, default=[Path("data/sample")])
    parser.add_argument("--passages", type=int, default=40)
    parser.add_argument("--each", action="store_true", help="print a line for every passage")
    options = parser.parse_args(arguments)
    files = [file for path in options.paths for file in sorted(path.rglob("*.pdf")) or [path]]
    all_of = passages(files)
    count = min(options.passages, len(all_of))
    chosen = [all_of[(2 * at + 1) * len(all_of) // (2 * count)] for at in range(count)]
    results, words = [], []
    seconds: dict[str, list[float]] = {"picture": [], "places": []}
    for passage in chosen:
        with (
            contextlib.closing(pypdfium2.PdfDocument(passage.file)) as document,
            contextlib.closing(document[(passage.page.number or 1) - 1]) as page,
        ):
            started = time.perf_counter()
            picture(page, 1_200)
            seconds["picture"].append(time.perf_counter() - started)
            started = time.perf_counter()
            placement = Placement(passage.page.text, parse_characters(characters(page)))
            boxes = placement.boxes(passage.span.start, passage.span.end)
            seconds["places"].append(time.perf_counter() - started)
            found = shares(passage.text, read_back(page, boxes))
            results.append(found)
            letters = character_centres(page)
            for start, end in _words(passage.text)[:: max(1, len(passage.text) // 300)]:
                if not normalised(passage.text[start:end]):
                    continue
                at = passage.span.start + start, passage.span.start + end
                read = characters_inside(letters, placement.boxes(*at))
                words.append(shares(passage.text[start:end], read))
        if options.each:
            print(f"{found[0]:.3f} {found[1]:.3f}  {passage.file.name} {passage.page.number}")
    print(f"\n{count} of {len(all_of)} passages of {len(files)} files\n")
    print("| | number | found, mean | found, least | true, mean | true, least | both ≥ 95 % |")
    print("|---|---|---|---|---|---|---|")
    for name, pairs in (("passages", results), ("words", words)):
        each, real = zip(*pairs, strict=True)
        good = sum(min(pair) >= ENOUGH for pair in pairs)
        print(
            f"| {name} | {len(pairs)} | {statistics.mean(each):.4f} | {min(each):.3f} "
            f"| {statistics.mean(real):.4f} | {min(real):.3f} | {good} |"
        )
    for name, values in seconds.items():
        slow = sorted(values)[int(0.95 * (len(values) - 1))]
        print(f"\n{name}: median {1000 * statistics.median(values):.0f} ms, 95 % {1000 * slow:.0f}")


if __name__ == "__main__":
    main()
