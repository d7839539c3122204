"""Celery's doors to the chores of this app. Each may run twice, late, or beside itself."""

from celery import shared_task

from accounts import certificates, trash
from propagation.models import MailServer


@shared_task
def purge_trash() -> None:
    """Let every server empty its trash, on its own queue."""
    for server in MailServer.objects.all():
        purge_server_trash.apply_async(args=(server.pk,), queue=server.queue, expires=3600)


@shared_task
def purge_server_trash(server_id: int) -> None:
    """Empty one server's trash of what lay there long enough."""
    trash.purge_expired(MailServer.objects.get(pk=server_id))


@shared_task
def install_certificates() -> None:
    """Let every server put new certificates in place, on its own queue."""
    for server in MailServer.objects.all():
        install_server_certificates.apply_async(args=(server.pk,), queue=server.queue, expires=600)


@shared_task
def install_server_certificates(server_id: int) -> None:
    """Put new certificates of one server in place."""
    certificates.install(MailServer.objects.get(pk=server_id))
