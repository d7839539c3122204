import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    initial = True

    dependencies = [
        ("accounts", "0007_ssh"),
        ("propagation", "0002_need_by_record"),
    ]

    operations = [
        migrations.CreateModel(
            name="EventReport",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("cursor", models.CharField(blank=True, editable=False, max_length=200)),
                (
                    "collected_at",
                    models.DateTimeField(
                        blank=True, editable=False, null=True, verbose_name="events of"
                    ),
                ),
                (
                    "server",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="event_report",
                        to="propagation.mailserver",
                        verbose_name="mail server",
                    ),
                ),
            ],
            options={
                "verbose_name": "report of what became of mail",
                "verbose_name_plural": "reports of what became of mail",
            },
        ),
        migrations.CreateModel(
            name="MailEvent",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("address", models.CharField(max_length=254, verbose_name="address")),
                (
                    "side",
                    models.CharField(
                        choices=[("to", "for the address"), ("from", "from the address")],
                        max_length=4,
                        verbose_name="side",
                    ),
                ),
                (
                    "kind",
                    models.CharField(
                        choices=[
                            ("delivered", "Delivered"),
                            ("deferred", "Put off"),
                            ("bounced", "Returned to its sender"),
                            ("refused", "Mail refused"),
                        ],
                        max_length=10,
                        verbose_name="kind",
                    ),
                ),
                ("at", models.DateTimeField(verbose_name="time")),
                ("other", models.CharField(blank=True, max_length=254, verbose_name="other side")),
                (
                    "onward",
                    models.CharField(blank=True, max_length=254, verbose_name="forwarded to"),
                ),
                (
                    "relay",
                    models.CharField(blank=True, max_length=253, verbose_name="receiving server"),
                ),
                ("code", models.CharField(blank=True, max_length=12, verbose_name="code")),
                ("reason", models.CharField(blank=True, max_length=300, verbose_name="reason")),
                (
                    "domain",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        to="accounts.domain",
                        verbose_name="domain",
                    ),
                ),
            ],
            options={
                "verbose_name": "event of a message",
                "verbose_name_plural": "events of messages",
                "indexes": [
                    models.Index(fields=["domain", "address", "-at"], name="mail_event_by_address")
                ],
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(("side__in", ["to", "from"])), name="mail_event_side"
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            ("kind__in", ["delivered", "deferred", "bounced", "refused"])
                        ),
                        name="mail_event_kind",
                    ),
                ],
            },
        ),
    ]
