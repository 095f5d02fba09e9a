"""The OpenAPI page: all routes with their fields, in HTML that loads nothing from elsewhere."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from html import escape
from typing import Any

Schema = Mapping[str, Any]


def openapi_page(document: Schema) -> str:
    """The page of an OpenAPI document."""
    body = "\n".join(_sections(document))
    info = document["info"]
    title = escape(f"{info['title']} {info['version']}")
    intro = escape(info.get("description", ""))
    return _HTML.format(title=title, intro=intro, body=body)


def _sections(document: Schema) -> Iterator[str]:
    """The HTML of each route, under a heading for each tag."""
    tag = ""
    for path, methods in document["paths"].items():
        for method, route in methods.items():
            if route.get("tags", [""])[0] != tag:
                tag = route["tags"][0]
                yield f"<h2>{escape(tag)}</h2>"
            yield _route(document, path, method, route)


def _route(document: Schema, path: str, method: str, route: Schema) -> str:
    content = route.get("requestBody", {}).get("content", {}).get("application/json", {})
    schema = _resolved(document, content.get("schema", {}))
    required = schema.get("required", [])
    rows = [
        _row(document, name, one, name in required)
        for name, one in schema.get("properties", {}).items()
    ]
    rows += [
        _row(document, one["name"], one.get("schema", {}), one.get("required", False))
        for one in route.get("parameters", [])
    ]
    table = f"<table>{''.join(rows)}</table>" if rows else ""
    summary = _code(route.get("summary", ""))
    name = f"{method.upper()} {path}"
    return f"<section><h3><code>{escape(name)}</code></h3><p>{summary}</p>{table}</section>"


def _row(document: Schema, name: str, schema: Schema, required: bool) -> str:
    default = "required" if required else _default(schema)
    cells = (_type(document, schema), default, schema.get("description", ""))
    told = "".join(f"<td>{_code(cell)}</td>" for cell in cells)
    return f"<tr><th><code>{escape(name)}</code></th>{told}</tr>"


def _default(schema: Schema) -> str:
    if schema.get("default") in (None, "", []):
        return ""
    return f"default {json.dumps(schema['default'])}"


def _type(document: Schema, schema: Schema) -> str:
    """A schema's type in words.

    >>> _type({}, {"anyOf": [{"type": "array", "items": {"type": "string"}}, {"type": "null"}]})
    'list of string, or null'
    """
    if several := schema.get("anyOf"):
        return ", or ".join(_type(document, one) for one in several)
    if "enum" in schema:
        return ", ".join(schema["enum"])
    if "$ref" in schema:
        fields = _resolved(document, schema).get("properties", {})
        return f"object: {', '.join(fields)}"
    kind = schema.get("type", "")
    if kind == "array":
        return f"list of {_type(document, schema.get('items', {}))}"
    return ", or ".join(kind) if isinstance(kind, list) else kind


def _resolved(document: Schema, schema: Schema) -> Schema:
    name = schema.get("$ref", "").rpartition("/")[2]
    found: Schema = document["components"]["schemas"][name] if name else schema
    return found


def _code(text: str) -> str:
    """HTML of a text in which backticks mark code."""
    parts = escape(text).split("`")
    return "".join(f"<code>{part}</code>" if at % 2 else part for at, part in enumerate(parts))


_HTML = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>
:root {{ color-scheme: light dark; }}
body {{ font: 1rem/1.5 system-ui, sans-serif; max-width: 52rem; margin: 2rem auto;
  padding: 0 1.5rem; }}
h3 {{ margin: 1.5rem 0 0; }}
p {{ margin: .25rem 0; }}
table {{ border-collapse: collapse; font-size: .9rem; }}
th, td {{ text-align: left; vertical-align: top; padding: .15rem 1rem .15rem 0; }}
th {{ font-weight: normal; }}
</style>
<h1>{title}</h1>
<p>{intro}</p>
<p>Every request but those to <code>/healthz</code> and to this page needs the header
<code>Authorization: Bearer TOKEN</code>. The same as JSON:
<a href="/openapi.json">/openapi.json</a>.</p>
{body}
</html>
"""

__all__ = ["openapi_page"]
