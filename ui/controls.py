"""The search box, the search options and the filters; the page's address keeps their values.

Each widget's key is the name of the field of `PageQuery` that it sets.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, replace
from typing import Any
from urllib.parse import quote

import streamlit as st

from ui import shortcuts
from ui.highlighting import replace_unprintable
from ui.page_query import MODES, RESULTS, PageQuery, folder_name
from ui.resources import SharedIndex

_PATH_HELP = (
    "A part of the path, such as `reports`, or a pattern: `*.pdf` any PDF, `2024/*` the files of "
    "a folder, `reports/**/*.md` those of all its subfolders too."
)

_DIVERSITY_HELP = "0: the best first. More: results less like those above them."
_FOLD_HELP = (
    "Passages that say the same are one result, and those that follow each other are read as one. "
    "Otherwise every passage stands by itself."
)

_NAME_INDEX = """(name => {
  const at = new URL(window.location.href);
  if (at.searchParams.has("index")) return;
  const query = at.search ? `${at.search}&` : "?";
  history.replaceState(history.state, "", `${at.pathname}${query}index=${name}${at.hash}`);
})"""

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


def arrived_by_address(page: str) -> bool:
    """Whether the address decides: the visitor just arrived at `page`, or went back or forward.

    If a widget has changed too, the address is out of date and the widgets decide. They also
    decide for a visitor who comes from another page by an address without parameters.
    """
    seen = st.session_state.get("seen")
    if seen is None:
        return True
    if seen["page"] != page:
        return bool(_address())
    return bool(seen["address"] != _address() and seen["widgets"] == _widgets())


def restore_widgets(*, arrived: bool) -> None:
    """Set the widgets from the address if the visitor `arrived`, else to their last values."""
    if arrived:
        _set_widgets(PageQuery.from_params(_address()))
    elif "q" not in st.session_state:
        _set_widgets(st.session_state.get("asked", PageQuery()))


def current_query() -> PageQuery:
    """The query of the widgets' present values."""
    # A widget that is not shown (dates, if no document has one) has no value.
    values = {
        name: st.session_state.get(name, value) for name, value in asdict(PageQuery()).items()
    }
    for name in ("formats", "folders", "years", "weights", "marks"):
        values[name] = tuple(values[name] or ())
    for name in ("q", "path", "since", "until"):
        values[name] = (values[name] or "").strip()
    values["mode"] = values["mode"] or PageQuery.mode_default()
    values["diversity"] = round(values["diversity"], 2)  # as in the address
    if st.session_state.get("weighed") != values["q"]:
        values["weights"] = ()  # they belong to another query's words
    return PageQuery(**values)


def update_address(page_query: PageQuery, index: str, default: str) -> None:
    """Make the page's address the link to this query of this index.

    An address with the same meaning stays a single step of "back": see `_name_index`.
    """
    now = _address()
    if (PageQuery.from_params(now), now.get("index", [default])[-1]) != (page_query, index):
        st.query_params.from_dict({**page_query.to_params(), **({"index": index} if index else {})})
    else:
        _name_index(index)
    st.session_state["asked"] = page_query


def update_address_index(index: str, default: str) -> None:
    """Put the index into the address of a page without a query, unless it is there already."""
    if index and _address().get("index", [default])[-1] != index:
        st.query_params["index"] = index
    else:
        _name_index(index)


def _name_index(index: str) -> None:
    """Add the index to an address that implies it, so that each link names it.

    The step is replaced: one more, with the same meaning, would be a trap on the way back.
    """
    if index and "index" not in st.query_params:
        name = json.dumps(quote(index, safe=""))
        st.html(f"<script>{_NAME_INDEX}({name})</script>", unsafe_allow_javascript=True)


def remember_visit(page: str) -> None:
    """Remember address and widgets of this visit to `page`, to recognise the next step."""
    st.session_state["seen"] = {"page": page, "address": _address(), "widgets": _widgets()}


def _address() -> dict[str, list[str]]:
    return {name: st.query_params.get_all(name) for name in st.query_params}


def _widgets() -> tuple[PageQuery, str | None]:
    return current_query(), st.session_state.get("index")


