"""The words of PDF pages against two extractors: `python -m benchmarks.pdf_text [PATH…]`.

Pages are chosen evenly over all PDFs found. Our words of a page (a multiset) are compared with
those of PDFium's own text and of pypdf's, all normalised to NFKC, lower case, no hyphens. Precision
is the share of our words that the other extractor has, recall the share of its words that we have.
Times are those of whole files, opening included, divided by their pages.
"""

from __future__ import annotations

import argparse
import io
import re
import time
import unicodedata
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import pypdf
import pypdfium2

from retriever.reading.pdf.reader import read_pdf

Texts = Callable[[bytes], list[str]]


def ours(data: bytes) -> list[str]:
    """The text of each page from our reader."""
    return [page.text for page in read_pdf(data, "a.pdf").pages if not page.label]


def by_pdfium(data: bytes) -> list[str]:
    """The text of each page from PDFium."""
    texts = []
    with pypdfium2.PdfDocument(data) as document:
        for page in document:
            texts.append(page.get_textpage().get_text_range().replace("\ufffe", "-\n"))
            page.close()
    return texts


def by_pypdf(data: bytes) -> list[str]:
    """The text of each page from pypdf."""
    return [page.extract_text() for page in pypdf.PdfReader(io.BytesIO(data)).pages]


def words(text: str) -> Counter[str]:
    r"""The counts of a text's words; a hyphen joins its neighbours, also across lines.

    >>> sorted(words("Well-\nknown o\ufb03ce").elements())
    ['office', 'wellknown']
    """
    plain = unicodedata.normalize("NFKC", text).lower().replace("\u00ad", "-")
    return Counter(re.findall(r"\w+", re.sub(r"(?<=\w)[-‐]\s*(?=\w)", "", plain)))


def precision_recall(found: list[str], expected: list[str]) -> tuple[float, float]:
    """Precision and recall over all pages; 1 if there are no words."""
    pairs = [(words(one), words(other)) for one, other in zip(found, expected, strict=True)]
    shared = sum((one & other).total() for one, other in pairs)
    ours_all, theirs_all = (sum(pair[side].total() for pair in pairs) for side in (0, 1))
    return shared / ours_all if ours_all else 1.0, shared / theirs_all if theirs_all else 1.0


def choose_pages(counts: list[int], wanted: int) -> list[tuple[int, int]]:
    """(file, page) of `wanted` pages, evenly over all; `counts` are the files' page counts.

    >>> choose_pages([3, 1], 2)
    [(0, 1), (1, 0)]
    """
    places = [(file, page) for file, count in enumerate(counts) for page in range(count)]
    wanted = min(wanted, len(places))
    return [places[(2 * at + 1) * len(places) // (2 * wanted)] for at in range(wanted)]


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("paths", nargs="*", type=Path, default=[Path("data/sample")])
    parser.add_argument("--pages", type=int, default=40)
    parser.add_argument("--each", action="store_true", help="print a line for every page")
    options = parser.parse_args(arguments)
    paths = [file for path in options.paths for file in sorted(path.rglob("*.pdf")) or [path]]
    files = [path.read_bytes() for path in paths]
    texts: dict[Texts, list[list[str]]] = {}
    seconds: dict[Texts, float] = {}
    for extract in (ours, by_pdfium, by_pypdf):
        started = time.perf_counter()
        texts[extract] = [extract(data) for data in files]
        seconds[extract] = time.perf_counter() - started
    counts = [len(pages) for pages in texts[ours]]
    places = choose_pages(counts, options.pages)
    picked = {
        extract: [found[file][page] for file, page in places] for extract, found in texts.items()
    }
    if options.each:
        for at, (file, page) in enumerate(places):
            against = [
                precision_recall(picked[ours][at : at + 1], picked[other][at : at + 1])
                for other in (by_pdfium, by_pypdf)
            ]
            numbers = "  ".join(f"{p:.3f} {r:.3f}" for p, r in against)
            print(f"{numbers}  {paths[file].name} {page + 1}")
        print()
    print(f"{len(places)} of {sum(counts)} pages\n")
    print("| extractor | precision | recall | ms a page |\n|---|---|---|---|")
    print(f"| ours | | | {1000 * seconds[ours] / sum(counts):.1f} |")
    for other, name in ((by_pdfium, "PDFium alone"), (by_pypdf, "pypdf alone")):
        precision, recall = precision_recall(picked[ours], picked[other])
        each = 1000 * seconds[other] / sum(counts)
        print(f"| {name} | {precision:.4f} | {recall:.4f} | {each:.1f} |")


if __name__ == "__main__":
    main()
