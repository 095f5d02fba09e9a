"""The benchmark of index sizes: its exact answers, its counts, its tables and its plot."""

from __future__ import annotations

import json
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest

from benchmarks import scale, scale_peers
from benchmarks.scale_index import MODES, build_documents, cells, recall, several_callers
from benchmarks.scale_plot import Panel, svg
from benchmarks.synthetic import Collection
from retriever import Index
from retriever.storage.filters import Filter

SMALL = Collection(200, words=4000, dimension=32)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("scale")
    build_documents(SMALL, path / "documents")
    return path


def test_no_query_is_asked_in_two_cells() -> None:
    found = cells(SMALL, 3)
    assert len(found) == 4 * len(MODES)
    assert all(len(cell.texts) == len(cell.filters) == len(cell.vectors) == 3 for cell in found)
    several = [(cell.mode, text) for cell in found for text in cell.texts]
    assert len(several) == 3 * 4 * len(MODES)


def test_the_truth_is_that_of_all_stored_vectors(folder: Path) -> None:
    """Independently: the index's raw vectors, centred by hand, and filters by their definition."""
    asked = cells(SMALL, 3)
    truth = scale_peers.find_truth(folder / "documents", SMALL, asked)
    with Index.open(folder / "documents", SMALL.embedder) as index, index.snapshot() as now:
        chunks = [c for row in now.catalog.documents() for c in now.catalog.chunks(row.id)]
        rows = {row.id: row for row in now.catalog.documents()}
        means = now.calibration
    raw = SMALL.embedder.embed_inputs(
        [SMALL.embedder.passage_input(one.text, one.title) for one in chunks]
    )
    ours = raw - means.passage_mean
    ours /= np.linalg.norm(ours, axis=1, keepdims=True)
    for cell in asked:
        if cell.mode not in ("nearest", "dense"):
            continue
        for at, vector in enumerate(cell.vectors):
            scores = ours @ (vector - means.query_mean)
            where = cell.filters[at]
            allowed = [
                where is None or Filter.parse(where).matches(_fields(rows[one.document_id]))
                for one in chunks
            ]
            best = sorted(np.flatnonzero(allowed), key=lambda place: -scores[place])[:10]
            assert truth.ids[cell.name][at] == [chunks[place].id for place in best]


def _fields(row: object) -> dict[str, object]:
    return {name: getattr(row, name) for name in ("path", "date", "metadata")}


def test_vectors_are_kept_for_the_next_run(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = cells(SMALL, 1)
    before = scale_peers.find_truth(folder / "documents", SMALL, asked)
    monkeypatch.setattr(Collection, "blocks", None)
    assert scale_peers.find_truth(folder / "documents", SMALL, asked).ids == before.ids


def test_every_caller_gets_an_answer(folder: Path) -> None:
    plain = next(cell for cell in cells(SMALL, 2) if cell.name == "hybrid")
    with Index.open(folder / "documents") as index:
        found = several_callers(index, plain, 3)
    assert found["requests_per_second"] > 0
    assert found["p95"] >= found["p50"] > 0


def test_recall_is_the_mean_share_of_what_is_right() -> None:
    assert recall([["a", "b"], ["c"], ["x"]], [["a", "c"], ["c"], []]) == 0.75
    assert recall([[]], [[]]) == 1.0


def test_a_peer_that_is_not_installed_is_named(tmp_path: Path) -> None:
    told = scale_peers.missing("hnswlib", tmp_path)
    assert not told or told.startswith("hnswlib is not measured")
    assert not told or "pip install --target" in told
    assert scale_peers.missing("faiss Flat", None) == ""


def test_sizes_of_earlier_runs_stay_in_the_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--tiny", "--json", str(tmp_path / "f.json"), "--plot", str(tmp_path / "p.svg")]
    scale.main(words)
    first = json.loads((tmp_path / "f.json").read_text())
    first["sizes"]["30000"] = first["sizes"]["300"]
    (tmp_path / "f.json").write_text(json.dumps(first))
    scale.main([*words, "--folder", str(tmp_path / "kept")])
    again = json.loads((tmp_path / "f.json").read_text())
    assert list(again["sizes"]) == ["300", "30000"]
    told = capsys.readouterr().out
    assert "| 30,000 | SQ8 | hybrid |" in told
    assert "1.000" in told
    drawn = ElementTree.parse(tmp_path / "p.svg")  # noqa: S314  (our own file)
    assert drawn.getroot().tag.endswith("svg")
    assert {path.name for path in (tmp_path / "kept" / "300").iterdir()} >= {"documents", "SQ8"}


def test_a_plot_has_logarithmic_axes() -> None:
    """Ten times as much is a third of three decades to the right, and half of two decades up."""
    drawn = svg([Panel("Time", {"a < b": [(10, 1.0), (100, 10.0), (10_000, 100.0)]})], "passages")
    root = ElementTree.fromstring(drawn)  # noqa: S314  (our own text)
    line = next(one for one in root.iter() if one.tag.endswith("polyline"))
    points = [tuple(map(float, one.split(","))) for one in line.attrib["points"].split()]
    (x0, y0), (x1, y1), (x2, y2) = points
    assert x2 - x0 == pytest.approx(3 * (x1 - x0), abs=0.2)
    assert y0 - y2 == pytest.approx(2 * (y0 - y1), abs=0.2)
    texts = [one.text for one in root.iter() if one.tag.endswith("text")]
    assert "a < b" in texts
    assert "10,000" in texts
