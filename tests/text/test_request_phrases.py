"""Phrases that only ask: recognised in whatever question, and never a subject."""

from __future__ import annotations

import time

import pytest

from retriever.text.analyzer import query_terms
from retriever.text.request_phrases import MAX_CHARACTERS, request_spans

ASKING = (
    "I am interested in {}.",
    "I am interested in articles about any {}.",
    "I'm interested in papers or reports that deal with {}",
    "We are looking for information on {}",
    "I would like to find documents that describe {}",
    "I'd like to see all recent papers dealing with {}.",
    "Find documents that discuss {}.",
    "Please find me articles describing {}",
    "find all reports that provide information on {}",
    "Show me everything about {}",
    "Tell me about {}",
    "Can you tell me about {}?",
    "Are there any papers on {}?",
    "Is there any information about {}?",
    "What is known about {}?",
    "What do we know about {}?",
    "What papers are there on {}?",
    "what data exists on {}",
    "Has anyone any literature on {}?",
    "{}. Relevant documents will discuss this.",
    "{}; a relevant article should describe this.",
    "To be relevant, a document must mention {}.",
    "Papers concerning {}",
    "information regarding {}",
    "Tidal mills. Whale bones are also of interest. {}",
)


@pytest.mark.parametrize("form", ASKING)
def test_only_the_subject_is_asked_for(form: str) -> None:
    for subject in ("whale bones", "tidal mills of the coast"):
        wanted = set(query_terms(form.format(subject)))
        others = set(query_terms("tidal mills whale bones")) if "Whale" in form else set()
        assert wanted == set(query_terms(subject)) | others
    upper = form.upper().format("WHALE BONES")
    assert set(query_terms(upper)) >= {"whale", "bone"}
    assert len(query_terms(upper)) == len(query_terms(form.format("whale bones")))


@pytest.mark.parametrize(
    "query",
    [
        "articles of association",
        "interest rates of the central bank",
        "the rate of interest",
        "the find command",
        "find and grep",
        "documents provided by tenants",
        "papers presented at the conference",
        "relevance of documents",
        "the show must go on",
        "report on the third quarter",
        "information security policy",
        "interested parties",
        "letters to the editor about papers on strike",
        "list price of the books",
        "who is interested in buying the house",
    ],
)
def test_a_subject_is_no_request(query: str) -> None:
    assert request_spans(query) == []


@pytest.mark.parametrize(
    "query",
    ["I am interested in", "information about", "relevant documents", "What is known about"],
)
def test_a_query_of_nothing_else_keeps_its_words(query: str) -> None:
    assert query_terms(query)


def test_a_pasted_text_asks_for_nothing_and_no_text_takes_long() -> None:
    asked = "Papers on whales. "
    assert len(request_spans(asked * 9)) == 9
    assert request_spans(asked * (MAX_CHARACTERS // len(asked) + 1)) == []
    started = time.process_time()
    for hard in (" any" * 499, "find any " * 222, "relevant " * 222, "of of interest " * 133):
        request_spans(hard)
        request_spans("find" + hard[:1_900])
        request_spans("I am interested in" + hard[:1_900])
    assert time.process_time() - started < 1
