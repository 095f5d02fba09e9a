"""Faithfulness of explanations, by deletion: `python -m benchmarks.deletion INDEX QUERIES.jsonl`.

In the first dense results of every query, the words with the largest contributions are deleted, or
as many random ones, and the passages are embedded again. Deleting the former must lower the cosine
more. The bootstrap resamples queries, since the results of one query are similar.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from retriever import Index
from retriever.evaluation.datasets import read_questions
from retriever.explaining.faithfulness import DRAWS, DeletionTest
from retriever.significance import compare, interval
from retriever.types import UsageError

COUNTS = (1, 3, 5, 10)


def deletion_tests(index: Index, query: str, results: int, count: int) -> list[DeletionTest]:
    """The deletion tests of a query's first results; results that are too short are skipped."""
    found = []
    for hit in index.search(query, results, mode="dense", fold=False):
        try:
            found.append(index.check_explanation(index.explain(query, hit), count=count))
        except UsageError as error:
            print(f"{hit.chunk.path}: {error}", file=sys.stderr)
    return found


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("index", type=Path)
    parser.add_argument("queries", type=Path)
    parser.add_argument("--results", type=int, default=3, help="of each query (3)")
    parser.add_argument("--words", type=int, nargs="*", default=list(COUNTS))
    options = parser.parse_args(arguments)
    queries = [question.text for question in read_questions(options.queries)]
    print(
        f"| words deleted | passages | cosine lost: strongest | {DRAWS} times at random |"
        " difference (95 %) | verdict | strongest cost more |\n|---|---|---|---|---|---|---|"
    )
    with Index.open(options.index) as index:
        for count in options.words:
            checks = [deletion_tests(index, query, options.results, count) for query in queries]
            found_any = [each for each in checks if each]
            ours = [np.mean([one.lost for one in each]) for each in found_any]
            others = [np.mean([one.lost_at_random for one in each]) for each in found_any]
            passages = [one for each in found_any for one in each]
            more = np.mean([one.lost > one.lost_at_random for one in passages])
            compared = compare(ours, others)
            difference = compared.difference
            print(
                f"| {count} | {len(passages)} | {interval(ours).mean:.3f} |"
                f" {interval(others).mean:.3f} | {difference.mean:+.3f}"
                f" ({difference.low:+.3f} to {difference.high:+.3f}) | {compared.verdict.value} |"
                f" {more:.0%} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
