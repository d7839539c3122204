"""A mailbox as its files, hostile mail, and archives, as the tests of archives need them."""

from __future__ import annotations

import os
import smtplib
import subprocess
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from mailhost import archive, homes
from mailhost.archive import Archive
from mailhost.records import HostedDomain, Mailbox
from tests.mail.conftest import Site, applied
from tests.servers import MailServer

HEAD = b"From: friend@outside.test\r\nTo: you@example.com\r\nSubject: "
#: As a sender may have made them; each line's end is CRLF, as LMTP wants it.
HOSTILE: dict[str, bytes] = {
    "plain": HEAD + b"plain\r\n\r\nhello\r\n",
    "bare CR": HEAD + b"cr\r\n\r\none\rtwo\rFrom three\r\r\n",
    "NUL": HEAD + b"nul\0\r\n\r\na\0b\0\r\n",
    "8-bit": HEAD + bytes(range(128, 256)) + b"\r\n\r\n" + bytes(range(128, 256)) + b"\r\n",
    "a line of 1 MB": HEAD + b"long\r\n\r\n" + b"x" * (1 << 20) + b"\r\nend\r\n",
    "broken MIME": HEAD
    + b"mime\r\nContent-Type: multipart/mixed; boundary=\"a\r\n\r\n--a\r\n--a--\r\n--a\r\n",
    "From lines": HEAD + b"from\r\n\r\nFrom a\r\n>From b\r\n>>From c\r\nFrom \r\n",
    "From at once": b"From here\r\n>From there\r\n\r\nFrom everywhere\r\n",
    "ISO-2022-JP left open": HEAD + b"\x1b$B$3$s\r\n\r\n\x1b$B$3$s$K$A$O\r\n",
    "a false length": HEAD + b"length\r\nContent-Length: 100000\r\n\r\nContent-Length: 3\r\n",
    "a length of one": b"content-length : 1\r\nCONTENT-LENGTH:0\r\n\r\nx\r\n\r\nFrom y\r\n",
    "no head": b"\r\nno head at all\r\n",
    "no body": HEAD + b"no body\r\n",
    "dots": HEAD + b"dots\r\n\r\n.\r\n..\r\n.a\r\n",
    "empty lines": b"\r\n\r\n\r\n\r\n",
    "our own lines": b"From MAILER-DAEMON Thu Nov 27 03:04:05 2026\r\nX-Folder: Sent\r\n"
    b"X-Plusmail-Bytes: 1 1 0\r\n\r\n",
}  # fmt: skip


def with_home(site: Site) -> Path:
    """Give the site's domain a home; return it."""
    outcomes = site.put(HostedDomain(site.domain, site.fixed.address, home=site.domain))
    assert applied(outcomes), outcomes
    return homes.root_of(site.server.root, site.server.config) / site.domain


def lmtp(server: MailServer, address: str, messages: Iterable[bytes]) -> None:
    """Deliver these messages, in one session, as Postfix would, but unchanged."""
    with smtplib.LMTP(str(server.root / "queue/private/dovecot-lmtp")) as client:
        client.ehlo()
        for message in messages:
            client.mail("friend@outside.test")
            assert client.rcpt(address)[0] == 250
            code, text = client.data(message)
            assert code == 250, text


def maildir(server: MailServer, box: Mailbox) -> Path:
    """Return where a mailbox's files lie."""
    return server.host.paths.home(box.mailbox_id) / "Maildir"


def stored(server: MailServer, box: Mailbox) -> Counter[tuple[str, bytes]]:
    """Return the mailbox's messages as (folder's directory, bytes of the file)."""
    found: Counter[tuple[str, bytes]] = Counter()
    home = maildir(server, box)
    for path in [*home.glob("cur/*"), *home.glob("new/*")]:
        found["", path.read_bytes()] += 1
    for path in [*home.glob(".*/cur/*"), *home.glob(".*/new/*")]:
        found[path.parent.parent.name, path.read_bytes()] += 1
    return found


def listed(server: MailServer, box: Mailbox) -> Counter[tuple[str, ...]]:
    """Return what Dovecot says of each message: folder, flags, when received, sizes."""
    fields = "mailbox flags date.received size.physical size.virtual"
    rows = doveadm(server, "-f", "tab", "fetch", "-u", box.name, fields, "mailbox", "*", "ALL")
    found: Counter[tuple[str, ...]] = Counter()
    for row in rows.splitlines()[1:]:
        folder, flags, *rest = row.split("\t")
        kept = sorted(flag for flag in flags.split() if flag != "\\Recent")
        found[folder, " ".join(kept), *rest] += 1
    return found


def doveadm(server: MailServer, *arguments: str) -> str:
    """Run a command of doveadm(1) on this server."""
    command = ["doveadm", "-c", str(server.host.paths.dovecot_conf), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def inside(home: Path) -> list[str]:
    """Return the names of all files of a home."""
    return sorted(path.name for path in home.iterdir())


def take(site: Site, box: Mailbox, **options: bool) -> Archive:
    """Archive a mailbox, full or not."""
    return archive.take(site.server.root, box.name, **{"require_full": False, **options})


def mounted(*arguments: str) -> bool:
    """Mount something, as root can; False where it may not."""
    done = subprocess.run(["mount", *arguments], capture_output=True, check=False)
    return done.returncode == 0 and os.geteuid() == 0
