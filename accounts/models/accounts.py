"""POP accounts.

An Account row lives until its server has confirmed that the mailbox is gone: the
name stays taken while it is being deleted. What is pending is asked of the outbox
(propagation.progress), never stored here.
"""

from __future__ import annotations

import uuid
from collections.abc import Collection, Iterable
from typing import TYPE_CHECKING, Any

from django.core.exceptions import ValidationError
from django.db import IntegrityError, models, transaction
from django.db.models import Q
from django.utils.timezone import now
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from accounts import names, names_elsewhere, passwords
from accounts.models.limits import OwnLimits, at_least_one
from accounts.models.switches import Switches
from mailhost import grammar
from mailhost.records import Mailbox
from propagation.models import Change, MailServer, one_at_a_time
from propagation.prepared import Prepared, all_rows

if TYPE_CHECKING:
    from accounts.models.domains import Domain

NAME_TAKEN = "name_taken"
NAME_TAKEN_WORDS = gettext_lazy("Error: User exists. Choose another username.")


class AccountQuerySet(models.QuerySet["Account"]):
    """Which accounts, and how one comes to be."""

    def open(
        self,
        *,
        domain: Domain,
        name: str,
        password: str = "",
        password_hash: str = "",
        by: Any = None,
        group: uuid.UUID | None = None,
    ) -> Account:
        """Create a POP account that its server will have once the change is due.

        Takes the password or, for one that is brought back, its hash. Raises
        ValidationError, in words for the customer, if the account may not exist; the
        code NAME_TAKEN stands for a name that somebody on the same server has.
        """
        name = names.clean_mailbox_name(name)
        if not password_hash:
            passwords.check(password, name=name)
            password_hash = passwords.make_hash(password)
        account = Account(
            domain=domain, server=domain.server, name=name, password_hash=password_hash
        )
        # The name was judged above; what only the database knows it is asked by insert().
        known = ["domain", "server", "name"]
        account.full_clean(known, validate_unique=False, validate_constraints=False)
        return account.insert(by=by, group=group)

    def free_name(self, server_id: int, wanted: str, *, avoid: Collection[str] = ()) -> str:
        """Return a free name close to a taken one, as the manual does: myinfo for info.

        `avoid` are names that would do the asker no good.
        """
        wanted = wanted[:28]
        candidates = [f"my{wanted}", f"{wanted}.mail", *(f"{wanted}{n}" for n in range(2, 100))]
        usable = [
            name
            for name in candidates
            if grammar.MAILBOX_NAME.match(name) and name not in {*names.RESERVED, *avoid}
        ]
        taken = set(
            self.filter(server_id=server_id, name__in=usable).values_list("name", flat=True)
        )
        return next((name for name in usable if name not in taken), f"m{uuid.uuid4().hex[:12]}")


