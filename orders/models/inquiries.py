"""What customers write to the operator by “Contact us”: a row first, and mail afterwards.

The manual (section 1, point 2) wants such mail to come from the domain's fixed address, by which
the operator knows whose it is. A customer may name another of his addresses; that is on record.
"""

from __future__ import annotations

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.utils.timezone import now
from django.utils.translation import gettext_lazy

from accounts.models import Domain
from mailhost import grammar

LONGEST_SUBJECT = 100
LONGEST_TEXT = 10_000


class Inquiry(models.Model):
    """One message to the operator."""

    domain = models.ForeignKey(
        Domain, models.PROTECT, related_name="inquiries", verbose_name=gettext_lazy("domain")
    )
    sender = models.CharField(gettext_lazy("from"), max_length=254)
    from_fixed = models.BooleanField(gettext_lazy("from the fixed address"))
    subject = models.CharField(gettext_lazy("subject"), max_length=LONGEST_SUBJECT)
    text = models.TextField(gettext_lazy("message"), max_length=LONGEST_TEXT)
    written_at = models.DateTimeField(gettext_lazy("written"), default=now)
    written_by = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        models.SET_NULL,
        null=True,
        related_name="+",
        verbose_name=gettext_lazy("login"),
    )
    # Set just before it goes out, and taken back where that fails.
    mailed_at = models.DateTimeField(gettext_lazy("mailed"), null=True, blank=True)

    class Meta:
        verbose_name = gettext_lazy("message to us")
        verbose_name_plural = gettext_lazy("messages to us")
        ordering = ["-written_at", "-pk"]
        constraints = [
            models.CheckConstraint(
                name="inquiry_subject_is_one_line",
                condition=Q(subject__regex=r"\A[^\x01-\x1f\x7f]{1,100}\Z"),
            ),
            models.CheckConstraint(
                name="inquiry_sender_is_one_address",
                condition=Q(sender__regex=grammar.DESTINATION.pattern),
            ),
        ]
        indexes = [
            models.Index(name="inquiry_by_domain", fields=["domain", "written_at"]),
            models.Index(name="inquiry_unmailed", fields=["mailed_at", "written_at"]),
        ]

    def __str__(self) -> str:
        return self.subject
