"""Celery's doors to the functions of this app. Each may run twice, late, or beside itself."""

from celery import shared_task

from propagation.models import MailServer
from quota import notices, usage
from quota.collect import collect


@shared_task
def collect_figures() -> None:
    """Collect every server's figures of sending and of mailboxes, each on its own queue."""
    for server in MailServer.objects.all():
        for task in (collect_server_figures, collect_server_usage):
            task.apply_async(args=(server.pk,), queue=server.queue, expires=60)


@shared_task
def collect_server_figures(server_id: int) -> None:
    """Take over one server's figures, and pass on which wrong passwords to forget."""
    collect(MailServer.objects.get(pk=server_id))


@shared_task
def collect_server_usage(server_id: int) -> None:
    """Take over what one server's mailboxes use, and send the notices that are to be sent."""
    server = MailServer.objects.get(pk=server_id)
    usage.collect(server)
    notices.send_written(server)
