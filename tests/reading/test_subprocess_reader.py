"""A bad file costs only itself. The files here are harmless; the reader in the process is not."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import psutil
import pytest

from retriever.reading import subprocess_reader
from retriever.reading.formats import ReadOptions, read_document
from retriever.reading.subprocess_reader import FileReader, Limits, Preparing, file_reader
from retriever.types import Document, Page, PageState, ReadError, RetrieverError, Span

ROOT = Path(__file__).parents[2]
SAMPLE = ROOT / "data" / "sample"

# Replaces the real worker: the reader executes the text of the file as Python code.
PLANTED = """
    import os, runpy, signal, sys, textwrap, time
    sys.path.insert(0, {root!r})
    from retriever.reading import formats
    from retriever.types import Document, Page

    real = formats.read_document

    def read(path, name, options):
        said = path.read_text()
        if said.startswith("harmless"):
            return real(path, name, options)
        made = {{**globals()}}
        exec("def planted(path, name, options):\\n" + textwrap.indent(said, " "), made)
        return made["planted"](path, name, options)

    formats.read_document = read
    sys.argv = sys.argv[-2:]
    runpy.run_module("retriever.reading.worker", run_name="__main__")
"""


@pytest.fixture
def planted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A file reader whose process executes the text of the files it reads."""
    script = tmp_path / "planted.py"
    script.write_text(textwrap.dedent(PLANTED.format(root=str(ROOT))))
    monkeypatch.setattr(subprocess_reader, "COMMAND", (str(script),))
    reader = FileReader(limits=Limits(seconds=20.0, memory=400_000_000, output=1_000_000))
    yield reader
    reader.close()


def ask(reader: FileReader, folder: Path, text: str, name: str = "a.txt") -> Document:
    path = folder / name
    path.write_text(textwrap.dedent(text))
    return reader.read(path, name)


def test_what_comes_back_is_what_was_read(tmp_path: Path) -> None:
    with file_reader(ReadOptions()) as reader:
        for path in sorted(SAMPLE.rglob("*.*"))[::9]:
            assert reader.read(path, path.name) == read_document(path, path.name)
        empty = tmp_path / "empty.txt"
        empty.touch()
        with pytest.raises(ReadError, match=r"^zero bytes$"):
            reader.read(empty, "empty.txt")
        with pytest.raises(ReadError, match="no such file"):
            reader.read(tmp_path / "missing.txt", "missing.txt")


def test_a_document_survives_the_way_through_json() -> None:
    pages = (
        Page(1, "text\0 \ud800 中", body=Span(1, 3), label="sheet A"),
        Page(None, "", PageState.SCANNED, "an image"),
    )
    document = Document("a\udcff.pdf", "pdf", pages, "T", "A", "2024", {"n": 1, "x": True})
    body = subprocess_reader.document_to_json(document)
    assert subprocess_reader.document_from_json(body) == document


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("os.kill(os.getpid(), signal.SIGSEGV)", "the reader crashed on it (SIGSEGV)"),
        ("os._exit(3)", "the reader crashed on it"),
        (
            "options.extend_deadline(0.0); sys.stdout.write('x' * 100000); os.abort()",
            "crashed on it (SIGABRT)",
        ),
        ("held = ' ' * 10**9", "it needs more memory than a file may take; split it"),
        ("return Document(name, 'txt', (Page(None, 'x' * 2_000_000),))", "more than 1 MB of text"),
        ("raise SystemExit", "the reader crashed on it"),
    ],
)
def test_a_bad_file_costs_itself_alone(planted, tmp_path: Path, text: str, reason: str) -> None:
    for _ in range(2):
        assert ask(planted, tmp_path, "harmless").pages[0].text == "harmless"
        with pytest.raises(ReadError) as caught:
            ask(planted, tmp_path, text)
        assert reason in str(caught.value)


def test_a_hang_ends_and_a_page_done_earns_time(planted, tmp_path: Path) -> None:
    planted.limits = Limits(seconds=0.6)
    ask(planted, tmp_path, "harmless")
    began = time.monotonic()
    with pytest.raises(ReadError, match="it was given up after 1 seconds; split the file"):
        ask(planted, tmp_path, "time.sleep(60)")
    assert time.monotonic() - began < 10
    slow = """
        for _ in range(4):
            time.sleep(0.25)
            options.extend_deadline(0.5)
        return Document(name, "txt", (Page(None, "done"),))
        """
    told: list[int] = []
    planted.on_part = told.append
    assert ask(planted, tmp_path, slow).pages[0].text == "done"
    assert told == [1, 2, 3, 4]


