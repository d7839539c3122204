"""Many things that customers might do, always the same ones; run with Django's settings.

`python -m tests.e2e.changes before COUNT WORD...` makes the rows that the changes are about,
and `... make COUNT WORD` then COUNT pending changes, shuffled: deletions with the forward that
goes along, new passwords, other destinations, new mailboxes with and without a forward. All
names end with WORD. Both go through the doors that customers use, and print as JSON the
password that each mailbox shall have in the end; "" for one that shall be gone.
"""

from __future__ import annotations

import json
import random
import sys
from collections.abc import Callable

import django

PASSWORD = "correct-horse-battery"
NEW_PASSWORD = "battery-staple-horse"
DOMAIN = "many.example"
SEED = 2026


def before(count: int, words: list[str]) -> dict[str, str]:
    """Open a domain with the mailboxes and forwards that `make` is going to change."""
    from accounts.models import Account, Customer, Domain, Plan, User
    from propagation.models import MailServer

    domain = Domain.objects.open(
        customer=Customer.objects.create(user=User.objects.create_user("many"), name="Many"),
        name=DOMAIN,
        plan=Plan.objects.create(code="many", name_ja="大", name_en="Many", account_limit=10_000),
        server=MailServer.objects.get(),
        password=PASSWORD,
    )
    passwords: dict[str, str] = {}
    for word in words:
        for number in range(count // 10):
            _open_with_forward(domain, f"gone{number}-{word}", passwords)
            _open_with_forward(domain, f"moved{number}-{word}", passwords)
        for number in range(count // 5):
            name = f"renewed{number}-{word}"
            Account.objects.open(domain=domain, name=name, password=PASSWORD)
            passwords[name] = PASSWORD
    return passwords


def make(count: int, words: list[str]) -> dict[str, str]:
    """Make `count` pending changes, one per record."""
    from accounts.models import Account, Domain
    from forwarding.models import ForwardingAddress
    from forwarding.removal import delete_account

    domain = Domain.objects.get(name=DOMAIN)
    passwords: dict[str, str] = {}
    [word] = words

    def delete(number: int) -> None:
        delete_account(Account.objects.get(name=f"gone{number}-{word}"))
        passwords[f"gone{number}-{word}"] = ""

    def renew(number: int) -> None:
        Account.objects.get(name=f"renewed{number}-{word}").set_password(NEW_PASSWORD)
        passwords[f"renewed{number}-{word}"] = NEW_PASSWORD

    def redirect(number: int) -> None:
        address = ForwardingAddress.objects.get(local_part=f"to-moved{number}-{word}")
        address.lead([*address.leads_to(), "friend@outside.example"])

    def add(number: int) -> None:
        Account.objects.open(domain=domain, name=f"alone{number}-{word}", password=PASSWORD)
        passwords[f"alone{number}-{word}"] = PASSWORD

    def add_with_forward(number: int) -> None:
        _open_with_forward(domain, f"new{number}-{word}", passwords)

    tenth = count // 10
    work: list[tuple[Callable[[int], None], int]] = [
        *((delete, number) for number in range(tenth)),
        *((renew, number) for number in range(2 * tenth)),
        *((redirect, number) for number in range(tenth)),
        *((add_with_forward, number) for number in range(2 * tenth)),
        # A deletion and a new mailbox with its forward were two changes each.
        *((add, number) for number in range(count - 9 * tenth)),
    ]
    random.Random(SEED).shuffle(work)
    for do, number in work:
        do(number)
    return passwords


def _open_with_forward(domain: object, name: str, passwords: dict[str, str]) -> None:
    """Open a mailbox and lead to-NAME to it."""
    from accounts.models import Account, Domain
    from forwarding.models import ForwardingAddress

    assert isinstance(domain, Domain)
    account = Account.objects.open(domain=domain, name=name, password=PASSWORD)
    passwords[name] = PASSWORD
    ForwardingAddress.objects.open(
        domain=domain, local_part=f"to-{name}", destinations=[account.address]
    )


if __name__ == "__main__":
    django.setup()
    door = {"before": before, "make": make}[sys.argv[1]]
    sys.stdout.write(json.dumps(door(int(sys.argv[2]), sys.argv[3:])))
