"""Several cards: one copy of the model on each, and groups of texts shared out among them."""

from __future__ import annotations

import copy
import logging
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from queue import Empty, SimpleQueue

import numpy as np
import torch

from retriever.arrays import DoubleVectors
from retriever.embedding.accelerator import ROW_TOKENS, AcceleratorRunner
from retriever.embedding.packing import TokenIds
from retriever.embedding.pooling import AttentionPooler
from retriever.embedding.runner import Runner, out_of_memory

log = logging.getLogger(__name__)

GROUP_TOKENS = 8 * 32_768
"""Tokens of the texts that a card takes at once."""


class DataParallelRunner(Runner):
    """Runs texts on several runners, each with a copy of the model.

    `more` makes the runners of further cards when there is work for them: a query needs one card.
    A card takes the next group when it is done with one, so a slower card takes fewer.
    """

    def __init__(
        self,
        runners: Sequence[Runner],
        more: Callable[[], Sequence[Runner]] = tuple,
        *,
        group_tokens: int = GROUP_TOKENS,
        share_from: int = ROW_TOKENS,
    ) -> None:
        super().__init__(runners[0].pooler, packed=False)
        self.runners = tuple(runners)
        self.group_tokens = group_tokens
        self.share_from = share_from
        self._more = more
        self._alone = threading.Lock()

    def _add_more(self) -> None:
        """Copy the model to the other cards, once."""
        with self._alone:
            self.runners += tuple(self._more())
            self._more = tuple

    def run(self, texts: Sequence[TokenIds]) -> DoubleVectors:
        """The pooled vectors of token ids (one text at least), in their order: (n, dim)."""
        if sum(map(len, texts)) < self.share_from:
            return self.runners[0].run(texts)
        self._add_more()
        groups = self._groups(texts)
        if len(self.runners) == 1 or len(groups) == 1:
            return self.runners[0].run(texts)
        work: SimpleQueue[int] = SimpleQueue()
        for number in range(len(groups)):
            work.put(number)
        done: dict[int, DoubleVectors] = {}

        def take(runner: Runner) -> None:
            try:
                while True:
                    number = work.get_nowait()
                    done[number] = runner.run([texts[index] for index in groups[number]])
            except Empty:
                return
            except BaseException:
                while not work.empty():  # the other cards finish what they have begun
                    _discard(work)
                raise

        with ThreadPoolExecutor(len(self.runners)) as pool:
            for future in [pool.submit(take, runner) for runner in self.runners]:
                future.result()
        rows = np.concatenate([done[number] for number in range(len(groups))])
        results = np.empty_like(rows)
        results[[index for group in groups for index in group]] = rows
        return results

    def _groups(self, texts: Sequence[TokenIds]) -> list[list[int]]:
        """The numbers of the texts, longest first, in groups of about `group_tokens`.

        With few texts the groups are smaller, so that every card has work.
        """
        total = sum(map(len, texts))
        most = min(self.group_tokens, -(-total // len(self.runners)))
        groups: list[list[int]] = [[]]
        used = 0
        for index in sorted(range(len(texts)), key=lambda index: -len(texts[index])):
            if groups[-1] and used + len(texts[index]) > most:
                groups.append([])
                used = 0
            groups[-1].append(index)
            used += len(texts[index])
        return groups


def _discard(work: SimpleQueue[int]) -> None:
    with suppress(Empty):
        work.get_nowait()


def runner_on_all_cards(pooler: AttentionPooler) -> Runner:
    """A runner for packed rows on the pooler's card and on every other one with room for a copy."""
    first = AcceleratorRunner(pooler)
    others = [
        torch.device("cuda", number)
        for number in range(torch.cuda.device_count())
        if torch.device("cuda", number) != pooler.device
    ]
    if not others:
        return first

    def more() -> list[Runner]:
        return [*filter(None, (_copy_on(pooler, device) for device in others))]

    return DataParallelRunner([first], more)


def _copy_on(pooler: AttentionPooler, device: torch.device) -> AcceleratorRunner | None:
    """A runner with a copy of the model on `device`; None if it does not fit there."""
    size = sum(p.numel() * p.element_size() for p in pooler.model.parameters())
    if 2 * size > torch.cuda.mem_get_info(device)[0]:
        log.info("%s has no room for a copy of the model", device)
        return None
    try:
        model = copy.deepcopy(pooler.model).to(device)
    except RuntimeError as error:
        if not out_of_memory(error):
            raise
        log.info("%s has no room for a copy of the model", device)
        return None
    return AcceleratorRunner(AttentionPooler(model, pooler.pooled, pooler.pooling), own_model=True)
