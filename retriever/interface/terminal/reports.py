"""Progress, reports and hits as text for the command line. Nothing is printed here."""

from __future__ import annotations

import math
import shutil
import textwrap
from collections.abc import Mapping, Sequence
from contextvars import ContextVar
from typing import Any

from retriever.evaluation.runs import KEYWORD, Run
from retriever.indexing.coverage import (
    NO_TEXT,
    CoverageReport,
    FileCoverage,
    PageGroup,
    page_groups,
)
from retriever.indexing.progress import phase_text
from retriever.indexing.sync import FileReport, SyncReport
from retriever.interface.terminal.characters import count_text, one_line, printable
from retriever.searching.snippets import Snippet, snippet
from retriever.significance import PairedComparison
from retriever.text.analyzer import matching_words
from retriever.types import FileStatus, Hit, Phase, Progress

BOLD, DIM, RESET = "\033[1m", "\033[2m", "\033[0m"

COLUMNS: ContextVar[int] = ContextVar("columns", default=0)
"""The width of the terminal that is written for; 0 for this process's own."""
SNIPPET = 360  # characters

MAIN_MEASURE = "ndcg@10"
"""The measure that is compared on the screen; JSON has intervals of the others too."""

PROBLEMS = (FileStatus.PARTIAL, FileStatus.FAILED)


def progress_line(progress: Progress) -> str:
    """One line: files, chunks, tokens per second, time left, the current file or what else is done.

    >>> progress_line(Progress(3, 44, 120, 30000, 20.0, 1500.0, 62.0, "a.pdf"))
    '3/44 files · 120 chunks · 1,500 tokens/s · 1:02 left · a.pdf'
    >>> progress_line(Progress(44, 44, 990, 0, 20.0, 0.0, None, phase=Phase.FITTING))
    '44/44 files · 990 chunks · fitting the search to the documents'
    >>> progress_line(Progress(44, 44, 90, 9000, 20.0, 450.0, 62.0, vectors_done=90,
    ...                        vectors_total=990))
    '44/44 files · 90/990 vectors · 450 tokens/s · 1:02 left'
    """
    parts = [f"{progress.files_done}/{progress.files_total} files", f"{progress.chunks:,} chunks"]
    if progress.vectors_total and progress.files_done == progress.files_total:
        parts[1] = f"{progress.vectors_done:,}/{progress.vectors_total:,} vectors"
    if progress.tokens:
        parts.append(f"{progress.tokens_per_second:,.0f} tokens/s")
    if progress.seconds_left is not None:
        parts.append(f"{duration(progress.seconds_left)} left")
    if progress.phase in (Phase.LOADING, Phase.EMBEDDING, Phase.FITTING):
        parts.append(phase_text(progress))
    elif progress.current and progress.files_done < progress.files_total:
        part = f", part {progress.part}" if progress.part > 1 else ""
        parts.append(one_line(progress.current) + part)
    return " · ".join(parts)


def duration(seconds: float) -> str:
    """Minutes and seconds, or hours.

    >>> duration(62), duration(3700)
    ('1:02', '1:01:40')
    """
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def report_lines(report: SyncReport) -> list[str]:
    """The report of a sync: files that need attention, then the totals."""
    lines = [_file_line(file) for file in report.files if _is_notable(file)]
    lines += [f"the pattern {pattern!r} matches no file" for pattern in report.idle_patterns]
    totals = report.totals
    counted = [
        f"{totals[status.value]} {status.value}" for status in FileStatus if totals[status.value]
    ]
    summary = ", ".join(counted) or "no documents found: nothing of a known format is there"
    if report.dry_run:
        return [*lines, f"would be: {summary}"]
    work = ""
    if totals["chunks"]:
        counts = [count_text(totals[what], what[:-1]) for what in ("pages", "chunks", "tokens")]
        work = f"; {', '.join(counts)}"
    return [*lines, f"{summary}{work} in {duration(report.seconds)}"]


