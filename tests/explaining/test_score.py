"""Explanations: contributions that add up to the score, zeroed values, and the other terms."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from retriever import AlignedWVA, Document, Hit, Index, Page
from retriever.embedding.word_attribution import WordSpan, word_spans
from retriever.explaining.score import DenseScore, Explanation, Term, dense_score
from retriever.interface.cli import main
from retriever.interface.terminal.explanations import explanation_lines, strongest
from retriever.searching.steering import Steering
from retriever.storage.adapter import Adapter
from retriever.storage.backends import keyword_query
from retriever.text.analyzer import content_terms, index_terms
from retriever.types import Chunk, ModelError, UsageError
from tests.fakes import FakeEmbedder
from tests.live import live
from tests.naive import Naive, reference
from tests.tiny import save_model

FAMILIES = ("llama", "qwen2", "qwen3", "gemma3", "gpt2")
QUERIES, PASSAGES = 10, 20  # 200 pairs of each family, 1,000 in all
TOLERANCE = 1e-4
TEXTS = {
    "tea.txt": "Green tea is brewed at eighty degrees, black tea hotter.",
    "coffee.txt": "Coffee beans are roasted; tea leaves are not.",
    "trains.txt": "The train to the coast leaves from platform four.",
    "contents.txt": "1 Green tea ........ 3\n2 Black tea ........ 4",
}


def some_text(seed: int, words: int) -> str:
    generator = np.random.default_rng(seed)
    letters = np.array(list("abcdefghijklmnopqrstuvwxyzé"))
    made = ("".join(generator.choice(letters, generator.integers(1, 9))) for _ in range(words))
    return " ".join(word + generator.choice(["", "", "", ",", "."]) for word in made) + "."


@pytest.fixture(scope="module", params=FAMILIES)
def family(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(scope="module")
def index(family: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Index]:
    folder = tmp_path_factory.mktemp(family)
    model = save_model(folder / "model", family, bos=True)
    embedder = AlignedWVA(str(model), device="cpu", dtype="float32")
    with Index.open_or_create(folder / "index", embedder) as opened:
        opened.add(
            Document(f"{seed}.txt", "txt", (Page(None, some_text(seed, 3 + seed)),), title="A name")
            for seed in range(PASSAGES)
        )
        yield opened


def chunks_of(index: Index) -> list[Chunk]:
    return [chunk for row in index.documents() for chunk in index.chunks(row.id)]


def test_the_parts_add_up_to_the_score(index: Index) -> None:
    chunks = chunks_of(index)
    assert len(chunks) == PASSAGES
    means = live(index.backend).calibration
    assert means is not None
    assert means.query_mean.any()
    passages = [index._attributions.passage(chunk) for chunk in chunks]
    worst = 0.0
    for number in range(QUERIES):
        side = index._attributions.query(some_text(100 + number, 1 + number))
        cosines = live(index.backend).dense_scores(side.raw, [chunk.id for chunk in chunks])
        for cosine, passage in zip(cosines, passages, strict=True):
            found = dense_score(float(cosine), side, passage, means)
            sums = found.matrix.sum(), found.plain.sum(), sum(found.shares.values())
            worst = max(worst, *(abs(each - cosine) for each in sums[:2]))
            assert sums[2] == pytest.approx(cosine, abs=1e-9)
    assert worst < TOLERANCE


@pytest.mark.parametrize("side", ["query", "both"])
def test_the_parts_add_up_to_the_score_of_an_adapter(index: Index, side: str) -> None:
    chunks = chunks_of(index)
    dimension = index.embedder.settings.dimension
    rng = np.random.default_rng(7)
    matrix = np.eye(dimension) + rng.normal(size=(dimension, dimension)) / dimension
    query = "some words, of a query."
    plain = index.explain(query, chunks[3], mode="dense")
    index.backend.set_adapter(Adapter.of(side, matrix))
    try:
        means = live(index.backend).calibration
        worst, most = 0.0, 0.0
        asked = index._attributions.query(query)
        cosines = live(index.backend).dense_scores(asked.raw, [chunk.id for chunk in chunks])
        for cosine, chunk in zip(cosines, chunks, strict=True):
            found = dense_score(float(cosine), asked, index._attributions.passage(chunk), means)
            for sums in (found.matrix.sum(), found.plain.sum(), sum(found.shares.values())):
                worst = max(worst, abs(sums - cosine))
            most = max(most, float(np.abs(found.matrix).max()))
        assert worst < TOLERANCE < most
        explained = index.explain(query, chunks[3], mode="dense")
        assert explained.score != pytest.approx(plain.score, abs=1e-4)
        assert explained.dense is not None
        test = index.check_explanation(explained, count=1, draws=2)
        assert test.before == pytest.approx(explained.dense.cosine, abs=TOLERANCE)
    finally:
        index.backend.set_adapter(None)
    assert index.explain(query, chunks[3], mode="dense").score == plain.score


def test_a_words_part_is_what_is_lost_without_its_values(index: Index, family: str) -> None:
    """Everything but the explanation comes from the naive formula, in double precision."""
    embedder = index.embedder
    assert isinstance(embedder, AlignedWVA)
    naive = Naive(reference(embedder.settings.model), family)
    layers = list(embedder.settings.layers)
    means = live(index.backend).calibration
    assert means is not None
    query = some_text(200, 5)
    read = [
        naive.outputs(ids)[layers].sum(0).numpy()
        for ids in embedder._tokenize(embedder.query_inputs(query))
    ]
    assert len(read) > 1
    asked = sum(each / np.linalg.norm(each) for each in read)
    x = asked / np.linalg.norm(asked) - means.query_mean
    x /= np.linalg.norm(x)
    for chunk in chunks_of(index)[::5]:
        found = index.explain(query, chunk, mode="dense").dense
        assert found is not None
        model_input = embedder.passage_input(chunk.text, chunk.title)
        ids = embedder._tokenize([model_input])[0]
        spans = embedder.token_attribution(model_input).spans
        whole = naive.outputs(ids)[layers].sum(0).numpy()
        length = np.linalg.norm(whole)
        scale = np.linalg.norm(whole / length - means.passage_mean)
        at = model_input.index(chunk.text)
        for word, effect in list(zip(found.passage_words, found.effects, strict=True))[2::3]:
            start, end = at + word.start, at + word.end
            own = [t for t, (a, b) in enumerate(spans) if a < end and b > start]
            without = naive.outputs(ids, without=own)[layers].sum(0).numpy()
            before, after = (
                (e / length - means.passage_mean) @ x / scale for e in (whole, without)
            )
            assert before == pytest.approx(found.cosine, abs=TOLERANCE)
            assert effect == pytest.approx(before - after, abs=TOLERANCE)


def test_a_mean_is_shared_out_as_the_length_is(index: Index) -> None:
    """m_ij against the formula, one entry after the other."""
    chunk, means = chunks_of(index)[3], live(index.backend).calibration
    assert means is not None
    one, two = index._attributions.query("word by word"), index._attributions.passage(chunk)
    found = index.explain("word by word", chunk).dense
    assert found is not None
    a, b = one.vectors, two.vectors
    mu, nu = means.query_mean.astype(float), means.passage_mean.astype(float)
    lengths = np.linalg.norm(a.sum(0) - mu) * np.linalg.norm(b.sum(0) - nu)
    for i, j in ((0, 0), (2, 5), (4, 1), (-2, -2), (1, -1)):
        left = a[i] - (a[i] @ a.sum(0)) * mu
        right = b[j] - (b[j] @ b.sum(0)) * nu
        assert found.matrix[i, j] == pytest.approx(left @ right / lengths, abs=1e-9)


def test_words_and_their_places(index: Index) -> None:
    chunk = chunks_of(index)[7]
    found = index.explain('a "b" +c', chunk)
    assert found.query == "a b c"
    assert found.dense is not None
    assert [word.word for word in found.dense.query_words] == ["a", "b", "c"]
    titles = [word.word for word in found.dense.passage_words if word.in_title]
    assert titles == ["A", "name"]
    for word in found.dense.passage_words:
        assert (chunk.title if word.in_title else chunk.text)[word.start : word.end] == word.word
    told = json.loads(json.dumps(found.to_json()))
    assert np.sum(told["dense"]["matrix"]) + told["dense"]["remainder"] == pytest.approx(
        told["dense"]["cosine"], abs=1e-5
    )
    assert sum(term["value"] for term in told["terms"]) == pytest.approx(told["score"])


def test_the_best_pairs_come_first(index: Index) -> None:
    found = index.explain("one two three", chunks_of(index)[9]).dense
    assert found is not None
    block = found.matrix[:3, : len(found.passage_words)]
    best = found.pairs(5)
    assert [pair.value for pair in best] == sorted(block.ravel(), reverse=True)[:5]
    where = found.passage_words.index(best[0].passage)
    assert block[found.query_words.index(best[0].query), where] == best[0].value


@pytest.mark.model
def test_the_default_model_leaves_a_small_remainder(tmp_path: Path) -> None:
    with Index.open_or_create(tmp_path / "index", AlignedWVA()) as index:
        index.add(
            Document(path, "txt", (Page(None, text),)) for path, text in list(TEXTS.items())[:3]
        )
        for hit in index.search("hot drinks", 3):
            found = index.explain("hot drinks", hit)
            assert found.dense is not None
            assert found.score == pytest.approx(hit.score, abs=1e-6)
            assert abs(found.dense.remainder) < 0.02
        best = found_pairs(index, "hot drinks", "tea.txt")
        assert best[0].value > 0


def found_pairs(index: Index, query: str, path: str) -> list:
    chunk = next(chunk for chunk in chunks_of(index) if chunk.path == path)
    found = index.explain(query, chunk).dense
    assert isinstance(found, DenseScore)
    return found.pairs(3)


# The rest of the arithmetic, with an embedder whose directions are words


class Judging(FakeEmbedder):
    """It likes what has few words."""

    def log_likelihoods(self, query: str, passages: list[str], titles=None) -> np.ndarray:
        return np.array([-float(len(text.split())) for text in passages])


@pytest.fixture
def words(tmp_path: Path) -> Iterator[Index]:
    with Index.open_or_create(tmp_path / "index", Judging()) as opened:
        opened.add(Document(path, "txt", (Page(None, text),)) for path, text in TEXTS.items())
        yield opened


@pytest.mark.parametrize("mode", ["hybrid", "dense", "keyword"])
def test_the_terms_add_up_to_the_score(words: Index, mode: str) -> None:
    hits = words.search("green tea", mode=mode)
    assert len(hits) >= 2
    names = {"hybrid": ["dense", "keyword"], "dense": ["dense"], "keyword": ["keyword"]}[mode]
    for hit in hits:
        found = words.explain("green tea", hit)
        assert found.mode == mode
        assert found.score == pytest.approx(hit.score, abs=1e-6)
        refers = hit.chunk.path == "contents.txt"
        assert [term.name for term in found.terms] == [*names, *(["contents"] if refers else [])]
        by_id = words.explain("green tea", hit.chunk.id, mode=mode)
        assert by_id.score == pytest.approx(hit.score, abs=1e-6)
        if mode != "keyword":
            assert found.dense is not None
            assert found.dense.cosine == pytest.approx(hit.dense, abs=1e-6)
            assert abs(found.dense.remainder) < 1e-6


def test_a_standardised_side_tells_its_numbers(words: Index) -> None:
    hit = words.search("green tea")[0]
    for term, score in zip(
        words.explain("green tea", hit).terms, (hit.dense, hit.keyword), strict=False
    ):
        made_of = term.made_of
        assert made_of["score"] == pytest.approx(score, abs=1e-6)
        assert made_of["own"] == 1
        assert term.value == pytest.approx((score - made_of["mean"]) / made_of["std"], abs=1e-5)


@pytest.mark.parametrize(
    "query",
    [
        "green tea",
        "the train leaves",
        "grean tea leaves",
        "tea tea",
        "green tea, green leaves and grean trains: GREEN",
        "grean grean tea",
    ],
)
def test_keywords_add_up_to_bm25(words: Index, query: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Against the formula, k1 1.2, b 0.75, over the texts without stop words."""
    monkeypatch.setattr(keyword_query, "SENTENCE_WORDS", 0)
    terms = {path: content_terms(index_terms(text)) for path, text in TEXTS.items()}
    average = np.mean([len(found) for found in terms.values()])
    said = Counter(
        word for word in re.findall("[a-z]+", query.lower()) if word not in ("the", "and")
    )
    hits = words.search(query, mode="keyword")
    assert hits
    for hit in hits:
        found = words.explain(query, hit).keyword
        assert found is not None
        assert found.score == pytest.approx(hit.keyword, rel=1e-6, abs=1e-9)
        own = terms[hit.chunk.path]
        assert (found.length, found.passages) == (len(own), len(TEXTS))
        assert found.average == pytest.approx(average)
        for word in found.words:
            documents = sum(not set(word.terms).isdisjoint(other) for other in terms.values())
            assert word.documents == documents
            assert word.times == sum(own.count(term) for term in word.terms)
            idf = max(1e-6, np.log((len(TEXTS) - documents + 0.5) / (documents + 0.5)))
            assert word.idf == pytest.approx(idf)
            expected = idf * word.times * 2.2 / (word.times + 0.3 + 0.9 * len(own) / average)
            assert word.count == said[word.word]
            k3 = 0.1 * said.total()
            assert word.boost == pytest.approx((k3 + 1) * word.count / (k3 + word.count))
            expected *= word.boost
            if word.word == "grean":
                expected *= 0.6
            elif 2 * documents > len(TEXTS) and len(found.words) > 1:
                expected = 0.0  # left aside, as long as there are others
            assert word.score == pytest.approx(expected, abs=1e-9)


