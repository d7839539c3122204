"""Options and orders of the demo; load_demo calls it."""

from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from accounts.models import MEGABYTE, Domain
from orders.models import Option, OptionKind, Order

# One more account for 300 yen is the manual's; it gives no other price: those are samples.
OPTIONS = [
    (OptionKind.ACCOUNT, 1, 300),
    (OptionKind.MAILBOX, 10 * MEGABYTE, 500),
    (OptionKind.MAILBOX, 40 * MEGABYTE, 1500),
    (OptionKind.MESSAGE, 7 * MEGABYTE, 500),
]


class Command(BaseCommand):
    """`manage.py load_demo_orders`: once; what is there already is kept."""

    help = "Load the demo's options and orders (only with DEMO=1), once."

    def handle(self, **options: Any) -> None:
        """Load them, through the doors that customers and the operator use."""
        if not settings.DEMO:
            raise CommandError("Demo data is loaded only with DEMO=1.")
        if Option.objects.exists():
            return
        rows = [
            Option.objects.create(kind=kind, amount=amount, setup_yen=yen)
            for kind, amount, yen in OPTIONS
        ]
        account, larger, largest, message = rows
        com, wakaba = (Domain.objects.get(name=n) for n in ("example.com", "wakaba.example"))
        accounts = {one.name: one for one in com.accounts.all()}
        _order(com, account, quantity=2).grant()
        _order(com, message, account=accounts["tanaka"]).take_back()
        _order(com, largest, account=accounts["kato"]).refuse(
            "40 MBの増量は準備中です。10 MBの増量をご利用ください。(見本)"
        )
        _order(com, larger, account=accounts["suzuki"])
        _order(wakaba, account)


def _order(domain: Domain, option: Option, **fields: Any) -> Order:
    return Order.objects.ask(domain=domain, option=option, by=domain.customer.user, **fields)
