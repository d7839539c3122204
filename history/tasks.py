"""Celery's doors to the chores of this app. Each may run twice, late, or beside itself."""

from celery import shared_task

from history.models import Entry


@shared_task
def prune_history() -> None:
    """Remove what has stood in the history long enough."""
    Entry.objects.prune()
