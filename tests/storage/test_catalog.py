"""The catalog alone: filters as SQL, full text, transactions."""

from __future__ import annotations

import gc
import math
import shutil
import sqlite3
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from retriever.storage.backends import Snapshot
from retriever.storage.backends.embedded import EmbeddedPassages, MatchCache
from retriever.storage.backends.search_state import StateKeeper
from retriever.storage.catalog import Catalog
from retriever.storage.catalog.filter_sql import MAX_VALUES
from retriever.storage.catalog.reading import Reader
from retriever.storage.filters import (
    And,
    Comparison,
    Filter,
    Not,
    Or,
    chunk_fields,
    document_fields,
    one_of,
)
from retriever.storage.records import NewChunk
from retriever.types import DocumentRow, IndexStateError, Page, Span, UsageError

TEXTS = ["", "a", "A", "é", "e\u0301", "日本", "'; DROP TABLE chunks; --", '"', "nul\0x", "nul\0y",
         "\ud800", "\U0001f600", "\uffff", "2024", "2024-03", "2024-03-07", "100%_", "x/y.txt",
         "reports/a.pdf", "1", "\\"]  # fmt: skip
NUMBERS = [0, 1, -1, 3, 2**53, 2**53 + 1, 2**63 - 1, 2**63, -(2**63), -(2**63) - 1, 2**70, 10**400,
           0.5, -0.0, 1.0, 3.0, float(2**53), 1e300, math.inf, -math.inf]  # fmt: skip
KEYS = ["year", "team", "odd key'\"\0", "page", "a.b"]
texts = st.sampled_from(TEXTS) | st.text(max_size=4)
numbers = st.sampled_from(NUMBERS) | st.integers() | st.floats(allow_nan=False)
scalars = texts | numbers | st.booleans()
metadata = st.dictionaries(
    st.sampled_from(KEYS), scalars | st.sampled_from(["2024-03-07", "12", math.nan]), max_size=4
)
fields = st.sampled_from(
    ["path", "source", "format", "title", "author", "date", "page", "document_id", "chunk_id"]
    + [f"metadata.{key}" for key in KEYS]
)
patterns = st.sampled_from(["*", "**", "a*", "*.txt", "x/*", "**/*.pdf", "[a-z]*", "?", "[", "日*"])
likes = st.sampled_from(["%", "_", "a%", "%a%", "%.txt", "x/_%", "é", "100%_", ".*", "%\n%", ""])


DATES = ["2024", "2024-03", "2024-03-07", "2024-03-07T10:30", "2024-03-07T10:30:00+02:00",
         "2024-W10", "1813", "2024-12-31", "2024-02-30"]  # fmt: skip
ORDERS = ("gt", "gte", "lt", "lte")


def wanted(field: str, op: str) -> st.SearchStrategy:
    """The values that a filter on the field takes; others are refused."""
    if field == "date":
        return st.sampled_from(DATES[:-1])
    if field == "page":
        return numbers | st.sampled_from(["3", "-1", "1.0"])
    if not field.startswith("metadata."):
        return texts if op in ORDERS else texts | numbers
    if op in ORDERS:
        return texts | numbers | st.sampled_from([*DATES[:-1], "3.2024", "7.3.2024"])
    return scalars | st.sampled_from(DATES)


@st.composite
def comparisons(draw: st.DrawFn) -> Filter:
    field = draw(fields)
    ops = ["eq", "ne", "in", "nin", *ORDERS, "exists"]
    ops += ["glob", "contains", "like"] * (field != "page")
    op = draw(st.sampled_from(ops))
    values = wanted(field, op)
    if op in ("in", "nin"):
        return Comparison(field, op, tuple(draw(st.lists(values, max_size=4))))
    if op == "exists":
        return Comparison(field, op, draw(st.booleans()))
    if op == "glob":
        return Comparison(field, op, draw(patterns))
    if op in ("contains", "like"):
        return Comparison(field, op, draw(texts | likes))
    return Comparison(field, op, draw(values))


