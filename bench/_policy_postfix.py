"""Messages through Postfix to mailboxes, with the policy daemon asked and without."""

from __future__ import annotations

import smtplib
import subprocess
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from bench._mailserver import mail_server
from mailhost.config import HostConfig
from mailhost.paths import Paths
from mailhost.records import Record

SESSIONS = 10
_MESSAGE = b"From: friend@outside.example\r\nSubject: hello\r\n\r\n" + b"hello, world\r\n" * 100
# main.cf without its questions to the daemon: what mail from outside meets otherwise.
_WITHOUT = (
    "smtpd_relay_restrictions=reject_unauth_destination",
    "smtpd_recipient_restrictions=$plusmail_known_recipients",
    "smtpd_end_of_data_restrictions=",
)


class Postfix:
    """A running mail server whose Postfix asks the daemon, or does not."""

    def __init__(self, root: Path, config: HostConfig, recipients: list[str]) -> None:
        """Take a server, and the mailboxes that get the mail."""
        self._paths = Paths(root)
        self._config = config
        self._recipients = recipients
        self._main = self._paths.postfix / "main.cf"
        self._with = self._main.read_text()

    def ask(self, daemon: bool) -> None:
        """Let Postfix ask the daemon from now on, or not."""
        self._main.write_text(self._with)
        if not daemon:
            command = ["postconf", "-c", str(self._paths.postfix), "-e", *_WITHOUT]
            subprocess.run(command, check=True)
        subprocess.run(
            ["postfix", "-c", str(self._paths.postfix), "reload"], check=True, capture_output=True
        )
        time.sleep(1)

    def rate(self, messages: int) -> float:
        """Send so many messages over ten sessions; return how many a second were delivered."""
        before, begin = self._delivered(), time.perf_counter()
        with ThreadPoolExecutor(SESSIONS) as pool:
            list(pool.map(self._send, range(SESSIONS), [messages // SESSIONS] * SESSIONS))
        all_ = before + messages // SESSIONS * SESSIONS
        wait(lambda: self._delivered() >= all_)
        return (all_ - before) / (time.perf_counter() - begin)

    def _send(self, session: int, messages: int) -> None:
        with smtplib.SMTP("127.0.0.1", self._config.smtp_port, "outside.example", 30) as client:
            for n in range(messages):
                recipient = self._recipients[(session * 97 + n) % len(self._recipients)]
                client.sendmail("friend@outside.example", [recipient], _MESSAGE)

    def _delivered(self) -> int:
        return (self._paths.log / "postfix.log").read_bytes().count(b"status=sent")


def wait(done: Callable[[], bool], seconds: float = 120) -> None:
    """Wait until it is done; RuntimeError if it never is."""
    end = time.monotonic() + seconds
    while not done():
        if time.monotonic() > end:
            raise RuntimeError("the messages were not delivered")
        time.sleep(0.01)


@contextmanager
def postfix(root: Path, records: list[Record], recipients: list[str]) -> Iterator[Postfix]:
    """Run a whole mail server in `root`."""
    with mail_server(root, "mail2.bench.test", records) as config:
        yield Postfix(root, config, recipients)
