"""The page as a long run measures it: it gives free memory back all the time. See `soak_page`."""

import threading
import time

import streamlit as st

from benchmarks.soak_index import Forgetful
from benchmarks.soak_measures import give_back
from retriever.index import Index
from tests.apps.search import INDEXER
from ui.app import main

SECONDS = 2.0


@st.cache_resource(show_spinner=False)
def giving_back() -> threading.Thread:
    """One thread for all sessions."""
    thread = threading.Thread(target=_give_back, name="give back memory", daemon=True)
    thread.start()
    return thread


def _give_back() -> None:
    while True:
        give_back()
        time.sleep(SECONDS)


if __name__ == "__main__":
    giving_back()
    main(open_index=lambda path: Index.open(path, Forgetful()), indexer=INDEXER)
