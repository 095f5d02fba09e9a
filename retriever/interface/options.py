"""The parsers of the command line: every option with its help. Nothing is run here."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping
from typing import Any, NoReturn

from retriever import __version__
from retriever.interface.terminal.characters import one_line, printable
from retriever.interface.tuning_options import add_tune_options
from retriever.searching.options import Mode, SearchOptions
from retriever.settings import (
    ANSWER_PASSAGES,
    ANSWER_SENTENCES,
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
  "access control"     the words side by side, in any of their forms
  +budget  -draft      the word must occur, must not occur; also -"first draft", -"rf"
                       (a short one behind a word is text: rm -rf)
  file:reports         part of the path, or a pattern: file:*.pdf, file:"my notes"
  type:pdf  page:3-7   a format or a file ending; a page or a range of pages
  date:2023..2024      the document's date; after:2023 (from then on), before:1.3.2024
  -file:old  -type:md  exclude what matches
Everything else is plain text. A word that occurs nowhere counts as a typing error, and
similar words are searched for instead.

  wva search 'risk exception +approval -draft type:pdf after:2023'"""

Run = Callable[[argparse.Namespace], int]


class Parser(argparse.ArgumentParser):
    """A parser whose errors are one sentence, without the usage before it."""

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """See `argparse`; it remembers the arguments for an error."""
        self.given = [*(sys.argv[1:] if args is None else args)]
        return super().parse_known_args(args, namespace)

    def error(self, message: str) -> NoReturn:
        """Say what is wrong, and end with exit code 2."""
        told = one_line(f"{message}{self._advice(message)}")
        self.exit(2, f"{self.prog}: {told}; see {self.prog} --help\n")

    def _print_message(self, message: str, file: Any = None) -> None:
        """Print help or an error, which quotes arguments, as a terminal may get it."""
        super()._print_message(printable(message) if message else message, file)

    def _advice(self, message: str) -> str:
        """What to do about a query that the shell or the parser has taken apart."""
        known = self._option_string_actions
        signed = [one for one in self.given if one[:1] == "-" and one.split("=")[0] not in known]
        if message.endswith("required: QUERY") and signed:
            return (
                f": {signed[0]!r} is read as an option; a query that begins with - comes last, "
                f"behind --: {self.prog} --index DIR -- {signed[0]}"
            )
        several = message.startswith("unrecognized arguments: ") and "-" not in message
        if several and self.given[:1] in (["search"], ["explain"]):
            return "; a query of several words is written in quotes"
        return ""


Commands = Any  # argparse keeps the type of its sub-parsers to itself


