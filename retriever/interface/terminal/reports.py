"""Progress and reports as text for the command line. Nothing is printed here."""

from __future__ import annotations

from collections.abc import Mapping
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
from retriever.interface.terminal.characters import count_text, one_line
from retriever.interface.terminal.table import table
from retriever.significance import PairedComparison
from retriever.types import FileStatus, Phase, Progress

MAIN_MEASURE = "ndcg@10"
"""The measure that is compared on the screen; JSON has intervals of the others too."""

PROBLEMS = (FileStatus.PARTIAL, FileStatus.FAILED)


def progress_line(progress: Progress) -> str:
    """One line: files, vectors, tokens per second, time left, the file or what else is done.

    While files are read, the time is that until all of them are found by their words.

    >>> progress_line(Progress(3, 44, 120, 30000, 20.0, 1500.0, 62.0, "a.pdf"))
    '3/44 files · 120 chunks · 1,500 tokens/s · 1:02 left · a.pdf'
    >>> progress_line(Progress(3, 44, 0, 0, 20.0, 0.0, 62.0, "a.pdf", phase=Phase.READING))
    '3/44 files · all found by their words in 1:02 · a.pdf'
    >>> progress_line(Progress(44, 44, 990, 0, 20.0, 0.0, None, phase=Phase.FITTING))
    '44/44 files · 990 chunks · fitting the search to the documents'
    >>> progress_line(Progress(44, 44, 90, 9000, 20.0, 450.0, 62.0, vectors_done=90,
    ...                        vectors_total=990))
    '44/44 files · 90/990 vectors · 450 tokens/s · 1:02 left'
    """
    parts = [f"{progress.files_done}/{progress.files_total} files"] * (progress.files_total > 0)
    second = progress.vectors_total > 0 and progress.files_done == progress.files_total
    if second:
        parts.append(f"{progress.vectors_done:,}/{progress.vectors_total:,} vectors")
    elif progress.chunks:
        parts.append(f"{progress.chunks:,} chunks")
    if progress.tokens:
        parts.append(f"{progress.tokens_per_second:,.0f} tokens/s")
    if progress.seconds_left is not None:
        left = duration(progress.seconds_left)
        reading = progress.phase is Phase.READING and not second
        parts.append(f"all found by their words in {left}" if reading else f"{left} left")
    if progress.phase in (Phase.LOADING, Phase.FITTING) or (
        progress.phase is Phase.EMBEDDING and not second
    ):
        parts.append(phase_text(progress))
    elif progress.current and progress.files_done < progress.files_total:
        part = f", part {progress.part}" if progress.part > 1 else ""
        parts.append(one_line(progress.current) + part)
    return " · ".join(parts)


def waiting_line(pending: int, chunks: int, command: str) -> str:
    """How many passages have no vector yet, and how to make them; empty for none.

    >>> waiting_line(300, 400, "wva index --vectors-only")
    '300 of 400 passages are found by their words only so far; wva index --vectors-only goes on'
    >>> waiting_line(0, 400, "")
    ''
    """
    if not pending:
        return ""
    have = "passage is" if chunks == 1 else "passages are"
    how = "its words" if chunks == 1 else "their words"
    return f"{pending:,} of {chunks:,} {have} found by {how} only so far; {command} goes on"


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
    if report.made is not None:
        many = f"{count_text(report.made, 'passage')} made searchable by meaning"
        said = many if report.made else "all passages have their vectors: nothing to do"
        said = "files and passages are left as they are" if report.dry_run else said
        return [f"{said} in {duration(report.seconds)}"]
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
