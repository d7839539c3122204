"""Full mailboxes, filled and freed by real clients: what is refused, what waits, what works."""

from __future__ import annotations

import imaplib
import smtplib
from collections.abc import Callable
from email.message import EmailMessage

import pytest

from mailhost.records import Address, HostedDomain, Mailbox, MailingList, PlanLimits
from mailhost.usage import figures, notices
from mailhost.usage.waiting import Waiting, flush, waiting
from tests.mail.conftest import Site, applied, new_site
from tests.servers import HELP, MailServer, message, wait_for

pytestmark = pytest.mark.servers

LIMIT = 100_000
REFUSED = (
    "5.2.2 <{0}>: Recipient address rejected: The mailbox of {0} is full: it takes mail again"
    f" when its holder has made room; see {HELP}"
)


def large(size: int = 40_000, subject: str = "large") -> bytes:
    """Return a message of about so many bytes."""
    return message(subject, ("x" * 70 + "\n") * (size // 72))


def send(server: MailServer, *recipients: str, size: int = 40_000) -> None:
    """Send one message from outside to all of them; each has to be accepted."""
    with server.smtp() as client:
        assert not client.sendmail("friend@outside.test", recipients, large(size))


def is_full(server: MailServer, name: str) -> bool:
    """Say what is known of the mailbox."""
    known = figures.of_account(server.root, name)
    return known is not None and known.full


def becomes(server: MailServer, name: str, *, full: bool) -> bool:
    """Wait until the mailbox is known to be full, or not to be."""
    return wait_for(lambda: is_full(server, name) == full)


def fill(server: MailServer, *boxes: Mailbox) -> None:
    """Deliver to these mailboxes until the server refuses them, by SMTP alone."""
    for box in boxes:
        for _ in range(LIMIT // 40_000 + 1):
            send(server, box.address)
        assert becomes(server, box.name, full=True), server.logs()
        assert server.rcpt(box.address)[0] == 552


def small(site: Site, word: str) -> Mailbox:
    """Put another mailbox of LIMIT bytes on the server."""
    box = site.mailbox(word, quota_bytes=LIMIT)
    assert applied(site.put(box))
    return box


@pytest.fixture
def box(site: Site) -> Mailbox:
    """A mailbox that is full."""
    found = small(site, "box")
    fill(site.server, found)
    return found


def test_message_that_crosses_the_limit_is_delivered_and_the_next_is_refused(
    server: MailServer, site: Site
) -> None:
    box = small(site, "box")
    send(server, box.address, size=90_000)
    assert wait_for(lambda: figures.of_account(server.root, box.name))
    assert not is_full(server, box.name)
    send(server, box.address, size=3_000_000)
    assert becomes(server, box.name, full=True), server.logs()
    assert [len(mail) > 80_000 for mail in server.messages(box.name)] == [True, True]
    assert server.rcpt(box.address) == (552, REFUSED.format(box.address))
    # A notice of another mail server has no sender, and is no exception.
    with server.smtp() as client:
        client.mail("")
        assert client.rcpt(box.address)[0] == 552


def test_room_is_made_by_deleting_and_mail_comes_again(server: MailServer, box: Mailbox) -> None:
    with server.imap(box.name) as client:
        client.select("INBOX")
        client.store("1:*", "+FLAGS", "\\Deleted")
        client.expunge()
    assert becomes(server, box.name, full=False), server.logs()
    assert server.rcpt(box.address)[0] == 250
    server.deliver(box.address, text="there is room again")
    assert server.got(box.name, "there is room again")

