"""Mailboxes' users, logged in as the login does it."""

from __future__ import annotations

from django.conf import settings
from django.test import Client, RequestFactory

from accounts.models import Account
from mailuser import sessions
from tests.conftest import browser

HOME = "/mailbox/"


def as_user(account: Account, language: str = "en") -> Client:
    """Return a browser in which the account's user is logged in."""
    client = browser(language)
    request = RequestFactory().get("/")
    request.session = client.session
    sessions.log_in(request, sessions.MailboxUser(account))
    request.session.save()
    client.cookies[settings.SESSION_COOKIE_NAME] = str(request.session.session_key)
    return client
