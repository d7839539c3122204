"""Customers, their plans, domains and POP accounts.

An Account row lives until its server has confirmed that the mailbox is gone: the
name stays taken while it is being deleted. What is pending is asked of the outbox
(propagation.progress), never stored here. Every edit locks the row it changes, so
that the outbox sees edits of one record one after the other.
"""

from __future__ import annotations

import uuid
from collections.abc import Collection, Iterable
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.contrib.auth.models import AbstractUser
from django.core.exceptions import ValidationError
from django.db import IntegrityError, models, transaction
from django.db.models import Q
from django.utils.timezone import now
from django.utils.translation import get_language, gettext_lazy
from django.utils.translation import gettext as _

from accounts import names, passwords
from mailhost import grammar
from mailhost.records import HostedDomain, Mailbox
from propagation.models import Change, MailServer

NAME_TAKEN = "name_taken"
MEGABYTE = 1024 * 1024
NAME_TAKEN_WORDS = gettext_lazy("Error: User exists. Choose another username.")


class User(AbstractUser):
    """A login of the panel: an operator (staff) or a customer's."""

    language = models.CharField(
        gettext_lazy("language"), max_length=5, choices=settings.LANGUAGES, blank=True
    )

    class Meta:
        verbose_name = gettext_lazy("login")
        verbose_name_plural = gettext_lazy("logins")


class Plan(models.Model):
    """What a domain's owner has bought (コース); every limit of the manual's section 5."""

    code = models.SlugField(gettext_lazy("code"), unique=True)
    name_ja = models.CharField(gettext_lazy("name (Japanese)"), max_length=60)
    name_en = models.CharField(gettext_lazy("name (English)"), max_length=60)
    account_limit = models.PositiveIntegerField(gettext_lazy("POP accounts"))
    self_service = models.BooleanField(
        gettext_lazy("customer may add and delete accounts"), default=True
    )
    mailbox_bytes = models.PositiveBigIntegerField(
        gettext_lazy("mailbox size (bytes)"), default=10 * MEGABYTE
    )
    message_bytes = models.PositiveBigIntegerField(
        gettext_lazy("message size (bytes)"), default=3 * MEGABYTE
    )
    recipients_per_message = models.PositiveIntegerField(
        gettext_lazy("recipients per message"), default=100
    )
    recipients_per_day = models.PositiveIntegerField(
        gettext_lazy("recipients per day"), default=1000
    )
    list_message_bytes = models.PositiveBigIntegerField(
        gettext_lazy("size of a message to a mailing list (bytes)"), default=75 * 1024
    )
    is_sample = models.BooleanField(gettext_lazy("sample for the demo"), default=False)

    class Meta:
        verbose_name = gettext_lazy("plan")
        verbose_name_plural = gettext_lazy("plans")
        ordering = ["name_en"]

    def __str__(self) -> str:
        return self.name_ja if get_language() == "ja" else self.name_en


class Customer(models.Model):
    """Who owns domains and logs in to look after them."""

    user = models.OneToOneField(User, models.PROTECT, verbose_name=gettext_lazy("login"))
    name = models.CharField(gettext_lazy("name"), max_length=100)

    class Meta:
        verbose_name = gettext_lazy("customer")
        verbose_name_plural = gettext_lazy("customers")
        ordering = ["name"]

    def __str__(self) -> str:
        return self.name


class DomainQuerySet(models.QuerySet["Domain"]):
    """Which domains, and how one comes to be."""

    def visible_to(self, user: Any) -> DomainQuerySet:
        """Return the domains that this login may look after: the customer's own."""
        if not user.is_authenticated:
            return self.none()
        return self.filter(customer__user=user)

    def open(
        self,
        *,
        customer: Customer,
        name: str,
        plan: Plan,
        server: MailServer,
        password: str = "",
        by: Any = None,
    ) -> Domain:
        """Create a domain and the fixed account that its first label names.

        Where the customer already holds that name on the server, the domain's fixed
        address leads to the mailbox of that name instead. Without a `password` nobody
        knows the fixed account's until it is set in the User Manager. Raises
        ValidationError in words for the operator, naming servers where the name is free.
        """
        name = names.clean_domain_name(name)
        domain = Domain(customer=customer, name=name, plan=plan, server=server, home=name)
        held = Account.objects.filter(server=server, name=domain.label).first()
        if held is not None and held.domain.customer_id != customer.pk:
            raise ValidationError(_taken_label(domain.label, but=server), code=NAME_TAKEN)
        hashed = passwords.make_hash(password) if password else passwords.unusable_hash()
        account = held or Account(
            domain=domain, server=server, name=domain.label, password_hash=hashed, is_fixed=True
        )
        domain.fixed_account_id = account.pk
        domain.full_clean(exclude=["fixed_account"])
        with transaction.atomic():
            # The two rows name each other; the database looks at both at the commit.
            domain.save(force_insert=True)
            domain.propose(by=by)
            if held is None:
                account.domain = domain
                account.full_clean(exclude=["domain"])
                account.save(force_insert=True)
                account.propose(before=None, by=by)
        return domain


