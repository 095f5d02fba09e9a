"""The account of a file's words: how many its source has, and where each of them is.

The words of the source are counted by an independent, simple count: all text between tags, all
text nodes of all parts. It shares no code with the readers, and knows nothing of layout. Every word
is then on a page (or in the title, the author or the metadata), or in the text that the reader says
it leaves out; what remains is missing, and a fault that the report shows.
"""

from __future__ import annotations

import zipfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence

from retriever.reading.account import mail, packages, plain
from retriever.reading.account.words import count_words, first_words, share, unexplained
from retriever.types import Account, Document, PageState

MAX_BYTES = 10_000_000
"""Size of a file in bytes; the words of a larger one are not counted."""

MAX_MISSING = 200
"""Number of missing words that are kept."""

COUNTS: dict[str, Callable[[bytes], Counter[str]]] = {
    "html": plain.html_words,
    "epub": packages.epub_words,
    "markdown": plain.markdown_words,
    "docx": packages.docx_words,
    "odt": packages.odf_words,
    "ods": packages.odf_words,
    "odp": packages.odf_words,
    "pptx": packages.pptx_words,
    "xlsx": packages.xlsx_words,
    "rtf": plain.rtf_words,
    "eml": mail.eml_words,
    "mbox": mail.mbox_words,
    "notebook": plain.notebook_words,
    "csv": plain.table_words,
    "json": plain.json_words,
    "jsonl": plain.jsonl_words,
    "code": plain.text_words,
    "txt": plain.text_words,
}
"""Format → the count of the words of a file's bytes."""

_MARKUP = frozenset(["scripts", "styles", "comments"])
NOT_COUNTED: dict[str, frozenset[str]] = {
    **dict.fromkeys(["html", "epub", "markdown"], _MARKUP),
    **dict.fromkeys(["eml", "mbox"], _MARKUP | {"mail headers"}),
}
"""Format → kinds of left-out text that the count of the source does not have.

They must not stand for words that are lost.
"""


def take_account(data: bytes, document: Document, nested: Sequence[Document] = ()) -> Account:
    """The account of one file, as its reader gives it, without the `nested` files in it.

    Their pages have to be among those of the document.
    """
    by_kind: dict[str, Counter[str]] = {}
    for part in document.left_out:
        by_kind.setdefault(part.kind, Counter()).update(count_words(part.text))
    named = {kind: count.total() for kind, count in by_kind.items()}
    count = COUNTS.get(document.format)
    if count is None:
        return Account(left_out=named, uncounted="its format has no independent count")
    if len(data) > MAX_BYTES:
        return Account(left_out=named, uncounted="too large to count")
    try:
        source = count(data)
    except packages.TooLargeError:
        return Account(left_out=named, uncounted="too large to count")
    # Damaged files raise many types of exception; what the reader made of them is all there is.
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError, *_DAMAGED):
        return Account(left_out=named, uncounted="its words cannot be counted")
    inner = count_words(*(page.text for one in nested for page in one.pages))
    return _compared(source, inner, document, by_kind)


# What zipfile raises: NotImplementedError is for a compression method that it does not know. The
# count shares no code with the readers, so it has its own list.
_DAMAGED = (zipfile.BadZipFile, OSError, EOFError, NotImplementedError)


def _compared(
    source: Counter[str],
    inner: Counter[str],
    document: Document,
    by_kind: dict[str, Counter[str]],
) -> Account:
    """The account; `inner` are the words of files in the file, which count there."""
    named = {kind: count.total() for kind, count in by_kind.items()}
    everything = source + inner if inner else source
    found = count_words(*_found_texts(document))
    on_pages = share(everything, found)
    for kind, words in by_kind.items():
        if kind not in NOT_COUNTED.get(document.format, ()):
            found.update(words)
    missing = unexplained(everything, found)
    if missing and _is_unread(document):
        return Account(left_out=named, uncounted="not all of it could be read")
    left_out = share(everything, found) - on_pages
    return Account(
        source.total(),
        max(0, source.total() - left_out - missing.total()),
        named,
        missing.total(),
        first_words(missing, MAX_MISSING),
    )


def _is_unread(document: Document) -> bool:
    """Whether the states of its pages say that text is missing."""
    states = {page.state for page in document.pages}
    return any(state.incomplete for state in states) or states == {PageState.SKIPPED}


def _found_texts(document: Document) -> Iterator[str]:
    """All texts by which the document can be found."""
    yield from (document.title, document.author, document.date)
    for key, value in document.metadata.items():
        yield from (key, str(value))
    for page in document.pages:
        yield from (page.text, page.label)


def total(accounts: Iterable[Account]) -> Account:
    """The account of several files together."""
    left_out: Counter[str] = Counter()
    source = pages = unexplained_words = 0
    missing: tuple[str, ...] = ()
    reasons: dict[str, None] = {}
    counted = False
    for account in accounts:
        left_out.update(account.left_out)
        source += account.source
        pages += account.pages
        unexplained_words += account.unexplained
        missing += account.missing
        counted = counted or not account.uncounted
        reasons |= dict.fromkeys(filter(None, [account.uncounted]))
    return Account(
        *(source, pages, dict(left_out), unexplained_words, missing[:MAX_MISSING]),
        uncounted="" if counted else "; ".join(reasons),
    )


__all__ = ["COUNTS", "MAX_BYTES", "take_account", "total"]