class Account(Switches, OwnLimits):
    """A POP account: a mailbox with its login name, unique on its server."""

    # Also names the mailbox's directory: a name taken again never shows old mail.
    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    domain = models.ForeignKey(
        "Domain", models.PROTECT, related_name="accounts", verbose_name=gettext_lazy("domain")
    )
    server = models.ForeignKey(
        MailServer, models.PROTECT, verbose_name=gettext_lazy("mail server"), editable=False
    )
    name = models.CharField(gettext_lazy("account name"), max_length=63)
    password_hash = models.CharField(max_length=255, editable=False)
    is_fixed = models.BooleanField(gettext_lazy("fixed account"), default=False, editable=False)
    created_at = models.DateTimeField(gettext_lazy("created"), default=now, editable=False)

    objects = AccountQuerySet.as_manager()

    class Meta:
        verbose_name = gettext_lazy("POP account")
        verbose_name_plural = gettext_lazy("POP accounts")
        ordering = ["name"]
        constraints = [
            models.UniqueConstraint(
                name="account_name_once_per_server",
                fields=["server", "name"],
                violation_error_message=NAME_TAKEN_WORDS,
                violation_error_code=NAME_TAKEN,
            ),
            models.UniqueConstraint(
                name="one_fixed_account_per_domain",
                fields=["domain"],
                condition=Q(is_fixed=True),
            ),
            models.CheckConstraint(
                name="account_name_form",
                condition=Q(name__regex=grammar.MAILBOX_NAME.pattern)
                | Q(is_fixed=True, name__regex=grammar.FIXED_NAME.pattern),
                violation_error_message=gettext_lazy("This name has a form that is not allowed."),
            ),
            at_least_one("account_limits_at_least_one"),
        ]
        indexes = [
            models.Index(name="account_by_domain", fields=["domain", "name"]),
            models.Index(name="account_by_name", fields=["name"]),
        ]

    def __str__(self) -> str:
        return names.readable_address(self.address)

    @property
    def address(self) -> str:
        """The account's own address, as stored (ASCII)."""
        return f"{self.name}@{self.domain.name}"

    @property
    def key(self) -> str:
        """The key of this account's record."""
        return mailbox_key(self.name)

    @property
    def size(self) -> int:
        """The mailbox's size limit in bytes."""
        return self.quota_bytes or self.domain.plan.mailbox_bytes

    def record(self) -> Mailbox:
        """Return what the mail server holds of this account."""
        return Mailbox(
            name=self.name,
            domain=self.domain.name,
            mailbox_id=self.pk.hex,
            password_hash=self.password_hash,
            **self.switches(),
            **self.recorded_limits(),
        )

    def insert(self, *, by: Any = None, group: uuid.UUID | None = None) -> Account:
        """Save a new account and tell its server; the plan's limit and the name are judged here.

        Raises ValidationError when the plan is full, and when somebody or something has the name.
        """
        try:
            with transaction.atomic():
                one_at_a_time()
                self._find_room()
                names_elsewhere.refuse_taken(self.domain, self.name)
                self.save(force_insert=True)
                self.propose(before=None, by=by, group=group)
        except IntegrityError:
            # Somebody has it; the constraint says it in its own words, and to whom it belongs
            # stays unsaid. Looked at again because the winner's row can be seen only now.
            self.validate_constraints()
            raise
        return self

    def _find_room(self) -> None:
        """Raise ValidationError at the domain's limit; two requests cannot share the last place."""
        [used] = _count(domain=self.domain_id)
        refuse_if_full(self.domain, used)

    def propose(self, *, before: Mailbox | None, by: Any, group: uuid.UUID | None = None) -> None:
        """Tell the mail server what this account is from now on."""
        Change.objects.propose(
            self.server,
            before=before,
            after=self.record(),
            by=by,
            group=group,
            needs=[(self.server_id, f"domain:{self.domain.name}")],
        )

    def set_password(self, password: str, *, by: Any = None) -> None:
        """Give the account another password, which counts from the change's due time.

        Raises ValidationError for a password that is not accepted, and while the
        account is being deleted.
        """
        passwords.check(password, name=self.name)
        hashed = passwords.make_hash(password)
        with transaction.atomic():
            locked = self._locked()
            locked.refuse_if_leaving()
            before = locked.record()
            locked.password_hash = hashed
            locked.save(update_fields=["password_hash"])
            locked.propose(before=before, by=by)
        self.password_hash = hashed

    def limit(self, *, by: Any = None, **limits: Any) -> None:
        """Give the account limits of its own, by the names in OwnLimits; None: the plan's.

        Raises ValidationError while the account is being deleted.
        """
        self._edit(limits, by)

    def switch(self, name: str, on: bool, *, by: Any = None) -> None:
        """Switch one of SWITCHES on or off, from the change's due time.

        Raises ValidationError while the account is being deleted.
        """
        self._edit({name: on}, by)
        setattr(self, name, on)

    def _edit(self, values: dict[str, Any], by: Any) -> None:
        with transaction.atomic():
            locked = self._locked()
            locked.refuse_if_leaving()
            before = locked.record()
            for name, value in values.items():
                setattr(locked, name, value)
            locked.save(update_fields=list(values))
            locked.propose(before=before, by=by)

    def delete_later(self, *, by: Any = None, group: uuid.UUID | None = None) -> None:
        """Ask the server to give the mailbox up; the row goes when the server has done so.

        An account that the server has never seen goes at once. Raises ValidationError
        for a fixed account, and for one that is being deleted already.
        """
        with transaction.atomic():
            locked = self._locked()
            locked.refuse_if_leaving()
            if locked.fixed_for.exists():
                raise ValidationError(
                    _("This account is fixed for the administration of the service."),
                    code="fixed",
                )
            change = Change.objects.propose(
                locked.server, before=locked.record(), after=None, by=by, group=group
            )
            if change is None:
                locked.forget()

    def forget(self) -> None:
        """Remove a row whose mailbox the server never had, or has given up."""
        # One that was on its way back lies in the trash as before.
        self.deletions().update(restored_at=None)
        self.delete()

    def deletions(self) -> models.QuerySet[Any]:
        """Return the row of the trash from which this account was brought back, if any."""
        return self.domain.deleted_accounts.filter(pk=self.pk)

    def refuse_if_leaving(self) -> None:
        """Raise ValidationError while the account is being deleted."""
        if Change.objects.open().removals().of(self.server_id, [self.key]).exists():
            refuse_leaving()

    def _locked(self) -> Account:
        """Return this account as it is in the database, safe from other edits."""
        one_at_a_time()
        found = Account.objects.select_related("domain__plan", "server").filter(pk=self.pk).first()
        if found is None:
            raise ValidationError(_("This account no longer exists."), code="gone")
        return found


def refuse_if_full(domain: Domain, used: int) -> None:
    """Raise ValidationError where a domain has as many accounts as it may."""
    limit = domain.account_limit
    if used >= limit:
        raise ValidationError(
            _("%(used)d of %(limit)d accounts are in use. Delete one first, or ask us for more.")
            % {"used": used, "limit": limit},
            code="full",
        )


def refuse_leaving() -> None:
    """Raise ValidationError of an account that is being deleted."""
    raise ValidationError(
        _("This account is being deleted. Take the deletion back first."), code="leaving"
    )


@Prepared
def _count(domain: int) -> models.QuerySet[Account, int]:
    """Count a domain's accounts."""
    return Account.objects.filter(domain=domain).order_by().values_list(all_rows(), flat=True)


def mailbox_key(name: str) -> str:
    """Return the key of the record of the account of this name."""
    return f"mailbox:{name}"


def accounts_by_address(addresses: Iterable[str]) -> dict[str, Account]:
    """Return the accounts that have these addresses as their own."""
    wanted = set(addresses)
    local_parts = {address.partition("@")[0] for address in wanted}
    found = Account.objects.filter(name__in=local_parts).select_related("domain__plan")
    return {account.address: account for account in found if account.address in wanted}
