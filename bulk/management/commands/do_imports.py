"""Do the imports that customers have confirmed, and forget old ones: the tasks by cron."""

from typing import Any

from django.core.management.base import BaseCommand

from bulk import jobs
from bulk.models import Import, ImportState


class Command(BaseCommand):
    """Do all that is confirmed."""

    help = __doc__

    def handle(self, **options: Any) -> None:
        """Do them, one after the other."""
        for job in Import.objects.filter(state=ImportState.RUNNING).select_related("asked_by"):
            jobs.work(job, seconds=3600)
            self.stdout.write(f"{job.domain.name}: {job.file_name}")
        Import.objects.forget()
