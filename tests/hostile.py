"""Messages that break mail programs, made here: what every page that shows mail has to stand.

`corpus()` yields a name and the bytes of each, with LF at line ends as a maildir keeps them, and
always the same ones. Each carries the word of `marker(name)` in its subject as far as it has one.
What would run if a page took it for HTML sets `window.hit`, and loads from `http://evil.invalid`.
"""

from __future__ import annotations

import base64
import random
from collections.abc import Iterator

SCRIPT = "<script>window.hit=1</script><img src=http://evil.invalid/x onerror=window.hit=1>"
JAPANESE = "日本語の件名です。ご確認をお願いいたします。"
#: Bytes of the largest.
HUGE = 6 * 1024 * 1024


def marker(name: str) -> str:
    """Return the word by which a message is found again."""
    return f"hostile-{name}"


def message(
    name: str, body: bytes = b"text\n", *headers: bytes, subject: bytes | None = None
) -> bytes:
    """Return a message whose headers can be anything."""
    title = marker(name).encode() if subject is None else subject
    own = [h.partition(b":")[0].lower() for h in headers]
    lines = [b"From: friend@outside.test"] if b"from" not in own else []
    if b"subject" not in own:
        lines.append(b"Subject: " + title)
    if b"date" not in own:
        lines.append(b"Date: Fri, 27 Nov 2026 10:00:00 +0900")
    return b"\n".join([*lines, *headers, b"", body])


def encoded(charset: str, raw: bytes, way: str = "B") -> bytes:
    """Return an encoded word of RFC 2047, whatever its bytes."""
    quoted = b"".join(b"=%02X" % byte for byte in raw)
    text = quoted if way == "Q" else base64.b64encode(raw)
    return b"=?" + charset.encode() + b"?" + way.encode() + b"?" + text + b"?="


def text(charset: str, encoding: str = "8bit") -> tuple[bytes, bytes, bytes]:
    """Return the headers of plain text."""
    return (
        b"MIME-Version: 1.0",
        b"Content-Type: text/plain; charset=" + charset.encode(),
        b"Content-Transfer-Encoding: " + encoding.encode(),
    )


def mixed(boundary: bytes = b"frontier", kind: bytes = b"mixed") -> tuple[bytes, bytes]:
    """Return the headers of a multipart message."""
    return (
        b"MIME-Version: 1.0",
        b"Content-Type: multipart/" + kind + b'; boundary="' + boundary + b'"',
    )


def corpus() -> Iterator[tuple[str, bytes]]:
    """Yield all of them."""
    for kind in (_characters, _charsets, _headers, _structure, _html, _sizes, _noise):
        yield from kind()


def _characters() -> Iterator[tuple[str, bytes]]:
    yield "nul-in-body", message("nul-in-body", b"before\x00after\n\x00\x00\n")
    yield (
        "nul-in-header",
        message("nul-in-header", b"x\n", b"X-Nul: a\x00b", b"To: y\x00ou@example.com"),
    )
    yield "nul-in-subject", message("nul-in-subject", subject=b"hostile-nul-in-subject a\x00b")
    yield (
        "control-in-subject",
        message("control-in-subject", subject=b"hostile-control-in-subject \x07\x08\x1b[2J\x7f"),
    )
    yield "control-in-body", message("control-in-body", bytes(range(1, 32)) + b"\x7f\n")
    yield "bare-cr", message("bare-cr", b"one\rtwo\rthree\n.\r\n")
    yield "crlf-mixed", message("crlf-mixed", b"one\r\ntwo\nthree\r\r\n")
    yield "dot-lines", message("dot-lines", b".\n..\n.\n...\nend\n")
    yield "form-feed", message("form-feed", b"\x0c\x0b\x1a end of file?\n")
    yield "c1-controls", message("c1-controls", "\x85\x9b31m\x9d".encode(), *text("utf-8"))
    yield (
        "bidi",
        message(
            "bidi",
            "\u202eabc\u2066x\u200f".encode(),
            *text("utf-8"),
            subject="hostile-bidi \u202egnp.exe".encode(),
        ),
    )
    yield (
        "noncharacters",
        message("noncharacters", b"\xef\xbf\xbe\xef\xbf\xbf\xf4\x8f\xbf\xbf", *text("utf-8")),
    )
    yield "surrogates", message("surrogates", b"\xed\xa0\x80\xed\xb0\x80 text", *text("utf-8"))
    yield "combining", message("combining", ("a" + "\u0301" * 500).encode(), *text("utf-8"))
    yield "byte-order-mark", message("byte-order-mark", b"\xff\xfeh\x00i\x00", *text("utf-16"))


