import django.db.models.deletion
import django.utils.timezone
from django.db import migrations, models


class Migration(migrations.Migration):
    initial = True

    dependencies = [
        ("accounts", "0006_ftp"),
    ]

    operations = [
        migrations.CreateModel(
            name="Webmail",
            fields=[
                (
                    "domain",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.PROTECT,
                        primary_key=True,
                        related_name="webmail",
                        serialize=False,
                        to="accounts.domain",
                        verbose_name="domain",
                    ),
                ),
                (
                    "created_at",
                    models.DateTimeField(
                        default=django.utils.timezone.now, editable=False, verbose_name="created"
                    ),
                ),
            ],
            options={
                "verbose_name": "webmail",
                "verbose_name_plural": "webmail",
                "ordering": ["domain__name"],
            },
        ),
    ]
