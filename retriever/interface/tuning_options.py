"""The parser of `wva tune`."""

from __future__ import annotations

import argparse

_DESCRIPTION = """\
Make a better embedder out of a language model, and keep it only if held-out pairs show that it is
better by more than noise. OUT becomes a model folder, for --model of any command.

  wva tune tuned --pairs pairs.jsonl         from questions and the passages that answer them
  wva tune tuned --documents indexes/mine    from your own documents, without labels

With --adapter an index gets a linear map of its vectors in seconds, and no passage is embedded
again. It is kept by the same rule; explanations stay exact.

  wva tune indexes/mine --adapter            from its own documents; or with --pairs
  wva tune indexes/mine --adapter off        as it was"""

_PAIRS_HELP = (
    'JSON lines {"query": "…", "positive": "…", "negatives": ["…"]}, or with a "score" for the '
    "similarity of two sentences; a folder in the format of BEIR; or a .tsv as wva eval sts reads"
)


def add_tune_options(parser: argparse.ArgumentParser) -> None:
    """What `wva tune` takes, without the options of the base model."""
    parser.description = _DESCRIPTION
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument(
        "place",
        metavar="OUT",
        help="the new folder of the tuned model; with --adapter the index, or its address",
    )
    source = parser.add_mutually_exclusive_group()
    source.add_argument("--pairs", metavar="PATH", help=_PAIRS_HELP)
    source.add_argument(
        "--documents", metavar="INDEX", help="an index; its documents become pairs, without labels"
    )
    parser.add_argument(
        "--not",
        dest="excluded",
        action="append",
        default=[],
        metavar="PATH",
        help="pairs that must not be trained on, by id and by text: what you measure with later "
        "(repeatable)",
    )
    parser.add_argument(
        "--held-out",
        type=float,
        default=None,
        metavar="SHARE",
        help="share of the questions, or of the documents, that measures (default 0.1; of "
        "documents 0.15; for --adapter 0.2)",
    )
    parser.add_argument(
        "--for",
        dest="wanted",
        choices=("hybrid", "dense"),
        help="the search that has to be better (default: with pairs either, else hybrid)",
    )
    parser.add_argument(
        "--most", type=int, metavar="N", help="train on N pairs at most (default: all; 20,000)"
    )
    parser.add_argument(
        "--restart", action="store_true", help="forget an unfinished run of OUT, and begin again"
    )
    _adapter_options(parser.add_argument_group("an index"))
    _recipe_options(parser.add_argument_group("recipe"))


def _adapter_options(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--adapter",
        nargs="?",
        const="on",
        metavar="off",
        help="fit a linear map to the stored vectors of the index OUT; off removes it",
    )
    group.add_argument(
        "--side",
        choices=("query", "both"),
        help="map queries alone, or queries and passages (default query)",
    )


def _recipe_options(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--minutes",
        type=float,
        metavar="N",
        help="train for N minutes at most (default: on a CPU 30, else no limit; for --adapter 5)",
    )
    group.add_argument("--epochs", type=float, metavar="N", help="times all pairs are seen (3)")
    group.add_argument("--batch", type=int, metavar="N", help="pairs compared with each other (32)")
    group.add_argument(
        "--negatives",
        type=int,
        metavar="N",
        help="passages for each pair that a hybrid search finds, but that do not answer (1)",
    )
    group.add_argument(
        "--teacher",
        type=float,
        metavar="X",
        help="weight of learning how the hybrid search with feedback ranks a pair's passages (0)",
    )
    group.add_argument(
        "--judge",
        action="store_true",
        help="let the model's own likelihoods sort out negatives that do answer, and teach; slower",
    )
    group.add_argument("--rank", type=int, metavar="N", help="rank of the adapters (16)")
    group.add_argument("--learning-rate", type=float, metavar="X", help="(0.001)")
    group.add_argument(
        "--max-tokens", type=int, metavar="N", help="of an input, the prompt included (160)"
    )
    group.add_argument(
        "--part-tokens",
        type=int,
        metavar="N",
        help="computed at once (default: as many as half of the free memory holds)",
    )
    group.add_argument(
        "--dimensions",
        metavar="N,N,…",
        help="train the first N numbers of a vector to stand alone (Matryoshka)",
    )
    group.add_argument("--seed", type=int, metavar="N", help="(1)")
    group.add_argument(
        "--processes", type=int, metavar="N", help="processes that train (default: one per GPU)"
    )


__all__ = ["add_tune_options"]
