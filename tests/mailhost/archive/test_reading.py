"""A preview of an archive shows what is in it, and does not break at what was put in its place."""

from __future__ import annotations

import gzip
import io
import time
import tracemalloc
from email.message import EmailMessage
from pathlib import Path
from typing import BinaryIO

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailhost.archive import ArchiveError, mbox, mime, reading

NAME = "myinfo.oldmail.20261125.gz"


def archive(*messages: bytes, folder: str = "INBOX") -> BinaryIO:
    """Return an archive of these messages, opened."""
    out = io.BytesIO()
    for message in messages:
        mbox.write(out, message, folder=folder, flags=("\\Seen",), received=1_700_000_000)
    return io.BytesIO(gzip.compress(out.getvalue()))


def text_of(message: bytes) -> reading.Text:
    return reading.text_of(archive(b"other", message), 2)


def test_pages_of_entries() -> None:
    file = archive(*(b"Subject: %d\n\n%s" % (n, b"x" * n) for n in range(1, 8)), folder="仕事")
    first, more = reading.entries(file, 1, 3)
    assert ([entry.subject for entry in first], more) == (["1", "2", "3"], True)
    last, more = reading.entries(file, 5, 3)
    assert ([entry.number for entry in last], more) == ([5, 6, 7], False)
    assert reading.entries(file, 8, 3) == ([], False)
    entry = last[0]
    assert (entry.folder, entry.size, entry.flags) == ("仕事", 17, "\\Seen")
    assert entry.date
    assert entry.date.timestamp() == 1_700_000_000


@pytest.mark.parametrize(
    ("raw", "shown"),
    [
        ("=?utf-8?B?5LuV5LqL?= =?utf-8?Q?=E3=81=AE?=", "仕事の"),
        ("=?iso-2022-jp?B?GyRCO0U7dhsoQg==?=", "仕事"),
        ("\x1b$B;E;v\x1b(B", "仕事"),
        ("\x1b$B;E;v", "仕事"),
        ("仕事", "仕事"),
        ("=?nonsense?B?5LuV5LqL?=", "仕事"),
        ("=?utf-8?B?!?=", ""),
        ("=?punycode?Q?abc-def?=", "abc-def"),
        ("two\n\tlines\n and more", "two lines and more"),
        ("a\u202eb\x07c\0", "a\ufffdb\u2407c\u2400"),
        ("<script>alert(1)</script>", "<script>alert(1)</script>"),
    ],
)
def test_subjects_are_readable(raw: str, shown: str) -> None:
    [entry], _ = reading.entries(archive(b"Subject: " + raw.encode() + b"\n\n"))
    assert entry.subject == shown


def test_eight_bit_subjects_of_old_programs() -> None:
    for codec in ("shift_jis", "euc_jp"):
        [entry], _ = reading.entries(archive("Subject: 仕事\n\n".encode(codec)))
        assert entry.subject == "仕事" or codec == "euc_jp"


def test_text_and_attachments_of_a_usual_message() -> None:
    message = EmailMessage()
    message["From"], message["Subject"] = "さくら <a@example.com>", "件名"
    message.set_content("本文です。\n")
    message.add_alternative("<p>本文<b>です</b>。</p>", subtype="html")
    message.add_attachment(
        b"\0" * 1000, maintype="application", subtype="pdf", filename="請求書.pdf"
    )
    text = text_of(message.as_bytes())
    assert text.body.strip() == "本文です。"
    assert text.headers == (("From", "さくら <a@example.com>"), ("Subject", "件名"))
    [attachment] = text.attachments
    assert (attachment.name, attachment.content_type) == ("請求書.pdf", "application/pdf")
    assert attachment.size == 1000
    assert not text.cut


def test_html_alone_becomes_text() -> None:
    html = (
        b"Content-Type: text/html; charset=utf-8\n\n<html><style>p {}</style><!-- <p>no -->"
        b"<p>One &amp; two<br>three</p><script>evil()</script><div>four</div>"
    )
    assert text_of(html).body == "One & two\nthree\n\nfour"


def test_no_message_of_that_number() -> None:
    with pytest.raises(ArchiveError) as failed:
        reading.text_of(archive(b"one"), 2)
    assert failed.value.code == "no_archive"


NESTED = b"".join(
    b"Content-Type: multipart/mixed; boundary=b%d\n\n--b%d\n" % (n, n) for n in range(3000)
)
HOSTILE = {
    "nested": NESTED,
    "parts": b"Content-Type: multipart/mixed; boundary=b\n\n" + b"--b\n\n" * 200_000,
    "multiparts": b"Content-Type: multipart/mixed; boundary=b\n\n"
    + b"--b\nContent-Type: multipart/mixed; boundary=c\n\n--c\n" * 50_000,
    "one header": b"Subject: " + b"=?a?q?" * 200_000 + b"\n\n",
    "headers": b"Subject: x\n" * 200_000,
    "folded": b"Subject: x\n" + b" \n" * 500_000,
    "tags": b"Content-Type: text/html\n\n" + b"<" * 500_000,
    "comments": b"Content-Type: text/html\n\n" + b"<!--" * 200_000,
    "scripts": b"Content-Type: text/html\n\n" + b"<script>" * 100_000,
    "entities": b"Content-Type: text/html\n\n" + b"&#x" * 300_000,
    "base64": b"Content-Transfer-Encoding: base64\n\n" + b"====" * 200_000 + b"A",
    "empty boundary": b'Content-Type: multipart/mixed; boundary=""\n\n--\n--\n',
    "no type": b"Content-Type: ;;;=;\nContent-Disposition: attachment; filename*=x''%ff%\n\n\n",
    "charsets": b"Content-Type: text/plain; charset=idna\n\n" + b"xn--a." * 100_000,
    "carriage returns": b"Subject: a\r\r\r\n\r\n" + b"\r" * 500_000,
    "empty": b"",
}


