"""The Celery application. Each mail server has a queue of its own, named by MailServer.queue."""

import gc
import os
from pathlib import Path
from typing import Any

from celery import Celery
from celery.signals import beat_init, worker_process_init

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "plusmail.settings")

app = Celery("plusmail")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()


@beat_init.connect
def note_begin(sender: Any, **_options: Any) -> None:
    """Make the directory in which beat remembers what it sent, and note there that it began.

    Celery ends without the directory. The schedule's own file tells nothing about a beat that is
    there: with Debian's Python it is written when beat ends.
    """
    place = Path(sender.schedule_filename).parent
    place.mkdir(mode=0o700, parents=True, exist_ok=True)
    (place / "began").touch()


@worker_process_init.connect
def spare_what_is_loaded(**_options: Any) -> None:
    """Let the garbage collector look no more at what a worker has loaded.

    It would do so again and again while thousands of changes are in hand.
    """
    gc.collect()
    gc.freeze()
