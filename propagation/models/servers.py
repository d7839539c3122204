"""The mail servers, and the lock under which changes for them are made and moved."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

from django.conf import settings
from django.db import connection, models
from django.db.models import Q
from django.utils.timezone import now
from django.utils.translation import gettext_lazy as _

from mailhost import grammar
from mailhost.host import Host


class NotHere(Exception):
    """This machine does not hold the mail server's directory."""


class MailServer(models.Model):
    """One machine with Postfix and Dovecot; its worker listens to a queue of its own."""

    name = models.CharField(_("host name"), max_length=253, unique=True)
    accepts_domains = models.BooleanField(_("accepts new domains"), default=True)
    seen_at = models.DateTimeField(_("last answered"), null=True, blank=True, editable=False)
    trouble = models.CharField(_("trouble"), max_length=500, blank=True, editable=False)

    class Meta:
        verbose_name = _("mail server")
        verbose_name_plural = _("mail servers")
        ordering = ["name"]
        constraints = [
            models.CheckConstraint(
                name="mail_server_name_form",
                condition=Q(name__regex=r"\A[a-z0-9](?:[a-z0-9.-]*[a-z0-9])?\Z"),
                violation_error_message=_("Enter a host name in lower-case letters."),
            )
        ]

    def __str__(self) -> str:
        return self.name

    @property
    def queue(self) -> str:
        """The Celery queue that only this server's worker consumes."""
        return f"server.{self.name}"

    def host(self) -> Host:
        """This server's directory on this machine; NotHere when another machine has it."""
        # The name becomes a path, read by root: judged again, whatever the database holds.
        if not grammar.DOMAIN.match(self.name):
            raise NotHere(f"{self.name!a} is not a host name")
        root = Path(settings.MAILHOST_ROOT) / self.name
        if not settings.MAILHOST_ROOT or not (root / "host.json").exists():
            raise NotHere(f"{self.name} does not run on this machine (MAILHOST_ROOT)")
        return Host(root)

    def answers(self) -> bool:
        """Whether its worker reported a working server in the last five minutes."""
        if self.seen_at is None or self.trouble:
            return False
        return now() - self.seen_at < timedelta(minutes=5)


def one_at_a_time() -> None:
    """Let this transaction be the only one that edits or moves changes, until its commit.

    Every edit, cancellation, claim and settlement begins with it, before anything else is
    locked: none sees another half done, and no two wait for each other. On SQLite the
    transaction itself is such a lock (settings: IMMEDIATE).
    """
    if not connection.features.has_select_for_update:
        return
    servers = MailServer.objects.select_for_update(no_key=True).order_by("pk")
    list(servers.values_list("pk"))
