"""The searches that the page remembers, against the file that holds them."""

from __future__ import annotations

import json
import os
import threading
from pathlib import Path

import pytest

from retriever.interface import searches
from retriever.interface.collections import list_indexes
from retriever.interface.searches import FILE, MAX_RECENT, Search, Searches


def queries(found: tuple[Search, ...]) -> list[str]:
    return [one.address()["q"][0] for one in found]


def search(query: str, index: str = "notes") -> Search:
    return Search.of(index, {"q": query})


def test_searches_are_there_again_after_a_restart_each_once_the_last_first(tmp_path: Path) -> None:
    kept = Searches(tmp_path)
    for query in ("apples", "pears", "apples"):
        kept.remember(search(query))
    kept.save(Search.of("notes", {"q": "figs", "format": ["pdf", "txt"]}, "2026-01-31"))
    kept.remember_collection("notes")
    again = Searches(tmp_path)
    assert queries(again.recent()) == ["apples", "pears"]
    (saved,) = again.saved()
    assert (saved.index, saved.day) == ("notes", "2026-01-31")
    assert saved.address() == {"q": ["figs"], "format": ["pdf", "txt"]}
    assert again.collection == "notes"
    assert len(again.recent()[0].day) == len("2026-01-31")


def test_one_is_removed_or_all_and_what_is_saved_stays(tmp_path: Path) -> None:
    kept = Searches(tmp_path)
    for query in ("a", "b", "c"):
        kept.remember(search(query))
    kept.save(search("b"))
    kept.forget(search("b"))
    assert queries(Searches(tmp_path).recent()) == ["c", "a"]
    kept.forget_all()
    assert Searches(tmp_path).recent() == ()
    assert queries(Searches(tmp_path).saved()) == ["b"]
    kept.unsave(search("b"))
    assert Searches(tmp_path).saved() == ()


def test_the_same_words_in_another_collection_are_another_search(tmp_path: Path) -> None:
    kept = Searches(tmp_path)
    kept.remember(search("a", "one"))
    kept.remember(search("a", "two"))
    assert [one.index for one in kept.recent()] == ["two", "one"]


def test_no_more_than_the_limits_are_kept(tmp_path: Path) -> None:
    kept = Searches(tmp_path)
    for number in range(MAX_RECENT + 5):
        kept.remember(search(str(number)))
    assert len(kept.recent()) == MAX_RECENT
    assert queries(kept.recent())[0] == str(MAX_RECENT + 4)
    kept.remember(search("x" * 5000))
    kept.save(search("x" * 5000))
    assert queries(kept.recent())[0] == str(MAX_RECENT + 4)
    assert kept.saved() == ()


def test_only_the_owner_can_read_the_file_and_it_is_no_collection(tmp_path: Path) -> None:
    Searches(tmp_path).remember(search("secret"))
    assert (tmp_path / FILE).stat().st_mode & 0o777 == 0o600
    assert [entry.name for entry in tmp_path.iterdir()] == [FILE]
    assert list_indexes(tmp_path) == []


def test_another_process_s_searches_are_seen_and_kept(tmp_path: Path) -> None:
    one, two = Searches(tmp_path), Searches(tmp_path)
    one.remember(search("a"))
    two.remember(search("b"))
    one.remember(search("c"))
    assert queries(one.recent()) == queries(two.recent()) == ["c", "b", "a"]


def test_threads_lose_nothing(tmp_path: Path) -> None:
    kept = Searches(tmp_path)

    def add(name: str) -> None:
        for number in range(10):
            kept.save(search(f"{name}{number}"))

    threads = [threading.Thread(target=add, args=(name,)) for name in "abcd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    expected = {f"{name}{number}" for name in "abcd" for number in range(10)}
    assert set(queries(Searches(tmp_path).saved())) == expected


def test_without_a_place_to_write_the_server_remembers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError("read-only")

    monkeypatch.setattr(searches, "write_atomically", full)
    kept = Searches(tmp_path)
    kept.remember(search("a"))
    assert queries(kept.recent()) == ["a"]
    missing = Searches(tmp_path / "not there")
    missing.remember(search("a"))
    assert queries(missing.recent()) == ["a"]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\xff\x00",
        b"[1, 2]",
        b'{"recent": 7, "saved": [null, {"index": 3}, {"index": "a", "params": []}]}',
        b"[" * 100_000,
    ],
)
def test_a_damaged_file_is_empty_and_can_be_written(tmp_path: Path, content: bytes) -> None:
    (tmp_path / FILE).write_bytes(content)
    kept = Searches(tmp_path)
    assert (kept.recent(), kept.saved(), kept.collection) == ((), (), "")
    kept.remember(search("a"))
    assert json.loads((tmp_path / FILE).read_bytes())["recent"][0]["params"] == {"q": ["a"]}


@pytest.mark.skipif(not hasattr(os, "getuid"), reason="needs links")
def test_a_link_in_its_place_is_neither_read_nor_written(tmp_path: Path) -> None:
    secret = tmp_path / "secret.json"
    secret.write_text('{"collection": "theirs"}')
    home = tmp_path / "home"
    home.mkdir()
    (home / FILE).symlink_to(secret)
    kept = Searches(home)
    assert kept.collection == ""
    kept.remember_collection("mine")
    assert kept.collection == "mine"
    assert secret.read_text() == '{"collection": "theirs"}'
    assert (home / FILE).is_symlink()
