"""The indexes to choose from, and the one that this visitor has chosen.

The page is started for an index, or for a folder of indexes. If it is an index, or will become
one, the indexes beside it can be chosen too. A name is never answered by another index: where the
one that is asked for is not there, the page says so.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import streamlit as st

from retriever.cache import cache_folder
from retriever.interface.collections import is_index, list_indexes
from retriever.interface.jobs import Jobs
from retriever.interface.searches import Searches
from retriever.storage.opening import Place
from retriever.types import RetrieverError
from ui import controls
from ui.highlighting import escape_html, escape_markdown, replace_unprintable
from ui.resources import Opener, SharedIndex, shared_index

CSS = """<style>
.st-key-picker button { max-width: 14rem; }
.st-key-picker button p { overflow: hidden; text-overflow: ellipsis; white-space: nowrap; }
[class*="st-key-pick-"] button { justify-content: flex-start; text-align: start; }
</style>"""


@dataclass(frozen=True, slots=True)
class CollectionPicker:
    """The choice of an index on the page named `page`.

    `root` is the path or address that the server was started with, `home` the folder of the
    indexes `found`, by name; for an address, that of what is remembered of it. `default` is the
    index of an address without one, `chosen` the visitor's; None without any. `missing` is the
    name that the address or the visit asks for if there is no such index, else empty; then
    nothing is chosen. `arrived`: the visitor came by an address. `links` are the pages by
    title.
    """

    page: str
    root: Place
    home: Path
    found: tuple[Place, ...]
    default: Place | None
    chosen: Place | None
    missing: str
    arrived: bool
    open_index: Opener
    jobs: Jobs
    searches: Searches
    links: Mapping[str, Any]

    @property
    def has_folder(self) -> bool:
        """Whether collections can be made, renamed, described and deleted: not in Milvus."""
        return isinstance(self.root, Path)

    @property
    def several(self) -> bool:
        """Whether there is more than one index."""
        return len(self.found) > 1

    @property
    def link_name(self) -> str:
        """The index's name in the address; empty without an index."""
        return self.chosen.name if self.chosen in self.found and self.chosen else ""

    @property
    def implied(self) -> str:
        """The name of the index of an address without one; empty if it has to be chosen."""
        return self.default.name if self.default in self.found and self.default else ""

    def others(self, names: Iterable[str]) -> dict[str, SharedIndex]:
        """The other indexes of these names that open, by name."""
        paths = {path.name: path for path in self.found if path != self.chosen}
        opened: dict[str, SharedIndex] = {}
        for name in names:
            if name in paths:
                with contextlib.suppress(RetrieverError):
                    opened[name] = shared_index(paths[name], self.open_index)
        return opened

    def shared_index(self) -> SharedIndex | None:
        """The chosen index, open; None without one. Raises IndexStateError for a damaged one."""
        if self.chosen is None:
            return None
        return shared_index(self.chosen, self.open_index)


def collection_picker(
    root: Place, page: str, open_index: Opener, jobs: Jobs, links: Mapping[str, Any]
) -> CollectionPicker:
    """The indexes at `root`, and the choice of this visitor to the page named `page`."""
    arrived = controls.arrived_by_address(page)
    home = collections_folder(root)
    searches = shared_searches(str(home.absolute()))
    found: tuple[Place, ...]
    if isinstance(root, Path):
        found = tuple(list_indexes(home))
        default = _default(root, home, found, searches.collection)
    else:
        found, default = (root,), root
    arrived = arrived or _leaves_missing(found)
    chosen, missing = _choice(found, default, arrived=arrived)
    if chosen in found and chosen is not None:
        searches.remember_collection(chosen.name)
    return CollectionPicker(
        *(page, root, home, found, default, chosen, missing, arrived),
        *(open_index, jobs, searches, links),
    )


@st.cache_resource(show_spinner=False)
def shared_searches(home: str) -> Searches:
    """What is remembered of the folder `home`, shared by all sessions."""
    return Searches(Path(home))


def collections_folder(root: Place) -> Path:
    """The folder of indexes: `root`, or its parent if `root` is an index or does not exist.

    For an address it is a folder of the user's cache, with what is remembered of that index.

    >>> collections_folder(Path("indexes/not there yet")).name
    'indexes'
    """
    if isinstance(root, Path):
        return root if root.is_dir() and not is_index(root) else root.absolute().parent
    name = hashlib.sha256(str(root.absolute()).encode()).hexdigest()[:16]
    home = cache_folder() / "page" / name
    with contextlib.suppress(OSError):  # then it is remembered until the server ends
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
    return home


