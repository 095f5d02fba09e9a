"""Ways to ask for what is there: each query finds its file first, by keyword and by both.

The recipes are public reports about search tools, rebuilt as files of one sentence among others.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from retriever.index import Index
from retriever.types import Document, Page, UsageError
from tests.fakes import FakeEmbedder

OTHERS = {
    f"other{number}.txt": text
    for number, text in enumerate(
        [
            "The gardener waters the tulips every evening before sunset.",
            "A bakery opens at six and sells rye bread, rolls and cakes.",
            "The bus to the harbour leaves every hour from the church.",
            "Honey is collected twice, in June and in August.",
            "The roof of the barn was repaired with slate.",
            "Chess is played on Thursdays in the library.",
            "The ferry carries bicycles free of charge.",
            "Apples are pressed in the old mill.",
            "A storm broke the mast of the sloop.",
            "The choir sings in the chapel on Sundays.",
            "Wool is washed, combed and spun.",
            "The clock of the tower is three minutes late.",
        ]
    )
}

FILES = {
    "gate.txt": "The gateway of the printers is reached in the subnet 10.20.30.1/16.",
    "k.txt": "Clause 4.1.2-4.1.5 governs the delivery of coal.",
    "l.txt": "Clause 7.1.2-7.1.5 governs the delivery of coke.",
    "i.txt": "Meeting at 2024-03-12T10:30 in room 4.",
    "j.txt": "Meeting at 2024-03-21T10:30 in room 4.",
    "c.txt": "The fair lasts from 2024-05-03/2024-05-09 on the green.",
    "d.txt": "The fair lasts from 2024-06-07/2024-06-11 on the green.",
    "lab.txt": "Tighten with a torque of 2.5-3.5 Nm.",
    "lab2.txt": "Tighten with a torque of 7.5-9.5 Nm.",
    "r.txt": "/srv/data/2024_05/report_v1.2.3_final.pdf",
    "s.txt": "/srv/data/2023_11/report_v1.2.4_final.pdf",
    "kx.txt": "Order codes KX-100/KX-200/KX-300 for hinges.",
    "kx2.txt": "Order codes KX-110/KX-210/KX-310 for locks.",
    "din.txt": "Shafts by DIN6800-2.1/DIN6800-2.2 are in stock.",
    "iso.txt": "They hold a certificate under ISO 27001 for the cellar.",
    "iso9.txt": "They hold a certificate under ISO 9001 for the attic.",
    "notes_a.txt": "Release 2.3.1 repairs the printing of labels.",
    "notes_b.txt": "Release 2.3.10 repairs the printing of stamps.",
    "notes_c.txt": "Release 3.2.1 repairs the export of contacts.",
    "tab.txt": "The tablet has USB 3 and charges at 45 W. It has 16 GB of memory.",
    "tab2.txt": "The tablet has USB 2 and charges at 15 W. It has 8 GB of memory.",
    "wifi.txt": "The password of the Wi-Fi in the guest house hangs behind the door.",
    "setup.txt": "The set-up of the stage takes two hours.",
    "login.txt": "The log-in asks for a badge.",
    "coop.txt": "The villages co-operate in the forest.",
    "node.txt": "The server is written for Node.js and speaks TCP/IP.",
    "cross.txt": "A cross-site request was seen, and one in-person visit.",
    "hepA.txt": "Hepatitis A is passed on through dirty water.",
    "hepB.txt": "Hepatitis B is passed on through blood.",
    "hepC.txt": "Hepatitis C is passed on through blood.",
    "war1.txt": "World War I began in the summer of 1914.",
    "war2.txt": "World War II began in the autumn of 1939.",
    "be.txt": "He asked himself: to be or not to be?",
    "foot.txt": "The armistice¹ of the fishermen² was signed at sea.",
    "users.txt": "def getUserById(self, number): ... def deleteOldSessions(self): ...",
    "mail.txt": "def sendWelcomeLetter(self, address): ...",
    "parse.txt": "parseHTTPResponse reads what XMLHttpRequest has sent; base64Encode writes.",
    "tube.txt": "The lecture is on YouTube.",
    "hyph.txt": "Ask for infor-\nmation about the com-\npost heap and the well-\nknown rose.",
    "many.txt": "The stadium has 12 500 seats.",
    "many2.txt": "The arena has 13'800 seats.",
    "many3.txt": "The theatre has 14\u202f200 seats.",
    "hawaii.txt": "Queen Liliʻuokalani ruled Hawaiʻi.",
    "oneill.txt": "The play by O'Neill is given in L'Oréal's hall.",
    "mueller.txt": "Mrs Müller mends the nets.",
    "half.txt": "Take 1½ cups of flour.",
    "vitC.txt": "Vitamin C is in the rose hip.",
    "vitD.txt": "Vitamin D is in the liver.",
    "vitA.txt": "Vitamin A is in the carrot.",
    "fr.txt": "L'hôtel du port est ouvert en été, et c'est la fête du village.",
    "isbn.txt": "The book has ISBN 978-3-16-148410-0 on its back.",
    "isbn2.txt": "The book has ISBN 978-3-16-148411-7 on its back.",
    "burned.txt": "The mill burned on 07.03.1998 at night.",
    "burned2.txt": "The mill burned on 03.07.1998 at night.",
    "atnt.txt": "AT&T and C&A rent the hall.",
    "time.txt": "The train leaves at 14:05 from the north.",
    "size.txt": "The saloon measures 14 × 35 m.",
    "valve.txt": "Drawing of valve 17-A, first sheet.",
    "valve2.txt": "Drawing of valve 17-B, next sheet.",
    "ar.txt": "ذهب الطلاب إلى المكتبة في المدرسة بعد الظهر.",
    "fa.txt": "کتابخانه در خیابان سعدی است و هر روز باز می‌شود.",
    "he.txt": 'הספרייה בירושלים פתוחה, וגם צה"ל בא.',
    "hi.txt": "हिन्दी में क़लम और बाज़ार, और बहुत सी किताबें हैं।",
}

QUERIES = [
    ("10.20.30.1", "gate.txt"),
    ("10.20.30", "gate.txt"),
    ("4.1.2", "k.txt"),
    ("clause 7.1.5", "l.txt"),
    ("2024-03-12", "i.txt"),
    ("2024-05-09", "c.txt"),
    ("2.5 Nm", "lab.txt"),
    ("report_v1.2.4_final", "s.txt"),
    ("1.2.3", "r.txt"),
    ("KX310", "kx2.txt"),
    ("KX-200", "kx.txt"),
    ("DIN 6800-2.1", "din.txt"),
    ("ISO27001", "iso.txt"),
    ("ISO9001", "iso9.txt"),
    ("v3.2.1", "notes_c.txt"),
    ("v2.3.1", "notes_a.txt"),
    ("45W", "tab.txt"),
    ("tablet with 8GB", "tab2.txt"),
    ("USB3", "tab.txt"),
    ("wifi", "wifi.txt"),
    ("setup", "setup.txt"),
    ("login", "login.txt"),
    ("cooperate", "coop.txt"),
    ("nodejs", "node.txt"),
    ("tcpip", "node.txt"),
    ("crosssite", "cross.txt"),
    ("inperson", "cross.txt"),
    ("hepatitis A", "hepA.txt"),
    ("hepatitis a", "hepA.txt"),
    ("World War I", "war1.txt"),
    ("world war ii", "war2.txt"),
    ("to be or not to be", "be.txt"),
    ("armistice", "foot.txt"),
    ("fishermen", "foot.txt"),
    ("delete old sessions", "users.txt"),
    ("get user by id", "users.txt"),
    ("get_user_by_id", "users.txt"),
    ("send welcome letter", "mail.txt"),
    ("welcome letter", "mail.txt"),
    ("parse_http_response", "parse.txt"),
    ("xmlhttprequest", "parse.txt"),
    ("base64 encode", "parse.txt"),
    ("you tube", "tube.txt"),
    ("compost", "hyph.txt"),
    ("information", "hyph.txt"),
    ("well-known", "hyph.txt"),
    ("12500", "many.txt"),
    ("12,500", "many.txt"),
    ("13800", "many2.txt"),
    ("14,200", "many3.txt"),
    ("Hawaii", "hawaii.txt"),
    ("Hawai'i", "hawaii.txt"),
    ("Liliuokalani", "hawaii.txt"),
    ("oneill", "oneill.txt"),
    ("loreal", "oneill.txt"),
    ("Mueller", "mueller.txt"),
    ("1½", "half.txt"),
    ("vitamin c", "vitC.txt"),
    ("vitamin d", "vitD.txt"),
    ("Vitamin-A", "vitA.txt"),
    ("9783161484100", "isbn.txt"),
    ("9783161484117", "isbn2.txt"),
    ("7.3.1998", "burned.txt"),
    ("1998-07-03", "burned2.txt"),
    ("19980307", "burned.txt"),
    ("AT&T", "atnt.txt"),
    ("c&a", "atnt.txt"),
    ("14:05h", "time.txt"),
    ("14x35", "size.txt"),
    ("17 A", "valve.txt"),
    ("17 B", "valve2.txt"),
    ("مكتبة", "ar.txt"),
    ("المدرسه", "ar.txt"),
    ("كتابخانه", "fa.txt"),
    ("خيابان سعدي", "fa.txt"),
    ("می شود", "fa.txt"),
    ("ירושלים", "he.txt"),
    ("ספרייה", "he.txt"),
    ("צהל", "he.txt"),
    ("हिंदी", "hi.txt"),
    ("कलम", "hi.txt"),
    ("बाजार", "hi.txt"),
    ("किताब", "hi.txt"),
]

PHRASES = [
    ('"hepatitis A"', {"hepA.txt"}),
    ('hepatitis -"hepatitis A"', {"hepB.txt", "hepC.txt"}),
    ('"2024-03-12"', {"i.txt"}),
    ('"10.20.30.1"', {"gate.txt"}),
    ('"4.1.2"', {"k.txt"}),
    ('"ISO27001"', {"iso.txt"}),
    ('"v3.2.1"', {"notes_c.txt"}),
    ('"get user"', {"users.txt"}),
    ('"to be or not to be"', {"be.txt"}),
    ("+v2.3.1 release", {"notes_a.txt"}),
    ("«World War I»", {"war1.txt"}),
    ("”wellknown”", {"hyph.txt"}),
    ("+armistice", {"foot.txt"}),
    ('"vitamin-A"', {"vitA.txt"}),
    ('vitamin -"vitamin c"', {"vitA.txt", "vitD.txt"}),
    ('"9783161484117"', {"isbn2.txt"}),
    ('"AT&T"', {"atnt.txt"}),
]


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Index]:
    folder: Path = tmp_path_factory.mktemp("asking")
    with Index.open_or_create(folder / "index", FakeEmbedder(16)) as index:
        files: Mapping[str, str] = FILES | OTHERS
        index.add(Document(name, "txt", (Page(None, text),)) for name, text in files.items())
        yield index


@pytest.mark.parametrize("mode", ["keyword", "hybrid"])
@pytest.mark.parametrize(("query", "name"), QUERIES, ids=[query for query, _ in QUERIES])
def test_it_is_found_first(index: Index, query: str, name: str, mode: str) -> None:
    hits = index.search(query, 3, mode=mode, feedback=False)
    assert [hit.chunk.path for hit in hits[:1]] == [name], [hit.chunk.path for hit in hits]


@pytest.mark.parametrize("levels", [4, 7, 14, 20])
def test_a_nested_filter_is_answered_or_refused(index: Index, levels: int) -> None:
    where: dict[str, object] = {"path": {"ne": "x", "exists": True}}
    for _ in range(levels):
        where = {"$or": [{"page": {"ne": 1}}, {"$not": {"path": "x"}}, {"$not": where}]}
    try:
        found = index.search("tulips", 1, where=where, mode="keyword")
    except UsageError as error:
        assert "nested" in str(error)  # noqa: PT017 - either is right
        return
    assert found


def test_a_filter_too_large_for_the_database_is_refused_as_a_filter(index: Index) -> None:
    where = {"$or": [{"path": f"{number}.txt"} for number in range(5_000)]}
    with pytest.raises(UsageError, match="too many conditions"):
        index.search("tulips", 1, where=where, mode="keyword")


@pytest.mark.parametrize(("query", "names"), PHRASES, ids=[query for query, _ in PHRASES])
def test_a_condition_holds_where_it_should(index: Index, query: str, names: set[str]) -> None:
    hits = index.search(query, 9, mode="keyword")
    assert {hit.chunk.path for hit in hits} == names
