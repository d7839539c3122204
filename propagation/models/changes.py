"""What the mail servers do not know yet, and until when it can be taken back.

A Change is written in the same transaction as the object it is about. It is
PENDING, and can be cancelled or superseded, until its server's worker claims
it; from then on it is APPLYING until the server itself confirms it (APPLIED) or
a newer change of the same record takes its place (SUPERSEDED). Only this module
moves a change from one state to the next, always by an UPDATE that names the
state it starts from.

A change may need another record to exist first (a forwarding address needs the
mailbox it leads to): it is never claimed before that record's own change is
applied, and never announced for an earlier time.
"""

from __future__ import annotations

import uuid
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.contrib.auth import get_user_model
from django.db import models, transaction
from django.db.models import Exists, F, OuterRef, Q
from django.utils.timezone import now
from django.utils.translation import gettext_lazy as _

from history.acting import present
from history.models import Entry as Told
from mailhost.records import Entry, HostedDomain, PlanLimits, Record
from propagation.models.content import Content
from propagation.models.servers import MailServer, one_at_a_time
from propagation.prepared import Prepared
from propagation.told import edit


class TooLate(Exception):
    """The change is already on its way and can no longer be taken back."""


class ChangeState(models.TextChoices):
    """Where a change stands."""

    PENDING = "pending", _("Waiting")
    APPLYING = "applying", _("Being applied")
    APPLIED = "applied", _("Applied")
    CANCELLED = "cancelled", _("Cancelled")
    SUPERSEDED = "superseded", _("Replaced by a newer change")


class Cause(models.TextChoices):
    """Why a change could not be applied, in words for the customer."""

    SILENT = "silent", _("The mail server has not confirmed this change yet.")
    CIRCLE = (
        "circle",
        _("With what the mail server still does, mail would go round in a circle."),
    )
    REFUSED = "refused", _("The mail server refuses this change. We will look into it.")


@dataclass(frozen=True, slots=True)
class Proposal:
    """One edit among many: see ChangeQuerySet.propose()."""

    before: Record | None
    after: Record | None
    needs: Sequence[tuple[int, str]] = ()

    @property
    def key(self) -> str:
        """The key of the record that it is about."""
        return (self.after or self.before or _nothing()).key


OPEN = [ChangeState.PENDING, ChangeState.APPLYING]
ENDED = [ChangeState.APPLIED, ChangeState.CANCELLED, ChangeState.SUPERSEDED]
# What a mail server and the apps are told of a change.
_TOLD = ["server", "key", "domain", "before", "after", "after_secret"]
# A failed change is tried again after one of these pauses (minutes), then ever after the last.
PAUSES = [1, 2, 5, 15, 60]


