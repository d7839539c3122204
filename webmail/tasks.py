"""Celery's doors to the chores of this app. Each may run twice, late, or beside itself."""

from celery import shared_task

from propagation.models import MailServer
from webmail import keeping


@shared_task
def forget_settings() -> None:
    """Let every server delete what removed webmails left, on its own queue."""
    for server in MailServer.objects.all():
        forget_server_settings.apply_async(args=(server.pk,), queue=server.queue, expires=3600)


@shared_task
def forget_server_settings(server_id: int) -> None:
    """Delete on one server what was kept long enough."""
    keeping.forget_settings(MailServer.objects.get(pk=server_id))
