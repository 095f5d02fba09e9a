"""E-mail: mails written by the standard library, and the mistakes of mail programs."""

from __future__ import annotations

import io
import zipfile
from email.message import EmailMessage, MIMEPart
from email.policy import SMTP

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from retriever.reading.attached import MAX_PARTS, attached_pages, unique_label
from retriever.reading.formats import read_bytes
from retriever.reading.mail.parts import join_flowed
from retriever.reading.options import ReadOptions
from retriever.types import Document, PageState, ReadError
from tests.pdfs import pdf_file, text_page

PNG = b"\x89PNG\r\n\x1a\n" + bytes(40)
RUN = ReadOptions(read_nested=read_bytes)


def mail(subject: str = "Budget for the garden", text: str = "We need more soil.") -> EmailMessage:
    message = EmailMessage()
    message["Subject"] = subject
    message["From"] = "Ada Lovelace <ada@example.org>"
    message["To"] = '"Müller, Bob" <bob@example.org>, carol@example.org'
    message["Date"] = "Thu, 07 Mar 2024 10:00:00 +0100"
    message.set_content(text)
    return message


def read(message: EmailMessage | bytes, name: str = "a.eml") -> Document:
    data = message if isinstance(message, bytes) else message.as_bytes(policy=SMTP)
    return read_bytes(data, name, ReadOptions())


HEAD = "From: Ada Lovelace <ada@example.org>\nTo: Müller, Bob <bob@example.org>, carol@example.org"


def test_all_recipients_are_in_the_text():
    people = [f'"Person{number} Name" <p{number}@example.org>' for number in range(300)]
    to = f"{people[0]},\n {', '.join(people[1:])}"
    found = read(f"Subject: A trip\nTo: {to}\n\nBring soil.".encode())
    text = found.pages[0].text
    assert all(f"Person{number} Name" in text for number in range(300))
    assert text.startswith('To: "Person0 Name"')
    assert text.index("Bring soil.") < 1_050
    assert found.account is not None
    assert (found.account.source, found.account.unexplained) == (300 * 5 + 4, 0)


def test_facts_and_text():
    found = read(mail())
    assert (found.format, found.title, found.author) == (
        "eml",
        "Budget for the garden",
        "Ada Lovelace",
    )
    assert found.date == "2024-03-07T10:00:00+01:00"
    assert found.metadata == {
        "from": "Ada Lovelace <ada@example.org>",
        "to": "Müller, Bob <bob@example.org>, carol@example.org",
    }
    assert [page.text for page in found.pages] == [f"{HEAD}\n\nWe need more soil."]


@pytest.mark.parametrize("charset", ["utf-8", "iso-8859-1", "koi8-r", "iso-2022-jp"])
@pytest.mark.parametrize("transfer", ["quoted-printable", "base64"])
def test_every_encoding(charset, transfer):
    text = {"koi8-r": "Привет, Боб. Нужна земля.", "iso-2022-jp": "庭に土が必要です。"}.get(
        charset, "Grüße, Bob. Wir brauchen Erde für den Garten."
    )
    message = mail(subject=text)
    message.set_content(text, charset=charset, cte=transfer)
    found = read(message)
    assert (found.title, found.pages[0].text.split("\n\n")[1]) == (text, text)


def test_a_text_goes_before_its_html_twin():
    message = mail()
    message.add_alternative("<p>We need <b>more</b> soil, in HTML.</p>", subtype="html")
    assert read(message).pages[0].text.endswith("\n\nWe need more soil.")


def test_a_text_that_only_points_to_the_html_does_not():
    message = mail(text="Please view the HTML version.")
    body = "<h1>News</h1>" + "<p>The garden has opened again after the winter.</p>" * 5
    message.add_alternative(body, subtype="html")
    assert "# News\n\nThe garden has opened" in read(message).pages[0].text
    assert "Please view" not in read(message).pages[0].text


def test_html_alone():
    message = mail()
    message.set_content("<p>Soil &amp; seeds</p><script>x()</script>", subtype="html")
    assert read(message).pages[0].text.endswith("\n\nSoil & seeds")


def test_quotes_and_signatures_stay():
    text = "Yes.\n\nOn Monday, Bob wrote:\n> More soil?\n\n-- \nAda, +44 20 1234\n"
    assert read(mail(text=text)).pages[0].text == f"{HEAD}\n\n{text.strip()}"


def test_flowed_lines_become_paragraphs():
    text = "One \nparagraph.\n> quoted \n> text\n>\nother \n-- \nAda\n"
    assert join_flowed(text) == "One paragraph.\n> quoted text\n>\nother \n-- \nAda\n"
    assert join_flowed("日本 \n語", delete=True) == "日本語"