class ChangeQuerySet(models.QuerySet["Change"]):
    """Every move of a change, and every question about changes."""

    def open(self) -> ChangeQuerySet:
        """Return what has not ended: waiting, or on its way."""
        # Not by the state: so asked, SQLite too sees that the index change_open has them all.
        return self.filter(ended_at=None)

    def pending(self) -> ChangeQuerySet:
        """Return what can still be taken back."""
        return self.open().filter(state=ChangeState.PENDING)

    def creations(self) -> ChangeQuerySet:
        """Return changes whose record does not exist on the server before them."""
        return self.filter(before__isnull=True)

    def removals(self) -> ChangeQuerySet:
        """Return changes after which the record no longer exists."""
        return self.filter(after__isnull=True)

    def leaving(self, server: MailServer, keys: Collection[str] | None = None) -> set[str]:
        """Return the keys (of these, or of all) of the records that are about to go.

        Not of one that is wanted again by now: its newest open change decides.
        """
        moving = self.open().filter(server=server)
        if keys is not None:
            moving = moving.filter(key__in=keys)
        newest = {change.key: change for change in moving.only("key", "after").order_by("pk")}
        return {key for key, change in newest.items() if change.removes}

    def of(self, server_id: int, keys: Collection[str]) -> ChangeQuerySet:
        """Return the changes of these records of one server."""
        return self.filter(server_id=server_id, key__in=keys)

    def beyond_recall(self, change: Change) -> ChangeQuerySet:
        """Return those asked for with `change` of the same record that servers have or take."""
        gone = [ChangeState.APPLYING, ChangeState.APPLIED]
        return self.filter(group=change.group, key=change.key, state__in=gone)

    def propose(
        self,
        server: MailServer,
        *,
        before: Record | None,
        after: Record | None,
        by: Any = None,
        group: uuid.UUID | None = None,
        needs: Iterable[tuple[int, str]] = (),
        delay: timedelta | None = None,
    ) -> Change | None:
        """Record in the caller's transaction what `server` is to hold from now on.

        `before` is the object as it was before this edit, `after` as it is now (None:
        it does not exist); `needs` are records that must exist first, each by its server's
        id and its key; `by` is the login or a mailbox's
        user, None for the system; changes of one `group` belong
        together on a page and are cancelled together. A pending change of the same record
        is replaced.

        Returns None when nothing is left to do: the edit undoes what was pending.
        """
        if not transaction.get_connection().in_atomic_block:
            raise RuntimeError("propose() must share a transaction with its object")
        one_at_a_time()
        key = (after or before or _nothing()).key
        content, was = Content.of(after), Content.of(before)
        moving = _moving(server=server.pk, key=key)
        live = _live(moving, otherwise=was)
        _note([(after or before or _nothing(), was, content)], by)
        for replaced in moving:
            if replaced.state == ChangeState.PENDING:
                group = group or replaced.group
                self.pending().filter(pk=replaced.pk).end(ChangeState.SUPERSEDED)
        if content == live:
            return None
        if delay is None:
            delay = timedelta(seconds=settings.PROPAGATION_DELAY)
        change = _change(server, after or before or _nothing(), live, content, delay)
        change.made_by, change.made_by_mailbox = _asker(by)
        change.group = group or change.group
        missing = self._still_missing(set(needs))
        change.due_at = max([change.due_at, *(need.due_at for need in missing)])
        change.save(force_insert=True)
        Need.objects.bulk_create(
            Need(change=change, server_id=need.server_id, key=need.key) for need in missing
        )
        self._wait_for(change)
        return change

    def propose_many(
        self, server: MailServer, proposals: Sequence[Proposal], *, by: Any = None
    ) -> None:
        """Do what propose() does for edits of as many records, in a few queries for all.

        A record that has an open change already goes the slow way, after the others.
        """
        if not transaction.get_connection().in_atomic_block:
            raise RuntimeError("propose_many() must share a transaction with its objects")
        one_at_a_time()
        moving = self._moving_among(server, [proposal.key for proposal in proposals])
        fresh = [proposal for proposal in proposals if proposal.key not in moving]
        self._propose_fresh(server, fresh, by)
        for one in proposals:
            if one.key in moving:
                self.propose(server, before=one.before, after=one.after, by=by, needs=one.needs)

    def _moving_among(self, server: MailServer, keys: list[str]) -> set[str]:
        """Return which of these records have an open change."""
        open_changes = self.open().filter(server=server)
        return {
            key
            for some in parts(keys)
            for key in open_changes.filter(key__in=some).values_list("key", flat=True)
        }

    def _propose_fresh(self, server: MailServer, proposals: Sequence[Proposal], by: Any) -> None:
        """Record what is wanted of records that have no open change."""
        delay = timedelta(seconds=settings.PROPAGATION_DELAY)
        made: list[tuple[Change, Proposal]] = []
        edits = []
        for one in proposals:
            live, content = Content.of(one.before), Content.of(one.after)
            if live != content:
                record = one.after or one.before or _nothing()
                made.append((_change(server, record, live, content, delay), one))
                edits.append((record, live, content))
        _note(edits, by)
        wanted = {need for _change_, one in made for need in one.needs}
        due = {(need.server_id, need.key): need.due_at for need in self._still_missing(wanted)}
        due |= {(server.pk, change.key): change.due_at for change, _one in made if change.creates}
        needs = []
        asker = _asker(by)
        for change, one in made:
            missing = {need for need in one.needs if need in due} - {(server.pk, change.key)}
            change.made_by, change.made_by_mailbox = asker
            change.due_at = max([change.due_at, *(due[need] for need in missing)])
            needs += [Need(change=change, server_id=at, key=key) for at, key in missing]
        changes = [change for change, _one in made]
        self.bulk_create(changes, batch_size=500)
        Need.objects.bulk_create(needs, batch_size=500)
        created = [change for change in changes if change.creates]
        for some in parts(created):
            keys = {change.key for change in some}
            needing = self.pending().filter(needs__server=server, needs__key__in=keys)
            awaited = set(needing.values_list("needs__key", flat=True))
            for change in some:
                if change.key in awaited:
                    self._wait_for(change)

    def mend(
        self, server: MailServer, wishes: Iterable[tuple[Record | None, Record | None]]
    ) -> None:
        """Record that `server` is to hold the second of each two from now on, not the first.

        None: it does not exist. For records that have no open change, by a caller who shares
        a transaction with one_at_a_time(): quicker than propose() for many.
        """
        at_once = timedelta()
        changes = [
            _change(
                server,
                after or before or _nothing(),
                Content.of(before),
                Content.of(after),
                at_once,
            )
            for before, after in wishes
        ]
        self.bulk_create(changes, batch_size=500)

    def _still_missing(self, needs: set[tuple[int, str]]) -> list[Change]:
        """Return the open changes that create one of the needed records, one per record."""
        if not needs:
            return []
        servers, keys = {server for server, _key in needs}, {key for _server, key in needs}
        creations = _creations(servers=list(servers), keys=list(keys))
        found = {(change.server_id, change.key): change for change in creations}
        return [change for need, change in found.items() if need in needs]

    def needing(self, change: Change) -> ChangeQuerySet:
        """Return the pending changes that wait for what `change` creates."""
        return self.pending().filter(needs__server=change.server_id, needs__key=change.key)

    def _wait_for(self, change: Change) -> None:
        """Let what needs `change`, and what needs that, be announced no earlier than it."""
        due = change.due_at
        for waiting in _needing_sooner(server=change.server_id, key=change.key, due_at=due):
            self.filter(pk=waiting.pk).update(due_at=change.due_at)
            waiting.due_at = change.due_at
            if waiting.creates:
                self._wait_for(waiting)

    def awaited(self) -> models.QuerySet[Any, int]:
        """Return the ids of the servers that have a change to apply at this moment."""
        moment = now()
        at_hand = Q(state=ChangeState.APPLYING) & (Q(retry_at=None) | Q(retry_at__lte=moment))
        due = Q(state=ChangeState.PENDING, due_at__lte=moment)
        awaited = self.open().filter(at_hand | due)
        return awaited.order_by().values_list("server_id", flat=True).distinct()

    def claim_due(self, server: MailServer, *, most: int = 20_000) -> list[Change]:
        """Take due changes past the point of cancelling, and return them.

        What a worker that died had claimed is returned again. The caller holds the
        server's lock, so nobody else is at work on what is claimed.
        """
        moment = now()
        first = (
            Change.objects.open().creations().filter(server=OuterRef("server"), key=OuterRef("key"))
        )
        blocked = Need.objects.filter(Exists(first), change=OuterRef("pk"))
        mine = self.open().filter(server=server)
        ready = mine.pending().filter(~Exists(blocked), due_at__lte=moment).order_by("due_at", "pk")
        with transaction.atomic():
            # Who cancels one of these from now on waits, and is then too late.
            one_at_a_time()
            chosen = dict(ready.values_list("key", "pk")[:most])
            under_way = mine.filter(state=ChangeState.APPLYING).values_list("key", "pk")
            for pks in parts([pk for key, pk in under_way if key in chosen]):
                mine.filter(pk__in=pks).end(ChangeState.SUPERSEDED)
            for pks in parts(list(chosen.values())):
                self.pending().filter(pk__in=pks).update(
                    state=ChangeState.APPLYING, started_at=moment, retry_at=None
                )
        at_hand = mine.filter(state=ChangeState.APPLYING)
        at_hand = at_hand.filter(Q(retry_at=None) | Q(retry_at__lte=moment))
        # To turn a row's times into Python's takes half as long as all else about it.
        return list(at_hand.only(*_TOLD).order_by("pk"))

    def end(self, state: ChangeState) -> int:
        """Move these open changes to a final `state`, forgetting their secrets."""
        return self.open().update(
            state=state, ended_at=now(), before_secret="", after_secret="", retry_at=None
        )

    def postpone(self, cause: Cause, reason: str) -> int:
        """Leave these changes for a later attempt, each pause longer than the last.

        `cause` is for the customer, `reason` for the operator.
        """
        count = 0
        for change in self.filter(state=ChangeState.APPLYING):
            pause = timedelta(minutes=PAUSES[min(change.attempts, len(PAUSES) - 1)])
            count += self.filter(pk=change.pk, state=ChangeState.APPLYING).update(
                attempts=F("attempts") + 1,
                retry_at=now() + pause,
                cause=cause,
                trouble=reason[:500],
            )
        return count

    def hurry(self) -> int:
        """Make these changes due at once, together with what they need (operator's action)."""
        moment = now()
        hurried = {change.pk: change for change in self.pending()}
        fresh = list(hurried)
        while fresh:
            needed = Need.objects.filter(change__in=fresh).values_list("server", "key")
            found = [
                change
                for server, key in set(needed)
                for change in Change.objects.pending().of(server, [key])
                if change.pk not in hurried
            ]
            hurried |= {change.pk: change for change in found}
            fresh = [change.pk for change in found]
        self.retry()
        return Change.objects.pending().filter(pk__in=hurried).update(due_at=moment)

    def retry(self) -> int:
        """Let failed changes be tried again at once; what waits for its time goes on waiting."""
        failing = self.open().filter(state=ChangeState.APPLYING)
        return failing.update(retry_at=None, cause="", trouble="")


