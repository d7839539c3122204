"""A prepared query finds what Django's own finds, each time with other values."""

from __future__ import annotations

from datetime import datetime, timedelta
from threading import Thread
from typing import Any
from uuid import UUID

import pytest
from django.db import connection, models
from django.db.models import Q, QuerySet
from django.test.utils import CaptureQueriesContext
from django.utils.timezone import now

from accounts.models import Account, Domain
from propagation.models import Change
from propagation.prepared import Prepared, all_rows
from tests import factories


@Prepared
def _with_all(name: str) -> QuerySet[Domain]:
    related = "customer__user", "plan", "server", "fixed_account__domain"
    return Domain.objects.filter(name=name).select_related(*related)


@Prepared
def _named(order: str, names: list[str], domain: int) -> QuerySet[Account]:
    return Account.objects.filter(name__in=names, domain=domain).order_by(order)


@Prepared
def _containing(text: str) -> QuerySet[Account, str]:
    return Account.objects.filter(name__contains=text).values_list("name", flat=True)


@Prepared
def _since(since: datetime, ids: list[UUID]) -> QuerySet[Account, tuple[UUID, datetime]]:
    found = Account.objects.filter(Q(created_at__gte=since), pk__in=ids)
    return found.order_by("name").values_list("pk", "created_at")


def _same(one: models.Model, other: models.Model) -> None:
    fields = [field.attname for field in one._meta.concrete_fields]
    assert [getattr(one, name) for name in fields] == [getattr(other, name) for name in fields]


def test_models_come_with_what_they_are_related_to(com: Domain, other: Domain) -> None:
    for name in (com.name, other.name):
        [found] = _with_all(name=name)
        with CaptureQueriesContext(connection) as asked:
            related = [found.customer.user, found.plan, found.server, found.fixed_account.domain]
        assert not asked.captured_queries
        wanted = Domain.objects.get(name=name)
        _same(found, wanted)
        for one, its in zip(
            related,
            [wanted.customer.user, wanted.plan, wanted.server, wanted.fixed_account.domain],
            strict=True,
        ):
            _same(one, its)
    assert _with_all(name="nobodys.example") == []


@pytest.mark.parametrize("count", [0, 1, 2, 3, 4, 5, 9])
@pytest.mark.parametrize("order", ["name", "-name"])
def test_any_number_of_values(com: Domain, count: int, order: str) -> None:
    names = [factories.make_account(com, f"box{n}").name for n in range(5)][:count]
    names += [f"none{n}" for n in range(count - len(names))]
    wanted = Account.objects.filter(name__in=names, domain=com).order_by(order)
    assert _named(order, names=names, domain=com.pk) == list(wanted)
    assert _named(order, names=names, domain=com.pk, part=slice(1, 3)) == list(wanted[1:3])


def test_values_mean_nothing_in_sql(com: Domain) -> None:
    factories.make_account(com, "a_b")
    factories.make_account(com, "aab")
    assert _containing(text="a_b") == ["a_b"]
    assert _containing(text="%") == []
    assert _containing(text="' OR 1=1 --") == []


def test_moments_and_ids(com: Domain) -> None:
    account = factories.make_account(com, "info")
    ids = [account.pk, com.fixed_account_id]
    assert (account.pk, account.created_at) in _since(since=now() - timedelta(hours=1), ids=ids)
    assert _since(since=now() + timedelta(hours=1), ids=ids) == []


def test_all_rows_are_counted_in_one_row(com: Domain) -> None:
    counted: Prepared[int] = Prepared(
        lambda domain: (
            Account.objects.filter(domain=domain).order_by().values_list(all_rows(), flat=True)
        )
    )
    assert counted(domain=com.pk) == [com.accounts.count()]
    assert counted(domain=0) == [0]


def test_sql_is_written_once(com: Domain, monkeypatch: pytest.MonkeyPatch) -> None:
    made = []

    def make(key: Any) -> QuerySet[Change]:
        made.append(key)
        return Change.objects.filter(key=key)

    changes: Prepared[Change] = Prepared(make)
    first = changes(key=f"domain:{com.name}")
    assert [change.key for change in first] == [f"domain:{com.name}"]
    assert changes(key="domain:nobodys.example") == []
    assert changes(key=f"domain:{com.name}") == first
    assert len(made) == 1


@pytest.mark.django_db(transaction=True)
def test_threads_ask_by_connections_of_their_own(com: Domain) -> None:
    _with_all(name=com.name)
    found: list[Domain] = []

    def ask() -> None:
        found.extend(_with_all(name=com.name))
        connection.close()

    thread = Thread(target=ask)
    thread.start()
    thread.join()
    assert found == [com]
