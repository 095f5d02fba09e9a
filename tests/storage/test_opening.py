"""An index is opened by its place: a folder, or an address of Milvus."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from retriever import Index
from retriever.interface.cli import main as wva
from retriever.storage.addresses import Address
from retriever.storage.opening import files_of, lasting, open_backend, place_of
from retriever.types import UsageError

SERVER = "milvus://milvus.example:19531/notes"


def test_a_text_is_a_folder_or_an_address() -> None:
    assert place_of("indexes/notes") == Path("indexes/notes")
    assert place_of(Path("notes")) == Path("notes")
    address = place_of(SERVER)
    assert address == Address("http://milvus.example:19531", "notes", SERVER)
    assert place_of(address) is address
    assert (str(address), address.name) == (SERVER, "notes")


@pytest.mark.parametrize("given", [None, 3, ["notes"]])
def test_anything_else_is_no_place(given: object) -> None:
    with pytest.raises(UsageError, match="the path of its folder or an address of Milvus"):
        place_of(given)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("milvus://", "is not one of milvus://host:port/collection"),
        ("milvus://host/9lives", "is no name that Milvus takes"),
        ("milvus://me:secret@host/notes", "MILVUS_USER and MILVUS_PASSWORD"),
        ("milvus+file:", "names no file"),
    ],
)
def test_a_wrong_address_is_a_sentence_everywhere(
    given: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(UsageError, match=said):
        Index.open(given)
    for command in (["search", "tea"], ["info"], ["report"], ["index", "."], ["ui"], ["verify"]):
        assert wva([*command, "--index", given]) == 2
        assert said in capsys.readouterr().err


def test_a_file_of_lite_is_the_same_from_any_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its name is the file's, and its files are known, so that they are not indexed."""
    monkeypatch.chdir(tmp_path)
    place = place_of("milvus+file:notes.db")
    assert isinstance(place, Address)
    assert place.name == "notes"
    assert str(lasting(place)) == f"milvus+file:{tmp_path}/notes.db#wva"
    assert lasting(place_of(str(lasting(place)))) == lasting(place)
    assert files_of(place) == [tmp_path / "notes.db"]
    assert files_of(place_of(SERVER)) == []
    assert files_of(Path("notes")) == [tmp_path / "notes"]


@pytest.mark.parametrize(
    ("command", "instead"),
    [
        (["verify"], "copy it with wva copy"),
        (["verify", "--repair"], "copy it with wva copy"),
        (["restore", "backup.zip"], "restore to a folder, then wva copy it there"),
    ],
)
def test_what_needs_a_folder_says_what_to_do_instead(
    command: list[str], instead: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert wva([*command, "--index", SERVER]) == 2
    assert instead in capsys.readouterr().err


def test_the_library_of_milvus_is_imported_for_an_address_alone(tmp_path: Path) -> None:
    with open_backend(tmp_path / "notes", create=True) as backend:
        assert backend.info()["documents"] == 0
    code = (
        "import sys; from retriever import Index; from retriever.interface import cli;"
        f"Index.open({str(tmp_path / 'notes')!r}).close();"
        "sys.exit(any(name in sys.modules for name in ('pymilvus', 'milvus_lite', 'ray')))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
