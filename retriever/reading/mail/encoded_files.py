"""Files inside the text of a mail, as programs before MIME sent them: uuencode and yEnc."""

from __future__ import annotations

import binascii
import re

from retriever.reading.encodings import decode
from retriever.reading.facts import clean_fact

_UU = re.compile(
    rb"^begin [0-7]{3,4} ([^\r\n]{1,300})\r?\n((?:[ -`]{1,90}\r?\n)+?)"
    rb"[` ]?\r?\n?end[ \t]*(?:\r?\n|\Z)",
    re.MULTILINE,
)
_YENC = re.compile(
    rb"^=ybegin [^\r\n]*?name=([^\r\n]*)\r?\n(?:=ypart [^\r\n]*\r?\n)?"
    rb"((?:(?!=ybegin |=yend)[^\n]*\n)*+)"
    rb"=yend[^\r\n]*(?:\r?\n|\Z)",
    re.MULTILINE,
)
_SHIFTED = bytes((code - 42) % 256 for code in range(256))
_ESCAPED = re.compile(rb"=(.)", re.DOTALL)


def take_encoded_files(data: bytes) -> tuple[bytes, list[tuple[str, bytes]]]:
    r"""The text without its encoded files, and the files with their names.

    >>> take_encoded_files(b"Here:\nbegin 644 a.txt\n#0V%T\n`\nend\nBye\n")
    (b'Here:\nBye\n', [('a.txt', b'Cat')])
    """
    if b"begin " not in data:
        return data, []
    files: list[tuple[str, bytes]] = []
    rest: list[bytes] = []
    done = 0
    for match in sorted([*_UU.finditer(data), *_YENC.finditer(data)], key=re.Match.start):
        found = _from_yenc(match[2]) if match.re is _YENC else _from_uu(match[2])
        if found is None or match.start() < done:
            continue
        files.append((clean_fact(decode(match[1]) or "") or "unnamed", found))
        rest.append(data[done : match.start()])
        done = match.end()
    return b"".join([*rest, data[done:]]), files


def _from_uu(body: bytes) -> bytes | None:
    """Decode the lines of uuencode; None if one is not."""
    try:
        return b"".join(_uu_line(line) for line in body.splitlines())
    except binascii.Error:
        return None


def _uu_line(line: bytes) -> bytes:
    length = (line[0] - 32) & 63
    needed = 1 + (length + 2) // 3 * 4
    return binascii.a2b_uu(line.ljust(needed)[:needed])  # mail programs strip or add blanks


def _from_yenc(body: bytes) -> bytes:
    lines = body.replace(b"\r", b"").replace(b"\n", b"")
    plain = _ESCAPED.sub(lambda match: bytes([(match[1][0] - 64) % 256]), lines)
    return plain.translate(_SHIFTED)


__all__ = ["take_encoded_files"]