filters = st.recursive(
    comparisons(),
    lambda inner: (
        st.lists(inner, max_size=3).map(lambda parts: And(tuple(parts)))
        | st.lists(inner, max_size=3).map(lambda parts: Or(tuple(parts)))
        | inner.map(Not)
    ),
    max_leaves=6,
)
documents = st.lists(
    st.builds(
        dict, path=texts, source=texts, format=texts, title=texts, author=texts,
        date=texts | st.sampled_from(DATES),
        metadata=metadata, pages=st.lists(st.none() | st.integers(0, 4), max_size=3),
    ),
    min_size=1, max_size=5,
)  # fmt: skip


@pytest.fixture
def catalog(tmp_path: Path):
    opened = Catalog.open(tmp_path / "index", create=True)
    yield opened
    opened.close()


def fill(catalog: Catalog, specs: list[dict]) -> None:
    with catalog.writing() as writer:
        writer.delete([row.id for row in writer.documents(None)])
        writer.save_vectors(["v"], np.ones((1, 4), np.float32))
        for number, spec in enumerate(specs):
            facts = {name: value for name, value in spec.items() if name != "pages"}
            row = DocumentRow(f"d{number}", root="", **facts)
            pages = [Page(page, f"text {at}") for at, page in enumerate(spec["pages"])]
            new_chunks = [NewChunk(at, Span(0, 5), "v") for at in range(len(pages))]
            writer.upsert(row, pages, new_chunks)


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(documents, st.lists(filters, min_size=1, max_size=5))
def test_sql_selects_what_matches_says(catalog: Catalog, specs, wheres) -> None:
    fill(catalog, specs)
    with catalog.reading() as reader:
        rows = reader.documents(None)
        chunks = [(row, chunk) for row in rows for chunk in reader.chunks(row.id)]
        for where in wheres:
            found = reader.ids_of(reader.matching_keys(where)).values()
            expected = {c.id for row, c in chunks if where.matches(chunk_fields(row, c))}
            assert set(found) == expected
            wanted = [row.id for row in rows if where.matches(document_fields(row))]
            assert [row.id for row in reader.documents(where)] == wanted


def test_injection_finds_nothing_and_breaks_nothing(catalog: Catalog) -> None:
    fill(catalog, [{"path": "a", "source": "s", "format": "f", "pages": [1]}])
    attack = "x') OR 1=1; DROP TABLE chunks; --"
    with catalog.reading() as reader:
        for where in (
            Filter.parse({"path": attack}),
            Filter.parse({attack: 1}),
            Filter.parse({f"metadata.{attack}": {"in": [attack]}}),
            Filter.parse({"path": {"glob": attack}}),
        ):
            assert len(reader.matching_keys(where)) == 0
        assert reader.count_chunks() == 1


def test_the_number_of_values_is_bounded_with_a_sentence(catalog: Catalog) -> None:
    fill(catalog, [{"path": "7", "source": "s", "format": "f", "pages": [1]}])
    with catalog.reading() as reader:
        many = [str(number) for number in range(MAX_VALUES)]
        assert len(reader.matching_keys(one_of("path", many))) == 1
        with pytest.raises(UsageError, match="30,001"):
            reader.matching_keys(one_of("path", [*many, "one more"]))


@pytest.mark.parametrize("value", [None, [1], {"a": 1}, b"x"])
def test_metadata_without_a_comparable_type_is_refused(catalog: Catalog, value) -> None:
    spec = {"path": "a", "source": "s", "format": "f", "metadata": {"k": value}, "pages": []}
    with pytest.raises(UsageError, match="metadata 'k'"):
        fill(catalog, [spec])
    with catalog.reading() as reader:
        assert reader.documents(None) == []


def test_a_failed_transaction_leaves_nothing(catalog: Catalog) -> None:
    def fail() -> None:
        with catalog.writing() as writer:
            writer.set_meta("seen", 1)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    with catalog.reading() as reader:
        assert reader.meta("seen") is None
        assert reader.generation() == 0


