"""Mailing lists and their members.

Who has left by the link in a list's mail stays out: the member's row is kept as one who has
left until the server has confirmed it, so that taking back a pending change brings nobody back.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.core.exceptions import ValidationError
from django.db import models, transaction
from django.db.models import Q
from django.utils.timezone import now
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from accounts.models import Domain
from forwarding import addresses, routes, taken
from forwarding.models.base import AtAnAddress, LeadsTo, as_hosted
from mailhost import grammar, records
from mailhost.lists import leaving
from propagation.models import Change, one_at_a_time

MAX_MEMBERS = records.MAX_DESTINATIONS
#: The address of a list's bounces is longer than its own, and no longer than any other.
LONGEST_NAME = 64 - len(routes.BOUNCES)


def new_leave_key() -> str:
    """Return a key that nobody can guess, in the form of grammar.LEAVE_KEY."""
    return secrets.token_hex(32)


class Posters(models.TextChoices):
    """Who may write to a list."""

    ANYONE = "anyone", gettext_lazy("Anyone")
    MEMBERS = "members", gettext_lazy("Its members and the owner")
    OWNER = "owner", gettext_lazy("The owner alone")


class MailingListQuerySet(models.QuerySet["MailingList"]):
    """Which lists, and how one comes to be."""

    def with_counts(self) -> MailingListQuerySet:
        """Return the lists, each with the number of its members as `member_count`."""
        present = Q(members__left_at=None)
        return self.annotate(member_count=models.Count("members", filter=present))

    def own_leaves(self, changes: Iterable[Change]) -> set[str]:
        """Return the lists' keys of those changes that are nothing but members' own leaving.

        Such a change cannot be taken back: it would only be asked for again.
        """
        gone = {change.key: left for change in changes if (left := _only_members_fewer(change))}
        if not gone:
            return set()
        names = {key.partition(":")[2].rpartition("@")[0] for key in gone}
        rows = Member.objects.filter(
            mailing_list__local_part__in=names,
            mailing_list__domain__name__in={key.rpartition("@")[2] for key in gone},
            left_at__isnull=False,
        )
        columns = ("mailing_list__local_part", "mailing_list__domain__name", "lowered")
        for name, domain, address in rows.values_list(*columns):
            gone.get(f"list:{name}@{domain}", set()).discard(address)
        return {key for key, others in gone.items() if not others}

    def open(
        self,
        *,
        domain: Domain,
        local_part: str,
        title: str,
        owner_address: str,
        posters: str = Posters.MEMBERS,
        members: Iterable[str] = (),
        by: Any = None,
    ) -> MailingList:
        """Create a list that its server will have once the change is due.

        Raises ValidationError in words for the customer, of one field by its name; a list
        that is just being deleted is taken up again, without the members it had.
        """
        try:
            local_part = clean_list_name(local_part)
        except ValidationError as error:
            raise ValidationError({"local_part": error}) from error
        fields = _clean_settings(title, owner_address, posters)
        cleaned = _clean_members(members)
        with transaction.atomic():
            one_at_a_time()
            row = self.to_open(domain, local_part)
            before = row.record()
            row.domain = domain
            for name, value in fields.items():
                setattr(row, name, value)
            row.full_clean()
            row.save()
            row.members.all().delete()
            row._admit(cleaned)
            row._check_route()
            row._propose(before, leads_to=cleaned, by=by)
        return row

    def to_open(self, domain: Domain, local_part: str) -> MailingList:
        """Return the list to be made at a name, not saved yet, or one that is being deleted.

        Raises ValidationError where the name is taken.
        """
        row = self.filter(domain=domain, local_part=local_part).first()
        if row is not None and row.is_leaving():
            return row
        taken.refuse_for_list(domain, local_part)
        return MailingList(domain=domain, local_part=local_part)


class MailingList(AtAnAddress):
    """An address that sends what it gets to each of its members, none seeing the others."""

    kind = "list"
    gone = gettext_lazy("This mailing list no longer exists.")

    domain = models.ForeignKey(
        Domain,
        models.PROTECT,
        related_name="mailing_lists",
        verbose_name=gettext_lazy("domain"),
    )
    local_part = models.CharField(gettext_lazy("part before the @"), max_length=LONGEST_NAME)
    title = models.CharField(gettext_lazy("title"), max_length=100)
    owner_address = models.CharField(gettext_lazy("owner's address"), max_length=254)
    posters = models.CharField(
        gettext_lazy("who may write to it"),
        max_length=7,
        choices=Posters.choices,
        default=Posters.MEMBERS,
    )
    # Signs the links by which members leave; see mailhost.lists.leaving.
    leave_key = models.CharField(max_length=64, default=new_leave_key, editable=False)

    objects = MailingListQuerySet.as_manager()

    class Meta:
        verbose_name = gettext_lazy("mailing list")
        verbose_name_plural = gettext_lazy("mailing lists")
        ordering = ["local_part"]
        constraints = [
            models.UniqueConstraint(
                name="list_once_per_domain",
                fields=["domain", "local_part"],
                violation_error_message=gettext_lazy("There is a mailing list of this name."),
            ),
            models.CheckConstraint(
                name="list_name_form",
                condition=Q(local_part__regex=grammar.LOCAL_PART.pattern)
                & Q(local_part__regex=rf"\A.{{1,{LONGEST_NAME}}}\Z"),
                violation_error_message=gettext_lazy("This name has a form that is not allowed."),
            ),
            models.CheckConstraint(
                name="list_title_is_one_line",
                condition=Q(title__regex=r"\A[^\x01-\x1f\x7f]{1,100}\Z"),
                violation_error_message=gettext_lazy("The title has to be one line."),
            ),
            models.CheckConstraint(
                name="list_owner_form",
                condition=Q(owner_address__regex=grammar.DESTINATION.pattern),
                violation_error_message=gettext_lazy("This is not an address."),
            ),
            models.CheckConstraint(
                name="list_posters_known", condition=Q(posters__in=Posters.values)
            ),
            models.CheckConstraint(
                name="list_leave_key_form",
                condition=Q(leave_key__regex=grammar.LEAVE_KEY.pattern),
            ),
        ]

    def addresses(self) -> list[str]:
        """Return the members' addresses in the order of the alphabet."""
        present = self.members.filter(left_at=None).values_list("address", flat=True)
        return sorted(present, key=str.lower)

    def record(self) -> records.MailingList | None:
        """Return what the mail server holds of this list; None before it is saved."""
        return None if self._state.adding else self.record_with(self.addresses())

    def record_with(self, members: Iterable[str]) -> records.MailingList:
        """Return what the mail server holds, the members' addresses being known."""
        return records.MailingList(
            local_part=self.local_part,
            domain=self.domain.name,
            title=self.title,
            owner_address=self.owner_address,
            posters=self.posters,
            # By Python: each database has an alphabet of its own.
            members=tuple(sorted(members, key=str.lower)),
            leave_url=f"{settings.PANEL_URL}/leave/{self.pk}",
            leave_key=self.leave_key,
        )

    # Edits

    def change(self, *, title: str, owner_address: str, posters: str, by: Any = None) -> None:
        """Give the list another title or owner, or let others write to it.

        Raises ValidationError in words for the customer, of one field by its name.
        """
        fields = _clean_settings(title, owner_address, posters)
        with transaction.atomic():
            locked = self._locked()
            before = locked.record()
            for name, value in fields.items():
                setattr(locked, name, value)
            locked.full_clean()
            locked.save(update_fields=list(fields))
            locked._propose(before, leads_to=locked.addresses(), by=by)

    def add(self, new: Iterable[str], *, by: Any = None) -> int:
        """Let addresses be members; return how many were not yet.

        Raises ValidationError in words for the customer; nobody is added then.
        """
        cleaned = _clean_members(new)
        with transaction.atomic():
            locked = self._locked()
            before = locked.record()
            added = locked._admit(cleaned)
            if added:
                locked._check_route()
                locked._propose(before, leads_to=locked.addresses(), by=by)
        return added

    def remove(self, members: Iterable[int], *, by: Any = None) -> int:
        """Take members out, by their rows' ids; return how many there were.

        Raises ValidationError where the list is gone or about to go.
        """
        with transaction.atomic():
            locked = self._locked()
            before = locked.record()
            removed, _rows = locked.members.filter(left_at=None, pk__in=list(members)).delete()
            if removed:
                locked._propose(before, leads_to=locked.addresses(), by=by)
        return removed

    def leave(self, address: str) -> None:
        """Take a member out by his own wish; one that is none any more stays as he is.

        The change is due when a pending one of the list is, so that many who leave keep
        nothing waiting, and in its usual time else.
        """
        with transaction.atomic():
            one_at_a_time()
            row = MailingList.objects.select_related("domain__server").filter(pk=self.pk).first()
            if row is None:
                return
            before = row.record()
            present = row.members.filter(lowered=address.lower(), left_at=None)
            if present.update(left_at=now()) and not row.is_leaving():
                row._propose(before, leads_to=row.addresses(), by=None, delay=row._delay_left())

    def has_member(self, address: str) -> bool:
        """Whether this is a member's address."""
        return self.members.filter(lowered=address.lower(), left_at=None).exists()

    def member_of(self, token: str) -> str:
        """Return the address, in lower case, that the token of a link is for; "" if it is none."""
        return leaving.member_of(self.leave_key, token) or ""

    def restore(self, change: Change) -> None:
        """Return to what the server holds, for a change that was just cancelled.

        Who left by the link meanwhile stays out, by a change of its own. Raises
        ValidationError where the cancelled change was nothing else.
        """
        was = change.was()
        if not isinstance(was, records.MailingList):
            self.delete()
            return
        self.title, self.owner_address, self.posters = was.title, was.owner_address, was.posters
        self.save(update_fields=["title", "owner_address", "posters"])
        self.members.filter(left_at=None).exclude(address__in=was.members).delete()
        known = set(self.members.values_list("lowered", flat=True))
        self._insert([member for member in was.members if member.lower() not in known])
        if set(self.addresses()) != set(was.members):
            self._stay_out(was, change)

    def _stay_out(self, was: records.MailingList, change: Change) -> None:
        """Ask anew for what is left of a cancelled change: that members have left."""
        left = Change.objects.propose(
            self.domain.server,
            before=was,
            after=self.record(),
            needs=self._needs(self.addresses()),
            delay=max(change.due_at - now(), timedelta()),
        )
        if left and left.after == change.after:
            raise ValidationError(
                _(
                    "Members left by the link in the list's mail. Add an address again only if "
                    "its holder asks for it."
                ),
                code="left",
            )

    def forget_those_who_left(self, held: Iterable[str]) -> None:
        """Remove the rows of those who left, but for the members that the server still holds."""
        still = [member.lower() for member in held]
        self.members.exclude(left_at=None).exclude(lowered__in=still).delete()

    def _locked(self) -> MailingList:
        """Return this list as it is in the database, safe from other edits."""
        one_at_a_time()
        self._refuse_if_gone()
        locked = MailingList.objects.select_related("domain__server").get(pk=self.pk)
        if locked.is_leaving():
            raise ValidationError(
                _("This mailing list is being deleted. Take the deletion back first."),
                code="leaving",
            )
        return locked

    def _admit(self, new: list[str]) -> int:
        """Write new members' rows; return how many. One who had left is back."""
        lowered = {address.lower(): address for address in new}
        rows = {row.lowered: row for row in self.members.filter(lowered__in=lowered)}
        if self.address in lowered:
            raise ValidationError(_("A list cannot be a member of itself."), code="loop")
        back = [row.pk for row in rows.values() if row.left_at is not None]
        fresh = [address for key, address in lowered.items() if key not in rows]
        self.members.filter(pk__in=back).update(left_at=None)
        count = self.members.filter(left_at=None).count() + len(fresh)
        if count > MAX_MEMBERS:
            raise ValidationError(
                _("A list has at most %(most)s members; with these it would have %(count)s.")
                % {"most": f"{MAX_MEMBERS:,}", "count": f"{count:,}"},
                code="many",
            )
        self._insert(fresh)
        return len(fresh) + len(back)

    def _insert(self, fresh: Iterable[str]) -> None:
        rows = [Member(mailing_list=self, address=address) for address in fresh]
        for row in rows:
            row.clean_fields(exclude=["mailing_list", "lowered"])
        Member.objects.bulk_create(rows)

    def _check_route(self) -> None:
        """Raise ValidationError if a member leads back to the list, or too far on."""
        customer = self.domain.customer_id
        routes.check(self.address, self.addresses(), customer_id=customer, is_list=True)

    def _delay_left(self) -> timedelta | None:
        """Return how long a pending change of the list still waits; None where there is none."""
        pending = Change.objects.pending().of(self.domain.server_id, [self.key]).first()
        return max(pending.due_at - now(), timedelta()) if pending else None


