"""What every trial of `flips` would compute first, once for all: they are forked from here."""

from __future__ import annotations

import numpy.ma  # noqa: F401 - numpy imports it later

from retriever.text.analyzer import passage_terms, query_words
from retriever.text.sentences import split_sentences

_TEXT = "# Notes\n\nThe cat's roof is 17 m high, isn't it? Über dem Haus: e-mail 3.5 (see p. 4).\n"

split_sentences(_TEXT)
passage_terms("Notes", _TEXT)
query_words("is the cat on the roof", ("en",))
