"""The explanation on the page: its pure parts, and the script run by Streamlit's AppTest."""

from __future__ import annotations

import html
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import streamlit as st
from streamlit.testing.v1 import AppTest

from retriever.embedding.word_attribution import WordSpan
from retriever.explaining.compare import compare
from retriever.explaining.faithfulness import DeletionTest
from retriever.explaining.score import Explanation
from retriever.explaining.summary import summarise
from retriever.index import Index
from retriever.searching.steering import Marked, Steering
from retriever.storage.records import KeywordScore, KeywordWord
from retriever.text.structure import sentences
from retriever.types import Chunk, Document, Excerpt, Hit, ModelError, Page, Span
from tests import pages
from tests.fakes import FakeEmbedder
from ui import attribution, evidence, heatmap, why
from ui.document_text import shade_colour
from ui.page_query import PageQuery
from ui.steer import LESS, MORE, find_words

TAG = re.compile(r"<[^>]*>")
NUMBER = re.compile(r'<td class="wva-number">([^<]*)</td></tr>')
QUERY = "sweet apples or green pears"
NASTY = "Quinces <script>bad()</script> & <b>apples</b> are green."

DOCUMENTS = [
    Document("apples.txt", "txt", (Page(None, "Apples are red & sweet. They hang on trees."),)),
    Document("pears.txt", "txt", (Page(None, "Pears are green. They hang on trees, too."),)),
    Document("cars.txt", "txt", (Page(None, "A motor needs oil. It runs on roads."),)),
    Document("odd.md", "markdown", (Page(None, f"Before it. {NASTY}"),), title="On <i>quinces</i>"),
    *(
        Document(f"more{at}.txt", "txt", (Page(None, f"Number {at} says much."),))
        for at in range(6)
    ),
]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "notes"
    with Index.open_or_create(folder, FakeEmbedder()) as made:
        made.add(DOCUMENTS)
    return folder


@pytest.fixture
def index(folder: Path) -> Iterator[Index]:
    with Index.open(folder, FakeEmbedder()) as opened:
        yield opened


@pytest.fixture
def page(monkeypatch: pytest.MonkeyPatch, folder: Path) -> Iterator[Callable[..., AppTest]]:
    yield lambda **params: pages.open_page(monkeypatch, folder, params)
    st.cache_resource.clear()


def explained(index: Index, file: str, query: str = QUERY) -> Explanation:
    hits = index.search(query, 20)
    return index.explain(query, next(hit for hit in hits if hit.chunk.path == file).chunk)


def shown(app: AppTest) -> str:
    """All HTML on the page but the list of results."""
    assert not app.exception
    return "".join(part.value for part in app.html)


def order(app: AppTest) -> list[str]:
    assert not app.exception
    return re.findall(r'<h3 class="wva-file"[^>]*><bdi>(.*?)</bdi>', pages.list_html(app))


def open_why(app: AppTest, hit: Hit) -> None:
    """Open the explanation of a hit, as its address does."""
    app.query_params["open"], app.query_params["view"] = hit.chunk.id, "why"
    app.run()


def close_why(app: AppTest) -> None:
    del app.query_params["open"], app.query_params["view"]
    app.run()


def captions(app: AppTest) -> str:
    return " ".join(str(one.value) for one in [*app.caption, *app.markdown, *app.error])


def said(app: AppTest) -> str:
    """The sentences about scores, as text."""
    found = re.findall(r'<p class="wva-summary">(.*?)</p>', shown(app))
    return "\n".join(html.unescape(TAG.sub("", one)) for one in found)


def open_numbers(app: AppTest) -> None:
    """Open "All numbers" of the explanation on the page."""
    app.session_state[f"numbers-{params(app, 'open')[0]}"] = True
    app.run()


def params(app: AppTest, name: str) -> list[str]:
    value = app.query_params[name]
    return [value] if isinstance(value, str) else list(value)


def table(app: AppTest, name: str) -> list[float]:
    """The last column of a table of the page."""
    found = re.search(rf"<caption>{name}</caption>.*?</table>", shown(app), re.DOTALL)
    assert found is not None, name
    return [float(number) for number in NUMBER.findall(found[0])]


# Pure parts


