"""Celery's doors to the chores of this app. Each may run twice, late, or beside itself."""

from celery import shared_task

from propagation.models import MailServer
from tracing.collect import collect


@shared_task
def collect_events() -> None:
    """Take over what became of mail on every server, each on its own queue."""
    for server in MailServer.objects.all():
        collect_server_events.apply_async(args=(server.pk,), queue=server.queue, expires=60)


@shared_task
def collect_server_events(server_id: int) -> None:
    """Take over what became of mail on one server."""
    collect(MailServer.objects.get(pk=server_id))
