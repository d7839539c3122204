"""`{% load archives %}`: what of archives has words of its own."""

from django import template
from django.utils.translation import gettext as _

from quota.archiving.words import to_customer

register = template.Library()


@register.filter
def archive_reason(code: str) -> str:
    """Say to a customer why something could not be done with an archive."""
    return to_customer(code)


@register.filter
def header_name(name: str) -> str:
    """Return what a header field of a message says, as mail programs name it."""
    known = {"from": _("From"), "to": _("To"), "date": _("Date"), "subject": _("Subject")}
    return known.get(name.lower(), name)


@register.filter
def folder_name(folder: str) -> str:
    """Return a mail folder's name as people know it."""
    return _("Inbox") if folder.upper() == "INBOX" else folder