def test_a_reader_sees_one_state(catalog: Catalog) -> None:
    spec = {"path": "a", "source": "s", "format": "f", "pages": [1]}
    with catalog.reading() as reader:
        assert reader.count_chunks() == 0
        fill(catalog, [spec])
        assert reader.count_chunks() == 0
        reader.restart()
        assert reader.count_chunks() == 1


def test_keys_are_never_reused(catalog: Catalog) -> None:
    spec = {"path": "a", "source": "s", "format": "f", "pages": [1, 2]}
    seen: set[int] = set()
    for _ in range(3):
        fill(catalog, [spec])
        with catalog.reading() as reader:
            keys = {int(key) for block, _ in reader.vectors_after(0) for key in block}
        assert len(keys) == 2
        assert not keys & seen
        seen |= keys


def test_words_of_most_chunks_are_ignored_unless_no_others_remain(catalog: Catalog) -> None:
    with catalog.writing() as writer:
        writer.save_vectors(["v"], np.ones((1, 4), np.float32))
        for number in range(10):
            text = f"risk number{number} " + ("half" if number < 5 else "")
            row = DocumentRow(f"d{number}", "s", "", f"{number}", "txt")
            writer.upsert(row, [Page(None, text)], [NewChunk(0, Span(0, len(text)), "v")])
    with catalog.reading() as reader:
        now = Snapshot(reader, EmbeddedPassages(reader, StateKeeper(catalog), MatchCache()))
        assert len(now.keyword("risk number3", 99).ids) == 1
        assert len(now.keyword("risk half", 99).ids) == 5
        everywhere = now.keyword("risk", 99)
        assert len(everywhere.ids) == 10
        assert (everywhere.scores > 0).all()
        assert len(now.keyword("unseen", 99).ids) == 0


def test_damage_inside_the_file_is_a_sentence(tmp_path: Path) -> None:
    catalog = Catalog.open(tmp_path / "index", create=True)
    fill(catalog, [{"path": "a" * 9999, "source": "s", "format": "f", "pages": [1] * 50}])
    catalog.release()
    catalog.close()
    data = bytearray(catalog.path.read_bytes())
    data[32768:] = b"\xff" * (len(data) - 32768)
    catalog.path.write_bytes(bytes(data))

    def look() -> None:
        opened = Catalog.open(tmp_path / "index")
        with opened.reading() as reader:
            reader.documents(None)

    with pytest.raises(IndexStateError, match="damaged"):
        look()


@pytest.mark.parametrize(
    ("error", "said"),
    [
        ("database is locked", "another process is writing"),
        ("database or disk is full", "disk with the index"),
        ("attempt to write a readonly database", "permissions"),
        ("no such module: fts5", "FTS5"),
        ("database disk image is malformed", "damaged"),
    ],
)
def test_errors_of_sqlite_become_sentences(catalog: Catalog, error: str, said: str) -> None:
    def fail() -> None:
        with catalog.reading():
            raise sqlite3.OperationalError(error)

    with pytest.raises(IndexStateError, match=said):
        fail()


@pytest.mark.parametrize("told", ["unable to open database file", "disk I/O error"])
def test_an_index_that_is_deleted_while_it_is_opened_is_said_to_be_gone(
    tmp_path, monkeypatch, told
) -> None:
    folder = tmp_path / "index"
    Catalog.open(folder, create=True).close()

    def deleted(*_: object, **__: object) -> None:
        shutil.rmtree(folder)
        raise sqlite3.OperationalError(told)

    monkeypatch.setattr(sqlite3, "connect", deleted)
    with pytest.raises(IndexStateError, match="is gone"):
        Catalog.open(folder)


def test_a_reading_that_ends_early_does_not_touch_its_closed_connection() -> None:
    connection = sqlite3.connect(":memory:")
    connection.execute("CREATE TABLE things (key INTEGER)")
    connection.executemany("INSERT INTO things VALUES (?)", [(1,), (2,)])
    rows = Reader(connection)._among("SELECT key FROM things WHERE key", [1, 2])
    assert next(iter(rows)) == (1,)
    connection.close()
    del rows  # what is raised here is a traceback on the terminal, and fails this test
    gc.collect()
