"""The address that a stranger states, judged by form alone.

Whether there is such an address is never asked: the answer is the same for every address of a
hosted domain, so that nobody can find out which exist. What passes holds only ASCII letters,
digits and . _ + - @, so that it means nothing to XML, HTML, a property list or a header.
"""

from __future__ import annotations

from dataclasses import dataclass

from django.core.exceptions import ValidationError

from accounts.names import clean_domain_name
from mailhost import grammar

# RFC 5321, 4.5.3.1: a local part has at most 64 octets; a domain in its own script is shorter
# than its xn-- form.
LONGEST = 254


class NotAnAddress(ValueError):
    """What was stated is no address that a domain here could have."""


@dataclass(frozen=True, slots=True)
class Stated:
    """An address by its form, as stored: in lower case, the domain in ASCII."""

    local_part: str
    domain: str

    def __str__(self) -> str:
        return f"{self.local_part}@{self.domain}"


def read(text: str) -> Stated:
    """Return the address; NotAnAddress for anything else."""
    if len(text) > LONGEST:
        raise NotAnAddress
    local_part, _at, domain = text.strip(" ").rpartition("@")
    # Before it is lowered: the lower case of the Kelvin sign is an ordinary k.
    if not local_part.isascii() or not grammar.LOCAL_PART.match(local_part.lower()):
        raise NotAnAddress
    domain = domain.lower() if domain.isascii() else _in_ascii(domain)
    if not grammar.DOMAIN.match(domain):
        raise NotAnAddress
    return Stated(local_part.lower(), domain)


def _in_ascii(domain: str) -> str:
    """Return the xn-- form of a domain that was stated in its own script."""
    try:
        return clean_domain_name(domain)
    except ValidationError as error:
        raise NotAnAddress from error
