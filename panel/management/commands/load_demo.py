"""Demo data: two customers with their domains, as a newcomer finds them at `make run`."""

import os
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError
from django.db import transaction

from accounts import passwords
from accounts.models import Account, Customer, Domain, Plan, User
from forwarding.models import ForwardingAddress, MailingList
from propagation.models import Change, MailServer

SERVER = "mail1.plusmail.test"
# The manual names the four plans that allow self-service and gives no account counts:
# these numbers are samples.
PLANS = [
    ("light", "ライト", "Light", 3, True),
    ("economy", "エコノミー", "Economy", 5, True),
    ("standard", "スタンダード", "Standard", 10, True),
    ("upper", "アッパークラス", "Upper class", 20, True),
    ("managed", "おまかせ", "Managed", 5, False),
]


class Command(BaseCommand):
    """`manage.py load_demo`: once; what is there already is kept."""

    help = "Load demo data (only with DEMO=1), once."

    def handle(self, **options: Any) -> None:
        """Load it, and write the logins to a file that only its owner can read."""
        if not settings.DEMO:
            raise CommandError("Demo data is loaded only with DEMO=1.")
        if User.objects.exists():
            self.stdout.write("The demo data is there already.")
            return
        logins = {name: passwords.generate() for name in ("operator", "sakura", "wakaba")}
        mailboxes = passwords.generate()
        with transaction.atomic():
            _load(logins, mailboxes)
            call_command("load_demo_orders")
        Change.objects.pending().hurry()
        lines = [
            f"Operator   {'operator':10} {logins['operator']}   (Django admin: /admin/)",
            f"Customer   {'sakura':10} {logins['sakura']}   (example.com, example.net)",
            f"Customer   {'wakaba':10} {logins['wakaba']}   (wakaba.example, managed.example)",
            f"Mailboxes  every one has the password {mailboxes}",
        ]
        path = Path(settings.VAR) / "demo-logins.txt"
        with open(os.open(path, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600), "w") as file:  # noqa: PTH123
            file.write("\n".join(lines) + "\n")
        self.stdout.write(f"Demo data loaded; the logins are in {path.name}.")


def _load(logins: dict[str, str], mailbox_password: str) -> None:
    """Create the demo's rows, through the doors that customers use."""
    User.objects.create_superuser("operator", password=logins["operator"])
    server = MailServer.objects.create(name=SERVER)
    plans = {
        code: Plan.objects.create(
            code=code,
            name_ja=name_ja,
            name_en=name_en,
            account_limit=limit,
            self_service=self_service,
            is_sample=True,
        )
        for code, name_ja, name_en, limit, self_service in PLANS
    }
    sakura = _customer("sakura", "株式会社さくら商店", logins)
    wakaba = _customer("wakaba", "わかば工房", logins)
    opened = {}
    for customer, name, plan in (
        (sakura, "example.com", "standard"),
        (sakura, "example.net", "light"),
        (wakaba, "wakaba.example", "economy"),
        (wakaba, "managed.example", "managed"),
    ):
        opened[name] = Domain.objects.open(
            customer=customer,
            name=name,
            plan=plans[plan],
            server=server,
            password=mailbox_password,
        )
    for name, domain in (
        ("tanaka", "example.com"),
        ("suzuki", "example.com"),
        # The first start of the demo fills these two: standalone.demo_mail.
        ("ito", "example.com"),
        ("kato", "example.com"),
        ("info", "wakaba.example"),
        ("yamada", "managed.example"),
    ):
        Account.objects.open(domain=opened[domain], name=name, password=mailbox_password)
    ForwardingAddress.objects.open(
        domain=opened["example.com"],
        local_part="sales",
        destinations=["tanaka@example.com", "suzuki@example.com"],
    )
    ForwardingAddress.objects.open(
        domain=opened["example.com"],
        local_part="orders",
        destinations=["kato@example.com", "suzuki@example.com"],
    )
    MailingList.objects.open(
        domain=opened["example.com"],
        local_part="news",
        title="さくら商店からのお知らせ(見本)",
        owner_address="tanaka@example.com",
        posters="owner",
        members=["suzuki@example.com", "sales@example.com"],
    )


def _customer(login: str, name: str, logins: dict[str, str]) -> Customer:
    email = f"{login}@customer.example"
    user = User.objects.create_user(login, email, password=logins[login])
    return Customer.objects.create(user=user, name=name)
