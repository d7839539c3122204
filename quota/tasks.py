"""Celery's doors to the functions of this app. Each may run twice, late, or beside itself."""

from celery import shared_task

from propagation.models import MailServer
from quota import notices, usage
from quota.archiving import jobs, news, weekly
from quota.collect import collect


@shared_task
def collect_figures() -> None:
    """Collect every server's figures of sending, mailboxes and archives, each on its own queue."""
    for server in MailServer.objects.all():
        for task in (collect_server_figures, collect_server_usage, collect_server_archives):
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


@shared_task
def collect_server_archives(server_id: int) -> None:
    """Take over which archives one server has."""
    news.collect(MailServer.objects.get(pk=server_id))


@shared_task
def archive_overquota() -> None:
    """On Wednesday, let every server archive its full mailboxes, on its own queue."""
    for server in MailServer.objects.all():
        # Where it waits longer than that, the minute's look after has begun the run.
        archive_server.apply_async(args=(server.pk,), queue=server.queue, expires=3600)


@shared_task
def archive_server(server_id: int) -> None:
    """Archive what is full on one server, unless that was done this week."""
    weekly.run_week(MailServer.objects.get(pk=server_id))


@shared_task
def look_after_archives() -> None:
    """Let every server do what has come due with archives, on its own queue."""
    for server in MailServer.objects.all():
        look_after_server_archives.apply_async(args=(server.pk,), queue=server.queue, expires=60)


@shared_task
def look_after_server_archives(server_id: int) -> None:
    """Do what waits on one server: customers' jobs, a run that was missed, failures once more."""
    server = MailServer.objects.get(pk=server_id)
    jobs.do_waiting(server)
    weekly.look_after(server)


@shared_task
def do_archive_jobs(server_id: int) -> None:
    """Do at once what customers want done with archives on one server."""
    jobs.do_waiting(MailServer.objects.get(pk=server_id))
