"""Which indexes are on offer, and which of them this visitor has chosen.

The page is started for an index, or for a folder of indexes. Where it is an index (or is going to
be one), those beside it are on offer too.
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
    """What one page offers: its name, and where it was started.

    `root` is what the page was started for, `home` the folder of the indexes `found` by name.
    `default` is the one that is meant where nothing is said, `chosen` the visitor's; None where
    there is none.
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
        """Whether there is something to choose from."""
        return len(self.found) > 1

    @property
    def link_name(self) -> str:
        """What the address says of the index; empty where it need not say anything."""
        return self.chosen.name if self.chosen and self.several else ""

    @property
    def implied(self) -> str:
        """The index that an address without one means; empty where there is only one."""
        return self.default.name if self.several and self.default else ""

    def shared_index(self) -> SharedIndex | None:
        """The chosen index, open; None without one. Raises IndexStateError for a broken one."""
        if self.chosen is None:
            return None
        return shared_index(self.chosen, self.open_index)


def collection_picker(root: Path, page: str, open_index: Opener, jobs: Jobs) -> CollectionPicker:
    """What is on offer at `root`, with the choice drawn at the side of the page so called."""
    arrived = controls.arrived_by_address(page)
    home = collections_folder(root)
    found = tuple(list_indexes(home))
    default = _default(root, home, found)
    chosen = _choice(found, default, arrived=arrived)
    return CollectionPicker(page, root, home, found, default, chosen, arrived, open_index, jobs)


def collections_folder(root: Path) -> Path:
    """The folder of indexes that `root` is, or lies in.

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
    """The only one, or the one chosen at the side."""
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
    """Make `path` the visitor's index; to be called before the page is drawn, as callbacks are."""
    st.session_state["index"] = path.name


def show_sidebar(index: SharedIndex, *, named: bool) -> None:
    """The index's facts; `named` shows its name, where the choice does not say it."""
    with st.sidebar:
        if named:
            st.html(f'<div class="wva-file"><bdi>{escape_html(index.path.name)}</bdi></div>')
        status.show_facts(index)


__all__ = ["CollectionPicker", "choose", "collection_picker", "collections_folder", "show_sidebar"]
