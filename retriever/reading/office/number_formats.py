"""Numbers and dates of a workbook as their cells show them, by Excel's number formats.

A format has up to four sections (positive, negative, zero, text) of placeholders (`0`, `#`, `?`),
literals and codes: `#,##0.00 "EUR"`, `00000`, `(000) 000-0000`, `0.0%`, `mmm yyyy`. The signs for
decimals and thousands are those of the format itself, because a file does not state the reader's
own. A format that is not understood gives None, and the number is shown as it is stored.
"""

from __future__ import annotations

import math
import re
from datetime import date, datetime, time
from decimal import ROUND_HALF_UP, Decimal
from fractions import Fraction
from functools import lru_cache
from itertools import takewhile
from typing import NamedTuple

_TOKEN = re.compile(
    r"""(?P<quoted>"[^"]*")|\\(?P<escaped>.)|_(?P<space>.)|\*(?P<fill>.)|\[(?P<bracket>[^\]]*)\]"""
    r"""|(?P<exponent>[Ee][+-])|(?P<general>General)|(?P<half>AM/PM|A/P)"""
    r"""|(?P<moment>y+|m+|d+|h+|s+)|(?P<code>[0#?.,%/@])|(?P<other>.)""",
    re.IGNORECASE | re.DOTALL,
)
_CONDITION = re.compile(r"(<=|>=|<>|<|>|=)\s*(-?\d+(?:\.\d+)?)")
_CURRENCY = re.compile(r"\$([^-]*)(?:-.*)?")
_LOCAL = frozenset(["mm-dd-yy", "m/d/yy h:mm"])  # built-in: shown as the reader's system writes it
_MONTHS = (
    *("January", "February", "March", "April", "May", "June", "July", "August", "September"),
    *("October", "November", "December"),
)
_DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
_MAX_DIGITS = 30  # of a number that is formatted


class _Token(NamedTuple):
    """A part of a format: its kind (a group of `_TOKEN`, or "literal") and its text."""

    kind: str
    text: str


_POINT, _COMMA, _PERCENT = (_Token("code", sign) for sign in ".,%")


class _Section(NamedTuple):
    """A section of a format, with its condition ("<", "100"), if it has one."""

    tokens: tuple[_Token, ...]
    condition: tuple[str, str] = ("", "")


def shown_number(value: float, code: str) -> str | None:
    """A number as its cell shows it; None if the format is empty, hides it, or is not understood.

    >>> shown_number(1234, "00000"), shown_number(3.1, '#,##0.00 "EUR"')
    ('01234', '3.10 EUR')
    >>> shown_number(5551234567, "(000) 000-0000"), shown_number(-7, "0;(0)")
    ('(555) 123-4567', '(7)')
    """
    sections = _sections(code)
    if not sections or not math.isfinite(value):
        return None
    section, value = _chosen(sections, value)
    kinds = {token.kind for token in section.tokens}
    codes = {token.text for token in section.tokens if token.kind == "code"}
    if kinds & {"moment", "half"} or "@" in codes:
        return None
    if "exponent" in kinds:
        return _scientific(section.tokens, value)
    if "/" in codes:
        return _in_parts(section.tokens, value)
    shown = " ".join(_number(section.tokens, Decimal(repr(value))).split())
    return shown if any(map(str.isalnum, shown)) else None


def _chosen(sections: tuple[_Section, ...], value: float) -> tuple[_Section, float]:
    """The section for a value, and the value without the sign that the section itself shows."""
    if any(section.condition[0] for section in sections):
        for section in sections:
            if _holds(section.condition, value):
                return section, value
    if value < 0 and len(sections) > 1:
        return sections[1], -value
    if value == 0 and len(sections) > 2:
        return sections[2], value
    return sections[0], value


def _holds(condition: tuple[str, str], value: float) -> bool:
    sign, bound = condition
    if not sign:
        return True
    difference = value - float(bound)
    return bool(
        ("=" in sign and difference == 0)
        or ("<" in sign and difference < 0)
        or (">" in sign and difference > 0)
    )


