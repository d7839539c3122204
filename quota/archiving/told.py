"""What an account and its customer are told by mail of an archive; what it says is a template's."""

from __future__ import annotations

import logging
from typing import Any

from django.conf import settings
from django.urls import reverse

from accounts.models import Account
from quota import notices

_log = logging.getLogger(__name__)

DONE, FAILED = "archive-done", "archive-failed"


def archived(account: Account, file_name: str, messages: int, mail_bytes: int) -> None:
    """Say that a mailbox was full and where its mail is now."""
    values = {"file_name": file_name, "messages": messages, "mail_bytes": mail_bytes}
    _write(account, DONE, values)


def failed(account: Account, code: str, *, again: bool) -> None:
    """Say that a full mailbox could not be archived; the template finds the words for `code`.

    `again`: it is tried again on the same day.
    """
    _write(account, FAILED, {"code": code, "again": again})


def _write(account: Account, kind: str, values: dict[str, Any]) -> None:
    """Have the notice sent with the server's next collection, within a minute."""
    page = settings.PANEL_URL + reverse("archives", args=[account.domain.name])
    notices.write([(account.pk, kind, {**values, "archives_url": page})])
