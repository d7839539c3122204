"""Logins to the panel, as Django tells of them. Passwords: accounts.models.User.save()."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.contrib.auth import get_user_model
from django.contrib.auth.signals import user_logged_in, user_login_failed
from django.db import transaction
from django.dispatch import receiver
from django.http import HttpRequest
from django.utils.timezone import now

from history.acting import acting, address_of, of_login
from history.models import Entry


@receiver(user_logged_in)
def note_login(request: HttpRequest, user: Any, **_more: Any) -> None:
    """Write a login down."""
    actor = of_login(user, address_of(request))
    with transaction.atomic(), acting(actor):
        Entry.objects.note("login.in", subject=user.get_username(), login_id=user.pk)


@receiver(user_login_failed)
def note_refused(
    credentials: dict[str, Any], request: HttpRequest | None = None, **_more: Any
) -> None:
    """Write down that somebody was refused for a login that exists.

    One in a minute from each address, so that guessing does not fill the history. For an
    unknown name the same is done and undone, so that the time tells nothing of which exist.
    """
    if request is None:
        return
    name = str(credentials.get("username", ""))[:150]
    user = get_user_model()._default_manager.filter(username=name).only("pk").first()
    login_id = user.pk if user else 0
    lately = Entry.objects.of_login(login_id).filter(
        what="refused", address=address_of(request), at__gte=now() - timedelta(minutes=1)
    )
    with transaction.atomic():
        if not lately.exists():
            Entry.objects.note("login.refused", subject=name, login_id=login_id)
        if user is None:
            transaction.set_rollback(True)
