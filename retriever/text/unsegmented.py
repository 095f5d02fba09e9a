r"""Scripts that put no spaces between words, as the insides of character classes.

Such text is divided by character, and three modules do so. Two ranges are needed, for two reasons:

- `UNSEGMENTED` is whole Unicode blocks. Word attribution and near-duplicates look for a character
  in a run of letters and digits, so marks and signs in the blocks do no harm.
- `UNSEGMENTED_LETTERS` is letters alone: the analyzer attaches combining marks itself. It decides
  which terms an index holds. A change of it needs a new `VERSION` in `retriever.text.analyzer`.

Korean separates words by spaces, but glues endings to them. The analyzer (`HANGUL`) and the
near-duplicates (`HANGUL_SYLLABLES`) therefore divide it too; word attribution keeps its words.

>>> import re
>>> re.findall(f"[{UNSEGMENTED}]", "GPU 加速、ไทย, 한국")
['加', '速', 'ไ', 'ท', 'ย']
"""

from __future__ import annotations

UNSEGMENTED = (
    "\u0e00-\u0eff"  # Thai, Lao
    "\u1000-\u109f"  # Burmese
    "\u1780-\u17ff"  # Khmer
    "\u3005-\u3007\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"  # Han
    "\u3040-\u30ff"  # kana
)
"""The blocks of Thai, Lao, Burmese, Khmer, Han and kana."""

UNSEGMENTED_LETTERS = (
    "\u0e01-\u0e30\u0e32\u0e33\u0e40-\u0e46"  # Thai
    "\u0e81-\u0eb0\u0eb2\u0eb3\u0ebd\u0ec0-\u0ec6\u0edc-\u0edf"  # Lao
    "\u1000-\u102a\u103f\u1050-\u1055\u105a-\u105d\u1061\u1065\u1066\u106e-\u1070\u1075-\u1081"
    "\u108e\uaa60-\uaa7a"  # Burmese
    "\u1780-\u17b3\u17d7\u17dc"  # Khmer
    "\u3005-\u3007\u3021-\u3029\u3031-\u3035\u303b\u303c\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufad9"
    "\U00020000-\U0003ffff"  # Han
    "\u3041-\u3096\u309d-\u309f\u30a1-\u30fa\u30fc-\u30ff\u31f0-\u31ff\uff66-\uff9f"
    "\U0001b000-\U0001b16f"  # kana
    "\u3105-\u312f\u31a0-\u31bf"  # Bopomofo
)
"""The letters of these scripts and of Bopomofo, without combining marks."""

HANGUL_SYLLABLES = "\uac00-\ud7a3"
"""Korean syllables, each one character."""

HANGUL = f"\u1100-\u11ff\u3131-\u318e\ua960-\ua97c{HANGUL_SYLLABLES}\ud7b0-\ud7fb\uffa0-\uffdc"
"""Korean syllables and the letters they are composed of."""

__all__ = ["HANGUL", "HANGUL_SYLLABLES", "UNSEGMENTED", "UNSEGMENTED_LETTERS"]
