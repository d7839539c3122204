"""What this app tells the mail servers, and what it does when that is taken back."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from django.utils.translation import gettext as _

from mailhost import records as recorded
from mailuser.models import AutoReply
from propagation.models import Change, MailServer


class ReplySource:
    """Auto-replies that are switched on."""

    kind = "reply"

    def records(self, server: MailServer) -> Iterator[recorded.AutoReply]:
        """Yield a record per auto-reply of this server."""
        rows = AutoReply.objects.filter(on=True, account__server=server)
        for row in rows.select_related("account__domain").iterator(chunk_size=2000):
            if record := row.record():
                yield record

    def record(self, server: MailServer, key: str) -> recorded.AutoReply | None:
        """Return the record of one account's."""
        rows = AutoReply.objects.filter(account__server=server, account__name=_name(key))
        row = rows.select_related("account__domain").first()
        return row.record() if row else None

    def restore(self, change: Change) -> None:
        """Let the account answer as its server still does."""
        was = change.was()
        rows = AutoReply.objects.filter(
            account__server=change.server_id, account__name=_name(change.key)
        )
        for row in rows.select_related("account__domain"):
            row.restore(was if isinstance(was, recorded.AutoReply) else None)

    def check(self, change: Change) -> None:
        """Nothing is left to judge: an answer is in nobody's way."""

    def applied(self, changes: Sequence[Change]) -> None:
        """Nothing is left to do: a row goes with its account."""

    def describe(self, change: Change) -> str:
        """Say what happens to the auto-reply."""
        name = {"name": _name(change.key)}
        if change.removes:
            return _("Switch off the auto-reply of %(name)s") % name
        if change.creates:
            return _("Switch on the auto-reply of %(name)s") % name
        return _("Change the auto-reply of %(name)s") % name


def _name(key: str) -> str:
    return key.partition(":")[2]


replies = ReplySource()