def account_lines(account: CoverageReport, *, everything: bool = False) -> list[str]:
    """The coverage of an index: incomplete files, or all with `everything`; then the totals."""
    lines: list[str] = []
    for file in account.files:
        if everything or file.status.incomplete or (file.reason and file.pages):
            lines += _file_account_lines(file)
    totals = account.totals
    for what in ("files", "pages"):
        parts = {name: count for name, count in totals[what].items() if count and name != "all"}
        counted = ", ".join(f"{count:,} {name}" for name, count in parts.items())
        many = count_text(totals[what]["all"], what.removesuffix("s"))
        lines.append(many + (f": {counted}" if counted else ""))
    return [*lines, *word_lines(totals["words"]), count_text(totals["chunks"], "passage")]


def word_lines(words: Mapping[str, Any]) -> list[str]:
    """The totals of the words: a line, or none where no file was counted.

    >>> word_lines({"source": 1200, "pages": 1080, "left_out": {"navigation": 120, "scripts": 70},
    ...     "unexplained": 0, "counted": 2, "uncounted": 1})
    ['words: source 1,200, on pages 1,080, left out 120 (navigation 120), unexplained 0\
; no text: scripts 70; not counted: 1 file']
    """
    if not words["counted"] and not words["left_out"]:
        return []
    left = {kind: count for kind, count in words["left_out"].items() if kind not in NO_TEXT}
    rest = {kind: count for kind, count in words["left_out"].items() if kind in NO_TEXT}
    left_out = f"left out {sum(left.values()):,}" + (f" ({_counted(left)})" if left else "")
    line = (
        f"words: source {words['source']:,}, on pages {words['pages']:,}, {left_out}, "
        f"unexplained {words['unexplained']:,}"
    )
    line += f"; no text: {_counted(rest)}" if rest else ""
    files = words["uncounted"]
    return [line + (f"; not counted: {count_text(files, 'file')}" if files else "")]


def _counted(kinds: Mapping[str, int]) -> str:
    return ", ".join(f"{kind} {count:,}" for kind, count in kinds.items())


def _file_account_lines(file: FileCoverage) -> list[str]:
    """A file's line, and one for each group of its pages."""
    groups = list(page_groups(file))
    said = "; ".join(filter(None, [file.reason, file.advice if len(groups) < 2 else ""]))
    head = f"{file.status.value:>9}  {one_line(file.path)}{': ' if said else ''}{one_line(said)}"
    if len(file.pages) < 2:
        return [head]
    return [head, *(_group_line(group) for group in groups)]


def _group_line(group: PageGroup) -> str:
    said = one_line(": ".join(filter(None, [group.place, group.state.value, group.reason])))
    return f"{'':>11}{said}{f'; {group.advice}' if group.advice else ''}"


def model_lines(overview: Mapping[str, Any]) -> list[str]:
    """The result of `models_overview` as tables: presets, then models on this disk."""
    presets = [
        {
            "preset": preset["name"],
            "what": preset["what"],
            "parameters": f"{preset['parameters'] / 1e6:,.0f} M",
            "dimensions": preset["dimension"],
            "download": f"{preset['download'] / 1e6:,.0f} MB",
            "licence": preset["licence"],
            "": "on this disk" if preset["cached"] else "",
        }
        for preset in overview["presets"]
    ]
    cached = [
        {
            "on this disk": model["name"],
            "kind": model["kind"],
            "from": model["source"],
            "size": f"{model['size'] / 1e6:,.0f} MB",
            "licence": model["licence"],
            "since": model["made"],
        }
        for model in overview["cached"]
    ]
    return [
        *table(presets),
        "",
        *(table(cached) or ["no model is on this disk yet"]),
        "",
        f"{overview['size'] / 1e6:,.0f} MB in {overview['folder']}; "
        "wva models remove NAME frees them",
    ]


