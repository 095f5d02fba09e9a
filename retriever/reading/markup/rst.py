"""reStructuredText: headings as `# …`, tables as rows, code fenced.

docutils parses the source with includes, raw markup and file access switched off: no file is read,
no program runs, nothing is fetched. docutils does not know the directives and roles of Sphinx and
its plug-ins (`:class:`, `.. automodule::`); their text is kept. Markup that cannot be parsed is
kept unchanged.

Comments, link targets and directive options but captions are left out. Footnotes keep their place.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Iterator
from typing import Any

from retriever.reading.extras import load
from retriever.reading.facts import clean_author, clean_title, iso_date, scalars
from retriever.reading.markup.rst_blocks import OPTIONS, Blocks
from retriever.reading.pages import (
    MAX_CHARACTERS,
    drop_controls,
    error_text,
    make_page,
    too_long_page,
    unify_lines,
)
from retriever.reading.plain.text import decode_text
from retriever.types import Document

_MAX_PARSED = 2_000_000
"""Characters that are parsed, at about 200,000 a second; a longer text is kept unchanged."""

_MAX_MARKS = 300_000_000
"""Limit for the parsing time: markup characters times text length, summed over paragraphs.

docutils' time grows with it, up to about 10 s at this limit. Ordinary text has a thousandth of it.
"""

_LONG_WORD = re.compile(r"\S{400,}+")
_SIGN = re.compile(r"\W")
_EFFORT_PER_SIGN = 10  # measured: at the limit a word of one letter and one sign takes 7 s

_MAX_NAMES = 300  # names of unknown roles and directives in one file
_DIRECTIVE = re.compile(
    r"^[ \t]*\.\.[ \t]+(?:\|[^|\n]+\|[ \t]+)?([A-Za-z][\w.:+-]*?)[ \t]?::", re.M
)
_ROLE = re.compile(r":([A-Za-z][\w.:+-]{0,60}):`|`:([A-Za-z][\w.:+-]{0,60}):(?![\w`])")
_ROLE_TARGET = re.compile(r"(?s)(.*\S)\s*<[^<>]*>\Z")
_SETTINGS: dict[str, Any] = {
    "file_insertion_enabled": False,
    "raw_enabled": False,
    "_disable_config": True,
    "report_level": 5,  # nothing is printed
    "halt_level": 6,  # no message raises
    "warning_stream": False,
    "line_length_limit": 10 * _MAX_PARSED,
    "smart_quotes": False,
    "syntax_highlight": "none",
    "math_output": "LaTeX",
    "tab_width": 8,
}


def read_rst(data: bytes, name: str) -> Document:
    """Read a reStructuredText file into one page."""
    if len(data) > 4 * MAX_CHARACTERS:
        return Document(name, "rst", (too_long_page(None, f"{len(data):,} bytes"),))
    source = drop_controls(unify_lines(decode_text(data)))
    tree, reason = _parse(source)
    if tree is None:
        page = make_page(None, source, "nothing but blanks in it", reason)
        return Document(name, "rst", (page,))
    blocks = Blocks()
    text = blocks.text(tree)
    return Document(
        path=name,
        format="rst",
        pages=(make_page(None, text, "nothing but blanks or comments in it"),),
        title=clean_title(blocks.title, name),
        author=clean_author(blocks.fields.get("author") or blocks.fields.get("authors")),
        date=iso_date(re.sub(r"\$Date: (\S+)[^$]*\$", r"\1", blocks.fields.get("date", ""))),
        metadata=scalars({key: blocks.fields.get(key) for key in ("keywords", "description")}),
        left_out=tuple(blocks.left_out),
    )


def _parse(source: str) -> tuple[Any, str]:
    """Parse the source; None and a reason if that fails."""
    if len(source) > _MAX_PARSED or _effort(source) > _MAX_MARKS:
        return None, f"its {len(source):,} characters were taken as they stand"
    frontend = _docutils("frontend")
    utils = _docutils("utils")
    parser = _docutils("parsers.rst").Parser()
    settings = frontend.get_default_settings(parser)
    for key, value in _SETTINGS.items():
        setattr(settings, key, value)
    tree = utils.new_document("document", settings)
    _know_names(source)
    try:
        parser.parse(source, tree)
    except Exception as error:  # noqa: BLE001 - a parser's fault must not cost the text
        return None, f"its markup could not be read ({error_text(error)}): the text is as it stands"
    return tree, ""


def _effort(source: str) -> int:
    marks = sum(
        len(block) * sum(map(block.count, "*`|_")) for block in re.split(r"\n[ \t]*\n", source)
    )
    # docutils looks for the end of a name behind each of a word's signs.
    signs = (len(word[0]) * len(_SIGN.findall(word[0])) for word in _LONG_WORD.finditer(source))
    return marks + _EFFORT_PER_SIGN * sum(signs)


def _docutils(part: str) -> Any:
    load("docutils", "markup", "reStructuredText files")
    return importlib.import_module(f"docutils.{part}")


def _know_names(source: str) -> None:
    """Register unknown directives and roles, so that docutils keeps their text."""
    directives = _docutils("parsers.rst.directives")
    roles = _docutils("parsers.rst.roles")
    english = _docutils("parsers.rst.languages.en")
    for match in _some(_DIRECTIVE.finditer(source)):
        directive = match[1].lower()
        known = directive in english.directives and directive not in _VERBATIM
        if not known and directive not in directives._directives:
            directives.register_directive(directive, _plain_directive())
    for match in _some(_ROLE.finditer(source)):
        role = (match[1] or match[2]).lower()
        if role not in english.roles and role not in roles._roles:
            roles.register_local_role(role, _plain_role)


def _some(matches: Iterator[re.Match[str]]) -> Iterator[re.Match[str]]:
    seen: set[str] = set()
    for match in matches:
        if match[0] not in seen and len(seen) < _MAX_NAMES:
            seen.add(match[0])
            yield match


def _plain_directive() -> Any:
    """A directive whose argument is a paragraph and whose content is parsed as usual."""
    rst = _docutils("parsers.rst")
    nodes = _docutils("nodes")

    # The module is loaded by name, since docutils is optional: for mypy its class is Any.
    class Plain(rst.Directive):  # type: ignore[misc, name-defined]
        has_content = True
        optional_arguments = 1
        final_argument_whitespace = True
        option_spec = _AnyOption()

        def run(self) -> list[Any]:
            return _directive_nodes(self, nodes)

    return Plain


class _AnyOption(dict[str, Any]):
    """Accepts every option of a directive."""

    def __getitem__(self, key: str) -> Any:
        return lambda value: value

    def __bool__(self) -> bool:
        return True


def _directive_nodes(directive: Any, nodes: Any) -> list[Any]:
    found = _option_nodes(directive, nodes)
    if directive.name in _VERBATIM:
        source = "\n".join(directive.content)
        return [*found, nodes.literal_block(source, source, classes=directive.arguments[:1])]
    argument = " ".join(directive.arguments)
    if argument and directive.name not in _NAMES_ONLY:
        inline, messages = directive.state.inline_text(argument, directive.lineno)
        found += [nodes.paragraph(argument, "", *inline), *messages]
    if not directive.content:
        return found
    inner = nodes.container()
    directive.state.nested_parse(directive.content, directive.content_offset, inner)
    return [*found, inner]


def _option_nodes(directive: Any, nodes: Any) -> list[Any]:
    """The caption among the options as a paragraph; the others as a comment, which is left out."""
    options = {key: value for key, value in directive.options.items() if value}
    caption = options.pop("caption", "")
    found = [nodes.paragraph(caption, caption)] if caption else []
    if options:
        text = "\n".join(f"{key}: {value}" for key, value in options.items())
        found.append(nodes.comment(text, text, classes=[OPTIONS]))
    return found


_NAMES_ONLY = frozenset(
    ["toctree", "index", "highlight", "tabularcolumns", "only", "default-domain", "literalinclude"]
)
"""Sphinx directives whose argument is a name or an address, not text."""

_VERBATIM = frozenset(
    [
        *["code", "code-block", "sourcecode", "productionlist", "graphviz", "mermaid", "testcode"],
        *["doctest", "prompt", "ipython", "testsetup", "testoutput", "jupyter-execute"],
    ]
)
"""Directives whose content is code; docutils' own would refuse Sphinx's options."""


def _plain_role(
    name: str, rawtext: str, text: str, lineno: int, inliner: Any, *rest: Any, **more: Any
) -> tuple[list[Any], list[Any]]:
    """The text of a role: "title <target>" gives the title, "~package.Class" the name."""
    nodes = _docutils("nodes")
    shown = _ROLE_TARGET.sub(r"\1", text.replace("\x00", "\\")).lstrip("~!")
    return [nodes.inline(rawtext, shown)], []


__all__ = ["read_rst"]
