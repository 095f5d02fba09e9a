"""Every outcome that a document can have in a search."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from retriever import AlignedWVA, Document, Index, Page, PageState
from retriever.explaining.why_not import Outcome
from retriever.interface.cli import main
from retriever.searching.options import SearchOptions, Steering
from retriever.storage.records import UnreadFile
from retriever.types import FileStatus, UsageError
from tests.fakes import FakeEmbedder
from tests.tiny import save_model

TEXTS = {
    "drinks/tea.txt": "Green tea is brewed at eighty degrees.",
    "drinks/coffee.txt": "Coffee beans are roasted dark.",
    "drinks/old/copy.txt": "Green tea is brewed at eighty degrees!",
    "trains.txt": "The train to the coast leaves from platform four.",
    "grass.txt": "Green grass grows along the railway in early summer.",
    "snow.txt": "Snow covers all of the quiet valley.",
}


def fill(index: Index) -> Index:
    index.add(Document(path, path.rsplit(".")[1], (Page(None, t),)) for path, t in TEXTS.items())
    scanned = Page(1, "", PageState.SCANNED, "a picture of a page")
    index.add([Document("scan.pdf", "pdf", (scanned, scanned))])
    failed = UnreadFile("docs", "reports/broken.pdf", FileStatus.FAILED, "broken: no end of file")
    index.backend.set_unread([failed])
    return index


@pytest.fixture
def index(tmp_path: Path) -> Iterator[Index]:
    with Index.open_or_create(tmp_path / "index", FakeEmbedder()) as opened:
        yield fill(opened)


def test_what_is_shown(index: Index) -> None:
    told = index.why_not("green tea", "grass.txt")
    place = next(hit for hit in index.search("green tea") if hit.chunk.path == "grass.txt")
    assert told.outcome is told.fate is Outcome.SHOWN
    assert told.best == place
    assert told.sentence == f"it is there: result {place.rank}"
    assert [hit.rank for hit in told.above] == list(range(1, place.rank))


@pytest.mark.parametrize("mode", ["hybrid", "dense"])
def test_what_is_beaten(index: Index, mode: str) -> None:
    everything = index.search("green tea", 20, mode=mode, fold=False)
    for hit in everything:
        told = index.why_not("green tea", hit.chunk.path, 1, mode=mode)
        if told.outcome in (Outcome.SHOWN, Outcome.FOLDED):
            continue
        assert told.outcome is Outcome.BEATEN
        assert told.best is not None
        assert (told.best.rank, told.best.chunk) == (hit.rank, hit.chunk)
        assert told.best.score == pytest.approx(hit.score, abs=1e-6)
        assert f"rank {hit.rank} of all passages" in told.sentence
        assert f"; {hit.rank - 1} other document" in told.sentence
        assert [one.rank for one in told.above] == [1]
        explained = index.explain("green tea", told.best.chunk, mode=mode)
        assert explained.score == pytest.approx(told.best.score, abs=1e-6)
    assert index.why_not("green tea", "snow.txt", 1, mode=mode).outcome is Outcome.BEATEN


def test_what_says_the_same_is_named_there(tmp_path: Path) -> None:
    text = " ".join(f"Word{number} stands here beside word{number + 1}." for number in range(30))
    with Index.open_or_create(tmp_path / "index", FakeEmbedder()) as index:
        for path in ("a.txt", "b.txt"):
            index.add([Document(path, "txt", (Page(None, text),))])
        (hit,) = index.search("word3")
        other = hit.also[0].path
        told = index.why_not("word3", other)
        assert told.outcome is Outcome.FOLDED
        assert f"the same as result 1, {hit.chunk.path}" in told.sentence


def test_what_a_filter_leaves_out(index: Index) -> None:
    told = index.why_not("green tea", "grass.txt", where={"path": {"glob": "drinks/**"}})
    assert (told.outcome, told.sentence) == (Outcome.FILTERED, "left out by the filter")
    told = index.why_not("green -grass file:trains", "grass.txt", where={"format": "txt"})
    assert told.outcome is Outcome.FILTERED
    assert told.sentence == 'left out by the query\'s not "grass" and file:trains'
    assert index.why_not("green -tea", "grass.txt").outcome is Outcome.SHOWN
    literal = index.why_not("green -grass", "grass.txt", syntax=False)
    assert literal.outcome is Outcome.SHOWN


def test_what_cannot_be_found_at_all(index: Index) -> None:
    told = index.why_not("tea", "nowhere.txt")
    assert (told.outcome, told.best) == (Outcome.UNKNOWN, None)
    assert told.sentence == "no document of this collection has this name, whole or in part"
    index.remove(["snow.txt"])
    assert index.why_not("snow", "snow.txt").outcome is Outcome.UNKNOWN
    told = index.why_not("tea", "broken.pdf")
    assert (told.path, told.outcome) == ("reports/broken.pdf", Outcome.UNREAD)
    assert told.sentence == "not indexed, failed: broken: no end of file"
    told = index.why_not("tea", "scan.pdf")
    assert told.outcome is Outcome.EMPTY
    assert "its pages: 2 scanned (a picture of a page)" in told.sentence
    told = index.why_not("tea", "trains.txt", mode="keyword")
    assert (told.outcome, told.best) == (Outcome.WORDLESS, None)


def test_names(index: Index) -> None:
    assert index.why_not("tea", "TEA.txt").path == "drinks/tea.txt"
    assert index.why_not("tea", "old/copy.txt").path == "drinks/old/copy.txt"
    index.add([Document("archive/tea.txt", "txt", (Page(None, "Old tea."),))])
    with pytest.raises(
        UsageError, match=r"2 documents are called 'tea\.txt' .*: archive/tea\.txt, "
    ):
        index.why_not("tea", "tea.txt")
    assert index.why_not("tea", "drinks/tea.txt").path == "drinks/tea.txt"


def test_a_part_of_a_name_is_enough(index: Index) -> None:
    """Whoever types "frankenstein" means books/frankenstein.docx."""
    assert index.why_not("tea", "offe").path == "drinks/coffee.txt"
    assert index.why_not("tea", "OLD/").path == "drinks/old/copy.txt"
    assert index.why_not("tea", "broken").outcome is Outcome.UNREAD
    assert index.why_not("tea", "snow").path == "snow.txt"
    with pytest.raises(UsageError, match=r"3 documents .*drinks/coffee\.txt, drinks/old/copy"):
        index.why_not("tea", "drinks")
    index.add([Document("snow.txt.d/more.txt", "txt", (Page(None, "Snow."),))])
    assert index.why_not("tea", "snow.txt").path == "snow.txt"  # its whole name comes first
    index.add([Document("caf\u00e9/menu.txt", "txt", (Page(None, "Cake."),))])
    assert index.why_not("tea", "CAFE").path == "caf\u00e9/menu.txt"
    assert index.why_not("tea", "cafe/menu.txt").path == "caf\u00e9/menu.txt"
    assert index.why_not("tea", "/").outcome is Outcome.UNKNOWN


def test_of_many_names_some_are_listed(index: Index) -> None:
    index.add(
        Document(f"letters/{at}.txt", "txt", (Page(None, f"Letter {at}."),)) for at in range(9)
    )
    with pytest.raises(UsageError, match=r"9 documents .*letters/4\.txt and 4 more; name one"):
        index.why_not("tea", "letters")


def test_why_not_takes_the_options_of_its_search(index: Index) -> None:
    query = "green -grass"
    options = SearchOptions(k=2, mode="keyword", syntax=False, steering=Steering((0.0, 1.0)))
    told = index.why_not(query, "grass.txt", options=options)
    by_name = index.why_not(query, "grass.txt", 2, mode="keyword", syntax=False)
    assert told.to_json() == by_name.to_json()


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    embedder = AlignedWVA(str(save_model(tmp_path / "model")), device="cpu", dtype="float32")
    with Index.open_or_create(tmp_path / "index", embedder) as index:
        fill(index)
        ids = [hit.chunk.id for hit in index.search("green tea", fold=False)]
    common = ["explain", "green tea", "--index", str(tmp_path / "index"), "--device", "cpu"]
    assert main([*common, "--file", "broken.pdf"]) == 0
    assert "not indexed, failed: broken" in capsys.readouterr().out
    assert main([*common, "--file", "snow.txt", "-k", "1"]) == 0
    shown = capsys.readouterr().out
    assert "rank" in shown
    assert "cosine" in shown
    assert main([*common, "--file", "snow.txt", "-k", "1", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["fate"] == "beaten"
    assert main([*common, "--above", ids[0], ids[1]]) == 0
    assert "A stands" in capsys.readouterr().out
    assert main([*common, "--above", ids[0], ids[1], "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["first"]["chunk_id"] == ids[0]
    by_term = sum(row["first"] - row["second"] for row in told["terms"])
    assert by_term == pytest.approx(told["first"]["score"] - told["second"]["score"], abs=1e-6)
    assert main([*common, "--chunk", ids[0], "--check"]) == 2
    assert "the check deletes 5 words" in capsys.readouterr().err


def test_a_name_is_found_in_any_unicode_form(tmp_path: Path) -> None:
    with Index.open_or_create(tmp_path / "index", FakeEmbedder()) as index:
        index.add([Document("u/U\u0308ber.txt", "txt", (Page(None, "green tea"),))])
        assert index.why_not("tea", "\u00fcber.txt").outcome is Outcome.SHOWN
        assert index.why_not("tea", "ober.txt").outcome is Outcome.UNKNOWN
