"""Logins to the panel, as Django tells of them. Passwords: accounts.models.User.save()."""

from __future__ import annotations

from typing import Any

from django.contrib.auth import get_user_model
from django.contrib.auth.signals import user_logged_in, user_login_failed
from django.db import transaction
from django.dispatch import receiver
from django.http import HttpRequest

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
    credentials: dict[str, Any], request: HttpRequest | None = None, **_m: Any
) -> None:
    """Write down a wrong password for a login that exists."""
    name = str(credentials.get("username", ""))[:150]
    user = get_user_model()._default_manager.filter(username=name).only("pk").first()
    if user is not None and request is not None:
        with transaction.atomic():
            Entry.objects.note("login.refused", subject=name, login_id=user.pk)
