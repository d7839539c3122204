"""Which server, ports and encryption a mail program is told: the one place for all formats.

The server's name is one for which its certificate is good (`Domain.mail_host`): the domain's own
where it has a certificate (the manual's ○○○.com), else the mail server's. Ports are the settings
*_PORT_SHOWN. POP3 comes before IMAP: a mailbox usually holds 10 MB, and the manual asks to
receive mail and not to keep it on the server (section 5).
"""

from __future__ import annotations

import enum
from collections.abc import Iterator
from dataclasses import dataclass

from django.conf import settings

from accounts.models import Domain


class Protocol(enum.StrEnum):
    """What a mail program speaks, by the word that all formats use."""

    POP3 = "pop3"
    IMAP = "imap"
    SMTP = "smtp"

    @property
    def receives(self) -> bool:
        """Whether mail is received by it."""
        return self != Protocol.SMTP


@dataclass(frozen=True, slots=True)
class Service:
    """One port of the mail server; TLS from the first byte (`implicit`) or after STARTTLS."""

    protocol: Protocol
    port: int
    implicit: bool

    @property
    def encryption(self) -> str:
        """The kind of encryption, in the words of mail programs."""
        return "SSL/TLS" if self.implicit else "STARTTLS"


@dataclass(frozen=True, slots=True)
class ServerSettings:
    """What every mail program of a domain is told, whoever asks."""

    domain: str
    host: str
    services: tuple[Service, ...]

    def of(self, protocol: Protocol) -> list[Service]:
        """Return the ports of a protocol, the one to take first."""
        return [service for service in self.services if service.protocol == protocol]

    def best(self, protocol: Protocol) -> Service | None:
        """Return the port to take, of a protocol that is offered."""
        return next(iter(self.of(protocol)), None)

    def offered(self) -> list[tuple[Protocol, Service, list[Service]]]:
        """Return each protocol there is with the port to take, and the others it has."""
        found = [(protocol, self.of(protocol)) for protocol in Protocol]
        return [(protocol, first[0], first[1:]) for protocol, first in found if first]

    def best_of_each(self) -> list[Service]:
        """Return the port to take of each protocol that is offered, in the order to try them."""
        return [best for _protocol, best, _others in self.offered()]


def settings_of(domain: Domain) -> ServerSettings:
    """Return what mail programs of this domain are told."""
    return ServerSettings(domain.name, domain.mail_host, tuple(_services()))


def _services() -> Iterator[Service]:
    """Yield the ports there are, TLS from the start first (RFC 8314, section 3)."""
    ports = {
        Protocol.POP3: (settings.POP3S_PORT_SHOWN, settings.POP3_PORT_SHOWN),
        Protocol.IMAP: (settings.IMAPS_PORT_SHOWN, settings.IMAP_PORT_SHOWN),
        Protocol.SMTP: (settings.SUBMISSIONS_PORT_SHOWN, settings.SUBMISSION_PORT_SHOWN),
    }
    for protocol, (implicit, starttls) in ports.items():
        if implicit:
            yield Service(protocol, implicit, implicit=True)
        if starttls:
            yield Service(protocol, starttls, implicit=False)