def test_a_shaded_passage_is_the_escaped_passage_with_its_strongest_words_marked(
    index: Index,
) -> None:
    found = explained(index, "odd.md")
    assert found.dense is not None
    words = attribution.shaded_words(found.dense)
    marked = evidence.shaded_passage(found.chunk, words)
    assert html.unescape(TAG.sub("", marked)) == found.chunk.text
    assert {tag.split()[0].strip("</>") for tag in TAG.findall(marked)} == {"div", "p", "mark"}
    values = dict(
        zip(
            [(word.start, word.end) for word in found.dense.passage_words if not word.in_title],
            found.dense.by_passage_word[
                [not word.in_title for word in found.dense.passage_words]
            ].tolist(),
            strict=True,
        )
    )
    largest = np.abs(found.dense.by_passage_word).max()
    worth = {place for place, value in values.items() if abs(value) >= 0.08 * largest}
    assert {(word.start, word.end) for word in words} == worth
    for word in words:
        assert word.weight == pytest.approx(values[word.start, word.end] / largest)


def test_one_word_of_the_query_shades_what_it_met(index: Index) -> None:
    found = explained(index, "pears.txt")
    assert found.dense is not None
    at = [word.word for word in found.dense.query_words].index("pears")
    words = attribution.shaded_words(found.dense, at)
    best = max(words, key=lambda word: word.value)
    assert found.chunk.text[best.start : best.end] == "Pears"
    assert best.value == found.dense.matrix[at].max()


def test_what_each_word_met_is_sent_to_the_page(index: Index) -> None:
    found = explained(index, "odd.md")
    dense = found.dense
    assert dense is not None
    (hit,) = (hit for hit in index.search(QUERY, 20) if hit.chunk.path == "odd.md")
    shown = evidence.evidence_html(found, hit)
    assert "<i>" not in shown
    assert "<script>" not in shown
    buttons = re.findall(r'<button type="button" data-word="(\d+)"[^>]*>(.*?)</button>', shown)
    assert [name for _, name in buttons] == [word.word for word in dense.query_words]
    numbers = {int(at) for at in re.findall(r'data-at="(\d+)"', shown)}
    for row, told in zip(dense.matrix, evidence.evidence_data(dense), strict=False):
        weights = {at: weight for at, _, weight in told["shades"]}
        assert weights.keys() <= numbers
        largest = np.abs(row[: len(dense.passage_words)]).max()
        for at, weight in weights.items():
            assert weight == pytest.approx(row[at] / largest, abs=1e-3)
        if not weights:
            assert told["said"].endswith(" met: nothing in particular")
            continue
        best = dense.passage_words[max(weights, key=lambda at: weights[at])]
        where = " (in the title)" if best.in_title else ""
        assert f" met: {best.word}{where}" in told["said"]


def test_headings_and_links_are_shown_without_their_markup() -> None:
    text = '## A.2 Length\n\nSee [[Policies]](#policies) and [5.1](s.md#x_(y) "t") [sic] (1).'
    chunk = Chunk("id", "d", "a.md", "markdown", "", None, 0, len(text), text)
    at = text.index("Policies")
    shown = evidence.marked_text(chunk, text, [(at, at + 8, ""), (3, 6, "")])
    assert shown == (
        "<strong><mark>A.2</mark></strong><strong> Length</strong>\n\n"
        "See <mark>Policies</mark> and [5.1](s.md#x_(y) &quot;t&quot;) [sic] (1)."
    )
    assert evidence.marked_text(replace(chunk, format="code"), text, ()) == html.escape(text)


def test_the_passage_stands_in_the_text_of_its_result() -> None:
    chunk = Chunk("id", "d", "a.txt", "txt", "", 3, 10, 14, "best")
    parts = (Excerpt(2, "", 50, 56, "<b>, 2"), Excerpt(3, "", 5, 19, "four best five"))
    hit = Hit(1, 1.0, chunk, parts=(chunk,), passage=parts)
    assert evidence.surroundings(hit, chunk) == ("<b>, 2\nfour ", " five")
    assert evidence.surroundings(replace(hit, passage=()), chunk) == ("", "")
    told = Explanation("x", chunk, "keyword", ())
    shown = evidence.evidence_html(told, hit)
    assert [
        html.unescape(TAG.sub("", one)) for one in re.findall("<p.*?</p>", shown, re.DOTALL)
    ] == [
        "<b>, 2\nfour",
        "best",
        "five",
    ]


def test_corrected_words_are_marked_where_only_words_were_searched_for(index: Index) -> None:
    (hit, *_) = index.search("quinxes", mode="keyword")
    found = index.explain("quinxes", hit)
    assert re.findall("<mark>(.*?)</mark>", evidence.evidence_html(found, hit)) == ["Quinces"]


