"""Hosted domains, each with its fixed account."""

from __future__ import annotations

from typing import Any

from django.core.exceptions import ValidationError
from django.db import models, transaction
from django.db.models import F, Q
from django.utils.timezone import now
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from accounts import names, passwords
from accounts.models.accounts import NAME_TAKEN, Account
from accounts.models.customers import Customer, Plan
from history.models import Entry
from mailhost import grammar
from mailhost.records import HostedDomain
from propagation.models import Change, MailServer, one_at_a_time

# What may stand before a domain's name in the address of a request: that of its web pages, where
# the manual's old address may lead, and those where Thunderbird and Outlook look for settings.
HOST_PREFIXES = ("www.", "autoconfig.", "autodiscover.")


class DomainQuerySet(models.QuerySet["Domain"]):
    """Which domains, and how one comes to be."""

    def visible_to(self, user: Any) -> DomainQuerySet:
        """Return the domains that this login may look after: the customer's own."""
        if not user.is_authenticated:
            return self.none()
        return self.of_login(user.pk)

    def of_login(self, user_id: int) -> DomainQuerySet:
        """Return the domains of the customer whose login this is."""
        return self.filter(customer__user=user_id)

    def at_host(self, host: str) -> Domain | None:
        """Return the domain at whose own name, or at one before it, a request came in."""
        names = [host, *(host.removeprefix(first) for first in HOST_PREFIXES)]
        found = self.filter(name__in=set(names)).for_settings()
        # Where both autoconfig.example.com and example.com are hosted, the name in full.
        return max(found, key=lambda domain: len(domain.name), default=None)

    def for_settings(self) -> DomainQuerySet:
        """Fetch what says which server a mail program is to be told, and nothing else."""
        wanted = "name", "certificate_until", "server", "server__name"
        return self.select_related("server").only(*wanted)

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
        if password:
            passwords.check(password, name=domain.label)
        hashed = passwords.make_hash(password) if password else passwords.unusable_hash()
        with transaction.atomic():
            one_at_a_time()
            held = domain.take_label()
            account = held or Account(
                domain=domain, server=server, name=domain.label, password_hash=hashed, is_fixed=True
            )
            domain.fixed_account_id = account.pk
            domain.full_clean(exclude=["fixed_account"])
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
    extra_accounts = models.PositiveIntegerField(
        gettext_lazy("POP accounts beyond the plan's"), default=0, db_default=0
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
            models.UniqueConstraint(
                name="home_once_per_server",
                fields=["server", "home"],
                violation_error_message=gettext_lazy("Another domain has this home directory."),
            ),
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

    @property
    def account_limit(self) -> int:
        """How many POP accounts it may have: the plan's, and those added as an option."""
        return self.plan.account_limit + self.extra_accounts

    def clean(self) -> None:
        """Refuse a server that takes no domains, and a server's own name as a domain."""
        if self._state.adding and not self.server.accepts_domains:
            raise ValidationError(
                _("%(server)s accepts no new domains.") % {"server": self.server}, code="closed"
            )
        if MailServer.objects.filter(name=self.name).exists():
            raise ValidationError(_("This is the name of a mail server."), code="own_name")

    def take_label(self) -> Account | None:
        """Return the customer's own account that already has the label's name, if any.

        Raises ValidationError, in words for the operator, when another customer has it,
        and when the customer's own account of that name is being deleted.
        """
        held = Account.objects.filter(server=self.server, name=self.label).first()
        if held is None:
            return None
        if held.domain.customer_id != self.customer_id:
            raise ValidationError(_taken_label(self.label, but=self.server), code=NAME_TAKEN)
        held.refuse_if_leaving()
        return held

    def record(self) -> HostedDomain:
        """Return what the mail server holds of this domain."""
        return self.record_with(self.fixed_account_address())

    def record_with(self, fixed_address: str) -> HostedDomain:
        """Return what the mail server holds, the fixed account's address being known."""
        return HostedDomain(
            name=self.name,
            fixed_address=fixed_address,
            home=self.home,
            owner=str(self.customer_id),
            plan=self.plan.code,
        )

    def fixed_account_address(self) -> str:
        """The address of the mailbox behind the fixed address, here or in another domain."""
        fixed = Account.objects.select_related("domain").filter(pk=self.fixed_account_id).first()
        # While the domain is being opened its account is not there yet, and is its own.
        return fixed.address if fixed else self.fixed_address

    def change_plan(self, plan: Plan, *, by: Any = None) -> None:
        """Give the domain another plan; its accounts follow, and the server hears of it.

        Accounts past the new limit stay, and no more can be added. Raises
        ValidationError if the domain is gone.
        """
        with transaction.atomic():
            one_at_a_time()
            found = Domain.objects.select_related("plan", "server").filter(pk=self.pk).first()
            if found is None:
                raise ValidationError(_("This domain no longer exists."), code="gone")
            was = found.record()
            Domain.objects.filter(pk=found.pk).update(plan=plan)
            found.plan = plan
            if found.record() != was:
                found.propose(before=was, by=by)
        self.plan = plan

    def add_accounts(self, count: int) -> None:
        """Allow so many POP accounts more; the operator's word alone, and at once.

        No mail server counts accounts. Raises ValidationError if the domain is gone.
        """
        more = F("extra_accounts") + count
        if not Domain.objects.filter(pk=self.pk).update(extra_accounts=more):
            raise ValidationError(_("This domain no longer exists."), code="gone")
        self.refresh_from_db(fields=["extra_accounts"])

    def set_extra_accounts(self, count: int, *, by: Any = None) -> None:
        """Allow so many POP accounts beyond the plan's from now on; told in the history.

        Raises ValidationError if the domain is gone.
        """
        with transaction.atomic():
            one_at_a_time()
            # Not of this object, which a form may have changed already.
            found = Domain.objects.select_related("plan").filter(pk=self.pk).first()
            if found is None:
                raise ValidationError(_("This domain no longer exists."), code="gone")
            was = found.account_limit
            found.add_accounts(count - found.extra_accounts)
            limits = {"accounts": [was, found.account_limit]}
            Entry.objects.note(
                "domain.limit", subject=self.name, domain=self.name, values=limits, by=by
            )

    def propose(self, *, before: HostedDomain | None = None, by: Any = None) -> None:
        """Tell the mail server about the domain as it is now."""
        Change.objects.propose(self.server, before=before, after=self.record(), by=by)


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
