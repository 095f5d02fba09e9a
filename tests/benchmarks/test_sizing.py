"""The sizing's arithmetic, done by hand, and what it measures of an index."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.sizing import KINDS, Passage, Prices, kind_for, main, measured, plan
from retriever import Document, Index, Page
from tests.fakes import FakeEmbedder

PASSAGE = Passage(text=1000, terms=99, tokens=250, dimension=512)
PRICES = Prices(
    tokens_per_second=50_000, card_hour=3.0, memory_month=4.0, disk_month=0.1, node_gib=64
)


def test_a_million_passages_by_hand() -> None:
    """Disk 2·1000 + 1000 + 2·2048 + 8·100 + 200 = 8096 bytes, memory 2048 + 800 + 200 = 3048."""
    found = plan(PASSAGE, PRICES, 1_000_000)
    assert found.kind.name == "FLAT"
    assert found.memory_gib == pytest.approx(3048e6 / 2**30)
    assert found.disk_gib == pytest.approx((8096e6 + 3048e6) / 2**30)
    assert (found.shards, found.nodes) == (1, 1)
    assert found.tokens == 250e6
    assert found.card_hours == pytest.approx(5000 / 3600)
    assert found.embedding_cost == pytest.approx(5000 / 1200)
    assert found.month_cost == pytest.approx(64 * 4 + 0.1 * 11144e6 / 2**30)


def test_a_billion_passages_by_hand() -> None:
    """DISKANN: 64 + 800 + 200 bytes of memory; on disk the vectors once more, with the graph."""
    found = plan(PASSAGE, PRICES, 1_000_000_000)
    assert (found.kind.name, found.shards) == ("DISKANN", 10)
    gib = 1064e9 / 2**30
    assert found.memory_gib == pytest.approx(gib)
    assert found.nodes == 23  # of 44.8 GiB each
    assert 22 * 44.8 < gib <= 23 * 44.8
    assert found.disk_gib == pytest.approx((8096e9 + 1064e9 + 4096e9) / 2**30)
    assert found.card_hours == pytest.approx(1000 * 5000 / 3600)


def test_every_number_has_a_kind() -> None:
    kinds = [kind_for(number).name for number in (0, 10**6, 10**6 + 1, 5 * 10**7, 3 * 10**8, 10**9)]
    assert kinds == ["FLAT", "FLAT", "HNSW", "HNSW", "HNSW_SQ", "DISKANN"]
    assert len({kind.name for kind in KINDS}) == len(KINDS)


def test_a_passage_is_measured(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = "The kettle sings: the kettle on the stove. Ä"
    with Index.open_or_create(tmp_path / "index", FakeEmbedder(32)) as index:
        index.add([Document("tea", "text", (Page(1, text),))])
        found = measured(index)
        assert found.text == len(text.encode()) == 45
        with index.snapshot(dense=False) as now:
            [chunk] = now.catalog.sample_chunks(1)
            assert found.terms == len(set(now.passages.terms([chunk.id])[0]))
        assert found.dimension == 32
        assert measured(index, tokens=7).tokens == 7
    main([str(tmp_path / "index"), "--dimension", "512", "--passages", "1000000000"])
    said = capsys.readouterr().out
    assert "| a vector of 512 dimensions | 2,048 |" in said
    assert "| 1,000,000,000 | DISKANN | 10 |" in said
    with pytest.raises(SystemExit, match="no index"):
        main([str(tmp_path / "nothing")])
