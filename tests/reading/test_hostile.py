"""Files made to take all time or memory, or to lose their own text: small ones of each kind."""

from __future__ import annotations

import io
import os
import re
import socket
import time
import zipfile
from collections.abc import Callable
from pathlib import Path

import docx
import openpyxl
import pptx
import pytest

from retriever.index import Index
from retriever.reading.formats import read_bytes, read_document
from retriever.reading.markup.markdown import split_front_matter
from retriever.reading.options import ReadOptions
from retriever.reading.pages import unify_lines
from retriever.reading.regular import read_blocks
from retriever.types import ReadError
from tests.fakes import FakeEmbedder
from tests.reading.test_opendocument import saved


def texts(data: bytes, name: str) -> list[str]:
    """The texts of the readable pages."""
    return [page.text for page in read_bytes(data, name, ReadOptions()).pages if page.text]


def seconds(work: Callable[[], object]) -> float:
    """Processor time, which other processes do not change."""
    before = time.process_time()
    work()
    return time.process_time() - before


def test_a_page_of_returns_takes_linear_time() -> None:
    assert seconds(lambda: unify_lines("\r" * 500_000)) < 2
    assert unify_lines("\r" * 9) == "\n" * 9
    assert unify_lines("\r" * 9 + "\n") == "\n"


def test_one_long_word_of_restructured_text_is_taken_as_it_stands() -> None:
    word = "a-" * 50_000
    assert seconds(lambda: texts(word.encode(), "a.rst")) < 5
    (page,) = read_bytes(word.encode(), "a.rst", ReadOptions()).pages
    assert page.text == word
    assert "taken as they stand" in page.reason


BOMB = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 30)
)


@pytest.mark.parametrize(
    "block",
    [
        f"{BOMB}title: *a29",
        f"{BOMB}*a29 : value",
        "a: &a {" + "".join(f"k{n}: {n}, " for n in range(9)) + "}\n"
        + "".join(f"a{n}: &a{n}\n  <<: [{'*a, ' * 9}]\n" for n in range(9)),
        "title: &a [*a, x]",
        "title: " + "[" * 1_000,
        "title: !!bool x",
        "title: !!int",
        "title: !!timestamp x",
        "title: !!float " + "9:" * 9_000,
        "? " * 10_000,
        "title: " + "&a " * 10_000,
        "title: !!python/object/apply:os.system [x]",
    ],
)  # fmt: skip
def test_front_matter_that_grows_is_read_in_little_time(block: str) -> None:
    document = f"---\n{block}\n---\nThe text.\n".encode()
    before = time.process_time()
    found = texts(document, "a.md")
    assert time.process_time() - before < 3
    assert "The text." in "".join(found)


def test_a_few_aliases_in_front_matter_are_read() -> None:
    facts, _ = split_front_matter("---\ntitle: &t A name\nsubtitle: *t\nb: &b {x: 1}\nc: *b\n---\n")
    assert facts == {"title": "A name", "subtitle": "A name", "b": {"x": 1}, "c": {"x": 1}}


DECLARED = b'<!DOCTYPE x [<!ENTITY e SYSTEM "file:///etc/passwd">]>'


def with_entity(data: bytes, part: str) -> bytes:
    """The package with an entity and a comment inside the text "one two" of a part."""
    changed = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as source, zipfile.ZipFile(changed, "w") as target:
        for name in source.namelist():
            content = source.read(name)
            if name.startswith(part):
                content = re.sub(rb"^(<\?xml[^>]*\?>)?\s*", rb"\1" + DECLARED, content)
                assert b"one two" in content
                content = content.replace(b"one two", b"one &e;two<!-- c --> three")
            target.writestr(name, content)
    return changed.getvalue()


def packages() -> list[tuple[str, bytes, str]]:
    """(name, content, main part) of office files with the text "one two"."""
    text, show, book = docx.Document(), pptx.Presentation(), openpyxl.Workbook()
    text.add_paragraph("one two")
    show.slides.add_slide(show.slide_layouts[5]).shapes.title.text = "one two"
    book.active.append(["one two", "x"])
    found = []
    for made, name, part in (
        (text, "a.docx", "word/document"),
        (show, "a.pptx", "ppt/slides/slide1"),
        (book, "a.xlsx", "xl/worksheets/sheet1"),
    ):
        buffer = io.BytesIO()
        made.save(buffer)
        found.append((name, buffer.getvalue(), part))
    open_text = saved("text", "<text:p>one two</text:p>")
    return [*found, ("a.odt", open_text, "content")]


