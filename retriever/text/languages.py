"""Language detection by function words, and the data of each language.

A language has function words, two or three of which occur in nearly every sentence, a Snowball
stemmer, and perhaps compounds ("Verfassungsgericht"). A text without evidence (short texts, tables,
names, code) is analysed as English.

The module knows nothing of terms, scores and databases.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from functools import cache

# Before the bar: stop words (articles, prepositions and the like), which are not indexed. After it:
# question words, pronouns and auxiliaries ("who", "is"), indexed for phrases, ignored in queries.
_FUNCTION_WORDS = {
    "en": """a an and are as at be but by for if in into is it no not of on or such that the
        their then there these they this to was will with | am been being did do does had has
        have having he her his how i its me my our she so than them us we were what when where
        which who whom whose why you your from about also can could would should""",
    "de": """aber als am an auf aus bei beim bis da das dass daß dem den der des die durch ein
        eine einem einen einer eines es für im in ins ist ja mit nach nicht noch nur ob oder
        ohne sich sie sind so über um und unter vom von vor war waren wenn wie wird werden
        wurde wurden zu zum zur zwischen | auch bin bist dein denn dich dieser diese dieses
        diesem diesen dir du er habe haben hat hatte hatten hätte ich ihr ihre ihrem ihren
        ihrer ihm ihn ihnen jener kann kein keine keinen können könnte man mein mich mir muss
        sein seine seinem seinen seiner seit soll sollte sonst uns unser was weil welche
        welchem welchen welcher welches wer wem wen weshalb wessen wieso wieviel viele will wir
        wo wohin woher worden worin wann warum würde würden""",
    "nl": """aan af al als bij dan dat de die dit door een en er het hun in is je maar met na
        naar niet nog of om onder ook op over te ten ter tot uit van voor was waren wordt
        worden werd werden zich zijn zonder | ben dus geen had hadden haar heb hebben heeft hem
        hij hoe hoeveel iets ik kan kon kunnen me meer mijn moet nu omdat ons onze u waar
        waarom wanneer wat welk welke wie wil wij we ze zij zo zou zouden zal deze""",
    "sv": """att av de den det detta efter eller en ett från för genom har i in inte med men
        mot ned och om på samt som sig till under upp ur utan var vid än är åt över | alla blev
        bli blir då där du er han hans hade hennes hon honom hur jag kan kunde man mellan mig
        min mitt mycket ni nu när några någon något sin sina sitt ska skulle så vad varför vara
        varit vem vems vi vilka vilken vilket vår dess dessa denna dem deras""",
    "da": """af at da de den der det dette efter eller en er et for fra før gennem har i ikke
        ind med men mod ned og om op over på som sig til ud under uden ved var | alle blev
        blive bliver denne disse deres dem du dog endnu få går ham han hans havde have hende
        hendes hun hvad hvem hvilke hvilken hvilket hvis hvor hvordan hvorfor hvornår jeg jer
        kan kunne man mange mellem mig min mit nogle noget nu når os selv sin sine sit skal
        skulle være været vi vil ville vor""",
    "no": """at av da de den der det dette eller en er et etter for fra før gjennom har i ikke
        inn med men mot ned og om opp over på som seg til ut under uten ved var å | alle ble
        bli blir denne disse deres dem du enn ennå hadde ham han hans henne hennes hun hva hvem
        hvilke hvilken hvilket hvis hvor hvordan hvorfor jeg kan kunne man mange mellom meg min
        mitt noen noe nå når oss selv sin sine sitt skal skulle være vært vi vil ville vår""",
    "fr": """à au aux avec ce cet cette ces c comme d dans de des du elle en entre est et être
        il ils elles l la le les leur leurs lors mais n ne ni on ou où par pas pour qu que qui
        s sa sans se ses si son sont sous sur un une vers y | ai ainsi as aussi avait avaient
        avez avoir avons combien comment dont donc été étaient était eu furent fut j je lui ma
        me mes moi mon m nos notre nous ont pourquoi quand quel quelle quelles quels quoi soit
        t ta te tes toi ton tu votre vos vous""",
    "es": """a al ante como con contra de del desde e el en entre es esta este esto la las le
        les lo los más ni no o para pero por que se sin sobre son su sus u un una unas unos y
        ya | aquel aquella cómo cual cuál cuales cuáles cuando cuándo cuanta cuánta cuantas
        cuántas cuanto cuánto cuantos cuántos donde dónde ella ellas ellos era eran eres esa
        ese eso esas esos estas estos está están estaba fue fueron ha había habían han has
        hasta hay he mi mis me muy nos nosotros nuestra nuestro porque qué quien quién quienes
        quiénes ser sido sino si sí soy también te tiene tienen tu tus yo""",
    "pt": """a à ao aos as às até com como da das de do dos e é em entre essa esse esta este
        isso isto já la lhe lhes lo mais mas na nas nem no nos não o os ou para pela pelas pelo
        pelos por que se sem sobre sua suas seu seus são um uma uns umas | aquela aquele cujo
        ela elas ele eles era eram eu estava estão está foi foram há havia me meu minha muito
        nós nossa nosso onde porque quais qual quando quanta quantas quanto quantos quê quem
        ser será sido só também tem têm teve tinha você vocês""",
    "it": """a ad agli ai al alla alle allo anche c che chi ci col come con contro d da dagli
        dai dal dalla dalle dallo de degli dei del della delle dello di e ed è fra gli ha hanno
        i il in l la le lo ma ne negli nei nel nella nelle nello non o per più se si sono su
        sugli sui sul sulla sulle tra un una uno | aveva avevano cosa cui dove dov era erano
        essere fu furono io lei loro lui mi mia mio noi nostro perché qual quale quali quando
        quanta quante quanti quanto quella quello quelli questa queste questi questo sia stata
        stato stati state sua sue suo suoi ti tu voi vostro""",
    "fi": """ei eikä ja jo jos joka jotka jonka jota joita jossa kanssa kuin kun mutta myös ne
        niin noin oli olivat on ovat sekä se sen siitä siinä sitä sillä tai vaan vai vain että
        | en emme eivät et ette he heidän heitä hän hänen hänet hänellä itse joiden kuinka kuka
        ketkä keiden kenen ketä koska me meidän mikä minkä minä minun missä mistä mihin miksi
        milloin mitä mitkä miten montako monta niiden niitä näiden nämä ole olen olet olisi
        olla ollut paljonko sinä sinun te teidän tämä tämän tässä tätä voi""",
    "ru": """а без бы в во для до его ее её если же за и из или им их к как ко на над не него
        нее ни но о об от по под при с со так то у что чтобы это | был была были было быть вам
        вас весь все всё всех вы где да два действительно ему еще ещё есть здесь ими каждый
        какая какие каким какими каких какой какого каком кем когда кого кому которая которого
        которой которые который которых которым кто куда ли мне мы мой нам нас нет них ним обо
        он она они оно откуда почему после свой сколько та такой там тем те тебе того той
        только том тот ты уже чего чей чем чему эта эти этих этого этой этом этот я""",
}

STEMMERS = {
    "da": "danish",
    "de": "german",
    "en": "porter",
    "es": "spanish",
    "fi": "finnish",
    "fr": "french",
    "it": "italian",
    "nl": "dutch",
    "no": "norwegian",
    "pt": "portuguese",
    "ru": "russian",
    "sv": "swedish",
}
"""ISO 639-1 code → name of the Snowball stemmer. English uses Porter's original one of 1980."""

