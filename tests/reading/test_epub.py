"""EPUB books: chapters in reading order, with their titles from the table of contents."""

from __future__ import annotations

import io
import zipfile

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from retriever.reading.formats import read_bytes
from retriever.reading.options import ReadOptions
from retriever.types import Document, PageState, ReadError

CONTAINER = """<?xml version="1.0"?>
<container xmlns="urn:oasis:names:tc:opendocument:xmlns:container" version="1.0">
<rootfiles><rootfile full-path="OEBPS/book.opf"/></rootfiles></container>"""
PACKAGE = """<?xml version="1.0"?><package xmlns="http://www.idpf.org/2007/opf" version="3.0">
<metadata xmlns:dc="http://purl.org/dc/elements/1.1/"><dc:title>The Garden</dc:title>
<dc:creator>Ada Lovelace</dc:creator><dc:creator>Bob Stone</dc:creator><dc:date>1895-03-07</dc:date>
<dc:language>en</dc:language></metadata><manifest>
<item id="cover" href="cover.xhtml" media-type="application/xhtml+xml"/>
<item id="nav" href="nav.xhtml" media-type="application/xhtml+xml" properties="nav"/>
<item id="ncx" href="toc.ncx" media-type="application/x-dtbncx+xml"/>
<item id="two" href="text/two.xhtml" media-type="application/xhtml+xml"/>
<item id="one" href="text/one%20a.xhtml" media-type="application/xhtml+xml"/>
<item id="three" href="text/three.xhtml" media-type="application/xhtml+xml"/>
<item id="map" href="text/map.xhtml" media-type="application/xhtml+xml"/>
</manifest><spine toc="ncx"><itemref idref="cover"/><itemref idref="nav"/><itemref idref="one"/>
<itemref idref="two"/><itemref idref="three"/><itemref idref="map"/><itemref idref="two"/>
</spine></package>"""
NAV = """<html xmlns="http://www.w3.org/1999/xhtml" xmlns:epub="http://www.idpf.org/2007/ops"><body>
<nav epub:type="toc"><ol><li><a href="text/one%20a.xhtml">I. Soil</a></li>
<li><a href="text/two.xhtml#x">II. Seeds</a></li></ol></nav>
<nav epub:type="landmarks"><ol><li><a href="text/three.xhtml">Start</a></li></ol></nav>
</body></html>"""
NCX = """<ncx xmlns="http://www.daisy.org/z3986/2005/ncx/"><navMap><navPoint><navLabel><text>Old one
</text></navLabel><content src="text/one%20a.xhtml"/></navPoint></navMap></ncx>"""


def chapter(body: str, head: str = "<title/>") -> str:
    return (
        '<?xml version="1.0" encoding="utf-8"?><html xmlns="http://www.w3.org/1999/xhtml">'
        f'<head>{head}<script src="x.js"/></head><body>{body}</body></html>'
    )


MEMBERS = {
    "mimetype": "application/epub+zip",
    "META-INF/container.xml": CONTAINER,
    "OEBPS/book.opf": PACKAGE,
    "OEBPS/nav.xhtml": NAV,
    "OEBPS/toc.ncx": NCX,
    "OEBPS/cover.xhtml": chapter('<img src="c.png"/>'),
    "OEBPS/text/one a.xhtml": chapter('<a id="p1"/><h2>Soil</h2><p>Dark<span/> earth.</p>'),
    "OEBPS/text/two.xhtml": chapter("<p>Small&#160;seeds &mdash; many.</p>"),
    "OEBPS/text/three.xhtml": chapter("<section><h1>III. <i>Rain</i></h1><p>Wet.</p></section>"),
    "OEBPS/text/map.xhtml": chapter('<p><img src="map.png" alt=""/></p>'),
}


def book(**changes: str | bytes | None) -> bytes:
    """The book with other members; keys are prefixes of their names, None removes a member."""
    members: dict[str, str | bytes | None] = dict(MEMBERS)
    for key, value in changes.items():
        members[next((name for name in members if key in name), key)] = value
    return packed({name: text for name, text in members.items() if text is not None})


