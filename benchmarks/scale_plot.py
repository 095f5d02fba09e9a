"""A plot of a benchmark as SVG: panels side by side, both axes logarithmic."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

_WIDTH, _HEIGHT = 300, 240
_LEFT, _TOP, _RIGHT, _BOTTOM = 60, 34, 36, 92
_COLOURS = ("#1f6feb", "#d1480f", "#1a7f37", "#8250df", "#6e7781")
_LINE = 15


@dataclass(frozen=True)
class Panel:
    """Lines by name, each of points (x, y) above 0."""

    title: str
    lines: Mapping[str, Sequence[tuple[float, float]]]


def svg(panels: Sequence[Panel], x_title: str) -> str:
    """The panels as an SVG document."""
    width = len(panels) * (_LEFT + _WIDTH + _RIGHT)
    height = _TOP + _HEIGHT + _BOTTOM
    drawn = "".join(
        f'<g transform="translate({at * (_LEFT + _WIDTH + _RIGHT)} 0)">{_drawn(one, x_title)}</g>'
        for at, one in enumerate(panels)
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
        f'width="{width}" height="{height}" font-family="sans-serif" font-size="12" '
        f'fill="#24292f"><rect width="{width}" height="{height}" fill="#ffffff"/>{drawn}</svg>\n'
    )


def _drawn(panel: Panel, x_title: str) -> str:
    points = [point for line in panel.lines.values() for point in line]
    xs, ys = _decades([x for x, _ in points]), _decades([y for _, y in points])
    parts = [f'<text x="{_LEFT}" y="20" font-weight="bold">{escape(panel.title)}</text>']
    for power in range(ys[0], ys[1] + 1):
        y = _y(10.0**power, ys)
        parts.append(_grid(_LEFT, y, _LEFT + _WIDTH, y))
        parts.append(_text(_LEFT - 6, y + 4, _number(power), "end"))
    for power in range(xs[0], xs[1] + 1):
        x = _x(10.0**power, xs)
        parts.append(_grid(x, _TOP, x, _TOP + _HEIGHT))
        parts.append(_text(x, _TOP + _HEIGHT + 16, _number(power), "middle"))
    parts.append(_text(_LEFT + _WIDTH / 2, _TOP + _HEIGHT + 32, x_title, "middle"))
    for at, (name, line) in enumerate(panel.lines.items()):
        colour = _COLOURS[at % len(_COLOURS)]
        places = [(_x(x, xs), _y(y, ys)) for x, y in line]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
        parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
        parts += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{colour}"/>' for x, y in places]
        left = _LEFT + at % 2 * _WIDTH / 2
        top = _TOP + _HEIGHT + 50 + at // 2 * _LINE
        parts.append(f'<rect x="{left}" y="{top - 8}" width="10" height="10" fill="{colour}"/>')
        parts.append(_text(left + 15, top + 1, name, "start"))
    return "".join(parts)


def _decades(values: Sequence[float]) -> tuple[int, int]:
    """The powers of ten around the values; at least one decade."""
    low = math.floor(math.log10(min(values)) + 1e-9)
    return low, max(low + 1, math.ceil(math.log10(max(values)) - 1e-9))


def _x(value: float, powers: tuple[int, int]) -> float:
    return _LEFT + _WIDTH * (math.log10(value) - powers[0]) / (powers[1] - powers[0])


def _y(value: float, powers: tuple[int, int]) -> float:
    share = (math.log10(value) - powers[0]) / (powers[1] - powers[0])
    return _TOP + _HEIGHT * (1 - share)


def _number(power: int) -> str:
    """A power of ten as it is read.

    >>> [_number(power) for power in (-1, 0, 4, 6)]
    ['0.1', '1', '10,000', '1,000,000']
    """
    return f"{10**power:,}" if power >= 0 else f"{10.0**power:g}"


def _grid(x: float, y: float, to_x: float, to_y: float) -> str:
    place = f'x1="{x:.1f}" y1="{y:.1f}" x2="{to_x:.1f}" y2="{to_y:.1f}"'
    return f'<line {place} stroke="#d0d7de"/>'


def _text(x: float, y: float, text: str, anchor: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'


__all__ = ["Panel", "svg"]