def test_what_the_first_passages_add_is_told(tmp_path: Path) -> None:
    with Index.open_or_create(tmp_path / "index", Judging()) as index:
        index.add(
            Document(f"{seed}.txt", "txt", (Page(None, f"{some_text(seed, 6)} {text}"),))
            for seed, text in enumerate([*TEXTS.values()] * 8)
        )
        query = "green tea trains"
        plain = {hit.chunk.id: hit for hit in index.search(query, 32, feedback=False, fold=False)}
        hits = index.search(query, 32, fold=False)
        assert [hit.chunk.id for hit in hits] != list(plain)
        for hit in hits[::3]:
            found = index.explain(query, hit)
            assert found.score == pytest.approx(hit.score, abs=1e-5)
            names = [term.name for term in found.terms if term.name != "contents"]
            assert names == ["dense", "dense feedback", "keyword", "keyword feedback"]
            assert found.terms[0].made_of["own"] < 1
            assert found.keyword is not None
            assert found.keyword.score == pytest.approx(hit.keyword, rel=1e-6, abs=1e-9)
            (again,) = (term for term in found.terms if term.name == "keyword feedback")
            added = {word.word: word.score for word in found.keyword.added}
            assert sum(added.values()) == pytest.approx(again.made_of["added"], abs=1e-5)
            assert list(added.values()) == sorted(added.values(), reverse=True)
            assert all(word in f"{hit.chunk.title}\n{hit.text}" for word in added)
            assert "ø" not in json.dumps(found.to_json(), ensure_ascii=False)
            told = "\n".join(explanation_lines(found, colour=False))
            assert all(f"{word} {score:+.3f}" in told for word, score in [*added.items()][:1])
            without = index.explain(query, plain[hit.chunk.id], feedback=False)
            assert without.score == pytest.approx(plain[hit.chunk.id].score, abs=1e-5)
        judged = index.search(query, 6, rerank=6, fold=False)
        for hit in judged:
            found = index.explain(query, hit, first=judged)
            assert found.terms[-1].name == "rerank"
            assert found.score == pytest.approx(hit.score, abs=1e-5)
        told = index.compare(query, judged[0], judged[1], first=judged)
        assert {row.name for row in told.terms} >= {"rerank"}
        by = sum(row.difference for row in told.terms)
        assert by == pytest.approx(judged[0].score - judged[1].score, abs=2e-5)
        steered = index.search(query, fold=False, steering=Steering((1, 2, 1)))
        for hit in steered:
            found = index.explain(query, hit, weights=(1, 2, 1))
            assert found.score == pytest.approx(hit.score, abs=1e-5)


