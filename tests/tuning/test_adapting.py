"""An index gets a map if it helps, and is otherwise as it was; with one, every door uses it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from shutil import copytree
from typing import Any

import numpy as np
import pytest

from retriever import Document, Index, Page
from retriever.indexing.fitting import Fitter, calibration_is_current
from retriever.interface.cli import main
from retriever.searching.options import Marked, Mode
from retriever.searching.steering import Steering
from retriever.storage.adapter import Adapter
from retriever.tuning import adapter_tasks, adapting
from retriever.tuning.adapting import remove_adapter, tune_adapter
from retriever.tuning.pairs import Pair, PairData, Passage
from retriever.tuning.trial import trial
from retriever.types import IndexStateError, UsageError
from tests.fakes import FakeEmbedder
from tests.live import live

DIM = 48
CONCEPTS = 30
PASSAGES = 160


def words(name: str, rng: np.random.Generator, count: int) -> list[str]:
    """Words that say concepts: those of questions are others than those of passages."""
    return [
        f"{name}{chr(97 + at % 26)}{chr(97 + at // 26)}x"
        for at in sorted(rng.choice(CONCEPTS, count, replace=False))
    ]


def texts() -> tuple[dict[str, str], dict[str, str]]:
    """Passages by path, and a question that each of them answers, in other words."""
    passages, questions = {}, {}
    for number in range(PASSAGES):
        rng = np.random.default_rng(number)
        said = words("pas", rng, 5)
        asked = ["que" + word.removeprefix("pas") for word in said[:4]]
        passages[f"{number}.txt"] = " ".join(said) + f" serial{number}."
        questions[f"{number}.txt"] = " ".join(asked)
    return passages, questions


PASSAGE_TEXTS, QUESTIONS = texts()


def pairs(*, same_words: bool = False) -> PairData:
    corpus = {name: Passage(text, id=name) for name, text in PASSAGE_TEXTS.items()}
    asked = {
        name: text.replace("que", "pas") if same_words else text for name, text in QUESTIONS.items()
    }
    return PairData(
        [Pair(asked[name], corpus[name], id=name) for name in corpus], corpus, "made up"
    )


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("made") / "index"
    with Index.open_or_create(folder, FakeEmbedder(DIM)) as opened:
        opened.add(
            Document(path, "txt", (Page(None, text),)) for path, text in PASSAGE_TEXTS.items()
        )
    return folder


@pytest.fixture
def index(made: Path, tmp_path: Path) -> Iterator[Index]:
    copytree(made, tmp_path / "index")
    with Index.open(tmp_path / "index", FakeEmbedder(DIM)) as opened:
        yield opened


def digests(folder: Path) -> dict[str, str]:
    """What the files of an index hold, but for the shared memory of its readers."""
    return {
        path.name: sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.iterdir())
        if not path.name.endswith("-shm") and path.stat().st_size
    }


def answers(index: Index) -> list[tuple[str, float]]:
    asked = list(QUESTIONS.values())[:5]
    return [
        (hit.chunk.path, hit.score)
        for text in asked
        for mode in ("hybrid", "dense")
        for hit in index.search(text, 5, mode=mode)
    ]


@pytest.mark.parametrize("side", ["query", "both"])
def test_a_map_that_helps_is_kept_and_leaves_without_a_trace(index: Index, side: str) -> None:
    before, facts = answers(index), index.info()
    scale = live(index.backend).match_scale()
    report = tune_adapter(index, pairs(), side=side, held_out=0.25)
    assert report.kept, report.sentence
    assert report.dense.after > report.dense.before + 0.1
    assert (report.dense.verdict, report.side, report.measure) == ("better", side, "nDCG@10")
    told = index.info()["adapter"]
    assert (told["side"], told["data"], told["sentence"]) == (side, "made up", report.sentence)
    assert answers(index) != before
    text = next(iter(QUESTIONS.values()))
    for mode in ("hybrid", "dense"):
        hit = index.search(text, 1, mode=mode)[0]
        explained = index.explain(text, hit)
        assert explained.score == pytest.approx(hit.score, abs=1e-4)
        assert explained.dense is not None
        assert abs(explained.dense.remainder) < 1e-5
    with pytest.raises(IndexStateError, match="--adapter off"):
        tune_adapter(index, pairs())
    assert index.verify().whole
    assert remove_adapter(index)
    assert not remove_adapter(index)
    after = index.info()
    assert answers(index) == before
    assert live(index.backend).match_scale() == scale
    assert (after["calibration"], after["adapter"]) == (facts["calibration"], None)


def test_an_index_that_changes_meanwhile_gets_no_map_for_what_it_was(
    tmp_path: Path, index: Index
) -> None:
    def change(told: str) -> None:
        if told.startswith("searching for"):
            with Index.open(tmp_path / "index", FakeEmbedder(DIM)) as other, other.changing():
                means, facts = (
                    live(other.backend).means(),
                    dict(live(other.backend).calibration_facts() or {}),
                )
                other.backend.calibrate(
                    means.passage_mean, -means.query_mean, {**facts, "passages": 9}
                )
                other.backend.finish({})

    with pytest.raises(IndexStateError, match="was changed while the adapter was trained"):
        tune_adapter(index, pairs(), held_out=0.25, progress=change)
    assert index.info()["adapter"] is None


@pytest.mark.parametrize("removed", [False, True])
def test_a_change_that_stops_half_way_is_completed_by_the_next_run(
    index: Index, monkeypatch: pytest.MonkeyPatch, removed: bool
) -> None:
    if removed:
        assert tune_adapter(index, pairs(), held_out=0.25).kept
    assert calibration_is_current(live(index.backend))
    with monkeypatch.context() as patch:
        patch.setattr(Fitter, "_fit_match_scale", stop)
        patch.setattr(type(index.backend), "set_match_scale", stop)
        with pytest.raises(KeyboardInterrupt):
            remove_adapter(index) if removed else tune_adapter(index, pairs(), held_out=0.25)
    assert not calibration_is_current(live(index.backend))
    with index.changing():
        Fitter(index.backend, index.embedder).fit_if_due()
        index.backend.finish({})
    assert calibration_is_current(live(index.backend))
    assert (index.info()["adapter"] is None) is removed


def stop(*_: object) -> None:
    raise KeyboardInterrupt


@pytest.mark.parametrize(
    ("given", "labelled", "expected"),
    [
        ({}, True, None),
        ({}, False, Mode.HYBRID),
        ({"wanted": Mode.DENSE}, False, Mode.DENSE),
        ({"wanted": Mode.HYBRID}, True, Mode.HYBRID),
    ],
)
def test_which_search_has_to_be_better(
    index: Index,
    monkeypatch: pytest.MonkeyPatch,
    given: dict[str, Any],
    labelled: bool,
    expected: Mode | None,
) -> None:
    asked: list[Mode | None] = []

    def decided(*given: Any) -> tuple[bool, str]:
        asked.append(given[-1])
        return False, "It is not kept."

    monkeypatch.setattr(adapting, "_decided", decided)
    monkeypatch.setattr(adapter_tasks, "MIN_QUERIES", 3)
    monkeypatch.setattr(
        adapter_tasks, "cloze_questions", lambda text: [(text.split()[0], text.split(" ", 1)[1])]
    )
    report = tune_adapter(index, pairs() if labelled else None, held_out=0.4, **given)
    assert not report.kept
    assert asked == [expected]


def test_a_map_that_does_not_help_leaves_every_byte(tmp_path: Path, index: Index) -> None:
    answers(index)
    before = digests(tmp_path / "index")
    report = tune_adapter(index, pairs(same_words=True))
    assert not report.kept
    assert "stays as it is" in report.sentence
    assert digests(tmp_path / "index") == before


@pytest.mark.parametrize("side", ["query", "both"])
def test_a_trial_searches_as_the_index_will(index: Index, side: str) -> None:
    rng = np.random.default_rng(3)
    adapter = Adapter.of(side, np.eye(DIM) + rng.normal(size=(DIM, DIM)) / 20)
    raw = index.embed_query(QUESTIONS["7.txt"])
    with index.snapshot() as now:
        tried = trial(now, adapter).dense(raw, 20)
        ids = list(tried.ids[:3])
        scores = trial(now, adapter).dense_scores(raw, ids)
    index.backend.set_adapter(adapter)
    found = live(index.backend).dense(raw, 20)
    assert found.ids == tried.ids
    np.testing.assert_allclose(found.scores, tried.scores, atol=1e-6)
    np.testing.assert_allclose(scores, live(index.backend).dense_scores(raw, ids), atol=1e-6)
    assert (tried.mean, tried.std) == pytest.approx((found.mean, found.std), abs=1e-6)


@pytest.mark.parametrize("side", ["query", "both"])
def test_steering_and_similar_passages_see_the_map(index: Index, side: str) -> None:
    rng = np.random.default_rng(4)
    index.backend.set_adapter(Adapter.of(side, np.eye(DIM) + rng.normal(size=(DIM, DIM)) / 20))
    means = live(index.backend).calibration
    (name,) = (c.id for row in index.documents() for c in index.chunks(row.id) if c.path == "3.txt")
    attributed = index._attributions.passage(live(index.backend).get([name])[0])
    end = PASSAGE_TEXTS["3.txt"].index(" ")
    part = attributed.vectors[0] - (attributed.vectors[0] @ attributed.vectors.sum(0)) * (
        means.passage_mean
    )
    direction = part @ means.adapter.matrix.T if side == "both" else part
    direction /= np.linalg.norm(direction)
    hits = index.search("", mode="dense", steering=Steering(marked=(Marked(name, 0, end),)))
    vectors = live(index.backend).vectors([hit.chunk.id for hit in hits])
    np.testing.assert_allclose([hit.score for hit in hits], vectors @ direction, atol=1e-5)
    near = index.similar(name, 3)
    own = live(index.backend).vectors([name])[0]
    expected = live(index.backend).vectors([hit.chunk.id for hit in near]) @ own
    np.testing.assert_allclose([hit.score for hit in near], expected, atol=1e-6)


def test_documents_that_come_later_are_mapped_and_the_map_still_leaves(index: Index) -> None:
    assert tune_adapter(index, pairs(), side="both").kept
    index.add([Document("new.txt", "txt", (Page(None, "pasaax pasbax pascax serialnew."),))])
    assert index.info()["adapter"]["side"] == "both"
    (chunk,) = (
        c for row in index.documents() for c in index.chunks(row.id) if row.path == "new.txt"
    )
    raw = index.embedder.embed_inputs([index.embedder.passage_input(chunk.text, chunk.title)])
    expected = live(index.backend).calibration.passage(raw)
    np.testing.assert_allclose(live(index.backend).vectors([chunk.id]), expected, atol=1e-6)
    assert index.verify().whole
    assert remove_adapter(index)
    assert index.info()["adapter"] is None
    facts = index.info()["calibration"]
    assert facts["weighed_at"] == PASSAGES + 1


def test_a_copy_and_a_backup_have_the_adapter(tmp_path: Path, index: Index) -> None:
    index.backend.set_adapter(Adapter.of("both", np.eye(DIM) * 0.5 + np.ones((DIM, DIM)) / 99))
    before = answers(index)
    index.copy_to(tmp_path / "copy")
    index.backup(tmp_path / "backup")
    index.compact()
    assert answers(index) == before
    for name in ("copy", "backup"):
        with Index.open(tmp_path / name, index.embedder) as other:
            assert [path for path, _ in answers(other)] == [path for path, _ in before]
            assert other.info()["adapter"] == {"side": "both"}


def test_what_cannot_be_tuned_is_said(tmp_path: Path, index: Index) -> None:
    empty = Index.open_or_create(tmp_path / "empty", FakeEmbedder(DIM))
    with empty, pytest.raises(IndexStateError, match="no vectors"):
        tune_adapter(empty, pairs())
    corpus = {f"x{n}": Passage(f"a text that is nowhere {n}", id=f"x{n}") for n in range(200)}
    foreign = [Pair(f"question {n}", corpus[f"x{n}"], id=str(n)) for n in range(200)]
    with pytest.raises(UsageError, match="in the index"):
        tune_adapter(index, PairData(foreign, corpus, "foreign"))
    rated = PairData([Pair("a", Passage("b", id="b"), score=1.0)], {}, "rated")
    with pytest.raises(UsageError, match="rated sentences"):
        tune_adapter(index, rated)
    with pytest.raises(UsageError, match=r"only 0 passages .* about 150 are needed"):
        tune_adapter(index)
    for options in ({"side": "left"}, {"held_out": 1.0}, {"minutes": 0.0}):
        with pytest.raises(UsageError):
            tune_adapter(index, pairs(), **options)  # type: ignore[arg-type]


def test_pairs_are_found_by_their_text_and_the_command_says_what_it_does(
    made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = str(copytree(made, tmp_path / "index"))
    monkeypatch.setattr("retriever.index.load_own", lambda *_, **__: FakeEmbedder(DIM))
    lines = [
        json.dumps({"query": QUESTIONS[name], "positive": text})
        for name, text in PASSAGE_TEXTS.items()
    ]
    (tmp_path / "pairs.jsonl").write_text("\n".join(lines))
    given = ["--adapter", "--pairs", str(tmp_path / "pairs.jsonl"), "--held-out", "0.25"]
    assert main(["tune", folder, *given, "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["kept"], report["sentence"]
    assert report["data"] == "pairs.jsonl"
    assert main(["info", "--index", folder]) == 0
    assert "pairs.jsonl" in capsys.readouterr().out
    assert main(["tune", folder, *given]) == 1
    assert "has an adapter already" in capsys.readouterr().err
    assert main(["tune", folder, "--adapter", "off"]) == 0
    assert capsys.readouterr().out == "the adapter is removed: results are those without it\n"
    assert main(["tune", folder, "--adapter", "off", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"removed": False}
    wrong_ones = ([], ["--adapter", "of"], ["--adapter", "off", "--pairs", "x"], ["--side=both"])
    for wrong in (*wrong_ones, ["--adapter", "--rank=3"], ["--adapter", "--not=x"]):
        assert main(["tune", folder, *wrong]) == 2


def test_without_pairs_sentences_have_to_find_their_passages(tmp_path: Path) -> None:
    said = "The {} of a {} stands near the {} and waits for some {} with the others there."
    names = [f"word{n}" for n in range(60)]
    with Index.open_or_create(tmp_path / "index", FakeEmbedder(DIM)) as index:
        rng = np.random.default_rng(2)
        texts = [" ".join(said.format(*rng.choice(names, 4)) for _ in range(3)) for _ in range(180)]
        index.add(
            Document(f"{number}.txt", "txt", (Page(None, text),))
            for number, text in enumerate(texts)
        )
        before = answers(index)
        report = tune_adapter(index, held_out=0.3)
        assert report.data == "the index's own passages"
        assert report.measure == "reciprocal rank"
        assert report.held_out >= 20
        assert report.kept or answers(index) == before
