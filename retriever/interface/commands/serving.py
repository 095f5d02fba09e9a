"""`wva serve` and `mcp`: indexes and models for other programs."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from retriever.interface.commands.answering import named_chat
from retriever.interface.commands.arguments import load_embedder, requested_embedder
from retriever.interface.commands.output import DONE
from retriever.interface.options import DEFAULT_INDEX
from retriever.interface.terminal.characters import one_line
from retriever.interface.terminal.printing import tell
from retriever.types import UsageError

EXTRA = ("fastapi", "uvicorn", "prometheus_client")
"""The packages of the extra `server`."""


def run_serve(options: argparse.Namespace) -> int:
    """Serve indexes and their models until the command is stopped."""
    _check_extra("server", EXTRA)
    if options.no_index and options.index:
        raise UsageError("--no-index serves a model alone; leave it or --index out")
    from retriever.interface.server.run import Address, serve
    from retriever.interface.server.served import Loading, Served, served_places
    from retriever.interface.server.token import server_token

    token, is_new = (None, False) if options.no_token else server_token(options.token_file or "")
    given = [] if options.no_index else options.index or [DEFAULT_INDEX]
    places = served_places(given)
    address = Address(options.host, options.port, tuple(options.allow_host))

    def ready(url: str) -> None:
        what = f"{one_line(', '.join(places))} and " if places else ""
        models = ", ".join(model.name for model in served.models)
        lines = [f"serving {what}the model {one_line(models)} at {url}; {url}/docs says how"]
        if is_new:
            lines.append(f"token: {token}")
        tell("\n".join(lines))

    load = load_embedder if options.no_index else requested_embedder
    loading = Loading(options.device, options.dtype, lambda: load(options))
    served = Served(places, loading, chat=named_chat(options))
    serve(served, address, token, ready=ready)
    return DONE


def run_mcp(options: argparse.Namespace) -> int:
    """Serve indexes by the Model Context Protocol until the client goes, or it is stopped."""
    _check_extra("mcp", ("mcp",))
    _check_sdk()
    from retriever.interface.mcp.run import serve_http, serve_stdio
    from retriever.interface.server.run import Address
    from retriever.interface.server.served import Loading, Served, served_places
    from retriever.interface.server.token import server_token

    places = served_places(options.index or [DEFAULT_INDEX])
    loading = Loading(options.device, options.dtype, lambda: requested_embedder(options))
    served = Served(places, loading)
    if not options.http:
        serve_stdio(served)
        return DONE
    token, is_new = (None, False) if options.no_token else server_token(options.token_file or "")

    def ready(url: str) -> None:
        tell(f"serving {one_line(', '.join(places))} at {url}")
        if is_new:
            tell(f"token: {token}")

    address = Address(options.host, options.port, tuple(options.allow_host))
    serve_http(served, address, token, ready=ready)
    return DONE


def _check_sdk() -> None:
    """Raise UsageError for an SDK of before 2.0, which other packages may have brought."""
    from importlib.metadata import version

    if version("mcp").partition(".")[0] in ("0", "1"):
        from retriever.version import install_command

        raise UsageError(
            f"this command needs mcp 2.1 or later, not {version('mcp')}: "
            f"{install_command('mcp')}, in another environment than what needs the older one"
        )


def _check_extra(extra: str, packages: Sequence[str]) -> None:
    """Raise UsageError if packages of an extra are not installed."""
    import importlib.util

    missing = [name for name in packages if importlib.util.find_spec(name) is None]
    if missing:
        from retriever.version import install_command

        raise UsageError(
            f"this command needs {', '.join(missing).replace('_', '-')}: {install_command(extra)}"
        )
