"""Switch reading mail by SSH on or off for a POP account."""

from accounts.terminal import SwitchCommand


class Command(SwitchCommand):
    """`manage.py set_ssh NAME@DOMAIN on|off`."""

    help = "Switch reading mail by SSH on or off for a POP account."
    name = "ssh"
