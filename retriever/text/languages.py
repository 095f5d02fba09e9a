"""The data of each language that a passage may be analysed in.

A language has function words, two or three of which occur in nearly every sentence, perhaps a
Snowball stemmer, and perhaps compounds ("Verfassungsgericht"). Languages with a script of their own
are detected by it, all others by their function words (`retriever.text.detection`).

The module knows nothing of terms, scores and databases.
"""

from __future__ import annotations

import re
from functools import cache

# Before the bar: stop words (articles, prepositions and the like), which are not indexed. After it:
# question words, pronouns and auxiliaries ("who", "is"), indexed for phrases, ignored in queries.
FUNCTION_WORDS = {
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
    "ar": """في من إلى عن أن إن ما لا لم لن قد هذا هذه ذلك تلك التي الذي الذين كان كانت هو هي هم أو
        ثم بين كل بعد قبل عند مع كما لكن حتى منذ خلال حول عبر إذا إذ لأن أي غير سوى فقد وقد وهو
        وهي ومن وفي به بها له لها فيه فيها منه منها عليه عليها إليه إليها وكان وكانت | أنا أنت نحن
        أنتم هل ماذا لماذا متى أين كيف كم كيفما أيضا يكون تكون كانوا ليس ليست هناك هنا يمكن يجب
        عندما حيث بينما ألا إلا نعم مثل بعض لدى وما ولا""",
    "el": """ο η το οι τα του της των τον την τους τις στο στη στην στον στα στους στις σε με για
        από και να θα που ότι δεν μην είναι ως αν ή ένα ένας μια μία κατά προς μετά χωρίς παρά
        αλλά | ήταν έχει έχουν είχε είχαν αυτό αυτός αυτή αυτά αυτές αυτών αυτού όπως όταν πριν
        πολύ πιο μόνο κάθε τι ποιος ποια ποιο ποιοι πού πότε πώς πόσο πόσα πόσες γιατί εγώ εσύ εμείς
        εσείς μου σου μας σας όχι ναι υπάρχει υπάρχουν μπορεί μπορούν πρέπει επίσης ενώ""",
    "fa": """و در به از که را این آن با برای تا بر یا هم هر نیز اما اگر یک پس پیش بین روی زیر بدون
        ولی چون همین همان دیگر بی جز درباره بعد قبل نزد علیه توسط سپس زیرا چنین بلکه | است هست
        نیست بود بودند هستند نیستند شد شده شود می نمی ها های هایی ای ام ات اش کرد کرده کند کنند
        دارد دارند داشت خواهد باید من تو او ما شما آنها آنان ایشان چه کی کجا چرا چگونه چطور چند
        کدام آیا خود همه باشد باشند گفت شان""",
    "he": """של את על לא אל עם או אם כי גם רק זה זאת זו אלה אלו הוא היא הם הן אשר אך אבל כל בין
        לפני אחרי אין יש עד כמו יותר ידי לפי תחת מן אצל בלי מול כאשר כך לכן כדי ולא הזה הזאת זאת
        עוד | אני אתה אתם אנחנו אנו היה הייתה היתה היו יהיה תהיה יהיו להיות שלו שלה שלי שלהם שלנו
        אותו אותה אותם לו לה להם לי לנו בו בה בהם ממנו ממנה מה מי איך איפה היכן מתי למה מדוע כמה
        האם איזה איזו אילו מאוד שם כאן""",
    "hi": """का के की में से को ने पर और या है हैं था थे थी थीं यह वह ये वे कि भी तक ही तो इस उस इन
        उन एक लिए साथ बाद द्वारा जो नहीं न इसके उसके इसकी उसकी इसका उसका तथा एवं बारे | कर करना
        करने करता करते करती किया की गया गई गए हो होता होते होती हुआ हुई हुए रहा रही रहे मैं हम तुम
        आप मेरा मेरी मेरे हमारा हमारे अपना अपने अपनी क्या कौन कब कहां कहाँ क्यों कैसे कितना कितने
        कितनी किस किसने किसका कौनसा जब जहां सकता सकते सकती चाहिए उन्हें इन्हें उन्होंने इसे उसे
        होगा होगी होंगे वाला वाले वाली कुछ""",
    "hu": """a az egy és is nem hogy de ha vagy mint meg már még csak ez ezt azt ezek azok annak
        ennek el ki be le fel után alatt között szerint által mellett nélkül felett pedig mert
        amely amelyek amelyet aki akik ami amit illetve valamint ezért így sem | volt voltak van
        vannak lesz lehet kell én te ő mi ti ők engem téged őt minket neki nekem hol mikor miért
        hogyan hány mennyi melyik milyen kinek mit kit ahol amikor akkor itt ott nagyon minden
        olyan ilyen most úgy nincs sincs legyen lett""",
    "id": """yang dan di ke dari untuk dengan pada dalam oleh ini itu atau adalah tidak juga akan
        sebagai karena sehingga serta tetapi namun antara hingga tanpa secara terhadap tentang
        bahwa jika agar maka para sang saat setelah sebelum | telah sudah dapat bisa harus ada
        saya kamu anda dia ia kami kita mereka nya apa siapa kapan mana dimana bagaimana mengapa
        kenapa berapa apakah bukan belum masih lebih sangat seperti ketika yaitu merupakan
        tersebut""",
    "ro": """și în de la cu pe din pentru că nu este sunt un o unei unui unor ale al ai cel cea cei
        cele ce care sau mai prin după între până sub fără despre dar dacă ca să se lui ei lor
        într dintre iar nici când asupra către | era erau fost fi fie am are au avea avem eu tu el
        ea noi voi mă te ne vă îl îi le își sale său sa acest această aceste acestui acestei acesta
        aceasta cine cum unde cât câte câți câtă ce fel cărui cărei căror aceea acel acea aceia
        acolo aici foarte toate toți tot va vor poate trebuie""",
    "tr": """ve bir bu da de ile için olarak olan daha en çok gibi kadar sonra göre ya veya ki ama
        ancak hem her ne değil o şu ise üzere tarafından arasında ayrıca fakat hiç bile önce
        diye üzerinde bunun | oldu olduğu olduğunu edilen eden vardır var yok idi ben sen biz siz
        onlar bana sana bizim sizin onun onların benim kendi mi mı mu mü kim kimin nerede nereye
        nereden nasıl neden niçin niye hangi kaç zaman şey bunlar tüm bazı ilk olmak olur olup etti
        eder""",
    "ur": """کے کی کا میں سے کو اور نے پر یہ وہ کہ اس ان جو ہے ہیں تھا تھے تھی تھیں بھی نہیں ایک یا
        تک ہی تو لیے ساتھ بعد طرح اپنے اپنی اپنا جس جن گیا گئی گئے ہو ہوا ہوئی ہوئے والے والی والا |
        کر کرنے کرنا کرتا کرتے کرتی کیا دیا رہا رہے رہی میرا میرے ہم آپ تم مجھے ہمارے کون کب کہاں
        کیوں کیسے کتنا کتنے کتنی کس کسی جب سکتا سکتے سکتی چاہیے انہوں انہیں اسے کچھ""",
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
    "el": "greek",
    "hi": "hindi",
    "hu": "hungarian",
    "id": "indonesian",
    "ro": "romanian",
    "tr": "turkish",
}
"""ISO 639-1 code → name of the Snowball stemmer. English uses Porter's original one of 1980."""