def make_parser(run: Mapping[str, Run]) -> argparse.ArgumentParser:
    """The parser of all commands; `run` maps a command's name to its function."""
    parser = Parser(
        prog="wva",
        description="Find passages by meaning in your own documents.",
        epilog="Exit codes: 0 done, 1 failed, 2 wrong usage, 3 done but some files could not be "
        "read completely.",
    )
    parser.add_argument("--version", action="version", version=f"wva {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    _add_index(commands, run)
    _add_watch(commands, run)
    _add_search(commands, run)
    _add_answer(commands, run)
    _add_explain(commands, run)
    _add_ui(commands, run)
    _add_serve(commands, run)
    _add_mcp(commands, run)
    _add_eval(commands, run)
    tune = _command(commands, "tune", run["tune"], "make a better embedder out of a model")
    add_tune_options(tune)
    _model_options(tune)
    _add_embed(commands, run)
    info = _command(
        commands, "info", run["info"], "show what is in an index: counts, model, sizes, last run"
    )
    _index_option(info)
    report = _command(
        commands,
        "report",
        run["report"],
        "show what became of every file and page, and what to do about it",
    )
    _index_option(report)
    report.add_argument(
        "file", nargs="?", default="", metavar="FILE", help="one file, named as the report does"
    )
    report.add_argument("--all", action="store_true", help="list complete files too")
    report.add_argument(
        "--left-out",
        action="store_true",
        help="print the text of FILE that is left out on purpose, by kind",
    )
    report.epilog = (
        "The words of structured formats are counted in the file itself: each is on a page, or "
        "left out on purpose and named here by kind. A file with other words is partial."
    )
    _add_upkeep(commands, run)
    _add_verify(commands, run)
    _add_models(commands, run)
    doctor = _command(
        commands, "doctor", run["doctor"], "check this machine: packages, device, speed, caches"
    )
    doctor.add_argument(
        "--quick", action="store_true", help="do not load the model to measure its speed"
    )
    return parser


def _add_verify(commands: Commands, run: Mapping[str, Run]) -> None:
    parser = _command(
        commands, "verify", run["verify"], "check everything in an index, and mend what is damaged"
    )
    _index_option(parser)
    parser.add_argument(
        "--repair",
        action="store_true",
        help="mend what is damaged: from the rows' hashes, from the index itself, by the model, "
        "or from the files",
    )
    _device_options(parser)
    parser.epilog = (
        "Exit codes: 0 the index is whole, 1 damage was found, or remains after a repair. A repair "
        "says by name what could not be brought back."
    )


def _command(
    commands: Commands,
    name: str,
    run: Run,
    what: str,
    json_help: str = "print the result as one JSON document",
) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = commands.add_parser(
        name, help=what, description=what[0].upper() + what[1:] + "."
    )
    parser.add_argument("--json", action="store_true", help=json_help)
    parser.set_defaults(run=run)
    return parser


def _index_option(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--index",
        default=DEFAULT_INDEX,
        metavar="DIR",
        help=f"folder of the index, or its address in Milvus (default {DEFAULT_INDEX})",
    )


def _model_options(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("model")
    group.add_argument(
        "--model",
        help="preset, folder, GGUF file or hub id, with @REVISION if wanted "
        f"(default {DEFAULT_MODEL})",
    )
    group.add_argument(
        "--layers", help=f"upper-half, all, 10-19, or 3,5,-1 (default {DEFAULT_LAYERS})"
    )
    group.add_argument("--pooling", help=f"{', '.join(POOLINGS)} (default {POOLINGS[0]})")
    group.add_argument(
        "--prompts",
        metavar="FILE.json",
        help='your own prompts: {"passage": "…{}…", "query": ["…{}…", "…{}…"]}',
    )
    _device_options(group)


def _device_options(group: Any) -> None:
    group.add_argument("--device", help="auto, cpu, cuda, cuda:1 or mps (default auto)")
    group.add_argument(
        "--dtype",
        help="float32, bfloat16, float16 or int8 (default: the fastest with correct results)",
    )


def _add_index(commands: Commands, run: Mapping[str, Run]) -> None:
    parser = _command(
        commands, "index", run["index"], "create an index, or update it to the current files"
    )
    parser.add_argument("paths", nargs="*", metavar="PATH", help="folders or files")
    _index_option(parser)
    _file_options(parser)
    parser.add_argument(
        "--dry-run", action="store_true", help="show what would be done, and change nothing"
    )
    parser.add_argument(
        "--force",
        action="store_true",
        help="remove vanished files although they are more than half",
    )
    parser.add_argument(
        "--retry", action="store_true", help="read unchanged files again if they failed before"
    )
    parser.add_argument(
        "--reread",
        action="store_true",
        help="read every file again; unchanged text keeps its vectors",
    )
    parser.add_argument(
        "--keywords-only",
        action="store_true",
        help="make files findable by their words; a later run makes the vectors",
    )
    parser.add_argument(
        "--vectors-only",
        action="store_true",
        help="only make the vectors that are missing; without PATH",
    )
    parser.add_argument(
        "--watch",
        action="store_true",
        help="go on until it is stopped, with a run after every change: see wva watch",
    )
    _poll_option(parser)
    parser.add_argument(
        "--workers",
        default="",
        metavar="RAY",
        help="let Ray read and embed: ray (this machine), ray:auto (the cluster it belongs to) or "
        "ray://HOST:PORT; with ?actors=2&cpus=4&gpus=1 behind it, so many embed, each with these",
    )
    _reading_options(parser)
    parser.add_argument(
        "--store",
        help="FAISS factory string, e.g. Flat, SQ8 or RaBitQ2; in Milvus an index kind, e.g. HNSW",
    )
    _model_options(parser)


def _file_options(parser: argparse.ArgumentParser) -> None:
    for name, what in (
        ("--include", "index only these files or folders"),
        ("--exclude", "leave out these files or folders"),
    ):
        parser.add_argument(
            name,
            action="append",
            default=[],
            metavar="PATTERN",
            help=f"{what}, named as in .gitignore: '*.pdf', drafts, /old (repeatable)",
        )
    parser.add_argument("--no-delete", action="store_true", help="keep vanished files in the index")
    parser.add_argument(
        "--jobs",
        type=int,
        default=0,
        metavar="N",
        help="processes that read files (default: one for each processor)",
    )


def _poll_option(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--poll",
        type=float,
        metavar="SECONDS",
        help="look at the watched folders every so many seconds: for network drives, whose changes "
        "the system does not tell",
    )


def _add_watch(commands: Commands, run: Mapping[str, Run]) -> None:
    parser = _command(
        commands,
        "watch",
        run["watch"],
        "keep an index in step with folders: a run at the start, and after every change",
        "print what each run changed as one JSON document on a line of its own",
    )
    parser.add_argument(
        "paths", nargs="*", metavar="PATH", help="folders or files (default: those of the index)"
    )
    _index_option(parser)
    _file_options(parser)
    _poll_option(parser)
    _reading_options(parser)
    parser.add_argument("--store", help="FAISS factory string for a new index")
    _model_options(parser)
    parser.set_defaults(
        watch=True,
        **dict.fromkeys(
            ("dry_run", "force", "retry", "reread", "keywords_only", "vectors_only"), False
        ),
    )
    parser.epilog = (
        "It ends with Ctrl-C or SIGTERM. A folder that is away keeps its documents, and is "
        "followed again when it is back. While another process writes to the index, it waits."
    )


def _reading_options(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("reading")
    group.add_argument(
        "--password",
        action="append",
        default=[],
        metavar="TEXT",
        help="password to try on encrypted files (repeatable); it is not stored",
    )
    group.add_argument(
        "--password-file",
        metavar="FILE",
        help="file with one password per line, to keep them out of the shell's history; - reads "
        "standard input",
    )
    scans = group.add_mutually_exclusive_group()
    scans.add_argument(
        "--ocr",
        action="store_true",
        help="read scanned pages with Tesseract; later runs on this index do so too",
    )
    scans.add_argument(
        "--no-ocr",
        action="store_true",
        help="read no scanned pages from now on; text read before stays",
    )
    group.add_argument(
        "--ocr-languages",
        metavar="CODES",
        help="languages for Tesseract, e.g. eng+deu (default: as in the run before, else eng)",
    )


def _add_search(commands: Commands, run: Mapping[str, Run]) -> None:
    parser = _command(commands, "search", run["search"], "find passages")
    parser.add_argument("query", metavar="QUERY", help="any text; for operators see below")
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = QUERY_HELP
    parser.add_argument(
        "--index",
        action="append",
        metavar="DIR",
        help=f"folder of the index (default {DEFAULT_INDEX}); given several times, all these "
        "indexes are searched together, and each result says where it is from",
    )
    _count_option(parser, "number of results")
    parser.add_argument(
        "--by-file", action="store_true", help="show only the best passage of each file"
    )
    parser.add_argument(
        *("--no-fold", "--all"),
        dest="fold",
        action="store_false",
        help="show every passage by itself: do not fold near-duplicates, do not join neighbours",
    )
    parser.add_argument(
        "--diversity",
        type=float,
        default=SEARCH.diversity,
        metavar="D",
        help="prefer results that differ from those above them: 0 (off) to 1, e.g. 0.3 "
        f"(default {SEARCH.diversity:g})",
    )
    parser.add_argument(
        "--context",
        type=int,
        default=SEARCH.context,
        metavar="N",
        help=f"show the N passages before and after each result too (default {SEARCH.context})",
    )
    parser.add_argument(
        "--min-match",
        type=float,
        metavar="M",
        help="show only results with at least this match, 0 to 1: at 0.95 one in twenty questions "
        "on other subjects still finds something",
    )
    _rerank_option(parser)
    parser.add_argument(
        "--rerank-seconds",
        type=float,
        default=SEARCH.rerank_seconds,
        metavar="S",
        help="time limit for reranking; results not judged by then keep their rank "
        f"(default {SEARCH.rerank_seconds:g})",
    )
    parser.add_argument(
        "--embed-ms",
        type=float,
        default=SEARCH.embed_ms,
        metavar="MS",
        help="time for embedding the best passages by words that have no vector yet; 0 for none "
        f"(default {SEARCH.embed_ms:g})",
    )
    _query_options(parser)
    _filter_options(parser)
    _model_options(parser)


def _filter_options(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("filters (all must hold)")
    group.add_argument(
        "--path",
        action="append",
        metavar="GLOB",
        help="folder, file or pattern of the path, e.g. reports or 'reports/**/*.pdf'",
    )
    group.add_argument(
        "--format", action="append", help="format or file ending, e.g. pdf, markdown, py"
    )
    group.add_argument("--page", metavar="N[-M]", help="page or range of pages")
    group.add_argument(
        "--since",
        metavar="DATE",
        help="earliest date of the document, e.g. 2024, 2024-03-07, 7.3.2024 or 'last month'",
    )
    group.add_argument("--until", metavar="DATE", help="latest date of the document, inclusive")
    group.add_argument(
        "--where", metavar="JSON", help='filter as JSON, e.g. \'{"author": "Ada Lovelace"}\''
    )


def _add_answer(commands: Commands, run: Mapping[str, Run]) -> None:
    parser = _command(
        commands, "answer", run["answer"], "answer a question with the sentences that say it"
    )
    parser.add_argument("query", metavar="QUESTION", help="a question in your own words")
    _index_option(parser)
    _count_option(parser, "number of sentences", ANSWER_SENTENCES)
    group = parser.add_argument_group("a written answer")
    _llm_options(group)
    group.add_argument(
        "--passages",
        type=int,
        default=ANSWER_PASSAGES,
        metavar="N",
        help=f"passages that it is sent (default {ANSWER_PASSAGES})",
    )
    parser.epilog = (
        "Sentences are printed word for word with file and page, or it is said that nothing here "
        "really matches. Without --llm no text is written and nothing leaves this machine."
    )
    _rerank_option(parser)
    _query_options(parser)
    _filter_options(parser)
    _model_options(parser)


def _add_explain(commands: Commands, run: Mapping[str, Run]) -> None:
    parser = _command(
        commands,
        "explain",
        run["explain"],
        "explain why a passage was found: its words, and the terms of its score",
    )
    parser.add_argument("query", metavar="QUERY", help="as for wva search")
    _index_option(parser)
    which = parser.add_mutually_exclusive_group()
    which.add_argument(
        "--hit",
        type=int,
        default=1,
        metavar="N",
        help="explain the Nth result of the search (default 1)",
    )
    which.add_argument(
        "--chunk", metavar="ID", help="explain the passage with this id, whatever its rank"
    )
    which.add_argument(
        "--file", metavar="PATH", help="explain why this document is not among the results"
    )
    which.add_argument(
        "--above",
        nargs=2,
        metavar="ID",
        help="explain why the first of two passages ranks above the second",
    )
    _count_option(parser, "number of results, for --file")
    parser.add_argument(
        "--check",
        action="store_true",
        help="test the explanation: embed the passage without its strongest words, and without "
        "random ones; takes seconds",
    )
    _rerank_option(parser)
    _query_options(parser)
    parser.epilog = (
        "A word's value is what the model read at its position, given the words before it. It "
        "is not the loss without the word: the words after it would then be read differently."
    )
    _filter_options(parser)
    _device_options(parser.add_argument_group("model"))


def _count_option(parser: argparse.ArgumentParser, what: str, count: int = SEARCH.k) -> None:
    parser.add_argument(
        "-k", type=int, default=count, metavar="N", help=f"{what} (default {count})"
    )


def _query_options(parser: argparse.ArgumentParser) -> None:
    """How a query is read: of all options, those that make a passage's score."""
    parser.add_argument(
        "--mode",
        choices=[*map(str, Mode)],
        default=str(SEARCH.mode),
        help=f"how to search (default {SEARCH.mode})",
    )
    parser.add_argument(
        *("--no-syntax", "--literal"),
        dest="syntax",
        action="store_false",
        help="read QUERY literally: no operators, no correction of typing errors",
    )
    parser.add_argument(
        "--typos",
        action=argparse.BooleanOptionalAction,
        help="correct words that occur nowhere (default: yes, with --no-syntax no)",
    )
    parser.add_argument(
        "--no-feedback",
        dest="feedback",
        action="store_false",
        help="hybrid search without pseudo-relevance feedback from the first passages",
    )


def _rerank_option(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--rerank",
        type=int,
        nargs="?",
        const=RERANK_COUNT,
        default=SEARCH.rerank,
        metavar="N",
        help=f"let the model rerank the first N results ({RERANK_COUNT} without N); takes seconds",
    )


def _add_ui(commands: Commands, run: Mapping[str, Run]) -> None:
    parser = commands.add_parser(
        "ui", help="serve the search page", description="Serve the search page to a browser."
    )
    parser.set_defaults(run=run["ui"])
    _index_option(parser)
    parser.add_argument(
        "--port", type=int, default=8501, help="port of the page on 127.0.0.1 (default 8501)"
    )
    parser.add_argument(
        "--sync",
        nargs="+",
        default=[],
        metavar="PATH",
        help="index these folders or files while the page is up",
    )
    owner = parser.add_mutually_exclusive_group()
    owner.add_argument(
        "--token",
        default="",
        metavar="TEXT",
        help="the secret part of the page's address (default: a new random one); the variable "
        "WVA_TOKEN sets it too, and does not show in the list of processes",
    )
    owner.add_argument(
        "--no-token", action="store_true", help="let every user of this machine open the page"
    )
    _reading_options(parser)


def _llm_options(group: Any) -> None:
    group.add_argument(
        "--llm",
        metavar="URL",
        help="let the chat model at this address write the answer, and check what it quotes: any "
        "server with OpenAI's protocol, e.g. http://127.0.0.1:11434/v1 of Ollama. It is sent the "
        "question and the best passages. A key is taken from WVA_LLM_KEY",
    )
    group.add_argument(
        "--llm-model", metavar="NAME", default="", help="its model (default: the first it lists)"
    )


def _add_serve(commands: Commands, run: Mapping[str, Run]) -> None:
    parser = commands.add_parser(
        "serve",
        help="serve search and embeddings to other programs, over HTTP",
        description="Serve search and embeddings to other programs, over HTTP.",
    )
    parser.set_defaults(run=run["serve"])
    _served_indexes_option(parser)
    parser.add_argument(
        "--no-index", action="store_true", help="serve a model alone: embeddings and reranking"
    )
    _server_options(parser, 8600)
    _llm_options(parser.add_argument_group("written answers"))
    _model_options(parser)


def _served_indexes_option(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--index",
        action="append",
        metavar="DIR",
        help="folder of an index, or of several, or an address in Milvus "
        f"(default {DEFAULT_INDEX}; repeatable)",
    )


def _server_options(parser: argparse.ArgumentParser, port: int) -> None:
    """Where a server listens, and who may ask it."""
    parser.add_argument(
        "--host",
        default="127.0.0.1",
        metavar="ADDRESS",
        help="address to listen at (default 127.0.0.1: this machine alone)",
    )
    parser.add_argument(
        "--port",
        type=int,
        default=port,
        help=f"port to listen at; 0: any free one (default {port})",
    )
    parser.add_argument(
        "--allow-host",
        action="append",
        default=[],
        metavar="NAME",
        help="a name of this machine by which it is asked, beside localhost (repeatable)",
    )
    owner = parser.add_mutually_exclusive_group()
    owner.add_argument(
        "--token-file",
        metavar="FILE",
        help="file of the owner alone with the token that requests need; the variable WVA_TOKEN "
        "sets it too (default: a new random one, which is printed)",
    )
    owner.add_argument("--no-token", action="store_true", help="let every user of this machine ask")


def _add_mcp(commands: Commands, run: Mapping[str, Run]) -> None:
    parser = commands.add_parser(
        "mcp",
        help="let agents and editors search, by the Model Context Protocol",
        description="Let agents and editors search, by the Model Context Protocol: five read-only "
        "tools. A client starts the command itself and talks to it by standard input and output.",
    )
    parser.set_defaults(run=run["mcp"])
    _served_indexes_option(parser)
    parser.add_argument(
        "--http", action="store_true", help="answer over streamable HTTP instead, at /mcp"
    )
    _server_options(parser, 8601)
    _model_options(parser)


def _add_eval(commands: Commands, run: Mapping[str, Run]) -> None:
    evaluation: argparse.ArgumentParser = commands.add_parser(
        "eval",
        help="measure quality on labelled data, your own questions or your own documents",
        description="Measure the quality of search and of sentence similarity.",
    )
    kinds = evaluation.add_subparsers(dest="kind", metavar="KIND", required=True)
    sts = _command(
        kinds,
        "sts",
        run["eval sts"],
        "sentence similarity against human scores: Spearman correlation x 100",
    )
    sts.add_argument(
        "files", nargs="+", metavar="FILE.tsv", help="columns: score, sentence1, sentence2"
    )
    sts.epilog = (
        "Vectors are calibrated with the file's sentences, never with its scores; spearman_raw is "
        "without calibration. --pooling takes several names, separated by commas, or all."
    )
    _model_options(sts)
    retrieval = _command(
        kinds, "retrieval", run["eval retrieval"], "retrieval on a data set in the format of BEIR"
    )
    retrieval.add_argument(
        "folder", metavar="DIR", help="folder with corpus.jsonl, queries.jsonl, qrels.tsv"
    )
    _rerank_option(retrieval)
    retrieval.add_argument(
        "--queries",
        type=int,
        metavar="N",
        help="use the first N queries only, since reranking is slow",
    )
    _run_options(retrieval)
    _model_options(retrieval)
    queries = _command(
        kinds, "queries", run["eval queries"], "retrieval with your own questions on your own index"
    )
    queries.add_argument(
        "file",
        metavar="FILE.jsonl",
        help='one question per line: {"query": "…", "path": "a.pdf", "page": 3}',
    )
    queries.epilog = (
        'Several answers: {"query": "…", "relevant": [{"path": "a.pdf", "pages": [3, 4]}, …]}. '
        "Paths are as wva search shows them; without a page any passage of the file counts. An "
        "answer that is not in the index is reported, counts as not found, and gives exit code 3."
    )
    _index_option(queries)
    _run_options(queries)
    _device_options(queries.add_argument_group("model"))
    models = _command(
        kinds, "models", run["eval models"], "compare models on your own documents, without labels"
    )
    models.add_argument(
        "models", nargs="+", metavar="MODEL", help="e.g. gemma3-270m or smollm2-135m:layers=all"
    )
    models.add_argument("path", metavar="PATH", help="folder or file of documents")
    models.add_argument(
        "--passages",
        type=int,
        default=300,
        metavar="N",
        help="number of passages to search (default 300)",
    )
    models.epilog = (
        "A sentence is taken out of each passage and must find it again; no labels are needed. "
        "Options of a model: :layers=, :pooling=, :prompts=FILE.json (as --prompts of wva "
        "index) and :adapter=FOLDER (the map that wva tune FOLDER --adapter made), e.g. "
        "gemma3-270m:pooling=last-hidden. "
        "A model is called better only if the difference is more than noise."
    )
    _run_options(models)
    _device_options(models.add_argument_group("model"))


def _run_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--per-query", action="store_true", help="include each query's values in --json"
    )
    parser.add_argument("--save", metavar="FILE", help="save the run as a baseline, a JSON file")
    parser.add_argument(
        "--against",
        metavar="FILE",
        help="compare with a saved baseline: better, worse or within noise",
    )


def _add_upkeep(commands: Commands, run: Mapping[str, Run]) -> None:
    backup = _command(
        commands, "backup", run["backup"], "write a copy of an index, also while it is written to"
    )
    backup.add_argument("to", metavar="TO", help="a new folder, or a new file that ends in .zip")
    _index_option(backup)
    backup.epilog = (
        "The copy holds the index and the files uploaded to it, not the documents in your own "
        "folders. A folder can be searched at once; wva restore makes an index of either."
    )
    restore = _command(commands, "restore", run["restore"], "make an index from a backup")
    restore.add_argument("backup", metavar="BACKUP", help="a folder or file of wva backup")
    _index_option(restore)
    restore.epilog = "The folder of the index must not exist, or be empty."
    copy = _command(
        commands,
        "copy",
        run["copy"],
        "copy an index to another folder, to Milvus or from there, without the model",
    )
    copy.add_argument("source", metavar="FROM", help="folder or address of an index")
    copy.add_argument("to", metavar="TO", help="folder or address, new or begun by this command")
    copy.add_argument("--store", help="store of a new index, as for wva index")
    copy.add_argument(
        "--questions",
        type=int,
        default=20,
        metavar="N",
        help="sentences of the index that both are asked at the end (default 20; 0: none)",
    )
    copy.epilog = (
        "It can be stopped at any time: the same command goes on. Documents that are there and "
        "equal are left, others of the same model stay. Exit code 3: something is missing, or the "
        "results differ. Uploaded files are not copied, but what is indexed of them."
    )
    compact = _command(
        commands, "compact", run["compact"], "give back the disk space of what was deleted"
    )
    _index_option(compact)
    compact.add_argument("--dry-run", action="store_true", help="only say about how much")
    compact.epilog = (
        "No byte of a deleted document is in any file of the index then; uploads that were removed "
        "on the page stay for a day."
    )


def _add_models(commands: Commands, run: Mapping[str, Run]) -> None:
    parser = _command(
        commands,
        "models",
        run["models"],
        "list the models that can be fetched and those on this disk",
    )
    actions = parser.add_subparsers(dest="action", metavar="ACTION")
    fetch = _command(actions, "fetch", run["models fetch"], "download a model")
    fetch.add_argument("name", metavar="NAME", help="preset, GGUF file or hub id")
    remove = _command(actions, "remove", run["models remove"], "delete a model from this disk")
    remove.add_argument("name", metavar="NAME", help="as wva models lists it")


def _add_embed(commands: Commands, run: Mapping[str, Run]) -> None:
    parser = _command(commands, "embed", run["embed"], "write the vectors of texts")
    parser.add_argument(
        "--input", required=True, metavar="TEXTS.txt", help="file with one text per line"
    )
    parser.add_argument(
        "--output",
        required=True,
        metavar="VECTORS.npy",
        help="file to write: float32, shape (n, dim)",
    )
    parser.add_argument(
        "--kind",
        choices=["passage", "query", "sentence"],
        default="passage",
        help="what the texts are, which decides the prompt (default passage)",
    )
    parser.add_argument("--prompt", help="your own prompt, with {} for the text")
    parser.add_argument("--raw", action="store_true", help="write vectors without calibration")
    parser.epilog = (
        "Passages and queries are calibrated with general texts, each on its own. Sentences "
        "(--kind sentence) are there to be compared with each other: they are calibrated with all "
        "sentences of the file, without labels, so put those to be compared into one file. With "
        "one sentence only the general texts count."
    )
    _model_options(parser)
