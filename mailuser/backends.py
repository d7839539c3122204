"""The login of a mailbox's user: by his address, or by the account's name where that is his alone.

A wrong password, an unknown name and one that several have take the same time and get the same
words: each try verifies the same number of hashes, beside the one that a login's own takes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.contrib.auth.backends import BaseBackend
from django.http import HttpRequest

from accounts import passwords
from accounts.models import Account, User
from accounts.names import possible_name, stored_domain
from mailhost import grammar
from mailuser.sessions import MailboxUser

#: Hashes verified at each try: accounts of one name, on as many servers, are told apart.
TRIED = 3
LOGIN_VIEW = "login"


class MailboxBackend(BaseBackend):
    """Knows mailboxes' users, at the panel's one login form and nowhere else."""

    def authenticate(  # type: ignore[override]
        self,
        request: HttpRequest | None,
        username: str | None = None,
        password: str | None = None,
        **_kwargs: Any,
    ) -> MailboxUser | None:
        """Return the mailbox's user whose password this is.

        He is not `alone` where more than one account, or a login too, has the name he typed.
        """
        match = request.resolver_match if request else None
        if match is None or match.view_name != LOGIN_VIEW or not username or password is None:
            return None
        accounts = accounts_named(username)
        alone = len(accounts) == 1 and not User.objects.filter(username=username).exists()
        hashes = [account.password_hash for account in accounts]
        # A list: all are verified, also after one that fits.
        fits = [passwords.verify_evenly(password, one) for one in [*hashes, *[""] * TRIED][:TRIED]]
        right = [account for account, fit in zip(accounts, fits, strict=False) if fit]
        return MailboxUser(right[0], alone=alone or "@" in username) if right else None


def accounts_named(text: str) -> list[Account]:
    """Return the accounts that a login name means: of an address one, of a name any number."""
    local_part, at, domain = _parts(text)
    name = possible_name(local_part)
    found = Account.objects.filter(name=name).select_related("domain__plan", "server")
    if not name:
        return []
    if at:
        found = found.filter(domain__name=domain) if grammar.DOMAIN.match(domain) else found.none()
    return list(found.order_by("pk")[: TRIED + 1])


def throttled_name(request: HttpRequest, credentials: Mapping[str, Any] | None) -> str | None:
    """Return the name by which axes counts: as typed, for all ways of writing the same.

    A name and the address it may stand for count apart: counted together they would tell that
    the address exists, and counted without the domain somebody else's right password would
    begin another's count anew.
    """
    given = (credentials or request.POST).get("username")
    return "".join(_parts(str(given)[:500]))[:255] if given else None


def _parts(text: str) -> tuple[str, str, str]:
    """Return what stands before the @, the @ if there is one, and the domain as stored."""
    before, at, after = text.strip().rpartition("@")
    return (before.lower(), at, stored_domain(after)) if at else (after.lower(), "", "")