def _charsets() -> Iterator[tuple[str, bytes]]:
    sjis, jis, euc = (JAPANESE.encode(c) for c in ("cp932", "iso2022_jp", "euc_jp"))
    open_jis = jis.removesuffix(b"\x1b(B")
    yield (
        "jis-unclosed",
        message("jis-unclosed", open_jis + b"\nnext line\n", *text("iso-2022-jp", "7bit")),
    )
    yield (
        "jis-unclosed-subject",
        message(
            "jis-unclosed-subject",
            subject=b"hostile-jis-unclosed-subject " + encoded("iso-2022-jp", open_jis),
        ),
    )
    yield "jis-raw-subject", message("jis-raw-subject", subject=b"hostile-jis-raw-subject " + jis)
    yield (
        "jis-cut-in-a-letter",
        message("jis-cut-in-a-letter", open_jis[:-1] + b"\n", *text("iso-2022-jp", "7bit")),
    )
    yield (
        "jis-katakana",
        message("jis-katakana", b"\x1b(I1234\x1b(B\n", *text("iso-2022-jp", "7bit")),
    )
    yield (
        "jis-unknown-escape",
        message(
            "jis-unknown-escape", b"\x1b$Z!!\x1b(Q\x1b\x1b\x1b\n", *text("iso-2022-jp", "7bit")
        ),
    )
    yield "sjis-as-utf8", message("sjis-as-utf8", sjis + b"\n", *text("utf-8"))
    yield (
        "sjis-as-utf8-subject",
        message(
            "sjis-as-utf8-subject",
            subject=b"hostile-sjis-as-utf8-subject " + encoded("utf-8", sjis),
        ),
    )
    yield (
        "sjis-raw-headers",
        message(
            "sjis-raw-headers",
            sjis + b"\n",
            b"From: " + sjis + b" <a@outside.test>",
            subject=b"hostile-sjis-raw-headers " + sjis,
        ),
    )
    yield "euc-as-sjis", message("euc-as-sjis", euc + b"\n", *text("shift_jis"))
    yield "utf8-as-ascii", message("utf8-as-ascii", JAPANESE.encode(), *text("us-ascii", "7bit"))
    yield "utf8-cut", message("utf8-cut", JAPANESE.encode()[:-1], *text("utf-8"))
    yield "no-label", message("no-label", sjis + b"\n")
    yield (
        "unknown-charset",
        message("unknown-charset", JAPANESE.encode(), *text("x-no-such-charset")),
    )
    yield "codec-that-is-none", message("codec-that-is-none", b"eJwDAAAAAAE=", *text("zlib_codec"))
    yield "charset-empty", message("charset-empty", b"\xff\xfe", *text('""'))
    yield "charset-path", message("charset-path", b"x", *text("../../etc/passwd"))
    yield (
        "utf7",
        message("utf7", b"+ADw-script+AD4-window.hit=1+ADw-/script+AD4-", *text("utf-7", "7bit")),
    )
    yield (
        "word-charset-unknown",
        message(
            "word-charset-unknown",
            subject=b"hostile-word-charset-unknown " + encoded("nonsense", b"\xff\xfe"),
        ),
    )