@pytest.mark.parametrize("text", ["#edebe8", "#31333f"])
def test_text_on_the_strongest_shade_can_be_read(text: str) -> None:
    """WCAG's contrast of Streamlit's text colour on the shade, over its background, is 4.5."""

    def luminance(colour: Sequence[float]) -> float:
        parts = [c / 255 for c in colour]
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    def rgb(code: str) -> list[int]:
        return [int(code[at : at + 2], 16) for at in (1, 3, 5)]

    dark = text == "#edebe8"
    for below in ["#171715", "#26272b"] if dark else ["#ffffff", "#f0f2f6"]:
        for weight in (1.0, -1.0):
            *colour, alpha = map(float, re.findall(r"[\d.]+", shade_colour(weight)))
            mixed = [alpha * c + (1 - alpha) * b for c, b in zip(colour, rgb(below), strict=True)]
            light, low = sorted([luminance(mixed), luminance(rgb(text))], reverse=True)
            assert (light + 0.05) / (low + 0.05) >= 4.5


def test_shades_stand_where_the_words_do_on_the_page(index: Index) -> None:
    found = explained(index, "odd.md")
    moved = replace(found, chunk=replace(found.chunk, start=7))
    text = "." * 7 + found.chunk.text
    weights = attribution.page_weights(moved)
    assert weights is not None
    assert {text[start:end] for start, end, _ in weights} >= {"apples", "green"}
    assert max(weight for *_, weight in weights) <= 1
    assert attribution.page_weights(replace(found, dense=None)) is None


def test_the_tables_add_up(index: Index) -> None:
    found = explained(index, "apples.txt")
    assert found.dense is not None
    assert found.keyword is not None
    for shown, total in (
        (attribution.sum_table(found), found.score),
        (
            attribution.formula_table(found) + f'<td class="wva-number">{found.score}</td></tr>',
            found.score,
        ),
        (attribution.keyword_table(found.keyword), found.keyword.score),
        (attribution.shares_table(found.dense), found.dense.cosine),
    ):
        *parts, last = [float(number) for number in NUMBER.findall(shown)]
        assert last == pytest.approx(total, abs=6e-4)
        assert sum(parts) == pytest.approx(last, abs=2e-3)


def test_the_words_that_were_added_are_listed_and_add_up() -> None:
    words = [KeywordWord(f"<w{at}>", ("w",), 3, 1, 1.0, 1 / (at + 1)) for at in range(12)]
    shown = attribution.added_table(KeywordScore((), 9, 9.0, 99, tuple(words)))
    assert "&lt;w0&gt;" in shown
    assert "4 more" in shown
    assert "&lt;w11&gt;" in shown
    *parts, total = [float(one) for one in re.findall(r'wva-number">([+-]?\d+\.\d+)<', shown)]
    assert total == pytest.approx(sum(word.score for word in words), abs=6e-4)
    assert sum(parts) == pytest.approx(total, abs=6e-3)
    assert attribution.added_table(KeywordScore((), 9, 9.0, 99)) == ""


def test_a_word_that_the_query_repeats_says_so() -> None:
    repeated = KeywordWord("<w>", ("w",), 3, 1, 1.0, 2.0, count=3, boost=2.0)
    once = KeywordWord("v", ("v",), 3, 1, 1.0, 1.0)
    shown = attribution.keyword_table(KeywordScore((repeated, once), 9, 9.0, 99))
    assert "<td>&lt;w&gt; ×3</td>" in shown
    assert shown.count("weight 1.00 × 2.00 for the repetition") == 1
    assert "<td>v</td>" in shown


def test_a_difference_shows_both_and_their_difference(index: Index) -> None:
    one, two = explained(index, "apples.txt"), explained(index, "cars.txt")
    shown = attribution.comparison_tables(compare(one, two), "<b>", "result 2")
    assert "<b>" not in shown
    total = re.search(r'wva-total"><td>score</td>(.*?)</tr>', shown)
    assert total is not None
    numbers = [float(text) for text in re.findall(r">([-+.\d]+)<", total[1])]
    assert numbers == pytest.approx([one.score, two.score, one.score - two.score], abs=6e-4)


def test_the_picture_has_the_matrix_in_order_and_the_words_as_data(index: Index) -> None:
    found = explained(index, "odd.md")
    dense = found.dense
    assert dense is not None
    rows, columns = len(dense.query_words), len(dense.passage_words)
    values = heatmap.matrix_spec(dense, every=True)["data"]["values"]
    assert [one["value"] for one in values] == pytest.approx(
        dense.matrix[:rows, :columns].ravel().tolist(), abs=1e-5
    )
    assert sorted({one["column"] for one in values}) == [
        f"{at:05d}{word.word}" for at, word in enumerate(dense.passage_words)
    ]
    assert {one["its word"] for one in values} >= {"quinces (in the title)", "script"}


