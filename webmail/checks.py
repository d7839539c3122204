"""Settings that would fail later are said at the start."""

from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Error, register


@register
def address_of_webmail(**_options: Any) -> list[CheckMessage]:
    """Ask for an address that is each domain's own."""
    url = str(settings.WEBMAIL_URL)
    known = url.startswith(("http://", "https://")) and "{domain}" in url
    if not url or known:
        return []
    hint = "Such as https://{domain}/webmail/, {domain} being filled in; empty: no webmail."
    return [Error(f"WEBMAIL_URL is {url!r}.", hint=hint, id="webmail.E001")]
