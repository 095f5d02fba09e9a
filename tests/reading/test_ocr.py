"""OCR of pages drawn by the test, compared with the words drawn on them.

Tests that need Tesseract are skipped without it, unless WVA_REQUIRE_OCR is set.
"""

from __future__ import annotations

import io
import random
import sys
import zlib
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pypdf
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image, ImageDraw, ImageFont

from retriever.reading.options import OCR_SECONDS, ReadOptions
from retriever.reading.pdf.reader import read_pdf
from retriever.reading.pictures import images, ocr, tesseract
from retriever.reading.pictures.images import read_image
from retriever.reading.pictures.ocr import recognise_pages
from retriever.reading.pictures.tesseract import (
    OcrResult,
    Picture,
    parse_tsv,
    recognise,
    unavailable_reason,
)
from retriever.types import Page, PageState, ReadError
from tests.pdfs import pdf_file
from tests.scans import (
    LINES,
    drawn,
    mixed_file,
    needs_tesseract,
    scan_file,
)

needs_sh = pytest.mark.skipif(sys.platform == "win32", reason="the stand-in is a shell script")

ENGLISH = ReadOptions(ocr="eng")
SCAN = "an image without text: it needs an OCR to be found"


def saved(sheet: Image.Image, kind: str, **options) -> bytes:
    buffer = io.BytesIO()
    sheet.save(buffer, kind, **options)
    return buffer.getvalue()


def share_found(lines: list[str], text: str) -> float:
    """The share of the drawn words that the text contains."""
    wanted, found = Counter(" ".join(lines).split()), Counter(text.split())
    return sum((wanted & found).values()) / sum(wanted.values())


def scanned(count: int) -> list[Page]:
    return [Page(at + 1, "", PageState.SCANNED, SCAN) for at in range(count)]


# The four states


def test_without_ocr_nothing_changes():
    data = mixed_file()
    pages = read_pdf(data, "a.pdf").pages
    assert [page.state.value for page in pages] == ["text", "scanned", "empty", "garbled"]
    assert recognise_pages(data, pages, ReadOptions()) == pages


@needs_tesseract
def test_a_mixed_file_with_ocr():
    data, extensions = mixed_file(), []
    pages = read_pdf(data, "a.pdf").pages
    found = recognise_pages(data, pages, ReadOptions(ocr="eng", extend_deadline=extensions.append))
    assert (found[0], found[2]) == (pages[0], pages[2])
    assert found[1].state is PageState.OCR
    assert found[1].number == 2
    assert share_found(LINES, found[1].text) == 1.0
    assert found[1].text.split("\n")[0] == LINES[0]
    assert "electricity is not.\n\nPets are" in found[1].text
    assert found[1].reason.startswith("recognised by Tesseract, mean confidence 9")
    # The shifted letters are drawn as they are coded: there is nothing to be recognised in them.
    assert found[3].state in (PageState.GARBLED, PageState.OCR)
    assert extensions == [OCR_SECONDS] * 2


@needs_tesseract
def test_a_recognised_page_keeps_its_printed_number(monkeypatch):
    monkeypatch.setattr(ocr, "recognise", lambda picture, languages: OcrResult("Word", 88))
    pages = [replace(page, printed="iv") for page in scanned(1)]
    (page,) = recognise_pages(scan_file(drawn([])), pages, ENGLISH)
    assert (page.state, page.printed) == (PageState.OCR, "iv")


def test_a_picture_without_text_is_empty_and_not_tried_again():
    noise = np.random.default_rng(1).integers(0, 255, (200, 300), dtype=np.uint8)
    data = scan_file(Image.fromarray(noise), Image.new("L", (300, 400), 255))
    found = recognise_pages(data, scanned(2), ENGLISH)
    assert [(page.state, page.reason) for page in found] == [
        (PageState.EMPTY, "an image in which OCR found no text")
    ] * 2
    assert recognise_pages(data, found, ENGLISH) == found