NAMES = {
    "ar": "Arabic",
    "da": "Danish",
    "de": "German",
    "el": "Greek",
    "en": "English",
    "es": "Spanish",
    "fa": "Persian",
    "fi": "Finnish",
    "fr": "French",
    "he": "Hebrew",
    "hi": "Hindi",
    "hu": "Hungarian",
    "id": "Indonesian",
    "it": "Italian",
    "nl": "Dutch",
    "no": "Norwegian",
    "pt": "Portuguese",
    "ro": "Romanian",
    "ru": "Russian",
    "sv": "Swedish",
    "tr": "Turkish",
    "ur": "Urdu",
}
"""ISO 639-1 code → the language's English name."""

LANGUAGES = tuple(dict.fromkeys(code for code in (*STEMMERS, *FUNCTION_WORDS) if code != "en"))
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


@cache
def stop_words(language: str, *, asking: bool = False) -> frozenset[str]:
    """A language's stop words; with `asking` also the words that are ignored in queries.

    >>> "the" in stop_words("en"), "what" in stop_words("en")
    (True, False)
    >>> "what" in stop_words("en", asking=True)
    True
    """
    core, more = FUNCTION_WORDS[language].split("|")
    return frozenset((core + more).split() if asking else core.split())


def restore_accents(word: str, language: str) -> str:
    """The word with the accent that its stemmer needs, if it was left out.

    >>> restore_accents("educacion", "es"), restore_accents("atencion", "it")
    ('educación', 'atencion')
    """
    for ending, written in _ACCENTS.get(language, ()):
        word = ending.sub(written, word)
    return word


__all__ = [
    "FUNCTION_WORDS",
    "LANGUAGES",
    "LINKING_ELEMENTS",
    "NAMES",
    "STEMMERS",
    "restore_accents",
    "stop_words",
]