def _headers() -> Iterator[tuple[str, bytes]]:
    yield "no-headers", b"\nonly a body\n"
    yield "empty", b""
    yield "only-newline", b"\n"
    yield "no-body", b"From: a@outside.test\nSubject: hostile-no-body"
    yield "body-without-headers", b"This is no header at all\nnor is this\n"
    yield (
        "headers-without-colon",
        message("headers-without-colon", b"x\n", b"X-Good: 1", b"no colon here", b": no name"),
    )
    yield "begins-folded", b" folded before anything\n" + message("begins-folded")
    yield "mbox-from", b"From friend@outside.test Fri Nov 27 10:00:00 2026\n" + message("mbox-from")
    yield "many-subjects", message("many-subjects", b"x\n", b"Subject: second", b"Subject: third")
    yield (
        "subject-of-1mb",
        message("subject-of-1mb", subject=b"hostile-subject-of-1mb " + b"x" * 1_000_000),
    )
    yield (
        "folded-10000-times",
        message("folded-10000-times", subject=b"hostile-folded-10000-times" + b"\n x" * 10_000),
    )
    yield (
        "headers-20000",
        message("headers-20000", b"x\n", *(b"X-%d: y" % n for n in range(20_000))),
    )
    yield (
        "recipients-5000",
        message(
            "recipients-5000",
            b"x\n",
            b"To: " + b", ".join(b"u%d@example.com" % n for n in range(5000)),
        ),
    )
    yield (
        "date-absurd",
        message("date-absurd", b"x\n", b"Date: Fri, 99 Foo 99999 99:99:99 +9999999"),
    )
    yield (
        "date-huge",
        message("date-huge", b"x\n", b"Date: 1 Jan " + b"9" * 400 + b" 00:00:00 +0000"),
    )
    yield "from-empty", message("from-empty", b"x\n", b"From: ")
    yield (
        "from-nested",
        message("from-nested", b"x\n", b"From: " + b"(" * 3000 + b"a@b" + b")" * 3000),
    )
    yield "from-group", message("from-group", b"x\n", b'From: undisclosed:;, <@a,@b:c@d>, "x\\')
    yield (
        "from-html",
        message("from-html", b"x\n", b'From: "' + SCRIPT.encode() + b'" <a@outside.test>'),
    )
    yield (
        "injected-header",
        message(
            "injected-header",
            subject=b"hostile-injected-header "
            + encoded("utf-8", b"a\r\nSet-Cookie: x=1\r\n\r\n" + SCRIPT.encode()),
        ),
    )
    yield (
        "word-broken-base64",
        message(
            "word-broken-base64",
            subject=b"hostile-word-broken-base64 =?utf-8?B?A?= =?utf-8?B?====?= =?utf-8?Q?=?=",
        ),
    )
    yield (
        "words-cut-in-a-letter",
        message(
            "words-cut-in-a-letter",
            subject=b"hostile-words-cut-in-a-letter "
            + encoded("utf-8", JAPANESE.encode()[:4])
            + b"\n "
            + encoded("utf-8", JAPANESE.encode()[4:]),
        ),
    )
    yield (
        "words-5000",
        message(
            "words-5000",
            subject=b"hostile-words-5000 "
            + b"\n ".join([encoded("iso-2022-jp", b'\x1b$B$"\x1b(B')] * 5000),
        ),
    )


def _structure() -> Iterator[tuple[str, bytes]]:
    part = b"--frontier\nContent-Type: text/plain\n\nhello\n"
    yield (
        "no-boundary",
        message("no-boundary", part, b"MIME-Version: 1.0", b"Content-Type: multipart/mixed"),
    )
    yield "boundary-never-used", message("boundary-never-used", b"nothing\n", *mixed())
    yield "not-closed", message("not-closed", part, *mixed())
    yield "boundary-empty", message("boundary-empty", part, *mixed(b""))
    yield (
        "boundary-long",
        message("boundary-long", b"--" + b"f" * 5000 + b"\n\nx\n", *mixed(b"f" * 5000)),
    )
    yield (
        "boundary-regex",
        message("boundary-regex", b"--(a+)+$\n\n" + b"a" * 5000 + b"\n", *mixed(b"(a+)+$")),
    )
    yield (
        "same-boundary-inside",
        message(
            "same-boundary-inside",
            b"--frontier\nContent-Type: multipart/mixed; boundary=frontier\n\n"
            + part
            + b"--frontier--\n",
            *mixed(),
        ),
    )
    nested = b"".join(
        b"--b%d\nContent-Type: multipart/mixed; boundary=b%d\n\n" % (n, n + 1) for n in range(2000)
    )
    yield "nested-2000", message("nested-2000", nested, *mixed(b"b0"))
    yield (
        "rfc822-in-rfc822",
        message(
            "rfc822-in-rfc822",
            b"Content-Type: message/rfc822\n\n" * 500 + b"x\n",
            b"Content-Type: message/rfc822",
        ),
    )
    yield (
        "parts-10000",
        message("parts-10000", b"--frontier\n\nx\n" * 10_000 + b"--frontier--\n", *mixed()),
    )
    yield (
        "base64-broken",
        message("base64-broken", b"!!!!====A\nQUJD*\nQQ", *text("utf-8", "base64")),
    )
    yield (
        "base64-of-multipart",
        message("base64-of-multipart", part, *mixed(), b"Content-Transfer-Encoding: base64"),
    )
    yield (
        "quoted-printable-broken",
        message("quoted-printable-broken", b"=\n=ZZ=1\n==3D=", *text("utf-8", "quoted-printable")),
    )
    yield "encoding-unknown", message("encoding-unknown", b"x\n", *text("utf-8", "x-rot13"))
    yield (
        "uuencode-broken",
        message(
            "uuencode-broken",
            b"begin 644 /etc/passwd\nM\xff\xff\n`\nend\n",
            *text("utf-8", "x-uuencode"),
        ),
    )
    yield "content-type-empty", message("content-type-empty", b"x\n", b"Content-Type: ")
    yield (
        "content-type-odd",
        message(
            "content-type-odd",
            b"x\n",
            b"Content-Type: text/plain; charset*=utf-8''%ff; charset*0*=a'b;"
            b" charset*99999999999999999999=x; =; ;;;",
        ),
    )
    yield (
        "content-type-twice",
        message(
            "content-type-twice", b"x\n", b"Content-Type: text/html", b"Content-Type: image/png"
        ),
    )
    attached = (
        b"--frontier\nContent-Type: application/octet-stream\n"
        b"Content-Disposition: attachment; filename=%s\n\nx\n--frontier--\n"
    )
    yield "file-name-path", message("file-name-path", attached % b'"../../../etc/passwd"', *mixed())
    yield (
        "file-name-html",
        message("file-name-html", attached % b'"<script>window.hit=1</script>.html"', *mixed()),
    )
    yield (
        "file-name-sjis",
        message(
            "file-name-sjis", attached % (b'"' + "見積書.pdf".encode("cp932") + b'"'), *mixed()
        ),
    )
    yield (
        "file-name-1mb",
        message("file-name-1mb", attached % (b'"' + b"n" * 1_000_000 + b'"'), *mixed()),
    )
    yield (
        "file-name-2231",
        message(
            "file-name-2231",
            attached % b"x; filename*0*=utf-8''%E3%81; filename*1*=%82%ff; filename*7=z",
            *mixed(),
        ),
    )
    yield (
        "only-attachment",
        message(
            "only-attachment",
            b"JVBERi0xLjQK\n",
            b"MIME-Version: 1.0",
            b"Content-Type: application/pdf; name=a.pdf",
            b"Content-Transfer-Encoding: base64",
        ),
    )