def test_attachments_are_pages_with_labels():
    message = mail()
    message.add_attachment(
        pdf_file([text_page("First page of it"), text_page("Second page of it")]),
        maintype="application",
        subtype="pdf",
        filename="plän.pdf",
    )
    message.add_attachment("a,b,c notes", filename="notes.txt")
    message.add_attachment("other notes", filename="notes.txt")
    message.add_attachment(PNG, maintype="image", subtype="png", filename="photo.png")
    message.add_attachment(b"\0\1\2" * 99, maintype="application", subtype="x-y", filename="x.dat")
    message.add_attachment(b"%PDF-1.7\n", maintype="application", subtype="pdf", filename="b.pdf")
    found = read(message)
    shown = [(page.label, page.state.value, page.text or page.reason) for page in found.pages[1:]]
    assert shown[:-1] == [
        ("attachment plän.pdf, page 1", "text", "First page of it"),
        ("attachment plän.pdf, page 2", "text", "Second page of it"),
        ("attachment notes.txt", "text", "a,b,c notes"),
        ("attachment notes.txt (2)", "text", "other notes"),
        ("attachment photo.png", "skipped", "not read: a PNG image"),
        ("attachment x.dat", "skipped", "format not supported (.dat)"),
    ]
    assert shown[-1][:2] == ("attachment b.pdf", "failed")
    assert {page.number for page in found.pages} == {None}


def test_pictures_shown_inside_of_the_html_are_no_attachments():
    message = mail()
    message.set_content("<p>Look: <img src='cid:x'></p>", subtype="html")
    message.add_related(PNG, "image", "png", cid="<x>")
    (page,) = read(message).pages
    assert page.text.split("\n\n")[-1] == "Look:"
    assert page.state is PageState.TEXT


def test_an_attachment_without_a_name_is_told_by_its_type():
    message = mail()
    data = pdf_file([text_page("Inside of it")])
    message.add_attachment(data, maintype="application", subtype="pdf")
    message.add_attachment(data, maintype="application", subtype="x-odd", filename="odd")
    assert [(page.label, page.reason) for page in read(message).pages[1:]] == [
        ("attachment part 1.pdf, page 1", ""),
        ("attachment odd, page 1", ""),
    ]


def test_a_forwarded_mail_keeps_its_subject_people_and_attachments():
    inner = mail("The old plan: A/B", "Plant roses.")
    inner.add_attachment("deep words", filename="deep.txt")
    message = mail("Fwd")
    message.add_attachment(inner)
    _, forwarded, deep = read(message).pages
    assert forwarded.label == "attachment The old plan: A-B.eml"
    assert forwarded.text.startswith("Subject: The old plan: A/B\nFrom: Ada Lovelace")
    assert forwarded.text.endswith(
        "Date: Thu, 07 Mar 2024 10:00:00 +0100\n\nPlant roses.\n\nAttachments: deep.txt"
    )
    assert deep.text == "deep words"
    assert deep.label == "attachment The old plan: A-B.eml, attachment deep.txt"


def test_mails_in_mails_end_somewhere():
    message = mail("level 0")
    for level in range(1, 9):
        outer = mail(f"level {level}")
        outer.add_attachment(message)
        message = outer
    last = read(message).pages[-1]
    assert (last.state, last.reason) == (
        PageState.FAILED,
        "it lies too deep: a file in a file in a file",
    )


@pytest.mark.parametrize(
    ("kind", "body", "with_what"),
    [
        ('application/pkcs7-mime; smime-type=enveloped-data; name="smime.p7m"', "MIIB", "S/MIME"),
        ('multipart/encrypted; protocol="application/pgp-encrypted"; boundary=b', "--b--", "PGP"),
        ("text/plain", "-----BEGIN PGP MESSAGE-----\n\nhQEMA\n-----END PGP MESSAGE-----", "PGP"),
    ],
)
def test_what_is_encrypted_says_so(kind, body, with_what):
    data = f"Subject: secret\nFrom: a@b.c\nContent-Type: {kind}\n\n{body}\n".encode()
    (page,) = read(data).pages
    assert page.state is PageState.ENCRYPTED
    assert page.reason.startswith(f"encrypted with {with_what}: ")


def test_a_signed_mail_is_read_and_its_signature_named():
    message = mail()
    message.make_mixed()
    signature = MIMEPart()
    signature.set_content(b"\x30\x80", "application", "pkcs7-signature", filename="smime.p7s")
    message.attach(signature)
    assert [(page.state.value, page.reason) for page in read(message).pages] == [
        ("text", ""),
        ("skipped", "not read: a signature"),
    ]


def test_what_mail_programs_get_wrong():
    raw = (
        b"From: =?utf-8?B?QWRhIA==?= =?utf-8?B?TG92ZWxhY2U=?= <a@b>\r\n"
        + "Subject: Grüße aus dem Garten\r\n".encode("cp1252")
        + b"To: <<broken,, @\r\nDate: yesterday\r\n"
        + b"Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n"
        + "Schöne Grüße für die Mädchen".encode("cp1252")
    )
    found = read(raw)
    assert (found.title, found.author, found.date) == ("Grüße aus dem Garten", "Ada Lovelace", "")
    assert found.pages[0].text.endswith("Schöne Grüße für die Mädchen")
    lost = read(b"Subject: x y\nContent-Type: multipart/mixed; boundary=none\n\nStill to be read.")
    assert lost.pages[0].text == "Still to be read."
    assert read(b"To: " + b"(" * 50_000 + b"\n\nwords").pages[0].text.endswith("words")
    unknown = read(b"Subject: x y\nContent-Type: text/plain; charset=x-none\n\nStill here.")
    assert unknown.pages[0].text == "Still here."


