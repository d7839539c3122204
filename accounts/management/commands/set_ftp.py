"""Switch FTP of a POP account on or off."""

from accounts.terminal import SwitchCommand


class Command(SwitchCommand):
    """`manage.py set_ftp NAME@DOMAIN on|off`."""

    help = "Switch FTP and SFTP of a POP account on or off."
    name = "ftp"
