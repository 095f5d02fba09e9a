"""`wva answer`: the sentences that answer a question, or an answer that a named model writes."""

from __future__ import annotations

import argparse
import os
from typing import TYPE_CHECKING

from retriever.interface.commands.arguments import requested_embedder, search_options
from retriever.interface.commands.output import DONE, print_json, use_colour
from retriever.interface.terminal.characters import one_line
from retriever.interface.terminal.printing import out, tell
from retriever.types import UsageError

if TYPE_CHECKING:
    from retriever.answers import Answer, WrittenAnswer
    from retriever.answers.chat import OpenAIChat
    from retriever.index import Index
    from retriever.searching.options import SearchOptions

KEY = "WVA_LLM_KEY"


def run_answer(options: argparse.Namespace) -> int:
    """Answer a question from one index."""
    from retriever.answers import write_answer
    from retriever.index import Index
    from retriever.interface.terminal.answers import sentence_lines, written_lines

    how = search_options(options)
    chat = named_chat(options)
    embedder = requested_embedder(options)
    with Index.open(options.index, embedder, device=options.device, dtype=options.dtype) as index:
        answer: Answer | WrittenAnswer
        if chat is None:
            answer = _sentences(index, options, how)
            lines = sentence_lines(answer, colour=use_colour())
        else:
            answer = write_answer(index, options.query, chat, count=options.passages, options=how)
            lines = written_lines(answer, colour=use_colour())
    if options.json:
        print_json({"index": options.index, **answer.to_json()})
    else:
        out("\n".join(lines))
    return DONE


def _sentences(index: Index, options: argparse.Namespace, how: SearchOptions) -> Answer:
    from retriever.answers import best_sentences

    return best_sentences(index, options.query, options.k, options=how)


def named_chat(options: argparse.Namespace) -> OpenAIChat | None:
    """The chat model that the options name, None for none; a distant one is told."""
    from retriever.answers.chat import OpenAIChat

    if options.llm_model and options.llm is None:
        raise UsageError("--llm-model names a model of the server that --llm gives; give both")
    if options.llm is None:
        return None
    chat = OpenAIChat(options.llm, options.llm_model, os.environ.get(KEY, ""))
    if not chat.is_local:
        tell(f"the question and the best passages are sent to {one_line(chat.url)}")
    return chat
