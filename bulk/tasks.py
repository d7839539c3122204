"""Celery's doors to the imports. Each may run twice, late, or beside itself."""

from celery import shared_task

from bulk import jobs
from bulk.models import Import

#: A task goes on for so long; other work of the queue then has its turn.
SECONDS = 10


@shared_task
def do_import(import_id: int) -> None:
    """Go on with one import, and send for the rest."""
    job = Import.objects.select_related("asked_by").filter(pk=import_id).first()
    if job is not None and not jobs.work(job, seconds=SECONDS):
        jobs.send(job.pk)


@shared_task
def look_after_imports() -> None:
    """Take up again what a lost message or a killed worker left."""
    for import_id in Import.objects.abandoned().values_list("pk", flat=True):
        jobs.send(import_id)


@shared_task
def forget_imports() -> None:
    """Delete what was never confirmed, and what ended long ago."""
    Import.objects.forget()
