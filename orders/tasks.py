"""Celery's doors to the chores of this app. Each may run twice, late, or beside itself."""

from celery import shared_task

from orders import contact


@shared_task
def send_inquiries() -> None:
    """Send what customers wrote to us and has not gone out yet."""
    contact.send_written()
