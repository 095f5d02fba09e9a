"""Cases that were found by fuzzing stay mended, and its own promises hold."""

from __future__ import annotations

from pathlib import Path
from random import Random

import pytest

from benchmarks import fuzz
from benchmarks.fuzz_mutations import LONGEST, changed
from benchmarks.fuzz_seeds import SEEDS, seed
from benchmarks.fuzz_targets import Case, Chunker, Target
from retriever.reading.formats import format_of, read_bytes
from retriever.reading.options import ReadOptions
from retriever.types import ReadError

FOUND = Path(__file__).parents[1] / "data" / "fuzz"


@pytest.mark.timeout(120)
def test_what_was_found_once_is_mended() -> None:
    assert fuzz.replay(FOUND) == {}


@pytest.mark.parametrize("ending", SEEDS)
def test_a_seed_is_a_good_file_of_its_format(ending: str) -> None:
    assert format_of(f"a.{ending}") is not None
    document = read_bytes(seed(ending), f"a.{ending}", ReadOptions())
    assert document.pages
    assert all(page.state.value in ("text", "scanned") for page in document.pages)


@pytest.mark.parametrize("ending", ["md", "docx", "pdf"])
def test_changes_are_the_same_for_the_same_seed(ending: str) -> None:
    made = [changed(Random(f"1 {n}"), seed(ending), ending) for n in range(9)]
    if ending != "docx":  # archives hold the time of their making
        assert made == [changed(Random(f"1 {n}"), seed(ending), ending) for n in range(9)]
        assert max(map(len, made)) <= LONGEST
    assert len(set(made)) > 5


class Planted:
    """A target with a fault: no case may hold these letters."""

    def make(self, random: Random) -> Case:
        return Case("a.txt", random.randbytes(200) + b"bad" + random.randbytes(200))

    def fault(self, case: Case) -> str:
        return f"planted: {len(case.data)}" if b"bad" in case.data else ""

    def close(self) -> None:
        pass


def test_a_planted_fault_is_found_made_smaller_and_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(fuzz.TARGETS, "planted", Planted)
    assert fuzz.main(["--tiny", "--target", "planted", "--output", str(tmp_path)]) == 1
    assert "| planted | 5 |" in capsys.readouterr().out
    assert (tmp_path / "planted" / "1" / "a.txt").read_bytes() == b"bad"
    assert fuzz.replay(tmp_path) == {"planted/1/a.txt": "planted: 3"}


def test_a_broken_promise_of_passages_is_a_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    target: Target = Chunker()
    case = target.make(Random("1"))
    assert target.fault(case) == ""
    monkeypatch.setattr("benchmarks.fuzz_targets.chunk_page", lambda *given: [])
    assert "text behind the last passage" in target.fault(case)


def test_a_reader_that_fails_by_a_mistake_is_a_fault() -> None:
    with pytest.raises(ReadError):
        read_bytes(b"PK\x03\x04", "a.docx", ReadOptions())
    from benchmarks.fuzz_targets import _read_fault

    assert _read_fault("not a Word document") == ""
    assert _read_fault("broken: 'NoneType' object has no attribute 'x'")
    assert _read_fault("the reader crashed on it (SIGSEGV)")
