"""“Contact us”: what a customer writes reaches the operator from an address that tells whose it is.

An Inquiry is a row first (`write`), and mail afterwards (`send_written`): so nothing that somebody
typed is lost where mail cannot leave, and the operator finds all of it in the admin. Its sender is
the domain's fixed address (manual, section 1, point 2); from another address of the customer's it
is marked, in the admin and in the mail: a header, the subject, and the first lines.
"""

from __future__ import annotations

import logging
from datetime import timedelta
from email.utils import make_msgid
from smtplib import SMTPException
from typing import Any

from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.mail import EmailMessage, get_connection
from django.db import transaction
from django.urls import reverse
from django.utils import translation
from django.utils.formats import date_format
from django.utils.timezone import localtime, now
from django.utils.translation import gettext as _

from accounts import names
from accounts.models import Account, Customer, Domain
from forwarding.models import ForwardingAddress
from mailhost import grammar
from orders.models import Inquiry

_HOUR = timedelta(hours=1)
#: What could not be sent for so long is in the admin alone.
_RECENT = timedelta(days=7)
#: Mails sent in one go; the rest a minute later.
_AT_ONCE = 100
#: Whether a mail came from the domain's fixed address, for the operator's filters.
HEADER = "X-Plusmail-Fixed-Address"

_log = logging.getLogger(__name__)


class TooOften(ValidationError):
    """Raised by `write` for a customer who has written CONTACTS_PER_HOUR times in an hour."""


def write(domain: Domain, *, sender: str, subject: str, text: str, by: Any) -> Inquiry:
    """Keep a message for the operator.

    Raises TooOften, and ValidationError for a `sender` that is none of the customer's addresses.
    """
    with transaction.atomic():
        # Two requests at once count each other.
        Customer.objects.select_for_update(no_key=True).get(pk=domain.customer_id)
        _refuse_too_often(domain)
        return Inquiry.objects.create(
            domain=domain,
            sender=sender,
            from_fixed=sender == domain.fixed_address,
            subject=subject,
            text=text,
            written_by=by,
        )


def _refuse_too_often(domain: Domain) -> None:
    since = now() - _HOUR
    own = Inquiry.objects.filter(domain__customer=domain.customer_id, written_at__gt=since)
    times = list(own.order_by("-written_at").values_list("written_at", flat=True))
    if len(times) < settings.CONTACTS_PER_HOUR:
        return
    free_at = times[settings.CONTACTS_PER_HOUR - 1] + _HOUR
    words = _(
        "You have written to us %(count)d times within an hour. You can send this from %(time)s on."
    )
    values = {"count": len(times), "time": date_format(localtime(free_at), "TIME_FORMAT")}
    raise TooOften(words % values, code="often")


def clean_sender(domain: Domain, typed: str) -> str:
    """Return one of the customer's own addresses as stored; ValidationError for any other text."""
    local_part, _at, host = typed.strip().rpartition("@")
    address = f"{local_part.lower()}@{names.stored_domain(host)}"
    if not grammar.DESTINATION.match(address) or not _is_own(domain, address):
        words = _("This is none of your addresses. Enter %(fixed)s, or another one that you have.")
        fixed = names.readable_address(domain.fixed_address)
        raise ValidationError(words % {"fixed": fixed}, code="foreign")
    return address


def _is_own(domain: Domain, address: str) -> bool:
    local_part, _at, host = address.partition("@")
    own = Domain.objects.filter(customer=domain.customer_id, name=host).first()
    if own is None:
        return False
    if address == own.fixed_address:
        return True
    mailboxes = Account.objects.filter(domain=own, name=local_part)
    forwards = ForwardingAddress.objects.filter(domain=own, local_part=local_part)
    return mailboxes.exists() or forwards.exists()


def send_written() -> int:
    """Send what was written and has not gone out yet to CONTACT_ADDRESS; return how many mails.

    What fails is tried again with the next call. One that two workers find goes out once; a
    process killed between mark and mail loses a mail whose text the admin has all the same.
    """
    if not settings.CONTACT_ADDRESS:
        return 0
    recent = Inquiry.objects.filter(mailed_at=None, written_at__gt=now() - _RECENT)
    waiting = recent.select_related("domain__customer__user")
    sent = 0
    for inquiry in waiting.order_by("written_at", "pk")[:_AT_ONCE]:
        sent += _send(inquiry)
    return sent


def _send(inquiry: Inquiry) -> int:
    own = Inquiry.objects.filter(pk=inquiry.pk)
    if not own.filter(mailed_at=None).update(mailed_at=now()):
        return 0
    try:
        return mail_of(inquiry).send()
    except Exception as error:
        # Whatever it is: others wait behind it.
        own.update(mailed_at=None)
        surprise = error if not isinstance(error, (SMTPException, OSError)) else None
        _log.warning("message %d to us not sent yet: %s", inquiry.pk, error, exc_info=surprise)
        return 0


def mail_of(inquiry: Inquiry) -> EmailMessage:
    """Return the mail to the operator, in the panel's first language."""
    domain = inquiry.domain
    with translation.override(settings.LANGUAGE_CODE):
        subject = f"[{domain.name}] {inquiry.subject}"
        if not inquiry.from_fixed:
            mark = _("not from the fixed address")
            subject = f"[{mark}] {subject}"
        text = "\n".join([*_marked(inquiry), inquiry.text, "", *_signed(inquiry), ""])
    return EmailMessage(
        subject,
        text,
        inquiry.sender,
        [settings.CONTACT_ADDRESS],
        headers={
            HEADER: "yes" if inquiry.from_fixed else "no",
            "X-Plusmail-Domain": domain.name,
            "Message-ID": make_msgid(domain=domain.name),
        },
        connection=get_connection(),
    )


def _marked(inquiry: Inquiry) -> list[str]:
    if inquiry.from_fixed:
        return []
    words = _("ATTENTION: written from %(address)s, not from the fixed address %(fixed)s.")
    fixed = names.readable_address(inquiry.domain.fixed_address)
    return [words % {"address": names.readable_address(inquiry.sender), "fixed": fixed}, ""]


def _signed(inquiry: Inquiry) -> list[str]:
    """Return what the operator wants to know; the customer's text stands above it."""
    customer = inquiry.domain.customer
    page = reverse("admin:orders_inquiry_change", args=[inquiry.pk])
    return [
        "-- ",
        _("Customer: %(name)s (login %(login)s)")
        % {"name": customer.name, "login": customer.user.username},
        _("Domain: %(domain)s") % {"domain": inquiry.domain},
        _("Written in the panel at %(time)s")
        % {"time": date_format(localtime(inquiry.written_at), "SHORT_DATETIME_FORMAT")},
        f"{settings.PANEL_URL}{page}",
    ]