@Prepared
def _moving(server: int, key: str) -> ChangeQuerySet:
    """Find a record's open changes, oldest first."""
    return Change.objects.open().filter(server=server, key=key).order_by("pk")


@Prepared
def _creations(servers: list[int], keys: list[str]) -> ChangeQuerySet:
    """Find the open changes that create one of these records, oldest first."""
    creations = Change.objects.open().creations()
    # By server too: no index begins with the key, and all changes ever made would be read.
    return creations.filter(server__id__in=servers, key__in=keys).order_by("pk")


@Prepared
def _needing_sooner(server: int, key: str, due_at: datetime) -> ChangeQuerySet:
    """Find the pending changes that need a record and are due before it."""
    needing = Change.objects.pending().filter(needs__server=server, needs__key=key)
    return needing.filter(due_at__lt=due_at)


def _change(
    server: MailServer, record: Record, live: Content, content: Content, delay: timedelta
) -> Change:
    """Return a change, not saved yet, of a record from what is `live` to `content`."""
    made_at = now()
    return Change(
        server=server,
        key=record.key,
        domain=_domain_of(record),
        before=live.value,
        before_secret=live.secret,
        after=content.value,
        after_secret=content.secret,
        made_at=made_at,
        due_at=made_at + delay,
        renews_password=None not in (live.value, content.value) and live.secret != content.secret,
    )