def show_controls(shared: SharedIndex) -> PageQuery:
    """Show the search box, the modes, the filters and the help; returns the query."""
    st.text_input(
        "Search your documents",
        key="q",
        type="search",
        placeholder="Ask in your own words, then press Enter",
        label_visibility="collapsed",
    )
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        st.segmented_control(
            "Search by",
            list(MODES),
            key="mode",
            format_func=lambda mode: MODES[mode],
            required=True,
            label_visibility="collapsed",
        )
        with st.popover(
            _filters_label(current_query()), key="filters", icon=":material/tune:", width="content"
        ):
            _filters(shared)
        with st.popover("Help", key="help", icon=":material/help:", width="content"):
            st.markdown(f"{_SYNTAX}\n\n{shortcuts.HELP}")
    return current_query()


def clear_filters() -> None:
    """Remove all filters from the query; a callback."""
    now = current_query()
    kept = PageQuery(now.q, now.mode, now.k, now.by_file, now.fold, now.diversity)
    _set_widgets(replace(kept, weights=now.weights, marks=now.marks))


def repeat_search(index: str, page_query: PageQuery) -> None:
    """Repeat an earlier query on its index; a callback."""
    _set_widgets(page_query)
    if index:
        st.session_state["index"] = index


def set_mode(mode: str) -> None:
    """Change the mode of the query; a callback."""
    _set_widgets(replace(current_query(), mode=mode))


def _set_widgets(page_query: PageQuery) -> None:
    for name, value in asdict(page_query).items():
        st.session_state[name] = list(value) if isinstance(value, tuple) else value
    st.session_state["weighed"] = page_query.text


def _filters_label(page_query: PageQuery) -> str:
    count = len(page_query.filters())
    return f"Options and filters ({count})" if count else "Options and filters"


def _filters(shared: SharedIndex) -> None:
    page_query = current_query()
    left, right = st.columns(2, vertical_alignment="bottom")
    left.selectbox("Results", sorted({*RESULTS, page_query.k}), key="k")
    right.toggle("Best passage of each file", key="by_file")
    left.slider("Diversity", 0.0, 1.0, step=0.1, key="diversity", help=_DIVERSITY_HELP)
    right.toggle("Fold repeated and neighbouring passages", key="fold", help=_FOLD_HELP)
    st.text_input("Path", key="path", placeholder="*.pdf, reports/**, notes", help=_PATH_HELP)
    counts = shared.facets(page_query)
    _multiselect("Format", "formats", counts.formats, page_query.formats)
    if len(counts.folders) > 1 or page_query.folders:
        _multiselect("Folder", "folders", counts.folders, page_query.folders, folder_name)
    if counts.years or page_query.years:
        _multiselect("Year", "years", counts.years, page_query.years)
    _pages()
    _dates(shared, page_query)
    if page_query.filters():
        st.button("Remove all filters", key="clear", on_click=clear_filters, type="tertiary")


def _multiselect(
    label: str,
    key: str,
    counts: Mapping[str, int],
    chosen: Iterable[str],
    called: Callable[[str], str] = str,
) -> None:
    """A choice of values, each with the number of documents that pass the other filters.

    Chosen values stay in the list even if no document has them any more.
    """
    st.multiselect(
        label,
        list(dict.fromkeys([*counts, *chosen])),
        key=key,
        format_func=lambda name: f"{replace_unprintable(called(name))} · {counts.get(name, 0):,}",
        placeholder="any",
    )


def _pages() -> None:
    left, right = st.columns(2)
    help_ = "Only documents that have pages, such as PDFs, are searched then."
    settings: dict[str, Any] = {"min_value": 1, "step": 1, "placeholder": "any", "value": None}
    left.number_input("From page", key="first_page", help=help_, **settings)
    right.number_input("To page", key="last_page", **settings)


def _dates(shared: SharedIndex, page_query: PageQuery) -> None:
    """Show the fields for dates if some document has one."""
    overview = shared.overview()
    first, last = overview.first_date, overview.last_date
    if not (first or page_query.since or page_query.until):
        return
    left, right = st.columns(2)
    help_ = "A year, a month or a day: 2024, 2024-03, 7.3.2024. Documents without a date are out."
    left.text_input("Dated from", key="since", placeholder=first[:10], help=help_)
    right.text_input("Dated to", key="until", placeholder=last[:10])


__all__ = [
    "arrived_by_address",
    "clear_filters",
    "current_query",
    "remember_visit",
    "repeat_search",
    "restore_widgets",
    "set_mode",
    "show_controls",
    "update_address",
    "update_address_index",
]
