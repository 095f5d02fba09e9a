"""The text of charts and diagrams (SmartArt) in Office files, by their XML.

A chart gives its titles and its data by category, as the file stores them for display.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

from lxml import etree

from retriever.reading.archives import attribute, local_name
from retriever.reading.tables import rows

_MAX_SERIES = 50  # of one chart
_MAX_POINTS = 500  # of one series
_Points = dict[int, str]  # texts by the number of the point


def chart_lines(chart: etree._Element) -> list[str]:
    """The titles of a chart and of its axes, then its data: "2023 | Revenue: 10.5"."""
    titles = [line for title in chart.iter("{*}title") if (line := words(title))]
    return [*titles, *_data(chart)]


def diagram_lines(model: etree._Element) -> list[str]:
    """The texts of a diagram, in document order, as a list."""
    texts = (words(point) for point in model.iterfind(".//{*}pt"))
    return [f"- {text}" for text in texts if text]


def _data(chart: etree._Element) -> Iterator[str]:
    for plot in chart.iterfind(".//{*}plotArea/*"):
        series = [_series(one) for one in islice(plot.iterfind("{*}ser"), _MAX_SERIES)]
        categories = next((found for _, found, _ in series if found), {})
        places = {at for _, _, values in series for at in values} | categories.keys()
        for at in islice(sorted(places), _MAX_POINTS):
            points = [(name, values.get(at, "")) for name, _, values in series]
            yield rows.record([("", categories.get(at, "")), *points])


def _series(series: etree._Element) -> tuple[str, _Points, _Points]:
    """The name of a series, its categories and its values."""
    name = " ".join(value.text or "" for value in series.iterfind("{*}tx//{*}v"))
    values = _points(series, "val") or _points(series, "yVal")
    numbers = {at: _number(value) for at, value in values.items()}
    return " ".join(name.split()), _points(series, "cat") or _points(series, "xVal"), numbers


def _points(series: etree._Element, kind: str) -> _Points:
    """The texts of a series' points; of categories in levels, the outer ones first."""
    levels = series.findall(f"{{*}}{kind}//{{*}}lvl") or series.findall(f"{{*}}{kind}")
    found: _Points = {}
    for level in levels:  # the innermost first
        own = dict(_level(level))
        above = ""
        for at in sorted(found or own):
            above = own.get(at, above)
            found[at] = f"{above} {found[at]}".strip() if at in found else above
    return found


def _level(level: etree._Element) -> Iterator[tuple[int, str]]:
    for point in level.iterfind(".//{*}pt"):
        index = attribute(point, "idx")
        text = " ".join("".join(value.text or "" for value in point.iterfind("{*}v")).split())
        if index.isdecimal() and len(index) < 9 and text:
            yield int(index), text


def _number(value: str) -> str:
    """A stored number with Excel's 15 digits; other values as they stand."""
    try:
        return f"{float(value):.15g}"
    except ValueError:
        return value


def words(parent: etree._Element) -> str:
    """The text of all paragraphs below an element, on one line."""
    texts: list[str] = []
    for element in parent.iter():
        kind = local_name(element)
        if kind == "t":
            texts.append(element.text or "")
        elif kind in ("p", "br", "tab"):
            texts.append(" ")
    return " ".join("".join(texts).split())
