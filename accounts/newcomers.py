"""A new mail server learns the plans, before any domain is opened on it."""

from typing import Any

from django.db import transaction
from django.db.models.signals import post_save
from django.dispatch import receiver

from accounts.models import Plan
from propagation.models import MailServer


@receiver(post_save, sender=MailServer)
def tell_plans(instance: MailServer, *, created: bool, **_options: Any) -> None:
    """Tell a new mail server every plan.

    A signal, since servers are added in admin, by a command and by the demo, and
    `propagation` knows no plans.
    """
    if created:
        with transaction.atomic():
            for plan in Plan.objects.all():
                plan.propose(instance)
