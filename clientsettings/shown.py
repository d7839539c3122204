"""What every page about an address shows: its servers, and what to enter as the login."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

from django.urls import reverse

from accounts.names import readable_address
from clientsettings import profile
from clientsettings.autoconfig import DAYS_ON_SERVER
from clientsettings.server import Protocol, ServerSettings


def shown(server: ServerSettings, address: str) -> dict[str, Any]:
    """Return what the templates _table.html and _programs.html draw for an address."""
    return {
        "server": server,
        "address": address,
        "readable": readable_address(address),
        "pop3": server.best(Protocol.POP3),
        "imap": server.best(Protocol.IMAP),
        "smtp": server.best(Protocol.SMTP),
        "days": DAYS_ON_SERVER,
        "profile_url": f"{reverse('apple_profile')}?{urlencode({'emailaddress': address})}",
        "profile_is_signed": profile.is_signed(),
    }
