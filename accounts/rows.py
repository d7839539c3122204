"""The lines of the User Manager's list.

Many of them look the same but for a name: such a look is drawn once, by the template, with
slots for what is each line's own, which are then filled. Fifty lines drawn one by one took
longer than all the rest of the page.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from html import escape
from typing import Any, NamedTuple, Protocol

from django.http import HttpRequest
from django.middleware.csrf import get_token
from django.template.loader import render_to_string
from django.utils.safestring import SafeString
from django.utils.timezone import now
from django.utils.translation import get_language

from accounts.listing import Listed
from accounts.models import Domain
from accounts.roles import may_change_accounts, may_take_back
from propagation.models import Change, MailServer
from propagation.progress import LIVE, Progress, Stage

# Characters for private use, and an id and a number that nothing has: they stand in no text of a
# page.
_NAME, _ADDRESSES, _PATH, _TOKEN = "\ue000", "\ue001", "\ue002", "\ue003"
_USED, _SHOWN = "\ue004", "\ue005"
_ID, _CHANGE = uuid.UUID(int=0), 10**18
_SLOTS = {
    _NAME: "{name}",
    str(_ID): "{id}",
    _ADDRESSES: "{addresses}",
    _PATH: "{path}",
    _TOKEN: "{token}",
    _USED: "{used}",
    _SHOWN: "{shown}",
    str(_CHANGE): "{change}",
}


class FillLike(Protocol):
    """How full a mailbox is, as the list shows it."""

    @property
    def level(self) -> str:
        """How full, in one word that says how it is drawn; see quota.fill."""

    @property
    def words(self) -> str:
        """What is used and the limit, for people."""

    @property
    def shown(self) -> int:
        """What a meter of 100 shows."""


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the list, in the words of its template."""

    account: Listed
    domain: Domain
    progress: Progress
    addresses: list[str]
    passed_by: bool
    fill: FillLike | None = None

    @property
    def fixed(self) -> bool:
        """Whether it is the fixed account of some domain."""
        return self.account.fixed

    @property
    def no_password(self) -> bool:
        """Whether nobody knows its password."""
        return self.account.no_password

    @property
    def ftp(self) -> bool:
        """Whether it has FTP, or will have it."""
        return self.account.ftp

    @property
    def ssh(self) -> bool:
        """Whether it reads its mail by SSH, or will."""
        return self.account.ssh

    @property
    def take_back(self) -> bool:
        """Whether its newest change can be taken back here; the opening of a domain cannot."""
        change = self.progress.change
        if change is None or not self.progress.pending or (self.fixed and change.creates):
            return False
        return may_take_back(self.domain, change)


class _News(NamedTuple):
    """What a line shows of a change: `Progress` and `Change` by value, times to the minute."""

    stage: Stage
    applied_at: datetime | None
    due_at: datetime | None
    minutes_left: int
    removing: bool
    creating: bool
    renews_password: bool
    cause: str
    retry_at: datetime | None


class _Look(NamedTuple):
    """All that a line shows, but for what fills its slots."""

    language: str | None
    domain: str
    editable: bool
    answers: bool
    led: bool
    passed_by: bool
    fixed: bool
    no_password: bool
    ftp: bool
    ssh: bool
    take_back: bool
    level: str
    news: _News | None


def draw(rows: Sequence[Row], domain: Domain, request: HttpRequest) -> SafeString:
    """Return the HTML of these rows of one domain."""
    form = {}
    if any(row.take_back for row in rows):
        # Masked once: a token for each line would cost as much as the line.
        form = {"path": request.get_full_path(), "token": get_token(request)}
    page = get_language(), domain.name, may_change_accounts(domain), domain.server.answers()
    # Safe: the template escaped what is in a pattern, and _line what fills its slots.
    return SafeString("".join([_line(row, page, form) for row in rows]))


def _line(row: Row, page: tuple[str | None, str, bool, bool], form: dict[str, str]) -> str:
    """Return one line; `form` fills what is needed to take a change back."""
    account, change = row.account, row.progress.change
    kind = account.fixed, account.no_password, account.ftp, account.ssh
    shown = bool(row.addresses), row.passed_by, *kind, row.take_back
    level = row.fill.level if row.fill else ""
    slots = {"name": account.name, "id": account.pk, "addresses": ", ".join(row.addresses)}
    if row.fill is not None:
        slots |= {"used": row.fill.words, "shown": row.fill.shown}
    if change is not None:
        slots |= {"change": change.pk, **form}
    news = None if row.progress.at_rest else _news(row.progress)
    # Not by format_html(), which takes as long for a line as all the rest of it.
    escaped = {slot: escape(str(value)) for slot, value in slots.items()}
    return _pattern(_Look(*page, *shown, level, news)).format_map(escaped)


def _news(progress: Progress) -> _News:
    change = progress.change
    return _News(
        progress.stage,
        _minute(progress.applied_at),
        _minute(progress.due_at),
        progress.minutes_left,
        progress.removing,
        progress.creating,
        bool(change and change.renews_password),
        change.cause if change else "",
        _minute(change.retry_at) if change else None,
    )


def _minute(moment: datetime | None) -> datetime | None:
    return moment and moment.replace(second=0, microsecond=0)


@lru_cache(maxsize=1000)
def _pattern(look: _Look) -> str:
    """Return the HTML of a line that looks so, with slots for what is its own.

    Kept between requests, as templates are: it is made of `look` and nothing else.
    """
    server = MailServer(seen_at=now() if look.answers else None)
    row = {
        **look._asdict(),
        "account": {"name": _NAME, "pk": _ID},
        "addresses": [_ADDRESSES] if look.led else [],
        "fill": {"level": look.level, "words": _USED, "shown": _SHOWN} if look.level else None,
        "progress": _progress(look.news),
    }
    context = {
        "row": row,
        "domain": Domain(name=look.domain, server=server),
        "self_service": look.editable,
        "request": {"get_full_path": _PATH},
        "csrf_token": _TOKEN,
    }
    text: str = render_to_string("accounts/_row.html", context)
    text = text.replace("{", "{{").replace("}", "}}")
    for mark, slot in _SLOTS.items():
        text = text.replace(mark, slot)
    return text


def _progress(news: _News | None) -> Progress | dict[str, Any]:
    """Return what the template takes for the row's Progress."""
    if news is None:
        return LIVE
    change = Change(
        pk=_CHANGE,
        cause=news.cause,
        retry_at=news.retry_at,
        renews_password=news.renews_password,
    )
    return news._asdict() | {"change": change}
