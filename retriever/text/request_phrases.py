"""Phrases of a question that ask for texts, and say nothing of their subject.

"I am interested in articles about any fungi" asks for fungi: no passage about them need say
"interested" or "articles", and these words are rare enough to count much. Such *stop structures*
are more than a list of words: "articles of association" and "interest rates" are subjects. (Huston
and Croft, "Evaluating Verbose Query Processing Techniques", SIGIR 2010.)

A phrase stands at the beginning of a sentence, or is a sentence's verb ("… are of interest"). The
module knows nothing of terms and scores.
"""

from __future__ import annotations

import re

MAX_CHARACTERS = 2_000
"""A longer text was pasted and asks for nothing."""

_PLENTY = "any|all|some|more|other|recent|relevant|available|further|the|a|an|of|general|useful"
_TEXTS = "articles?|papers?|documents?|publications?|literature|references|information"
_THINGS = (
    rf"{_TEXTS}|reports?|studies|books?|works?|abstracts?|texts?|passages?|pages?|files?|data|"
    "material|details|discussions?|anything|something|everything"
)
_TREAT = (
    "discuss|describ|deal|treat|cover|concern|mention|address|contain|includ|report|provid|giv|"
    "explain|examin|identify|identifi|present|relat|pertain|consider|investigat|refer|focus|talk|"
    "cite|show"
)
_FURTHER = "(?: (?:with|on|to|about|upon|information|details))*"
_TREATS = rf"(?:{_TREAT})\w*{_FURTHER}"
_ABOUT = (
    rf"(?:about|on|(?:{_TREAT})ing{_FURTHER}|regarding|related to|(?:which|that)"
    rf"(?: (?:is|are|may|might|can|will))? (?:about|on|{_TREATS}))"
)
_OBJECT = (
    rf"(?: (?:{_PLENTY}))*(?: (?:{_THINGS}))(?: (?:or|and) (?:{_THINGS}))*(?: {_ABOUT})(?: any)?"
)
_ME = "(?: (?:me|us))"
_REQUESTS = (
    r"(?:i|we)(?: am| are|'m|’m|'re|’re)(?: (?:also|only|very|mainly|particularly|especially))*"
    rf" interested in(?: (?:finding|seeing|reading|getting|receiving))?(?:{_OBJECT}| any)?",
    rf"interested in(?:{_OBJECT}| any)?",
    r"(?:i|we)(?: am| are|'m|’m|'re|’re) (?:looking|searching) for"
    rf"(?:{_OBJECT})?",
    r"(?:i|we)(?: would|'d|’d)?(?: like| want| need| wish)(?: to)"
    rf" (?:know|see|find|get|read|have|receive|learn|obtain)(?:{_OBJECT}| about)?",
    rf"(?:i|we) (?:want|need|seek)(?:{_OBJECT})",
    rf"(?:looking|searching) for(?:{_OBJECT})",
    rf"(?:find|give|show|get|list|retrieve|provide|identify|locate|send|search for|look for)"
    rf"{_ME}?(?:{_OBJECT})",
    rf"(?:find|give|show|get|tell){_ME}(?: (?:about|all about|everything about))?",
    r"(?:can|could|would|will) you(?: please)?"
    rf" (?:find|give|show|tell|explain|send)(?:{_ME})?(?:{_OBJECT}| about)?",
    rf"(?:is|are) there(?:{_OBJECT})",
    rf"(?:do|does|did|have|has) (?:you|we|they|anyone|anybody|somebody|someone)"
    rf"(?: (?:have|know|got))?(?:{_OBJECT}| about)?",
    r"what (?:do (?:we|you|they) know|is (?:already |currently |generally )?known) about",
    rf"what(?: (?:other|recent|more))?(?: (?:{_THINGS}))(?: (?:is|are|exists?))"
    rf"(?: (?:there|available|known))?(?: {_ABOUT}| for)",
    rf"(?:{_TEXTS})(?: {_ABOUT})",
    r"(?:a |any |all |the )?relevant (?:articles?|papers?|documents?|reports?|passages?|texts?)"
    r"(?: (?:will|should|must|may|would|can|could|might))?(?: (?:also|not|either))*"
    rf"(?: {_TREATS})?",
    r"(?:to be relevant,?|in order to be relevant,?)"
    rf" (?:an?|the) (?:article|paper|document|report|passage|text) "
    rf"(?:will|should|must|may|would)(?: {_TREATS})?",
)
_SENTENCE = re.compile(r"[.?!;:\n]\s*")
_ASKS = re.compile(rf"(?:please,? |also,? )?(?:{'|'.join(_REQUESTS)})(?!\w)", re.IGNORECASE)
_INTERESTS = re.compile(
    r"\b(?:is|are)(?: (?:also|not|only|especially))* of (?:\w+ )?interest(?=\s*(?:[.?!;,]|$))",
    re.IGNORECASE,
)


def request_spans(text: str) -> list[tuple[int, int]]:
    """The spans of the phrases that only ask.

    >>> text = "I am interested in articles about any fungi. Find the find command."
    >>> [text[start:end] for start, end in request_spans(text)]
    ['I am interested in articles about any']
    >>> request_spans("articles of association"), request_spans("documents provided by tenants")
    ([], [])
    """
    if len(text) > MAX_CHARACTERS:
        return []
    starts = [len(text) - len(text.lstrip()), *(end.end() for end in _SENTENCE.finditer(text))]
    found = [match.span() for start in starts if (match := _ASKS.match(text, start))]
    if "interest" in text.lower():
        found += [match.span() for match in _INTERESTS.finditer(text)]
    return found


__all__ = ["MAX_CHARACTERS", "request_spans"]
