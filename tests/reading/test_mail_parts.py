"""The parts of a mail: every word of it is on a page or left out by kind."""

from __future__ import annotations

import base64
import binascii
import email
import re
from collections import Counter
from email.message import EmailMessage, Message

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from retriever.reading.formats import read_bytes
from retriever.reading.mail.smime import signed_content
from retriever.reading.options import ReadOptions
from retriever.types import Document, PageState

HEAD = "From: Ada <ada@example.org>\nSubject: Garden\nMIME-Version: 1.0\n"


def read(source: str | bytes, name: str = "a.eml") -> Document:
    data = source if isinstance(source, bytes) else source.encode()
    return read_bytes(data, name, ReadOptions())


def own_text(found: Document) -> str:
    """The text of the mail itself, without its headers."""
    return found.pages[0].text.partition("\n\n")[2]


def left_out(found: Document, kind: str) -> list[str]:
    return [one.text for one in found.left_out if one.kind == kind]


def alternative(plain: str, html: str) -> Document:
    return read(
        f"{HEAD}Content-Type: multipart/alternative; boundary=B\n\n"
        f"--B\nContent-Type: text/plain\n\n{plain}\n"
        f"--B\nContent-Type: text/html\n\n{html}\n--B--\n"
    )


NEWS = "<p>The ferry to Kalmar departs at six from pier nine.</p>" * 6
LINK = "https://news.example.org/" + "a1b2c3d4" * 50


@pytest.mark.parametrize(
    "plain", ["See it in your browser:", f"See it in your browser:\n{LINK}", LINK, f"<{LINK}>" * 4]
)
def test_a_plain_form_of_links_only_is_no_text(plain):
    found = alternative(plain, NEWS)
    assert "ferry to Kalmar" in own_text(found)
    assert "browser" not in own_text(found)
    assert left_out(found, "alternative text") == [plain]


def test_the_plain_form_is_read_where_it_says_as_much():
    text = "The ferry to Kalmar departs at six from pier nine. Ada and Bob are on it, too."
    found = alternative(text, f"<p>{text}</p><p>Sent from a phone</p>")
    assert own_text(found) == text
    assert left_out(found, "alternative text") == ["Sent from a phone"]


def test_an_html_form_that_points_to_the_plain_one_is_not_read():
    text = "The ferry to Kalmar departs at six from pier nine. Ada and Bob are on it, too."
    assert own_text(alternative(text, "<p>This mail is plain text.</p>")) == text


def test_a_plain_form_that_is_cut_is_a_part_of_the_html():
    words = " ".join(f"word{number}" for number in range(60))
    found = alternative(" ".join(words.split()[:30]), f"<p>{words}</p>")
    assert own_text(found) == words
    assert left_out(found, "alternative text") == []


def test_a_plain_form_that_is_another_text_is_read_and_the_html_too():
    notice = (
        "Your program does not show this mail. It is meant for its addressee alone. Whoever gets "
        "it by mistake deletes it and tells the sender. We take no liability for what it says."
    )
    found = alternative(notice, NEWS.partition("</p>")[0] + " with three lanterns.</p>")
    assert own_text(found) == (
        f"{notice}\n\nThe ferry to Kalmar departs at six from pier nine. with three lanterns."
    )
    assert left_out(found, "alternative text") == []
    assert found.account is not None
    assert found.account.unexplained == 0


def test_a_form_for_small_screens_is_a_form_and_no_attachment():
    found = read(
        f"{HEAD}Content-Type: multipart/alternative; boundary=B\n\n"
        "--B\nContent-Type: text/plain\n\nThe garden is open.\n"
        "--B\nContent-Type: text/x-amp-html\n\n<html><body>The garden is open.</body></html>\n"
        "--B\nContent-Type: text/html\n\n<p>The garden is open.</p>\n--B--\n"
    )
    assert [page.text for page in found.pages] == [
        "From: Ada <ada@example.org>\n\nThe garden is open."
    ]


