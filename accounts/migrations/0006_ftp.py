"""Accounts may have FTP, in the trash as well."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("accounts", "0005_own_limits_at_least_one"),
    ]

    operations = [
        migrations.AddField(
            model_name="account",
            name="ftp",
            field=models.BooleanField(db_default=False, default=False, verbose_name="FTP and SFTP"),
        ),
        migrations.AddField(
            model_name="deletedaccount",
            name="ftp",
            field=models.BooleanField(db_default=False, default=False, verbose_name="FTP and SFTP"),
        ),
    ]
