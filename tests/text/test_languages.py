"""Language detection by function words and scripts; English stays English."""

from __future__ import annotations

import pytest
import snowballstemmer
from hypothesis import given
from hypothesis import strategies as st

from retriever.text.detection import detect_language
from retriever.text.languages import LANGUAGES, LINKING_ELEMENTS, STEMMERS, stop_words

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
    "ar": "يولد جميع الناس أحرارا متساوين في الكرامة والحقوق. وقد وهبوا عقلا وضميرا وعليهم أن "
    "يعامل بعضهم بعضا بروح الإخاء.",
    "el": "Όλοι οι άνθρωποι γεννιούνται ελεύθεροι και ίσοι στην αξιοπρέπεια και τα δικαιώματα. "
    "Είναι προικισμένοι με λογική και συνείδηση.",
    "fa": "تمام افراد بشر آزاد به دنیا می‌آیند و از لحاظ حیثیت و حقوق با هم برابرند. همه دارای عقل "
    "و وجدان هستند و باید نسبت به یکدیگر با روح برادری رفتار کنند.",
    "he": "כל בני האדם נולדו בני חורין ושווים בערכם ובזכויותיהם. כולם חוננו בתבונה ובמצפון, לפיכך "
    "חובה עליהם לנהוג איש ברעהו ברוח של אחווה.",
    "hi": "सभी मनुष्यों को गौरव और अधिकारों के मामले में जन्मजात स्वतन्त्रता और समानता प्राप्त है। उन्हें बुद्धि "
    "और अन्तरात्मा की देन प्राप्त है।",
    "hu": "Minden emberi lény szabadon születik és egyenlő méltósága és joga van. Az emberek, "
    "ésszel és lelkiismerettel bírván, egymással szemben testvéri szellemben kell hogy "
    "viseltessenek.",
    "id": "Semua orang dilahirkan merdeka dan mempunyai martabat dan hak-hak yang sama. Mereka "
    "dikaruniai akal dan hati nurani dan hendaknya bergaul satu sama lain dalam semangat "
    "persaudaraan.",
    "ro": "Toate ființele umane se nasc libere și egale în demnitate și în drepturi. Ele sunt "
    "înzestrate cu rațiune și conștiință și trebuie să se comporte unele față de altele în "
    "spiritul fraternității.",
    "tr": "Bütün insanlar hür, haysiyet ve haklar bakımından eşit doğarlar. Akıl ve vicdana "
    "sahiptirler ve birbirlerine karşı kardeşlik zihniyeti ile hareket etmelidirler.",
    "ur": "تمام انسان آزاد اور حقوق و عزت کے اعتبار سے برابر پیدا ہوئے ہیں۔ انہیں ضمیر اور عقل "
    "ودیعت ہوئی ہے۔",
}


@pytest.mark.parametrize("language", ARTICLE_1)
def test_the_language_of_a_passage_is_detected(language: str) -> None:
    assert detect_language(ARTICLE_1[language]) == language
    assert detect_language(ARTICLE_1[language].upper()) == language


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("المكتبة", "ar"),
        ("مكتبة المدرسة\nباتشاغ", "ar"),
        ("کتابخانه", "fa"),
        ("خیابان سعدی", "fa"),
        ("ﺍﻟﻤﻜﺘﺒﺔ ﺍﻟﻌﺎﻣﺔ", "ar"),  # as some PDF files have it
        ("كتابخانه شهر از پارک دور است", "fa"),  # with the letters of an Arabic keyboard
        ("لڑکے کتابیں", "ur"),
        ("הספרייה בירושלים", "he"),
        ("बाज़ार में किताबें", "hi"),
        ("Η βιβλιοθήκη", "el"),
        ("The library: المكتبة العامة في وسط المدينة قرب النهر", "ar"),
    ],
)
def test_a_script_shows_the_language_of_a_few_words(text: str, language: str) -> None:
    assert detect_language(text) == language


@pytest.mark.parametrize(
    "text",
    [
        "मी पुस्तक वाचतो आणि ते चांगले आहे",  # Marathi
        "यो किताब राम्रो छ र मलाई मन पर्छ",  # Nepali
        "די קינדער זענען געגאַנגען אין שול און האָבן געלערנט",  # Yiddish
        "زه ښوونځي ته ځم او ستا ملګری دی چې",  # Pashto
        "ئەم کتێبە زۆر باشە و من دەیخوێنمەوە",  # Kurdish
    ],
)
def test_a_neighbour_in_the_same_script_has_no_language(text: str) -> None:
    assert detect_language(text) == ""


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("The angle α lies between β and γ, and so the sum of the three is π.", "en"),
        ("The word βιβλιοθήκη is the Greek for a library, where they keep the books.", "en"),
        ("Das Wort الكتاب ist arabisch und bedeutet in der Sprache das Buch.", "de"),
        ("El señor Erdoğan y la señora Yıldız son de la misma ciudad que los otros.", "es"),
        ("σ = 3.2 kg", ""),
    ],
)
def test_a_few_words_of_another_script_change_nothing(text: str, language: str) -> None:
    assert detect_language(text) == language


@pytest.mark.parametrize(
    "text",
    [
        # Words that Romanian, Hungarian or Turkish has as well.
        "El barrio se considera tradicionalmente el centro de la comunidad de la ciudad",
        "Actualmente, el valle es el segundo mayor productor de miel después de la costa.",
        "Bajo el nuevo director, la velocidad de la fábrica alcanzó su punto máximo",
    ],
)
def test_short_spanish_texts_stay_spanish(text: str) -> None:
    assert detect_language(text) == "es"


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


@given(st.text(max_size=80))
def test_any_text_has_a_known_language_or_none(text: str) -> None:
    assert detect_language(text) in {"", *ARTICLE_1}


def test_english_with_foreign_names_stays_english() -> None:
    text = "The die is cast, said Otto von der Heide to Jean de la Tour in the city of Los Angeles."
    assert detect_language(text) == "en"


def test_every_language_has_all_it_needs() -> None:
    assert set(ARTICLE_1) == {"en", *LANGUAGES} >= set(STEMMERS)
    assert set(LINKING_ELEMENTS) <= set(LANGUAGES)
    assert set(STEMMERS.values()) <= set(snowballstemmer.algorithms())
    for language in ARTICLE_1:
        assert 30 <= len(stop_words(language)) < len(stop_words(language, asking=True))
    assert len(stop_words("en")) == 33  # those of Lucene
