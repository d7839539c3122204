"""The panel and a real Postfix, Dovecot and usage daemon: what it shows, writes and counts."""

from __future__ import annotations

import email
from email.policy import default

import pytest
from django.core.management import call_command
from django.test import Client
from pytest_django import Settings

from accounts.models import Account
from propagation import reconcile
from propagation.apply import apply_due
from propagation.models import MailServer
from quota import notices, usage
from quota.models import MailboxUsage, WaitingMail
from tests import factories
from tests.conftest import Cast
from tests.servers import MailServer as Running
from tests.servers import message, wait_for

pytestmark = [pytest.mark.servers, pytest.mark.django_db]

LIMIT = 100_000
PAGE = "/domains/example.com/mailboxes/"


@pytest.fixture
def tanaka(cast: Cast, running: Running, settings: Settings) -> Account:
    """An account of 100,000 bytes that the running server has."""
    settings.MAILHOST_ROOT = str(running.root.parent)
    reconcile.repair(cast.server)
    account = factories.make_account(cast.com, "tanaka")
    account.limit(quota_bytes=LIMIT)
    factories.make_account(cast.com, "suzuki")
    factories.make_forward(cast.com, "sales", "tanaka@example.com", "suzuki@example.com")
    factories.come_due(cast.server)
    apply_due(cast.server)
    return account


def send(running: Running, recipient: str, subject: str, size: int = 60_000) -> None:
    """Send a message from outside; it has to be accepted."""
    with running.smtp() as client:
        text = message(subject, ("x" * 70 + "\n") * (size // 72))
        assert not client.sendmail("friend@outside.test", [recipient], text)


def shown(server: MailServer, account: Account) -> MailboxUsage | None:
    """Return what the panel shows after a collection."""
    usage.collect(server)
    return MailboxUsage.objects.filter(account=account).first()


def subjects(running: Running, login: str) -> list[str]:
    """Return the subjects of what is in the inbox."""
    found = [email.message_from_bytes(raw, policy=default) for raw in running.messages(login)]
    return [str(one["Subject"]) for one in found]


def test_mailbox_that_really_fills_up(
    cast: Cast, running: Running, tanaka: Account, sakura: Client
) -> None:
    server = cast.server
    for n in range(2):
        send(running, tanaka.address, f"filler {n}")
    assert wait_for(lambda: (found := shown(server, tanaka)) and found.full), running.logs()
    assert "is full" in sakura.get("/domains/example.com/").text
    # The notice goes past the quota, once.
    assert notices.send_written(server) >= 1
    notices.send_written(server)
    full = "tanaka@example.com のメールボックスがいっぱいです"
    assert wait_for(lambda: full in subjects(running, "tanaka")), running.logs()
    assert subjects(running, "tanaka").count(full) == 1
    # What leads to another mailbox as well is accepted, and the full one's copy waits.
    send(running, "sales@example.com", "an order", 2000)
    assert running.rcpt(tanaka.address)[0] == 552
    assert wait_for(lambda: "an order" in subjects(running, "suzuki")), running.logs()

    def waits() -> bool:
        usage.collect(server)
        return WaitingMail.objects.filter(account=tanaka, count=1).exists()

    assert wait_for(waits), running.logs()
    [copy] = WaitingMail.objects.get().first
    assert copy["sender"] == "friend@outside.test"
    assert "friend@outside.test" in sakura.get(PAGE).text
    # Room is made, as the help says.
    with running.imap("tanaka") as client:
        client.select("INBOX")
        client.store("1:*", "+FLAGS", "\\Deleted")
        client.expunge()
    assert wait_for(lambda: (found := shown(server, tanaka)) and not found.full), running.logs()
    assert wait_for(lambda: "an order" in subjects(running, "tanaka"), 30), running.logs()
    assert wait_for(lambda: not waits() and not WaitingMail.objects.exists()), running.logs()
    assert "No mailbox is full" in sakura.get(PAGE).text


def test_recount_asks_dovecot_itself(
    cast: Cast, running: Running, tanaka: Account, capsys: pytest.CaptureFixture[str]
) -> None:
    running.stop("usage")
    try:
        send(running, "suzuki@example.com", "unseen by the daemon", 5000)
        assert wait_for(lambda: "unseen by the daemon" in subjects(running, "suzuki"))
        call_command("recount_usage", "--account", "suzuki@example.com")
        assert "1 mailboxes counted" in capsys.readouterr().out
        assert MailboxUsage.objects.get(account__name="suzuki").used > 5000
        call_command("recount_usage")
        counted = set(MailboxUsage.objects.values_list("account__name", flat=True))
        assert counted == {"example", "suzuki", "tanaka", "wakaba"}
    finally:
        running.start("usage")
