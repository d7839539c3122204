"""The operator's yearly list for billing: the orders granted in a year, as CSV for Excel.

UTF-8 with a byte order mark, without which Excel takes it for Shift_JIS; lines end as RFC 4180 has
them. No text is a formula to a spreadsheet, whatever a customer's name begins with.
"""

from __future__ import annotations

import codecs
import csv
import io
from collections.abc import Iterator
from datetime import datetime
from typing import Any

from django.db.models import Min
from django.utils.timezone import localtime, make_aware
from django.utils.translation import gettext as _

from accounts.models import Account
from accounts.spreadsheets import guarded
from orders.models import OptionKind, Order, OrderQuerySet, OrderState
from orders.models.orders import limit_of

#: The years that can be asked for.
FIRST, LAST = 2000, 2999


def granted_in(year: int) -> OrderQuerySet:
    """Return the orders granted in a calendar year of the panel's time zone, the first first."""
    begin, end = (make_aware(datetime(one, 1, 1)) for one in (year, year + 1))  # noqa: DTZ001
    orders = Order.objects.filter(state=OrderState.GRANTED, ended_at__gte=begin, ended_at__lt=end)
    return orders.select_related("domain__customer__user", "domain__plan").order_by(
        "ended_at", "pk"
    )


def years() -> list[int]:
    """Return the years for which there may be something to bill, the newest first."""
    this = localtime().year
    first = Order.objects.filter(state=OrderState.GRANTED).aggregate(at=Min("ended_at"))["at"]
    return list(range(this, (localtime(first).year if first else this) - 1, -1))


def yearly_list(year: int) -> bytes:
    """Return the file; its first line names the columns, in the language that is active."""
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\r\n")
    table.writerow(map(_safe, _columns()))
    table.writerows([_safe(cell) for cell in row] for row in _rows(year))
    return codecs.BOM_UTF8 + text.getvalue().encode()


def _safe(cell: Any) -> Any:
    return guarded(cell) if isinstance(cell, str) else cell


def _columns() -> list[str]:
    return [
        _("Order number"), _("Customer"), _("Login"), _("Domain"), _("Option"), _("POP account"),
        _("Quantity"), _("Price of one (yen)"), _("Price (yen)"), _("Ordered on"),
        _("Granted on"), _("Limit before"), _("Limit after"), _("Limit now"),
    ]  # fmt: skip


def _rows(year: int) -> Iterator[list[Any]]:
    orders = list(granted_in(year))
    ids = {order.account_id for order in orders if order.account_id}
    accounts = Account.objects.select_related("domain__plan").in_bulk(ids)
    for order in orders:
        customer = order.domain.customer
        yield [
            order.pk, customer.name, customer.user.username, str(order.domain), order.what,
            order.account_name, order.quantity, order.setup_yen, order.yen, _day(order.asked_at),
            _day(order.ended_at), *_limits(order, accounts),
        ]  # fmt: skip


def _limits(order: Order, accounts: dict[Any, Account]) -> list[str]:
    """Return the limits before, after and today as people write them.

    Today's later orders and the operator have changed; "": the account is gone.
    """
    account = accounts.get(order.account_id)
    today = None
    if order.of == OptionKind.ACCOUNT:
        today = order.domain.account_limit
    elif account:
        today = limit_of(order.of, account)
    limits = (order.limit_before, order.limit_after, today)
    return ["" if limit is None else order.of.figure(limit) for limit in limits]


def _day(moment: datetime | None) -> str:
    return localtime(moment).date().isoformat() if moment else ""
