"""Detects the encoding of a file and decodes it.

Byte-order marks and valid UTF-8 decide at once. Otherwise each candidate encoding decodes a sample,
and the text gets a score: letters that are frequent in the encoding's languages raise it; symbols,
capitals inside words and mixed scripts lower it. On single sentences this is right in 263 of 272
cases, charset-normalizer alone in 137 (`python -m benchmarks.encodings`): it takes Swedish for
Danish in a Central European encoding, and Hebrew for Russian. It is the fallback when no candidate
scores high enough.
"""

from __future__ import annotations

import codecs
import re
import unicodedata
from dataclasses import dataclass

from charset_normalizer import from_bytes

_MARKS = (  # UTF-32 before UTF-16: its mark starts with that of UTF-16
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_SAMPLE = 60_000  # bytes scored; more would not improve the result
_MIN_SCORE = 0.25
_MAX_ODD_SHARE = 0.01
_TYPOGRAPHY = frozenset(
    "\xa0‘’‚“”„–—…•€°§«»‹›©®™№¿¡ªº×·´²³½¼¾£，。、！？：；（）「」『』《》・ー～　"
)


@dataclass(frozen=True, slots=True)
class _Candidate:
    """An encoding and the non-ASCII characters of its languages.

    `common` holds one string for each language, sorted by falling frequency if `ranked`. `letters`
    holds the other expected characters. `prior` is added to the score.
    """

    encoding: str
    common: tuple[str, ...]
    letters: str = ""
    prior: float = 0.0
    ranked: bool = True

    def gains(self) -> list[dict[str, float]]:
        """For each language: the score of its letters, from 1 down to 0.5."""
        slope = 0.5 if self.ranked else 0.0
        return [
            {letter: 1 - slope * rank / len(language) for rank, letter in enumerate(language)}
            for language in self.common
        ]

    def other_letters(self) -> frozenset[str]:
        """The other expected letters as a set."""
        return frozenset(self.letters)


# The letters beyond ASCII of each language, the most frequent first.
_WESTERN = (
    "üäößÜÄÖ",  # German
    "éèàêçîôùûâëïœÉÀÊÈÇ",  # French
    "óíáéñúü¿¡ÁÉÍÓÚÑ",  # Spanish
    "ãçéáíóêõâúàôÉÁÃÇÂ",  # Portuguese
    "èàòùéìÈÀ",  # Italian
    "äåöÅÄÖé",  # Swedish, Finnish
    "øåæØÅÆé",  # Danish, Norwegian
    "áíðóæúöéþýÞÁÍÓÆÖÚ",  # Icelandic
    "ëéïöèáó",  # Dutch
)
_CENTRAL = (
    "łóążęśćźńŚŁŻŹĆÓ",  # Polish
    "áíěéřčžýšůúďťňóŽČŠŘÚÝÁÍÉĚŇŤĎ",  # Czech
    "áčíéžýšúľťôňäďóĺŕŽČŠÚĎĽŤ",  # Slovak
    "áéőöóüíúűÉÁÖŐÜÓÍÚŰ",  # Hungarian
    "ăîşţâÎŞŢÂ",  # Romanian
    "čšžćđŠŽČĆĐ",  # Croatian, Slovene
    "üäößÜÄÖ",  # German
)
_TURKISH = ("ıişüğöçİŞÇÖÜâî",)
_BALTIC = (
    "ėšžųįąūčęŠŽĮČŪĖĄŲĘ",  # Lithuanian
    "āīēšļņūžķģčŠĀĒŽĶĻŅČĢĪŪ",  # Latvian
    "äõüöÜÕÄÖšž",  # Estonian
)
_CYRILLIC = (
    "оеаинтсрвлкмдпуяыьгзбчйхжшюцщэфъё",  # Russian
    "оаинтевірслкудмпязьбгчйхжїюшцщєґф",  # Ukrainian
    "аиоетнрсвлкдпмзубчгъщжяйхцшюфь",  # Bulgarian
    "аоиејнрстукдвлмпгзбчцшжћљњђфхџ",  # Serbian
)
_CYRILLIC_CAPITALS = "АБВГДЕЖЗИЙКЛМНОПРСТУФХЦЧШЩЪЫЬЭЮЯЁІЇЄҐЈЉЊЋЂЏ"
_GREEK = ("αοιετσνηυρπκμλςωόίάέγδήύθχώφβξζψ",)
_GREEK_CAPITALS = "ΑΒΓΔΕΖΗΘΙΚΛΜΝΞΟΠΡΣΤΥΦΧΨΩΆΈΉΊΌΎΏϊϋΐΰ"
_HEBREW = ("יוהלאמרתבשנעםדחקפכטגצןסזךףץ",)
_ARABIC = (
    "اليمنترودبسعةهفقكحشجصخطأضزثذغىظئءإآؤ",  # Arabic
    "اینردتهمشوسبکلگخپزفقجحچعصطضغذظثژ",  # Persian
)
_THAI = "านรกเงอมลวยสตทดปหคบแไพขชใจผโถะธศษซฟณญฐฎภฉฮฆฝฏฒฑฌฬำๆฤ"
_THAI_MARKS = "ัิีึืฺุู็่้๊๋์ํ๎ฯ๏๐๑๒๓๔๕๖๗๘๙๚๛฿"
_KANA = "".join(map(chr, [*range(0x3041, 0x3094), *range(0x30A1, 0x30F7)]))
_KANJI = (
    "日一人年大十二本中長出三時行見月後前生五間上東四今金九入学高円子外八六下来気小七山話女北"
    "午百書先名川千水半男西電校語土木聞食車何南万毎白天母火右読友左休父雨的事者社会分場自方言"
    "同部新国地定用明対"
)
_SIMPLIFIED = (
    "的一是不了在人有我他这个们中来上大为和国地到以说时要就出会可也你对生能而子那得于着下自之"
    "年过发后作里用道行所然家种事成方多经么去法学如都同现当没动面起看定天分还进好小部其些主样"
    "理心她本前开但因只从想实日军者意无力它与长把机十民第公此已工使情明性知全三又关点正业外将"
    "两高间由问很最重并物手应战向头文体政美相见被利什二等产或新己制身果加西斯月话合回特代内信"
    "表化老给世位次度门任常先海通教儿原东声提立及比员解水名真论处走义各入几口认条平系气题活更"
    "别打女变四神总何电数安少报才结反受目太量再感建务做接必场件计管期市直"
)
_TRADITIONAL = (
    "的一是不了在人有我他這個們中來上大為和國地到以說時要就出會可也你對生能而子那得於著下自之"
    "年過發後作裡用道行所然家種事成方多經麼去法學如都同現當沒動面起看定天分還進好小部其些主樣"
    "理心她本前開但因只從想實日軍者意無力它與長把機十民第公此已工使情明性知全三又關點正業外將"
    "兩高間由問很最重並物手應戰向頭文體政美相見被利什二等產或新己制身果加西斯月話合回特代內信"
    "表化老給世位次度門任常先海通教兒原東聲提立及比員解水名真論處走義各入幾口認條平系氣題活更"
    "別打女變四神總何電數安少報才結反受目太量再感建務做接必場件計管期市直"
)
_HANGUL_COMMON = (
    "이다는의에을가고하를한은도지로기서어사자아리시대인나라해정과수보부으게상일제적전들만그주"
    "원조장여성구스트관유동있것였했습니까와요안국학생신선치경화공력연위민"
)


def _first_level(encoding: str, leads: range, trails: range) -> str:
    """The most common characters of a national standard, in its order."""
    pairs = (bytes((lead, trail)) for lead in leads for trail in trails)
    return "".join(pair.decode(encoding, "ignore") for pair in pairs)


_GB_LEVEL = _first_level("gb2312", range(0xB0, 0xD8), range(0xA1, 0xFF))
_JIS_LEVEL = _first_level("euc_jp", range(0xB0, 0xD0), range(0xA1, 0xFF))
_BIG5_LEVEL = _first_level("big5", range(0xA4, 0xC7), range(0x40, 0xFF))

_CANDIDATES = (
    _Candidate("cp1252", _WESTERN, "ÀÂÆÇÈÊËÌÍÎÏÑÒÓÔÕÖØÙÚÛÜÝßàâåèêëìîïòõøùûÿŠšŽžŒœŸ", 0.06),
    _Candidate("cp1250", _CENTRAL, "ëçËÇÂÎŽŹ", 0.02),
    _Candidate("iso8859_2", _CENTRAL, "ëçËÇÂÎŽŹ"),
    _Candidate("cp1254", _TURKISH, "éêûÂÎÛ", 0.01),
    _Candidate("cp1257", _BALTIC, "éæøåÅÆØóńśź", 0.01),
    _Candidate("cp1251", _CYRILLIC, _CYRILLIC_CAPITALS + "ѓќѕўЎ", 0.02),
    _Candidate("koi8_r", _CYRILLIC, _CYRILLIC_CAPITALS, 0.01),
    _Candidate("koi8_u", _CYRILLIC, _CYRILLIC_CAPITALS),
    _Candidate("cp866", _CYRILLIC, _CYRILLIC_CAPITALS),
    _Candidate("iso8859_5", _CYRILLIC, _CYRILLIC_CAPITALS),
    _Candidate("mac_cyrillic", _CYRILLIC, _CYRILLIC_CAPITALS, -0.05),
    _Candidate("cp1253", _GREEK, _GREEK_CAPITALS, 0.01),
    _Candidate("iso8859_7", _GREEK, _GREEK_CAPITALS),
    _Candidate("cp1255", _HEBREW, "ְֱֲֳִֵֶַָֹֻּׁׂ־₪", 0.05),
    _Candidate("cp1256", _ARABIC, "،؛؟ًٌٍَُِّْ\u200c\u200d", 0.01),
    _Candidate("iso8859_6", _ARABIC, "،؛؟ًٌٍَُِّْ"),
    _Candidate("cp874", (_THAI,), _THAI_MARKS),
    _Candidate("cp932", (_KANA + _KANJI,), _JIS_LEVEL, 0.02, ranked=False),
    _Candidate("euc_jp", (_KANA + _KANJI,), _JIS_LEVEL, 0.02, ranked=False),
    _Candidate("gb18030", (_SIMPLIFIED,), _GB_LEVEL, ranked=False),
    _Candidate("big5", (_TRADITIONAL,), _BIG5_LEVEL, ranked=False),
    _Candidate("cp949", (_HANGUL_COMMON,), "", 0.02, ranked=False),
    _Candidate("mac_roman", _WESTERN, "ÄÅÇÉÑÖÜßÀÃÕ", -0.1),
    _Candidate("cp437", _WESTERN, "ÄÅÇÉÑÖÜß", -0.12),
)
_NUL_RUN = re.compile(rb"\x00+")
_CONTROL = re.compile(rb"[\x01-\x07\x0e-\x1a\x1c-\x1f\x7f]|\x08(?![\x20-\x7e\x80-\xff\x08])")
# UTF-16 of ASCII letters in between other text: a shell has added to a file in another encoding.
_WIDE_RUN = re.compile(rb"(?:[\t\n\r -~]\x00){4,}|(?:\x00[\t\n\r -~]){4,}")
_MAX_STRAY_NULS = 0.2  # of the bytes; UTF-16 of any language but the Eastern ones has more
_MIN_COLUMN = 0.9  # of the NULs of UTF-16 are in one column, even or odd
_SMALL_LETTERS = re.compile(rb"[a-z ]")
_STRAY_LETTER = re.compile("[\udcdf-\udcf6\udcf8-\udcff](?=[a-z])")
_STRAY_BYTES = re.compile("[\udc80-\udcff]")
_SEVEN_BIT = {"utf-7", "hz", "iso2022_jp", "iso2022_kr"}  # all of whose bytes are ASCII
_SEVERAL_BYTES = {"cp932", "euc_jp", "gb18030", "big5", "cp949"}
_ESCAPED_JAPANESE = re.compile(rb"\x1b\$[@B]|\x1b\([JI]")


def decode(data: bytes, declared: str = "") -> str | None:
    r"""Decode `data`; None if it is not text.

    `declared` is the encoding that the file names (an HTML page's charset). It is used unless the
    bytes contradict it.

    >>> decode("Grüße".encode("cp1252")), decode("Привет, мир".encode("koi8_r"))
    ('Grüße', 'Привет, мир')
    >>> decode("Zażółć".encode("utf-16-le")), decode(bytes(range(256)))
    ('Zażółć', None)
    """
    for mark, encoding in _MARKS:
        if data.startswith(mark):
            return data.decode(encoding, "replace")
    if _python_name(declared) in _SEVEN_BIT and data.isascii():
        return data.decode(declared, "replace")
    wide = _wide(data)
    if wide is not None:
        return wide
    if _is_binary(data):
        return None
    if b"\x00" in data:
        data = _WIDE_RUN.sub(lambda match: match[0].replace(b"\x00", b""), data)
    if _ESCAPED_JAPANESE.search(data) and data.isascii():
        return data.decode("iso2022_jp", "replace")
    return (
        _strict(data, "utf-8")
        or _by_lines(data, declared)
        or _valid_utf8(data)
        or _decode_declared(data, declared)
        or _legacy(data)
    )


def _has_stray_nuls(data: bytes) -> bool:
    """Whether NULs are damage or ends of fields in a narrow text, and not halves of letters.

    Nearly all NULs of UTF-16 are in one column, even or odd; of Latin letters they are half of the
    bytes. The blanks of a Cyrillic or Indian text have few, but its letters are then control codes.
    """
    nulls = data.count(b"\x00")
    column = max(data[::2].count(b"\x00"), data[1::2].count(b"\x00"))
    if nulls > _MAX_STRAY_NULS * len(data) and column >= _MIN_COLUMN * nulls:
        return False
    rest = data.replace(b"\x00", b"")
    blanks = sum(rest.count(blank) for blank in (b"\t", b"\n", b"\x0b", b"\x0c", b"\r"))
    if blanks > 0.3 * len(rest) or _is_binary(data):
        return False
    plain = len(_SMALL_LETTERS.findall(rest))
    return plain > len(rest) / 2 or _strict(rest, "utf-8") is not None


def _by_lines(data: bytes, declared: str) -> str | None:
    """Decode a file that mixes lines of UTF-8 and of an older encoding; None if it does not.

    Programs append to a log in the encoding of the moment.
    """
    lines = data.splitlines(keepends=True)
    beyond = [line for line in lines if not line.isascii()]
    older = [line for line in beyond if _strict(line, "utf-8") is None]
    # A line with letters of UTF-8 and broken bytes is damaged UTF-8, and stays one.
    older = [line for line in older if _valid_utf8(line) is None]
    if not older or len(older) == len(beyond):
        return None
    encoding = _single_byte(declared) or _single_byte(_best_encoding(_sample(b"".join(older))))
    if not encoding:
        return None  # a short line of Chinese or Japanese may be valid UTF-8 by chance
    return "".join(
        _strict(line, "utf-8") or _valid_utf8(line) or line.decode(encoding, "replace")
        for line in lines
    )


def _single_byte(name: str) -> str:
    """The encoding, if each of its letters is one byte; else empty."""
    narrow = {each.encoding for each in _CANDIDATES} - _SEVERAL_BYTES
    name = _python_name(name)
    return name if name in map(_python_name, narrow) else ""


def _is_binary(data: bytes) -> bool:
    """Whether `data` is binary: over a tenth of control bytes, or two fifths with NULs."""
    sample = data[:_SAMPLE] + data[-_SAMPLE // 4 :]
    sample = _NUL_RUN.sub(b"\x00", sample)  # padding is no more than the end of a field
    nulls = sample.count(b"\x00")
    controls = len(_CONTROL.findall(sample))
    if controls > 0.1 * len(sample) or controls + nulls > 0.4 * len(sample):
        return True
    # In compressed or encrypted data all byte values are about equally frequent; in text never.
    return len(sample) >= 256 and len(set(sample)) > 220 and _valid_utf8(sample) is None


def _valid_utf8(data: bytes) -> str | None:
    """Decode UTF-8, also with a few damaged bytes or a truncated last character."""
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        text = data.decode("utf-8", "replace")
    damaged = text.count("\ufffd")
    beyond_ascii = sum(character > "\x7f" for character in text) - damaged
    if damaged == 1 and text.endswith("\ufffd") and beyond_ascii:
        return text
    return _repaired(data) if beyond_ascii > 4 * damaged else None


def _repaired(data: bytes) -> str:
    """Damaged UTF-8, with single letters of Latin-1 that stand before another letter."""
    text = data.decode("utf-8", "surrogateescape")
    text = _STRAY_LETTER.sub(lambda match: chr(ord(match[0]) - 0xDC00), text)
    return _STRAY_BYTES.sub("\ufffd", text)


def _decode_declared(data: bytes, declared: str) -> str | None:
    name = _python_name(declared)
    if not name:
        return None
    try:
        text = data.decode(name, "replace")
    except (LookupError, ValueError, UnicodeError):
        return None
    return text if text.count("\ufffd") <= 0.02 * len(text) else None


def _python_name(declared: str) -> str:
    """Python's name of a declared encoding; empty if it is unknown."""
    # Pages that say Latin-1 mean the Windows encoding (so does the HTML standard).
    aliases = {"iso8859-1": "cp1252", "ascii": "cp1252", "shift_jis": "cp932", "gb2312": "gb18030"}
    aliases |= {"gbk": "gb18030", "euc_kr": "cp949", "iso8859-9": "cp1254", "tis-620": "cp874"}
    try:
        name = codecs.lookup(declared.strip()).name
    except (LookupError, ValueError, UnicodeError):
        return ""
    return aliases.get(name, name)


def _wide(data: bytes) -> str | None:
    """Decode UTF-16 or UTF-32 without a byte-order mark; None if it is neither."""
    for encoding in ("utf-32-le", "utf-32-be") if b"\x00" in data else ():
        text = _strict(data[: len(data) // 4 * 4], encoding)
        # Strict decoding fails for nearly all other data.
        if text and _odd_share(text) <= _MAX_ODD_SHARE:
            return text
    if b"\x00" in data and _has_stray_nuls(data):
        return None
    narrow = len(data) % 2 or (_strict(data, "utf-8") is not None and not _is_binary(data))
    if narrow and b"\x00" not in data:
        return None
    found = [_strict(data[: len(data) // 2 * 2], name) for name in ("utf-16-le", "utf-16-be")]
    readable = [text for text in found if text and _reads(text)]
    return max(readable, key=_common_share, default=None)


def _reads(text: str) -> bool:
    """Whether decoded UTF-16 looks like text: few unassigned codes, and ordinary punctuation.

    A short text without spaces counts if its characters share a few Unicode blocks.
    """
    blocks = len({ord(character) >> 8 for character in text[:4_000]})
    coherent = len(text) >= 4 and blocks <= max(1, min(8, len(text) // 6))
    return _odd_share(text) <= _MAX_ODD_SHARE and (coherent or _common_share(text) > 0.02)


def _odd_share(text: str) -> float:
    """The share of control, private, unassigned and surrogate codes."""
    sample = text[:4_000]
    odd = sum(
        unicodedata.category(c) in ("Cc", "Co", "Cn", "Cs") and c not in "\t\n\r\f" for c in sample
    )
    return odd / max(1, len(sample))


def _common_share(text: str) -> float:
    """The share of characters common in every language: spaces, punctuation, digits, Latin."""
    sample = text[:4_000]
    common = sum(c in " \n.,，。、:;-–'\"“”「」()0123456789\u3000" for c in sample)
    latin = sum(c.isascii() and c.isalpha() for c in sample)
    return (common + latin) / max(1, len(sample))


def _legacy(data: bytes) -> str:
    """Decode with the older encoding that gets the highest score."""
    return data.decode(_best_encoding(_sample(data)), "replace")


def _best_encoding(sample: bytes) -> str:
    scored = [(_score(sample, candidate), candidate.encoding) for candidate in _CANDIDATES]
    score, encoding = max(scored, key=lambda pair: pair[0])
    if score >= _MIN_SCORE:
        return encoding
    best = from_bytes(sample).best()
    return best.encoding if best else "cp1252"


def _sample(data: bytes) -> bytes:
    """The lines with non-ASCII bytes, up to a limit; other lines do not affect the score."""
    kept: list[bytes] = []
    size = 0
    for line in data.split(b"\n"):
        if not line.isascii():
            kept.append(line[:_SAMPLE])
            size += len(line)
            if size > _SAMPLE:
                break
    return b"\n".join(kept)


def _strict(data: bytes, encoding: str) -> str | None:
    try:
        return data.decode(encoding)
    except UnicodeDecodeError:
        return None


def _lenient(data: bytes, encoding: str) -> str | None:
    """Decode; None if more than one character in fifty is damaged."""
    text = data.decode(encoding, "replace")
    return text if text.count("\ufffd") <= 1 + 0.02 * len(text) else None


def _score(sample: bytes, candidate: _Candidate) -> float:
    """Mean plausibility of the non-ASCII characters, in [-1, 1]; larger is likelier."""
    text = _lenient(sample, candidate.encoding)
    if text is None:
        return -1.0
    counts: dict[str, int] = {}
    for character in text:
        if character > "\x7f":
            counts[character] = counts.get(character, 0) + 1
    total = sum(counts.values())
    if not total:
        return -1.0
    letters = candidate.other_letters()
    rest = {character: _weight(character, letters) for character in counts}
    scores = [
        sum(count * gain.get(character, rest[character]) for character, count in counts.items())
        for gain in candidate.gains()
    ]
    return (max(scores) - _count_implausible(text)) / total + candidate.prior


def _weight(character: str, letters: frozenset[str]) -> float:
    """The plausibility of a character that is not frequent in the language."""
    if character in letters:
        return 0.6 if character > "\u2e80" else 0.3
    if character in _TYPOGRAPHY:
        return 0.6
    if "\uac00" <= character <= "\ud7a3":
        return 0.6
    if "\u4e00" <= character <= "\u9fff":
        return 0.1
    if character.isalpha():
        return 0.0
    return -1.0


_CAPITALS = "".join(chr(code) for code in range(0xC0, 0x530) if chr(code).isupper())
_INNER_CAPITAL = re.compile(f"(?<=[a-zß-öø-ÿа-яёα-ωā])[{_CAPITALS}]")
_MIXED = re.compile(
    r"[A-Za-z][\u0370-\u0e7f\u3041-\u30ff\u4e00-\ud7a3]|[\u0370-\u0e7f\u4e00-\ud7a3][A-Za-z]"
)
# A Thai vowel or tone mark needs a consonant before it, a leading vowel one behind it.
_STRAY_THAI = re.compile("(?<![ก-ฮ\u0e31-\u0e4e])[\u0e31\u0e34-\u0e3a\u0e47-\u0e4e]|[เ-ไ](?![ก-ฮ])")
# Five Hebrew letters have another form at the end of a word, and only there.
_STRAY_FINAL = re.compile("[ךםןףץ](?=[א-ת])|(?<=[א-ת][א-ת])[כמנפצ](?![א-ת])")


def _count_implausible(text: str) -> float:
    """Count implausible places: capitals after small letters, mixed scripts in a word."""
    broken = sum(len(shape.findall(text)) for shape in (_INNER_CAPITAL, _STRAY_THAI, _STRAY_FINAL))
    return broken + 0.5 * len(_MIXED.findall(text))
