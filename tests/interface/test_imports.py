"""What a command imports: the slowest part of a search in a new process."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from retriever import AlignedWVA
from retriever.index import Index
from retriever.types import Document, Page
from tests.fakes import FakeEmbedder
from tests.tiny import save_model

COMMAND = """
import sys
from retriever.interface.cli import main
main({arguments!r})
print(*sorted({{name.partition(".")[0] for name in sys.modules}}), *sys.modules)
"""


def imported(*arguments: str) -> set[str]:
    """The modules that a process has imported after a command."""
    done = subprocess.run(
        [sys.executable, "-c", COMMAND.format(arguments=list(arguments))],
        capture_output=True,
        text=True,
        check=True,
    )
    return set(done.stdout.splitlines()[-1].split())


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    with Index.open_or_create(tmp_path / "notes", FakeEmbedder()) as index:
        index.add([Document("plum.txt", "txt", (Page(None, "A plum tree."),))])
    return tmp_path / "notes"


def test_help_imports_neither_the_index_nor_numpy() -> None:
    found = imported("--help")
    assert not found & {"numpy", "torch", "transformers", "retriever.index"}
    assert not found & {"fastapi", "uvicorn", "prometheus_client", "pydantic"}


def test_a_keyword_search_imports_neither_a_model_nor_the_readers(folder: Path) -> None:
    modules = imported("search", "plum", "--mode", "keyword", "--index", str(folder))
    assert "retriever.index" in modules
    assert not modules & {"torch", "transformers", "retriever.reading.formats"}
    assert not modules & {"retriever.indexing.sync", "retriever.evaluation.runs"}


def test_a_dense_search_imports_torch_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WVA_CACHE", str(tmp_path / "cache"))
    model = AlignedWVA(str(save_model(tmp_path / "model")), device="cpu", dtype="float32")
    folder = tmp_path / "notes"
    with Index.open_or_create(folder, model) as index:
        index.add([Document("plum.txt", "txt", (Page(None, "A plum tree."),))])
    modules = imported("search", "plum", "--index", str(folder), "--dtype", "float32")
    assert {"torch", "tokenizers", "safetensors"} <= modules
    assert not modules & {"transformers", "huggingface_hub", "accelerate", "sympy"}
    assert not modules & {"torch._dynamo", "torch._inductor", "torch.distributed.tensor"}
    assert not modules & {"retriever.indexing.sync", "retriever.reading.formats"}