def test_html_alone_and_enriched_text():
    assert own_text(read(f"{HEAD}Content-Type: text/html\n\n<p>Open <b>daily</b></p>")) == (
        "Open daily"
    )
    enriched = "<bold>Open</bold> daily,\nif a << b.\n\n<color><param>red</param>Ada</color>"
    assert own_text(read(f"{HEAD}Content-Type: text/enriched\n\n{enriched}")) == (
        "Open daily, if a < b.\nAda"
    )


def test_all_headers_are_shown_or_left_out():
    found = read(
        "Received: from mill.example.org by weir\nFrom: Ada <ada@example.org>\n"
        "Bcc: Cid <cid@example.org>\nReply-To: list@example.org\nKeywords: soil, seeds\n"
        "Subject: Garden\nDate: Tue, 05 Mar 2024 10:00:00 +0100\n"
        "X-Mailer: Quill =?utf-8?q?=C3=A4?=\n\nWords."
    )
    assert found.title == "Garden"
    assert found.pages[0].text == (
        "From: Ada <ada@example.org>\nBcc: Cid <cid@example.org>\nReply-To: list@example.org\n"
        "Keywords: soil, seeds\n\nWords."
    )
    assert left_out(found, "mail headers") == [
        "Received: from mill.example.org by weir\nDate: Tue, 05 Mar 2024 10:00:00 +0100\n"
        "X-Mailer: Quill ä"
    ]


REPORT = """\
From: postmaster@example.org
Subject: Undelivered
Content-Type: multipart/report; report-type=delivery-status; boundary=B

This is a MIME message.
--B
Content-Type: text/plain

Your mail was not delivered.
--B
Content-Type: message/delivery-status

Reporting-MTA: dns; weir.example.org

Final-Recipient: rfc822; bob@example.org
Diagnostic-Code: smtp; 550 no such
 mailbox

--B
Content-Type: text/rfc822-headers

From: ada@example.org
Subject: =?utf-8?q?Gr=C3=BC=C3=9Fe?=

--B--

To leave the list write to leave@example.org.
"""


def test_a_delivery_report():
    found = read(REPORT)
    assert own_text(found).split("\n\n") == [
        "Your mail was not delivered.",
        "Reporting-MTA: dns; weir.example.org",
        "Final-Recipient: rfc822; bob@example.org\nDiagnostic-Code: smtp; 550 no such mailbox",
        "From: ada@example.org\nSubject: Grüße",
        "To leave the list write to leave@example.org.",
    ]
    assert left_out(found, "text for old mail programs") == ["This is a MIME message."]


def test_a_receipt_is_read():
    found = read(
        f"{HEAD}Content-Type: multipart/report; boundary=B\n\n--B\n"
        "Content-Type: message/disposition-notification\n\n"
        "Final-Recipient: rfc822; bob@example.org\nDisposition: manual-action; displayed\n\n--B--\n"
    )
    assert "Disposition: manual-action; displayed" in own_text(found)


def test_a_forwarded_mail_is_read_with_its_headers():
    inner = "From: Bob <bob@example.org>\nSubject: Old plan\n\nPlant roses."
    found = read(
        f"{HEAD}Content-Type: multipart/mixed; boundary=B\n\n--B\n\nSee below.\n"
        f"--B\nContent-Type: message/rfc822\n\n{inner}\n--B--\n"
    )
    assert [page.text for page in found.pages] == [
        "From: Ada <ada@example.org>\n\nSee below.",
        "Subject: Old plan\nFrom: Bob <bob@example.org>\n\nPlant roses.",
    ]


SIGNED = """\
-----BEGIN PGP SIGNED MESSAGE-----
Hash: SHA256

The garden is open.
-\x20--\x20
Ada
-----BEGIN\x20PGP\x20SIGNATURE-----

iQEzBAEBCAAdFiEE
-----END PGP SIGNATURE-----
"""


