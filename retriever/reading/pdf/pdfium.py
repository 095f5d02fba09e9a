"""The contents of PDF pages by PDFium: text in reading order, images, rules.

PDFium is compiled code and may crash, so files are read in a separate process. This module does not
judge the text.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from retriever.reading.pdf.layout import TextRun, text_of
from retriever.reading.pdf.open import open_pdf
from retriever.reading.pdf.text_runs import TooManyCharactersError, text_runs_of

_MAX_OBJECTS = 20_000  # of one page, searched for images and rules
_MIN_RULES = 3  # rules across a gutter that make it a table
_MIN_BOXES = 6


@contextmanager
def open_document(data: bytes, password: str, count: int) -> Iterator[Any]:
    """PDFium's document of `count` pages; None if it does not open or counts other pages."""
    import pypdfium2

    try:
        document = pypdfium2.PdfDocument(data, password=password or None)
    except (pypdfium2.PdfiumError, ValueError):
        yield None
        return
    try:
        yield document if len(document) == count else None
    finally:
        document.close()


def open_with_passwords(source: bytes | Path, passwords: Sequence[str]) -> Any:
    """PDFium's document; of the repaired file if PDFium cannot open the file itself.

    Raises LockedError, ReadError, OSError, ValueError or PDFium's own error.
    """
    import pypdfium2

    for password in ("", *passwords):
        with suppress(pypdfium2.PdfiumError, ValueError):
            return pypdfium2.PdfDocument(source, password=password or None)
    data = source.read_bytes() if isinstance(source, Path) else source
    file = open_pdf(data, passwords)
    return pypdfium2.PdfDocument(file.data, password=file.password or None)


def page_label(document: Any, index: int) -> str:
    """The label that the file gives to the page (0-based); empty if it gives none."""
    import pypdfium2

    try:
        return str(document.get_page_label(index))
    except (pypdfium2.PdfiumError, ValueError):  # a label that is no UTF-16
        return ""


@dataclass(frozen=True, slots=True)
class PageContents:
    """The text of a page in reading order, and the area of its text and images.

    `image` is the share of the page's area covered by its largest image, from 0 to 1. It is
    computed only if the text has fewer than `few` characters, and None otherwise. `marginal` says
    whether all text is in the upper or lower eighth of the page, like headers and stamps.
    """

    text: str
    image: float | None
    marginal: bool


def page_contents(document: Any, index: int, few: int) -> PageContents | None:
    """The contents of the page (0-based); None if PDFium cannot read it.

    Raises TooManyCharactersError.
    """
    import pypdfium2

    try:
        page = document[index]
    except pypdfium2.PdfiumError:
        return None
    try:
        text_runs = _upright_text_runs(page)
        text = text_of(text_runs, lambda x, low, high: _has_rules(page, x, low, high))
        if sum(not letter.isspace() for letter in text) >= few:
            return PageContents(text, None, False)
        return PageContents(text, _largest_image(page), _is_marginal(page, text_runs))
    except pypdfium2.PdfiumError:
        return None
    finally:
        page.close()  # closes its text page too


def _upright_text_runs(page: Any) -> list[TextRun]:
    """The text runs of the page; it is rotated first if it shows upright text turned.

    PDFium orders lines as the page is shown: from the last to the first if somebody turned it in a
    viewer. Text that is drawn sideways is put in order by `retriever.reading.pdf.layout`.
    """
    text_runs = text_runs_of(page.get_textpage())
    turns = Counter(text_run.turn for text_run in text_runs)
    main = max(turns, key=lambda turn: turns[turn], default=0)
    turned = (page.get_rotation() // 90 - main) % 4
    if turned == 2 or (turned and main == 0):
        page.set_rotation(90 * main)
        text_runs = text_runs_of(page.get_textpage())
    return text_runs


# Images and rules


def _objects(page: Any, kind: int) -> Iterator[Any]:
    for number, thing in enumerate(page.get_objects(max_depth=5)):
        if number >= _MAX_OBJECTS:
            break
        if thing.type == kind:
            yield thing


def _bounds(thing: Any) -> tuple[float, float, float, float] | None:
    """Left, bottom, right, top of an object on the page; None if it has none."""
    import pypdfium2

    try:
        left, bottom, right, top = thing.get_bounds()
    except pypdfium2.PdfiumError:
        return None
    form = thing.container
    while form is not None:  # coordinates inside a form are relative to it
        left, bottom, right, top = form.get_matrix().on_rect(left, bottom, right, top)
        form = form.container
    return left, bottom, right, top


def _largest_image(page: Any) -> float:
    """The share of the page covered by its largest image."""
    from pypdfium2 import raw

    x0, y0, x1, y1 = page.get_bbox()
    area = max((x1 - x0) * (y1 - y0), 1e-6)
    largest = 0.0
    for image in _objects(page, raw.FPDF_PAGEOBJ_IMAGE):
        if (bounds := _bounds(image)) is not None:
            width = min(bounds[2], x1) - max(bounds[0], x0)
            height = min(bounds[3], y1) - max(bounds[1], y0)
            largest = max(largest, max(width, 0.0) * max(height, 0.0) / area)
    return min(largest, 1.0)


def _is_marginal(page: Any, text_runs: list[TextRun]) -> bool:
    _, low, _, high = page.get_bbox()
    eighth = (high - low) / 8
    return all(
        text_run.turn == 0 and not low + eighth < text_run.middle < high - eighth
        for text_run in text_runs
    )


def _has_rules(page: Any, x: float, low: float, high: float) -> bool:
    """Whether paths between two heights form a table: rules across x, or boxes beside it."""
    from pypdfium2 import raw

    rules = boxes = 0
    for path in _objects(page, raw.FPDF_PAGEOBJ_PATH):
        bounds = _bounds(path)
        if bounds is None or bounds[3] < low or bounds[1] > high:
            continue
        left, bottom, right, top = bounds
        if left < x - 20 and right > x + 20:
            rules += top - bottom < 4 or raw.FPDFPath_CountSegments(path.raw) > 3 * _MIN_RULES
        else:
            boxes += right - left > 20 and 8 < top - bottom < (high - low) / 4
    return rules >= _MIN_RULES or boxes >= _MIN_BOXES


__all__ = [
    "PageContents",
    "TooManyCharactersError",
    "open_document",
    "open_with_passwords",
    "page_contents",
    "page_label",
]
