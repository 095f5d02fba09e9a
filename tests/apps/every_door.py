"""Every way into an index, one after the other, in one process: what a user does in a day.

Its arguments are a scratch folder and the folder of a model.
"""

import socket
import sys
from pathlib import Path

import anyio

CONTROL = ("192.0.2.1", 9)  # an address that is nobody's


def command_line(docs: Path, index: Path, model: str) -> None:
    from retriever.interface.cli import main

    at = ["--index", str(index), "--device", "cpu"]
    commands = [
        ["index", str(docs), "--model", model, *at],
        ["search", "otters", *at],
        ["search", "otters", "--mode", "dense", "--json", *at],
        ["answer", "what do otters do", *at],
        ["explain", "otters", *at],
        *[[one, "--index", str(index)] for one in ("info", "report")],
        ["models"],
    ]
    for command in commands:
        assert main(command) == 0, command


def page(index: Path) -> None:
    from streamlit.testing.v1 import AppTest

    sys.argv = ["app.py", "--index", str(index)]
    app = AppTest.from_file(str(Path(__file__).parents[2] / "ui" / "app.py"), default_timeout=300)
    app.run()
    app.text_input(key="q").set_value("otters")
    app.button(key="search").click().run()
    assert not app.exception


def server(index: Path) -> None:
    from retriever.interface.server.served import Loading
    from tests.interface.server.running import Served, running

    with running(Served({"notes": index}, Loading("cpu"))) as asked:
        assert asked.post("/search", {"query": "otters"}).status == 200
        assert asked.post("/v1/embeddings", {"model": "m", "input": "otters"}).status in (200, 404)
        assert asked.get("/openapi.json").status == 200


def agent(index: Path) -> None:
    from mcp import Client

    from retriever.interface.mcp.server import Ready, make_server
    from retriever.interface.server.served import Loading, Served

    async def ask() -> None:
        with Served({"notes": index}, Loading("cpu")) as served:
            async with Client(make_server(Ready(served, is_open=True))) as client:
                assert not (await client.call_tool("search", {"query": "otters"})).is_error

    anyio.run(ask)


if __name__ == "__main__":
    folder, model = Path(sys.argv[1]), sys.argv[2]
    docs, made = folder / "docs", folder / "index"
    docs.mkdir()
    (docs / "a.txt").write_text("Otters swim in the river at night. They eat fish.")
    (docs / "b.md").write_text("# Badgers\n\n![x](http://192.0.2.1/x.png) Badgers dig.")
    (docs / "c.html").write_text("<img src='http://192.0.2.1/x.png'><p>Foxes run.</p>")
    command_line(docs, made, model)
    page(made)
    server(made)
    agent(made)
    with socket.socket() as control:  # what the guard notes, if it works
        try:
            control.connect(CONTROL)
        except ConnectionRefusedError:
            sys.exit(0)
    sys.exit("the guard does not work")
