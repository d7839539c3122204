"""Many at once are judged and written as one after the other would be."""

from __future__ import annotations

import random
from collections.abc import Iterator

import pytest
from django.core.exceptions import ValidationError
from django.db import transaction
from pytest_django import DjangoAssertNumQueries

from accounts.many import ManyAccounts
from accounts.models import Account, Domain
from forwarding.addresses import clean_destinations
from forwarding.many import ManyForwards
from forwarding.models import ForwardingAddress
from propagation.models import Change, ChangeState, Need, one_at_a_time
from tests import factories

HASH = "{SHA512-CRYPT}$6$rounds=1000$abcdefgh$" + "x" * 86


def changes() -> list[tuple[object, ...]]:
    """Return what the outbox holds that is open, apart from its numbers and times."""
    found = Change.objects.open().order_by("key")
    return [
        (change.key, change.before, change.after, change.after_secret, change.domain)
        for change in found
    ]


def needs() -> set[tuple[str, str]]:
    return set(Need.objects.values_list("change__key", "key"))


def rolled_back() -> Iterator[None]:
    """Undo what is done in the block."""
    with transaction.atomic():
        yield
        transaction.set_rollback(True)


def test_many_accounts_come_out_as_single_ones_do(com: Domain, net: Domain) -> None:
    switched, pending = (factories.make_account(com, name) for name in ("switched", "pending"))
    Change.objects.pending().filter(key=switched.key).end(ChangeState.APPLIED)
    for _block in rolled_back():
        Account.objects.open(domain=com, name="new", password_hash=HASH)
        switched.limit(ftp=True, password_hash=HASH)
        pending.switch("ssh", True)
        # The id is made by chance; it names the mailbox's directory.
        one_by_one = [(key, bool(after)) for key, _before, after, *_rest in changes()]
        secrets = [secret for *_rest, secret, _domain in changes()]
        asked = needs()
    with transaction.atomic():
        one_at_a_time()
        many = ManyAccounts(com, ["new", "switched", "pending"])
        many.add("new", password_hash=HASH)
        many.change("switched", ftp=True, password_hash=HASH)
        many.change("pending", ssh=True)
        many.save()
    assert [(key, bool(after)) for key, _before, after, *_rest in changes()] == one_by_one
    assert [secret for *_rest, secret, _domain in changes()] == secrets
    assert needs() == asked
    assert Account.objects.get(name="switched").record().ftp
    assert Account.objects.get(name="pending").record().ssh


NAMES = ["a", "b", "c", "d", "e", "postmaster", "box"]
ENDS = [*(f"{name}@example.com" for name in NAMES), "x@Example.org", "y@wakaba.example"]


@pytest.mark.parametrize("seed", range(12))
def test_many_forwards_come_out_as_single_ones_do(com: Domain, other: Domain, seed: int) -> None:
    chance = random.Random(seed)
    factories.make_account(com, "box")
    factories.make_list(com, "club", "a@example.com")
    factories.make_forward(com, "c", "d@example.com")
    factories.settle()
    edits = {
        name: chance.sample([*ENDS, "club@example.com"], chance.randint(1, 3))
        for name in [*chance.sample(NAMES, 6), "club"]
    }
    for _block in rolled_back():
        refused = {}
        for name, leads in edits.items():
            row = ForwardingAddress.objects.filter(domain=com, local_part=name).first()
            try:
                if row:
                    row.lead(leads)
                else:
                    ForwardingAddress.objects.open(domain=com, local_part=name, destinations=leads)
            except ValidationError as error:
                refused[name] = error.messages
        expected = changes()
    told = {}
    with transaction.atomic():
        one_at_a_time()
        many = ManyForwards(com, {name: clean_destinations(to) for name, to in edits.items()})
        for name, leads in edits.items():
            try:
                many.lead(name, clean_destinations(leads))
            except ValidationError as error:
                told[name] = error.messages
        many.save()
    assert told == refused
    assert changes() == expected


def test_forward_to_what_comes_in_the_same_file_waits_for_it(com: Domain) -> None:
    with transaction.atomic():
        one_at_a_time()
        many = ManyForwards(com, {"first": ["second@example.com"], "second": ["x@example.org"]})
        many.lead("first", ["second@example.com"])
        many.lead("second", ["x@example.org"])
        many.save()
    assert ("address:first@example.com", "address:second@example.com") in needs()
    assert factories.settle() == ["address:second@example.com", "address:first@example.com"]


@pytest.mark.parametrize("number", [1, 40])
def test_number_of_queries_does_not_grow_with_the_rows(
    com: Domain, django_assert_max_num_queries: DjangoAssertNumQueries, number: int
) -> None:
    edits = {f"info{n}": [f"x{n}@example.org"] for n in range(number)}
    with django_assert_max_num_queries(30), transaction.atomic():
        many = ManyForwards(com, edits)
        for name, leads in edits.items():
            many.lead(name, leads)
        many.save()
    assert com.forwarding_addresses.count() == number