def test_a_subject_that_makes_no_title_is_in_the_text():
    found = read(mail(subject="contract_final.docx"))
    assert found.title == ""
    assert found.pages[0].text.startswith("Subject: contract_final.docx\nFrom: ")


def test_a_mail_without_words_still_says_who_wrote_to_whom():
    (page,) = read(mail(text="")).pages
    assert (page.text, page.reason) == (HEAD, "no text of its own")


def test_what_is_no_mail_is_refused():
    with pytest.raises(ReadError, match="not an e-mail: it begins with no header"):
        read(b"Dear Bob,\n\nplain words")


def test_apples_mails():
    data = mail().as_bytes()
    wrapped = b"%-10d\n" % len(data) + data + b'<?xml version="1.0"?><plist/>'
    assert read(wrapped, "a.emlx").pages == read(mail()).pages


MAILBOX = b"".join(
    b"From ada@example.org Thu Mar  7 10:00:00 2024\n"
    + mail(subject, f"{text}\n\nFrom here on 12:30 it rains, 2024.\n").as_bytes()
    + b"\n"
    for subject, text in [("Roses", ">From the shed."), ("Tulips", "Bulbs."), ("Tulips", "More.")]
)


def test_a_mailbox_is_one_page_a_mail():
    found = read(MAILBOX, "a.mbox")
    assert [(page.number, page.label) for page in found.pages] == [
        (1, "mail 1: Roses"),
        (2, "mail 2: Tulips"),
        (3, "mail 3: Tulips"),
    ]
    assert found.pages[0].text.startswith("Subject: Roses\nFrom: Ada Lovelace")
    assert "\n\nFrom the shed.\n\nFrom here on 12:30" in found.pages[0].text
    with pytest.raises(ReadError, match="not a mailbox"):
        read(b"Subject: x\n\ny", "a.mbox")


def test_attachments_in_a_mailbox():
    message = mail()
    message.add_attachment("words", filename="n.txt")
    data = b"From x Thu Mar  7 10:00:00 2024\n" + message.as_bytes()
    assert [page.label for page in read(data, "a.mbox").pages] == [
        "mail 1: Budget for the garden",
        "mail 1: Budget for the garden, attachment n.txt",
    ]


def test_too_many_attachments_are_one_page():
    taken = {str(number) for number in range(MAX_PARTS)}
    (page,) = attached_pages("a.txt", b"words", RUN, taken)
    assert (page.state, page.reason) == (PageState.FAILED, "more than 20,000 parts in one file")
    assert attached_pages("b.txt", b"words", RUN, taken) == []


def test_names_of_attachments():
    taken: set[str] = set()
    for name in ("C:\\folder\\a.txt", "/etc/a.txt", "", "x" * 300 + ".txt", "a\nb.txt"):
        attached_pages(name, b"words", RUN, taken)
    assert sorted(taken)[:3] == ["attachment a b.txt", "attachment a.txt", "attachment a.txt (2)"]
    assert "attachment unnamed" in taken
    assert max(map(len, taken)) < 150
    assert unique_label("attachment a.txt", taken) == "attachment a.txt (3)"


def test_an_archive_is_not_opened_and_nothing_is_nothing():
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("a.txt", "x")
    (page,) = attached_pages("a.zip", buffer.getvalue(), RUN, set())
    assert (page.state, page.reason) == (PageState.SKIPPED, "not read: a ZIP archive")
    (page,) = attached_pages("a.txt", b"", RUN, set())
    assert (page.state, page.reason) == (PageState.EMPTY, "zero bytes")


def _seed() -> bytes:
    message = mail("Grüße")
    message.add_alternative("<p>HTML</p>", subtype="html")
    message.add_attachment(mail("inner"))
    message.add_attachment("notes", filename="ä.txt")
    return message.as_bytes()


@settings(max_examples=80, deadline=None)
@given(data=st.data(), name=st.sampled_from(["a.eml", "a.mbox", "a.emlx"]))
def test_damaged_mails_raise_nothing_but_read_errors(data, name):
    changed = bytearray(MAILBOX if name == "a.mbox" else _SEED)
    for _ in range(data.draw(st.integers(1, 8))):
        at = data.draw(st.integers(0, max(0, len(changed) - 1)))
        length = data.draw(st.integers(0, 30))
        changed[at : at + length] = data.draw(st.binary(max_size=8)) or changed[:length]
    try:
        found = read(bytes(changed), name)
    except ReadError:
        return
    labels = [page.label for page in found.pages]
    assert len(set(labels)) == len(labels)
    for page in found.pages:
        assert page.state.readable == bool(page.text.strip())
        assert page.state.readable or page.reason
        page.text.encode("utf-8")


_SEED = _seed()
