"""The DNS records by which mail programs find a domain's servers, for its owner to copy.

RFC 6186 (services of mail), RFC 8314 (TLS from the start), RFC 2782 (SRV: priority, weight, port;
a target of "." says that there is no such service), and the names at which Thunderbird and
Outlook look. A lower priority is tried first.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from clientsettings.server import Protocol, ServerSettings

# RFC 6186, section 3, and RFC 8314, section 5.1: names after STARTTLS, and inside TLS.
_NAMES = {
    Protocol.POP3: ("_pop3", "_pop3s"),
    Protocol.IMAP: ("_imap", "_imaps"),
    Protocol.SMTP: ("_submission", "_submissions"),
}


@dataclass(frozen=True, slots=True)
class DnsRecord:
    """One record; names end in a dot, as in a zone file."""

    name: str
    kind: str
    value: str

    def __str__(self) -> str:
        return f"{self.name} IN {self.kind} {self.value}"


def records(settings: ServerSettings, panel: str) -> list[DnsRecord]:
    """Return the records of a domain.

    `panel` is the host name at which the panel answers by https; "" where it does not.
    """
    found = list(_services(settings))
    if panel:
        name = f"{settings.domain}."
        found.append(DnsRecord(f"_autodiscover._tcp.{name}", "SRV", f"0 0 443 {panel}."))
        found.append(DnsRecord(f"autoconfig.{name}", "CNAME", f"{panel}."))
    return found


def _services(settings: ServerSettings) -> Iterator[DnsRecord]:
    priority = 0
    for protocol in Protocol:
        if not protocol.receives:
            priority = 0
        offered = {service.implicit: service for service in settings.of(protocol)}
        for implicit in (True, False):
            name = f"{_NAMES[protocol][implicit]}._tcp.{settings.domain}."
            if service := offered.get(implicit):
                value = f"{priority} 1 {service.port} {settings.host}."
                yield DnsRecord(name, "SRV", value)
                priority += 10
            else:
                yield DnsRecord(name, "SRV", "0 0 0 .")
