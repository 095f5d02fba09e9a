"""The page run by AppTest, without a server."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

APP = Path(__file__).with_name("apps") / "search.py"


def open_page(
    monkeypatch: pytest.MonkeyPatch,
    folder: Path | str,
    params: Mapping[str, str | list[str]],
    seconds: int = 20,
) -> AppTest:
    """The page of an index (or a folder of indexes) at an address with these parameters."""
    monkeypatch.setattr(sys, "argv", ["app.py", "--index", str(folder)])
    app = AppTest.from_file(str(APP), default_timeout=seconds)
    for name, value in params.items():
        app.query_params[name] = value
    return app.run()


def ask(app: AppTest, query: str) -> AppTest:
    """Type a query into the search box, and search."""
    app.text_input(key="q").set_value(query)
    return app.button(key="search").click().run()


def list_html(app: AppTest) -> str:
    """The HTML of the list of results, which is a component of ours; empty without one."""
    shown = [one for one in app.get("bidi_component") if "wva_result_list" in str(one.proto)]
    return str(json.loads(shown[0].proto.json)["html"]) if shown else ""