def test_a_signed_text_is_read_without_its_signature():
    found = read(f"{HEAD}\n{SIGNED}")
    assert own_text(found) == "The garden is open.\n-- \nAda"
    assert [text.split("\n")[0] for text in left_out(found, "signatures")] == [
        "-----BEGIN PGP SIGNED MESSAGE-----",
        "-----BEGIN PGP SIGNATURE-----",
    ]


def test_a_text_that_is_encrypted_in_part_says_so():
    block = "-----BEGIN PGP MESSAGE-----\n\nhQEMA\n-----END PGP MESSAGE-----\n"
    found = read(f"{HEAD}\nDear list,\n{block}Yours, Ada")
    assert own_text(found) == "Dear list,\nYours, Ada"
    assert found.pages[0].reason == "a part of its text is encrypted with PGP"
    assert left_out(found, "encrypted text") == [block]


def test_files_in_the_text_are_attachments():
    body = b"The list of plants, in two sorts: many roses and more tulips.\n"
    lines = [binascii.b2a_uu(body[at : at + 45]) for at in range(0, len(body), 45)]
    uu = b"begin 644 plants.txt\n" + b"".join(lines) + b"`\nend\n"
    yenc = (
        b"=ybegin line=128 size=9 name=y.txt\n" + _yenc(b"N\xd6=two ways\x13\n") + b"=yend size=9\n"
    )
    found = read(HEAD.encode() + b"\nSee:\n" + uu + yenc + b"Bye")
    assert [(page.label, page.text) for page in found.pages] == [
        ("", "From: Ada <ada@example.org>\n\nSee:\nBye\n\nAttachments: plants.txt, y.txt"),
        ("attachment plants.txt", body.decode().strip()),
        ("attachment y.txt", "NÖ=two ways"),
    ]
    words = "begin 644 words of a text\nthat goes on\nend"
    assert own_text(read(f"{HEAD}\n{words}")) == words


def _yenc(data: bytes) -> bytes:
    coded = bytearray()
    for byte in data:
        code = (byte + 42) % 256
        coded += bytes([61, (code + 64) % 256]) if code in (0, 10, 13, 61) else bytes([code])
    return bytes(coded) + b"\r\n"


@pytest.mark.parametrize(
    ("charset", "transfer", "body", "text"),
    [
        ("utf-8", "quoted-printable", b"a line =\r\non, Gr=C3=BC=C3=9Fe", "a line on, Grüße"),
        ("us-ascii", "8bit", "Grüße".encode("cp1252"), "Grüße"),
        ("iso-8859-1", "8bit", "Grüße".encode(), "Grüße"),
        ("utf-7", "7bit", b"Gr+APwA3w-e", "Grüße"),
        ("hz-gb-2312", "7bit", b"~{VPND~}", "中文"),
        ("iso-2022-kr", "7bit", "한국어 문서".encode("iso2022_kr"), "한국어 문서"),
        ("unknown-8bit", "8bit", "Grüße".encode("cp1252"), "Grüße"),
    ],
)  # fmt: skip
def test_charsets_that_are_declared_or_lie(charset, transfer, body, text):
    head = f"Content-Type: text/plain; charset={charset}\nContent-Transfer-Encoding: {transfer}\n\n"
    assert own_text(read((HEAD + head).encode() + body)) == text


def test_a_footer_behind_an_encoded_text_is_read():
    head = "Content-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: base64\n\n"
    for text in ("Grüße", "Grüße!", "Grüße!!"):
        coded = base64.b64encode(text.encode()).decode()
        found = read(f"{HEAD}{head}{coded}\n-- \nTo leave write to list@example.org.\n")
        assert own_text(found) == f"{text}\n\n-- \nTo leave write to list@example.org."
        found = read(f"{HEAD}{head.replace('plain', 'html')}{coded}\n-- \nTo leave write.\n")
        assert own_text(found).split() == [text, "--", "To", "leave", "write."]


