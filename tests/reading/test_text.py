"""Text files: the original text comes back from every encoding."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from retriever.reading.encodings import decode
from retriever.reading.plain.text import read_text
from retriever.types import PageState, ReadError

WRITTEN = {
    "german": ("Die Größe der Häuser wächst über die Jahre; schöne Grüße.", "cp1252 iso8859-15"),
    "french": ("L’été dernier, nous avons visité la forêt – c’était délicieux.", "cp1252"),
    "spanish": ("El niño comió una piña. ¿Dónde está la educación?", "cp1252 latin-1"),
    "swedish": ("Räksmörgås är en god måltid på sjön. Äpplen växer på träden.", "cp1252"),
    "quotes": ("“It’s a matter of trust,” she said – and left the café.", "cp1252"),
    "polish": ("Zażółć gęślą jaźń. Źródło wody znajduje się pod łąką.", "cp1250 iso8859-2"),
    "czech": ("Příliš žluťoučký kůň úpěl ďábelské ódy v novém městě.", "cp1250 iso8859-2"),
    "hungarian": ("Árvíztűrő tükörfúrógép. A gyerekek örömmel játszottak.", "cp1250 iso8859-2"),
    "turkish": ("Pijamalı hasta yağız şoföre çabucak güvendi, öğrenciler gördü.", "cp1254"),
    "lithuanian": ("Įlinkdama fechtuotojo špaga pragręžė apvalų arbūzą šiandien.", "cp1257"),
    "russian": (
        "Съешь же ещё этих мягких французских булок, да выпей чаю.",
        "cp1251 koi8-r cp866 iso8859-5",
    ),
    "ukrainian": ("Жебракують філософи при ґанку церкви в Гадячі. Їжак спав.", "cp1251 koi8-u"),
    "greek": ("Η γρήγορη καφέ αλεπού πηδάει πάνω από το σκυλί.", "cp1253 iso8859-7"),
    "hebrew": ("אמון הוא עניין חשוב באבטחת מידע. דג סקרן שט בים מאוכזב.", "cp1255"),
    "arabic": ("الثقة مهمة في أمن المعلومات. نص حكيم له سر قاطع.", "cp1256 iso8859-6"),
    "thai": ("เป็นมนุษย์สุดประเสริฐเลิศคุณค่า กว่าบรรดาฝูงสัตว์", "cp874"),
    "japanese": (
        "吾輩は猫である。名前はまだ無い。どこで生れたかとんと見当がつかぬ。",
        "shift_jis cp932 euc_jp iso2022_jp",
    ),
    "chinese": ("零信任架构是一种安全模型，它假设网络内外都不可信。", "gb18030 gbk gb2312"),
    "taiwanese": ("零信任架構是一種安全模型，它假設網路內外都不可信。", "big5"),
    "korean": ("제로 트러스트 아키텍처는 모두 신뢰하지 않는 보안 모델이다.", "euc_kr cp949"),
}
UNICODE = "utf-8 utf-8-sig utf-16 utf-16-le utf-16-be utf-32 utf-32-le utf-32-be"


@pytest.mark.parametrize(
    ("name", "encoding"),
    [
        (name, encoding)
        for name, (_, encodings) in WRITTEN.items()
        for encoding in f"{encodings} {UNICODE}".split()
    ],
)
def test_round_trip(name, encoding):
    text = WRITTEN[name][0]
    data = text.encode(encoding)
    assert data.decode(encoding).lstrip("\ufeff") == text
    page = read_text(data, "a.txt").pages[0]
    assert (page.number, page.state, page.text) == (None, PageState.TEXT, text)


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"caf\xe9", "café"),
        (b"Gr\xfc\xdfe", "Grüße"),
        (b"na\xefve r\xe9sum\xe9", "naïve résumé"),
        (b"30 \x80 and 5 \xa3", "30 € and 5 £"),
        ("Привет".encode("cp1251"), "Привет"),
        ("日本語です".encode("shift_jis"), "日本語です"),
        (b"x", "x"),
        (b"2 + 2 = 4", "2 + 2 = 4"),
    ],
)
def test_short_texts(data, text):
    assert decode(data) == text


def test_damage_is_survived():
    whole = "Ein Bär läuft über die Brücke zum schönen Fluß. " * 20
    damaged = whole.encode() + b"\xff\xfe and more"
    assert decode(damaged).startswith(whole)
    assert decode("gekürzt: ü".encode()[:-1]).startswith("gekürzt: ")
    assert (
        read_text(b"line one\x00\x00 after nul\nline two\x00\n" * 30, "a").pages[0].text
        == ("line one after nul\nline two\n" * 30).strip()
    )


def test_line_ends_and_form_feeds():
    page = read_text(b"a\r\nb\rc\nd\x0ce", "a.txt").pages[0]
    assert page.text == "a\nb\nc\nd\ne"


def test_doubled_and_turned_line_ends():
    assert read_text(b"a\r\r\nb\r\r\n\r\r\nc", "a.txt").pages[0].text == "a\nb\n\nc"
    assert read_text(b"a\n\rb\n\rc\r\n\r\nd", "a.txt").pages[0].text == "a\nb\nc\n\nd"


def test_files_that_were_put_together_with_their_marks():
    mark = "\ufeff".encode()
    page = read_text(mark + b"one" + mark + b"two\n" + mark + b"three", "a.txt").pages[0]
    assert page.text == "one\ntwo\nthree"


def test_empty_and_binary():
    page = read_text(b" \r\n\t \n", "a.txt").pages[0]
    assert (page.state, page.text) == (PageState.EMPTY, "")
    for data in (bytes(1000), bytes(range(256)) * 10, Random(1).randbytes(5_000)):
        with pytest.raises(ReadError, match="binary data"):
            read_text(data, "a.txt")


def test_too_long():
    page = read_text(b"word " * 9_000_000, "a.txt").pages[0]
    assert (page.state, page.text) == (PageState.TOO_LONG, "")
    assert "45,000,000 bytes" in page.reason


@given(st.text(st.characters(blacklist_categories=["Cs", "Cc", "Co", "Cn"]), min_size=1))
def test_utf8_is_always_itself(text):
    assert decode(text.encode()) in (text, text.removeprefix("\ufeff"))


@given(st.text(st.characters(min_codepoint=32, max_codepoint=126), min_size=1))
def test_ascii_is_always_itself(text):
    assert decode(text.encode("ascii")) == text


def test_stray_nuls_make_no_other_letters():
    """NULs at random places, measured in the issue: up to 39 % of short texts became Chinese."""
    random = Random(7)
    words = "alpha beta gamma delta the quick brown fox jumps over a lazy dog near the mill\n"
    for length, nuls in [(40, 1), (41, 1), (80, 1), (200, 5), (400, 5), (60, 6)]:
        for _ in range(100):
            letters = list((words * 8)[:length])
            for _ in range(nuls):
                letters[random.randrange(length)] = "\x00"
            found = decode("".join(letters).encode())
            assert found == "".join(letters)


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"alpha\x00beta gamma delta the quick fox\n", "alpha beta gamma delta the quick fox"),
        (b"one\x00\ntwo\x00\nthree\x00\n", "one\ntwo\nthree"),
        (b"./a.txt\x00./b.txt\x00./c.txt\x00", "./a.txt ./b.txt ./c.txt"),
        (b"Ada\0\0\0\0\0Lovelace\0\0Bob\0\0\0\0\0Ross\0\0\0\0\0\0", "Ada Lovelace Bob Ross"),
        (b"Caf\xe9 am See\x00Preis und Gr\xf6\xdfe und so\n", "Café am See Preis und Größe und so"),
        (b"before the stop" + bytes(4096) + b"after the stop", "before the stop after the stop"),
        (bytes(64) + b"only the end is left", "only the end is left"),
        (b"one line\r\n" + "added line\r\n".encode("utf-16-le"), "one line\nadded line"),
    ],
)  # fmt: skip
def test_nuls_in_a_text(data, text):
    page = read_text(data, "a.txt").pages[0]
    assert (page.state, page.text) == (PageState.TEXT, text)


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be"])
@pytest.mark.parametrize(
    "text",
    [
        "शून्य विश्वास एक सुरक्षा ढाँचा है जो किसी पर भरोसा नहीं करता।",
        "பூஜ்ஜிய நம்பிக்கை கட்டமைப்பு ஒரு பாதுகாப்பு மாதிரி ஆகும்.",
        "A short note.",
        "Ein Bär, 3 €.",
    ],
)
def test_wide_texts_stay_wide(text, encoding):
    assert decode(text.encode(encoding)) == text


@pytest.mark.parametrize("older", ["cp1252", "cp1251", "cp1250", "koi8_r"])
def test_lines_in_several_encodings(older):
    line = {"cp1251": "Привет, мир", "koi8_r": "Привет, мир", "cp1250": "Zażółć gęślą jaźń"}.get(
        older, "Grüße aus Köln"
    )
    data = b"".join(f"{line}\n".encode(name) for name in ["utf-8", older, "utf-8", older])
    assert decode(data) == f"{line}\n" * 4


def test_a_line_in_latin_does_not_break_a_text_in_utf_8():
    assert decode("Größe\n".encode() * 50 + "Köln\n".encode("cp1252")) == "Größe\n" * 50 + "Köln\n"


def test_a_word_in_latin_within_a_line_of_utf_8():
    line = "Schöne Größe über Brücken für Bären, " * 3
    data = line.encode() + "von Jörg aus Köln".encode("cp1252") + b" \xff\n"
    assert decode(data) == f"{line}von Jörg aus Köln \ufffd\n"


def test_a_short_line_of_chinese_is_not_taken_for_utf_8():
    lines = ["莫", "零信任架构是一种安全模型", "它假设网络内外都不可信"]
    chance = next(
        character
        for character in "".join(map(chr, range(0x4E00, 0x9FFF)))
        if _is_utf8(character.encode("gb18030"))
    )
    data = "\n".join([*lines, chance]).encode("gb18030")
    assert decode(data) == "\n".join([*lines, chance])


def _is_utf8(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True
