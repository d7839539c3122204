"""That a domain has webmail (manual, section 4-1). A row lives until its server has removed it."""

from __future__ import annotations

from typing import Any

from django.db import models, transaction
from django.utils.timezone import now
from django.utils.translation import gettext_lazy as _

from accounts.models import Domain
from mailhost import records
from propagation.models import Change, one_at_a_time


def key_of(domain: Domain) -> str:
    """Return the key of the record of a domain's webmail."""
    return f"webmail:{domain.name}"


class WebmailQuerySet(models.QuerySet["Webmail"]):
    """Which domains have it, and how it comes and goes."""

    def install(self, domain: Domain, *, by: Any = None) -> None:
        """Let the domain have webmail once the change is due; one that is leaving stays."""
        with transaction.atomic():
            one_at_a_time()
            webmail, made = self.get_or_create(domain=domain)
            Change.objects.propose(
                domain.server,
                before=None if made else webmail.record(),
                after=webmail.record(),
                by=by,
                needs=[(domain.server_id, f"domain:{domain.name}")],
            )

    def remove(self, domain: Domain, *, by: Any = None) -> None:
        """Take webmail from the domain once the change is due; the row goes when it is gone.

        One that the server has never seen goes at once.
        """
        with transaction.atomic():
            one_at_a_time()
            webmail = self.filter(domain=domain).first()
            if webmail is None or webmail.is_leaving():
                return
            change = Change.objects.propose(
                domain.server, before=webmail.record(), after=None, by=by
            )
            if change is None:
                webmail.delete()


class Webmail(models.Model):
    """A domain's webmail, wanted or still to be removed."""

    domain = models.OneToOneField(
        Domain,
        models.PROTECT,
        primary_key=True,
        related_name="webmail",
        verbose_name=_("domain"),
    )
    created_at = models.DateTimeField(_("created"), default=now, editable=False)

    objects = WebmailQuerySet.as_manager()

    class Meta:
        verbose_name = _("webmail")
        verbose_name_plural = _("webmail")
        ordering = ["domain__name"]

    def __str__(self) -> str:
        return str(self.domain)

    @property
    def key(self) -> str:
        """The key of the record."""
        return key_of(self.domain)

    def record(self) -> records.Webmail:
        """Return what the mail server holds."""
        return records.Webmail(self.domain.name)

    def is_leaving(self) -> bool:
        """Whether it is being removed."""
        return self.key in Change.objects.leaving(self.domain.server, [self.key])
