"""The page of the collections: what there is, and choosing one."""

from __future__ import annotations

import streamlit as st

from retriever.types import RetrieverError
from ui import controls
from ui.marks import escaped
from ui.resources import served
from ui.shelf import Shelf, choose, side


def show(shelf: Shelf) -> None:
    """Draw the page."""
    st.html('<div class="wva-head"><h1>Collections</h1></div>')
    controls.remember(shelf.page)
    for at, path in enumerate(shelf.found):
        with st.container(horizontal=True, vertical_alignment="center"):
            try:
                info = served(path, shelf.open_index).info()
                said = f"{info['documents']:,} documents, {info['chunks']:,} passages"
            except RetrieverError as error:
                said = str(error)
            st.html(
                f'<div class="wva-file"><bdi>{escaped(path.name)}</bdi></div>'
                f'<p class="wva-note">{escaped(said)}</p>'
            )
            if path != shelf.chosen:
                st.button("Choose", key=f"choose-{at}", on_click=choose, args=(path,))
    if not shelf.found:
        st.info("There is no collection yet.")
    index = shelf.served()
    if index is not None:
        side(index, named=not shelf.several)


__all__ = ["show"]
