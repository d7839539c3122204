"""What this app tells the mail servers, and what it does once they have confirmed it."""

import uuid
from collections.abc import Iterator, Sequence
from typing import Any

from django.core.exceptions import ValidationError
from django.db.models import QuerySet
from django.utils.translation import gettext as _

from accounts.models import Account, DeletedAccount, Domain, Plan, limits_in
from accounts.names import readable_domain
from accounts.roles import switched
from mailhost.records import HostedDomain, Mailbox, PlanLimits
from propagation.models import Change, MailServer, parts


class PlanSource:
    """Plans, which every mail server holds."""

    kind = "plan"

    def records(self, server: MailServer) -> Iterator[PlanLimits]:
        """Yield a record per plan."""
        for plan in Plan.objects.order_by("code"):
            yield plan.record()

    def record(self, server: MailServer, key: str) -> PlanLimits | None:
        """Return the record of one plan."""
        plan = Plan.objects.filter(code=key.partition(":")[2]).first()
        return plan.record() if plan else None

    def restore(self, change: Change) -> None:
        """Bring back the limits, everywhere or nowhere. That a plan exists is not taken back."""
        was = change.was()
        if Change.objects.beyond_recall(change).exists():
            raise ValidationError(
                _("Another mail server has it already. Edit the plan instead."), code="plan"
            )
        plan = Plan.objects.filter(code=_name(change)).first()
        if not isinstance(was, PlanLimits) or plan is None:
            raise ValidationError(
                _("A plan is added and deleted in its list, not taken back."), code="plan"
            )
        plan.restore(was)

    def check(self, change: Change) -> None:
        """Nothing is left to judge: a plan may always stay as it is."""

    def applied(self, changes: Sequence[Change]) -> None:
        """Nothing is left to do for a plan."""

    def describe(self, change: Change) -> str:
        """Say what happens to the plan."""
        plan = Plan.objects.filter(code=_name(change)).first()
        name = {"name": str(plan or _name(change))}
        if change.creates:
            return _("Add the plan %(name)s") % name
        if change.removes:
            return _("Delete the plan %(name)s") % name
        return _("Change the limits of the plan %(name)s") % name


class DomainSource:
    """Hosted domains."""

    kind = "domain"

    def records(self, server: MailServer) -> Iterator[HostedDomain]:
        """Yield a record per domain of this server."""
        domains = Domain.objects.filter(server=server).select_related(
            "fixed_account__domain", "plan"
        )
        for domain in domains.iterator(chunk_size=2000):
            yield domain.record_with(domain.fixed_account.address)

    def record(self, server: MailServer, key: str) -> HostedDomain | None:
        """Return the record of one domain."""
        domain = _domain(key).filter(server=server).first()
        return domain.record() if domain else None

    def restore(self, change: Change) -> None:
        """Bring back the plan. A domain is opened by the operator, which is not taken back."""
        was = change.was()
        if not isinstance(was, HostedDomain):
            raise ValidationError(_("The opening of a domain cannot be taken back."), code="domain")
        for plan in Plan.objects.filter(code=was.plan):
            _domain(change.key).update(plan=plan)

    def check(self, change: Change) -> None:
        """Nothing is left to judge: a domain may always stay on its plan."""

    def applied(self, changes: Sequence[Change]) -> None:
        """Nothing is left to do for a domain."""

    def describe(self, change: Change) -> str:
        """Say what happens to the domain."""
        name = {"name": readable_domain(_name(change))}
        if change.removes:
            return _("Close the domain %(name)s") % name
        if change.creates:
            return _("Open the domain %(name)s") % name
        return _("Change the plan of the domain %(name)s") % name


class MailboxSource:
    """POP accounts."""

    kind = "mailbox"

    def records(self, server: MailServer) -> Iterator[Mailbox]:
        """Yield a record per account of this server, without those that are being deleted."""
        gone = Change.objects.leaving(server)
        accounts = Account.objects.filter(server=server).select_related("domain__plan")
        for account in accounts.iterator(chunk_size=2000):
            if account.key not in gone:
                yield account.record()

    def record(self, server: MailServer, key: str) -> Mailbox | None:
        """Return the record of one account."""
        if key in Change.objects.leaving(server, [key]):
            return None
        accounts = Account.objects.filter(server=server, name=key.partition(":")[2])
        account = accounts.select_related("domain__plan").first()
        return account.record() if account else None

    def restore(self, change: Change) -> None:
        """Undo what never reached the server: a new account, password or size, or a deletion."""
        was = change.was()
        accounts = Account.objects.filter(server=change.server_id, name=_name(change))
        if was is None:
            if accounts.filter(fixed_for__isnull=False).exists():
                raise ValidationError(
                    _("This account is fixed for the administration of the service."),
                    code="fixed",
                )
            for account in accounts:
                account.forget()
        elif isinstance(was, Mailbox):
            switches = {name: getattr(was, name) for name in Account.SWITCHES}
            accounts.update(password_hash=was.password_hash, **switches, **limits_in(was))

    def check(self, change: Change) -> None:
        """Nothing is left to judge: an account may always stay as it is."""

    def applied(self, changes: Sequence[Change]) -> None:
        """Move the accounts whose mailboxes are gone into the panel's list of deleted ones.

        An account that is back from there leaves that list.
        """
        back = [_mailbox_id(change.after) for change in changes if change.creates]
        for ids in parts(back):
            DeletedAccount.objects.filter(pk__in=ids).delete()
        for ids in parts([_mailbox_id(change.before) for change in changes if change.removes]):
            self._lay_in_trash(ids)

    def _lay_in_trash(self, mailbox_ids: list[uuid.UUID]) -> None:
        accounts = Account.objects.filter(pk__in=mailbox_ids)
        DeletedAccount.objects.filter(pk__in=mailbox_ids).delete()
        DeletedAccount.objects.bulk_create(
            DeletedAccount(
                id=account.pk,
                domain_id=account.domain_id,
                server_id=account.server_id,
                name=account.name,
                password_hash=account.password_hash,
                **account.switches(),
                **account.own_limits(),
            )
            for account in accounts
        )
        accounts.delete()

    def describe(self, change: Change) -> str:
        """Say what happens to the account."""
        name = {"name": _name(change)}
        if change.creates:
            return _("Add the account %(name)s") % name
        if change.removes:
            return _("Delete the account %(name)s") % name
        if change.renews_password:
            return _("Change the password of %(name)s") % name
        return _switching(switched(change), name) or _("Change the account %(name)s") % name


def _switching(switches: dict[str, bool], name: dict[str, str]) -> str:
    """Say what is switched, "" where it is nothing, or more than one thing."""
    if len(switches) != 1:
        return ""
    [(switch, on)] = switches.items()
    words = _("Switch on %(what)s for %(name)s") if on else _("Switch off %(what)s for %(name)s")
    return words % {"what": Account.SWITCHES[switch], **name}


def _mailbox_id(value: dict[str, Any] | None) -> uuid.UUID:
    """Return the account's id, which its record carries: a name may be another's by now."""
    return uuid.UUID(hex=(value or {}).get("mailbox_id", "0" * 32))


def _name(change: Change) -> str:
    return change.key.partition(":")[2]


def _domain(key: str) -> QuerySet[Domain]:
    return Domain.objects.filter(name=key.partition(":")[2])


plans = PlanSource()
domains = DomainSource()
mailboxes = MailboxSource()