def test_a_subject_alone_is_found():
    assert read("Subject: Lunch at noon\n\n").pages[0].text == "Subject: Lunch at noon"


def test_flowed_lines_are_joined():
    found = read(
        f"{HEAD}Content-Type: text/plain; format=flowed\n\nOne \nparagraph.\n> a \n> quote"
    )
    assert own_text(found) == "One paragraph.\n> a quote"


def test_one_nul_is_no_other_script():
    assert own_text(
        read(HEAD.encode() + b"\nThe body\x00 with a note\x00\nfor all of us.\x00\n")
    ) == ("The body with a note\nfor all of us.")


def _ber(tag: int, *inner: bytes, open_end: bool = False) -> bytes:
    body = b"".join(inner)
    if open_end:
        return bytes([tag, 0x80]) + body + b"\0\0"
    size = len(body).to_bytes(2, "big")
    return bytes([tag, len(body)]) + body if len(body) < 128 else bytes([tag, 0x82]) + size + body


@pytest.mark.parametrize("open_end", [False, True])
def test_a_text_wrapped_in_a_signature_is_read(open_end):
    """As Outlook sends signed mails; some programs cut the text into pieces of unknown length."""
    inner = f"Content-Type: text/plain\r\n\r\n{'The garden is open. ' * 20}".encode()
    pieces = [_ber(4, inner[:100]), _ber(4, inner[100:])]
    octets = _ber(0x24, *pieces, open_end=True) if open_end else _ber(4, inner)
    data = bytes.fromhex("06092a864886f70d010701")
    content = _ber(0x30, data, _ber(0xA0, octets, open_end=open_end), open_end=open_end)
    signed = _ber(0x30, b"\x02\x01\x01", _ber(0x31), content, _ber(0x31), open_end=open_end)
    kind = bytes.fromhex("06092a864886f70d010702")
    whole = _ber(0x30, kind, _ber(0xA0, signed, open_end=open_end), open_end=open_end)
    head = 'Content-Type: application/pkcs7-mime; smime-type=signed-data; name="smime.p7m"\n'
    found = read(
        f"{HEAD}{head}Content-Transfer-Encoding: base64\n\n{base64.b64encode(whole).decode()}"
    )
    assert len(found.pages) == 1
    assert own_text(found) == "The garden is open. " * 20
    cut = base64.b64encode(whole[:200]).decode()
    assert [
        page.state for page in read(f"{HEAD}{head}Content-Transfer-Encoding: base64\n\n{cut}").pages
    ] == [*[PageState.TEXT, PageState.SKIPPED]]


@given(st.binary(max_size=60))
def test_any_bytes_may_claim_to_be_signed(data):
    assert signed_content(data) is None or signed_content(data) == b""


def test_outlooks_container_is_named():
    tnef = base64.b64encode(b"\x78\x9f\x3e\x22" + bytes(60)).decode()
    found = read(
        f"{HEAD}Content-Type: multipart/mixed; boundary=B\n\n--B\n\nWords.\n--B\n"
        "Content-Type: application/ms-tnef; name=winmail.dat\n"
        f"Content-Transfer-Encoding: base64\n\n{tnef}\n--B--\n"
    )
    page = found.pages[1]
    assert (page.label, page.state) == ("attachment winmail.dat", PageState.SKIPPED)
    assert page.reason.startswith("not read: a container of Outlook (TNEF)")


def test_an_attached_key_is_named_and_a_text_with_its_ending_is_read():
    def attach(body: str) -> Document:
        part = "Content-Type: application/octet-stream; name=guide.asc\n\n"
        return read(
            f"{HEAD}Content-Type: multipart/mixed; boundary=B\n\n--B\n{part}{body}\n--B--\n"
        )

    assert attach("= A guide\n\nWords of it.").pages[1].text == "= A guide\n\nWords of it."
    block = "-----BEGIN PGP PUBLIC KEY BLOCK-----\n\nmQEN\n-----END PGP PUBLIC KEY BLOCK-----"
    assert attach(block).pages[1].reason == "not read: a signature or key"