@pytest.mark.parametrize("what", HOSTILE)
def test_hostile_message_is_shown_within_a_second_or_so(what: str) -> None:
    file = archive(HOSTILE[what])
    start = time.process_time()
    text = reading.text_of(file, 1)
    reading.entries(file)
    assert time.process_time() - start < 3
    assert len(text.body) <= reading.MOST_TEXT
    assert len(text.attachments) <= mime.MOST_PARTS
    assert not any(ord(letter) < 32 and letter not in "\n\t" for letter in text.body)


@given(st.lists(st.sampled_from([
    b"Content-Type: multipart/mixed; boundary=b\n", b"Content-Type: text/html\n", b"\n", b"--b",
    b"Content-Transfer-Encoding: base64\n", b"Content-Transfer-Encoding: quoted-printable\n", b"--",
    b"Content-Disposition: attachment; filename=\"", b"\xff", b"\r\n", b"Subject: =?utf-8?q?=?=\n",
    b"=", b"<p", b"A",
]), max_size=20))  # fmt: skip
def test_no_message_breaks_it(pieces: list[bytes]) -> None:
    file = archive(b"".join(pieces))
    assert reading.text_of(file, 1).entry == reading.entries(file)[0][0]


@pytest.mark.parametrize(
    "content",
    [b"", b"hello", gzip.compress(b"hello"), gzip.compress(b"From x\n\n"), b"\x1f\x8b\x08"],
    ids=["empty", "text", "text in gzip", "a From line in gzip", "cut in gzip's head"],
)
def test_another_file_is_no_archive(content: bytes) -> None:
    if content:
        with pytest.raises(ArchiveError) as failed:
            reading.entries(io.BytesIO(content))
        assert failed.value.code == "archive_changed"


def test_damaged_archive_is_told() -> None:
    data = archive(b"Subject: a\n\n" + bytes(range(256)) * 40).read()
    with pytest.raises(ArchiveError):
        reading.entries(io.BytesIO(data[: len(data) // 2]))
    with pytest.raises(ArchiveError):
        reading.entries(io.BytesIO(data[:-8] + b"\0" * 8))


@pytest.fixture
def bomb() -> BinaryIO:
    """An archive of one message of 1 GB, in a few MB; like that, 4 GB and more can be had."""
    out = io.BytesIO()
    size = 1 << 30
    head = b"From MAILER-DAEMON Thu Nov 27 03:04:05 2026\nX-Folder: a\nX-Plusmail-Flags: \n"
    head += b"X-Plusmail-Received: 0\nX-Plusmail-Bytes: %d %d %s\n" % (size, size, b"0" * 64)
    with gzip.GzipFile(fileobj=out, mode="wb", compresslevel=1) as file:
        file.write(head)
        for _ in range(size >> 20):
            file.write(b"\0" * (1 << 20))
    return out


def test_bomb_does_no_harm(bomb: BinaryIO, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "MOST_BYTES", 1 << 28)
    tracemalloc.start()
    for look in (reading.entries, lambda file: reading.text_of(file, 2)):
        with pytest.raises(ArchiveError) as failed:
            look(bomb)
        assert failed.value.code == "archive_changed"
    text = reading.text_of(bomb, 1)
    assert text.cut
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 200 << 20


def test_time_is_bounded(bomb: BinaryIO, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "MOST_SECONDS", 0.05)
    with pytest.raises(ArchiveError, match="too long"):
        reading.entries(bomb)


@pytest.mark.parametrize(
    "name",
    [
        "../" + NAME,
        "a/" + NAME,
        ".",
        "",
        NAME + "\n",
        "a.oldmail.2026112.gz",
        "x" * 300,
        "host.json",
    ],
)
def test_other_names_are_not_opened(tmp_path: Path, name: str) -> None:
    (tmp_path / "home").mkdir()
    with pytest.raises(ArchiveError) as failed:
        reading.open_archive(tmp_path, "home", name)
    assert failed.value.code == "no_archive"


@pytest.mark.parametrize(
    ("home", "code"),
    [
        ("", "home_missing"),
        ("..", "home_missing"),
        ("a/../..", "home_missing"),
        ("/etc", "home_missing"),
        ("nothing", "home_missing"),
        ("link", "home_unsafe"),
        ("file", "home_unsafe"),
        ("home", "no_archive"),
    ],
)
def test_homes_that_are_none(tmp_path: Path, home: str, code: str) -> None:
    (tmp_path / "home").mkdir()
    (tmp_path / "link").symlink_to("home")
    (tmp_path / "file").write_text("")
    with pytest.raises(ArchiveError) as failed:
        reading.open_archive(tmp_path, home, NAME)
    assert failed.value.code == code


def test_only_a_file_with_one_name_is_opened(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    (home / NAME).write_bytes(b"x")
    with reading.open_archive(tmp_path, "home", NAME) as file:
        assert file.read() == b"x"
    (home / "other").hardlink_to(home / NAME)
    with pytest.raises(ArchiveError) as failed:
        reading.open_archive(tmp_path, "home", NAME)
    assert failed.value.code == "not_ours"
