"""A page's picture → HTML with boxed passages and shaded words. Pure functions."""

from __future__ import annotations

import base64
from collections.abc import Sequence

from retriever.reading.page_images.alignment import Box
from retriever.reading.page_images.view import PagePicture
from ui.document_text import Weights, shade_colour
from ui.highlighting import escape_html


def picture_html(
    picture: PagePicture,
    name: str,
    passages: Sequence[tuple[int, int]],
    weights: Weights,
    sentence: tuple[int, int] | None = None,
    others: Sequence[tuple[int, int]] = (),
) -> str:
    """The picture with its marks as HTML; `name` is its alternative text.

    The passages are boxed, the `sentence` and the `others` are marked at their margins.
    """
    marks = []
    if picture.placement is not None:
        boxes = [box for span in passages for box in picture.placement.boxes(*span)]
        marks += [
            _mark(_bounding_box(lines), "wva-boxed" + ("" if at else " wva-here"))
            for at, lines in enumerate(_blocks(boxes))
        ]
        if sentence is not None:
            lines = _blocks(picture.placement.boxes(*sentence))
            marks += [_mark(_bounding_box(block), "wva-sentence") for block in lines]
        for span in others:
            lines = _blocks(picture.placement.boxes(*span))
            marks += [_mark(_bounding_box(block), "wva-other") for block in lines]
        marks += [
            _mark(box, "wva-shade", f"background: {shade_colour(weight)}")
            for box, weight in picture.placement.weighted_boxes(weights)
        ]
    source = base64.b64encode(picture.png).decode("ascii")
    return (
        # Decoded before it is shown, so that it does not flicker when its marks change.
        f'<figure class="wva-paper"><img decoding="sync" alt="{escape_html(name)}" '
        f'src="data:image/png;base64,{source}">{"".join(marks)}</figure>'
    )


def _mark(box: Box, kind: str, style: str = "") -> str:
    places = {
        "left": box.left,
        "top": box.top,
        "width": box.right - box.left,
        "height": box.bottom - box.top,
    }
    place = ";".join(f"{side}:{100 * share:.3f}%" for side, share in places.items())
    return f'<span class="{kind}" style="{place};{style}"></span>'


def _blocks(lines: Sequence[Box]) -> list[list[Box]]:
    """Group lines that follow each other down the page, and cells of a row, to blocks."""
    blocks: list[list[Box]] = []
    for line in lines:
        if blocks and _continues(blocks[-1], line):
            blocks[-1].append(line)
        else:
            blocks.append([line])
    return blocks


def _continues(block: Sequence[Box], line: Box) -> bool:
    """Whether a line is beside the block's last line or just below it, not in the next column."""
    last = block[-1]
    height = min(line.bottom - line.top, last.bottom - last.top)
    return line.top > last.top - height and line.top - _bounding_box(block).bottom < 2.5 * height


def _bounding_box(boxes: Sequence[Box]) -> Box:
    return Box(
        min(box.left for box in boxes),
        min(box.top for box in boxes),
        max(box.right for box in boxes),
        max(box.bottom for box in boxes),
    )


__all__ = ["picture_html"]