class Member(LeadsTo):
    """One address to which a list sends; `left_at` is set once its holder has left by himself."""

    mailing_list = models.ForeignKey(MailingList, models.CASCADE, related_name="members")
    joined_at = models.DateTimeField(gettext_lazy("joined"), default=now, editable=False)
    left_at = models.DateTimeField(gettext_lazy("left"), null=True, blank=True, editable=False)
    # As the mail server counted them, see forwarding.returned.
    came_back = models.PositiveIntegerField(gettext_lazy("came back"), default=0, editable=False)
    came_back_at = models.DateTimeField(
        gettext_lazy("last came back"), null=True, blank=True, editable=False
    )

    class Meta:
        verbose_name = gettext_lazy("member")
        verbose_name_plural = gettext_lazy("members")
        ordering = ["lowered"]
        constraints = [
            models.UniqueConstraint(name="member_once", fields=["mailing_list", "lowered"]),
            models.CheckConstraint(
                name="member_form",
                condition=Q(address__regex=grammar.DESTINATION.pattern),
                violation_error_message=gettext_lazy("This is not an address."),
            ),
        ]
        indexes = [
            models.Index(name="member_address", fields=["lowered"]),
            models.Index(
                name="member_came_back",
                fields=["-came_back_at"],
                condition=Q(came_back_at__isnull=False),
            ),
        ]