@pytest.mark.parametrize(
    ("headers", "date"),
    [
        ("Date: Tue, 05 Mar 96 10:00:00 GMT", "1996-03-05T10:00:00+00:00"),
        ("Date: 5 Mar 24", "2024-03-05"),
        ("Date: Tue Mar  5 10:00:00 2024", "2024-03-05T10:00:00"),
        ("Received: from a by b; Tue, 5 Mar 2024 10:00:00 +0100", "2024-03-05T10:00:00+01:00"),
        ("Date: yesterday", ""),
    ],
)
def test_dates_of_old_and_careless_mails(headers, date):
    assert read(f"{headers}\n{HEAD}\nWords.").date == date


def test_a_mailbox_has_the_date_of_its_newest_mail():
    mails = (
        f"From a Tue Mar  5 10:00:00 2024\nDate: {date}\n{HEAD}\nWords.\n\n"
        for date in ("Tue, 05 Mar 2024 10:00:00 GMT", "5 Apr 24", "Mon, 04 Mar 2024 10:00:00 GMT")
    )
    found = read("".join(mails), "a.mbox")
    assert found.date == "2024-04-05"
    assert [page.text.split("\n")[2] for page in found.pages] == [
        *["Date: Tue, 05 Mar 2024 10:00:00 GMT", "Date: 5 Apr 24"],
        "Date: Mon, 04 Mar 2024 10:00:00 GMT",
    ]


# Every word once, in order


def leaf(word: str, kind: str) -> Message:
    part = EmailMessage()
    if kind == "html":
        part.set_content(f"<p>{word}</p>", subtype="html")
    elif kind == "file":
        part.set_content(word)
        part["Content-Disposition"] = "attachment"
    else:
        part.set_content(word, cte=kind)
    return part


def multipart(kind: str, children: list[Message]) -> Message:
    whole = EmailMessage()
    whole["Content-Type"] = f"multipart/{kind}"
    whole.set_payload(children)
    return whole


KINDS = ("7bit", "quoted-printable", "base64", "html", "file")
TREES = st.recursive(
    st.sampled_from(KINDS),
    lambda inner: st.tuples(
        st.sampled_from(["mixed", "related", "alternative", "digest"]),
        st.lists(inner, min_size=1, max_size=3),
    ),
    max_leaves=8,
)


def build(tree: object, words: list[str]) -> Message:
    if isinstance(tree, str):
        words.append(f"w{len(words):03}")
        return leaf(words[-1], tree)
    assert isinstance(tree, tuple)
    kind, children = tree
    built = [build(child, words) for child in children]
    if kind == "digest":
        for at, child in enumerate(built):
            wrapped = EmailMessage()
            wrapped["Content-Type"] = "message/rfc822"
            child["From"] = "a@b.example"
            wrapped.set_payload([child])
            built[at] = wrapped
    return multipart(kind, built)


@settings(max_examples=60, deadline=None)
@given(TREES)
@example(("digest", [("digest", [("digest", ["file", "file"])])]))
def test_every_word_of_a_tree_is_on_a_page_or_left_out_once(tree):
    words: list[str] = []
    message = build(tree, words)
    message["From"] = "Ada <ada@example.org>"
    message["Subject"] = "A tree"
    found = read(email.message_from_bytes(message.as_bytes()).as_bytes())
    failed = [page.reason for page in found.pages if page.state is PageState.FAILED]
    assert all("too deep" in reason for reason in failed)
    pages = [re.findall(r"\bw\d{3}\b", page.text) for page in found.pages]
    for on_page in pages:
        assert on_page == sorted(on_page)
    left = [re.findall(r"\bw\d{3}\b", one.text) for one in found.left_out]
    counted = Counter(word for one in (*pages, *left) for word in one)
    if any("too deep" in page.reason for page in found.pages):
        assert set(counted.values()) <= {1}
    else:
        assert counted == Counter(words)
