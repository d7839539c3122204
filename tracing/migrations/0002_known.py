from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("tracing", "0001_events"),
    ]

    operations = [
        # It was the time of the panel's look, which tells nothing of the daemon.
        migrations.RemoveField(model_name="eventreport", name="collected_at"),
        migrations.AddField(
            model_name="eventreport",
            name="known_since",
            field=models.DateTimeField(
                blank=True, editable=False, null=True, verbose_name="events since"
            ),
        ),
        migrations.AddField(
            model_name="eventreport",
            name="known_until",
            field=models.DateTimeField(
                blank=True, editable=False, null=True, verbose_name="events of"
            ),
        ),
        migrations.RemoveIndex(model_name="mailevent", name="mail_event_by_address"),
        migrations.AddIndex(
            model_name="mailevent",
            index=models.Index(
                fields=["domain", "address", "side", "-at", "kind"], name="mail_event_by_address"
            ),
        ),
        migrations.AddIndex(
            model_name="mailevent",
            index=models.Index(fields=["at"], name="mail_event_by_time"),
        ),
    ]