def _live(moving: Sequence[Change], *, otherwise: Content) -> Content:
    """Return what the server will hold when the pending change is left out.

    `moving` are the record's open changes, oldest first.
    """
    if not moving:
        return otherwise
    newest = moving[-1]
    if newest.state == ChangeState.APPLYING:
        return Content(newest.after, newest.after_secret)
    return Content(newest.before, newest.before_secret)


def _note(edits: Iterable[tuple[Record, Content, Content]], by: Any) -> None:
    """Write edits into the history: of each the record, what it was and what it becomes."""
    actor = present(by)
    told = (
        edit(record.key, _domain_of(record), was, becomes, actor) for record, was, becomes in edits
    )
    Told.objects.note_many(one for one in told if one)


def _domain_of(record: Record) -> str:
    """Return the hosted domain that a record belongs to; a plan's belongs to none."""
    if isinstance(record, HostedDomain):
        return record.name
    return "" if isinstance(record, PlanLimits) else record.domain


def _asker(by: Any) -> tuple[Any, str]:
    """Return the login that asked for a change, or the name of the mailbox's user who did."""
    if by is None or isinstance(by, get_user_model()):
        return by, ""
    return None, by.get_username()


def _nothing() -> Record:
    raise ValueError("a change needs a record before or after it")


def parts(items: list[Any], size: int = 10_000) -> Iterable[list[Any]]:
    """Cut a list into pieces that fit into one SQL statement."""
    return (items[start : start + size] for start in range(0, len(items), size))


