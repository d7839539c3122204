"""All rows of the database, taken once and put back as often as a test wants them.

The doors that make a domain check and lock a great deal, which is proved elsewhere; most
tests only want the rows, in a tenth of the time.
"""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass
from datetime import datetime

from django.apps import apps
from django.core.management.color import no_style
from django.db import connection, models, transaction
from django.utils.timezone import now

from accounts.models import User

OURS = (
    "accounts",
    "bulk",
    "forwarding",
    "history",
    "mailuser",
    "orders",
    "propagation",
    "quota",
    "remotemail",
    "tracing",
    "webmail",
)


def _tables() -> list[type[models.Model]]:
    """Return the project's models; foreign keys are checked at the end of the transaction."""
    found = [model for app in OURS for model in apps.get_app_config(app).get_models()]
    return [User, *(model for model in found if model is not User)]


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Rows by table, and when they were taken."""

    rows: Sequence[tuple[type[models.Model], Sequence[models.Model]]]
    taken_at: datetime

    @classmethod
    def take(cls) -> Snapshot:
        """Return the rows that the database has now."""
        found = ((model, list(model._base_manager.all())) for model in _tables())
        return cls([(model, rows) for model, rows in found if rows], now())

    @transaction.atomic
    def put_in_place(self) -> None:
        """Put the rows in the place of all that the database has."""
        for model in reversed(_tables()):
            rows = model._base_manager.all()
            rows._raw_delete(rows.db)
        self.put_back()

    @transaction.atomic
    def put_back(self) -> None:
        """Put the rows into an empty database, as old as they were when they were taken."""
        passed = now() - self.taken_at
        for model, rows in self.rows:
            times = [f for f in model._meta.concrete_fields if isinstance(f, models.DateTimeField)]
            automatic = [field for field in times if field.auto_now or field.auto_now_add]
            assert not automatic, f"{model.__name__}: bulk_create would overwrite {automatic}"
            copies = [copy(row) for row in rows]
            for row in copies:
                for field in times:
                    if value := getattr(row, field.attname):
                        setattr(row, field.attname, value + passed)
            model._base_manager.bulk_create(copies)
        # PostgreSQL does not count along where a row brings its own number.
        for statement in connection.ops.sequence_reset_sql(
            no_style(), [model for model, _ in self.rows]
        ):
            with connection.cursor() as cursor:
                cursor.execute(statement)
