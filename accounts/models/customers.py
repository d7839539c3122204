"""Who owns what: logins, customers, and the plans they have bought."""

from __future__ import annotations

from django.conf import settings
from django.contrib.auth.models import AbstractUser
from django.db import models
from django.db.models import Q
from django.utils.translation import get_language, gettext_lazy

MEGABYTE = 1024 * 1024


class User(AbstractUser):
    """A login of the panel: an operator (staff) or a customer's."""

    language = models.CharField(
        gettext_lazy("language"), max_length=5, choices=settings.LANGUAGES, blank=True
    )

    class Meta:
        verbose_name = gettext_lazy("login")
        verbose_name_plural = gettext_lazy("logins")


class Plan(models.Model):
    """What a domain's owner has bought (コース); every limit of the manual's section 5."""

    code = models.SlugField(gettext_lazy("code"), unique=True)
    name_ja = models.CharField(gettext_lazy("name (Japanese)"), max_length=60)
    name_en = models.CharField(gettext_lazy("name (English)"), max_length=60)
    account_limit = models.PositiveIntegerField(gettext_lazy("POP accounts"))
    self_service = models.BooleanField(
        gettext_lazy("customer may add and delete accounts"), default=True
    )
    mailbox_bytes = models.PositiveBigIntegerField(
        gettext_lazy("mailbox size (bytes)"), default=10 * MEGABYTE
    )
    message_bytes = models.PositiveBigIntegerField(
        gettext_lazy("message size (bytes)"), default=3 * MEGABYTE
    )
    recipients_per_message = models.PositiveIntegerField(
        gettext_lazy("recipients per message"), default=100
    )
    recipients_per_day = models.PositiveIntegerField(
        gettext_lazy("recipients per day"), default=1000
    )
    list_message_bytes = models.PositiveBigIntegerField(
        gettext_lazy("size of a message to a mailing list (bytes)"), default=75 * 1024
    )
    is_sample = models.BooleanField(gettext_lazy("sample for the demo"), default=False)

    class Meta:
        verbose_name = gettext_lazy("plan")
        verbose_name_plural = gettext_lazy("plans")
        ordering = ["name_en"]
        constraints = [
            models.CheckConstraint(
                name="plan_limits_are_limits",
                condition=Q(
                    account_limit__gte=1,
                    mailbox_bytes__gte=1,
                    message_bytes__gte=1,
                    recipients_per_message__gte=1,
                    recipients_per_day__gte=1,
                    list_message_bytes__gte=1,
                ),
                violation_error_message=gettext_lazy("Every limit is at least 1."),
            )
        ]

    def __str__(self) -> str:
        return self.name_ja if get_language() == "ja" else self.name_en


class Customer(models.Model):
    """Who owns domains and logs in to look after them."""

    user = models.OneToOneField(User, models.PROTECT, verbose_name=gettext_lazy("login"))
    name = models.CharField(gettext_lazy("name"), max_length=100)

    class Meta:
        verbose_name = gettext_lazy("customer")
        verbose_name_plural = gettext_lazy("customers")
        ordering = ["name"]

    def __str__(self) -> str:
        return self.name