class Change(models.Model):
    """One record that one server is to hold, or to lose, from `due_at` on."""

    # No index of its own: the server alone narrows down nothing, and others begin with it.
    server = models.ForeignKey(
        MailServer, models.PROTECT, db_index=False, verbose_name=_("mail server")
    )
    key = models.CharField(_("record"), max_length=340)
    domain = models.CharField(_("domain"), max_length=253, editable=False)
    group = models.UUIDField(default=uuid.uuid4, editable=False)
    before = models.JSONField(_("before"), null=True, blank=True)
    before_secret = models.CharField(max_length=255, blank=True, editable=False)
    after = models.JSONField(_("after"), null=True, blank=True)
    after_secret = models.CharField(max_length=255, blank=True, editable=False)
    made_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.SET_NULL, null=True, blank=True, verbose_name=_("made by")
    )
    # The address of the mailbox whose user it was, who has no login.
    made_by_mailbox = models.CharField(
        _("made by the mailbox's user"), max_length=254, blank=True, default="", db_default=""
    )
    made_at = models.DateTimeField(_("made"))
    due_at = models.DateTimeField(_("due"))
    state = models.CharField(
        _("state"), max_length=10, choices=ChangeState.choices, default=ChangeState.PENDING
    )
    started_at = models.DateTimeField(_("started"), null=True, blank=True)
    ended_at = models.DateTimeField(_("ended"), null=True, blank=True)
    attempts = models.PositiveIntegerField(_("failed attempts"), default=0)
    retry_at = models.DateTimeField(_("next attempt"), null=True, blank=True)
    cause = models.CharField(_("cause"), max_length=10, blank=True, choices=Cause.choices)
    trouble = models.CharField(_("trouble"), max_length=500, blank=True)
    renews_password = models.BooleanField(_("new password"), default=False)

    objects = ChangeQuerySet.as_manager()

    class Meta:
        verbose_name = _("change")
        verbose_name_plural = _("changes")
        ordering = ["-pk"]
        constraints = [
            models.UniqueConstraint(
                name="one_pending_change_per_record",
                fields=["server", "key"],
                condition=Q(state=ChangeState.PENDING),
            ),
            models.UniqueConstraint(
                name="one_applying_change_per_record",
                fields=["server", "key"],
                condition=Q(state=ChangeState.APPLYING),
            ),
            models.CheckConstraint(
                name="change_ended_at_iff_ended",
                condition=Q(state__in=ENDED, ended_at__isnull=False)
                | Q(state__in=OPEN, ended_at__isnull=True),
            ),
            models.CheckConstraint(
                name="change_forgets_its_secrets",
                condition=Q(state__in=OPEN) | Q(before_secret="", after_secret=""),
            ),
        ]
        indexes = [
            # claim_due() and the sweep: the few that are open among years of ended ones.
            models.Index(
                name="change_open", fields=["server", "due_at"], condition=Q(ended_at=None)
            ),
            # A page asks for the state of the records it shows.
            models.Index(name="change_record", fields=["server", "key", "-id"]),
            models.Index(name="change_group", fields=["group"]),
            models.Index(name="change_domain", fields=["domain", "-id"]),
        ]

    def __str__(self) -> str:
        return f"{self.key} #{self.pk}"

    @property
    def creates(self) -> bool:
        """Whether the record does not exist before this change."""
        return self.before is None

    @property
    def removes(self) -> bool:
        """Whether the record no longer exists after this change."""
        return self.after is None

    def again(self) -> Change:
        """Return the same wish as a new change, not saved yet, that is due at once."""
        fields = {field.name: getattr(self, field.attname) for field in self._meta.fields}
        for name in ("id", "state", "started_at", "ended_at", "attempts", "retry_at"):
            del fields[name]
        server, made_by = fields.pop("server"), fields.pop("made_by")
        return Change(**fields | {"due_at": now()}, server_id=server, made_by_id=made_by)

    def was(self) -> Record | None:
        """Return the record as the server holds it before this change."""
        return Content(self.before, self.before_secret).record(self.key)

    def entry(self) -> Entry:
        """Return what the mail server is told, under this change's number."""
        return Entry(self.key, self.pk, Content(self.after, self.after_secret).record(self.key))


class Need(models.Model):
    """A record that must exist on its server before `change` may be applied."""

    change = models.ForeignKey(Change, models.CASCADE, related_name="needs")
    # No index of its own, or SQLite takes it and reads all needs of the server.
    server = models.ForeignKey(MailServer, models.CASCADE, db_index=False)
    key = models.CharField(max_length=340)

    class Meta:
        constraints = [
            models.UniqueConstraint(name="need_once", fields=["change", "server", "key"])
        ]
        indexes = [models.Index(name="need_record", fields=["server", "key"])]

    def __str__(self) -> str:
        return self.key


def due_from_now() -> datetime:
    """Return when an edit made at this moment would be due."""
    return now() + timedelta(seconds=settings.PROPAGATION_DELAY)
