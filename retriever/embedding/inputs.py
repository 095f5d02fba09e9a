"""What goes into a model: texts in their prompts, and the keys of their vectors; needs no model."""

from __future__ import annotations

import hashlib
import logging

from retriever.settings import EmbedderSettings

log = logging.getLogger(__name__)

MAX_TOKENS = 8192
"""Longer inputs are embedded in pieces, even if the model's context is longer."""

MAX_CHARACTERS = 200_000
"""A longer text is embedded by its beginning: 25 times the longest input of most models."""

MAX_QUERY_CHARACTERS = 20_000
"""A longer query is embedded by its beginning."""

TITLE_CHARACTERS = 160
"""A longer title is cut before it is put in front of the text."""


class ModelInputs:
    """The exact model inputs of an embedder with these settings."""

    settings: EmbedderSettings

    @property
    def fingerprint(self) -> str:
        """Equal for two embedders if and only if their vectors are comparable."""
        return self.settings.fingerprint

    def passage_input(self, text: str, title: str = "") -> str:
        """The exact model input for a passage; a title is put in front of the text."""
        return fill_template(self.settings.prompts.passage, with_title(text, title))

    def query_inputs(self, text: str) -> tuple[str, ...]:
        """The exact model inputs for a query, one for each of its prompts."""
        asked = query_text(text)
        return tuple(fill_template(template, asked) for template in self.settings.prompts.queries)

    def sentence_input(self, text: str) -> str:
        """The exact model input for a sentence to compare; it ends with a full stop."""
        return fill_template(self.settings.prompts.sentence, with_full_stop(text))

    def key(self, model_input: str) -> str:
        """The key under which this input's vector is stored, so that it is embedded once."""
        text = f"{self.fingerprint}\0{model_input}".encode("utf-8", "surrogatepass")
        return hashlib.sha256(text).hexdigest()[:40]


def fill_template(template: str, text: str) -> str:
    r"""Put a text into a prompt. Its double quotes become single ones, unlike the prompt's.

    The bare template "{}" leaves the text unchanged. Of a text longer than `MAX_CHARACTERS`, only
    the beginning is put in.

    >>> fill_template('This word : "{}" means', 'a "b"')
    'This word : "a \'b\'" means'
    """
    if len(text) > MAX_CHARACTERS:
        log.warning(
            "a text has %s characters: only the first %s are embedded",
            *(f"{count:,}" for count in (len(text), MAX_CHARACTERS)),
        )
        text = text[:MAX_CHARACTERS]
    before, _, after = template.partition("{}")
    if not before and not after:
        return text
    return before + text.replace('"', "'") + after


def query_text(text: str) -> str:
    """The beginning of a query that is embedded."""
    return text[:MAX_QUERY_CHARACTERS]


def with_title(text: str, title: str) -> str:
    """A passage's text with the title of its document in front."""
    name = title.strip()[:TITLE_CHARACTERS]
    return f"{name}. {text}" if name else text


def with_full_stop(text: str) -> str:
    """The sentence, with a full stop if it has no end mark.

    >>> with_full_stop("A dog runs"), with_full_stop("Really?")
    ('A dog runs.', 'Really?')
    """
    stripped = text.rstrip()
    return stripped if not stripped or stripped[-1] in ".!?…。！？" else stripped + "."


def encodable(text: str) -> str:
    """`text` without lone surrogates, which tokenizers refuse."""
    return text.encode("utf-8", "replace").decode("utf-8")


def bounded(model_input: str) -> str:
    """`model_input` as a tokenizer takes it: a text and its prompt, but no more."""
    return encodable(model_input[: 2 * MAX_CHARACTERS])


def appended_tokens(whole: list[int], bare: list[int]) -> int:
    """How many special tokens a tokenizer appends: a text's ids with and without special tokens.

    >>> appended_tokens([1, 7, 8, 2], [7, 8]), appended_tokens([1, 7], [7])
    (1, 0)
    """
    starts = range(len(whole) - len(bare) + 1)
    start = next((i for i in starts if whole[i : i + len(bare)] == bare), 0)
    return len(whole) - len(bare) - start if bare else 0


__all__ = [
    "MAX_CHARACTERS",
    "MAX_QUERY_CHARACTERS",
    "MAX_TOKENS",
    "ModelInputs",
    "appended_tokens",
    "bounded",
    "encodable",
    "fill_template",
    "query_text",
    "with_full_stop",
    "with_title",
]