def test_time_that_is_earned_has_an_end(planted, tmp_path: Path) -> None:
    planted.limits = Limits(seconds=0.5, max_seconds=1.5)
    with pytest.raises(ReadError, match="it was given up after 2 seconds"):
        ask(planted, tmp_path, "while True:\n    options.extend_deadline(5.0)\n    time.sleep(0.1)")


def test_what_compiled_code_crashes_on_is_read_without_it(planted, tmp_path: Path) -> None:
    text = """
        if options.allow_native:
            os.kill(os.getpid(), signal.SIGSEGV)
        return Document(name, "txt", (Page(None, "read in the slow way"),))
        """
    assert ask(planted, tmp_path, text).pages[0].text == "read in the slow way"


def test_memory_is_watched_where_the_system_does_not_limit_it(planted, tmp_path: Path) -> None:
    """The memory of child processes, such as OCR, counts too."""
    child = "held = 'x' * 250_000_000; import time; time.sleep(60)"
    with pytest.raises(ReadError, match="it needs more than 400 MB of memory; split the file"):
        ask(
            planted,
            tmp_path,
            f"""
            import subprocess
            children = [subprocess.Popen([sys.executable, "-c", {child!r}]) for _ in range(2)]
            children[0].wait()
            """,
        )


def test_a_process_that_holds_much_memory_is_replaced_before_the_next_file(
    planted, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its children are not looked for: that reads the tables of all processes for each file."""
    monkeypatch.setattr(psutil.Process, "children", None)
    pid = "return Document(name, 'txt', (Page(None, str(os.getpid())),))"
    first, second = (ask(planted, tmp_path, pid).pages[0].text for _ in range(2))
    assert first == second
    monkeypatch.setattr(subprocess_reader, "RECYCLE_BYTES", 1)
    assert ask(planted, tmp_path, pid).pages[0].text != first
    assert not psutil.pid_exists(int(first))


def test_nothing_is_left_running(planted, tmp_path: Path) -> None:
    """Neither the process nor its children survive an abandoned file or the end of the run."""
    note = tmp_path / "pids"
    planted.limits = Limits(seconds=1.0)
    with pytest.raises(ReadError, match="given up after"):
        ask(
            planted,
            tmp_path,
            f"""
            import subprocess
            child = subprocess.Popen(["sleep", "600"])
            open({str(note)!r}, "w").write(f"{{os.getpid()}} {{child.pid}}")
            child.wait()
            """,
        )
    _, alive = psutil.wait_procs(
        [
            psutil.Process(pid)
            for pid in map(int, note.read_text().split())
            if psutil.pid_exists(pid)
        ],
        timeout=10,
    )
    assert not alive
    with file_reader(ReadOptions()) as reader:
        reader.close()


def test_the_process_ends_with_the_one_that_started_it(tmp_path: Path) -> None:
    reader = FileReader()
    (tmp_path / "a.txt").write_text("harmless")
    reader.read(tmp_path / "a.txt", "a.txt")
    process = psutil.Process(reader._process.pid)
    reader._process.stdin.close()  # what the system does when we are killed
    process.wait(10)
    reader.close()


def test_it_is_not_disturbed_by_ctrl_c(planted, tmp_path: Path) -> None:
    ask(planted, tmp_path, "harmless")
    assert os.getpgid(planted._process.pid) != os.getpgrp()  # Ctrl-C goes to the terminal's group


def test_a_process_that_cannot_start_is_a_sentence(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(subprocess_reader, "COMMAND", ("-c", "raise SystemExit('no such library')"))
    reader = FileReader()
    (tmp_path / "a.txt").write_text("harmless")
    with pytest.raises(RetrieverError, match=r"could not be started \(no such library\)"):
        reader.read(tmp_path / "a.txt", "a.txt")


def test_the_reason_is_told_not_what_python_says_while_it_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code = """
import sys
class Slow:
    def __del__(self): raise ImportError("cannot import name 'open'")
sys.kept = Slow()
raise SystemExit("no such library")
"""
    monkeypatch.setattr(subprocess_reader, "COMMAND", ("-c", code))
    (tmp_path / "a.txt").write_text("harmless")
    with pytest.raises(RetrieverError, match=r"could not be started \(no such library\)"):
        FileReader().read(tmp_path / "a.txt", "a.txt")


def test_passwords_and_languages_reach_the_reader(planted, tmp_path: Path) -> None:
    planted.options = ReadOptions(passwords=("a b", "ü\n"), ocr="eng+deu")
    text = "return Document(name, 'txt', (Page(None, repr((options.passwords, options.ocr))),))"
    assert ask(planted, tmp_path, text).pages[0].text == repr((("a b", "ü\n"), "eng+deu"))


def test_a_process_killed_while_it_starts_is_started_again(tmp_path: Path, monkeypatch) -> None:
    """As the kernel kills a process when memory is short: twice, then no more."""
    count = tmp_path / "count"
    script = tmp_path / "killed.py"
    monkeypatch.setattr(subprocess_reader, "COMMAND", (str(script),))
    (tmp_path / "a.txt").write_text("harmless")
    for times in (2, 9):
        count.write_text("")
        script.write_text(
            f"import os, runpy, signal, sys\n"
            f"open({str(count)!r}, 'a').write('x')\n"
            f"if len(open({str(count)!r}).read()) <= {times}:\n"
            f"    os.kill(os.getpid(), signal.SIGKILL)\n"
            f"runpy.run_module('retriever.reading.worker', run_name='__main__')\n"
        )
        reader = FileReader()
        if times == 2:
            assert reader.read(tmp_path / "a.txt", "a.txt").pages[0].text == "harmless"
        else:
            said = r"was killed 3 times while it started, SIGKILL$"
            with pytest.raises(ReadError, match=said):  # it costs this file, not the run
                reader.read(tmp_path / "a.txt", "a.txt")
        assert count.read_text() == "xxx"
        reader.close()


def test_what_a_crashed_process_has_started_ends_and_no_other_group(
    planted, tmp_path: Path, monkeypatch
) -> None:
    """The id may be reused as soon as the process is waited for: the group is killed before."""
    note = tmp_path / "pid"
    killed: list[int | None] = []
    real = os.killpg

    def noted(group: int, number: int) -> None:
        killed.append(psutil.Process(group).status() if psutil.pid_exists(group) else None)
        real(group, number)

    monkeypatch.setattr(os, "killpg", noted)
    text = f"""
        import subprocess
        child = subprocess.Popen(["sleep", "600"], stdin=subprocess.DEVNULL, stdout=2)
        open({str(note)!r}, "w").write(str(child.pid))
        os._exit(3)
        """
    with pytest.raises(ReadError, match="the reader crashed on it"):
        ask(planted, tmp_path, text)
    assert killed
    assert set(killed) == {psutil.STATUS_ZOMBIE}  # ended, and its id still taken
    child = int(note.read_text())
    _, alive = psutil.wait_procs([psutil.Process(child)] if psutil.pid_exists(child) else [], 10)
    assert not alive


def test_what_is_installed_beside_the_package_is_not_the_standard_library(tmp_path: Path) -> None:
    """A backport in site-packages has the name of a standard module: `csv` here."""
    (tmp_path / "retriever").symlink_to(Path(subprocess_reader.__file__).parents[1])
    (tmp_path / "csv.py").write_text("raise SystemExit('not the standard library')")
    (tmp_path / "a.csv").write_text("a,b\n1,2\n")
    code = f"""
        import sys
        root = {str(ROOT)!r}
        at = min(at for at, folder in enumerate(sys.path) if root in folder or "site-" in folder)
        sys.path.insert(at, {str(tmp_path)!r})
        from retriever.reading.subprocess_reader import FileReader
        from pathlib import Path
        reader = FileReader()
        document = reader.read(Path({str(tmp_path / "a.csv")!r}), "a.csv")
        reader.close()
        print(sys.modules["retriever"].__file__, document.format)
    """
    done = subprocess.run(
        [sys.executable, "-P", "-c", textwrap.dedent(code)], capture_output=True, text=True
    )
    assert done.stdout.split() == [str(tmp_path / "retriever" / "__init__.py"), "csv"], done.stderr


# Under lower limits of the system

LIMITED = """
    import ctypes, os, resource, sys
    from pathlib import Path
    from retriever.reading import subprocess_reader
    from retriever.types import ReadError, RetrieverError

    subprocess_reader.COMMAND = ({script!r},)
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(24, 24, 0, 0, 0)  # root may raise limits no more (CAP_SYS_RESOURCE)
    for limits, path in {cases!r}:
        child = os.fork()
        if not child:
            for name, limit in limits.items():
                resource.setrlimit(getattr(resource, name), limit)
            try:
                with subprocess_reader.file_reader(subprocess_reader.ReadOptions()) as reader:
                    print(reader.read(Path(path), "a.txt").pages[0].text)
            except RetrieverError as error:
                print(error)
            sys.stdout.flush()
            os._exit(0)
        os.waitpid(child, 0)
"""


def limited(tmp_path: Path, cases: list[tuple[dict[str, tuple[int, int]], str]]) -> list[str]:
    """The result of each case: hard limits of the system, and the code that the reader runs."""
    script = tmp_path / "planted.py"
    script.write_text(textwrap.dedent(PLANTED.format(root=str(ROOT))))
    files = []
    for number, (limits, text) in enumerate(cases):
        path = tmp_path / f"{number}.txt"
        path.write_text(textwrap.dedent(text))
        files.append((limits, str(path)))
    code = textwrap.dedent(LIMITED.format(script=str(script), cases=files))
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert not done.stderr
    return done.stdout.splitlines()


def test_it_reads_under_lower_hard_limits(tmp_path: Path) -> None:
    """Limits cannot be raised and need not be: a lower one stays."""
    limits = [
        {"RLIMIT_AS": (2_000_000_000, 2_000_000_000)},
        {"RLIMIT_AS": (300_000_000, 3_000_000_000)},
        {"RLIMIT_FSIZE": (1_000_000, 1_000_000)},
        {"RLIMIT_FSIZE": (0, 0)},
        {"RLIMIT_CORE": (0, 0)},
        {"RLIMIT_CPU": (30, 30)},
        {"RLIMIT_NOFILE": (20, 20)},
    ]
    found = limited(tmp_path, [(one, "harmless") for one in limits])
    assert found == ["harmless"] * len(limits)


def test_a_limit_that_is_too_low_is_named(tmp_path: Path) -> None:
    memory = {"RLIMIT_AS": (300_000_000, 300_000_000)}
    why = (
        "; a process may have only 300 MB of address space (ulimit -v 292968) here: "
        "raise the limit, such as with ulimit -v unlimited"
    )
    assert limited(
        tmp_path,
        [
            ({"RLIMIT_AS": (100_000_000, 100_000_000)}, "harmless"),
            (memory, "held = ' ' * 10**9"),
            (memory, "os.abort()"),
            ({"RLIMIT_NOFILE": (5, 5)}, "harmless"),
        ],
    ) == [
        "no file can be read: a process may have only 100 MB of address space (ulimit -v 97656) "
        "here, and 200 MB are needed; raise the limit, such as with ulimit -v unlimited",
        f"it needs more memory than a file may take; split it{why}",
        f"the reader crashed on it (SIGABRT){why}",
        "the process that reads files could not be started (Too many open files); a process may "
        "have only 5 open files (ulimit -n 5) here: raise the limit, such as with "
        "ulimit -n unlimited",
    ]


def test_processor_time_that_is_used_up_is_told(tmp_path: Path) -> None:
    """A new process has the full CPU time, so only a file that needs more fails."""
    note = tmp_path / "natives"
    text = f"""
        with open({str(note)!r}, "a") as file:
            file.write(f"{{options.allow_native}} ")
        while True:
            pass
        """
    (told,) = limited(tmp_path, [({"RLIMIT_CPU": (3, 3)}, text)])
    assert told == (
        "it needs more processor time than there is; a process may have only 3 seconds "
        "of processor time (ulimit -t 3) here: raise the limit, such as with ulimit -t unlimited"
    )
    assert note.read_text().split() == ["True", "True"]  # not for its compiled code


PREPARING = """
    import os, signal, time
    from retriever.reading import worker

    class Planted:
        def configure(self, values): pass

        def prepare(self, document):
            said = document.pages[0].text
            if said == "memory":
                raise MemoryError
            if said == "mistake":
                raise ValueError
            if said == "crash":
                os.kill(os.getpid(), signal.SIGSEGV)
            if said == "hang":
                time.sleep(60)
            return said.encode()

    worker.main(Planted())
"""


def test_work_on_a_text_that_exceeds_a_limit_is_not_left_to_the_parent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "planted_preparing.py").write_text(textwrap.dedent(PREPARING))
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(subprocess_reader, "PREPARE_SECONDS", 1.0)
    reader = FileReader(preparing=Preparing("planted_preparing", {}))
    try:
        ask(reader, tmp_path, "good")
        assert reader.prepared == b"good"
        ask(reader, tmp_path, "mistake")  # the parent does it, and shows the error
        assert reader.prepared == b""
        for said, reason in (
            ("memory", "needs more memory than a file may take"),
            ("crash", r"not divided into passages: the reader crashed on it \(SIGSEGV\)"),
            ("hang", "not divided into passages: it was given up after 1 seconds"),
        ):
            with pytest.raises(ReadError, match=reason):
                ask(reader, tmp_path, said)
        ask(reader, tmp_path, "good")
        assert reader.prepared == b"good"
    finally:
        reader.close()
