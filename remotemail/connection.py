"""The way to a mail server's IMAP: one connection for a request, logged in as one account.

The panel logs in as Dovecot's master user, on a listener that nobody else has
(`mailhost.panel_imap`). How each server is reached stands in a file of its own: its `init` wrote
it, and where the web server may not read it, or is another machine, REMOTE_MAIL_DOORS has a copy.
"""

from __future__ import annotations

import logging
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from django.conf import settings
from imapclient import IMAPClient, SocketTimeout
from imapclient.exceptions import IMAPClientError, LoginError

from accounts.models import Account
from mailhost import grammar
from mailhost.panel_imap import Door, DoorError, read_door
from mailhost.paths import Paths
from propagation.models import MailServer

log = logging.getLogger(__name__)

#: Seconds to connect, and for an answer.
PATIENCE = SocketTimeout(connect=4, read=20)


class Unreachable(Exception):
    """The account's mail cannot be had now."""


class NotConnected(Unreachable):
    """Nobody has told the panel how to reach this server's mail."""


class Silent(Unreachable):
    """The server does not answer, or not in time, or breaks off."""


class Refused(Unreachable):
    """The server lets the panel not at this account: it does not have it, or the secret is old."""


def door_of(server: MailServer) -> Door:
    """Return how a server's IMAP is reached. NotConnected where that is not known."""
    # The name becomes a path: judged again, whatever the database holds.
    if not grammar.DOMAIN.match(server.name):
        raise NotConnected(server.name)
    if settings.REMOTE_MAIL_DOORS:
        path = Path(settings.REMOTE_MAIL_DOORS) / f"{server.name}.json"
    elif settings.MAILHOST_ROOT:
        path = Paths(Path(settings.MAILHOST_ROOT) / server.name).panel_imap
    else:
        raise NotConnected(server.name)
    try:
        door = read_door(path)
    except DoorError as error:
        log.warning("remote mail: %s", error)
        raise NotConnected(server.name) from error
    if not door.port:
        raise NotConnected(server.name)
    return door


def connect(account: Account) -> IMAPClient:
    """Return a connection that is logged in as the account. Unreachable if there is none."""
    door = door_of(account.server)
    with translated(account):
        client = IMAPClient(
            door.host,
            door.port,
            ssl=door.tls,
            ssl_context=_trust(door) if door.tls else None,
            timeout=PATIENCE,
        )
        client.normalise_times = False
        try:
            client.login(door.login_as(account.name), door.secret)
        except BaseException:
            client.shutdown()
            raise
    return client


@contextmanager
def connected(account: Account) -> Iterator[IMAPClient]:
    """Connect for a while; whatever goes wrong with the server meanwhile is Unreachable."""
    client = connect(account)
    with translated(account), client:
        yield client


@contextmanager
def translated(account: Account) -> Iterator[None]:
    """Raise Unreachable for what goes wrong between the panel and a mail server."""
    try:
        yield
    except LoginError as error:
        log.warning("remote mail: %s does not let the panel in", account.server)
        raise Refused(account.name) from error
    except (IMAPClientError, OSError) as error:
        log.warning("remote mail: %s: %s", account.server, _reason(error))
        raise Silent(account.name) from error


def _trust(door: Door) -> ssl.SSLContext:
    context = ssl.create_default_context()
    if door.certificate:
        context.load_verify_locations(cadata=door.certificate)
    return context


def _reason(error: Exception) -> str:
    """Return what went wrong, short, and without what a message or a mailbox is called."""
    return f"{type(error).__name__} {getattr(error, 'strerror', None) or ''}".strip()
