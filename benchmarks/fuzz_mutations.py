"""Changes bytes as faults and attackers do: flips, cuts, repetitions, numbers, tokens, splices."""

from __future__ import annotations

import re
import zipfile
import zlib
from collections.abc import Callable
from random import Random

from benchmarks.fuzz_seeds import SEEDS, members, packed, seed

LONGEST = 300_000
"""Bytes of a changed file."""

TOKENS = (
    *(b"\0", b"\xff\xfe", b"\xef\xbb\xbf", b"\xed\xa0\x80", b"\x1b]52;c;eA==\x07", b"\x1b[2J"),
    *("\u202e".encode(), "\u2028".encode(), "e\u0301".encode(), "👩\u200d".encode(), b"\r", b"\n"),
    *(b"<", b"</", b"<![CDATA[", b"<!--", b"-->", b"&", b"&#0;", b"&#x110000;", b"&lol;", b"<p>"),
    *(b'<!DOCTYPE x [<!ENTITY e "x">]>', b"<table>", b"<tr>", b'"', b"'", b"\\", b"{", b"}", b"["),
    *(
        b"]",
        b"(",
        b")",
        b"*",
        b"_",
        b"`",
        b"|",
        b"> ",
        b"- ",
        b"#",
        b"---\n",
        b"+++\n",
        b"..",
        b"::",
    ),
    *(
        b"\\begin{a}",
        b"\\u-1",
        b"\\bin999999999 ",
        b"{\\*",
        b"=?utf-8?b?",
        b"--b1",
        b"/Kids [2 0 R]",
    ),
    *(
        b"null",
        b"true",
        b"NaN",
        b"1e999",
        b"=cmd|' /C calc'!A0",
        b"\t",
        b" ",
        b",",
        b";",
        b"%",
        b"$",
    ),
    *(b"stream\n", b"endobj\n", b"obj", b"<<", b">>", b"BEGIN:VEVENT\n", b"-->", b"00:00:00,000"),
    *(b"!!python/object:x", b"&a ", b"*a", b"<<: *a", b"From a@b\n", b"PK\x03\x04", b"%PDF-1.7\n"),
)
NUMBERS = (
    *(b"0", b"-1", b"1", b"255", b"65536", b"2147483648", b"4294967295", b"99999999999999999999"),
    *(b"1e308", b"-1e-308", b"NaN", b"", b"1.5", b"0x10", b"1048577", b"16385"),
)
_NUMBER = re.compile(rb"\d+(?:\.\d+)?")


def changed(random: Random, data: bytes, ending: str) -> bytes:
    """`data`, a file of a format, after one to four changes; archives are also changed inside."""
    if data[:2] == b"PK" and random.random() < 0.7:
        return _changed_member(random, data)
    return _changed(random, data, ending)


def _changed(random: Random, data: bytes, ending: str) -> bytes:
    for _ in range(random.choice((1, 1, 2, 3, 4))):
        if random.random() < 0.1:
            data = _spliced(random, data, ending)
        else:
            data = random.choice(CHANGES)(random, data)
    return data[:LONGEST]


def _changed_member(random: Random, data: bytes) -> bytes:
    try:
        parts: dict[str, bytes] = members(data)
    except (zipfile.BadZipFile, OSError, ValueError, RuntimeError, EOFError, zlib.error):
        return _changed(random, data, "")
    if not parts:
        return data
    name = random.choice(list(parts))
    what = random.random()
    if what < 0.05:
        del parts[name]
    elif what < 0.1:
        parts[name] = parts[random.choice(list(parts))]
    else:
        parts[name] = _changed(random, parts[name], "html")
    return packed({one: content for one, content in parts.items() if one})


def _flip(random: Random, data: bytes) -> bytes:
    if not data:
        return b"\0"
    at = random.randrange(len(data))
    return data[:at] + bytes([data[at] ^ 1 << random.randrange(8)]) + data[at + 1 :]


def _cut(random: Random, data: bytes) -> bytes:
    return data[: random.randrange(len(data) + 1)]


def _block(random: Random, data: bytes) -> tuple[int, int]:
    start = random.randrange(len(data) + 1)
    return start, min(len(data), start + random.choice((1, 4, 16, 64, 256, 1024)))


def _drop(random: Random, data: bytes) -> bytes:
    start, end = _block(random, data)
    return data[:start] + data[end:]


def _repeat(random: Random, data: bytes) -> bytes:
    start, end = _block(random, data)
    times = random.choice((2, 10, 100, 1_000, 10_000))
    return data[:start] + (data[start:end] * times)[:LONGEST] + data[end:]


def _swap(random: Random, data: bytes) -> bytes:
    one, two = sorted((_block(random, data), _block(random, data)))
    if one[1] > two[0]:
        return data
    return (
        data[: one[0]]
        + data[two[0] : two[1]]
        + data[one[1] : two[0]]
        + data[one[0] : one[1]]
        + data[two[1] :]
    )


def _insert(random: Random, data: bytes) -> bytes:
    at = random.randrange(len(data) + 1)
    times = random.choice((1, 1, 1, 3, 100, 5_000))
    return data[:at] + random.choice(TOKENS) * times + data[at:]


def _nest(random: Random, data: bytes) -> bytes:
    """A token many times before the rest, as in deep nesting."""
    at = random.randrange(len(data) + 1)
    depth = random.choice((50, 500, 5_000))
    first, last = random.choice(
        (
            *(
                (b"[", b"]"),
                (b'{"a":', b"}"),
                (b"<div>", b"</div>"),
                (b"{\\b ", b"}"),
                (b"> ", b""),
            ),
            *(
                (b"(", b")"),
                (b"<table><tr><td>", b"</td></tr></table>"),
                (b"<<", b">>"),
                (b"- ", b""),
            ),
            *((b"<w:p>", b"</w:p>"), (b"<text:span>", b"</text:span>"), (b"\\emph{", b"}")),
        )
    )
    return data[:at] + first * depth + b"x" + last * depth + data[at:]


def _number(random: Random, data: bytes) -> bytes:
    found = list(_NUMBER.finditer(data))
    if not found:
        return _insert(random, data)
    one = random.choice(found)
    return data[: one.start()] + random.choice(NUMBERS) + data[one.end() :]


def _random_bytes(random: Random, data: bytes) -> bytes:
    at = random.randrange(len(data) + 1)
    return data[:at] + random.randbytes(random.choice((1, 2, 8, 100))) + data[at:]


def _spliced(random: Random, data: bytes, ending: str) -> bytes:
    """The beginning of the file and the end of another one."""
    other = seed(random.choice(list(SEEDS)) if random.random() < 0.5 else ending or "txt")
    return data[: random.randrange(len(data) + 1)] + other[random.randrange(len(other) + 1) :]


CHANGES: tuple[Callable[[Random, bytes], bytes], ...] = (
    *(_flip, _cut, _drop, _repeat, _swap, _insert, _insert, _nest, _number, _number, _random_bytes),
)

__all__ = ["LONGEST", "TOKENS", "changed"]
