"""The query of this visit: its values in the session, and the address that keeps them.

A value's key in the session is the name of the field of `PageQuery`; widgets that set a field have
that key.
"""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from typing import Any
from urllib.parse import quote

import streamlit as st

from ui.page_query import PageQuery

_TIMES_SET = "times-set"

_NAME_INDEX = """(name => {
  const at = new URL(window.location.href);
  if (at.searchParams.has("index")) return;
  const query = at.search ? `${at.search}&` : "?";
  history.replaceState(history.state, "", `${at.pathname}${query}index=${name}${at.hash}`);
})"""


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
    for name in ("formats", "folders", "years", "weights", "marks", "also"):
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


def clear_filters() -> None:
    """Remove all filters from the query; a callback."""
    set_query(current_query().without_filters())


def set_query(page_query: PageQuery, index: str = "") -> None:
    """Make this the query, of the index of that name unless it is empty; a callback."""
    _set_widgets(page_query)
    if index:
        st.session_state["choose"] = index


def set_mode(mode: str) -> None:
    """Change the mode of the query; a callback."""
    _set_widgets(replace(current_query(), mode=mode))


def field_widget(name: str) -> dict[str, Any]:
    """The key and the callback of the widget of a menu that sets a field of the query.

    The key is another one as soon as the query is set by anything else: a closed menu's widget does
    not hear of that, and its old value would come back with the next click anywhere.
    """
    key = menu_key(name)
    if key not in st.session_state:
        st.session_state[key] = st.session_state.get(name, getattr(PageQuery(), name))
    return {"key": key, "on_change": _take_value, "args": (name, key)}


def menu_key(name: str) -> str:
    """The present key of a widget of a menu; see `field_widget`."""
    return f"{name}~{st.session_state.get(_TIMES_SET, 0)}"


def _take_value(name: str, key: str) -> None:
    if key == menu_key(name):
        st.session_state[name] = st.session_state[key]


def _set_widgets(page_query: PageQuery) -> None:
    if "seen" in st.session_state:
        st.session_state[_TIMES_SET] = st.session_state.get(_TIMES_SET, 0) + 1
    for name, value in asdict(page_query).items():
        st.session_state[name] = list(value) if isinstance(value, tuple) else value
    st.session_state["weighed"] = page_query.text


__all__ = [
    "arrived_by_address",
    "clear_filters",
    "current_query",
    "field_widget",
    "menu_key",
    "remember_visit",
    "restore_widgets",
    "set_mode",
    "set_query",
    "update_address",
    "update_address_index",
]