@lru_cache(maxsize=1_000)
def _sections(code: str) -> tuple[_Section, ...]:
    """The sections of a format; empty for the general one."""
    if code.strip().lower() in ("", "general", "@"):
        return ()
    sections: list[_Section] = []
    tokens: list[_Token] = []
    condition = ("", "")
    for match in _TOKEN.finditer(code[:1_000]):
        kind, text = str(match.lastgroup), str(match[match.lastgroup or 0])
        if kind == "other" and text == ";":
            sections.append(_Section(tuple(tokens), condition))
            tokens, condition = [], ("", "")
        elif kind == "bracket":
            bound = _CONDITION.fullmatch(text)
            condition = (bound[1], bound[2]) if bound else condition
            money = _CURRENCY.fullmatch(text)
            tokens += [_Token("literal", money[1])] if money else []
        elif kind == "space":
            tokens.append(_Token("literal", " "))
        elif kind == "quoted":
            tokens.append(_Token("literal", text[1:-1]))
        elif kind != "fill":
            tokens.append(_Token("literal" if kind in ("escaped", "other") else kind, text))
    return (*sections, _Section(tuple(tokens), condition))


def _number(tokens: tuple[_Token, ...], value: Decimal) -> str:
    """A number by the tokens of one section."""
    if any(token.kind == "general" for token in tokens):
        plain = f"{float(value):.15g}"
        return "".join(plain if token.kind == "general" else token.text for token in tokens)
    places = [at for at, token in enumerate(tokens) if _is_place(token)]
    if not places:
        return "".join(token.text for token in tokens if token.kind == "literal")
    point = next((at for at, one in enumerate(tokens) if one == _POINT), places[-1] + 1)
    whole = [at for at in places if at < point]
    decimals = [at for at in places if at > point]
    value *= 100 ** sum(one == _PERCENT for one in tokens)
    value /= 1000 ** sum(_count_commas(tokens, ends[-1]) for ends in (whole, decimals) if ends)
    if abs(value.adjusted()) > _MAX_DIGITS or len(decimals) > _MAX_DIGITS:
        return ""
    rounded = abs(value).quantize(Decimal(1).scaleb(-len(decimals)), ROUND_HALF_UP)
    digits, _, fraction = f"{rounded:f}".partition(".")
    shown = _fraction(tokens, decimals, fraction)
    if any(shown.values()):
        shown[point] = "."
    if whole:
        thousands = _COMMA in tokens[whole[0] : whole[-1]]
        shown |= _spread(tokens, whole, digits.lstrip("0"), thousands=thousands)
    sign = "-" if value < 0 and rounded else ""
    return sign + "".join(
        shown.get(at, token.text if token.kind == "literal" or token == _PERCENT else "")
        for at, token in enumerate(tokens)
    )


def _count_commas(tokens: tuple[_Token, ...], place: int) -> int:
    """The commas right behind a place: each divides the number by a thousand."""
    return sum(1 for _ in takewhile(lambda one: one == _COMMA, tokens[place + 1 :]))


def _scientific(tokens: tuple[_Token, ...], value: float) -> str:
    """A number with an exponent: "1.23E+05"."""
    kinds = [token.kind for token in tokens]
    mantissa = tokens[: kinds.index("exponent")]
    point = mantissa.index(_POINT) if _POINT in mantissa else len(mantissa)
    return f"{value:.{sum(map(_is_place, mantissa[point:]))}E}"


def _in_parts(tokens: tuple[_Token, ...], value: float) -> str | None:
    """A number as a fraction: "1 1/2"; None if the format states what it is divided by."""
    slash = tokens.index(_Token("code", "/"))
    places = sum(map(_is_place, tokens[slash:]))
    if not 0 < places < 5 or abs(value) > 10**15:
        return None
    whole, part = divmod(abs(value), 1)
    found = Fraction(part).limit_denominator(10**places - 1)
    if not any(map(_is_place, tokens[: max(0, slash - places)])):  # without a whole number
        found, whole = found + int(whole), 0.0
    whole, found = (whole + 1, Fraction(0)) if found == 1 and whole else (whole, found)
    number = f"{whole:.0f}" if whole or not found else ""
    text = " ".join(
        filter(None, [number, f"{found.numerator}/{found.denominator}" if found else ""])
    )
    return f"-{text}" if value < 0 else text


