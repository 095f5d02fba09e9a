"""The page without a browser: its pure parts, and the script run by Streamlit's AppTest."""

from __future__ import annotations

import html
import json
import re
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import unquote_plus

import pytest
import streamlit as st
from hypothesis import given, settings
from hypothesis import strategies as some
from streamlit.testing.v1 import AppTest
from streamlit.util import calc_hash

from retriever.index import Index
from retriever.indexing.coverage import CoverageStatus, FileCoverage
from retriever.interface.collections import create_collection, describe_collection, list_indexes
from retriever.interface.jobs import Jobs
from retriever.interface.page_server import server_command, streamlit_options
from retriever.storage.filters import Filter
from retriever.storage.records import UnreadFile
from retriever.types import (
    Account,
    Document,
    FileStatus,
    LeftOut,
    ModelError,
    Page,
    PageState,
)
from tests import pages
from tests.fakes import FakeEmbedder
from ui import highlighting as marks
from ui.file_table import filter_files
from ui.page_query import PageQuery
from ui.resources import overview
from ui.status import duration, progress_text

TAG = re.compile(r"<[^>]*>")

NASTY = "a<script>alert(1)</script>_*b*_ :red[x] $x$ [y](z).md"

DOCUMENTS = [
    Document("fruit/apples.pdf", "pdf", (Page(1, "A cover."), Page(2, "Apples are red & sweet."))),
    Document("fruit/pears.txt", "txt", (Page(None, "Pears are green."),), title="On pears"),
    Document("cars.txt", "txt", (Page(None, "A motor needs oil."),), date="2021-05-03"),
    Document(
        f"odd/{NASTY}",
        "markdown",
        (Page(None, 'Before <script>bad()</script> <img src=x onerror="bad()"> **after** turnip'),),
        title="<b>bold</b>",
    ),
    Document(
        "scans.pdf", "pdf", (Page(1, "Scanned turnip"), Page(2, "", PageState.SCANNED, "image"))
    ),
]


@pytest.fixture
def index(tmp_path: Path) -> Path:
    folder = tmp_path / "notes"
    with Index.open_or_create(folder, FakeEmbedder()) as made:
        made.add(DOCUMENTS)
    return folder


@pytest.fixture
def page(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., AppTest]]:
    yield lambda folder, **params: pages.open_page(monkeypatch, folder, params)
    st.cache_resource.clear()


def found(app: AppTest) -> list[str]:
    """The file names on the page's cards, as text."""
    assert not app.exception
    names = re.findall(r'<h3 class="wva-file"[^>]*><bdi>(.*?)</bdi>', results(app))
    return [html.unescape(name) for name in names]


def results(app: AppTest) -> str:
    return pages.list_html(app)


def words(app: AppTest) -> str:
    """Everything that is said outside of the results."""
    parts = [*app.info, *app.error, *app.warning, *app.caption, *app.markdown, *app.code, *app.html]
    return " ".join(str(part.value) for part in parts)


# Marks


@settings(deadline=None)  # a busy machine is not a failure
@given(
    some.text(alphabet=some.characters(exclude_categories=()), max_size=80), some.text(max_size=20)
)
def test_a_marked_text_is_the_escaped_text_with_marks(text: str, query: str) -> None:
    text = text.replace("<", "<mark>") + "\udc80"  # markup in the text must not pass for a mark
    shown = marks.mark_spans(text, marks.word_spans(text, query))
    assert html.unescape(re.sub("</?mark>", "", shown)) == html.unescape(marks.escape_html(text))
    assert set(TAG.findall(shown)) <= {"<mark>", "</mark>"}
    shown.encode()  # a lone surrogate could not be sent


def test_a_name_cannot_turn_the_writing_direction_or_hide_characters() -> None:
    assert marks.escape_html("invoice\u202efdp.exe\x00\x1b") == "invoice\ufffdfdp.exe\ufffd\ufffd"


def test_the_words_of_the_query_are_marked_in_escaped_text() -> None:
    text = "Tom & <b>Jerry</b> runs"
    shown = marks.passage_html(text, "jerry running b")
    assert shown == (
        "Tom &amp; &lt;<mark>b</mark>&gt;<mark>Jerry</mark>&lt;/<mark>b</mark>&gt; "
        "<mark>runs</mark>"
    )