LANGUAGES = tuple(language for language in STEMMERS if language != "en")
"""The languages that a passage may be analysed in; all others are analysed as English."""

LINKING_ELEMENTS = {
    "da": ("", "s", "e"),
    "de": ("", "s", "es", "n", "en", "er", "e", "ens"),
    "nl": ("", "s", "en", "e", "n"),
    "no": ("", "s", "e"),
    "sv": ("", "s"),
}
"""Languages that write compounds as one word → the linking elements between two parts."""

# Endings whose accent people leave out although the stemmer needs it: "educacion", "qualita".
_ACCENTS = {
    "es": ((re.compile("(?<=[cs])ion$"), "ión"), (re.compile("(?<=log)ia$"), "ía")),
    "pt": (
        (re.compile("cao$"), "ção"),
        (re.compile("coes$"), "ções"),
        (re.compile("encia(s?)$"), r"ência\1"),
    ),
    "it": ((re.compile("(?<=al|iv|il|os|ar)ita$"), "ità"),),
}

_WORD = re.compile(r"[^\W\d_]+")
_MIN_FUNCTION_WORDS = 3  # different function words needed to detect a language
_SHARE = 0.1  # share of all words that must be evidence
_LEAD = 1.5  # factor by which the evidence must exceed that for English
_MAX_CHARACTERS = 20_000  # how much of a text is looked at


@cache
def stop_words(language: str, *, asking: bool = False) -> frozenset[str]:
    """A language's stop words; with `asking` also the words that are ignored in queries.

    >>> "the" in stop_words("en"), "what" in stop_words("en")
    (True, False)
    >>> "what" in stop_words("en", asking=True)
    True
    """
    core, more = _FUNCTION_WORDS[language].split("|")
    return frozenset((core + more).split() if asking else core.split())


def restore_accents(word: str, language: str) -> str:
    """The word with the accent that its stemmer needs, if it was left out.

    >>> restore_accents("educacion", "es"), restore_accents("atencion", "it")
    ('educación', 'atencion')
    """
    for ending, written in _ACCENTS.get(language, ()):
        word = ending.sub(written, word)
    return word


def detect_language(text: str) -> str:
    """The language of a text, or "" if its function words do not show one.

    >>> detect_language("Das Gericht entscheidet über die Klage und den Antrag.")
    'de'
    >>> detect_language("The court decides on the claim and the motion.")
    'en'
    >>> detect_language("Table 2: 3 kg")
    ''
    """
    languages = _languages()
    words = _WORD.findall(unicodedata.normalize("NFC", text[:_MAX_CHARACTERS]).lower())
    evidence: dict[str, float] = {}
    different: dict[str, int] = {}
    for word, count in Counter(filter(languages.__contains__, words)).items():
        named = languages[word]
        for language in named:
            evidence[language] = evidence.get(language, 0) + count / len(named)
            different[language] = different.get(language, 0) + 1
    if not evidence:
        return ""
    # Ties (Danish and Norwegian, say) are broken by code, rather than detecting nothing.
    best = max(evidence, key=lambda language: (evidence[language], language))
    enough = different[best] >= _MIN_FUNCTION_WORDS and evidence[best] >= _SHARE * len(words)
    clear = best == "en" or evidence[best] >= _LEAD * evidence.get("en", 0)
    return best if enough and clear else ""


@cache
def _languages() -> dict[str, list[str]]:
    """Function word → the languages that have it."""
    found: dict[str, list[str]] = {}
    for language in STEMMERS:
        for word in stop_words(language, asking=True):
            found.setdefault(word, []).append(language)
    return found


__all__ = [
    "LANGUAGES",
    "LINKING_ELEMENTS",
    "STEMMERS",
    "detect_language",
    "restore_accents",
    "stop_words",
]
