"""Page states: readable text, and text that is garbled."""

from __future__ import annotations

import pytest

from retriever.reading.facts import clean_author, clean_title, iso_date, scalars
from retriever.reading.pages import MAX_CHARACTERS, garbled_reason, make_page
from retriever.types import PageState

ENGLISH = (
    "A zero trust architecture is designed and deployed with adherence to the following basic "
    "tenets, and no resource is trusted by its place in the network alone. "
) * 3

LEGIBLE = {
    "english": ENGLISH,
    "chinese": "零信任架构是一种安全模型，它假设网络内外都不可信。" * 5,
    "japanese": "吾輩は猫である。名前はまだ無い。どこで生れたかとんと見当がつかぬ。カタカナも。"
    * 5,
    "korean": "제로 트러스트 아키텍처는 내부와 외부를 모두 신뢰하지 않는다. " * 5,
    "arabic": "الثقة مهمة في أمن المعلومات ولا يجوز إهمالها. " * 5,
    "hebrew": "אמון הוא עניין חשוב באבטחת מידע ובחיים בכלל. " * 5,
    "thai": "เป็นมนุษย์สุดประเสริฐเลิศคุณค่ากว่าบรรดาฝูงสัตว์เดรัจฉาน" * 5,
    "hindi": "शून्य विश्वास एक सुरक्षा ढाँचा है जो किसी पर भरोसा नहीं करता। " * 5,
    "czech": "Příliš žluťoučký kůň úpěl ďábelské ódy. Strč prst skrz krk. " * 8,
    "polish": "W Szczebrzeszynie chrząszcz brzmi w trzcinie. " * 8,
    "welsh": "Mae hen wlad fy nhadau yn annwyl i mi, gwlad beirdd a chantorion. " * 6,
    "mathematics": "∀ε>0 ∃δ>0: |x−x₀|<δ ⇒ |f(x)−f(x₀)|<ε, 𝑓∈𝐶(ℝ), ∫₀^∞ e^{−x²}dx=√π/2 " * 5,
    "dna": "ACGTTGCAAGCTTAGGCTAACGT " * 20,
    "several scripts": "Wort слово λόγος 言葉 كلمة מילה शब्द คำ 단어 word " * 10,
    "one damaged sign": "It\x92s a caf\ufffd. ",
    "tex without names for signs": "Sei \x14 eine Kurve so, dass \x0c\x0cx\x0c\x0c = 1 gilt. " * 6,
    "numbers": "12.5 13.7 1,024 99% 0x1F\n" * 20,
}


@pytest.mark.parametrize("name", sorted(LEGIBLE))
def test_writing_of_every_kind_is_text(name):
    assert garbled_reason(LEGIBLE[name]) == ""


GARBLED = {
    "glyph numbers": "(cid:12)(cid:7) (cid:88)(cid:13) " * 5,
    "glyph names": "/g12/g7/g88 /g13/g5 " * 5,
    "private use": "\uf021\uf022\uf04d \uf036\uf037 " * 5,
    "replacement": "\ufffd\ufffd\ufffd a\ufffd\ufffd " * 5,
    "shifted by 29, blanks too": "".join(chr(ord(letter) - 29) for letter in ENGLISH),
    "shifted, blanks kept": "".join(chr(ord(c) - 29) if c > " " else c for c in ENGLISH),
    "control codes": "\x01\x02\x03 \x05\x06 \x0e\x11 " * 5,
    "numbers taken for letters": "ɹং\u0c28Θͨ͘ݱ\u09c5ض၊ఆΞԱեकກ" * 8,
}


@pytest.mark.parametrize("name", sorted(GARBLED))
def test_codes_of_every_kind_are_garbled(name):
    page = make_page(3, GARBLED[name])
    assert (page.number, page.text, page.state) == (3, "", PageState.GARBLED)
    assert page.reason