def test_reranking_is_computed_anew(words: Index) -> None:
    plain = {hit.chunk.id: hit for hit in words.search("green tea")}
    hits = words.search("green tea", rerank=3)
    assert [hit.chunk.id for hit in hits] != list(plain)
    for hit in hits[:3]:
        found = words.explain("green tea", hit, first=hits[:3])
        short = words.explain("green tea", hit)
        assert found.score == pytest.approx(hit.score, abs=1e-6)
        assert short.score == pytest.approx(hit.score, abs=1e-9)
        assert found.terms[-1].name == short.terms[-1].name == "rerank"
        assert found.terms[-1].made_of["log_likelihood"] == hit.rerank
        before = plain[hit.chunk.id].score
        assert found.terms[-1].value == pytest.approx(hit.score - before, abs=1e-6)
    last = words.explain("green tea", hits[3], first=hits[:3])
    assert last.score == pytest.approx(hits[3].score, abs=1e-6)


def test_explanations_cost_no_model_the_second_time(words: Index) -> None:
    embedder = words.embedder
    assert isinstance(embedder, FakeEmbedder)
    hit = words.search("green tea")[0]
    first = words.explain("green tea", hit).to_json()
    count = len(embedder.embedded)
    embedder.token_attribution = None  # type: ignore[method-assign,assignment]
    assert words.explain("green tea", hit).to_json() == first
    assert len(embedder.embedded) == count


