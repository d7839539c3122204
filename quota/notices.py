"""Our own messages to an account and to its customer, in the customer's language.

A notice is a row first (`write`), and mail afterwards (`send_written`, from the server's worker):
to the account past its quota by `mailhost.usage.notices`, and to the customer's own address by
Django's e-mail where EMAIL_URL is set. What they say is templates/notices/KIND.LANGUAGE.txt, whose
first line is the subject. Values are data there, never a template, and one line each.

Each of the two ways is marked before the mail goes out, and the mark taken back where that fails.
A process killed in between loses a mail whose news the panel shows all the same; marked afterwards
it would send it twice, and every minute anew where it is the database that fails.
"""

from __future__ import annotations

import logging
import re
import unicodedata
from collections.abc import Iterable, Mapping
from datetime import date, datetime, timedelta
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime, formataddr, make_msgid, parseaddr
from itertools import groupby
from pathlib import Path
from smtplib import SMTPException
from typing import Any

from django.conf import settings
from django.core.mail import EmailMessage as CustomerMail
from django.core.mail import get_connection
from django.db import transaction
from django.template import Context, Template
from django.template.loader import get_template
from django.urls import reverse
from django.utils import translation
from django.utils.dateparse import parse_date, parse_datetime
from django.utils.timezone import localtime, now
from django.utils.translation import gettext as _

from accounts.models import User
from mailhost.errors import HostError
from mailhost.usage.notices import deliver
from propagation.models import MailServer
from quota.models import Notice, on_server
from quota.wednesday import next_run

#: A notice that could not be sent for so long is no news any more.
_NEWS = timedelta(days=1)
#: For so long the operator can look up what was written to whom.
_KEPT = timedelta(days=62)
#: Notices sent in one go; the rest a minute later.
_AT_ONCE = 500
#: No value is longer; a name has at most 254 characters.
_MOST = 300

_log = logging.getLogger(__name__)


def write(notices: Iterable[tuple[Any, str, Mapping[str, Any]]]) -> None:
    """Keep notices to be sent, each as account id, kind and values; within a transaction.

    Values are text, numbers, datetimes under names in `_at`, or dates under names in `_day`.
    """
    rows = [
        Notice(account_id=account_id, kind=kind, values=dict(values))
        for account_id, kind, values in notices
    ]
    Notice.objects.bulk_create(rows, batch_size=1000)


def send_written(server: MailServer) -> int:
    """Send what was written to this server's accounts and their customers; return how many mails.

    What fails is tried again with the next call, for a day. Raises NotHere.
    """
    with server.host() as host:
        root = host.root
    Notice.objects.filter(written_at__lt=now() - _KEPT).delete()
    recent = Notice.objects.filter(on_server(server), written_at__gt=now() - _NEWS)
    recent = recent.select_related("account__domain__customer__user", "account__domain__plan")
    to_accounts = recent.filter(to_account_at=None).order_by("written_at", "pk")[:_AT_ONCE]
    sent = sum(_to_account(root, server, notice) for notice in to_accounts)
    if settings.MAIL_TO_CUSTOMERS:
        has_address = recent.exclude(account__domain__customer__user__email="")
        to_customers = has_address.filter(to_customer_at=None)
        whose = "account__domain__customer_id"
        sent += _to_customers(to_customers.order_by(whose, "written_at", "pk")[:_AT_ONCE])
    return sent


def subject_and_text(notice: Notice, *, to_customer: bool) -> tuple[str, str]:
    """Return what a notice says, in the customer's language."""
    user = _user(notice)
    with translation.override(_language(user)):
        template = get_template(f"notices/{notice.kind}.{_language(user)}.txt")
        values = _shown(notice.values) | _surroundings(notice, to_customer)
        return _rendered(template.template, values)  # type: ignore[attr-defined]


def _to_account(root: Path, server: MailServer, notice: Notice) -> int:
    """Deliver a notice into the account's mailbox; return 1 if that was done."""
    own = Notice.objects.filter(pk=notice.pk)
    if not own.filter(to_account_at=None).update(to_account_at=now()):
        return 0
    try:
        return int(deliver(root, notice.account.name, notice.kind, message_to(server, notice)))
    except Exception as error:
        # Whatever it is: others wait behind it.
        own.update(to_account_at=None)
        _log_failure(notice, error, HostError)
        return 0


def message_to(server: MailServer, notice: Notice) -> bytes:
    """Return a notice as a whole message for the account's mailbox (RFC 5322, RFC 3834)."""
    subject, text = subject_and_text(notice, to_customer=False)
    message = EmailMessage(policy=SMTP)
    name, sender = _sender(f"postmaster@{server.name}")
    message["From"] = formataddr((name, sender))
    message["To"] = notice.account.address
    message["Subject"] = subject
    message["Date"] = format_datetime(localtime())
    message["Message-ID"] = make_msgid(domain=sender.rpartition("@")[2])
    message["Auto-Submitted"] = "auto-generated"
    message.set_content(text, subtype="plain", charset="utf-8")
    message["Content-Language"] = _language(_user(notice))
    return message.as_bytes()