def test_states_of_a_page():
    assert make_page(None, " \n\t ").state is PageState.EMPTY
    assert make_page(1, "a\r\nb\x00\ufeff").text == "a\nb"
    long = make_page(2, "x " * (MAX_CHARACTERS // 2 + 1))
    assert (long.state, long.text) == (PageState.TOO_LONG, "")
    assert "10,000,002 characters" in long.reason


@pytest.mark.parametrize(
    "title",
    [
        *["", "untitled", "Untitled document", "Microsoft Word - report.doc", "report.docx", "..."],
        *["a_b_final", "PowerPoint Presentation", "123", "Slide 1", "\ufffd\ufffd abc", "scan0012"],
        *[
            "Microsoft Word",
            "Microsoft PowerPoint - Kick-off.ppt [Compatibility Mode]",
            "Untitled-1",
        ],
        *["Untitled (2)", "untitled3", "Untitled presentation", "Scan", "Scan 2024-03-01 10.00"],
        *["Scanned document", "Scan_12", "Scanned by CamScanner", "Scan to e-mail", "Unbenannt 1"],
    ],
)
def test_what_is_no_title(title):
    assert clean_title(title, "folder/scan0012.pdf") == ""


def test_titles_that_are():
    for title in ("Zero Trust", "Über das Glück", "零信任", "Civil", "Slides of summer", "C", "VI"):
        assert clean_title(f"  {title}\n", "a.pdf") == title
    for title in ("1984", "2666", "Microsoft Excel Data Analysis for Beginners", "IV", "K2"):
        assert clean_title(title, "a.pdf") == title
    for title in ("Microsoft Word tips", "Scan statistics of the weir", "Untitled (Black on Grey)"):
        assert clean_title(title, "a.pdf") == title
    for title in (
        "How to open index.html",
        "Scanners of old",
        "Untitled Goose Game",
        "Page 3 girls",
    ):
        assert clean_title(title, "a.pdf") == title
    for title in ("Dune", "Home", "Index", "300", "7", "dune", "V.", "Q"):
        assert clean_title(title, "dune.epub") == title
    for title in ("I", "IV.", "XXXIX", "Epilogue"):
        assert clean_title(title, "epilogue.html") == ""
    assert clean_title("C", "c-language.html") == "C"
    assert [clean_title(title, "dune.pdf") for title in ("Dune", "dune")] == ["Dune", ""]
    assert clean_author("Administrator") == ""
    assert clean_author(" Mary Shelley; ") == "Mary Shelley"


@pytest.mark.parametrize(
    ("stated", "iso"),
    [
        ("D:20230630143506+00'00'", "2023-06-30T14:35:06+00:00"),
        ("D:20200810114743-04'00'", "2020-08-10T11:47:43-04:00"),
        ("D:20200810", "2020-08-10"),
        ("D:20201310", ""),
        ("2024-03-07", "2024-03-07"),
        ("2024-03-07T10:30:00Z", "2024-03-07T10:30:00+00:00"),
        ("2024-03-07 nonsense", "2024-03-07"),
        ("2024-03-07+01:00", "2024-03-07"),
        ("2024-03-07-0500", "2024-03-07"),
        ("Thu, 07 Mar 2024 10:30:00 GMT", "2024-03-07T10:30:00+00:00"),
        ("March 7, 2024", "2024-03-07"),
        ("7 March 2024", "2024-03-07"),
        ("07.03.2024", "2024-03-07"),
        ("2024-02-30", ""),
        ("1813", "1813"),
        (1813, "1813"),
        ("c1813", "1813"),
        ("[1813?]", "1813"),
        ("© 1813", "1813"),
        ("Spring 2024", "2024"),
        ("2011-06", "2011-06"),
        ("2019/05", "2019-05"),
        ("D:2020", "2020"),
        ("D:202008", "2020-08"),
        ("2024-03-00", "2024-03"),
        ("2024-00-00", "2024"),
        ("2024-13", ""),
        ("March 2024", "2024-03"),
        ("Mar. 2024", "2024-03"),
        ("2024 March", "2024-03"),
        ("mars 2024", "2024-03"),
        ("7th March 2024", "2024-03-07"),
        ("7th of March, 2024", "2024-03-07"),
        ("March 7th, 2024", "2024-03-07"),
        ("Thursday, March 7, 2024 3:15 PM", "2024-03-07"),
        ("7. März 2024", "2024-03-07"),
        ("7 de marzo de 2024", "2024-03-07"),
        ("1er août 2024", "2024-08-01"),
        ("07-Mar-2024", "2024-03-07"),
        ("7-Mar-96", "1996-03-07"),
        ("05 Mar 96", "1996-03-05"),
        ("05 Mar 24", "2024-03-05"),
        ("2024-3-7", "2024-03-07"),
        ("2024/3/7", "2024-03-07"),
        ("2024-3-7 10:30", "2024-03-07"),
        ("7.3.2024", "2024-03-07"),
        ("7.3.24", "2024-03-07"),
        ("31/12/2024", "2024-12-31"),
        ("12/31/2024", "2024-12-31"),
        ("3/4/2024", "2024"),
        ("2024年3月7日", "2024-03-07"),
        ("2024년 3월", "2024-03"),
        ("Tue, 05 Mar 96 10:00:00 GMT", "1996-03-05T10:00:00+00:00"),
        ("Tue, 5 Mar 2024 10:00 +0100", "2024-03-05T10:00:00+01:00"),
        ("Tue Mar  5 10:00:00 2024", "2024-03-05T10:00:00"),
        ("Tue Mar  5 10:00:00 CET 2024", "2024-03-05T10:00:00"),
        ("1813-15", "1813"),
        ("1998-2004", "1998"),
        ("Tue,5 Mar 2024 10:00:00 +0000", "2024-03-05T10:00:00+00:00"),
        ("20240305T100000Z", "2024-03-05T10:00:00+00:00"),
        ("Q3/2019", "2019"),
        ("FY2019", "2019"),
        ("June 2011–July 2012", "2011-06"),
        ("March 5-7, 2024", "2024-03-05"),
        ("5./6. März 2024", "2024-03-05"),
        ("7 mars 2024 à 10:30", "2024-03-07"),
        ("1813 [i.e. 1814]", "1813"),
        ("1999, c1998", "1999"),
        ("May 1, 2019 (revised)", "2019-05-01"),
        ("Aug '96", "1996-08"),
        ("10/Oct/2000:13:55:36 -0700", "2000-10-10"),
        ("12 Mar 24 at 3pm", "2024-03-12"),
        ("Sunday 7", ""),
        ("May you live 2024", ""),
        ("123456", ""),
        ("12", ""),
        ("9999", ""),
        ("version 2024", ""),
        ("yesterday", ""),
        ("1970-01-01T00:00:00Z", ""),
        (None, ""),
        (20240307, "2024-03-07"),
    ],
)
def test_dates(stated, iso):
    assert iso_date(stated) == iso


def test_metadata_is_what_an_index_can_compare():
    assert scalars({"a": 10**30, "b": float("nan"), "c": [1, "x"], "": 1, "d": -(10**5000)}) == {
        "a": "1" + "0" * 30,
        "c": "1, x",
    }
