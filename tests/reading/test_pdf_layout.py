"""The order of lines: by columns if they are certain, else the drawing order."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from retriever.reading.pdf.layout import TextRun, in_columns, text_of
from retriever.reading.pdf.reader import read_pdf
from tests.pdfs import pdf_file, placed

PROSE = (
    "the quick brown fox jumps over a lazy dog while seven wizards mix strong potions in an old "
    "house near the river and nobody there knows why they never sleep before dawn breaks again"
)
WORDS = PROSE.split()


def prose(tag: str, count: int, words: int = 6) -> list[str]:
    """Continuous lines; each begins with a unique word."""
    return [
        f"{tag}{number} "
        + " ".join(WORDS[(number * words + at) % len(WORDS)] for at in range(words))
        for number in range(count)
    ]


def text_of_page(*texts: tuple[float, float, str], more: bytes = b"", size: int = 10) -> str:
    content, resources = placed(*texts, size=size)
    return read_pdf(pdf_file([(content + more, resources)]), "a.pdf").pages[0].text


def across(*columns: tuple[float, list[str]], top: float = 700) -> list[tuple[float, float, str]]:
    """Columns drawn line by line across the page."""
    rows = zip(*[[(x, line) for line in lines] for x, lines in columns], strict=True)
    return [(x, top - 12 * row, line) for row, lines in enumerate(rows) for x, line in lines]


LEFT, RIGHT = prose("l", 14), prose("r", 14)


def test_columns_drawn_line_by_line_are_read_one_after_the_other():
    title = "The Title Stands Over Both Columns and Is Read Before Either of Them Begins Here"
    note = "1 A note below that goes across the page is read at the end, after the right column."
    found = text_of_page(
        (72, 740, title), *across((72, LEFT), (320, RIGHT)), (72, 500, note), (300, 40, "17")
    )
    assert found.split("\n") == [title, *LEFT, *RIGHT, note, "17"]


def test_a_heading_between_is_read_between():
    lower = across((72, prose("m", 6)), (320, prose("n", 6)), top=590)
    heading = "Chapter Two Spans Both of the Columns That Come Before It and Those That Follow"
    found = text_of_page(
        *across((72, LEFT[:8]), (320, RIGHT[:8])), *lower, (72, 604, heading)
    ).split("\n")
    assert found == [*LEFT[:8], *RIGHT[:8], heading, *prose("m", 6), *prose("n", 6)]


def test_the_right_column_drawn_first_is_read_last():
    texts = across((72, LEFT), (320, RIGHT))
    found = text_of_page(*texts[1::2], *texts[::2])
    assert found.split("\n") == [*LEFT, *RIGHT]


def test_columns_of_lines_at_different_heights():
    rows = across((72, LEFT), (320, RIGHT))
    found = text_of_page(*[(x, y - 5 * (x > 300), line) for x, y, line in rows])
    assert found.split("\n") == [*LEFT, *RIGHT]


def test_three_columns():
    columns = [[line[:34].strip() for line in prose(tag, 14)] for tag in "abc"]
    found = text_of_page(*across((40, columns[0]), (230, columns[1]), (420, columns[2])), size=8)
    assert found.split("\n") == [line for column in columns for line in column]


def test_columns_on_a_turned_page():
    content, resources = placed(*across((72, LEFT), (320, RIGHT)))
    turned = b"q 0 1 -1 0 792 0 cm " + content + b" Q"
    data = pdf_file([(turned, resources)]).replace(b"/MediaBox", b"/Rotate 90 /MediaBox")
    assert read_pdf(data, "a.pdf").pages[0].text.split("\n") == [*LEFT, *RIGHT]


TURNS = ["1 0 0 1 0 0", "0 1 -1 0 612 0", "-1 0 0 -1 612 612", "0 -1 1 0 0 612"]  # of a square
ROWS = [(x, 560 - 14 * row, f"c{row}.{x}") for row in range(4) for x in (60, 200, 350)]


@pytest.mark.parametrize("rotation", [0, 90, 180, 270])
@pytest.mark.parametrize("turn", range(4))
def test_text_is_read_as_it_is_written_however_the_page_is_turned(turn, rotation):
    def found(*texts) -> list[str]:
        content, resources = placed(*texts)
        turned = f"q {TURNS[turn]} cm ".encode() + content + b" Q"
        data = pdf_file([(turned, resources)]).replace(
            b"/MediaBox [0 0 612 792]", b"/MediaBox [0 0 612 612] /Rotate %d" % rotation
        )
        return read_pdf(data, "a.pdf").pages[0].text.split("\n")

    lines = [(60, 560 - 14 * at, line) for at, line in enumerate(LEFT)]
    right = [(330, y, line) for (_, y, _), line in zip(lines, RIGHT, strict=True)]
    assert found(*lines) == LEFT
    assert found(*lines, *right) == [*LEFT, *RIGHT]
    assert found(*across((60, LEFT), (330, RIGHT), top=560)) == [*LEFT, *RIGHT]
    assert found(*ROWS) == [f"c{row}.60 c{row}.200 c{row}.350" for row in range(4)]


def test_tables_are_read_row_by_row():
    cells = [(f"Item {row} of the list", str(row * 7), "yes") for row in range(14)]
    texts = [
        (x, 700 - 12 * row, cell)
        for row, line in enumerate(cells)
        for x, cell in zip((72, 250, 320), line, strict=True)
    ]
    assert text_of_page(*texts).split("\n") == [" ".join(line) for line in cells]


def test_a_table_of_prose_is_read_cell_by_cell_as_drawn():
    cells = [column[at : at + 3] for at in range(0, 12, 3) for column in (LEFT, RIGHT)]
    texts = [
        (72 if number % 2 == 0 else 320, 700 - 36 * (number // 2) - 12 * at, line)
        for number, cell in enumerate(cells)
        for at, line in enumerate(cell)
    ]
    assert text_of_page(*texts).split("\n") == [line for cell in cells for line in cell]


def test_drawn_rules_make_a_table_of_columns():
    rules = b" ".join(b"60 %d m 560 %d l S" % (y, y) for y in range(530, 711, 36))
    found = text_of_page(*across((72, LEFT), (320, RIGHT)), more=b" " + rules)
    assert found.split("\n")[:2] == [f"{LEFT[0]} {RIGHT[0]}", f"{LEFT[1]} {RIGHT[1]}"]


def test_numbers_beside_a_list_are_no_column():
    texts = across((72, [f"{number}." for number in range(14)]), (120, LEFT))
    assert text_of_page(*texts[1::2], *texts[::2]).split("\n")[0] == LEFT[0]


def test_what_stands_close_on_one_line_is_one_word():
    assert text_of_page((72, 700, "E = mc"), (103.5, 704, "2")) == "E = mc2"
    assert text_of_page((72, 700, "one"), (100, 700, "word")) == "one word"


RAISED = {
    "The treaty^1^ was": "The treaty 1 was",
    "The treaty.^12^ It": "The treaty. 12 It",
    "treaty^1^of": "treaty 1 of",
    "Adams^1,2^ and Bell^3^, too": "Adams 1,2 and Bell 3, too",
    "Smith^a,b^ and Windows^TM^ too": "Smith a,b and Windows TM too",
    "in 1998^12^ it": "in 1998 12 it",
    "^1^See Smith": "1 See Smith",
    "6 x 10^23^ atoms": "6 x 10²³ atoms",
    "3.5x10^-6^ m": "3.5x10⁻⁶ m",
    "of 2^32^ ways": "of 2³² ways",
    "a m^2^ and x^3^ or mc^2^": "a m2 and x3 or mc2",
    "the 21^st^ and XIX^e^ M^me^": "the 21st and XIXe Mme",
    "in 1998 or 2010-12 (Smith 2010)": "in 1998 or 2010-12 (Smith 2010)",
}


@pytest.mark.parametrize("rise", [3, 4.5, 6])
@pytest.mark.parametrize("written", RAISED)
def test_raised_marks_are_apart_and_exponents_are_raised(written, rise):
    shown = b"BT /F1 12 Tf 72 700 Td (Text:) Tj 0 -20 Td "
    for at, part in enumerate(written.split("^")):
        size, height = ((12, 0), (7, rise))[at % 2]
        shown += b"/F1 %g Tf %g Ts (%s) Tj " % (size, height, part.replace("(", r"\(").encode())
    page = (shown.replace(b"2010)", b"2010\\)") + b"ET", b"/Font << /F1 3 0 R >>")
    assert read_pdf(pdf_file([page]), "a.pdf").pages[0].text == f"Text:\n{RAISED[written]}"


def test_numbers_of_an_axis_are_not_one_number():
    found = text_of_page(*[(72, 700 - 50 * number, str(number)) for number in range(5)])
    assert found == "0\n1\n2\n3\n4"


def test_hebrew_columns_are_read_from_the_right():
    words = "אבגד הוזח טיכל מנסע פצקר שתאב גדהו"
    pieces = [
        TextRun(words, 2 * row + side, 0, 72 + 248 * side, 250 + 248 * side, low, low + 10)
        for row, low in enumerate(range(700, 500, -12))
        for side in (0, 1)
    ]
    blocks = in_columns(pieces, lambda x, low, high: False)
    assert blocks is not None
    assert [block[0].left for block in blocks] == [320, 72]


numbers = st.floats(-1e9, 1e9) | st.sampled_from([0.0, 72.0, 320.0, 700.0])


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.builds(
            TextRun,
            st.sampled_from([*LEFT, "a", "7", "אבגד"]),
            st.integers(0, 9),
            st.integers(0, 3),
            *[numbers] * 4,
        ),
        max_size=40,
    )
)
def test_no_word_is_lost_wherever_it_stands(pieces):
    def words(text):
        return sorted("".join(text.split()))

    assert words(text_of(pieces, lambda *_: False)) == words("".join(p.text for p in pieces))
