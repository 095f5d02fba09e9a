"""The page: a script with `--index DIR`, run by `retriever.interface.page_server`.

`DIR` is an index, a folder of indexes to choose from, or an address of Milvus. The pages are in
`ui/views`; all retrieval is imported from `retriever`.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence

import streamlit as st

from retriever.index import Index
from retriever.interface.jobs import COMMAND
from retriever.interface.page_guard import is_own_address
from retriever.storage.opening import Place, place_of
from retriever.types import RetrieverError
from ui import job_status, status
from ui.collection_picker import CollectionPicker, collection_picker, show_missing
from ui.resources import Opener
from ui.style import ICON, style_sheet
from ui.views import about, collections, search

# The pages: name, icon, and function. The first one is the start page.
VIEWS: tuple[tuple[str, str, Callable[[CollectionPicker], None]], ...] = (
    ("Search", "search", search.show_search),
    ("Collections", "folder_open", collections.show_collections),
    ("About", "insights", about.show_about),
)


def main(
    argv: Sequence[str] | None = None,
    open_index: Opener = Index.open,
    indexer: Sequence[str] = COMMAND,
) -> None:
    """Draw the page. `open_index` opens an index, `indexer` is the command `wva`."""
    _refuse_foreign_address()
    root = _root(sys.argv[1:] if argv is None else argv)
    st.set_page_config("Search your documents", ICON, layout="wide")
    st.html(style_sheet("page", "results"))

    def page(name: str, icon: str, view: Callable[[CollectionPicker], None]) -> st.Page:
        return st.Page(
            lambda: view(offered),
            title=name,
            icon=f":material/{icon}:",
            url_path=name.lower(),
            default=view is VIEWS[0][2],
        )

    pages = [page(*one) for one in VIEWS]
    chosen = st.navigation(pages, position="top")
    jobs = job_status.shared_jobs(tuple(indexer))
    links = {one.title: one for one in pages}
    offered = collection_picker(root, chosen.title, open_index, jobs, links)
    if show_missing(offered) and chosen.title != "Collections":
        return
    try:
        chosen.run()
    except RetrieverError as error:
        status.show_error(error)


def _refuse_foreign_address() -> None:
    """Draw nothing for another site, also where this script is run without `page_server`."""
    headers = st.context.headers
    hosts, origins = headers.get_all("Host"), headers.get_all("Origin")
    # No header at all: there is no browser, the script runs in a test.
    if headers and not is_own_address(hosts, origins, int(st.get_option("server.port"))):
        st.error("The page answers at its own address on this machine only.")
        st.stop()


def _root(argv: Sequence[str]) -> Place:
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--index", default="indexes/default")
    return place_of(parser.parse_known_args(argv)[0].index)


if __name__ == "__main__":
    main()
