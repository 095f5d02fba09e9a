"""Language detection by function words; English is not mistaken for another language."""

from __future__ import annotations

import pytest
import snowballstemmer

from retriever.text.languages import (
    LANGUAGES,
    LINKING_ELEMENTS,
    STEMMERS,
    detect_language,
    stop_words,
)

ARTICLE_1 = {  # of the Universal Declaration of Human Rights
    "en": "All human beings are born free and equal in dignity and rights. They are endowed with "
    "reason and conscience and should act towards one another in a spirit of brotherhood.",
    "de": "Alle Menschen sind frei und gleich an Würde und Rechten geboren. Sie sind mit Vernunft "
    "und Gewissen begabt und sollen einander im Geiste der Brüderlichkeit begegnen.",
    "nl": "Alle mensen worden vrij en gelijk in waardigheid en rechten geboren. Zij zijn begiftigd "
    "met verstand en geweten, en behoren zich jegens elkander in een geest van broederschap te "
    "gedragen.",
    "sv": "Alla människor är födda fria och lika i värde och rättigheter. De är utrustade med "
    "förnuft och samvete och bör handla gentemot varandra i en anda av broderskap.",
    "da": "Alle mennesker er født frie og lige i værdighed og rettigheder. De er udstyret med "
    "fornuft og samvittighed, og de bør handle mod hverandre i en broderskabets ånd.",
    "no": "Alle mennesker er født frie og med samme menneskeverd og menneskerettigheter. De er "
    "utstyrt med fornuft og samvittighet og bør handle mot hverandre i brorskapets ånd.",
    "fr": "Tous les êtres humains naissent libres et égaux en dignité et en droits. Ils sont doués "
    "de raison et de conscience et doivent agir les uns envers les autres dans un esprit de "
    "fraternité.",
    "es": "Todos los seres humanos nacen libres e iguales en dignidad y derechos y, dotados como "
    "están de razón y conciencia, deben comportarse fraternalmente los unos con los otros.",
    "pt": "Todos os seres humanos nascem livres e iguais em dignidade e em direitos. Dotados de "
    "razão e de consciência, devem agir uns para com os outros em espírito de fraternidade.",
    "it": "Tutti gli esseri umani nascono liberi ed eguali in dignità e diritti. Essi sono dotati "
    "di ragione e di coscienza e devono agire gli uni verso gli altri in spirito di fratellanza.",
    "fi": "Kaikki ihmiset syntyvät vapaina ja tasavertaisina arvoltaan ja oikeuksiltaan. Heille on "
    "annettu järki ja omatunto, ja heidän on toimittava toisiaan kohtaan veljeyden hengessä.",
    "ru": "Все люди рождаются свободными и равными в своем достоинстве и правах. Они наделены "
    "разумом и совестью и должны поступать в отношении друг друга в духе братства.",
}


@pytest.mark.parametrize("language", ARTICLE_1)
def test_the_language_of_a_passage_is_detected(language: str) -> None:
    assert detect_language(ARTICLE_1[language]) == language
    assert detect_language(ARTICLE_1[language].upper()) == language


@pytest.mark.parametrize(
    "text",
    [
        "",
        "?! 12 €",
        "Table 3: AC-2, AC-3",
        "黑豹队的防守只丢了 308分",
        "Leonardo da Vinci, Ludwig van Beethoven, Charles de Gaulle, Otto von Bismarck",
        "die",
    ],
)
def test_texts_without_sentences_have_no_language(text: str) -> None:
    assert detect_language(text) == ""


def test_english_with_foreign_names_stays_english() -> None:
    text = "The die is cast, said Otto von der Heide to Jean de la Tour in the city of Los Angeles."
    assert detect_language(text) == "en"


def test_every_language_has_all_it_needs() -> None:
    assert set(ARTICLE_1) == set(STEMMERS) == {"en", *LANGUAGES}
    assert set(LINKING_ELEMENTS) <= set(LANGUAGES)
    assert set(STEMMERS.values()) <= set(snowballstemmer.algorithms())
    for language in STEMMERS:
        assert 30 <= len(stop_words(language)) < len(stop_words(language, asking=True))
    assert len(stop_words("en")) == 33  # those of Lucene
