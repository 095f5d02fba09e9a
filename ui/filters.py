"""The filters in a row below the search box: small menus, and a chip for each restriction."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any

import streamlit as st

from ui import controls, shortcuts
from ui.highlighting import escape_markdown, replace_unprintable
from ui.page_query import MODES, RESULTS, PageQuery, folder_names
from ui.resources import SharedIndex

CSS = """<style>
.st-key-filters-row { gap: .15rem .1rem; align-items: center; }
.st-key-filters-row > * { flex: 0 0 fit-content; width: fit-content; max-width: 100%; }
.st-key-filters-row button { min-height: 1.8rem; padding: 0 .45rem; }
:is(.st-key-filters-row, .st-key-picker) button:is(:hover, :focus, :active, [aria-expanded=true]) {
  color: inherit; }
.st-key-filters-row button p { font-size: .88rem; white-space: nowrap; }
.st-key-chips-row { gap: .3rem; align-items: center; }
.st-key-chips-row button { min-height: 1.6rem; padding: 0 .6rem; border-radius: 1rem; }
.st-key-chips-row button p { font-size: .85rem; overflow-wrap: anywhere; }
</style>"""

_PATH_HELP = (
    "A part of the path, such as `reports`, or a pattern: `*.pdf` any PDF, `2024/*` the files of "
    "a folder, `reports/**/*.md` those of all its subfolders too."
)
_PAGES_HELP = "Only documents that have pages, such as PDFs, are searched then."
_DATES_HELP = "A year, a month or a day: 2024, 2024-03, 7.3.2024. Documents without a date are out."

_MODES = """\
| search by | finds |
|---|---|
| Hybrid | by meaning and by words together; usually best |
| Meaning | passages that say the same in other words |
| Keywords | the words themselves, whatever their ending, without the model |
"""

_SYNTAX = """\
| in the search box | finds |
|---|---|
| `"access control"` | these words side by side, in any of their forms |
| `+budget` `-draft` | passages with, and without, the word; also `-"first draft"` |
| `file:reports` `file:*.pdf` | a part of the path, or a pattern; also `file:"my notes"` |
| `type:pdf` `page:3-7` | a format or an ending; a page or a range |
| `date:2023..2024` | the document's date; `after:2023` from then on, `before:2024-03` earlier |
| `-file:old` `-type:md` | what is not there |

Everything else is plain text. A word that occurs nowhere is taken for a typing error.
"""

_LONG = 12
"""Values in a menu that are shown without scrolling."""


def show_filters(shared: SharedIndex, page_query: PageQuery) -> None:
    """Show the menus, each with a fixed name, in the current row."""
    st.html(CSS)
    counts = shared.facets(page_query)
    if len(counts.folders) > 1 or page_query.folders:
        named = folder_names(dict.fromkeys([*counts.folders, *page_query.folders]))
        with _menu("Folder"):
            _values("folders", counts.folders, page_query.folders, named.__getitem__)
    with _menu("Format"):
        _values("formats", counts.formats, page_query.formats)
    if counts.years or page_query.years or page_query.since or page_query.until:
        with _menu("Date"):
            _values("years", counts.years, page_query.years)
            _dates(shared)
    with _menu("Pages"):
        _pages()
    with _menu("More"):
        _more(page_query)


def show_help() -> None:
    """Show the help for searching and for the keys."""
    with st.popover("Help", key="help", type="tertiary", icon=":material/help:"):
        st.markdown(f"{_SYNTAX}\n\n{_MODES}\n\n{shortcuts.HELP}")


def show_chips(page_query: PageQuery) -> None:
    """Show what restricts the search, in the current row; a click on one removes it."""
    chips = page_query.chips()
    for at, (label, without) in enumerate(chips):
        st.button(
            escape_markdown(replace_unprintable(label)),
            key=f"chip-{at}",
            icon=":material/close:",
            icon_position="right",
            help="Remove this filter",
            on_click=controls.set_query,
            args=(without,),
        )
    if len(chips) > 1:
        st.button(
            "Remove all",
            key="clear",
            on_click=controls.set_query,
            args=(
                replace(page_query.without_filters(), mode=PageQuery.mode_default(), strong=False),
            ),
            type="tertiary",
        )


def _menu(name: str) -> Any:
    return st.popover(name, key=f"menu-{name.lower()}", type="tertiary")


def _values(
    field: str,
    counts: Mapping[str, int],
    chosen: Iterable[str],
    called: Callable[[str], str] = str,
) -> None:
    """A box for each value, with the number of documents that pass the other filters.

    Chosen values stay in the list even if no document has them any more.
    """
    values = list(dict.fromkeys([*counts, *chosen]))
    height: Any = 380 if len(values) > _LONG else "content"
    with st.container(height=height, border=False, gap="xxsmall"):
        for value in values:
            key = controls.menu_key(f"{field}:{value}")
            st.session_state[key] = value in chosen
            st.checkbox(
                escape_markdown(f"{replace_unprintable(called(value))} · {counts.get(value, 0):,}"),
                key=key,
                on_change=_toggle,
                args=(field, value, key),
            )


def _toggle(field: str, value: str, key: str) -> None:
    """Add or remove a value of a filter; a callback."""
    if key != controls.menu_key(f"{field}:{value}"):
        return
    others = [one for one in st.session_state.get(field, ()) if one != value]
    chosen = st.session_state[key]
    st.session_state[field] = [*others, value] if chosen else others


def _pages() -> None:
    left, right = st.columns(2)
    settings: dict[str, Any] = {"min_value": 1, "step": 1, "placeholder": "any", "value": None}
    left.number_input(
        "From page", **controls.field_widget("first_page"), help=_PAGES_HELP, **settings
    )
    right.number_input("To page", **controls.field_widget("last_page"), **settings)


def _dates(shared: SharedIndex) -> None:
    overview = shared.overview()
    left, right = st.columns(2)
    left.text_input(
        "Dated from",
        **controls.field_widget("since"),
        placeholder=overview.first_date[:10],
        help=_DATES_HELP,
    )
    right.text_input(
        "Dated to", **controls.field_widget("until"), placeholder=overview.last_date[:10]
    )


def _more(page_query: PageQuery) -> None:
    st.segmented_control(
        "Search by",
        list(MODES),
        **controls.field_widget("mode"),
        format_func=lambda mode: MODES[mode],
        required=True,
    )
    st.selectbox("Results", sorted({*RESULTS, page_query.k}), **controls.field_widget("k"))
    st.text_input(
        "Path",
        **controls.field_widget("path"),
        placeholder="*.pdf, reports/**, notes",
        help=_PATH_HELP,
    )


__all__ = ["show_chips", "show_filters", "show_help"]