def test_what_cannot_be_explained(words: Index, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"no passage 'nowhere' in this index"):
        words.explain("tea", "nowhere")
    with pytest.raises(UsageError, match="unknown mode 'fuzzy'"):
        words.explain("tea", words.search("tea")[0].chunk, mode="fuzzy")
    model = save_model(tmp_path / "model")
    other = AlignedWVA(str(model), device="cpu", dtype="float32", pooling="mean-hidden")
    with Index.open_or_create(tmp_path / "other", other) as index:
        index.add([Document("a.txt", "txt", (Page(None, "A red apple."),))])
        (hit,) = index.search("apple")
        with pytest.raises(ModelError, match="pooled as mean-hidden cannot be attributed"):
            index.explain("apple", hit)
        keyword: Hit = index.search("apple", mode="keyword")[0]
        assert index.explain("apple", keyword).dense is None


# The command line


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("cli")
    embedder = AlignedWVA(str(save_model(made / "model")), device="cpu", dtype="float32")
    with Index.open_or_create(made / "index", embedder) as opened:
        opened.add(Document(path, "txt", (Page(None, text),)) for path, text in TEXTS.items())
    return made / "index"


def test_the_command_tells_the_sum(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    common = ["explain", "green tea", "--index", str(folder), "--device", "cpu"]
    assert main([*common, "--hit", "2", "--rerank", "3", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["score"] == pytest.approx(sum(term["value"] for term in told["terms"]))
    assert told["terms"][-1]["name"] == "rerank"
    assert told["summary"].startswith("Found for “")
    assert "judgement, asked for by reranking, " in told["summary"]
    search = ["search", "green tea", "--index", str(folder), "--device", "cpu", "--rerank", "3"]
    assert main([*search, "-k", "3", "--rerank-seconds", "60", "--json"]) == 0
    second = json.loads(capsys.readouterr().out)["hits"][1]
    assert second["chunk_id"] == told["chunk_id"]
    assert second["score"] == pytest.approx(told["score"], abs=1e-5)
    assert main([*common, "--chunk", told["chunk_id"]]) == 0
    shown = capsys.readouterr().out
    assert shown.startswith(told["path"])
    assert "cosine" in shown
    assert "words of the query: green" in shown


def test_the_command_names_corrected_words(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    common = ["explain", "platfrm", "--index", str(folder), "--mode", "keyword"]
    assert main(common) == 0
    assert '"platfrm" occurs nowhere; searched for platform instead' in capsys.readouterr().err
    assert main([*common, "--no-typos", "--chunk", _chunk_id(folder)]) == 0
    assert capsys.readouterr().err == ""


def _chunk_id(folder: Path) -> str:
    with Index.open(folder) as index:
        return index.search("platform", 1, mode="keyword")[0].chunk.id


def test_a_run_shows_words_and_its_factor(tmp_path: Path) -> None:
    text = "In-person proofing by SP 800-63B is needed, in person."
    with Index.open_or_create(tmp_path / "index", FakeEmbedder()) as index:
        index.add(
            Document(f"{seed}.txt", "txt", (Page(None, f"{some_text(seed, 6)} {also}"),))
            for seed, also in enumerate([text, *TEXTS.values()] * 4)
        )
        query = "in person proofing 16GB"
        found = index.explain(query, index.search(query, 1)[0])
    assert found.keyword is not None
    told = "\n".join(explanation_lines(found, colour=False))
    assert re.search(r"in person: 2 times.*, weight [\d.]+ × 0\.50 as one word\n", told)
    assert "ø" not in told + json.dumps(found.to_json(), ensure_ascii=False)
    assert "16GB: not here, in 0 passages" in told
    assert "proofing 16GB" not in told  # a run that occurs nowhere
    terms = [term for word in found.to_json()["keyword"]["words"] for term in word["terms"]]
    assert "in person" in terms
    added = [word.word for word in found.keyword.added]
    assert "800-63B" in added
    assert len(added) == len(set(added))


def test_the_command_refuses(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    common = ["explain", "green tea", "--index", str(folder)]
    assert main([*common, "--hit", "0"]) == 2
    assert main([*common, "--chunk", "nowhere", "--mode", "keyword"]) == 2
    assert main([*common, "--hit", "9", "--mode", "keyword"]) == 2
    assert "there is no result 9" in capsys.readouterr().err


def test_strong_words_are_marked() -> None:
    chunk = Chunk("id", "d", "a.txt", "txt", "Tea", 3, 0, 30, "Tea \x1b[2J is brewed, hot tea")
    words = tuple(WordSpan(chunk.text[a:b], a, b) for a, b in word_spans(chunk.text))
    values = np.array([[0.5, 0.0, 0.01, 0.02, 0.3, -0.4, 0.0, 0.0, 0.0]])
    matrix = np.vstack([values, np.zeros((3, len(words) + 3))])
    dense = DenseScore(0.43, (WordSpan("drink", 0, 5),), words, matrix, matrix)
    told = Explanation("drink", chunk, "dense", (Term("dense", 0.43, {"score": 0.43}),), dense)
    assert [word.word for word in strongest(dense)] == ["Tea", "hot"]
    lines = explanation_lines(told, colour=False)
    assert lines[0] == "a.txt, page 3  Tea  id"
    assert (
        lines[1] == "Found by meaning, through “hot” and “Tea”."
    )  # a word counts with all its places
    assert lines[3].strip() == "*Tea* \N{REPLACEMENT CHARACTER}[2J is brewed, *hot* tea"
    assert "    +0.300  drink  hot" in lines
    assert "cosine 0.430 = word × word +0.430" in lines
    assert explanation_lines(told, colour=True)[3].strip().startswith("\x1b[1mTea\x1b[0m")
