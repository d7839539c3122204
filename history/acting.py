"""Whose hands are at work: of this request, of this task, or at a terminal.

A middleware says it for requests. Outside of them it is whoever an edit names, else the service
itself in a Celery task, and the operator at a command line.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

from celery import current_app
from django.conf import settings
from django.db import models
from django.http import HttpRequest, HttpResponse
from django.utils.module_loading import import_string
from django.utils.translation import gettext_lazy as _


class Hand(models.TextChoices):
    """Whose hand it was."""

    CUSTOMER = "customer", _("Customer")
    MAILBOX = "mailbox", _("Mailbox user")
    OPERATOR = "operator", _("Operator")
    SERVICE = "service", _("Automatic")
    VISITOR = "visitor", _("Visitor")


@dataclass(frozen=True, slots=True)
class Actor:
    """Who acts. `name` is the login, or the mailbox's address; nobody of ours is named."""

    hand: Hand
    name: str = ""
    address: str | None = None


_present: ContextVar[Callable[[], Actor] | None] = ContextVar("history_actor", default=None)


def present(by: Any = None) -> Actor:
    """Return who acts; `by` is the login that an edit names, for where no request tells."""
    if known := _present.get():
        return known()
    if by is not None:
        return of_login(by)
    return Actor(Hand.SERVICE if current_app.current_task else Hand.OPERATOR)


@contextmanager
def acting(actor: Actor) -> Iterator[None]:
    """Let `actor` be who acts within the block."""
    token = _present.set(lambda: actor)
    try:
        yield
    finally:
        _present.reset(token)


def of_login(user: Any, address: str | None = None) -> Actor:
    """Return who is behind a login: the operator's people without their names."""
    if user.is_staff:
        return Actor(Hand.OPERATOR)
    return Actor(Hand.CUSTOMER, user.get_username(), address)


class ActorMiddleware:
    """Know who acts while a request is answered; asked for only where something is noted."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        """Take what answers the request."""
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        """Answer it."""
        token = _present.set(lambda: of_request(request))
        try:
            return self.get_response(request)
        finally:
            _present.reset(token)


def of_request(request: HttpRequest) -> Actor:
    """Return who sent a request."""
    address = address_of(request)
    if request.user.is_authenticated:
        return of_login(request.user, address)
    # Of the app above: the user of one mailbox has no login's row.
    if user := getattr(request, "mailbox_user", None):
        return Actor(Hand.MAILBOX, user.get_username(), address)
    return Actor(Hand.VISITOR, address=address)


def address_of(request: HttpRequest) -> str | None:
    """Return the Internet address that a request came from, as the panel knows it."""
    return import_string(settings.AXES_CLIENT_IP_CALLABLE)(request) or None