def test_of_a_long_passage_the_words_that_matter_are_drawn(index: Index) -> None:
    dense = explained(index, "apples.txt").dense
    assert dense is not None
    words = tuple(WordSpan(f"w{at}", at, at + 1) for at in range(60))
    matrix = np.random.default_rng(3).standard_normal((len(dense.query_words) + 3, 63))
    long = replace(dense, passage_words=words, matrix=matrix)
    values = heatmap.matrix_spec(long, every=False)["data"]["values"]
    peaks = {at: max(abs(matrix[: len(dense.query_words), at])) for at in range(60)}
    best = sorted(sorted(peaks, key=lambda at: -peaks[at])[: heatmap.MAX_WORDS])
    assert list(dict.fromkeys(one["its word"] for one in values)) == [f"w{at}" for at in best]


def test_the_check_is_a_sentence() -> None:
    words = (WordSpan("*red*", 0, 5), WordSpan("tea", 6, 9))
    said = why.check_sentence(DeletionTest(words, 0.5, 0.29, (0.45, 0.47)))
    assert said == (
        "**✓ Confirmed**: without these two words (\\*red\\*, tea) the closeness falls by 0.210, "
        "without two others it falls by 0.040 on average."
    )
    other = why.check_sentence(DeletionTest(words[1:], 0.5, 0.51, (0.4,)))
    assert other == (
        "**✗ Not confirmed**: without this word (tea) the closeness rises by 0.010, without "
        "another it falls by 0.100 on average."
    )


def test_a_link_keeps_weights_and_marks_and_drops_what_cannot_be_meant() -> None:
    asked = PageQuery("a b", weights=(1.0, -0.5), marks=("0123456789abcdef:0-9", "-x"))
    params = {k: v if isinstance(v, list) else [v] for k, v in asked.to_params().items()}
    assert params["weights"] == ["1,-0.5"]
    assert PageQuery.from_params(params) == asked
    assert asked.plain() == PageQuery("a b")
    for wrong in ("", "1,,2", "inf,0", "1e999", "one"):
        assert PageQuery.from_params({"weights": [wrong]}).weights == ()


def test_words_are_found_as_they_stand_or_not_at_all() -> None:
    text = "Tea (hot)\n  is good. "
    assert find_words("HOT) is", text) == Span(5, 14)
    assert find_words("hot good", text) is None
    assert find_words("  ", text) is find_words(None, text) is None


# The script


def test_why_is_a_sentence_and_its_numbers_add_up_to_the_score_of_the_card(
    page: Callable[..., AppTest], index: Index
) -> None:
    app = page(q=QUERY)
    (hit, *_) = index.search(QUERY, 10)
    assert order(app)[0] == hit.chunk.path
    assert said(app) == ""
    open_why(app, hit)
    assert summarise(index.explain(QUERY, hit)).replace("“", "").replace("”", "") in said(app)
    assert "<caption>" not in shown(app)
    open_numbers(app)
    *parts, total = table(app, "How the score adds up")
    assert total == pytest.approx(hit.score, abs=6e-4)
    assert sum(parts) == pytest.approx(total, abs=2e-3)
    assert html.escape(why.VALUE_CAPTION) in shown(app)
    *parts, total = table(app, "Where the closeness of meaning comes from")
    assert sum(parts) == pytest.approx(total, abs=2e-3)
    close_why(app)
    assert "<caption>" not in shown(app)
    assert said(app) == ""


