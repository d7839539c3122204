"""Mail for the demo's first start: one mailbox that fills up, and a full one for which mail waits.

It comes as all mail does, by SMTP, once the accounts work.
"""

import contextlib
import smtplib
import time
from collections.abc import Iterator
from email.message import EmailMessage
from email.utils import localtime

from standalone.place import HOST, Ports

FILLING, FULL = "ito@example.com", "kato@example.com"
#: Leads to FULL and to somebody with room.
SHARED = "orders@example.com"
_SENDER = "shiire@partner.example"
#: Rows of an attached table: 2.8 MB as sent, of 3 MB that are allowed.
_ROWS = 57_000
_SECONDS = 180


def send_demo_mail(ports: Ports) -> None:
    """Send it as soon as the accounts work; nothing, if they do not within minutes."""
    until = time.monotonic() + _SECONDS
    while not all(_code(ports, address) == 250 for address in (FILLING, FULL, SHARED)):
        if time.monotonic() > until:
            return
        time.sleep(2)
    # What fails here is missing from the demo, and doubles nothing.
    with contextlib.suppress(OSError, smtplib.SMTPException):
        for address, count in ((FILLING, 3), (FULL, 4)):
            _send(ports, *(_table(address, month) for month in range(1, count + 1)))
        _wait_until_full(ports)
        _send(ports, _order())


def _send(ports: Ports, *messages: EmailMessage) -> None:
    with smtplib.SMTP(HOST, ports.smtp, timeout=30) as client:
        for message in messages:
            client.send_message(message)


def _code(ports: Ports, address: str) -> int:
    """Return what the server says to the recipient; 0 if it does not answer."""
    with (
        contextlib.suppress(OSError, smtplib.SMTPException),
        smtplib.SMTP(HOST, ports.smtp, timeout=30) as client,
    ):
        client.ehlo()
        client.mail(_SENDER)
        return client.rcpt(address)[0]
    return 0


def _wait_until_full(ports: Ports) -> None:
    """Wait until the server refuses mail for FULL, or give up: then nothing waits."""
    until = time.monotonic() + 30
    while _code(ports, FULL) != 552 and time.monotonic() < until:
        time.sleep(1)


def _message(to: str, subject: str, text: str) -> EmailMessage:
    message = EmailMessage()
    message["From"], message["To"], message["Subject"] = _SENDER, to, subject
    message["Date"] = localtime()
    message.set_content(text)
    return message


def _table(to: str, month: int) -> EmailMessage:
    message = _message(to, f"{month}月分の仕入れ一覧", f"{month}月分の一覧をお送りします。\n")
    table = "".join(_lines(month)).encode()
    message.add_attachment(table, "text", "csv", filename=f"shiire-{month:02}.csv")
    return message


def _lines(month: int) -> Iterator[str]:
    for row in range(_ROWS):
        yield f"2026-{month:02},{row:06},item-{row * 7919 % 9973:04},{row * 31 % 997},{row * 613}\n"


def _order() -> EmailMessage:
    return _message(SHARED, "注文について", "先日の注文について、お返事をお待ちしております。\n")
