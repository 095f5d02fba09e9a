"""Renders pages of a PDF with PDFium: as a PNG, and as characters with their boxes.

PDFium is compiled code and may crash on a damaged file, so this runs in the process that reads
files and returns bytes. The parent's side is `view`.
"""

from __future__ import annotations

import contextlib
import ctypes
import io
import json
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from retriever.reading import extras
from retriever.reading.page_images.alignment import Characters
from retriever.reading.pages import error_text
from retriever.reading.pdf.open import LockedError
from retriever.reading.pdf.pdfium import open_with_passwords
from retriever.types import ReadError

MAX_WIDTH = 3_000
"""Maximum width in pixels: no screen shows more of one page."""

MAX_CHARACTERS = 200_000
"""A page with more characters is rendered, but its characters get no boxes."""

_MAX_PIXELS = 12_000_000
_FINE = 1_000_000  # steps of a page's width and height: PDFium gives coordinates as integers
_FAR = 500.0  # points
_HEADER = ("width", "height", "letters", "upright")


def handle_request(request: dict[str, Any]) -> bytes:
    """The response to `{"what": "picture"|"characters", "path", "number", …}`.

    Raises ReadError; its message is the end of a sentence.
    """
    path, number = Path(request["path"]), int(request["number"])
    with _page(path, number, request["passwords"]) as page:
        if request["what"] == "picture":
            return picture(page, int(request["width"]))
        return characters(page)


def picture(page: Any, width: int) -> bytes:
    """The page as a PNG, `width` pixels wide, or smaller if it would be too large."""
    extras.load("PIL.Image", "ocr", "Pictures of pages")
    points_wide, points_high = page.get_size()
    if not (points_wide > 0 and points_high > 0):
        raise ReadError("the page has no size")
    most = math.sqrt(_MAX_PIXELS / (points_wide * points_high))
    scale = min(min(width, MAX_WIDTH) / points_wide, most, MAX_WIDTH * 4 / points_high)
    _remove_highlights(page)
    with contextlib.closing(page.render(scale=scale)) as bitmap:
        image = bitmap.to_pil().convert("RGB")
        red, green, blue = image.split()
        if red.tobytes() == green.tobytes() == blue.tobytes():
            image = red  # most pages are black on white: a third of the work
        png = io.BytesIO()
        image.save(png, "PNG", compress_level=3)  # twice as fast as 6 and hardly larger
    return png.getvalue()


def _remove_highlights(page: Any) -> None:
    """Remove the file's own highlights from the opened page: they look like marks of a search."""
    from pypdfium2 import raw

    for at in reversed(range(raw.FPDFPage_GetAnnotCount(page.raw))):
        annotation = raw.FPDFPage_GetAnnot(page.raw, at)
        kind = raw.FPDFAnnot_GetSubtype(annotation)
        raw.FPDFPage_CloseAnnot(annotation)
        if kind == raw.FPDF_ANNOT_HIGHLIGHT:
            raw.FPDFPage_RemoveAnnot(page.raw, at)


def characters(page: Any) -> bytes:
    """The page's characters in the format of `parse_characters`: a JSON header and the boxes."""
    from pypdfium2 import raw

    text = page.get_textpage()
    count = text.count_chars()
    if count > MAX_CHARACTERS:
        raise ReadError(f"the page has {count:,} characters")
    width, height = page.get_size()
    letters = [raw.FPDFText_GetUnicode(text.raw, at) for at in range(count)]
    places = _to_page_points(page, _boxes(text.raw, count))
    angles = np.array([raw.FPDFText_GetCharAngle(text.raw, at) for at in range(count)])
    turns = np.round(angles / (math.pi / 2)) + page.get_rotation() // 90
    upright = "".join("10"[int(turn)] for turn in turns % 2)
    # A lone surrogate becomes one character, so that indices stay the same.
    plain = "".join(chr(code) if _is_letter(code) else "\0" for code in letters)
    header = json.dumps(dict(zip(_HEADER, (width, height, plain, upright), strict=True))).encode()
    return len(header).to_bytes(8, "big") + header + places.tobytes()