def _only_members_fewer(change: Change) -> set[str]:
    """Return the members, in lower case, that a change takes out if it does nothing else."""
    if change.creates or change.removes:
        return set()
    before, after = dict(change.before or {}), dict(change.after or {})
    was, becomes = set(before.pop("members", [])), set(after.pop("members", []))
    if before != after or becomes - was:
        return set()
    return {address.lower() for address in was - becomes}


def clean_list_name(text: str) -> str:
    """Return the part before the @ of a list as stored; ValidationError says what to change."""
    local_part = addresses.clean_local_part(text)
    if len(local_part) > LONGEST_NAME:
        raise ValidationError(
            _("Use at most %(most)d characters.") % {"most": LONGEST_NAME}, code="long"
        )
    return local_part


def clean_title(text: str) -> str:
    """Return a list's title as stored; ValidationError says what to change."""
    title = text.strip()
    try:
        grammar.check_title(title)
    except grammar.GrammarError as error:
        raise ValidationError(
            _("Write the title in one line of at most 100 characters, without special characters."),
            code="title",
        ) from error
    return title


def _clean_members(typed: Iterable[str]) -> list[str]:
    """Return members' addresses as stored; ValidationError names every one that is wrong."""
    cleaned, errors = [], []
    for text in typed:
        try:
            cleaned.append(addresses.clean_destination(text))
        except ValidationError as error:
            errors.append(error)
    if errors:
        raise ValidationError(errors)
    return as_hosted(cleaned)


def _clean_settings(title: str, owner_address: str, posters: str) -> dict[str, str]:
    """Return a list's settings as stored; ValidationError names the field."""
    cleaned: dict[str, str] = {"posters": posters}
    errors: dict[str, ValidationError] = {}
    try:
        cleaned["title"] = clean_title(title)
    except ValidationError as error:
        errors["title"] = error
    try:
        cleaned["owner_address"] = as_hosted([addresses.clean_destination(owner_address)])[0]
    except ValidationError as error:
        errors["owner_address"] = error
    if errors:
        raise ValidationError(errors)
    return cleaned
