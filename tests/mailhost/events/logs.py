"""A server's directory with a log that tests write, and the daemon's follower of it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from mailhost.events import reading
from mailhost.events.follower import Follower
from mailhost.events.parsing import Event
from mailhost.paths import Paths
from mailhost.records import HostedDomain
from tests.mailhost.usage.boxes import put

DOMAIN = "example.com"
HEAD = "Nov 27 23:30:52 mail1 plusmail-mail1/"
TANAKA = "tanaka@example.com"


def delivery(
    recipient: str = TANAKA,
    *,
    queue_id: str = "4jbbSD6XWzzKL1K",
    original: str = "",
    status: str = "sent (250 2.0.0 Saved)",
    relay: str = "mail1.plusmail.test[private/dovecot-lmtp]",
    dsn: str = "2.0.0",
) -> str:
    """Return a line of a delivery agent's, as Postfix 3.7 writes it."""
    led = f", orig_to=<{original}>" if original else ""
    return (
        f"{HEAD}lmtp[123]: {queue_id}: to=<{recipient}>{led}, relay={relay}, delay=0.08,"
        f" delays=0.05/0/0/0.04, dsn={dsn}, status={status}"
    )


def refusal(
    recipient: str = TANAKA,
    *,
    sender: str = "friend@outside.test",
    words: str = "User unknown in virtual mailbox table",
    code: str = "550 5.1.1",
    inner: str = "",
    helo: str = "client.outside.test",
) -> str:
    """Return a line of smtpd's; `inner` is the recipient as it is without quotes."""
    return (
        f"{HEAD}smtpd[99]: NOQUEUE: reject: RCPT from unknown[192.0.2.7]: {code}"
        f" <{inner or recipient}>: Recipient address rejected: {words};"
        f" from=<{sender}> to=<{recipient}> proto=ESMTP helo=<{helo}>"
    )


def queued(sender: str, queue_id: str = "4jbbSD6XWzzKL1K") -> str:
    """Return a line of qmgr's when it begins with a message."""
    return f"{HEAD}qmgr[7]: {queue_id}: from=<{sender}>, size=318, nrcpt=1 (queue active)"


def expired(sender: str, queue_id: str = "4jbbSD6XWzzKL1K") -> str:
    """Return a line of qmgr's when it gives a message back that waited too long."""
    return f"{HEAD}qmgr[7]: {queue_id}: from=<{sender}>, status=expired, returned to sender"


def removed(queue_id: str = "4jbbSD6XWzzKL1K") -> str:
    """Return a line of qmgr's when it is done with a message."""
    return f"{HEAD}qmgr[7]: {queue_id}: removed"


class Log:
    """The log, and what is known of it."""

    def __init__(self, root: Path) -> None:
        """Make a server of one domain, with no log yet."""
        self.paths = Paths(root)
        for directory in (self.paths.store.parent, self.paths.events, self.paths.log):
            directory.mkdir()
        put(self.paths, HostedDomain(DOMAIN, f"a@{DOMAIN}"))
        self.file = self.paths.log / "postfix.log"

    def write(self, *lines: str, end: str = "\n") -> None:
        """Write lines as Postfix does."""
        with self.file.open("a") as file:
            file.write("\n".join(lines) + end)

    @contextmanager
    def follower(self) -> Iterator[Follower]:
        """Run the follower for a while; what it has not noted is gone afterwards, as by a kill."""
        with closing(Follower(self.paths)) as follower:
            yield follower

    def follow(self) -> None:
        """Start the follower, let it read all there is, and end it."""
        with self.follower() as follower:
            catch_up(follower)

    def events(self) -> list[Event]:
        """Return all events that are known."""
        return reading.read(self.paths.root).events

    def recipients(self) -> list[str]:
        """Return of whom they are."""
        return [event.recipient.partition("@")[0] for event in self.events()]


def catch_up(follower: Follower) -> None:
    """Read until there is nothing more."""
    while follower.turn():
        pass
