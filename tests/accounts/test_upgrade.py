"""What waited in the outbox of the version before customers could send."""

from __future__ import annotations

from importlib import import_module

import pytest
from django.apps import apps
from django.db import connection

from accounts.models import Account, Domain
from propagation.cancel import cancel
from propagation.models import Change
from tests import factories
from tests.conftest import Cast
from tests.earlier import SIZE, earlier_value

migration = import_module("accounts.migrations.0004_open_changes_say_what_servers_need")


def make_earlier(change: Change) -> None:
    """Write an open change as that version did."""
    for side in ("before", "after"):
        if value := getattr(change, side):
            # The password's hash has a column of its own.
            setattr(change, side, earlier_value(change.key, {"password_hash": ""} | value))
            getattr(change, side).pop("password_hash", None)
    change.save()


def renew() -> None:
    migration.renew(apps, connection.schema_editor())


def test_password_that_is_taken_back_gives_no_size_of_its_own(tanaka: Account) -> None:
    tanaka.set_password("another-long-word")
    change = factories.pending(tanaka.key)
    make_earlier(change)
    assert change.before
    assert change.before["quota_bytes"] == SIZE
    renew()
    change.refresh_from_db()
    assert change.entry().record == Account.objects.get(pk=tanaka.pk).record()
    cancel([change])
    tanaka.refresh_from_db()
    assert tanaka.quota_bytes is None


def test_size_of_its_own_stays(tanaka: Account) -> None:
    tanaka.limit(quota_bytes=12345)
    change = factories.pending(tanaka.key)
    make_earlier(change)
    renew()
    change.refresh_from_db()
    assert change.after
    assert change.after["quota_bytes"] == 12345


def test_domain_that_is_being_opened_names_its_owner_and_plan(cast: Cast) -> None:
    domain = factories.make_domain(
        "midori.example", customer=cast.wakaba, plan=cast.plan, server=cast.server
    )
    change = factories.pending("domain:midori.example")
    make_earlier(change)
    renew()
    change.refresh_from_db()
    assert change.entry().record == domain.record()


@pytest.mark.parametrize("removed", [True, False])
def test_changes_of_what_is_gone_or_ended_stay_as_they_are(
    com: Domain, tanaka: Account, removed: bool
) -> None:
    tanaka.delete_later()
    change = factories.pending(tanaka.key)
    if removed:
        Account.objects.filter(pk=tanaka.pk).delete()
    else:
        factories.settle()
        change.refresh_from_db()
    make_earlier(change)
    before = change.before
    renew()
    change.refresh_from_db()
    assert change.before == before