def _is_place(token: _Token) -> bool:
    return token.kind == "code" and token.text in "0#?"


def _spread(
    tokens: tuple[_Token, ...], places: list[int], digits: str, *, thousands: bool
) -> dict[int, str]:
    """The digits before the point at their places, from the right; the first takes the rest."""
    zeros = (n for n, at in enumerate(places) if tokens[at].text == "0")
    least = len(places) - next(zeros, len(places))
    digits = digits.rjust(least, "0")
    if thousands and digits:
        digits = f"{int(digits):,}".rjust(least, "0")
        return {places[0]: digits, **dict.fromkeys(places[1:], "")}
    shown: dict[int, str] = {}
    for n, at in enumerate(reversed(places)):
        rest = len(digits) - n
        is_first = n == len(places) - 1
        shown[at] = "" if rest < 1 else digits[:rest] if is_first else digits[rest - 1]
    return shown


def _fraction(tokens: tuple[_Token, ...], places: list[int], digits: str) -> dict[int, str]:
    """The digits behind the point; zeros at the end only where the format asks for them."""
    shown: dict[int, str] = {}
    needed = False
    for at, digit in reversed(list(zip(places, digits, strict=False))):
        needed = needed or digit != "0" or tokens[at].text == "0"
        shown[at] = digit if needed else ""
    return shown


def shown_moment(value: datetime | date | time, code: str, iso: str) -> str:
    """A date as its cell shows it, followed by `iso`; `iso` alone if they are the same.

    >>> shown_moment(date(2024, 3, 7), "d. mmmm yyyy", "2024-03-07")
    '7. March 2024 (2024-03-07)'
    >>> shown_moment(date(2024, 3, 7), "yyyy-mm-dd", "2024-03-07")
    '2024-03-07'
    """
    sections = _sections(code)
    if not sections or code.lower() in _LOCAL:
        return iso
    if isinstance(value, time):
        if not any(token.kind == "half" for token in sections[0].tokens):
            return iso
        value = datetime.combine(date(1900, 1, 1), value)
    shown = " ".join(_moment(sections[0].tokens, value).split())
    dashed = shown.replace("T", " ").replace("/", "-")
    is_iso = dashed[:10] == iso[:10] and (iso.startswith(dashed) or dashed.startswith(iso))
    return iso if is_iso or not any(map(str.isalnum, shown)) else f"{shown} ({iso})"


def _moment(tokens: tuple[_Token, ...], value: date) -> str:
    moment = value if isinstance(value, datetime) else datetime.combine(value, time())
    codes = [(token.kind, token.text.lower()) for token in tokens]
    moments = [text for kind, text in codes if kind == "moment"]
    half = any(kind == "half" for kind, _ in codes)
    pieces: list[str] = []
    seen = 0
    for token, (kind, text) in zip(tokens, codes, strict=True):
        if kind == "half":
            pieces.append("AM" if moment.hour < 12 else "PM")
        elif kind == "moment":
            before = moments[seen - 1] if seen else ""
            after = moments[seen + 1] if seen + 1 < len(moments) else ""
            minutes = text in ("m", "mm") and (before[:1] == "h" or after[:1] == "s")
            pieces.append(_part(moment, "n" * len(text) if minutes else text, half=half))
            seen += 1
        elif kind in ("literal", "code"):
            pieces.append(token.text)
    return "".join(pieces)


def _part(moment: datetime, code: str, *, half: bool) -> str:
    """A part of a date by its code; `n` are minutes."""
    if code[0] == "y":
        return f"{moment.year:04}" if len(code) > 2 else f"{moment.year % 100:02}"
    if code[:3] == "mmm":
        name = _MONTHS[moment.month - 1]
        return name[:3] if len(code) == 3 else name if len(code) == 4 else name[0]
    if code[:3] == "ddd":
        name = _DAYS[moment.weekday()]
        return name[:3] if len(code) == 3 else name
    hour = (moment.hour - 1) % 12 + 1 if half else moment.hour
    numbers = {"m": moment.month, "d": moment.day, "h": hour, "n": moment.minute}
    number = numbers.get(code[0], moment.second)
    return f"{number:02}" if len(code) > 1 else str(number)


__all__ = ["shown_moment", "shown_number"]