def _html() -> Iterator[tuple[str, bytes]]:
    def page(name: str, source: str) -> tuple[str, bytes]:
        headers = (b"MIME-Version: 1.0", b"Content-Type: text/html; charset=utf-8")
        return name, message(name, source.encode(), *headers)

    yield page("html-script", f"<html><body>{SCRIPT}<p>hello</p></body></html>")
    yield page(
        "html-svg",
        '<svg onload="window.hit=1"><style>*{background:url(http://evil.invalid)}</style>',
    )
    yield page(
        "html-refresh",
        '<meta http-equiv=refresh content="0;url=http://evil.invalid"><base href=http://evil.invalid>',
    )
    yield page("html-unclosed", "<!--" * 20_000 + "<" * 50_000 + "<p")
    yield page(
        "html-entities", "&lt;script&gt;window.hit=1&lt;/script&gt; &#0;&#55296;&#x110000;&amp;lt;"
    )
    yield page("html-nested", "<div>" * 30_000 + "deep")
    yield page("html-textarea", "</pre></main></body></textarea></title>" + SCRIPT)
    yield "text-script", message("text-script", SCRIPT.encode() + b"\n{{ 7*7 }} {% now 'Y' %}\n")
    yield (
        "subject-script",
        message("subject-script", subject=b"hostile-subject-script " + SCRIPT.encode()),
    )
    yield (
        "subject-encoded-script",
        message(
            "subject-encoded-script",
            subject=b"hostile-subject-encoded-script " + encoded("utf-8", SCRIPT.encode(), "Q"),
        ),
    )


def _sizes() -> Iterator[tuple[str, bytes]]:
    yield "line-of-1mb", message("line-of-1mb", b"x" * 1_000_000 + b"\n")
    yield (
        "line-without-blank",
        message("line-without-blank", ("語" * 100_000).encode(), *text("utf-8")),
    )
    lines = base64.encodebytes(bytes(HUGE * 3 // 4))
    yield (
        "huge-attachment",
        message(
            "huge-attachment",
            b"--frontier\n\nsee attached\n--frontier\nContent-Type: application/zip; name=big.zip\n"
            b"Content-Transfer-Encoding: base64\n\n" + lines + b"--frontier--\n",
            *mixed(),
        ),
    )
    yield "lines-500000", message("lines-500000", b"\n" * 500_000)


def _noise() -> Iterator[tuple[str, bytes]]:
    chance = random.Random(20261127)
    yield "noise", chance.randbytes(5000)
    yield "noise-after-headers", message("noise-after-headers", chance.randbytes(20_000))
    yield (
        "noise-8bit",
        message(
            "noise-8bit",
            bytes(chance.choice(range(128, 256)) for _ in range(3000)),
            *text("iso-2022-jp"),
        ),
    )
