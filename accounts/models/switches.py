"""What an account has beside its mail, switched on and off by its owner: FTP, and SSH.

Another one is a column here, a field of `mailhost.records.Mailbox` and a page in
`accounts.switching`.
"""

from typing import ClassVar

from django.db import models
from django.utils.translation import gettext_lazy


class Switches(models.Model):
    """The columns; an account in the trash keeps them."""

    ftp = models.BooleanField(gettext_lazy("FTP and SFTP"), default=False, db_default=False)
    ssh = models.BooleanField(gettext_lazy("SSH (Alpine)"), default=False, db_default=False)

    class Meta:
        abstract = True

    #: What customers know each as, by its name here and in the mail server's record.
    SWITCHES: ClassVar = {"ftp": "FTP", "ssh": "SSH"}

    def switches(self) -> dict[str, bool]:
        """Return the columns by name."""
        return {name: getattr(self, name) for name in self.SWITCHES}
