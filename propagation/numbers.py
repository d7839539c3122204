"""Change numbers only grow, also for a panel that was brought back from a backup."""

from django.db import connection

from propagation.models import Change


def number_above(number: int) -> None:
    """Let the next change be newer than `number`, the newest that a server has seen.

    Needed where the panel counts from an older number: the server would take its
    changes for old ones.
    """
    if number <= (Change.objects.order_by("-pk").values_list("pk", flat=True).first() or 0):
        return
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute(
                "SELECT setval(pg_get_serial_sequence('propagation_change', 'id'), %s)", [number]
            )
        else:
            cursor.execute("DELETE FROM sqlite_sequence WHERE name = 'propagation_change'")
            cursor.execute(
                "INSERT INTO sqlite_sequence (name, seq) VALUES ('propagation_change', %s)",
                [number],
            )