@needs_tesseract
@pytest.mark.parametrize("degrees", [90, 180, 270])
def test_a_page_that_lies_on_its_side(degrees):
    data = scan_file(drawn(LINES * 2).rotate(degrees, expand=True))
    if degrees != 180:
        data = data.replace(b"432 0 0 288", b"288 0 0 432")
        data = data.replace(b"[0 0 432 288]", b"[0 0 288 432]")
    found = recognise_pages(data, scanned(1), ENGLISH)
    assert share_found(LINES * 2, found[0].text) > 0.97


@needs_tesseract
def test_words_cut_at_line_ends_are_joined_by_the_whole_documents_words():
    cut = ["All of this infor-", "mation is kept for ten years by the office."]
    data = scan_file(drawn(["The information is kept by the office for ten years."]), drawn(cut))
    found = recognise_pages(data, scanned(2), ENGLISH)
    assert found[1].text.startswith("All of this information\nis kept")


@needs_tesseract
def test_a_scan_under_a_password():
    writer = pypdf.PdfWriter(clone_from=io.BytesIO(scan_file(drawn(LINES))))
    writer.encrypt("user", "owner", algorithm="AES-128")
    buffer = io.BytesIO()
    writer.write(buffer)
    data = buffer.getvalue()
    opened = recognise_pages(data, scanned(1), replace(ENGLISH, passwords=("wrong", "user")))
    assert share_found(LINES, opened[0].text) == 1.0
    locked = recognise_pages(data, scanned(1), replace(ENGLISH, passwords=("wrong",)))[0]
    assert locked.state is PageState.SCANNED
    assert "PDFium cannot open it: password needed" in locked.reason


@needs_tesseract
def test_another_script_is_not_taken_for_words():
    letters = "ЖЩЮЯБДФИЛПЦЧЪЫЬЭ"
    font = Path("/usr/share/fonts/truetype/dejavu/DejaVuSans.ttf")
    if not font.exists():
        pytest.skip("no font with Cyrillic letters here")
    rng, sheet = random.Random(3), Image.new("L", (1200, 900), 255)
    for row in range(5):
        words = " ".join("".join(rng.choices(letters, k=7)) for _ in range(5))
        ImageDraw.Draw(sheet).text((60, 60 + 70 * row), words, 0, ImageFont.truetype(font, 36))
    page = recognise_pages(scan_file(sheet), scanned(1), ENGLISH)[0]
    assert page.state is PageState.SCANNED
    assert "is it in another language than eng?" in page.reason


def test_a_page_pdfium_cannot_draw_stays_scanned(monkeypatch):
    monkeypatch.setattr(ocr, "unavailable_reason", lambda languages: "")
    page = recognise_pages(b"%PDF-1.7 nothing", scanned(1), ENGLISH)[0]
    assert page.state is PageState.SCANNED
    assert page.reason.startswith("an image without text; ")
    few = recognise_pages(pdf_file([(b"", b"")]), scanned(2), ENGLISH)
    assert [page.reason for page in few] == [
        "an image without text; PDFium finds only 1 pages in it"
    ] * 2


def test_huge_pages_are_drawn_small(monkeypatch):
    seen: list[Picture] = []
    monkeypatch.setattr(ocr, "unavailable_reason", lambda languages: "")
    monkeypatch.setattr(
        ocr, "recognise", lambda picture, languages: seen.append(picture) or NOTHING
    )
    data = pdf_file([(b"", b"")]).replace(b"[0 0 612 792]", b"[0 0 9e6 9e6]")
    recognise_pages(data, scanned(1), ENGLISH)
    recognise_pages(data.replace(b"9e6 9e6", b"9e6   1"), scanned(1), ENGLISH)
    assert seen
    assert all(one.width * one.height <= 25_100_000 for one in seen)
    assert all(max(one.width, one.height) <= tesseract.MAX_SIDE + 1 for one in seen)
    assert all(len(one.grey) == one.width * one.height for one in seen)


NOTHING = OcrResult("", 0.0)


# Tesseract, and a stand-in for it


