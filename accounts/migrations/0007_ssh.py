"""Accounts may read their mail by SSH; one in the trash keeps it."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("accounts", "0006_ftp"),
    ]

    operations = [
        migrations.AddField(
            model_name="account",
            name="ssh",
            field=models.BooleanField(db_default=False, default=False, verbose_name="SSH (Alpine)"),
        ),
        migrations.AddField(
            model_name="deletedaccount",
            name="ssh",
            field=models.BooleanField(db_default=False, default=False, verbose_name="SSH (Alpine)"),
        ),
    ]
