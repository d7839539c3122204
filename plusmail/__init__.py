"""The Django project: settings, URLs, the Celery application."""

from plusmail.celery import app as celery_app

__all__ = ["celery_app"]