def _sender(otherwise: str = "") -> tuple[str, str]:
    """Return name and address from which we write; `otherwise` where none is set."""
    name, address = parseaddr(settings.DEFAULT_FROM_EMAIL)
    return name or "PLUSMAIL", address or otherwise


def _to_customers(notices: Iterable[Notice]) -> int:
    """Send each customer one mail with all that is written to him; return how many mails."""
    groups = [list(group) for _, group in groupby(notices, lambda one: _user(one).pk)]
    sent = 0
    connection = get_connection()
    try:
        for group in groups:
            if not (mine := _claimed(group)):
                continue
            try:
                connection.open()
                sent += _mail_to_customer(mine, connection).send()
            except Exception as error:
                Notice.objects.filter(pk__in=[one.pk for one in mine]).update(to_customer_at=None)
                _log_failure(mine[0], error, SMTPException, OSError)
    finally:
        connection.close()
    return sent


def _log_failure(notice: Notice, error: Exception, *expected: type[Exception]) -> None:
    """Say what could not be sent; where the cause is none that is expected, with its trace."""
    surprise = error if not isinstance(error, expected) else None
    words = "no notice %s about %s yet: %s"
    _log.warning(words, notice.kind, notice.account.name, error, exc_info=surprise)


def _claimed(notices: list[Notice]) -> list[Notice]:
    """Mark notices as sent to the customer; return those that nobody else has marked."""
    with transaction.atomic():
        chosen = Notice.objects.filter(pk__in=[one.pk for one in notices], to_customer_at=None)
        free = set(chosen.select_for_update().values_list("pk", flat=True))
        Notice.objects.filter(pk__in=free).update(to_customer_at=now())
    return [one for one in notices if one.pk in free]


def _mail_to_customer(notices: list[Notice], connection: Any) -> CustomerMail:
    """Return one mail for what is one customer's, however many accounts it is about."""
    user, parts = _user(notices[0]), [subject_and_text(one, to_customer=True) for one in notices]
    with translation.override(_language(user)):
        subject = parts[0][0]
        if len(parts) > 1:
            subject = _("%(count)d notices about your mailboxes") % {"count": len(parts)}
        frame = get_template(f"notices/_to_customer.{_language(user)}.txt")
        values = {
            "customer": _one_line(notices[0].account.domain.customer.name),
            "parts": parts,
            "panel_url": settings.PANEL_URL,
        }
        whole = frame.template.render(Context(values, autoescape=False))  # type: ignore[attr-defined]
    return CustomerMail(
        subject,
        _tidied(whole),
        formataddr(_sender()),
        [user.email],
        headers={
            "Auto-Submitted": "auto-generated",
            "Content-Language": _language(user),
            "Message-ID": make_msgid(domain=_sender()[1].rpartition("@")[2]),
        },
        connection=connection,
    )


def _rendered(template: Template, values: dict[str, Any]) -> tuple[str, str]:
    """Return a template's first line and the rest. Plain text: nothing is escaped for HTML."""
    text = template.render(Context(values, autoescape=False))
    subject, _newline, body = text.strip().partition("\n")
    return _one_line(subject), _tidied(body)


def _tidied(text: str) -> str:
    """Return text without the empty lines that a template's tags leave."""
    return re.sub(r"\n{3,}", "\n\n", text.strip()) + "\n"


def _surroundings(notice: Notice, to_customer: bool) -> dict[str, Any]:
    """Return what every template can name beside the notice's own values."""
    account = notice.account
    page = reverse("mailboxes", args=[account.domain.name])
    return {
        "address": str(account),
        "account_name": account.name,
        "to_customer": to_customer,
        "next_wednesday_at": next_run(notice.written_at),
        "help_url": settings.PANEL_URL + reverse("help_mailbox"),
        "page_url": settings.PANEL_URL + page,
    }


def _shown(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return values as a template takes them: text in one line, times as times."""
    return {name: _value(name, value) for name, value in values.items()}


def _value(name: str, value: Any) -> Any:
    if isinstance(value, list):
        return [_value(name, one) for one in value]
    if not isinstance(value, str):
        return value
    parsed: date | datetime | None = None
    if name.endswith("_at"):
        parsed = parse_datetime(value)
    elif name.endswith("_day"):
        parsed = parse_date(value)
    return parsed or _one_line(value)


def _one_line(text: str) -> str:
    """Return text without anything that could begin another line or header."""
    shown = (" " if unicodedata.category(char)[0] in "CZ" else char for char in text)
    return " ".join("".join(shown).split())[:_MOST]


def _user(notice: Notice) -> User:
    return notice.account.domain.customer.user


def _language(user: User) -> str:
    """Return the language in which a customer is written to."""
    known = dict(settings.LANGUAGES)
    return user.language if user.language in known else settings.LANGUAGE_CODE
