"""Open WebUI's external web search: a list of links, titles and snippets."""

from __future__ import annotations

import urllib.parse

from tests.interface.server.running import TEXTS, Running


def test_passages_as_results_of_a_web_search(notes: Running) -> None:
    answer = notes.post("/open-webui/search", {"query": "who sleeps on a roof?", "count": 2})
    assert answer.status == 200
    assert 0 < len(answer.json) <= 2
    for result in answer.json:
        assert result.keys() == {"link", "title", "snippet"}
    first = answer.json[0]
    assert (first["title"], first["snippet"]) == ("cats.txt", TEXTS["cats.txt"])
    link = urllib.parse.urlsplit(first["link"])
    assert link.netloc == f"127.0.0.1:{notes.port}"
    assert notes.get(f"{link.path}?{link.query}").json["text"] == TEXTS["cats.txt"]


def test_what_is_wrong_is_said(notes: Running) -> None:
    assert notes.post("/open-webui/search", {"query": "", "count": 2}).json == []
    refused = notes.post("/open-webui/search", {"query": "cat", "count": 0})
    assert refused.json == {"error": "count: input should be greater than or equal to 1"}
