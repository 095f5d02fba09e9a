"""The text that files leave out on purpose, as text for the command line."""

from __future__ import annotations

from retriever.indexing.coverage import FileCoverage
from retriever.interface.terminal.characters import count_text, one_line, printable
from retriever.storage.records import LeftOutTexts


def left_out_lines(file: FileCoverage, texts: LeftOutTexts) -> list[str]:
    """The left-out text of a file, kind by kind."""
    if not texts.parts:
        return [f"{one_line(file.path)}: no text is left out"]
    counts = {} if file.account is None else file.account.left_out
    lines: list[str] = []
    for kind in dict.fromkeys(part.kind for part in texts.parts):
        count = counts.get(kind)
        words = "" if count is None else f": {count_text(count, 'word')}"
        lines += [
            "" if lines else f"{one_line(file.path)} leaves out",
            f"{one_line(kind)}{words}",
        ]
        found = (part.text for part in texts.parts if part.kind == kind)
        lines += (
            f"  {printable(line)}" for text in found for line in text.split("\n") if line.strip()
        )
    return [*lines, "", "only the first of it is stored"] if texts.cut else lines


__all__ = ["left_out_lines"]
