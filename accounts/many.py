"""Many accounts of one domain, added and changed together: the rules of one, a few queries for all.

Each edit is judged as if those before it were done; `save` then writes all that were accepted.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from django.core.exceptions import ValidationError

from accounts import names_elsewhere
from accounts.models import NAME_TAKEN, NAME_TAKEN_WORDS, Account, Domain, mailbox_key
from accounts.models.accounts import refuse_if_full, refuse_leaving
from mailhost.records import Mailbox
from propagation.models import Change, Proposal, parts


class ManyAccounts:
    """Edits of accounts. To be saved, it is made and saved under one_at_a_time()."""

    def __init__(self, domain: Domain, names: Collection[str]) -> None:
        """Take the domain, and every name that there will be an edit of."""
        self._domain = domain
        self._used = domain.accounts.count()
        self._own: dict[str, Account] = {}
        self._taken: set[str] = set()
        for some in parts(list(names)):
            for account in Account.objects.filter(server=domain.server_id, name__in=some):
                self._taken.add(account.name)
                if account.domain_id == domain.pk:
                    account.domain = domain
                    self._own[account.name] = account
        self._elsewhere = names_elsewhere.among(domain, names)
        keys = [mailbox_key(name) for name in self._own]
        self._leaving = Change.objects.leaving(domain.server, keys)
        self._new: list[Account] = []
        self._edited: list[tuple[Account, Mailbox]] = []

    def get(self, name: str) -> Account | None:
        """Return the domain's account of this name, as the edits so far have left it."""
        return self._own.get(name)

    def add(self, name: str, *, password_hash: str, **switches: bool) -> None:
        """Add an account; ValidationError says why not. The name and the password were judged."""
        refuse_if_full(self._domain, self._used)
        if name in self._elsewhere:
            names_elsewhere.refuse_taken(self._domain, name)
        if name in self._taken:
            raise ValidationError(NAME_TAKEN_WORDS, code=NAME_TAKEN)
        account = Account(
            domain=self._domain,
            server=self._domain.server,
            name=name,
            password_hash=password_hash,
            **switches,
        )
        self._new.append(account)
        self._own[name] = account
        self._taken.add(name)
        self._used += 1

    def change(self, name: str, **values: Any) -> None:
        """Give an account another `password_hash`, or switches; ValidationError says why not."""
        account = self._own[name]
        if account.key in self._leaving:
            refuse_leaving()
        before = account.record()
        for field, value in values.items():
            setattr(account, field, value)
        self._edited.append((account, before))

    def save(self, *, by: Any = None) -> None:
        """Write all that was accepted, and tell the server."""
        domain = self._domain
        needs = [(domain.server_id, f"domain:{domain.name}")]
        Account.objects.bulk_create(self._new, batch_size=500)
        edited = [account for account, _before in self._edited]
        Account.objects.bulk_update(edited, ["password_hash", *Account.SWITCHES], batch_size=500)
        proposals = [Proposal(None, account.record(), needs) for account in self._new]
        proposals += [Proposal(was, account.record(), needs) for account, was in self._edited]
        Change.objects.propose_many(domain.server, proposals, by=by)