class Domain(models.Model):
    """A hosted domain: whose it is, which plan it has, and the server that holds it."""

    name = models.CharField(gettext_lazy("domain name"), max_length=253, unique=True)
    customer = models.ForeignKey(Customer, models.PROTECT, verbose_name=gettext_lazy("customer"))
    plan = models.ForeignKey(Plan, models.PROTECT, verbose_name=gettext_lazy("plan"))
    server = models.ForeignKey(MailServer, models.PROTECT, verbose_name=gettext_lazy("mail server"))
    # NOT NULL and PROTECT: a domain has exactly one, and it cannot go while the domain stays.
    fixed_account = models.ForeignKey(
        "Account",
        models.PROTECT,
        related_name="fixed_for",
        verbose_name=gettext_lazy("fixed account"),
    )
    home = models.CharField(
        gettext_lazy("home directory"),
        max_length=253,
        help_text=gettext_lazy("A name below the mail server's directory of homes."),
    )
    certificate_until = models.DateTimeField(
        gettext_lazy("certificate valid until"), null=True, blank=True, editable=False
    )
    certificate_trouble = models.CharField(
        gettext_lazy("trouble with the certificate"), max_length=200, blank=True, editable=False
    )
    created_at = models.DateTimeField(gettext_lazy("created"), default=now, editable=False)

    objects = DomainQuerySet.as_manager()

    class Meta:
        verbose_name = gettext_lazy("domain")
        verbose_name_plural = gettext_lazy("domains")
        ordering = ["name"]
        constraints = [
            models.CheckConstraint(
                name="domain_name_form",
                condition=Q(name__regex=grammar.DOMAIN.pattern),
                violation_error_message=gettext_lazy("This is not a valid domain name."),
            ),
            models.CheckConstraint(
                name="domain_home_form",
                condition=Q(home__regex=grammar.DOMAIN.pattern),
                violation_error_message=gettext_lazy("Enter the name of a directory."),
            ),
            models.UniqueConstraint(name="home_once_per_server", fields=["server", "home"]),
        ]

    def __str__(self) -> str:
        return names.readable_domain(self.name)

    @property
    def label(self) -> str:
        """The first label, which names the fixed account."""
        return self.name.partition(".")[0]

    @property
    def fixed_address(self) -> str:
        """The address that the manual reserves (example@example.com)."""
        return f"{self.label}@{self.name}"

    @property
    def mail_host(self) -> str:
        """The server name to put into a mail program: the one that has a valid certificate."""
        if self.certificate_until and self.certificate_until > now():
            return self.name
        return self.server.name

    def record(self) -> HostedDomain:
        """Return what the mail server holds of this domain."""
        return HostedDomain(
            name=self.name, fixed_address=self.fixed_account_address(), home=self.home
        )

    def fixed_account_address(self) -> str:
        """The address of the mailbox behind the fixed address, here or in another domain."""
        fixed = Account.objects.select_related("domain").filter(pk=self.fixed_account_id).first()
        # While the domain is being opened its account is not there yet, and is its own.
        return fixed.address if fixed else self.fixed_address

    def propose(self, *, by: Any = None) -> None:
        """Tell the mail server about a new domain."""
        Change.objects.propose(self.server, before=None, after=self.record(), by=by)


class AccountQuerySet(models.QuerySet["Account"]):
    """Which accounts, and how one comes to be."""

    def visible_to(self, user: Any) -> AccountQuerySet:
        """Return the accounts of the domains that this login may look after."""
        if not user.is_authenticated:
            return self.none()
        return self.filter(domain__customer__user=user)

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
            domain=domain, server_id=domain.server_id, name=name, password_hash=password_hash
        )
        account.full_clean(validate_unique=False)
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