@pytest.mark.parametrize(("name", "data", "part"), packages(), ids=lambda one: str(one)[:9])
def test_the_text_beside_an_entity_stays(name: str, data: bytes, part: str) -> None:
    found = "\n".join(texts(with_entity(data, part), name))
    assert "one two three" in found
    assert "root:" not in found


@pytest.mark.parametrize(
    "code", [r"\u1114112 ?", r"\u-99999 ?", r"\u9999999999 ?", r"\uc ", r"\uc9999999999 "]
)
def test_a_code_of_no_character_costs_itself(code: str) -> None:
    source = rb"{\rtf1\ansi The first line.\par " + code.encode() + rb"\par The last line.}"
    (found,) = texts(source, "a.rtf")
    assert found.startswith("The first line.")
    assert code.startswith(r"\uc9") or found.endswith("The last line.")


def test_a_header_of_many_encoded_words_takes_little_time() -> None:
    mail = ("Subject: " + "=?utf-8?q?a?= " * 40_000 + "\nFrom: a@b\n\nThe text.\n").encode()
    assert seconds(lambda: texts(mail, "a.eml")) < 5
    (found,) = texts(mail, "a.eml")
    assert found.endswith("The text.")


def test_what_has_no_end_is_not_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.txt")  # nobody writes to it: to open it would wait
    (tmp_path / "zero.txt").symlink_to("/dev/zero")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "s.txt"))
    for name in ("pipe.txt", "zero.txt"):
        with pytest.raises(ReadError, match=r"^not a regular file$"):
            read_document(tmp_path / name, name)
    with pytest.raises(ReadError, match="cannot be opened"):
        read_document(tmp_path / "s.txt", "s.txt")
    with (tmp_path / "sparse.txt").open("wb") as sparse:
        sparse.truncate(1 << 40)
    with pytest.raises(ReadError, match=r"^too large: 1,099,511,627,776 bytes"):
        read_document(tmp_path / "sparse.txt", "sparse.txt")


class Growing(io.BytesIO):
    """A file that another program writes as fast as it is read."""

    def read(self, size: int | None = -1) -> bytes:
        assert (size or -1) > 0, "it has no end"
        return b"x" * (size or 0)


def test_a_file_that_grows_without_an_end_is_read_up_to_a_limit() -> None:
    assert sum(map(len, read_blocks(Growing(), 64, 1_000))) == 1_000


NAMES = (
    *(b"a" * 251 + b".txt", b"con.txt", b"a:b?.txt", b"\xff\xfe.txt", b"\xed\xa0\x80.txt"),
    *(b"line\nbreak.txt", b"\x1b]52;c;eA==\x07.txt", b"\x01\x7f.txt", b" .txt", b"'; DROP.txt"),
    *("\u202egnp.txt".encode(), "e\u0301.txt".encode(), b"-rf.txt", b"=1+1.txt", b"%s{0}.txt"),
)


def is_utf_8(name: bytes) -> bool:
    return name.decode("utf-8", "ignore").encode() == name


def test_files_of_any_name_are_indexed_and_found(tmp_path: Path) -> None:
    docs = tmp_path / "docs"
    docs.mkdir()
    for number, name in enumerate(NAMES):
        (docs / os.fsdecode(name)).write_text(f"The word{number}word is only here.")
    with Index.open_or_create(tmp_path / "index", FakeEmbedder()) as index:
        report = index.sync(docs)
        refused = [file.reason for file in report.files if file.reason]
        assert refused == ["its name, or its folder's, is not valid UTF-8; rename it"] * 2
        for number, name in enumerate(NAMES):
            if not is_utf_8(name):
                continue
            (hit, *_) = index.search(f"word{number}word", 1, mode="keyword")
            assert os.fsencode(hit.chunk.path) == name
        assert len(index.documents()) == len(NAMES) - 2