def test_wrapped_lines_are_joined_and_lists_and_headings_kept() -> None:
    text = (
        "A Heading\nThe first line of a paragraph that the paper's width\n"
        "has wrapped, and its end.\n- one item of the list which is about as long as the lines\n"
        "- two\n\nNew paragraph"
    )
    shown = marks.unwrap_lines(text)
    assert len(shown) == len(text)
    assert shown == text.replace("width\n", "width ")


@settings(deadline=None)  # a busy machine is not a failure
@given(some.text(alphabet="ab \n-<\r\x00\ud800", max_size=300))
def test_unwrapping_moves_nothing(text: str) -> None:
    shown = marks.unwrap_lines(text)
    assert len(shown) == len(text)
    assert [a for a, b in zip(text, shown, strict=True) if a in "ab<-" and a != b] == []


def test_the_context_highlights_the_passages_once_amid_what_is_around_them() -> None:
    text = "one here <a> two here three"
    first, second = text.index("here <a>"), text.index("here three")
    spans = [(second, len(text)), (first, first + 8), (first + 5, first + 8)]
    shown = marks.context_html(text, spans, "here")
    assert shown == (
        'one <span class="wva-found"><mark>here</mark> &lt;a&gt;</span> two '
        '<span class="wva-found"><mark>here</mark> three</span>'
    )


@given(some.text("ab <\n", max_size=60), some.lists(some.tuples(*[some.integers(0, 60)] * 2)))
def test_whatever_is_highlighted_the_text_stays(text: str, places: list[tuple[int, int]]) -> None:
    spans = [(low, high) for low, high in places if low < high <= len(text)]
    shown = html.unescape(TAG.sub("", marks.context_html(text, spans, "a")))
    assert shown.split() == text.split()


def test_compounds_are_marked_in_the_language_of_the_passage() -> None:
    sought = marks.HighlightTerms(
        "das Gericht", frozenset({"gerichtøde", "bundesverfassungsgerichtøde"})
    )
    text = "Bundesverfassungsgericht, Gerichte"
    assert marks.word_spans(text, sought, "de") == [(0, 24), (26, 34)]
    assert marks.word_spans(text, sought, "en") == [(26, 34)]


@pytest.mark.parametrize(
    "text", ["*a*", "_a_", "`a`", "[a](b)", "<a>", "$a$ $b$", "&lt;", ":red[a]"]
)
def test_markdown_is_disarmed(text: str) -> None:
    shown = marks.escape_markdown(text)
    assert re.sub(r"\\(.)", r"\1", shown) == text
    assert re.search(r"(?<!\\)[*`\[<$&]|(?<![\\\w])_|(?<!\\):red", shown) is None


def test_a_path_in_a_message_stays_readable() -> None:
    assert marks.escape_markdown("no index in /tmp/my_docs-1/a.b; do so") == (
        "no index in /tmp/my_docs-1/a.b; do so"
    )


# Questions

QUESTIONS = some.builds(
    PageQuery,
    q=some.text(min_size=1).filter(str.strip).map(str.strip),
    mode=some.sampled_from(["hybrid", "dense", "keyword"]),
    k=some.integers(1, 100),
    by_file=some.booleans(),
    fold=some.booleans(),
    diversity=some.integers(0, 100).map(lambda percent: percent / 100),
    path=some.sampled_from(["", "*.pdf", "a b/ü"]),
    formats=some.sampled_from([(), ("pdf",), ("pdf", "txt")]),
    folders=some.sampled_from([(), ("docs",), ("", "docs/a [b]*")]),
    years=some.sampled_from([(), ("2024", "2023")]),
    first_page=some.none() | some.integers(1, 99),
    last_page=some.none() | some.integers(1, 99),
    since=some.sampled_from(["", "2024", "2024-02-29"]),
    until=some.sampled_from(["", "2025-01"]),
)


@settings(deadline=None)  # a busy machine is not a failure
@given(QUESTIONS)
def test_a_link_says_the_same_as_the_question(asked: PageQuery) -> None:
    params = asked.to_params()
    again = {name: value if isinstance(value, list) else [value] for name, value in params.items()}
    assert PageQuery.from_params(again) == asked


def test_a_link_that_cannot_be_meant_is_a_plain_question() -> None:
    wrong = {"mode": ["psychic"], "k": ["0"], "first": ["-1"], "last": ["x"], "new": ["1"], "q": []}
    assert PageQuery.from_params(wrong) == PageQuery()
    assert PageQuery.from_params({"k": ["999"]}).k == 100


