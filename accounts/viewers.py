"""Who looks at a page about an account: its domain's owner, or the user of that mailbox alone.

A mailbox's user has no row among the logins: `mailuser.sessions` knows him by his session and hangs
him on the request. What is known of him here is what pages and rules ask.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

from django.db import models
from django.http import HttpRequest
from django.urls import reverse
from django.utils.translation import gettext_lazy as _

from accounts.models import Account, Domain, User


class Right(models.TextChoices):
    """What the owner of a domain lets the users of its mailboxes do."""

    LOGIN = "login", _("log in to a page of his own")
    PASSWORD = "password", _("change the password")
    MAIL = "mail", _("look at the mail on the server")
    ARCHIVES = "archives", _("look into his archives, make one, and put mail back")
    DELETE = "remove", _("delete mail and archives")
    FORWARD = "forward", _("forward his mail")
    REPLY = "reply", _("set up an auto-reply")


class MailboxUserLike(Protocol):
    """Who is logged in as the user of one mailbox."""

    @property
    def account(self) -> Account:
        """The one account that is his, with its domain and server."""

    def get_username(self) -> str:
        """Return his name in trails: the mailbox's address."""

    def may(self, right: Right) -> bool:
        """Say whether the domain's owner lets him do it."""

    def password_changed(self, request: HttpRequest) -> None:
        """Let this session live on; all others of the mailbox end with the password."""

    def remember_language(self, language: str) -> None:
        """Keep the language for his next login."""


def mailbox_user(request: HttpRequest) -> MailboxUserLike | None:
    """Return the mailbox's user who is logged in here; None for everybody else."""
    return getattr(request, "mailbox_user", None) or None


def somebody(request: HttpRequest) -> bool:
    """Say whether anybody is logged in: a login of the panel, or a mailbox's user."""
    return request.user.is_authenticated or mailbox_user(request) is not None


@dataclass(frozen=True, slots=True)
class Viewer:
    """For whom a page is that owners and mailboxes' users both have.

    `by` asked for what it changes: a login, or a mailbox's user, who sees `domain` by his own
    account alone.
    """

    domain: Domain
    by: Any
    mailbox: MailboxUserLike | None = None

    @property
    def account(self) -> Account | None:
        """The only account that may be seen; None: every one of the domain."""
        return self.mailbox.account if self.mailbox else None

    @property
    def login(self) -> User | None:
        """The login behind it; a mailbox's user has none."""
        return None if self.mailbox else self.by

    @property
    def base(self) -> str:
        """The template that his pages extend."""
        return "mailuser/base.html" if self.mailbox else "base_domain.html"

    def may(self, right: Right) -> bool:
        """Say whether he may do it; owners may do everything."""
        return self.mailbox is None or self.mailbox.may(right)

    def url(self, page: str, *args: Any) -> str:
        """Return the address of his page of this name.

        `args` are those of the owner's page after the domain. The mailbox's user has the page
        under a name of its own, in whose address his account need not stand.
        """
        if self.mailbox is None:
            return reverse(page, args=[self.domain.name, *args])
        own = self.mailbox.account.pk
        return reverse(f"mailbox_{page}", args=[arg for arg in args if arg != own])
