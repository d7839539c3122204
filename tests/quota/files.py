"""Archives made by hand, where a test is about reading them."""

from __future__ import annotations

import email.policy
import gzip
import hashlib
import io
import time
from collections.abc import Sequence
from email.message import EmailMessage
from pathlib import Path
from typing import Any

from django.utils.timezone import now

from accounts.models import Account
from mailhost.archive import mbox
from quota.models import Archive, ArchiveNews


def mail(subject: str, text: str = "hello", sender: str = "Friend <friend@outside.test>") -> bytes:
    """Return a small message."""
    # As hostile senders write them too, which newer Pythons refuse to.
    policy = email.policy.default
    if hasattr(policy, "verify_generated_headers"):
        policy = policy.clone(verify_generated_headers=False)
    made = EmailMessage(policy)
    made["From"], made["To"], made["Subject"] = sender, "alice@example.com", subject
    made["Date"] = "Wed, 02 Dec 2026 03:00:00 +0900"
    made.set_content(text)
    return made.as_bytes()


def written(messages: Sequence[bytes], folder: str = "INBOX") -> bytes:
    """Return an archive of these messages, as the mail server writes one."""
    plain = io.BytesIO()
    for message in messages:
        mbox.write(plain, message, folder=folder, flags=(), received=int(time.time()))
    return gzip.compress(plain.getvalue())


def keep(homes: Path, account: Account, content: bytes, number: int = 1, **fields: Any) -> Archive:
    """Put an archive into the home of an account's domain, and into the panel's list."""
    home = homes / account.domain.home
    home.mkdir(parents=True, exist_ok=True)
    name = f"{account.name}.oldmail.20261202{f'-{number}' if number > 1 else ''}.gz"
    (home / name).write_bytes(content)
    ArchiveNews.objects.update_or_create(
        server=account.server, defaults={"homes_root": str(homes), "collected_at": now()}
    )
    usual = {
        "messages": 1,
        "mail_bytes": 5000,
        "file_bytes": len(content),
        "sha256": hashlib.sha256(content).hexdigest(),
        "state": "kept",
        "taken_at": now(),
    }
    return Archive.objects.create(
        server=account.server,
        number=number,
        domain=account.domain,
        mailbox_id=account.pk,
        account_name=account.name,
        file_name=name,
        **usual | fields,
    )
