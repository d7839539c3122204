"""What is remembered: one row for each thing that was done. Rows are only ever added.

The code has no way to change one, and a trigger of the database refuses it (the migrations).
What is not kept from happening: whoever has the database can remove rows, or the trigger. Old ones
are removed by prune() alone.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.db import models, transaction
from django.utils.timezone import now
from django.utils.translation import gettext_lazy as _

from history.acting import Actor, Hand, present


class EntryQuerySet(models.QuerySet["Entry"]):
    """Which entries, and how one comes to be."""

    def note(
        self,
        kind: str,
        *,
        subject: str,
        domain: str = "",
        values: dict[str, Any] | None = None,
        by: Any = None,
        login_id: int | None = None,
    ) -> None:
        """Write down that something was done, in the caller's transaction.

        `kind` is `AREA.WHAT`, `subject` the account, address or login that it was done to,
        `values` what the words for it need: never a secret. `domain` is a hosted domain's name;
        without one it is about the login `login_id` alone.
        """
        self._insert_all([entry(kind, subject, domain, values or {}, present(by), login_id)])

    def note_many(self, entries: Iterable[Entry]) -> None:
        """Write down many things, made by entry()."""
        self._insert_all(list(entries))

    def _insert_all(self, entries: list[Entry]) -> None:
        if not transaction.get_connection().in_atomic_block:
            raise RuntimeError("a note shares a transaction with what it tells of")
        self.bulk_create(entries, batch_size=500)

    def of_domain(self, name: str) -> EntryQuerySet:
        """Return what was done in a hosted domain."""
        return self.filter(domain=name)

    def of_login(self, login_id: int) -> EntryQuerySet:
        """Return what was done with a login: no domain's matters."""
        return self.filter(domain="", login_id=login_id)

    def prune(self) -> int:
        """Remove what is older than HISTORY_DAYS; return how many."""
        before = now() - timedelta(days=settings.HISTORY_DAYS)
        return self.filter(at__lt=before).delete()[0]


class Entry(models.Model):
    """One thing that was done. Nothing refers to other tables: it outlives what it tells of."""

    at = models.DateTimeField(_("time"), default=now, db_index=True, editable=False)
    domain = models.CharField(_("domain"), max_length=253, blank=True, editable=False)
    area = models.CharField(_("area"), max_length=20, editable=False)
    what = models.CharField(_("what"), max_length=20, editable=False)
    subject = models.CharField(_("about"), max_length=320, editable=False)
    values: models.JSONField[Any, dict[str, Any]] = models.JSONField(
        _("details"), default=dict, editable=False
    )
    hand = models.CharField(_("by"), max_length=10, choices=Hand.choices, editable=False)
    actor = models.CharField(_("name"), max_length=320, blank=True, editable=False)
    address = models.GenericIPAddressField(_("Internet address"), null=True, editable=False)
    # The login that it is about, where it is about no domain.
    login_id = models.BigIntegerField(_("login"), null=True, editable=False)

    objects = EntryQuerySet.as_manager()

    class Meta:
        verbose_name = _("history entry")
        verbose_name_plural = _("history entries")
        ordering = ["-pk"]
        constraints = [
            models.CheckConstraint(name="history_hand", condition=models.Q(hand__in=Hand.values)),
            models.CheckConstraint(
                name="history_about_something",
                condition=~models.Q(domain="") | models.Q(login_id__isnull=False),
            ),
        ]
        indexes = [
            # The page of a domain, as it is, by area, and for one account or address.
            models.Index(name="history_of_domain", fields=["domain", "-id"]),
            models.Index(name="history_of_area", fields=["domain", "area", "-id"]),
            models.Index(name="history_of_subject", fields=["domain", "subject", "-id"]),
            models.Index(name="history_from_address", fields=["domain", "address", "-id"]),
            models.Index(
                name="history_of_login",
                fields=["login_id", "-id"],
                condition=models.Q(domain=""),
            ),
        ]

    def __str__(self) -> str:
        return f"{self.at:%Y-%m-%d %H:%M} {self.area}.{self.what} {self.subject}"


def entry(
    kind: str,
    subject: str,
    domain: str,
    values: dict[str, Any],
    actor: Actor,
    login_id: int | None = None,
) -> Entry:
    """Return an entry, not saved yet; see EntryQuerySet.note()."""
    area, _dot, what = kind.partition(".")
    # Who leaves a mailing list by its link need not show the list's owner from where.
    hidden = bool(domain) and actor.hand == Hand.VISITOR
    return Entry(
        domain=domain,
        area=area,
        what=what,
        subject=subject[:320],
        values=values,
        hand=actor.hand,
        actor=actor.name[:320],
        address=None if hidden else actor.address,
        login_id=login_id,
    )
