"""The command line: parses options, runs one command, turns errors into a sentence and a code.

With `--json` one JSON document goes to standard output and nothing else; progress and messages go
to standard error. Exit codes: 0 done, 1 failed, 2 wrong usage, 3 done but some files could not be
read completely.
"""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Sequence

from retriever.interface.commands.answering import run_answer
from retriever.interface.commands.copying import run_copy
from retriever.interface.commands.evaluation import (
    run_eval_models,
    run_eval_queries,
    run_eval_retrieval,
    run_eval_sts,
)
from retriever.interface.commands.indexing import run_index, run_info, run_report, run_ui
from retriever.interface.commands.models import (
    run_doctor,
    run_embed,
    run_models,
    run_models_fetch,
    run_models_remove,
)
from retriever.interface.commands.output import (
    DONE,
    FAILED,
    INTERRUPTED,
    USAGE,
    discard_output,
    prepare_streams,
)
from retriever.interface.commands.searching import run_explain, run_search
from retriever.interface.commands.serving import run_mcp, run_serve
from retriever.interface.commands.tuning import run_tune
from retriever.interface.commands.upkeep import run_backup, run_compact, run_restore
from retriever.interface.commands.verifying import run_verify
from retriever.interface.commands.watching import run_watch
from retriever.interface.options import make_parser
from retriever.interface.terminal.characters import one_line
from retriever.interface.terminal.printing import tell
from retriever.types import RetrieverError, UsageError


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code."""
    prepare_streams()
    try:
        code = _run(arguments)
    except BrokenPipeError:
        # Whoever reads our output has closed it, as `head` does.
        discard_output()
        return DONE
    return _flushed(code)


def _run(arguments: Sequence[str] | None) -> int:
    parser = make_parser(COMMANDS)
    try:
        options = parser.parse_args(arguments)
    except SystemExit as stop:  # the help was printed, or an error
        return int(stop.code or DONE)
    if options.command is None:
        parser.print_help(sys.stderr)
        return USAGE
    try:
        code: int = options.run(options)
    except UsageError as error:
        return _refuse(str(error), USAGE)
    except RetrieverError as error:
        return _refuse(str(error), FAILED)
    except BrokenPipeError:
        raise
    except OSError as error:
        return _refuse(_sentence(error), FAILED)
    except KeyboardInterrupt:
        if arguments is None:  # this process ends: a second Ctrl-C must not change its exit code
            signal.signal(signal.SIGINT, signal.SIG_IGN)
        kept = "; what is done is kept, run again to continue" if _indexes(options) else ""
        tell(f"\nstopped{kept}")
        return INTERRUPTED
    return code


def _flushed(code: int) -> int:
    """The exit code after all output is written: a short one waits until here."""
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        discard_output()
    except OSError as error:  # the disk is full
        discard_output()
        if code == FAILED:  # said already
            return code
        return _refuse(f"the output cannot be written: {_sentence(error)}", FAILED)
    return code


def _indexes(options: argparse.Namespace) -> bool:
    """Whether the command writes to an index."""
    return options.command in ("index", "watch") or bool(getattr(options, "sync", ()))


def _refuse(sentence: str, code: int) -> int:
    tell(f"wva: {one_line(sentence)}")
    return code


def _sentence(error: OSError) -> str:
    """What the system says, without its number."""
    place = f"{error.filename}: " if error.filename else ""
    return place + (error.strerror or str(error)).lower()


COMMANDS = {
    "index": run_index,
    "watch": run_watch,
    "search": run_search,
    "answer": run_answer,
    "explain": run_explain,
    "ui": run_ui,
    "serve": run_serve,
    "mcp": run_mcp,
    "eval sts": run_eval_sts,
    "eval retrieval": run_eval_retrieval,
    "eval queries": run_eval_queries,
    "eval models": run_eval_models,
    "tune": run_tune,
    "embed": run_embed,
    "info": run_info,
    "backup": run_backup,
    "restore": run_restore,
    "copy": run_copy,
    "compact": run_compact,
    "models": run_models,
    "models fetch": run_models_fetch,
    "models remove": run_models_remove,
    "report": run_report,
    "verify": run_verify,
    "doctor": run_doctor,
}


if __name__ == "__main__":
    sys.exit(main())