@pytest.mark.parametrize(
    ("asked", "inside", "outside"),
    [
        (PageQuery(path="*.pdf"), {"path": "a/b.pdf"}, {"path": "a.pdf/b.txt"}),
        (PageQuery(path="reports"), {"path": "my reports/a.txt"}, {"path": "a/report.txt"}),
        (PageQuery(path="b"), {"path": "a/x/b.txt"}, {"path": "a/x/c.txt"}),
        (PageQuery(first_page=2, last_page=3), {"page": 3}, {"page": None}),
        (PageQuery(first_page=2), {"page": 2}, {"page": 1}),
        (PageQuery(formats=("pdf", "txt")), {"format": "txt"}, {"format": "html"}),
        (PageQuery(folders=("a",)), {"source": "a"}, {"source": "b"}),
        (
            PageQuery(folders=("a", "b/c")),
            {"source": "b", "path": "c/d/e"},
            {"source": "b", "path": "d/c"},
        ),
        (PageQuery(folders=("/*",)), {"source": "", "path": "*/x"}, {"source": "", "path": "c/x"}),
        (PageQuery(years=("2024",)), {"date": "2024-05-01"}, {"date": "2023"}),
        (PageQuery(since="2023", until="2024"), {"date": "2024-12-31"}, {"date": ""}),
    ],
)
def test_the_filter_means_what_the_page_says(
    asked: PageQuery, inside: dict[str, object], outside: dict[str, object]
) -> None:
    where = asked.where()
    assert where is not None
    assert Filter.parse(where).matches(inside)
    assert not Filter.parse(where).matches(outside)
    assert asked.filters()


def test_no_restriction_is_no_filter() -> None:
    assert PageQuery("word", mode="dense", k=3, by_file=True, path="  ").where() is None


@pytest.mark.parametrize(
    ("asked", "part"),
    [
        (PageQuery(since="soon"), "'from'"),
        (PageQuery(since="1/3/2024"), "2024-03-01 or 2024-01-03"),
        (PageQuery(since="1.2.2025", until="March 2024"), "date"),
        (PageQuery(since="yesterday", until="today"), ""),
        (PageQuery(until="2024-13"), "'to'"),
        (PageQuery(first_page=3, last_page=2), "page"),
        (PageQuery(since="2025-02", until="2024"), "date"),
        (PageQuery(since="2024-02", until="2024"), ""),
    ],
)
def test_impossible_filters_are_said(asked: PageQuery, part: str) -> None:
    assert part in asked.problem()
    assert bool(asked.problem()) == bool(part)
    asked.where()


def test_an_address_with_an_impossible_year_is_a_filter() -> None:
    assert PageQuery(years=("0000", "2024")).where() == {"$and": [{"date": {"in": ["2024"]}}]}


# Facts


def test_the_overview_counts_what_could_not_be_read(index: Path) -> None:
    failed = UnreadFile("/docs", "bad.pdf", FileStatus.FAILED, "broken: no pages")
    skipped = UnreadFile("/docs", "a.mp3", FileStatus.SKIPPED, "not a document")
    with Index.open(index, FakeEmbedder()) as opened:
        seen = overview(opened.documents(), [failed, skipped])
    assert seen.problems == (
        ("scans.pdf", "1 of 2 pages: scanned"),
        ("bad.pdf", "broken: no pages"),
    )
    assert (seen.more_problems, seen.first_date, seen.last_date) == (0, "2021-05-03", "2021-05-03")


def test_progress_without_an_estimate_is_shown_without_one() -> None:
    progress = {
        "files_done": 0, "files_total": 3, "chunks": 0, "tokens": 0, "seconds": 0.1,
        "tokens_per_second": 0.0, "seconds_left": None,
    }  # fmt: skip
    assert progress_text(progress) == "Indexing: 0 of 3 files"
    assert [duration(seconds) for seconds in (59, 60, 5399, 5400)] == [
        "59 s", "1 min", "90 min", "1.5 h",
    ]  # fmt: skip


def test_no_expression_of_the_script_is_shown_by_itself() -> None:
    assert streamlit_options(1)["runner.magicEnabled"] is False


def test_the_server_listens_on_this_machine_alone_and_reports_to_nobody() -> None:
    argv = server_command(Path("x"), 8123)
    assert argv[:4] == [sys.executable, "-P", "-m", "retriever.interface.page_server"]
    assert argv[4:] == ["--port=8123", "--index=x"]
    chosen = streamlit_options(8123)
    assert chosen["server.address"] == "127.0.0.1"
    assert chosen["server.port"] == 8123
    assert chosen["browser.gatherUsageStats"] is False