def test_what_the_words_found_is_told_before_the_model_has_read_the_passage(
    page: Callable[..., AppTest], index: Index, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise ModelError("this model cannot read now")

    monkeypatch.setattr(FakeEmbedder, "token_attribution", refuse)
    app = page(q="apples")
    open_why(app, index.search("apples")[0])
    assert said(app).strip() == "Found for apples (1×)."
    assert "cannot read now" in captions(app)


def test_the_numbers_are_drawn_and_checked_on_request(
    page: Callable[..., AppTest], index: Index
) -> None:
    app = page(q=QUERY, mode="dense")
    open_why(app, index.search(QUERY, mode="dense")[0])
    assert not [one for one in app.button if str(one.key).startswith("check-")]
    open_numbers(app)
    assert "the closeness falls" not in captions(app)
    check = next(one for one in app.button if str(one.key).startswith("check-"))
    check.click().run()
    told = captions(app)
    assert "onfirmed" in told or "at least twice" in told
    assert not [one for one in app.button if str(one.key).startswith("check-")]


def test_keywords_are_explained_without_the_model(
    page: Callable[..., AppTest], index: Index
) -> None:
    app = page(q="green pears", mode="keyword")
    (hit, *_) = index.search("green pears", mode="keyword")
    open_why(app, hit)
    assert "Only words were searched for, not meaning." in said(app)
    open_numbers(app)
    *words, total = table(app, "The keywords, word by word; in the title they count twice")
    assert sum(words) == pytest.approx(total, abs=2e-3)
    assert total == pytest.approx(hit.score, abs=6e-4)
    assert "closeness of meaning" not in shown(app)
    assert not [one for one in app.slider if str(one.key).startswith("weight-")]


def test_two_results_are_compared(page: Callable[..., AppTest], index: Index) -> None:
    app = page(q=QUERY)
    first, second, third = index.search(QUERY, 10)[:3]
    open_why(app, first)
    open_numbers(app)
    app.button(key=f"above-{first.chunk.id}").click().run()
    assert f"Result 1 stands {first.score - second.score:.2f} above result 2" in said(app)
    other = next(one for one in app.selectbox if str(one.key).startswith("compare-"))
    other.set_value(3).run()
    assert f"Result 1 stands {first.score - third.score:.2f} above result 3" in said(app)


def test_the_last_result_is_compared_with_the_one_before(
    page: Callable[..., AppTest], index: Index
) -> None:
    app = page(q=QUERY, k="3")
    before, last = index.search(QUERY, 3)[1:]
    open_why(app, last)
    button = app.button(key=f"above-{last.chunk.id}")
    assert button.label == "Why below the one before?"
    button.click().run()
    assert f"Result 2 stands {before.score - last.score:.2f} above result 3" in said(app)


def test_a_slider_changes_the_order_and_the_address_and_can_be_reset(
    page: Callable[..., AppTest], index: Index
) -> None:
    app = page(q=QUERY)
    app.session_state["weigh"] = True
    app.run()
    plain = order(app)
    words = [word.word for word in index.query_words(QUERY)]
    sliders = [one for one in app.slider if str(one.key).startswith("weight-")]
    assert [one.label for one in sliders] == words == ["sweet", "apples", "or", "green", "pears"]
    app.slider(key="weight-0").set_value(0.0).run()
    app.slider(key="weight-1").set_value(-1.0).run()
    wanted = index.search(QUERY, 10, steering=Steering((0, -1, 1, 1, 1)))
    assert order(app) == [hit.chunk.path for hit in wanted]
    assert order(app) != plain
    assert params(app, "weights") == ["0,-1,1,1,1"]
    open_why(app, wanted[0])
    open_numbers(app)
    *parts, total = table(app, "How the score adds up")
    assert sum(parts) == pytest.approx(total, abs=2e-3)
    assert total == pytest.approx(wanted[0].score, abs=6e-4)
    app.button(key="unweigh").click().run()
    assert order(app) == plain
    assert "weights" not in app.query_params


def test_weights_belong_to_their_question_and_to_one_visitor(page: Callable[..., AppTest]) -> None:
    one = page(q=QUERY, weights="0,0,0,1,1")
    other = page(q=QUERY)
    assert order(one) != order(other)
    pages.ask(one, "sweet apples")
    assert "weights" not in one.query_params
    assert order(one) == order(page(q="sweet apples"))
    assert order(other.run()) == order(page(q=QUERY))


def test_weights_that_are_not_of_these_words_do_nothing(page: Callable[..., AppTest]) -> None:
    assert order(page(q=QUERY, weights="0,3")) == order(page(q=QUERY))


def test_weights_that_leave_nothing_are_a_sentence_with_a_way_out(
    page: Callable[..., AppTest],
) -> None:
    app = page(q="apples", weights="0", mode="dense")
    found = order(app)
    again = [one for one in app.button if "without weights" in str(one.key)]
    assert found or again
    if again:
        again[0].click().run()
        assert order(app)


def test_more_like_a_part_is_a_chip_that_can_be_removed(
    page: Callable[..., AppTest], index: Index
) -> None:
    cars = next(row for row in index.documents() if row.path == "cars.txt")
    chunk = index.chunks(cars.id)[0]
    span = sentences(chunk.text)[0]
    app = page(q="apples", mode="dense")
    plain = order(app)
    rank = plain.index("cars.txt") + 1
    app.query_params["open"] = chunk.id
    app.session_state[f"like-{chunk.id}"] = True
    app.run()
    part = app.selectbox(key=f"part-{chunk.id}")
    assert part.options == ["The whole passage", "A motor needs oil.", "It runs on roads."]
    part.set_value("A motor needs oil.").run()
    app.button(key=f"more-{chunk.id}").click().run()
    mark = Marked(chunk.id, span.start, span.end, MORE)
    wanted = index.search("apples", 10, mode="dense", steering=Steering(marked=(mark,)))
    assert order(app) == [hit.chunk.path for hit in wanted]
    assert order(app).index("cars.txt") + 1 < rank
    assert params(app, "like") == [f"{chunk.id}:{span.start}-{span.end}"]
    assert app.button(key="unmark-0").label == "More like “A motor needs oil.”"
    open_why(app, wanted[0])
    assert "without them" in said(app)
    app.button(key="unmark-0").click().run()
    assert order(app) == plain
    assert "like" not in app.query_params


def test_less_like_a_part_leads_away_from_it(page: Callable[..., AppTest], index: Index) -> None:
    top = index.search("apples", 1, mode="dense")[0].chunk
    mark = Marked(top.id, 0, len(top.text), LESS)
    wanted = index.search("apples", 10, mode="dense", steering=Steering(marked=(mark,)))
    app = page(q="apples", mode="dense", like=f"-{top.id}:0-{len(top.text)}")
    assert order(app) == [hit.chunk.path for hit in wanted]
    assert app.button(key="unmark-0").label.startswith("Less like")


def test_a_mark_whose_passage_is_gone_says_so_and_changes_nothing(
    page: Callable[..., AppTest],
) -> None:
    app = page(q="apples", like=["0123456789abcdef:0-9", "nonsense"])
    assert order(app) == order(page(q="apples"))
    assert app.button(key="unmark-0").label == "More like a passage that is not here any more"


@pytest.mark.parametrize("path", ["cars.txt", "pears.txt", "odd.md"])
def test_why_not_a_document_is_told_and_compared(
    page: Callable[..., AppTest], index: Index, path: str
) -> None:
    app = page(q="sweet apples", k="2")
    app.session_state["why-not"] = True
    app.run()
    app.selectbox(key="missing").set_value(path).run()
    told = index.why_not("sweet apples", path, 2)
    assert told.sentence in captions(app).replace("\\", "")
    above = [one for one in app.selectbox if one.key == "missing-above"]
    assert bool(above) == bool(told.best and told.above)
    if told.best and told.above:
        above[0].set_value(1).run()
        by = told.above[0].score - told.best.score
        assert f"Result 1 stands {by:.2f} above it" in said(app)


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ("PEAR", "**pears.txt**: it is there: result"),
        ("never", "**never**: no document of this collection has this name, whole or in part."),
        (".txt", "9 documents are called"),
    ],
)
def test_of_many_documents_a_part_of_a_name_is_typed(
    page: Callable[..., AppTest], monkeypatch: pytest.MonkeyPatch, typed: str, said: str
) -> None:
    monkeypatch.setattr("ui.why_not._MAX_NAMES", 5)
    app = page(q="sweet apples")
    app.session_state["why-not"] = True
    app.run()
    app.text_input(key="missing-name").set_value(typed).run()
    assert said in captions(app)
    assert "never indexed" not in captions(app)


def test_an_embedder_that_cannot_be_taken_apart_is_a_sentence(
    page: Callable[..., AppTest], index: Index, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise ModelError("this model's vectors cannot be attributed to words")

    monkeypatch.setattr(FakeEmbedder, "token_attribution", refuse)
    app = page(q="apples")
    open_why(app, index.search("apples")[0])
    assert not app.exception
    assert "cannot be attributed to words" in captions(app)
    assert len(order(app)) > 1


def test_an_opened_document_is_shaded_by_what_its_words_bring(
    page: Callable[..., AppTest], index: Index
) -> None:
    found = explained(index, "pears.txt")
    weights = attribution.page_weights(found)
    assert weights is not None
    app = page(q=QUERY, open=found.chunk.id)
    app.session_state["shade"] = True
    app.run()
    *_, text = (part.value for part in app.html if 'class="wva-text-page' in part.value)
    marked = re.findall(r"<mark[^>]*>(.*?)</mark>", text)
    assert marked == [found.chunk.text[start:end] for start, end, _ in sorted(weights)]
