"""Celery's doors to the functions of this app. Each may run twice, late, or beside itself."""

from celery import shared_task

from forwarding.returned import collect
from propagation.models import MailServer


@shared_task
def collect_returned() -> None:
    """Collect whose copies of mailing lists came back, of every server on its own queue."""
    for server in MailServer.objects.all():
        collect_server_returned.apply_async(args=(server.pk,), queue=server.queue, expires=60)


@shared_task
def collect_server_returned(server_id: int) -> None:
    """Take over what one server counted."""
    collect(MailServer.objects.get(pk=server_id))
