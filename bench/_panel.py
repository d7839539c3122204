"""A panel of its own for a measurement: settings, database and directory of the run alone."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def panel(**environment: str) -> Iterator[Path]:
    """Set Django up on a fresh, migrated SQLite file; yield the directory that goes afterwards.

    Django's own modules can be imported only within. The mail servers' users may walk
    through the directory, whose `servers` is MAILHOST_ROOT.
    """
    place = Path(tempfile.mkdtemp(prefix="bench-", dir="/tmp"))
    place.chmod(0o711)
    os.environ.update(
        {
            "DJANGO_SETTINGS_MODULE": "plusmail.settings",
            "IGNORE_DOTENV": "1",
            "SECRET_KEY": "for a measurement only",
            "PLUSMAIL_VAR": str(place),
            "DATABASE_URL": f"sqlite:///{place / 'panel.sqlite3'}",
            "MAILHOST_ROOT": str(place / "servers"),
            "PANEL_URL": "http://127.0.0.1",
        }
        | environment
    )
    try:
        _migrate()
        yield place
    finally:
        shutil.rmtree(place, ignore_errors=True)


def _migrate() -> None:
    import django
    from django.core.management import call_command

    django.setup()
    call_command("migrate", verbosity=0)
