"""Refusals of one cause on one day become one row, with the sender.

The rows are only copies: they come again from the mail servers, for which each server's cursor
goes back to the beginning in its second number, that of the refusals (mailhost.policy.figures).
"""

from __future__ import annotations

from typing import Any

from django.db import migrations, models


def bring_again(apps: Any, _editor: Any) -> None:
    """Forget the copies, and let the next collection fetch all refusals."""
    apps.get_model("quota", "Refusal").objects.all().delete()
    for report in apps.get_model("quota", "Report").objects.exclude(cursor=""):
        numbers = report.cursor.split(".")
        report.cursor = ".".join([numbers[0], "0", *numbers[2:]])
        report.save(update_fields=["cursor"])


class Migration(migrations.Migration):
    dependencies = [("quota", "0003_archives")]

    operations = [
        migrations.RunPython(bring_again, migrations.RunPython.noop, elidable=True),
        migrations.RemoveConstraint(model_name="refusal", name="refusal_once"),
        migrations.AddField(
            model_name="refusal",
            name="day",
            field=models.DateField(default="2000-01-01", verbose_name="day"),
            preserve_default=False,
        ),
        migrations.AddField(
            model_name="refusal",
            name="sender",
            field=models.CharField(blank=True, default="", max_length=254, verbose_name="sender"),
            preserve_default=False,
        ),
        migrations.AddField(
            model_name="refusal",
            name="times",
            field=models.PositiveIntegerField(default=1, verbose_name="times"),
        ),
        migrations.AddConstraint(
            model_name="refusal",
            constraint=models.UniqueConstraint(
                fields=("account", "day", "reason", "sender"), name="refusal_once"
            ),
        ),
    ]