def test_an_index_or_the_indexes_below_a_folder_are_offered(index: Path, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    assert list_indexes(index) == [index]
    assert list_indexes(tmp_path) == [index]
    assert list_indexes(tmp_path / "other") == list_indexes(tmp_path / "missing") == []


# The script


def test_the_start_has_a_search_box_and_the_state_of_the_index(
    page: Callable[..., AppTest], index: Path
) -> None:
    app = page(index)
    assert not app.exception
    assert app.text_input(key="q").value == ""
    assert results(app) == ""
    assert "Nothing leaves this computer." in words(app)
    assert app.button(key="shelf-0").label == "notes · 5 documents"
    assert not app.segmented_control, "nobody chooses a mode before the first question"


def test_a_question_finds_and_marks_and_becomes_a_link(
    page: Callable[..., AppTest], index: Path
) -> None:
    app = page(index)
    pages.ask(app, "red apple")
    assert found(app)[0] == "apples.pdf"
    assert "<mark>Apples</mark> are <mark>red</mark> &amp; sweet." in results(app)
    assert app.query_params["q"] == "red apple"
    app.segmented_control(key="mode~0").set_value("keyword").run()
    assert found(app) == ["apples.pdf"]
    assert app.query_params["mode"] == "keyword"
    app.text_input(key="path~0").set_value("*.txt").run()
    assert found(app) == []
    app.button(key="try-Search without the filters").click().run()
    assert found(app) == ["apples.pdf"]
    assert "path" not in app.query_params


def test_where_no_match_is_strong_the_others_are_offered(
    page: Callable[..., AppTest], index: Path
) -> None:
    app = page(index, q="qqqxyzzy", strong="1")
    assert found(app) == []
    assert app.info[0].value.endswith("found is a strong match.")
    assert chips(app) == ["only strong matches"]
    app.button(key="try-Show them").click().run()
    assert found(app)
    assert chips(app) == []
    assert "strong" not in app.query_params


def test_what_old_links_ask_for_is_a_chip_that_can_be_removed(
    page: Callable[..., AppTest], index: Path
) -> None:
    app = page(index, q="turnip", every="1", variety="3", files="1")  # as links said it before
    assert chips(app) == [
        "best passage of each file", "every passage by itself", "diversity 0.3"
    ]  # fmt: skip
    assert found(app)
    app.button(key="chip-2").click().run()
    assert "variety" not in app.query_params
    assert (app.query_params["fold"], app.query_params["files"]) == ("0", "1")
    app.button(key="clear").click().run()
    assert chips(app) == []
    assert app.query_params.get("q") == "turnip"
    assert not {"fold", "files", "diversity"} & set(app.query_params)


def chips(app: AppTest) -> list[str]:
    """What restricts the search, as the page says it."""
    return [one.label for one in app.button if str(one.key).startswith("chip-")]


def test_a_filter_is_chosen_with_counts_that_stay_and_is_a_chip(
    page: Callable[..., AppTest], index: Path
) -> None:
    app = page(index, q="turnip apples pears", mode="keyword")
    before = app.checkbox(key="formats:pdf~0").label
    assert before == "pdf · 2"
    app.checkbox(key="formats:pdf~0").check().run()
    assert {name.rpartition(".")[2] for name in found(app)} == {"pdf"}
    assert app.checkbox(key="formats:pdf~0").label == before
    assert app.checkbox(key="formats:txt~0").label == "txt · 2"
    assert chips(app) == ["Keywords only", "pdf"]
    app.checkbox(key="folders:/fruit~0").check().run()
    assert app.checkbox(key="formats:pdf~0").label == "pdf · 1"
    assert app.checkbox(key="folders:/fruit~0").label == "fruit · 1", "as the results name it"
    assert app.query_params["folder"] == "/fruit"
    app.button(key="chip-2").click().run()
    # Another box: the one in the closed menu would send its old value again.
    assert not app.checkbox(key="formats:pdf~1").value
    app.number_input(key="first_page~1").set_value(1).run()
    assert found(app) == ["apples.pdf"]
    app.button(key="clear").click().run()
    app = pages.ask(app, "turnip apples")
    assert chips(app) == []


def test_a_query_is_searched_when_it_is_sent_not_before(
    page: Callable[..., AppTest], index: Path
) -> None:
    app = page(index, q="pears", mode="keyword")
    app.text_input(key="q").set_value("oil")
    app.checkbox(key="formats:txt~0").check().run()  # the box is left
    assert found(app) == ["pears.txt"]
    assert app.query_params["q"] == "pears"
    assert found(pages.ask(app, "oil")) == ["cars.txt"]


def test_a_link_restores_the_whole_question(page: Callable[..., AppTest], index: Path) -> None:
    app = page(
        index, q="turnip", mode="keyword", k="7", format=["markdown", "gone"], files="1", first="2"
    )
    assert app.text_input(key="q").value == "turnip"
    assert app.segmented_control(key="mode~0").value == "keyword"
    assert app.selectbox(key="k~0").value == 7
    assert app.checkbox(key="formats:markdown~0").value is True
    assert app.checkbox(key="formats:gone~0").value is True
    assert app.checkbox(key="formats:pdf~0").value is False
    assert "best passage of each file" in chips(app)
    assert app.number_input(key="first_page~0").value == 2
    assert found(app) == []
    app.number_input(key="first_page~0").set_value(None).run()
    assert found(app) == [NASTY.removesuffix(".md").rpartition("/")[2] + ".md"]


def test_a_document_cannot_act_on_the_page(page: Callable[..., AppTest], index: Path) -> None:
    app = page(index, q="turnip script", mode="keyword")
    shown = results(app)
    assert "<script" not in shown
    assert "<img" not in shown
    assert "&lt;b&gt;bold&lt;/b&gt;" in shown
    assert "&lt;<mark>script</mark>&gt;bad()" in shown
    ours = re.compile(
        "</?(section|p|ol|li|article|header|h3|div|bdi|span|mark|strong|a|button|svg|rect|path)[ >]"
    )
    assert ours.sub("", shown).count("<") == 0


def test_nothing_found_suggests_another_way(page: Callable[..., AppTest], index: Path) -> None:
    app = page(index, q="automobile", mode="keyword")
    assert found(app) == []
    app.button(key="try-Search by meaning too").click().run()
    assert app.segmented_control(key="mode~1").value == "hybrid"
    assert len(found(app)) > 0
    pages.ask(app, "?!")
    assert "no letter or digit" in words(app)


def test_the_best_passage_of_each_file(page: Callable[..., AppTest], index: Path) -> None:
    app = page(index, q="turnip cover apples", mode="hybrid", files="true")
    assert len(found(app)) == len(set(found(app))) == 5


def test_an_impossible_date_is_said_where_it_is_asked(
    page: Callable[..., AppTest], index: Path
) -> None:
    app = page(index, q="oil", mode="keyword", since="soon")
    assert "2024-03" in app.warning[0].value
    app.text_input(key="since~0").set_value("2021-05").run()
    assert found(app) == ["cars.txt"]


def test_without_an_index_the_page_says_what_to_do(
    page: Callable[..., AppTest], tmp_path: Path
) -> None:
    app = page(tmp_path / "none yet")
    assert not app.exception
    assert not app.error
    assert app.code[0].value == f"wva index FOLDER --index '{tmp_path}/none yet'"


def test_an_empty_index_goes_on_by_itself(page: Callable[..., AppTest], tmp_path: Path) -> None:
    folder = tmp_path / "empty"
    Index.open_or_create(folder).close()
    app = page(folder, q="pear", mode="keyword")
    assert "empty" in app.info[0].value
    with Index.open(folder, FakeEmbedder()) as index:
        index.add(DOCUMENTS)
    app.run()
    assert found(app) == ["pears.txt"]


@pytest.mark.parametrize("content", [b"not a database", b""])
def test_a_damaged_index_is_one_sentence(
    page: Callable[..., AppTest], tmp_path: Path, content: bytes
) -> None:
    (tmp_path / "catalog.sqlite").write_bytes(content)
    app = page(tmp_path)
    assert not app.exception
    assert len(app.error) == 1
    assert "catalog.sqlite" in app.error[0].value or "damaged" in app.error[0].value


def test_a_file_is_no_index(page: Callable[..., AppTest], tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    app = page(tmp_path / "file")
    assert "is a file" in app.error[0].value


def test_an_index_of_another_model_is_one_sentence(
    page: Callable[..., AppTest], tmp_path: Path
) -> None:
    with Index.open_or_create(tmp_path / "other", FakeEmbedder(weights="other")) as index:
        index.add(DOCUMENTS[:1])
    app = page(tmp_path / "other", q="x")
    assert not app.exception
    assert len(app.error) == 1


def test_a_growing_index_shows_its_progress_and_offers_more(
    page: Callable[..., AppTest], index: Path
) -> None:
    with Index.open(index, FakeEmbedder()) as writer:
        app = page(index, q="pear", mode="keyword")
        writer.add([Document("new.txt", "txt", (Page(None, "A pear tree."),))])
        writer.backend.set_progress(
            {
                "files_done": 1, "files_total": 4, "chunks": 9, "tokens": 800, "seconds": 2.0,
                "tokens_per_second": 400.0, "seconds_left": 6.0, "current": "<b>.txt",
            }
        )  # fmt: skip
        app.run()
        assert sorted(found(app)) == ["new.txt", "pears.txt"]
        assert "still growing" in words(app)
        assert "&lt;b&gt;.txt" in words(app)
        bar = app.get("progress")[0]
        assert bar.value == 25
        assert json.loads(json.dumps(bar.proto.text)).startswith("Indexing: 1 of 4 files")


def test_without_its_model_keywords_still_search(
    page: Callable[..., AppTest], index: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(index: Index) -> None:
        raise ModelError("the model *gone* was not found; name another one")

    monkeypatch.setattr(Index, "embedder", property(missing))
    app = page(index, q="pear")
    assert app.error[0].value == r"The model \*gone\* was not found; name another one"
    assert found(app) == ["pears.txt"]
    assert "without the model" in words(app)


def test_two_visitors_do_not_mix(page: Callable[..., AppTest], index: Path) -> None:
    one = page(index, q="pear", mode="keyword")
    two = page(index, q="oil", mode="keyword")
    assert (found(one), found(two)) == (["pears.txt"], ["cars.txt"])
    assert found(one.run()) == ["pears.txt"]


# Collections


def at_collections(app: AppTest) -> AppTest:
    """The same visitor on the page of the collections."""
    app._page_hash = calc_hash("collections")  # a page that is a function has no file to go to
    app.query_params.clear()
    return app.run()


def test_a_collection_is_made_and_chosen(
    page: Callable[..., AppTest], index: Path, tmp_path: Path
) -> None:
    app = at_collections(page(index))
    assert "notes" in words(app)
    app.text_input(key="new-name").set_value("../escape")
    app.button(key="FormSubmitter:new-collection-Create").click().run()
    assert "cannot be a collection" in app.error[0].value
    app.text_input(key="new-name").set_value("Letters")
    app.button(key="FormSubmitter:new-collection-Create").click().run()
    assert app.session_state["index"] == "Letters"
    assert "There is no file in this collection yet." in words(app)
    assert (tmp_path / "Letters" / "catalog.sqlite").is_file()


def test_cards_say_what_is_in_each_collection_and_what_needs_attention(
    page: Callable[..., AppTest], index: Path, tmp_path: Path
) -> None:
    create_collection(tmp_path, "Letters")
    describe_collection(index, NASTY)
    app = at_collections(page(tmp_path, index="notes"))
    assert not app.exception
    letters, notes = (part.value for part in app.html if '<h2 class="wva-file">' in part.value)
    assert "0 documents · 0 passages" in letters
    assert "attention" not in letters
    assert "5 documents · 6 passages" in notes
    assert "1 file needs attention" in notes
    assert "a&lt;script&gt;alert(1)" in notes
    assert "<script" not in notes
    # One page is a scan; the remedy is beside it, in words that name no command.
    assert "1 of 2 pages are scans without text." in words(app)
    assert "--ocr" not in words(app)
    assert "Read it (OCR): scans.pdf" in [button.label for button in app.button]


def test_nothing_is_changed_while_another_process_writes(
    page: Callable[..., AppTest], index: Path
) -> None:
    with Index.open(index, FakeEmbedder()) as writer:
        writer.backend.set_progress(
            {
                "files_done": 1, "files_total": 4, "chunks": 9, "tokens": 800, "seconds": 2.0,
                "tokens_per_second": 400.0, "seconds_left": 6.0, "current": "x.txt",
            }
        )  # fmt: skip
        app = at_collections(page(index))
        add = app.button(key="FormSubmitter:folder-form-Add and index")
        for changing in (add, app.button(key="remove")):
            assert changing.disabled
            assert "Another process is writing" in changing.help
        assert "Another process is writing" in words(app)
        assert "Indexing: 1 of 4 files" in str(app.get("progress")[0].proto.text)
        writer.backend.set_progress(None)
        writer.backend.release()
    st.cache_resource.clear()  # what is known of an index may be two seconds old
    assert not app.run().button(key="FormSubmitter:folder-form-Add and index").disabled


def test_a_writer_that_ends_while_the_page_is_drawn_does_not_close_it(
    page: Callable[..., AppTest], index: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = at_collections(page(index))
    said = iter(["Another process is writing to this collection: wait until it has finished."])
    monkeypatch.setattr("ui.job_status.busy_reason", lambda *_: next(said, ""))
    app.run()
    assert not app.button(key="FormSubmitter:folder-form-Add and index").disabled


class Following:
    """Processes that follow are only noted."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.of: dict[Path, SimpleNamespace] = {}
        self.ended = 0
        monkeypatch.setattr(Jobs, "follow", lambda jobs, *what: self.follow(*what))
        monkeypatch.setattr(Jobs, "stop_following", lambda jobs, folder: self.stop(folder))
        monkeypatch.setattr(Jobs, "follower", lambda jobs, folder: self.of.get(folder))

    def follow(self, folder: Path, paths: list[str]) -> SimpleNamespace:
        self.of[folder] = SimpleNamespace(
            running=True, paths=tuple(paths), started=time.time() - 62, problem=""
        )
        return self.of[folder]

    def stop(self, folder: Path) -> None:
        self.ended += self.of.pop(folder, None) is not None


def test_a_collection_is_kept_up_to_date_by_a_switch(
    page: Callable[..., AppTest], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    noted = Following(monkeypatch)
    folder, docs = tmp_path / "notes", tmp_path / "docs"
    with Index.open_or_create(folder, FakeEmbedder()) as made:
        for place in (docs, folder / "uploads"):
            place.mkdir()
            (place / "a.txt").write_text("The gecko sleeps.", "utf-8")
        made.sync([docs, folder / "uploads"])
    app = at_collections(page(folder))
    (switch,) = (one for one in app.toggle if one.label == "Keep up to date")
    assert not switch.value
    switch.set_value(True).run()
    assert noted.of[folder].paths == (str(docs),)  # uploads are indexed by the page itself
    (switch,) = (one for one in app.toggle if one.label == "Keep up to date")
    assert switch.value
    assert "Followed for 1 min." in words(app)
    again = at_collections(page(folder))  # another visitor sees the same
    assert [one.value for one in again.toggle if one.label == "Keep up to date"] == [True]
    noted.of[folder].running, noted.of[folder].problem = False, "the disk is full"
    app.run()
    assert "Not followed any more: the disk is full." in words(app)
    noted.of[folder].running = True
    app.run()
    next(one for one in app.toggle if one.label == "Keep up to date").set_value(False).run()
    assert (noted.ended, noted.of) == (1, {})


def test_the_ledger_shows_what_is_left_out_on_purpose(
    page: Callable[..., AppTest], index: Path
) -> None:
    parts = (LeftOut("navigation", f"Home {NASTY}"), LeftOut("hidden text", "a secret"))
    account = Account(30, 23, {"navigation": 5, "hidden text": 2})
    document = Document(
        "a.html", "html", (Page(None, "Whales sing."),), left_out=parts, account=account
    )
    with Index.open(index, FakeEmbedder()) as writer:
        writer.add([document])
    app = at_collections(page(index))
    assert "left out 7 (hidden text 2, navigation 5), unexplained 0" in words(app)
    (shown,) = (each for each in app.expander if "Left out on purpose" in each.label)
    assert shown.label.endswith("text of 1 file")
    app.selectbox(key="left-out").set_value(0).run()
    assert not app.exception
    assert [text.value for text in app.text] == [f"Home {NASTY}", "a secret"]
    assert "navigation: 5 words" in words(app)


def test_the_ledger_is_searched_by_state_name_and_reason() -> None:
    def file(path: str, coverage: CoverageStatus, reason: str = "") -> FileCoverage:
        return FileCoverage("/docs", path, "pdf", coverage, reason, "", ())

    good, bad = (
        file("Größe.pdf", CoverageStatus.COMPLETE),
        file("b.pdf", CoverageStatus.FAILED, "No pages"),
    )
    files = [good, bad]
    for states, wanted, expected in (
        ((), "", files),
        ((CoverageStatus.FAILED,), "", [bad]),
        ((CoverageStatus.FAILED, CoverageStatus.COMPLETE), "", files),
        ((), "GRÖSSE", [good]),
        ((), "pages no", [bad]),
        ((CoverageStatus.COMPLETE,), "pages", []),
        ((), "docs pdf", files),
    ):
        assert filter_files(files, states, wanted) == expected


def test_the_page_about_an_index_tells_what_is_in_it(
    page: Callable[..., AppTest], index: Path
) -> None:
    app = page(index)
    app._page_hash = calc_hash("about")
    app.run()
    assert not app.exception
    assert "6 passages" in words(app)
    (pages,) = (table.value for table in app.dataframe)
    assert pages.to_dict("records") == [
        {
            "File": "scans.pdf", "Where": "page 2", "State": "scanned",
            "Why, and what to do": "image; run wva index again with --ocr",
        }
    ]  # fmt: skip
    assert "1 scanned" in words(app)
    shown = "".join(part.value for part in app.html)
    assert re.findall(r"<h(\d)", shown) == ["1", "2", "2", "2", "2"]
    for riddle in ("Flat", "Snapshot", "variance", "cosine"):
        assert riddle not in shown
    links = re.findall(r'<a href="(\./\?q=[^"]*)" target="_self">([^<]*)<', shown)
    assert links
    assert all(
        unquote_plus(link[5:].partition("&")[0]) == name.replace(", ", " ") for link, name in links
    )


def test_an_error_in_a_part_that_is_drawn_by_itself_is_one_sentence() -> None:
    def script() -> None:
        import streamlit as st

        from retriever.types import IndexStateError
        from ui import status

        @st.fragment
        @status.with_errors_shown
        def show() -> None:
            raise IndexStateError("the index is gone")

        show()

    app = AppTest.from_function(script).run()
    assert not app.exception
    assert [error.value for error in app.error] == ["The index is gone"]


# An index of which a part has vectors


@pytest.fixture
def half(tmp_path: Path) -> Path:
    """Four documents, of which one has a vector."""
    folder, docs = tmp_path / "half", tmp_path / "docs"
    docs.mkdir()
    (docs / "apples.txt").write_text("Apples are red.")
    with Index.open_or_create(folder, FakeEmbedder()) as made:
        made.sync(docs)
        for name in ("pears", "plums", "figs"):
            (docs / f"{name}.txt").write_text(f"The {name} are sweet.")
        made.sync(docs, keywords_only=True)
    return folder


SHARE = "Meaning covers 25 % of the passages so far; the others are found by their words."


def test_a_half_made_index_says_so_and_goes_on(
    page: Callable[..., AppTest], half: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[tuple[object, ...]] = []
    monkeypatch.setattr(Jobs, "start", lambda self, *given: started.append(given))
    app = page(half)
    assert SHARE in [one.value for one in app.caption]
    app.button(key="go-on").click().run()
    assert not app.exception
    assert started == [(half, (), ["--vectors-only"])]
    app = at_collections(page(half))
    assert SHARE in [one.value for one in app.caption]
    assert "By meaning: 25 % so far" in words(app)
    assert not app.button(key="go-on").disabled


def test_a_complete_index_says_nothing_of_parts(page: Callable[..., AppTest], index: Path) -> None:
    for app in (page(index), page(index, q="pear"), at_collections(page(index))):
        assert "Meaning covers" not in str([one.value for one in app.caption])
        assert not [one for one in app.button if one.key == "go-on"]


def test_while_a_run_goes_on_its_progress_stands_there_instead(
    page: Callable[..., AppTest], half: Path
) -> None:
    with Index.open(half, FakeEmbedder()) as writer:
        writer.backend.set_progress(
            {
                "files_done": 4, "files_total": 4, "chunks": 1, "tokens": 800, "seconds": 2.0,
                "tokens_per_second": 400.0, "seconds_left": 130.0, "phase": "embedding",
                "vectors_done": 1, "vectors_total": 3,
            }
        )  # fmt: skip
        app = page(half)
        assert not [one for one in app.button if one.key == "go-on"]
        told = str(app.get("progress")[0].proto.text)
        assert told == "Making passages searchable by meaning: 1 of 3 · about 2 min left"
        assert "All of it is found by its words" in words(app)