def _default(root: Path, home: Path, found: tuple[Place, ...], last: str) -> Place | None:
    """The index of an address without one: the server's, else the only one, else the `last` used.

    None if the visitor has to choose: the first one by name would be another one tomorrow.
    """
    if root.is_file():
        return root  # opening it says what is wrong
    names = {path.name: path for path in found}
    if home != root:
        return names.get(root.name)
    return found[0] if len(found) == 1 else names.get(last)


def _leaves_missing(found: tuple[Place, ...]) -> bool:
    """Whether the address leads from an index that is not there to one that is.

    The page that says so draws no widgets, so that theirs and the address's values always differ.
    """
    names = {path.name for path in found}
    before = st.session_state.get("index")
    return bool(before) and before not in names and st.query_params.get("index") in names


def _choice(
    found: tuple[Place, ...], default: Place | None, *, arrived: bool
) -> tuple[Place | None, str]:
    """The visitor's index, or the name of the one asked for that is not there."""
    names = {path.name: path for path in found}
    if "choose" in st.session_state:  # one was chosen or made, or None: one was deleted here
        st.session_state["index"] = st.session_state.pop("choose")
        arrived = False
    elif arrived and "index" in st.query_params:
        st.session_state["index"] = st.query_params["index"]
    wanted = st.session_state.get("index")
    if not wanted:
        st.session_state["index"] = default.name if default in found and default else None
        return default, ""
    return names.get(wanted), "" if wanted in names else wanted


def choose(path: Place) -> None:
    """Make `path` the visitor's index; a callback, which runs before the page is drawn."""
    st.session_state["choose"] = path.name


def show_picker(picker: CollectionPicker) -> None:
    """Show the choice of a collection as a small menu named after the chosen one."""
    st.html(CSS)
    name = picker.chosen.name if picker.chosen else "Choose a collection"
    also = len(st.session_state.get("also", ()))
    label = f"{name} + {also}" if also else name
    with (
        st.container(key="picker", width="content"),
        # The key changes with each choice, which closes the menu.
        st.popover(
            escape_markdown(replace_unprintable(label)),
            key=f"picker-{name}",
            icon=":material/folder_open:",
            type="tertiary",
            help="The collection that is searched",
        ),
    ):
        show_choices(picker, "pick")
        _show_also(picker)


def _show_also(picker: CollectionPicker) -> None:
    """Show the choice of collections that are searched together with the chosen one."""
    others = [path.name for path in picker.found if path != picker.chosen]
    wanted = st.session_state.get("also", ())
    names = {path.name for path in picker.found}
    st.session_state["also-gone"] = [name for name in wanted if name not in names]
    if picker.chosen is None or not others:
        return
    st.session_state["also"] = [name for name in wanted if name in others]
    bound = controls.field_widget("also")
    st.session_state[bound["key"]] = st.session_state["also"]
    st.multiselect(
        "Search also in",
        others,
        **bound,
        format_func=replace_unprintable,
        placeholder="no other collection",
    )


def show_choices(picker: CollectionPicker, key: str) -> None:
    """Show a button for each collection."""
    for at, path in enumerate(picker.found):
        here = path == picker.chosen
        st.button(
            escape_markdown(replace_unprintable(path.name)),
            key=f"{key}-{at}",
            icon=":material/check:" if here else ":material/folder:",
            type="tertiary",
            on_click=choose,
            args=(path,),
        )
    if not picker.found:
        st.caption("There is no collection yet: make one on the page Collections.")


def show_missing(picker: CollectionPicker) -> bool:
    """Say that the collection asked for is not there, and offer the others; False if it is."""
    if not picker.missing:
        return False
    name = escape_markdown(replace_unprintable(picker.missing))
    others = " Choose another:" if picker.found else ""
    st.warning(
        f"The collection **{name}** is not there any more: it was deleted, moved or "
        f"renamed.{others}",
        icon=":material/folder_off:",
    )
    show_choices(picker, "instead")
    return True


def show_answering(picker: CollectionPicker) -> None:
    """Say which collection answers a link that names none, and which one of several is gone."""
    for gone in st.session_state.get("also-gone", ()):
        name = escape_markdown(replace_unprintable(gone))
        st.warning(f"The collection **{name}** is not there any more: it is not searched.")
    nameless = picker.arrived and not st.query_params.get("index")
    if (
        picker.several
        and nameless
        and picker.chosen is not None
        and picker.chosen == picker.default
    ):
        name = escape_html(replace_unprintable(picker.chosen.name))
        st.html(
            '<p class="wva-note" role="status">This link names no collection; '
            f"<b><bdi>{name}</bdi></b> answers.</p>"
        )


__all__ = [
    "CollectionPicker",
    "choose",
    "collection_picker",
    "collections_folder",
    "shared_searches",
    "show_answering",
    "show_choices",
    "show_missing",
    "show_picker",
]
