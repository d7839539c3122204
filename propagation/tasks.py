"""Celery's doors to the functions of this app. Each may run twice, late, or beside itself."""

from celery import shared_task
from django.conf import settings

from propagation import health
from propagation.apply import apply_due
from propagation.models import Change, MailServer


@shared_task
def sweep() -> None:
    """Send one `apply_changes` to each server that has something due.

    The database is the truth: a lost message is sent again by the next sweep.
    """
    for server in MailServer.objects.filter(pk__in=Change.objects.awaited()):
        # A server that is down does not gather messages: the next sweep sends another.
        apply_changes.apply_async(
            args=(server.pk,), queue=server.queue, expires=settings.SWEEP_SECONDS
        )


@shared_task
def apply_changes(server_id: int) -> None:
    """Apply what is due on one server; runs on that server's queue."""
    apply_due(MailServer.objects.get(pk=server_id))


@shared_task
def ask_servers() -> None:
    """Ask every server, on its own queue, whether it works."""
    for server in MailServer.objects.all():
        report_in.apply_async(args=(server.pk,), queue=server.queue, expires=60)


@shared_task
def report_in(server_id: int) -> None:
    """Note that one server answers, or what is wrong with it."""
    health.report_in(MailServer.objects.get(pk=server_id))