def stand_in(folder: Path, monkeypatch, script: str) -> None:
    """A fake Tesseract that lists its languages and then runs `script`."""
    program = folder / "tesseract"
    program.write_text(
        "#!/bin/sh\n"
        'if [ "$1" = --list-langs ]; then printf "List (2):\\ndeu\\neng\\nosd\\n"; exit; fi\n'
        f"cat >/dev/null\n{script}\n"
    )
    program.chmod(0o755)
    monkeypatch.setattr(tesseract, "_program", lambda: str(program))


def row(line: int, word: int, sure: float, letters: str, paragraph: int = 1) -> str:
    return f"5\t1\t1\t{paragraph}\t{line}\t{word}\t0\t0\t9\t9\t{sure}\t{letters}"


def test_lines_paragraphs_and_doubtful_words():
    table = "\n".join(
        [
            "level\tpage_num\tblock_num\tpar_num\tline_num\tword_num\tleft\ttop\twidth\theight\tconf\ttext",
            "4\t1\t1\t1\t1\t0\t0\t0\t9\t9\t-1\t",
            row(1, 1, 90, "Hello"),
            row(1, 2, 70, "world"),
            row(2, 1, 12, "~|~"),
            row(3, 1, 95, " "),
            row(1, 1, 80, "Next", paragraph=2),
        ]
    )
    found = parse_tsv(table)
    assert found.text == "Hello world\n\nNext"
    assert found.confidence == pytest.approx((90 * 5 + 70 * 5 + 80 * 4) / 14)
    assert found.reason == "recognised by Tesseract, mean confidence 80 %"
    assert parse_tsv("\n".join([row(1, 1, 99, "—"), row(1, 2, 99, "a")])) == NOTHING


@needs_sh
def test_what_the_program_says_becomes_the_reason(tmp_path, monkeypatch):
    picture = Picture(2, 2, bytes(4), 300)
    stand_in(tmp_path, monkeypatch, "echo 'out of luck' >&2; exit 1")
    with pytest.raises(ReadError, match="Tesseract failed: out of luck"):
        recognise(picture, "eng")
    stand_in(tmp_path, monkeypatch, "exec tail -f /dev/null")
    monkeypatch.setattr(tesseract, "_SECONDS", 0.2)
    with pytest.raises(ReadError, match="longer than 0 seconds"):
        recognise(picture, "eng")
    monkeypatch.setattr(tesseract, "_program", lambda: str(tmp_path / "gone"))
    with pytest.raises(ReadError, match="does not start: No such file"):
        recognise(picture, "eng")
    assert "does not start" in unavailable_reason()


@needs_sh
def test_a_timeout_costs_its_page_only(tmp_path, monkeypatch):
    stand_in(tmp_path, monkeypatch, "exec tail -f /dev/null")
    monkeypatch.setattr(tesseract, "_SECONDS", 0.2)
    page = recognise_pages(scan_file(drawn([])), scanned(1), ENGLISH)[0]
    assert (page.state, page.text) == (PageState.SCANNED, "")
    assert page.reason == "an image without text; Tesseract took longer than 0 seconds"


@needs_sh
def test_low_confidence_is_tried_without_turning_and_then_refused(tmp_path, monkeypatch):
    table = row(1, 1, 50, "Qwzx")
    upright = row(1, 1, 88, "Word")
    stand_in(
        tmp_path,
        monkeypatch,
        f'case "$*" in *"psm 3"*) echo "{upright}";; *) echo "{table}";; esac',
    )
    assert recognise(Picture(1, 1, b"\0", 300), "eng") == OcrResult("Word", 88)
    stand_in(tmp_path, monkeypatch, f'echo "{table}"')
    with pytest.raises(ReadError, match="no words of it"):
        recognise(Picture(1, 1, b"\0", 300), "eng")