def parse_characters(body: bytes) -> Characters:
    """The characters from the output of `characters`."""
    past = 8 + int.from_bytes(body[:8], "big")
    width, height, letters, upright = (json.loads(body[8:past])[name] for name in _HEADER)
    boxes = np.frombuffer(body, dtype="<f4", offset=past).reshape(-1, 4)
    stands = np.frombuffer(upright.encode(), dtype=np.uint8) == ord("1")
    return Characters(letters, boxes.astype(np.float32), stands, float(width), float(height))


def _is_letter(code: int) -> bool:
    return 0 < code < 0x110000 and not 0xD800 <= code < 0xE000


def _boxes(text: Any, count: int) -> NDArray[np.float64]:
    """Left, top, right and bottom of each character in PDF coordinates: (count, 4).

    All are 0 if a character has no box.
    """
    from pypdfium2 import raw

    found = (raw.FS_RECTF * max(count, 1))()
    for at in range(count):
        if not raw.FPDFText_GetLooseCharBox(text, at, found[at]):
            found[at] = raw.FS_RECTF()
    boxes = np.frombuffer(found, dtype=np.float32).reshape(-1, 4)[:count].astype(np.float64)
    return np.where(np.isfinite(boxes).all(axis=1, keepdims=True), boxes, 0.0)


def _to_page_points(page: Any, boxes: NDArray[np.float64]) -> NDArray[np.float32]:
    """The boxes in points from the upper left corner of the displayed page: (n, 4).

    PDFium knows the rotation and the crop box of the page. Its transformation is affine, so three
    points determine it.
    """
    from pypdfium2 import raw

    width, height = page.get_size()

    def place(x: float, y: float) -> NDArray[np.float64]:
        across, down = ctypes.c_int(), ctypes.c_int()
        raw.FPDF_PageToDevice(page.raw, 0, 0, _FINE, _FINE, 0, x, y, across, down)
        return np.array([across.value * width, down.value * height]) / _FINE

    origin = place(0, 0)
    right, up = (place(_FAR, 0) - origin) / _FAR, (place(0, _FAR) - origin) / _FAR
    one, other = (
        origin + boxes[:, [at]] * right + boxes[:, [at + 1]] * up for at in (0, 2)
    )  # each (n, 2)
    corners = np.concatenate([np.minimum(one, other), np.maximum(one, other)], axis=1)
    corners[(boxes == 0).all(axis=1)] = 0.0
    return corners.astype("<f4")


# Opening


@contextlib.contextmanager
def _page(path: Path, number: int, passwords: Sequence[str]) -> Iterator[Any]:
    with contextlib.closing(_document(path, passwords)) as document:
        if not 1 <= number <= len(document):
            raise ReadError(f"it has {len(document):,} pages")
        try:
            if document.get_formtype():
                document.init_forms()  # shows the values of form fields too
            with contextlib.closing(document[number - 1]) as page:
                yield page
        except ReadError:
            raise
        except Exception as error:  # noqa: BLE001 - any error comes from the file
            raise ReadError(f"PDFium cannot draw it: {error_text(error)}") from None


def _document(path: Path, passwords: Sequence[str]) -> Any:
    """PDFium's document; raises ReadError if it cannot be opened."""
    import pypdfium2

    if not path.is_file():
        raise ReadError("there is no such file any more")
    try:
        return open_with_passwords(path, passwords)
    except LockedError:
        raise ReadError("it is encrypted, and the page does not know its password") from None
    except (pypdfium2.PdfiumError, ValueError, OSError) as error:
        raise ReadError(f"PDFium cannot open it: {error_text(error)}") from None


__all__ = [
    "MAX_CHARACTERS",
    "MAX_WIDTH",
    "characters",
    "handle_request",
    "parse_characters",
    "picture",
]
