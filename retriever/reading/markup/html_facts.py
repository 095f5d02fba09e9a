"""Title, author and date of a web page, from meta elements, JSON-LD and headings."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import Any

from lxml import etree

from retriever.reading.facts import clean_author, clean_fact, clean_title, iso_date, scalars
from retriever.types import Scalar

_TITLES = ("citation_title", "dc.title", "dcterms.title", "og:title", "twitter:title")
_AUTHORS = ("article:author", "author", "citation_author", "dc.creator", "dcterms.creator", "byl")
_DATES = (
    "article:published_time",
    "citation_publication_date",
    "citation_date",
    "datepublished",
    "dc.date",
    "dcterms.date",
    "dc.date.issued",
    "date",
    "pubdate",
    "publish-date",
    "og:published_time",
    "article:modified_time",
)
_MAX_JSON = 1_000_000


@dataclass(frozen=True, slots=True)
class PageFacts:
    """The metadata of a page."""

    title: str = ""
    author: str = ""
    date: str = ""
    metadata: dict[str, Scalar] = field(default_factory=dict)


def page_facts(root: etree._Element, name: str) -> PageFacts:
    """The metadata of the page; missing values are empty."""
    meta = _meta(root)
    linked = _json_ld(root)
    dates = [iso_date(value) for key in _DATES for value in meta.get(key, [])]
    dates += [iso_date(linked.get("datePublished")), *_times(root)]
    authors = next((meta[key] for key in _AUTHORS if key in meta), [])
    names = [value for value in authors if not value.startswith(("http:", "https:"))]
    return PageFacts(
        title=_title(root, meta, linked, name),
        author=clean_author(", ".join(names) or _names(linked.get("author"))),
        date=next(filter(None, dates), ""),
        metadata=scalars(
            {
                "description": next(iter(meta.get("description", [])), None),
                "keywords": next(iter(meta.get("keywords", [])), None),
                "language": root.get("lang") or root.get("xml:lang"),
            }
        ),
    )


def _title(
    root: etree._Element, meta: dict[str, list[str]], linked: dict[str, Any], name: str
) -> str:
    """The `<title>` without the site's name, if the page shows the shorter form."""
    element = next((e for e in root.iter("title") if e.getparent().tag != "svg"), None)
    full = clean_title("".join(element.itertext()) if element is not None else "", name)
    stated = [value for key in _TITLES for value in meta.get(key, [])]
    stated += [clean_fact(linked.get("headline"))]
    headings = [clean_title("".join(h1.itertext()), name) for h1 in root.iter("h1")]
    titles = list(filter(None, (clean_title(value, name) for value in stated)))
    shorter = [title for title in [*titles, *headings] if title and _begins(full, title)]
    agreed = [title for title in titles if title in headings]
    return next(filter(None, [*shorter, *agreed, full, *titles, *headings]), "")


def _begins(full: str, title: str) -> bool:
    """Whether `full` is `title` followed by a site's name."""
    return re.match(re.escape(title) + r"\s*[|\-–—:·»•]", full) is not None


def _meta(root: etree._Element) -> dict[str, list[str]]:
    """The contents of all meta elements by lower-case name, property or itemprop."""
    found: dict[str, list[str]] = {}
    for element in root.iter("meta"):
        content = clean_fact(element.get("content"))
        for attribute in ("name", "property", "itemprop"):
            key = (element.get(attribute) or "").strip().lower()
            key = key.removeprefix("og:") if key.startswith("og:article:") else key
            if key and content:
                found.setdefault(key, []).append(content)
    return found


def _json_ld(root: etree._Element) -> dict[str, Any]:
    """The first JSON-LD object with a headline, an author or a date."""
    for element in root.iter("script"):
        if (element.get("type") or "").lower() != "application/ld+json":
            continue
        try:
            data = json.loads((element.text or "")[:_MAX_JSON])
        except (ValueError, RecursionError):
            continue
        for item in _objects(data):
            if any(key in item for key in ("headline", "author", "datePublished")):
                return item
    return {}


def _objects(data: object) -> list[dict[str, Any]]:
    if isinstance(data, dict):
        graph = data.get("@graph")
        return [data, *_objects(graph)] if isinstance(graph, list) else [data]
    if isinstance(data, list):
        return [item for item in data if isinstance(item, dict)]
    return []


def _names(author: object) -> str:
    people = author if isinstance(author, list) else [author]
    names = [person.get("name") if isinstance(person, dict) else person for person in people]
    return ", ".join(name for name in names if isinstance(name, str))


def _times(root: etree._Element) -> list[str]:
    """The dates of `<time>` elements marked as publication dates."""
    return [
        iso_date(element.get("datetime"))
        for element in root.iter("time")
        if element.get("pubdate") is not None or element.get("itemprop") == "datePublished"
    ]