@needs_sh
def test_what_is_missing_is_named_with_how_to_get_it(tmp_path, monkeypatch):
    stand_in(tmp_path, monkeypatch, "")
    assert unavailable_reason("eng+deu") == ""
    reason = unavailable_reason("eng+chi_sim")
    assert "no language 'chi_sim', only deu, eng:" in reason
    assert "apt-get install tesseract-ocr-chi-sim (Debian" in reason
    assert unavailable_reason("") == unavailable_reason("osd").replace("'osd'", "''").replace(
        "-osd", "-"
    )
    page = recognise_pages(scan_file(drawn([])), scanned(1), ReadOptions(ocr="fra"))[0]
    assert (page.state, page.reason.split(":")[0]) == (
        PageState.SCANNED,
        "an image without text; Tesseract has no language 'fra', only deu, eng",
    )
    monkeypatch.setattr(tesseract, "_program", lambda: "")
    reason = unavailable_reason()
    assert all(word in reason for word in ("apt-get install tesseract-ocr", "brew", "winget"))
    garbled = Page(1, "", PageState.GARBLED, "codes, not letters")
    [page] = recognise_pages(scan_file(drawn([])), [garbled], ENGLISH)
    assert (page.state, page.reason) == (PageState.GARBLED, f"codes, not letters; {reason}")


# Pictures as files


@pytest.fixture
def seen(monkeypatch) -> list[Picture]:
    """The pictures given to Tesseract, which reads "words" in each."""
    found: list[Picture] = []
    monkeypatch.setattr(images, "unavailable_reason", lambda languages: "")
    monkeypatch.setattr(
        ocr,
        "recognise",
        lambda picture, languages: found.append(picture) or OcrResult("words", 90),
    )
    return found


def pixels(picture: Picture) -> np.ndarray:
    """(H, W) grey values."""
    return np.frombuffer(picture.grey, np.uint8).reshape(picture.height, picture.width)


@needs_tesseract
@pytest.mark.parametrize("kind", images.KINDS)
def test_every_kind_of_picture_is_read(kind):
    data = saved(drawn(LINES, size=(6, 2)), kind, dpi=(150, 150))
    document = read_image(data, "a.png", ENGLISH)
    [page] = document.pages
    assert (document.format, page.state, page.number) == ("image", PageState.OCR, None)
    assert share_found(LINES, page.text) == 1.0


def test_without_ocr_a_picture_waits(monkeypatch):
    data = saved(drawn(LINES), "PNG")
    [page] = read_image(data, "a.png", ReadOptions()).pages
    assert (page.state, page.reason) == (
        PageState.SCANNED,
        "a picture: index with --ocr to read it",
    )
    [page] = read_image(data, "a.png", ReadOptions(depth=1)).pages
    assert page.state is PageState.SKIPPED
    monkeypatch.setattr(images, "unavailable_reason", lambda languages: "no Tesseract")
    [page] = read_image(data, "a.png", ENGLISH).pages
    assert (page.state, page.reason) == (PageState.SCANNED, "a picture; no Tesseract")


def test_without_pillow_the_extra_is_named(monkeypatch):
    data = saved(drawn([]), "PNG")
    monkeypatch.setitem(sys.modules, "PIL", None)
    with pytest.raises(ReadError, match=r"Pictures need .*: pip install 'wva-retriever\[ocr\]'"):
        read_image(data, "a.png", ReadOptions())


def test_pages_of_a_fax(seen, monkeypatch):
    sheets = [Image.new("1", (40, 30), at % 2) for at in range(3)]
    data = saved(sheets[0], "TIFF", save_all=True, append_images=sheets[1:], dpi=(200, 200))
    pages = read_image(data, "a.tif", ENGLISH).pages
    assert [(page.number, page.text) for page in pages] == [(n, "words") for n in (1, 2, 3)]
    # The third is the picture of the first: a small file may show one on thousands of pages.
    assert [pixels(picture)[0, 0] for picture in seen] == [0, 255]
    assert len({page.scan for page in pages if page.scan}) == 3
    monkeypatch.setattr(images, "_MAX_FRAMES", 2)
    states = [page.state.value for page in read_image(data, "a.tif", ENGLISH).pages]
    assert states == ["ocr", "ocr", "too-long"]
    frames = saved(sheets[0], "PNG", save_all=True, append_images=sheets[1:])
    assert [page.number for page in read_image(frames, "a.png", ENGLISH).pages] == [None]


