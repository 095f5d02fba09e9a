"""Answers: the sentences of the documents, or text with checked quotations by a named model.

Only whoever starts the server names a model that writes; a request cannot send it anywhere.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fastapi import APIRouter, Response
from pydantic import Field, create_model

from retriever.answers import best_sentences, write_answer
from retriever.answers.chat import Chat
from retriever.interface.server.asked import OPTIONS, Asked, one_index
from retriever.interface.server.errors import RequestError, as_json
from retriever.interface.server.served import Served, ServedIndex
from retriever.searching.options import SearchOptions
from retriever.settings import ANSWER_PASSAGES, ANSWER_SENTENCES


class _ToAnswer(Asked):
    written: bool = Field(default=False, description="let the model of `--llm` write the answer")
    passages: int = Field(
        default=ANSWER_PASSAGES, ge=1, le=50, description="passages that this model is sent"
    )


_K = {"k": (OPTIONS["k"][0], ANSWER_SENTENCES)}  # the number of sentences

AnswerRequest = create_model("AnswerRequest", __base__=_ToAnswer, **{**OPTIONS, **_K})


def answer_routes(served: Served) -> APIRouter:
    """The route of this shape."""
    router = APIRouter(tags=["search"])

    @router.post("/answer", summary="The sentences that answer, as `wva answer --json`")
    async def answer(body: AnswerRequest) -> Response:  # type: ignore[valid-type]  # made at run time
        asked: Any = body
        options = asked.options()
        if asked.written and served.chat is None:
            raise RequestError(
                "no model writes answers here: wva serve --llm URL names one; without written "
                "the best sentences are given",
                "written",
            )
        return await served.with_query(
            *(asked.names, asked.query, options),
            lambda indexes: as_json(_answer(indexes, asked, options, served.chat)),
            slow=asked.written,
        )

    return router


def _answer(
    indexes: Mapping[str, ServedIndex], asked: Any, options: SearchOptions, chat: Chat | None
) -> dict[str, Any]:
    name, index = one_index(indexes, "an answer")
    if asked.written and chat is not None:
        written = write_answer(index, asked.query, chat, count=asked.passages, options=options)
        return {"index": name, **written.to_json()}
    return {"index": name, **best_sentences(index, asked.query, asked.k, options=options).to_json()}


__all__ = ["answer_routes"]
