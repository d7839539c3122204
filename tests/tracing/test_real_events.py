"""A real Postfix, the events daemon and the panel: what happened to a message is told as it was."""

from __future__ import annotations

import smtplib
import socket
import subprocess
from collections.abc import Callable, Iterator

import pytest
from aiosmtpd.smtp import SMTP, Envelope, Session
from pytest_django import Settings

from accounts.models import Account
from mailhost.events.daemon import GREETING
from mailhost.usage import figures
from propagation import reconcile
from propagation.apply import apply_due
from quota import usage
from tests import factories
from tests.conftest import Cast
from tests.servers import MailServer as Running
from tests.servers import message, wait_for
from tracing.collect import collect
from tracing.diagnosis import Code, Diagnosis, diagnose
from tracing.models import MailEvent

pytestmark = [pytest.mark.servers, pytest.mark.django_db]
LIMIT = 100_000


@pytest.fixture
def tanaka(cast: Cast, running: Running, settings: Settings) -> Account:
    """An account that the running server has, and ways from and to it."""
    settings.MAILHOST_ROOT = str(running.root.parent)
    reconcile.repair(cast.server)
    account = factories.make_account(cast.com, "tanaka")
    account.limit(quota_bytes=LIMIT, recipients_per_day=1)
    factories.make_account(cast.com, "suzuki")
    factories.make_forward(cast.com, "sales", "tanaka@example.com")
    factories.make_forward(cast.com, "out", "later@outside.test")
    factories.make_forward(cast.com, "gone", "gone@outside.test")
    factories.come_due(cast.server)
    apply_due(cast.server)
    return account


@pytest.fixture
def outside(running: Running) -> Iterator[None]:
    """Let another server put off mail for some, and refuse it for others."""

    async def judge(
        _server: SMTP, _session: Session, envelope: Envelope, address: str, _options: list[str]
    ) -> str:
        name = address.partition("@")[0]
        if name == "later":
            return "451 4.7.1 Greylisted, come back"
        if name == "gone":
            return "550 5.1.1 <gone@outside.test> moved away"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    running.outside.handle_RCPT = judge  # type: ignore[attr-defined]
    yield
    del running.outside.handle_RCPT  # type: ignore[attr-defined]


def told(cast: Cast, address: str, enough: Callable[[Diagnosis], object]) -> Diagnosis:
    """Return what the panel says of an address, as soon as it has heard enough."""

    def look() -> Diagnosis | None:
        collect(cast.server)
        found = diagnose(cast.com, f"{address}@example.com")
        return found if enough(found) else None

    found = wait_for(look, 60)
    assert found, [str(event) for event in MailEvent.objects.all()]
    return found


def test_daemon_says_how_far_it_is(running: Running) -> None:
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(str(running.host.paths.events_socket))
        answer = connection.makefile("rb").readline()
    assert answer.startswith(GREETING)
    assert int(answer.removeprefix(GREETING)) >= 0


def test_every_fate_is_told(cast: Cast, running: Running, tanaka: Account, outside: None) -> None:
    running.deliver("sales@example.com", "out@example.com", "gone@example.com")
    assert running.rcpt("nobody@example.com")[0] == 550
    fine = told(cast, "sales", lambda found: found.events)
    assert fine.verdict.code == Code.FINE
    [delivered] = fine.events
    assert (delivered.other, delivered.onward, delivered.relay) == (
        "friend@outside.test",
        "tanaka@example.com",
        "mailbox",
    )
    assert told(cast, "tanaka", lambda found: found.events).verdict.code == Code.FINE

    later = told(cast, "out", lambda found: found.events)
    assert later.verdict.code == Code.LATER
    assert later.events[0].reason == "Greylisted, come back"
    gone = told(cast, "gone", lambda found: found.events)
    assert gone.verdict.code == Code.REFUSED
    assert gone.events[0].reason == "<gone@outside.test> moved away"

    unknown = told(cast, "nobody", lambda found: found.events)
    assert unknown.verdict.code == Code.UNKNOWN
    assert (unknown.events[0].kind, unknown.events[0].code) == ("refused", "5.1.1")


def test_limit_of_sending_and_full_mailbox(cast: Cast, running: Running, tanaka: Account) -> None:
    with running.submission("tanaka", factories.PASSWORD, source="127.0.0.9") as client:
        client.mail("tanaka@example.com")
        assert client.rcpt("a@outside.test")[0] == 250
        assert client.rcpt("b@outside.test")[0] == 550
    limit = told(cast, "tanaka", lambda found: found.verdict.code == Code.LIMIT)
    assert limit.events[0].other == "b@outside.test"

    big = message(text=("x" * 70 + "\n") * (LIMIT // 60))
    with running.smtp() as client:
        client.sendmail("friend@outside.test", ["tanaka@example.com"], big)
    wait_for(lambda: figures.full(running.root), 60)
    usage.collect(cast.server)
    full = told(cast, "sales", lambda found: found.verdict.code == Code.FULL)
    assert str(full.verdict.node) == "tanaka@example.com"


def test_rotation_of_the_log_and_a_kill_lose_and_double_nothing(
    cast: Cast, running: Running, tanaka: Account
) -> None:
    def arrive(number: int) -> None:
        with running.smtp() as client:
            client.sendmail(f"s{number}@outside.test", ["suzuki@example.com"], message())

    def senders() -> list[str]:
        collect(cast.server)
        events = MailEvent.objects.filter(address="suzuki@example.com").order_by("pk")
        return list(events.values_list("other", flat=True))

    arrive(1)
    assert wait_for(lambda: senders() == ["s1@outside.test"], 60)
    running.kill("events")
    arrive(2)
    assert running.got("suzuki", "hello", factories.PASSWORD)
    command = ["postfix", "-c", str(running.host.paths.postfix), "logrotate"]
    subprocess.run(command, check=True, capture_output=True)
    assert any((running.root / "log").glob("postfix.log.*"))
    arrive(3)
    running.start("events")
    arrive(4)
    expected = [f"s{number}@outside.test" for number in (1, 2, 3, 4)]
    assert wait_for(lambda: senders() == expected, 60), senders()


def test_hostile_addresses_forge_nothing(cast: Cast, running: Running, tanaka: Account) -> None:
    forged = "suzuki@example.com>, relay=none, delay=0, delays=0/0/0/0, dsn=5.1.1, status=bounced ("
    refused = (
        "suzuki@example.com>: Recipient address rejected: no; from=<a@b.test>"
        " to=<suzuki@example.com> proto=ESMTP helo=<x"
    )
    with smtplib.SMTP("127.0.0.1", running.config.smtp_port, refused, 30) as client:
        client.ehlo(refused)
        for text in (forged, refused):
            client.docmd(f'MAIL FROM:<"{text}"@outside.test>')
            client.docmd(f'RCPT TO:<"{text}"@example.com>')
            client.docmd(f"RCPT TO:<{text}@example.com>")
            client.docmd("RCPT TO:<nobody@example.com>")
            client.rset()
    with running.smtp() as client:
        client.sendmail("last@outside.test", ["tanaka@example.com"], message())
    told(cast, "tanaka", lambda found: found.events[:1] and found.events[0].other[:4] == "last")
    others = MailEvent.objects.filter(address="suzuki@example.com")
    assert not others.exclude(kind="delivered").exists()
