"""The Celery application. Each mail server has a queue of its own, named by MailServer.queue."""

import os

from celery import Celery

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "plusmail.settings")

app = Celery("plusmail")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()
