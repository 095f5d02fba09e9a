"""The indexes to choose from, and the one that this visitor has chosen.

The page is started for an index, or for a folder of indexes. If it is an index, or will become
one, the indexes beside it can be chosen too.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import streamlit as st

from retriever.interface.collections import is_index, list_indexes
from retriever.interface.jobs import Jobs
from ui import controls, status
from ui.highlighting import escape_html, replace_unprintable
from ui.resources import Opener, SharedIndex, shared_index


@dataclass(frozen=True, slots=True)
class CollectionPicker:
    """The choice of an index on the page named `page`.

    `root` is the path that the server was started with, `home` the folder of the indexes `found`,
    by name. `default` is the index of an address without one, `chosen` the visitor's; None without
    any. `arrived`: the visitor came by an address.
    """

    page: str
    root: Path
    home: Path
    found: tuple[Path, ...]
    default: Path | None
    chosen: Path | None
    arrived: bool
    open_index: Opener
    jobs: Jobs

    @property
    def several(self) -> bool:
        """Whether there is more than one index."""
        return len(self.found) > 1

    @property
    def link_name(self) -> str:
        """The index's name in the address; empty if there is only one."""
        return self.chosen.name if self.chosen and self.several else ""

    @property
    def implied(self) -> str:
        """The name of the index of an address without one; empty if there is only one."""
        return self.default.name if self.several and self.default else ""

    def shared_index(self) -> SharedIndex | None:
        """The chosen index, open; None without one. Raises IndexStateError for a damaged one."""
        if self.chosen is None:
            return None
        return shared_index(self.chosen, self.open_index)


def collection_picker(root: Path, page: str, open_index: Opener, jobs: Jobs) -> CollectionPicker:
    """The indexes at `root`; the choice is drawn in the sidebar of the page named `page`."""
    arrived = controls.arrived_by_address(page)
    home = collections_folder(root)
    found = tuple(list_indexes(home))
    default = _default(root, home, found)
    chosen = _choice(found, default, arrived=arrived)
    return CollectionPicker(page, root, home, found, default, chosen, arrived, open_index, jobs)


def collections_folder(root: Path) -> Path:
    """The folder of indexes: `root`, or its parent if `root` is an index or does not exist.

    >>> collections_folder(Path("indexes/not there yet")).name
    'indexes'
    """
    return root if root.is_dir() and not is_index(root) else root.absolute().parent


def _default(root: Path, home: Path, found: tuple[Path, ...]) -> Path | None:
    if root.is_file():
        return root  # opening it says what is wrong
    named = [path for path in found if path.name == root.name]
    beside = found if home == root else named
    return beside[0] if beside else None


def _choice(found: tuple[Path, ...], default: Path | None, *, arrived: bool) -> Path | None:
    """The only index, or the one chosen in the sidebar."""
    if len(found) < 2:
        return default
    names = {path.name: path for path in found}
    if "choose" in st.session_state:  # a new one, or one after another was deleted
        st.session_state["index"] = st.session_state.pop("choose")
        arrived = False
    if arrived or st.session_state.get("index") not in names:
        wanted = st.query_params.get("index", "")
        fallback = default.name if default else None
        st.session_state["index"] = wanted if wanted in names else fallback
    with st.sidebar:
        st.selectbox(
            "Collection",
            list(names),
            key="index",
            format_func=replace_unprintable,
            index=None if st.session_state["index"] is None else 0,
            placeholder="Choose one",
        )
    return names.get(st.session_state["index"] or "")


def choose(path: Path) -> None:
    """Make `path` the visitor's index; a callback, which runs before the page is drawn."""
    st.session_state["index"] = path.name


def show_sidebar(index: SharedIndex, *, named: bool) -> None:
    """Show facts about the index in the sidebar, with its name if `named`."""
    with st.sidebar:
        if named:
            st.html(f'<div class="wva-file"><bdi>{escape_html(index.path.name)}</bdi></div>')
        status.show_facts(index)


__all__ = ["CollectionPicker", "choose", "collection_picker", "collections_folder", "show_sidebar"]
