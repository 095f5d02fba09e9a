"""Accuracy of decoding text in older encodings: `python -m benchmarks.encodings`.

Each row of `encodings.tsv` holds a language, its encodings and sentences. The benchmark encodes and
decodes each sentence alone and all of them as one paragraph. A case is right if every character
is restored; the name of the detected encoding does not count. It compares
`retriever.reading.encodings.decode` with charset-normalizer, its fallback. There is no randomness.
"""

from __future__ import annotations

import argparse
import csv
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from charset_normalizer import from_bytes

from benchmarks.tables import markdown
from retriever.reading.encodings import decode

TEXTS = Path(__file__).with_name("encodings.tsv")
UNICODE = ("utf_8", "utf_16_le", "utf_16_be")  # without a byte-order mark
Decoder: TypeAlias = Callable[[bytes], str | None]


@dataclass(frozen=True, slots=True)
class Case:
    """A text to decode; `kind` is "sentence" or "paragraph"."""

    language: str
    encoding: str
    kind: str
    text: str

    def is_right(self, decoder: Decoder) -> bool:
        """Whether the decoder restores every character."""
        return decoder(self.text.encode(self.encoding)) == self.text


def charset_normalizer(data: bytes) -> str | None:
    """The text as charset-normalizer decodes it; None if it finds no encoding."""
    best = from_bytes(data).best()
    return None if best is None else data.decode(best.encoding, "replace").lstrip("\ufeff")


DECODERS: dict[str, Decoder] = {"ours": decode, "charset-normalizer": charset_normalizer}


def cases(path: Path = TEXTS) -> Iterator[Case]:
    """Every non-ASCII text in each of its language's encodings."""
    with path.open(encoding="utf-8", newline="") as file:
        for language, encodings, *sentences in csv.reader(file, "excel-tab"):
            texts = [("sentence", text) for text in sentences]
            texts.append(("paragraph", " ".join(sentences)))
            for encoding in (*encodings.split(), *UNICODE):
                for kind, text in texts:
                    if not text.isascii():
                        yield Case(language, encoding, kind, text)


def groups(case: Case) -> Iterator[str]:
    """The table rows that a case belongs to."""
    yield "Unicode without a mark" if case.encoding in UNICODE else "older encodings"
    if case.encoding not in UNICODE:
        yield case.language


def table(found: list[tuple[Case, dict[str, bool]]]) -> list[str]:
    """The table: right cases and all cases, for each group, length and decoder."""
    names = sorted({group for case, _ in found for group in groups(case)}, key=str.lower)
    names.sort(key=lambda name: name not in ("older encodings", "Unicode without a mark"))
    kinds = ("sentence", "paragraph")
    rows = []
    for name in names:
        row = [name]
        for kind in kinds:
            mine = [right for case, right in found if name in groups(case) and case.kind == kind]
            row += [f"{sum(right[each] for right in mine)} of {len(mine)}" for each in DECODERS]
        rows.append(row)
    header = ["", *(f"{kind}s, {decoder}" for kind in kinds for decoder in DECODERS)]
    return markdown(header, rows)


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the table, and with `--wrong` the texts that were decoded wrongly."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--texts", type=Path, default=TEXTS, help="as benchmarks/encodings.tsv")
    parser.add_argument("--wrong", action="store_true", help="name what `decode` got wrong")
    options = parser.parse_args(arguments)
    found = [
        (case, {name: case.is_right(decoder) for name, decoder in DECODERS.items()})
        for case in cases(options.texts)
    ]
    print("\n".join(table(found)))
    if options.wrong:
        for case, right in found:
            if not right["ours"]:
                print(f"{case.language} {case.encoding}: {decode(case.text.encode(case.encoding))}")


if __name__ == "__main__":
    main()
