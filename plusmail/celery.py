"""The Celery application. Each mail server has a queue of its own, named by MailServer.queue."""

import os
from pathlib import Path
from typing import Any

from celery import Celery
from celery.signals import beat_init

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "plusmail.settings")

app = Celery("plusmail")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()


@beat_init.connect
def make_place_for_schedule(sender: Any, **_options: Any) -> None:
    """Make the directory in which beat remembers what it sent: Celery ends without it."""
    Path(sender.schedule_filename).parent.mkdir(mode=0o700, parents=True, exist_ok=True)
