"""The lines of the User Manager's list.

Most of them differ by nothing but a name: such a line is drawn once, with slots for
what differs, which are then filled for each. Fifty lines drawn one by one took longer
than all the rest of the page.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import lru_cache

from django.template.loader import render_to_string
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import get_language

from accounts.models import Account, Domain
from accounts.roles import may_change_accounts, may_take_back
from propagation.progress import LIVE, Progress

# Characters for private use and an id that nothing has: they stand in no text of a page.
_NAME, _ADDRESSES, _ID = "\ue000", "\ue001", uuid.UUID(int=0)


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the list. `drawn` is its HTML, where that was had at once for many."""

    account: Account
    progress: Progress
    addresses: list[str]
    passed_by: bool
    fixed: bool
    no_password: bool = False
    drawn: SafeString | None = None

    @property
    def take_back(self) -> bool:
        """Whether its newest change can be taken back here; the opening of a domain cannot."""
        change = self.progress.change
        if change is None or not self.progress.pending or (self.fixed and change.creates):
            return False
        return may_take_back(self.account.domain, change)


def draw(rows: Iterable[Row], domain: Domain) -> Iterator[Row]:
    """Yield the rows, and draw those that are live and unchanged; the template draws the rest."""
    language, editable = get_language(), may_change_accounts(domain)
    for row in rows:
        if row.progress.at_rest and not row.no_password:
            shape = (bool(row.addresses), row.passed_by, row.fixed)
            pattern = _pattern(language, domain.name, editable, shape)
            addresses = ", ".join(row.addresses)
            drawn = format_html(
                pattern, name=row.account.name, id=row.account.pk, addresses=addresses
            )
            yield replace(row, drawn=drawn)
        else:
            yield row


@lru_cache(maxsize=1000)
def _pattern(
    _language: str | None, domain_name: str, editable: bool, shape: tuple[bool, bool, bool]
) -> str:
    """Return the HTML of a row of this shape, with slots for what is its own.

    Kept between requests, as templates are.
    """
    led, passed_by, fixed = shape
    domain = Domain(name=domain_name)
    account = Account(pk=_ID, name=_NAME, domain=domain)
    row = Row(account, LIVE, [_ADDRESSES] if led else [], passed_by, fixed)
    context = {"row": row, "domain": domain, "self_service": editable}
    text: str = render_to_string("accounts/_row.html", context)
    text = text.replace("{", "{{").replace("}", "}}")
    slots = {_NAME: "{name}", str(_ID): "{id}", _ADDRESSES: "{addresses}"}
    for mark, slot in slots.items():
        text = text.replace(mark, slot)
    return text
