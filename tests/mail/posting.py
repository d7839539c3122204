"""Sending step by step, as the tests of the sending rules need it, and what was answered."""

from __future__ import annotations

import smtplib
from dataclasses import dataclass

from tests.servers import HELP, MailServer, wait_for


@dataclass(frozen=True, slots=True)
class Answer:
    """A reply of Postfix's, its lines joined."""

    code: int
    text: str

    @property
    def ok(self) -> bool:
        return self.code == 250

    def refuses(self, code: int, status: str, *words: str) -> bool:
        """Say whether it is this code and enhanced status, names the help page and these words."""
        named = all(word in self.text for word in (HELP, *words))
        return self.code == code and self.text.startswith(f"{status} ") and named


def command(client: smtplib.SMTP, line: str) -> Answer:
    """Send one command."""
    code, text = client.docmd(line)
    return Answer(code, text.decode())


def offer(client: smtplib.SMTP, sender: str, *recipients: str, options: str = "") -> list[Answer]:
    """Begin a message; return the answer to each recipient, or the one to the sender alone."""
    begun = command(client, f"MAIL FROM:<{sender}>{options}")
    if not begun.ok:
        return [begun]
    return [command(client, f"RCPT TO:<{recipient}>") for recipient in recipients]


def finish(client: smtplib.SMTP, content: bytes = b"Subject: hello\r\n\r\nHello.\r\n") -> Answer:
    """Give the message's content, its lines ending in CRLF; return the answer at its end."""
    try:
        code, text = client.data(content)
    except smtplib.SMTPDataError as error:
        return Answer(error.smtp_code, error.smtp_error.decode())  # type: ignore[union-attr]
    return Answer(code, text.decode())


def post(client: smtplib.SMTP, sender: str, *recipients: str) -> list[Answer]:
    """Send one message; return the answers to its recipients and to its end."""
    return [*offer(client, sender, *recipients), finish(client)]


def refusals(answers: list[Answer]) -> list[Answer]:
    """Return those of the answers that refuse, for a test to show what they say."""
    return [answer for answer in answers if not answer.ok]


def people(count: int, name: str = "p", domain: str = "outside.test") -> list[str]:
    """Return addresses elsewhere."""
    return [f"{name}{number}@{domain}" for number in range(count)]


def of_size(size: int) -> bytes:
    """Return a message of so many bytes, as the policy protocol counts them."""
    head = b"Subject: big\r\n\r\n"
    lines, rest = divmod(size - len(head), 72)
    text = head + (b"x" * 70 + b"\r\n") * (lines - 1) + b"y" * (70 + rest) + b"\r\n"
    assert len(text) == size
    return text


def reached(server: MailServer, sender: str, count: int) -> bool:
    """Wait until messages of this sender have reached so many recipients outside, and no more."""
    seen = wait_for(lambda: _reached(server, sender) >= count)
    return seen and _reached(server, sender) == count


def _reached(server: MailServer, sender: str) -> int:
    return sum(len(to) for by, to, _ in server.outside.taken if by == sender)
