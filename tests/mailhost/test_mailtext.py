"""Mail as text: whatever it holds, it can be looked at, and what is wrong with it is found."""

from __future__ import annotations

import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailhost import mailtext, stuck
from tests.hostile import HUGE, JAPANESE, corpus, encoded

MESSAGES = dict(corpus())
UTF8, JIS = JAPANESE.encode(), JAPANESE.encode("iso2022_jp")
UNSAFE = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff\ufffe\uffff]"
)
# What each message is made to show; those not named have nothing that stops a program.
EXPECTED = {
    "nul-in-body": "control",
    "nul-in-header": "control",
    "control-in-subject": "control",
    "bare-cr": "control",
    "jis-unclosed": "unclosed",
    "jis-cut-in-a-letter": "unclosed",
    "jis-unclosed-subject": "header",
    "sjis-raw-headers": "header",
    "sjis-as-utf8": "charset",
    "sjis-as-utf8-subject": "header",
    "no-label": "charset",
    "utf8-as-ascii": "charset",
    "unknown-charset": "charset",
    "codec-that-is-none": "charset",
    "no-boundary": "mime",
    "not-closed": "mime",
    "nested-2000": "mime",
    "base64-broken": "mime",
    "line-of-1mb": "line",
    "subject-of-1mb": "line",
    "huge-attachment": "size",
}


def as_imap(data: bytes) -> bytes:
    """Return a message as Dovecot shows it: CRLF at line ends, 0x80 for NUL."""
    return re.sub(rb"(?<!\r)\n", b"\r\n", data).replace(b"\x00", b"\x80")


def test_corpus_is_large_and_always_the_same() -> None:
    assert len(MESSAGES) >= 60
    assert dict(corpus()) == MESSAGES
    assert len(MESSAGES["huge-attachment"]) >= HUGE


@pytest.mark.parametrize("name", MESSAGES)
def test_every_hostile_message_can_be_looked_at_soon(name: str) -> None:
    data = as_imap(MESSAGES[name])[: 512 * 1024]
    began = time.process_time()
    whole = len(data) >= len(MESSAGES[name])
    text = mailtext.read(data, whole=whole)
    source, _ = mailtext.first_lines(data, 100)
    stuck.defects_of(data, len(MESSAGES[name]))
    assert time.process_time() - began < 10
    shown = [text.body, source, *(value for _name, value in text.headers)]
    shown += [part.name + part.content_type for part in text.parts]
    for one in shown:
        assert not UNSAFE.search(one)
        assert len(one) <= mailtext.MOST_TEXT
        one.encode()


@pytest.mark.parametrize("name", EXPECTED)
def test_what_stops_mail_programs_is_found_in_a_glance(name: str) -> None:
    data = as_imap(MESSAGES[name])
    assert EXPECTED[name] in stuck.defects_of(data[:8192], len(data))


@pytest.mark.parametrize(
    "data",
    [
        b"Subject: plain\r\n\r\nhello\r\n",
        b"Subject: " + encoded("iso-2022-jp", JIS) + b"\r\n"
        b"Content-Type: text/plain; charset=ISO-2022-JP\r\n\r\n" + JIS + b"\r\n",
        b"Content-Type: text/plain; charset=shift_jis\r\n\r\n" + JAPANESE.encode("cp932") + b"\r\n",
        b"Content-Type: text/plain; charset=utf-8\r\n\r\n" + "「〜」、。\r\n".encode() * 50,
        b"Content-Type: text/plain; charset=windows-1252\r\n\r\n10 \x80\r\n",
        b"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\nx\r\n--b--\r\n",
        b"Content-Type: image/png\r\nContent-Transfer-Encoding: base64\r\n\r\niVBORw0KGgo=\r\n",
    ],
)  # fmt: skip
def test_ordinary_mail_has_nothing_that_stops_programs(data: bytes) -> None:
    assert stuck.defects_of(data, len(data)) == ()
    # Wherever the glance ends, it takes nothing for broken.
    for end in range(len(data)):
        found = set(stuck.defects_of(data[:end], len(data)))
        assert found <= {"unclosed"}, end


@pytest.mark.parametrize(
    ("value", "letters"),
    [
        (b"plain", "plain"),
        (encoded("iso-2022-jp", JAPANESE.encode("iso2022_jp")), JAPANESE),
        (encoded("utf-8", JAPANESE.encode(), "Q"), JAPANESE),
        (encoded("shift_jis", JAPANESE.encode("cp932")), JAPANESE),
        (encoded("utf-8", UTF8[:4]) + b" " + encoded("utf-8", UTF8[4:]), JAPANESE),
        (JAPANESE.encode("cp932"), JAPANESE),
        (JAPANESE.encode("iso2022_jp"), JAPANESE),
        (JAPANESE.encode(), JAPANESE),
        (b"a =?utf-8?Q?b?= c", "a b c"),
        (b"=?utf-8?Q?a_b?= =?utf-8?Q?c?=", "a bc"),
        (b"=?broken?=", "=?broken?="),
    ],
)  # fmt: skip
def test_headers_in_letters(value: bytes, letters: str) -> None:
    assert mailtext.header_text(value) == letters


@given(st.binary(max_size=400))
def test_any_bytes_can_be_looked_at(data: bytes) -> None:
    for message in (data, b"Content-Type: multipart/mixed; boundary=x\n\n--x\n" + data):
        assert not UNSAFE.search(mailtext.read(message).body)
        stuck.defects_of(message, len(message))
    assert not UNSAFE.search(mailtext.one_line(mailtext.header_text(data)))


def test_html_becomes_text() -> None:
    html = (
        "<style>p{}</style><h1>Title</h1><p>one &amp; two<br>three</p>"
        "<!-- > secret --><script>x<y</script>"
    )
    assert mailtext.text_of_html(html) == "Title\n\none & two\nthree"


def test_script_text_never_becomes_markup() -> None:
    text = mailtext.read(MESSAGES["html-script"])
    assert text.from_html
    assert text.body == "hello"