class Account(models.Model):
    """A POP account: a mailbox with its login name, unique on its server."""

    # Also names the mailbox's directory: a name taken again never shows old mail.
    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    domain = models.ForeignKey(
        Domain, models.PROTECT, related_name="accounts", verbose_name=gettext_lazy("domain")
    )
    server = models.ForeignKey(
        MailServer, models.PROTECT, verbose_name=gettext_lazy("mail server"), editable=False
    )
    name = models.CharField(gettext_lazy("account name"), max_length=63)
    password_hash = models.CharField(max_length=255, editable=False)
    quota_bytes = models.PositiveBigIntegerField(
        gettext_lazy("mailbox size (bytes)"),
        null=True,
        blank=True,
        help_text=gettext_lazy("Empty: as the plan has it."),
    )
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
        ]
        indexes = [
            models.Index(name="account_by_domain", fields=["domain", "name"]),
            models.Index(name="account_by_name", fields=["name"]),
        ]

    def __str__(self) -> str:
        return self.address

    @property
    def address(self) -> str:
        """The account's own address, as stored (ASCII)."""
        return f"{self.name}@{self.domain.name}"

    @property
    def key(self) -> str:
        """The key of this account's record."""
        return f"mailbox:{self.name}"

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
            quota_bytes=self.size,
        )

    def insert(self, *, by: Any = None, group: uuid.UUID | None = None) -> Account:
        """Save a new account and tell its server; the plan's limit and the name are judged here.

        Raises ValidationError when the plan is full or somebody has the name.
        """
        try:
            with transaction.atomic():
                self._find_room()
                self.save(force_insert=True)
                self.propose(before=None, by=by, group=group)
        except IntegrityError:
            # Somebody has it; the constraint says it in its own words, and to whom it belongs
            # stays unsaid. Looked at again because the winner's row can be seen only now.
            self.validate_constraints()
            raise
        return self

    def _find_room(self) -> None:
        """Raise ValidationError at the plan's limit; two requests cannot share the last place."""
        domain = Domain.objects.select_for_update().select_related("plan").get(pk=self.domain_id)
        used = domain.accounts.count()
        if used >= domain.plan.account_limit:
            raise ValidationError(
                _(
                    "%(used)d of %(limit)d accounts are in use. Delete one first, or ask us for "
                    "more."
                )
                % {"used": used, "limit": domain.plan.account_limit},
                code="full",
            )

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

    def resize(self, quota_bytes: int | None, *, by: Any = None) -> None:
        """Give the mailbox another size in bytes; None: as the plan has it."""
        with transaction.atomic():
            locked = self._locked()
            before = locked.record()
            locked.quota_bytes = quota_bytes
            locked.save(update_fields=["quota_bytes"])
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
                locked.delete()

    def refuse_if_leaving(self) -> None:
        """Raise ValidationError while the account is being deleted."""
        if Change.objects.open().removals().of(self.server_id, [self.key]).exists():
            raise ValidationError(
                _("This account is being deleted. Take the deletion back first."), code="leaving"
            )

    def _locked(self) -> Account:
        """Return this account as it is in the database, locked until the transaction ends."""
        return (
            Account.objects.select_for_update(of=("self",))
            .select_related("domain__plan", "server")
            .get(pk=self.pk)
        )


class DeletedAccount(models.Model):
    """An account that is gone from its server and waits in the trash for TRASH_DAYS."""

    id = models.UUIDField(primary_key=True, editable=False)
    domain = models.ForeignKey(
        Domain, models.CASCADE, related_name="deleted_accounts", verbose_name=gettext_lazy("domain")
    )
    server = models.ForeignKey(MailServer, models.PROTECT, verbose_name=gettext_lazy("mail server"))
    name = models.CharField(gettext_lazy("account name"), max_length=63)
    password_hash = models.CharField(max_length=255, editable=False)
    quota_bytes = models.PositiveBigIntegerField(null=True, blank=True, editable=False)
    deleted_at = models.DateTimeField(gettext_lazy("deleted"), default=now)

    class Meta:
        verbose_name = gettext_lazy("deleted account")
        verbose_name_plural = gettext_lazy("deleted accounts")
        ordering = ["-deleted_at"]
        indexes = [models.Index(name="deleted_account_age", fields=["deleted_at"])]

    def __str__(self) -> str:
        return f"{self.name}@{self.domain.name}"

    @property
    def kept_until(self) -> Any:
        """When the mail is removed for good."""
        return self.deleted_at + timedelta(days=settings.TRASH_DAYS)

    def restore(self, *, name: str = "", by: Any = None, group: uuid.UUID | None = None) -> Account:
        """Make the account exist again, with its mail, under its own name or another.

        Raises ValidationError: with the code NAME_TAKEN when the name has been taken since.
        """
        name = names.clean_mailbox_name(name or self.name)
        account = Account(
            pk=self.pk,
            domain=self.domain,
            server=self.server,
            name=name,
            password_hash=self.password_hash,
            quota_bytes=self.quota_bytes,
        )
        account.full_clean(validate_unique=False)
        with transaction.atomic():
            account.insert(by=by, group=group)
            self.delete()
        return account


def expired_deletions(server: MailServer) -> list[uuid.UUID]:
    """Return the ids of deleted mailboxes whose time in the trash is over."""
    limit = now() - timedelta(days=settings.TRASH_DAYS)
    return list(
        DeletedAccount.objects.filter(server=server, deleted_at__lt=limit).values_list(
            "pk", flat=True
        )
    )


def accounts_by_address(addresses: Iterable[str]) -> dict[str, Account]:
    """Return the accounts that have these addresses as their own."""
    wanted = set(addresses)
    local_parts = {address.partition("@")[0] for address in wanted}
    found = Account.objects.filter(name__in=local_parts).select_related("domain__plan")
    return {account.address: account for account in found if account.address in wanted}


def _taken_label(label: str, *, but: MailServer) -> str:
    """Say to the operator that a fixed account's name is taken, and where it is free."""
    taken = Account.objects.filter(name=label).values("server")
    free = MailServer.objects.filter(accepts_domains=True).exclude(pk__in=taken).exclude(pk=but.pk)
    servers = ", ".join(str(server) for server in free[:5])
    if not servers:
        return _(
            "The name %(label)s is taken on %(server)s by another customer, and no other server "
            "has it free."
        ) % {"label": label, "server": but}
    return _(
        "The name %(label)s is taken on %(server)s by another customer. It is free on: %(servers)s."
    ) % {"label": label, "server": but, "servers": servers}
