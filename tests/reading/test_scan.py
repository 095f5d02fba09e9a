"""Scans of folders with links, hidden files, odd names and missing permissions."""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Sequence
from pathlib import Path

import pytest

from retriever.reading import scan as scan_module
from retriever.reading.scan import FoundFile, idle_patterns, scan, targets
from retriever.types import UsageError


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "root"
    for path in ("b.txt", "a.md", "sub/c.html", "sub/deep/d.pdf", "sub.txt"):
        write(folder / path)
    return folder


def write(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("text")
    return path


def scanned(
    path: Path,
    known: Sequence[Path] = (),
    include: Sequence[str] = (),
    exclude: Sequence[str] = (),
    hide: Sequence[Path] = (),
) -> list[FoundFile]:
    (target,) = targets([path], [str(root) for root in known])
    return list(scan(target, include, exclude, hide))


def readable(files: list[FoundFile]) -> list[str]:
    return [file.path for file in files if not file.reason]


def reasons(files: list[FoundFile]) -> dict[str, str]:
    return {file.path: file.reason for file in files if file.reason}


def test_files_come_in_the_order_of_their_names(root) -> None:
    found = scanned(root)
    assert readable(found) == ["a.md", "b.txt", "sub.txt", "sub/c.html", "sub/deep/d.pdf"]
    assert {file.root for file in found} == {root}
    assert {file.size for file in found} == {4}
    facts = (root / "b.txt").stat()
    (file,) = (file for file in found if file.path == "b.txt")
    assert file.changed_ns == max(facts.st_mtime_ns, facts.st_ctime_ns)
    assert file.location == root / "b.txt"


def test_hidden_and_foreign_files_are_left_out_with_a_reason(root) -> None:
    for path in (".secret.txt", ".git/x.txt", "__pycache__/y.txt", "z.mp3", "bare", "README"):
        write(root / path)
    write(root / "web/node_modules/left-pad/README.md")
    write(root / "env/pyvenv.cfg")
    write(root / "env/lib/python3/notes.txt")
    os.mkfifo(root / "pipe.txt")
    found = scanned(root)
    assert "README" in readable(found)
    assert reasons(found) == {
        ".secret.txt": "hidden file",
        "z.mp3": "format not supported (.mp3)",
        "bare": "format not supported (no extension)",
        "pipe.txt": "not a regular file",
    }


def test_links_are_never_followed(root, tmp_path) -> None:
    outside = write(tmp_path / "outside" / "x.txt")
    for name, to in {
        "out.txt": outside,
        "out": outside.parent,
        "in.txt": root / "sub/c.html",
        "in": root / "sub",
        "up": root,
        "dangling.txt": root / "nothing.txt",
        "self.txt": root / "self.txt",
        "relative.txt": Path("../outside/x.txt"),
    }.items():
        (root / name).symlink_to(to)
    found = scanned(root)
    assert len(readable(found)) == 5
    out, nowhere = "symbolic link that leads out of the folder", "symbolic link that leads nowhere"
    assert reasons(found) == {
        "out.txt": out,
        "out": out,
        "relative.txt": out,
        "in.txt": "symbolic link to sub/c.html",
        "in": "symbolic link to sub",
        "up": "symbolic link to .",
        "dangling.txt": nowhere,
        "self.txt": nowhere,
    }


def test_a_link_to_a_neighbour_with_a_longer_name_leads_out(root, tmp_path) -> None:
    (root / "x.txt").symlink_to(write(tmp_path / "root-2" / "x.txt"))
    assert reasons(scanned(root)) == {"x.txt": "symbolic link that leads out of the folder"}


def test_patterns(root) -> None:
    found = scanned(root, include=["sub/**", "*.md"], exclude=["*.pdf"])
    assert readable(found) == ["a.md", "sub/c.html"]
    assert set(reasons(found).values()) == {"left out by the patterns given"}
    assert readable(scanned(root / "a.md", exclude=["*.md"])) == []


def test_hidden_folders_given_by_name_are_roots(root) -> None:
    write(root / ".notes/x.txt")
    assert readable(scanned(root / ".notes")) == ["x.txt"]
    (found,) = scanned(root / ".notes", known=[root])
    assert (found.root, found.path) == (root / ".notes", "x.txt")


def test_the_index_is_never_entered(root) -> None:
    write(root / "sub/index/x.txt")
    found = scanned(root, hide=[root / "sub/index"])
    assert "sub/index/x.txt" not in readable(found)
    with pytest.raises(UsageError, match="is the index itself"):
        targets([root / "sub/index"], [], [root / "sub/index"])


def test_paths_are_told_relative_to_the_outermost_known_root(root) -> None:
    for path, expected in ((root / "sub", "sub/c.html"), (root / "sub/c.html", "sub/c.html")):
        for known in ([root], [root / "sub", root]):
            found = scanned(path, known=known)
            assert found[0].path == expected
            assert found[0].root == root
    assert scanned(root / "sub/c.html")[0].path == "c.html"
    assert scanned(root, known=[root / "sub"])[0].root == root


def test_covers_is_about_places_not_about_names(root) -> None:
    folder, file = targets([root / "sub", root / "b.txt"], [str(root)])
    assert folder.covers(root / "sub/deep/gone.txt")
    assert not folder.covers(root / "sub.txt")
    assert file.covers(root / "b.txt")
    assert not file.covers(root / "a.md")


def test_a_root_through_a_link_is_the_real_one(root, tmp_path) -> None:
    (tmp_path / "link").symlink_to(root)
    assert scanned(tmp_path / "link")[0].root == root
    assert len({target.path for target in targets([tmp_path / "link", root], [])}) == 1


def test_names_that_are_no_text(root) -> None:
    bad = os.fsdecode(b"bad\xff")
    write(root / f"{bad}.txt")
    write(root / bad / "x.txt")
    write(root / f"{bad}.mp3")
    found = scanned(root)
    for file in found:
        file.path.encode()
    assert {file.path for file in found if file.failed} == {"bad\\udcff.txt", "bad\\udcff/x.txt"}
    assert reasons(found)["bad\\udcff.mp3"].startswith("format not supported")
    with pytest.raises(UsageError, match="UTF-8"):
        targets([root / bad], [])


def test_folders_and_files_that_refuse_to_be_looked_at(root, monkeypatch) -> None:
    real_scandir, real_lstat = os.scandir, os.lstat

    def scandir(path):
        if Path(path).name == "deep":
            raise PermissionError(13, "Permission denied")
        return real_scandir(path)

    def lstat(path):
        if Path(path).name == "b.txt":
            raise PermissionError(13, "Permission denied")
        if Path(path).name == "a.md":
            raise FileNotFoundError(2, "No such file or directory")
        return real_lstat(path)

    monkeypatch.setattr(os, "scandir", scandir)
    monkeypatch.setattr(os, "lstat", lstat)
    monkeypatch.setattr(Path, "lstat", lstat)
    found = scanned(root)
    assert readable(found) == ["sub.txt", "sub/c.html"]
    assert {file.path: file.reason for file in found if file.failed} == {
        "b.txt": "cannot be looked at: permission denied",
        "sub/deep": "cannot be entered: permission denied",
    }


def test_deep_folders_are_no_recursion(root) -> None:
    folder = root
    for _ in range(300):
        folder /= "d"
    write(folder / "x.txt")
    assert "/".join("d" * 300) + "/x.txt" in readable(scanned(root))


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_folder_that_may_not_be_read(root) -> None:  # pragma: no cover - needs a plain user
    (root / "sub").chmod(0)
    with pytest.raises(UsageError, match="may not be read"):
        targets([root / "sub"], [])
    (root / "sub").chmod(0o700)


def test_a_folder_without_permission_is_refused(root, monkeypatch) -> None:
    monkeypatch.setattr(scan_module.os, "access", lambda path, mode: False)
    with pytest.raises(UsageError, match="may not be read; check its permissions"):
        targets([root], [])


def test_what_is_neither_file_nor_folder(root) -> None:
    os.mkfifo(root / "pipe")
    with pytest.raises(UsageError, match="neither a file nor a folder"):
        targets([root / "pipe"], [])


@pytest.mark.parametrize(
    ("exclude", "left"),
    [
        ("drafts", ["REPORT.PDF", "keep/a.txt"]),
        ("drafts/", ["REPORT.PDF", "keep/a.txt"]),
        ("./drafts", ["REPORT.PDF", "keep/a.txt", "keep/drafts/b.txt"]),
        ("/drafts/**", ["REPORT.PDF", "keep/a.txt", "keep/drafts/b.txt"]),
        ("./drafts/**", ["REPORT.PDF", "keep/a.txt", "keep/drafts/b.txt"]),
        ("keep/drafts", ["REPORT.PDF", "drafts/c.txt", "keep/a.txt"]),
        ("**/drafts", ["REPORT.PDF", "keep/a.txt"]),
        ("keep/*", ["REPORT.PDF", "drafts/c.txt"]),
        ("*.pdf", ["drafts/c.txt", "keep/a.txt", "keep/drafts/b.txt"]),
        ("draft?", ["REPORT.PDF", "keep/a.txt"]),
        ("a.txt/", ["REPORT.PDF", "drafts/c.txt", "keep/a.txt", "keep/drafts/b.txt"]),
    ],
)
def test_patterns_are_read_as_in_gitignore(tmp_path: Path, exclude: str, left: list[str]) -> None:
    for path in ("keep/a.txt", "keep/drafts/b.txt", "drafts/c.txt", "REPORT.PDF"):
        write(tmp_path / path)
    assert readable(scanned(tmp_path, exclude=[exclude])) == left


@pytest.mark.parametrize(
    ("include", "read"),
    [
        ("*.pdf", ["REPORT.PDF"]),
        ("keep", ["keep/a.txt", "keep/drafts/b.txt"]),
        ("keep/", ["keep/a.txt", "keep/drafts/b.txt"]),
        ("keep/*", ["keep/a.txt"]),
        ("k*/", ["keep/a.txt", "keep/drafts/b.txt"]),
    ],
)
def test_included_folders(tmp_path: Path, include: str, read: list[str]) -> None:
    for path in ("keep/a.txt", "keep/drafts/b.txt", "REPORT.PDF"):
        write(tmp_path / path)
    assert readable(scanned(tmp_path, include=[include])) == read


def test_names_are_compared_in_nfc(tmp_path: Path) -> None:
    decomposed = unicodedata.normalize("NFD", "Übersicht é.txt")
    write(tmp_path / decomposed)
    assert readable(scanned(tmp_path, include=["Über*"])) == [decomposed]
    assert readable(scanned(tmp_path, exclude=[unicodedata.normalize("NFD", "*é.txt")])) == []


def test_patterns_that_select_nothing_are_named(tmp_path: Path) -> None:
    write(tmp_path / "a.txt")
    patterns = ["drafts", "*.txt", "node_modules", ".git/", "!a.txt"]
    assert idle_patterns(scanned(tmp_path), ["*.md"], patterns) == ["*.md", "drafts", "!a.txt"]


def test_outlooks_container_says_what_it_is(root):
    write(root / "Winmail.dat")
    assert reasons(scanned(root))["Winmail.dat"].startswith("a container of Outlook (TNEF): ask")
