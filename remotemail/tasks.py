"""Celery's doors to the chores of this app. Each may run twice, late, or beside itself."""

from celery import shared_task

from remotemail.models import MailAccess


@shared_task
def prune_mail_accesses() -> None:
    """Remove what has stood in the trail of accesses long enough."""
    MailAccess.objects.prune()
