"""What is wrong with a message, in words for customers."""

from __future__ import annotations

from collections.abc import Mapping

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

#: By the names of mailhost.stuck.DEFECTS.
DEFECTS: Mapping[str, str | Promise] = {
    "size": _("It is very large: receiving may break off before it has arrived."),
    "control": _("It holds control characters, which some programs take for the end of the mail."),
    "unclosed": _("Japanese characters in it (ISO-2022-JP) are not ended as they should be."),
    "charset": _("Its text is in another character code than it says, or does not say in which."),
    "mime": _("Its parts, such as attached files, do not fit together (broken MIME)."),
    "line": _("It has lines of more than 998 characters, which mail must not have."),
    "header": _("Subject, sender or other lines at its top cannot be read as they should."),
}

#: By the names of the headers that are shown.
HEADERS: Mapping[str, str | Promise] = {
    "From": _("Sender"),
    "To": _("To"),
    "Cc": _("Cc"),
    "Date": _("Date"),
    "Subject": _("Subject"),
}


def defects(names: tuple[str, ...]) -> list[str | Promise]:
    """Return the words for these defects."""
    return [DEFECTS[name] for name in names]