def _is_notable(file: FileReport) -> bool:
    told = file.status in (*PROBLEMS, FileStatus.RENAMED, FileStatus.REMOVED)
    return told or (bool(file.reason) and file.status is not FileStatus.SKIPPED)


def _file_line(file: FileReport) -> str:
    reason = f": {one_line(file.reason)}" if file.reason else ""
    return f"{file.status.value:>9}  {one_line(file.path)}{reason}"


def hit_lines(
    hit: Hit, query: str, *, colour: bool, whole: bool = False, index: str = ""
) -> list[str]:
    """A hit as text: its place and score, then its snippet with the query's words marked.

    The snippet begins with the best sentence; what stands around it is dim. With `whole` it is the
    whole text. `index` is the name of its index, if that is to be told.
    """
    chunk = hit.chunk
    part = ", ".join(filter(None, [chunk.place, "by OCR" if chunk.state == "ocr" else ""]))
    place = one_line(chunk.path) + (f", {one_line(part)}" if part else "")
    title = f"  {one_line(chunk.title)}" if chunk.title else ""
    bold, dim, reset = (BOLD, DIM, RESET) if colour else ("", "", "")
    strength = "" if hit.strength is None else f", {hit.strength}"
    score = f"({hit.score:.2f}{strength})" + (f"  in {one_line(index)}" if index else "")
    head = f"{hit.rank:>2}. {bold}{place}{reset}{dim}{title}  {score}{reset}"
    width = text_width()
    shown = Snippet(hit.text, 0, 0) if whole else snippet(hit, SNIPPET)
    if not shown.text:  # a search without sentences
        shown = Snippet(_best_part(hit.text, query, SNIPPET), 0, 0)
    lines = _snippet_lines(shown, query, width, colour=colour)
    also = f"also in: {one_line(shorten_list(hit.also_in))}"
    more = [f"{dim}{line}{reset}" for line in textwrap.wrap(also, width)] if hit.also else []
    return [head, *(f"    {line}" for line in [*lines, *more]), ""]


def text_width() -> int:
    """The width of indented text, which is readable in the narrowest terminal."""
    columns = COLUMNS.get() or shutil.get_terminal_size().columns
    return max(20, min(columns, 100) - 4)


def shorten_list(names: Sequence[str], most: int = 5) -> str:
    """The first `most` names, and the number of the others.

    >>> shorten_list(["a.txt", "b.pdf, page 3"]), shorten_list(["a", "b", "c"], 1)
    ('a.txt; b.pdf, page 3', 'a; and 2 more')
    """
    more = [f"and {len(names) - most} more"] if len(names) > most else []
    return "; ".join([*names[:most], *more])


def query_lines(
    conditions: Sequence[str], instead: Mapping[str, Sequence[str]], notes: Sequence[str] = ()
) -> list[str]:
    """How a query was read: conditions, words searched for in place of unknown ones, and notes.

    >>> query_lines(['not "draft"', "type:pdf"], {"polcy": ["policy", "police"]})
    ['only: not "draft", type:pdf', '"polcy" occurs nowhere; searched for policy, police instead']
    """
    lines = [f"only: {', '.join(conditions)}"] if conditions else []
    lines += [
        f'"{word}" occurs nowhere; searched for {", ".join(near)} instead'
        for word, near in instead.items()
    ]
    lines += notes
    return [printable(line) for line in lines]


def verdict_lines(verdict: str) -> list[str]:
    """The sentence of `Index.verdict` in lines of the terminal's width; none for an empty one."""
    return textwrap.wrap(printable(verdict), text_width())


def percent(match: float) -> str:
    """A match as a percentage, rounded down.

    >>> percent(0.9499), percent(0.95), percent(0.992)
    ('94 %', '95 %', '99 %')
    """
    return f"{math.floor(100 * match + 1e-9)} %"


