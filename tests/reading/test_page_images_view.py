"""Pictures of pages: the boxes lie on the ink, and each problem has its message."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from retriever.reading import subprocess_reader
from retriever.reading.page_images import view
from retriever.reading.page_images.alignment import Box
from retriever.reading.page_images.render import MAX_WIDTH
from retriever.reading.page_images.view import PagePictures, file_path, has_picture
from retriever.reading.subprocess_reader import Limits
from retriever.types import DocumentRow, Page, PageState, ReadError
from tests.pdfs import drawn, pdf_file, placed

SAMPLE = Path(__file__).parents[2] / "data" / "sample" / "government-pdf"
FONT = b"/Font << /F1 3 0 R >>"


@pytest.fixture(scope="module")
def pictures() -> Iterator[PagePictures]:
    made = PagePictures()
    yield made
    made.close()


def kept(folder: Path, data: bytes, name: str = "a.pdf") -> DocumentRow:
    (folder / name).write_bytes(data)
    digest = hashlib.sha256(data).hexdigest()
    return DocumentRow("id", "docs", str(folder), name, "pdf", sha256=digest)


def ink(png: bytes) -> NDArray[np.bool_]:
    """(height, width): where something dark is drawn."""
    return np.asarray(Image.open(io.BytesIO(png)).convert("L")) < 128


def covered(shape: tuple[int, ...], boxes: list[Box], more: int = 0) -> NDArray[np.bool_]:
    height, width = shape
    mask = np.zeros(shape, dtype=bool)
    for box in boxes:
        rows = slice(int(box.top * height) - more, int(np.ceil(box.bottom * height)) + more)
        columns = slice(int(box.left * width) - more, int(np.ceil(box.right * width)) + more)
        mask[rows, columns] = True
    return mask


LOOKS = {
    "plain": FONT,
    "turned": FONT + b" >> /Rotate 90 /Other <<",
    "upside down": FONT + b" >> /Rotate 180 /Other <<",
    "cropped": FONT + b" >> /CropBox [50 600 500 760] /Other <<",
    "cropped and turned": FONT + b" >> /CropBox [50 600 500 760] /Rotate 270 /Other <<",
}


@pytest.mark.parametrize("look", LOOKS)
def test_the_ink_is_where_the_boxes_are(look: str, pictures: PagePictures, tmp_path: Path) -> None:
    lines = ["Zero trust assumes breach", "and verifies each request"]
    row = kept(tmp_path, pdf_file([(drawn(*lines), LOOKS[look])]))
    text = "\n".join(lines)
    picture = pictures.show(row, Page(1, text), 800)
    dark = ink(picture.png)
    assert dark.any()
    assert picture.placement is not None
    boxes = picture.placement.boxes(0, len(text))
    assert len(boxes) == 2
    assert not (dark & ~covered(dark.shape, boxes, more=max(dark.shape) // 200)).any()
    for at, box in enumerate(boxes):
        assert (dark & covered(dark.shape, [box])).any(), at
    word = text.index("breach")
    (box,) = picture.placement.boxes(word, word + len("breach"))
    share = (dark & covered(dark.shape, [box])).sum() / dark.sum()
    assert share == pytest.approx(6 / 45, abs=0.05)  # 6 of 45 letters


def test_text_that_runs_up_the_page_is_boxed(pictures: PagePictures, tmp_path: Path) -> None:
    content = b"BT /F1 12 Tf 0 1 -1 0 300 200 Tm (upwards it goes) Tj ET"
    row = kept(tmp_path, pdf_file([(content, FONT)]))
    picture = pictures.show(row, Page(1, "upwards it goes"), 800)
    assert picture.placement is not None
    (box,) = picture.placement.boxes(0, 15)
    dark = ink(picture.png)
    assert not (dark & ~covered(dark.shape, [box], more=5)).any()


def test_columns_put_in_order_keep_their_places(pictures: PagePictures, tmp_path: Path) -> None:
    rows = [(72, 700 - 14 * at, f"left column line {at}") for at in range(8)]
    rows += [(320, 700 - 14 * at, f"right column line {at}") for at in range(8)]
    across = [row for pair in zip(rows[:8], rows[8:], strict=True) for row in pair]
    row = kept(tmp_path, pdf_file([placed(*across)]))
    text = "\n".join(line for _, _, line in rows)
    picture = pictures.show(row, Page(1, text))
    assert picture.placement is not None
    for at, (x, y, line) in enumerate(rows):
        begin = sum(len(before) + 1 for _, _, before in rows[:at])
        (box,) = picture.placement.boxes(begin, begin + len(line))
        assert box.left * 612 == pytest.approx(x, abs=2)
        assert (1 - box.bottom) * 792 <= y + 1 <= (1 - box.top) * 792


def test_the_width_is_what_was_asked_for_within_reason(
    pictures: PagePictures, tmp_path: Path
) -> None:
    row = kept(tmp_path, pdf_file([(drawn("a"), FONT)]))
    for asked, given in ((300, 300), (10**6, MAX_WIDTH)):
        size = Image.open(io.BytesIO(pictures.show(row, Page(1, "a"), asked).png)).size
        assert size[0] == pytest.approx(given, abs=1)
        assert size[1] == pytest.approx(given * 792 / 612, abs=2)
    tall = FONT + b" >> /MediaBox [0 0 10 14000] /Other <<"
    picture = pictures.show(
        kept(tmp_path, pdf_file([(drawn("a"), tall)]), "b.pdf"), Page(1, ""), 900
    )
    wide, high = Image.open(io.BytesIO(picture.png)).size
    assert wide * high < 13_000_000


def test_a_picture_of_the_sample_is_kept(pictures: PagePictures) -> None:
    path = SAMPLE / "USDA_10_tips_healthy_meals.pdf"
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    row = DocumentRow("id", "docs", str(path.parent), path.name, "pdf", sha256=digest)
    first = pictures.show(row, Page(1, "x"), 500)
    assert pictures.show(row, Page(1, "x"), 500).png is first.png
    assert pictures.show(row, Page(2, "x"), 500).png != first.png


def test_little_is_kept_when_there_is_much(tmp_path: Path) -> None:
    few = PagePictures(cache_bytes=1)
    try:
        row = kept(tmp_path, pdf_file([(drawn("a"), FONT), (drawn("b"), FONT)]))
        for number in (1, 2, 1):
            assert few.show(row, Page(number, "a")).png
        assert len(few._cache._bytes) == 1
    finally:
        few.close()


def test_what_is_wrong_with_a_file_is_one_sentence(pictures: PagePictures, tmp_path: Path) -> None:
    page = Page(1, "a")
    row = kept(tmp_path, pdf_file([(drawn("a"), FONT)]))
    pictures.show(row, page)

    (tmp_path / "a.pdf").write_bytes(pdf_file([(drawn("b"), FONT)]))
    with pytest.raises(ReadError, match=r"a\.pdf is shown as text: .*changed since"):
        pictures.show(row, page)
    (tmp_path / "a.pdf").unlink()
    with pytest.raises(ReadError, match="not there any more"):
        pictures.show(row, page)

    broken = kept(tmp_path, b"%PDF-1.4\nnothing", "broken.pdf")
    with pytest.raises(ReadError, match=r"broken\.pdf is shown as text"):
        pictures.show(broken, page)
    short = kept(tmp_path, pdf_file([(drawn("a"), FONT)]), "short.pdf")
    with pytest.raises(ReadError, match="it has 1 pages"):
        pictures.show(short, Page(9, "a"))
    assert pictures.show(short, page).png, "what draws is still there"


def test_a_file_under_a_password_needs_it(tmp_path: Path) -> None:
    import pypdf

    writer = pypdf.PdfWriter(clone_from=io.BytesIO(pdf_file([(drawn("secret"), FONT)])))
    writer.encrypt("sesame", algorithm="AES-256")
    data = io.BytesIO()
    writer.write(data)
    row = kept(tmp_path, data.getvalue())
    for passwords, opens in (((), False), (("wrong", "sesame"), True), (("wrong",), False)):
        made = PagePictures(passwords)
        try:
            if opens:
                assert made.show(row, Page(1, "secret")).placement.boxes(0, 6)
            else:
                with pytest.raises(ReadError, match="encrypted"):
                    made.show(row, Page(1, "secret"))
                made.add_password("sesame")
                assert made.show(row, Page(1, "secret")).png
        finally:
            made.close()


def test_what_draws_may_be_killed_by_its_limits(tmp_path: Path) -> None:
    row = kept(tmp_path, pdf_file([(drawn("a"), FONT)]))
    made = PagePictures(limits=Limits(seconds=0.0, seconds_per_mb=0.0))
    try:
        with pytest.raises(ReadError, match="given up"):
            made.show(row, Page(1, "a"))
    finally:
        made.close()


def test_where_no_process_can_be_started_the_text_is_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither the document nor what draws ahead fails for it."""
    monkeypatch.setattr(subprocess_reader, "COMMAND", ("-c", "raise SystemExit('no such library')"))
    row = kept(tmp_path, pdf_file([(drawn("a"), FONT)]))
    made = PagePictures()
    made.start()
    with pytest.raises(ReadError, match=r"a\.pdf is shown as text: .*no such library"):
        made.show(row, Page(1, "a"))
    made._wanted = [(row, Page(1, "a"))]
    monkeypatch.setattr(view, "_MOMENT", 0.0)
    made._prepare()
    made.close()


def test_recognised_text_has_no_place_but_a_note(pictures: PagePictures, tmp_path: Path) -> None:
    row = kept(tmp_path, pdf_file([(drawn("a"), FONT)]))
    picture = pictures.show(row, Page(1, "a", PageState.OCR))
    assert picture.placement is None
    assert "recognised" in picture.note


def test_only_pages_of_paper_have_a_picture(tmp_path: Path) -> None:
    row = kept(tmp_path, b"x")
    assert has_picture(row, Page(1, "a"))
    assert not has_picture(row, Page(None, "a", label="attachment a.txt"))
    assert not has_picture(DocumentRow("id", "", "", "a.pdf", "pdf"), Page(1, "a"))
    assert not has_picture(DocumentRow("id", "d", "/d", "a.txt", "txt"), Page(None, "a"))
    assert file_path(row) == tmp_path / "a.pdf"