def test_what_is_transparent_is_paper(seen):
    sheet = Image.new("RGBA", (4, 2), (0, 0, 0, 0))
    sheet.putpixel((1, 1), (0, 0, 0, 255))
    read_image(saved(sheet, "PNG", dpi=(300, 300)), "a.png", ENGLISH)
    assert pixels(seen[0]).tolist() == [[255] * 4, [255, 0, 255, 255]]


def test_sixteen_bits_keep_their_contrast(seen):
    values = np.array([[0, 65_535], [32_768, 65_535]], dtype=np.uint16)
    read_image(saved(Image.fromarray(values), "TIFF", dpi=(300, 300)), "a.tif", ENGLISH)
    assert np.abs(pixels(seen[0]).astype(int) - [[0, 255], [127, 255]]).max() <= 1


def test_a_photograph_is_turned_as_the_camera_noted(seen):
    sheet = Image.new("L", (60, 20), 0)
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by 90 degrees
    exif[0x0132] = "2024:03:07 10:20:30"
    document = read_image(saved(sheet, "JPEG", exif=exif, dpi=(300, 300)), "a.jpg", ENGLISH)
    assert (seen[0].width, seen[0].height) == (20, 60)
    assert document.date == "2024-03-07T10:20:30"


def test_small_pictures_are_doubled_and_stated_resolutions_believed(seen):
    read_image(saved(Image.new("L", (30, 20)), "PNG"), "a.png", ENGLISH)
    read_image(saved(Image.new("L", (30, 20)), "PNG", dpi=(300, 300)), "a.png", ENGLISH)
    read_image(saved(Image.new("L", (3000, 2000)), "PNG", dpi=(72, 72)), "a.png", ENGLISH)
    assert [(one.width, one.dpi) for one in seen] == [(60, 298), (30, 300), (3000, 300)]


def test_a_bomb_is_never_unpacked(seen):
    sheet = saved(Image.new("1", (8, 8)), "PNG")
    for width, height in ((20_000, 20_000), (2**30, 2**30)):
        head = b"IHDR" + width.to_bytes(4, "big") + height.to_bytes(4, "big") + sheet[24:29]
        bomb = sheet[:12] + head + zlib.crc32(head).to_bytes(4, "big") + sheet[33:]
        [page] = read_image(bomb, "a.png", ENGLISH).pages
        assert page.state is PageState.TOO_LONG
        assert "the limit is 100,000,000 pixels" in page.reason
    assert not seen


def test_broken_pictures_have_a_reason(seen):
    data = saved(drawn(LINES), "PNG")
    [page] = read_image(data[: len(data) // 2], "a.png", ENGLISH).pages
    assert (page.state, page.reason.split(":")[0]) == (PageState.FAILED, "the picture is damaged")
    for junk in (b"", b"\x89PNG\r\n\x1a\n" + bytes(40), b"GIF89a" + bytes(40), data[:20]):
        with pytest.raises(ReadError, match="broken: the picture cannot be opened"):
            read_image(junk, "a.png", ENGLISH)


SEEDS = [saved(drawn(["x"], size=(0.4, 0.3)), kind) for kind in images.KINDS]


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_damaged_pictures_raise_nothing_but_read_errors(seen, data):
    changed = bytearray(data.draw(st.sampled_from(SEEDS)))
    for _ in range(data.draw(st.integers(1, 5))):
        at = data.draw(st.integers(0, len(changed)))
        changed[at : at + data.draw(st.integers(0, 20))] = data.draw(st.binary(max_size=8))
    try:
        pages = read_image(bytes(changed), "a.png", ENGLISH).pages
    except ReadError:
        return
    for page in pages:
        assert page.reason
        assert (page.state is PageState.OCR) == bool(page.text)