def _snippet_lines(shown: Snippet, query: str, width: int, *, colour: bool) -> list[str]:
    """The lines of a snippet; with colour, what is not the best sentence is dim."""
    text = printable(shown.text)
    lines = textwrap.wrap(text, width) or [""]
    if not colour:
        return lines
    found: list[str] = []
    at = 0
    for line in lines:
        at = text.find(line, at) if line in text[at:] else at
        first, last = (min(max(edge - at, 0), len(line)) for edge in (shown.start, shown.end))
        parts = line[:first], line[first:last], line[last:]
        marked = [_highlight(part, query) for part in parts]
        if shown.start < shown.end:
            marked = [_dim(marked[0]), marked[1], _dim(marked[2])]
        found.append("".join(marked))
        at += len(line)
    return found


def _dim(text: str) -> str:
    """The text dim, also behind words that are bold."""
    return f"{DIM}{text.replace(RESET, RESET + DIM)}{RESET}" if text.strip() else text


def _best_part(text: str, query: str, size: int = SNIPPET) -> str:
    """The part of a passage with most of the query's words, about `size` characters in a line."""
    if len(text) <= size:
        return printable(" ".join(text.split()))
    starts = [word.start for word in matching_words(text, query)]
    best = max(
        range(0, max(1, len(text) - size // 2), size // 4),
        key=lambda at: (sum(at <= start < at + size for start in starts), -at),
    )
    begin = text.rfind(" ", 0, best) + 1 if best else 0
    end = text.find(" ", best + size) if best + size < len(text) else len(text)
    end = best + size if end < 0 or end > best + size + 40 else end
    before, after = "… " if begin else "", " …" if end < len(text) else ""
    return printable(before + " ".join(text[begin:end].split()) + after)


def _highlight(line: str, query: str) -> str:
    for word in reversed(list(matching_words(line, query))):
        line = f"{line[: word.start]}{BOLD}{line[word.start : word.end]}{RESET}{line[word.end :]}"
    return line


def run_lines(run: Run) -> list[str]:
    """An evaluation as a table: a row for each mode, with means and 95 % intervals."""
    found, against = run.intervals(), run.against_keyword()
    rows: list[dict[str, Any]] = []
    for mode, measures in found.items():
        row: dict[str, Any] = {"mode": mode}
        for name, mean in measures.items():
            row[name] = f"{mean.mean:.4f}"
            if name == MAIN_MEASURE:
                row["95 %"] = f"{mean.low:.3f} to {mean.high:.3f}"
        compared = against.get(mode, {}).get(MAIN_MEASURE)
        row[f"{MAIN_MEASURE} against {KEYWORD}"] = _verdict_text(compared) if compared else ""
        rows.append(row)
    head = f"{run.data.name}: {run.data.documents} documents, {len(run.queries)} queries"
    return [head, *table(rows)]


def comparison_lines(compared: Mapping[str, Mapping[str, PairedComparison]]) -> list[str]:
    """The comparison of a run with its baseline: a row for each mode and measure."""
    rows = [
        {
            "mode": mode,
            "measure": name,
            "verdict": one.verdict.value,
            "difference": f"{one.difference.mean:+.4f}",
            "95 %": f"{one.difference.low:+.4f} to {one.difference.high:+.4f}",
        }
        for mode, measures in compared.items()
        for name, one in measures.items()
    ]
    return table(rows) or ["the baseline has no mode and measure in common with this run"]


def _verdict_text(one: PairedComparison) -> str:
    return f"{one.verdict.value} ({one.difference.mean:+.4f})"


def table(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Rows with the same keys as an aligned table.

    >>> table([{"mode": "dense", "ndcg": 0.5}])
    ['mode   ndcg', 'dense  0.5']
    """
    if not rows:
        return []
    columns = list(rows[0])
    cells = [columns, *([str(row[column]) for column in columns] for row in rows)]
    widths = [max(len(line[i]) for line in cells) for i in range(len(columns))]
    return [
        "  ".join(cell.ljust(w) for cell, w in zip(line, widths, strict=True)).rstrip()
        for line in cells
    ]
