"""The panel's copies of an earlier version become today's."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.db import connection
from django.db.migrations.executor import MigrationExecutor
from django.utils.timezone import now

from accounts.models import Account
from quota.models import Refusal, Report


@pytest.mark.long
@pytest.mark.django_db(transaction=True)
def test_refusals_are_fetched_anew_and_nothing_else(alice: Account) -> None:
    newest = MigrationExecutor(connection).loader.graph.leaf_nodes("quota")
    try:
        MigrationExecutor(connection).migrate([("quota", "0002_usage")])
        before = MigrationExecutor(connection).loader.project_state([("quota", "0002_usage")])
        refusal = before.apps.get_model("quota", "Refusal")
        for n in range(2):
            refusal.objects.create(
                account_id=alice.pk,
                at=now() - timedelta(seconds=n),
                reason="size",
                limit=1,
                reached=2,
            )
        Report.objects.create(server=alice.server, cursor="11.12.13.14.15")
    finally:
        MigrationExecutor(connection).migrate(newest)
    assert not Refusal.objects.exists()
    assert Report.objects.get().cursor == "11.0.13.14.15"
