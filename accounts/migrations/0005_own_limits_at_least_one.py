"""A limit of an account's own is none or at least 1: 0 is the mail servers' word for none."""

from typing import Any

from django.db import migrations, models


def none_for_0(apps: Any, _editor: Any) -> None:
    """Mend what earlier versions took; the other limits never could be 0."""
    for name in ("Account", "DeletedAccount"):
        apps.get_model("accounts", name).objects.filter(quota_bytes=0).update(quota_bytes=None)


class Migration(migrations.Migration):
    dependencies = [
        ("accounts", "0004_open_changes_say_what_servers_need"),
        ("propagation", "0002_need_by_record"),
    ]

    operations = [
        migrations.RunPython(none_for_0, migrations.RunPython.noop),
        migrations.AddConstraint(
            model_name="account",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(
                        ("quota_bytes__isnull", True), ("quota_bytes__gte", 1), _connector="OR"
                    ),
                    models.Q(
                        ("message_bytes__isnull", True), ("message_bytes__gte", 1), _connector="OR"
                    ),
                    models.Q(
                        ("list_message_bytes__isnull", True),
                        ("list_message_bytes__gte", 1),
                        _connector="OR",
                    ),
                    models.Q(
                        ("recipients_per_message__isnull", True),
                        ("recipients_per_message__gte", 1),
                        _connector="OR",
                    ),
                    models.Q(
                        ("recipients_per_day__isnull", True),
                        ("recipients_per_day__gte", 1),
                        _connector="OR",
                    ),
                ),
                name="account_limits_at_least_one",
                violation_error_message="Every limit is at least 1.",
            ),
        ),
        migrations.AddConstraint(
            model_name="deletedaccount",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(
                        ("quota_bytes__isnull", True), ("quota_bytes__gte", 1), _connector="OR"
                    ),
                    models.Q(
                        ("message_bytes__isnull", True), ("message_bytes__gte", 1), _connector="OR"
                    ),
                    models.Q(
                        ("list_message_bytes__isnull", True),
                        ("list_message_bytes__gte", 1),
                        _connector="OR",
                    ),
                    models.Q(
                        ("recipients_per_message__isnull", True),
                        ("recipients_per_message__gte", 1),
                        _connector="OR",
                    ),
                    models.Q(
                        ("recipients_per_day__isnull", True),
                        ("recipients_per_day__gte", 1),
                        _connector="OR",
                    ),
                ),
                name="deleted_limits_at_least_one",
                violation_error_message="Every limit is at least 1.",
            ),
        ),
    ]
