"""The start, the history and the weights of words, with the script run by Streamlit's AppTest."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import streamlit as st
from streamlit.testing.v1 import AppTest

from retriever.explaining.corpus_map import survey
from retriever.index import Index
from retriever.interface.searches import FILE, Search, Searches
from retriever.types import Document, Page
from tests import pages
from tests.fakes import FakeEmbedder
from tests.live import read
from ui import steer, suggestions
from ui.page_query import PageQuery, folder_names
from ui.resources import SharedIndex

DOCUMENTS = [
    Document(f"{name}.txt", "txt", (Page(None, f"{name.title()} are {colour} and sweet."),))
    for name, colour in (("apples", "red"), ("pears", "green"), ("plums", "blue"))
]


@pytest.fixture
def index(tmp_path: Path) -> Path:
    with Index.open_or_create(tmp_path / "notes", FakeEmbedder()) as made:
        made.add(DOCUMENTS)
    return tmp_path / "notes"


@pytest.fixture
def page(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., AppTest]]:
    yield lambda folder, **params: pages.open_page(monkeypatch, folder, params)
    st.cache_resource.clear()


def labels(app: AppTest, start: str) -> list[str]:
    assert not app.exception
    return [one.label for one in app.button if str(one.key).startswith(start)]


def test_a_search_is_in_the_history_of_the_next_visit(
    page: Callable[..., AppTest], index: Path
) -> None:
    pages.ask(page(index, mode="keyword"), "apples")
    st.cache_resource.clear()  # another server
    app = page(index)
    (label,) = labels(app, "history-recent")
    assert label.startswith("apples ")
    assert "Keywords only · notes · 20" in label
    app.button(key="history-recent-0").click().run()
    assert (app.query_params["q"], app.query_params["mode"]) == ("apples", "keyword")
    assert "apples.txt" in pages.list_html(app)


def test_a_search_of_the_history_is_made_in_its_own_collection(
    page: Callable[..., AppTest], index: Path
) -> None:
    with Index.open_or_create(index.parent / "other", FakeEmbedder()) as other:
        other.add(DOCUMENTS[:1])
    Searches(index.parent).save(Search.of("other", {"q": "apples"}))
    app = page(index, index="notes")
    app.button(key="history-saved-0").click().run()
    assert app.query_params["index"] == "other"
    Searches(index.parent).save(Search.of("gone", {"q": "apples"}))
    app = page(index, index="notes")
    app.button(key="history-saved-0").click().run()
    assert "**gone** is not there any more" in app.warning[0].value


def test_one_is_forgotten_or_all_and_a_star_keeps_one(
    page: Callable[..., AppTest], index: Path
) -> None:
    app = page(index, q="pears", mode="keyword")
    app.button(key="save").click().run()
    assert app.button(key="save").label == "Saved"
    app = pages.ask(app, "plums")
    assert app.button(key="save").label == "Save"
    app.session_state["searches"] = True
    app.run()  # the opened menu has what was searched before
    assert len(labels(app, "history-recent")) == 2
    app.button(key="forget-recent-1").click().run()
    assert [label.split()[0] for label in labels(app, "history-recent")] == ["plums"]
    app.button(key="forget-all").click().run()
    assert [label.split()[0] for label in labels(app, "history-saved")] == ["pears"]
    kept = Searches(index.parent)
    assert [one.address()["q"] for one in kept.saved()] == [["pears"]]


def test_a_damaged_history_shows_nothing(page: Callable[..., AppTest], index: Path) -> None:
    (index.parent / FILE).write_text('{"recent": [{"index": 1}], "saved": "x"}')
    app = page(index)
    assert labels(app, "history-") == []


def test_subjects_are_named_when_they_are_known_and_search_for_themselves(
    page: Callable[..., AppTest], index: Path
) -> None:
    app = page(index)
    deadline = time.monotonic() + 20
    while not labels(app, "subject-"):
        assert time.monotonic() < deadline, "waited for too long"
        app.run()
    with Index.open(index, FakeEmbedder()) as opened:
        found = read(opened, survey)
    first = found.names[0]
    many = int((found.clusters == 0).sum())
    assert labels(app, "subject-")[0] == f"{', '.join(first.split(', ')[:2])} · {many}"
    app.button(key="subject-0").click().run()
    assert app.query_params["q"] == first.replace(",", "")


def test_text_of_a_search_is_not_markdown(page: Callable[..., AppTest], index: Path) -> None:
    Searches(index.parent).save(Search.of("notes", {"q": "*a* :red[b] $c$"}))
    (label,) = labels(page(index), "history-saved")
    assert label.startswith(r"\*a\* \:red\[b\] \$c\$") or "\\*a\\*" in label


def test_the_start_offers_collections_and_adding(page: Callable[..., AppTest], index: Path) -> None:
    Index.open_or_create(index.parent / "empty").close()
    app = page(index)
    assert labels(app, "shelf-") == ["empty · 0 documents", "notes · 3 documents"]
    assert [link.proto.label for link in app.get("page_link")] == ["Add documents"]
    app.button(key="shelf-0").click().run()
    assert "empty" in app.info[0].value


def test_changed_words_are_chips_and_are_not_highlighted_at_zero(
    page: Callable[..., AppTest], index: Path
) -> None:
    app = page(index, q="sweet apples", weights="0,2")
    assert labels(app, "unweigh-") == ["sweet ×0", "apples ×2"]
    shown = pages.list_html(app)
    assert "<mark>Apples</mark>" in shown
    assert "<mark>sweet</mark>" not in shown
    app.button(key="unweigh-0").click().run()
    assert labels(app, "unweigh-") == ["apples ×2"]
    assert app.query_params["weights"] == "1,2"
    assert "<mark>sweet</mark>" in pages.list_html(app)
    app.button(key="unweigh-1").click().run()
    assert "weights" not in app.query_params


def test_words_of_weight_zero_are_left_out_of_the_text_to_highlight(index: Path) -> None:
    with Index.open(index, FakeEmbedder()) as opened:
        shared = SharedIndex(index, (0, 0), opened)
        asked = PageQuery("sweet +apples or pears", weights=(0.0, 1.0, 1.0, -1.0))
        words = [word.word for word in opened.query_words(asked.text)]
        assert words == ["sweet", "apples", "or", "pears"]
        assert steer.counting_text(shared, asked).split() == ["apples", "or"]
        assert steer.changed_words(shared, asked) == {0: ("sweet", 0.0), 3: ("pears", -1.0)}
        assert steer.counting_text(shared, PageQuery("sweet apples")) == "sweet apples"


def test_suggestions_say_what_they_are(index: Path) -> None:
    with Index.open(index, FakeEmbedder()) as opened:
        shared = SharedIndex(index, (0, 0), opened)
        found = suggestions.suggestions(shared, "pea")
        assert {"text": "Pears", "shown": "Pears", "kind": ""} in found
        assert any(one["kind"] == "file or folder" for one in found)
        assert suggestions.suggestions(shared, "  ") == []


def test_folders_of_one_name_are_told_apart() -> None:
    assert folder_names(["a", "a/x", "b", "b/x", "b/y"]) == {
        "a": "a", "a/x": "a/x", "b": "b", "b/x": "b/x", "b/y": "y"
    }  # fmt: skip


def test_each_chip_leaves_the_other_filters() -> None:
    asked = PageQuery("q", mode="dense", folders=("a", "b"), years=("2024",), since="2023", k=5)
    for _, without in asked.chips():
        assert len(without.chips()) == len(asked.chips()) - 1
        assert (without.q, without.k) == ("q", 5)
    assert asked.without_filters() == PageQuery("q", mode="dense", k=5)
    also = PageQuery("q", formats=("pdf",), also=("other",), layout="passages")
    assert also.without_filters() == PageQuery("q", also=("other",), layout="passages")
