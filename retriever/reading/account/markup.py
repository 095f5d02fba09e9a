"""The words of HTML, XML and Markdown: all that stands between tags.

No tree is built. Comments, scripts and style sheets are no text; all else is: hidden or not, in
navigation, buttons, drawings or tables. Words in attributes do not count.
"""

from __future__ import annotations

import re
from html import unescape

_ATTRIBUTES = r"""(?:[^>=]++|=\s*+(?:"[^"]*+(?:"|\Z)|'[^']*+(?:'|\Z))?)*+(?:>|\Z)"""
_INLINE = (
    "a|abbr|acronym|b|bdi|bdo|big|cite|code|data|del|dfn|em|font|i|ins|kbd|label|mark|nobr|q|s|"
    "samp|small|span|strike|strong|sub|sup|time|tt|u|var|wbr"
)
# A tag that is never closed runs to the end, so that no place is looked at twice.
_MARKUP = re.compile(
    rf"<!--.*?(?:--!?>|\Z)"
    rf"|<(?P<raw>script|style)(?=[\s/>]){_ATTRIBUTES}.*?(?:</(?P=raw)(?=[\s/>])[^>]*+(?:>|\Z)|\Z)"
    rf"|<!\[[^>]*+(?:>|\Z)"  # also CDATA, which HTML takes for a comment
    rf"|</?(?P<inline>{_INLINE})(?=[\s/>]){_ATTRIBUTES}"
    rf"|<[/!?]?[a-z]{_ATTRIBUTES}",
    re.IGNORECASE | re.DOTALL,
)
_BARE = (
    "allowfullscreen|async|autofocus|autoplay|border|checked|compact|controls|defer|disabled|"
    "hidden|inert|itemscope|loop|multiple|muted|nowrap|open|readonly|required|reversed|selected"
)
# In Markdown a tag ends within its paragraph, and has attributes, not words.
_MARKDOWN_TAG = re.compile(
    r"""</?[a-z][a-z0-9-]*+"""
    rf"""(?:\s++(?:(?:{_BARE})(?=[\s/>])"""
    r"""|[a-z_:@][\w.:-]*+\s*+=\s*+(?:"[^"\n]*+"|'[^'\n]*+'|[^\s"'<>=`]++)))*+"""
    r"""\s*+/?>""",
    re.IGNORECASE,
)
_COMMENT = re.compile(r"<!--.*?-->", re.DOTALL)
_SCRIPT = re.compile(r"<script\b[^>]{0,500}>.*?</script>", re.DOTALL | re.IGNORECASE)
_STYLE = re.compile(r"<style\b[^>]{0,500}>.*?</style>", re.DOTALL | re.IGNORECASE)


def html_text(source: str) -> str:
    """The text between the tags of a page; tags of words in a line join what they divide.

    >>> html_text("<p title='a > b'>one t<b>w</b>o<p>3 &lt; 4<script>a < b</script><!-- no -->")
    ' one two 3 < 4  '
    """
    return unescape(_MARKUP.sub(lambda tag: "" if tag["inline"] else " ", source))


def markdown_text(source: str) -> str:
    r"""The text of a Markdown file without tags and comments, which code may only seem to have.

    >>> markdown_text("We need a <b for\n\nevery <b>two</b>\n\n> nests")
    'We need a <b for\n\nevery two\n\n> nests'
    """
    # What is never closed is text, and is not looked for from each of its beginnings.
    for end, pattern in (("-->", _COMMENT), ("</script>", _SCRIPT), ("</style>", _STYLE)):
        at = source.lower().rfind(end)
        if at >= 0:
            source = pattern.sub(" ", source[: at + len(end)]) + source[at + len(end) :]
    return unescape(_MARKDOWN_TAG.sub(_tag_text, source))


def _tag_text(tag: re.Match[str]) -> str:
    name = tag[0].strip("</>").split()[0]
    return "" if re.fullmatch(_INLINE, name, re.IGNORECASE) else " "


__all__ = ["html_text", "markdown_text"]