def packed(members: dict[str, str | bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in members.items():
            archive.writestr(name, text)
    return buffer.getvalue()


def read(data: bytes) -> Document:
    return read_bytes(data, "a.epub", ReadOptions())


def test_chapters_in_reading_order():
    found = read(book())
    assert [(page.number, page.label, page.text) for page in found.pages] == [
        (1, "I. Soil", "## Soil\n\nDark earth."),
        (2, "II. Seeds", "Small\xa0seeds — many."),
        (3, "III. Rain", "# III. Rain\n\nWet."),
        (4, "part 4", ""),
    ]
    assert (found.pages[3].state, found.pages[3].reason) == (
        PageState.EMPTY,
        "no text in it but a picture",
    )


def test_facts():
    found = read(book())
    assert (found.format, found.title, found.author) == (
        "epub",
        "The Garden",
        "Ada Lovelace, Bob Stone",
    )
    assert (found.date, found.metadata) == ("1895-03-07", {"language": "en"})


def test_the_older_table_of_contents():
    assert read(book(nav=None)).pages[0].label == "Old one"


def test_equal_titles_become_different_labels():
    changed = NAV.replace("II. Seeds", "I. Soil")
    assert [page.label for page in read(book(nav=changed)).pages][:2] == ["I. Soil", "I. Soil (2)"]


def test_notes_and_boxes_of_a_book_are_text():
    body = (
        '<h1>One</h1><p>Text<a epub:type="noteref" href="#n">1</a> goes on.</p>'
        '<aside epub:type="footnote" id="n" hidden="hidden"><p>Brandt kept it.</p></aside>'
        '<section epub:type="endnotes" hidden=""><p>About Kestrel.</p></section>'
        '<aside epub:type="sidebar"><h5>Lamps</h5><p>Cut the wick.</p></aside>'
        '<div class="sidebar"><p>Oil burns.</p></div><section id="menu"><p>Trout.</p></section>'
    )
    assert read(book(one=chapter(body))).pages[0].text == (
        "# One\n\nText[1] goes on.\n\nBrandt kept it.\n\nAbout Kestrel.\n\n##### Lamps\n\n"
        "Cut the wick.\n\nOil burns.\n\nTrout."
    )


def test_what_a_book_leaves_out_is_named():
    facts = (
        "<dc:rights>Free</dc:rights><dc:description>&lt;p&gt;A blurb.&lt;/p&gt;</dc:description>"
    )
    found = read(
        book(
            opf=PACKAGE.replace("</metadata>", f"{facts}</metadata>"),
            one=chapter("<nav><a href='x'>Back</a></nav><p>Soil</p>", "<title>Page</title>"),
            nav=NAV.replace("<body>", "<body><h1>Contents</h1>"),
        )
    )
    assert found.metadata["description"] == "A blurb."
    assert [(part.kind, part.text) for part in found.left_out] == [
        ("metadata", "Free"),
        ("navigation", "# Contents"),
        ("navigation", "1. I. Soil\n2. II. Seeds"),
        ("navigation", "1. Start"),
        ("page titles", "Page"),
        ("navigation", "Back"),
    ]


def test_a_contents_page_with_a_text_of_its_own_is_a_page():
    nav = NAV.replace("<body>", "<body><p>This edition follows the first print.</p>")
    assert "This edition follows the first print." in [
        page.text for page in read(book(nav=nav)).pages
    ]


def test_parts_outside_the_reading_order_follow():
    package = PACKAGE.replace('<itemref idref="one"/>', "")
    assert [page.label for page in read(book(opf=package)).pages] == [
        *["II. Seeds", "III. Rain", "part 3", "I. Soil"],
    ]


def test_the_main_title_of_several():
    titles = (
        '<dc:title id="a">A series</dc:title><dc:title id="b">The book</dc:title>'
        '<meta refines="#b" property="title-type">main</meta>'
    )
    assert read(book(opf=PACKAGE.replace("<dc:title>The Garden</dc:title>", titles))).title == (
        "The book"
    )


ENCRYPTION = """<encryption xmlns="urn:oasis:names:tc:opendocument:xmlns:container"
 xmlns:enc="http://www.w3.org/2001/04/xmlenc#"><enc:EncryptedData><enc:EncryptionMethod
 Algorithm="{}"/><enc:CipherData><enc:CipherReference URI="OEBPS/text/{}"/></enc:CipherData>
</enc:EncryptedData></encryption>"""


def test_a_locked_chapter_is_encrypted():
    rights = ENCRYPTION.format("http://www.w3.org/2001/04/xmlenc#aes128-cbc", "two.xhtml")
    found = read(book(two=b"\x07\x99" * 99, **{"META-INF/encryption.xml": rights}))
    page = found.pages[1]
    assert (page.state, page.label) == (PageState.ENCRYPTED, "II. Seeds")
    assert "digital rights management" in page.reason
    assert found.pages[0].state is PageState.TEXT


def test_a_scrambled_font_is_no_lock():
    fonts = ENCRYPTION.format("http://www.idpf.org/2008/embedding", "two.xhtml")
    found = read(book(**{"META-INF/encryption.xml": fonts}))
    assert found.pages[1].state is PageState.TEXT


def test_a_book_of_pictures_is_scanned():
    picture = chapter('<img src="1.png"/>')
    found = read(book(one=picture, two=picture, three=picture))
    assert {page.state for page in found.pages} == {PageState.SCANNED}


def test_missing_and_damaged_parts():
    found = read(book(two=None))
    assert found.pages[1].state is PageState.FAILED
    assert found.pages[1].reason == "missing in the file: OEBPS/text/two.xhtml"
    assert len(read(book(container="<nonsense")).pages) == 4  # the package is found by its ending
    with pytest.raises(ReadError, match="cannot be read as an EPUB book"):
        read(book(opf="<package>"))
    with pytest.raises(ReadError, match="none of the parts its reading order names"):
        read(book(opf="<package/>"))


def test_bombs_are_not_unpacked():
    bomb = packed(MEMBERS | {"OEBPS/text/two.xhtml": b" " * 60_000_000})
    (page,) = read(bomb).pages
    assert page.state is PageState.TOO_LONG
    long = read(book(two=chapter("<b>" * 2_000_001))).pages[1]
    assert (long.state, "tags in one page" in long.reason) == (PageState.TOO_LONG, True)


def test_an_entity_bomb_stays_small():
    entities = "".join(f'<!ENTITY e{n} "{f"&e{n - 1};" * 50}">' for n in range(1, 20))
    nav = f'<!DOCTYPE html [<!ENTITY e0 "x">{entities}]>' + NAV.replace("Soil", "&e19;")
    assert len(read(book(nav=nav)).pages[0].label) < 200


def test_a_book_is_told_by_its_parts():
    found = read_bytes(book(), "a.txt", ReadOptions())
    assert found.format == "epub"
    assert "but it is an EPUB book: read as that" in found.pages[0].reason


SEED = book()


@settings(max_examples=80, deadline=None)
@given(data=st.data())
def test_damaged_books_raise_nothing_but_read_errors(data):
    member = data.draw(st.sampled_from(sorted(MEMBERS)[1:]))
    changed = bytearray(MEMBERS[member].encode())
    for _ in range(data.draw(st.integers(1, 5))):
        at = data.draw(st.integers(0, len(changed)))
        changed[at : at + data.draw(st.integers(0, 30))] = data.draw(st.binary(max_size=6))
    whole = bytearray(packed(MEMBERS | {member: bytes(changed)}))
    if data.draw(st.booleans()):
        at = data.draw(st.integers(0, len(whole)))
        whole[at : at + 3] = data.draw(st.binary(max_size=4))
    try:
        found = read(bytes(whole))
    except ReadError:
        return
    assert found.pages
    assert len({page.label for page in found.pages}) == len(found.pages)
    for page in found.pages:
        assert page.state.readable == bool(page.text.strip())
        assert page.state.readable or page.reason
