"""The two pages: what they show of own addresses, and that they tell nothing of others."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.test import Client
from django.utils.timezone import now

from tests import factories
from tests.conftest import Cast, logged_in
from tracing.models import EventReport, MailEvent

pytestmark = pytest.mark.django_db
WHY = "/domains/example.com/why/"
MAP = "/domains/example.com/map/"


@pytest.fixture
def sakura(cast: Cast) -> Client:
    """Her browser, in English."""
    client = logged_in(cast.sakura.user)
    client.cookies["django_language"] = "en"
    return client


@pytest.mark.parametrize("page", [WHY, MAP])
def test_without_an_address_it_is_asked_for(sakura: Client, page: str) -> None:
    assert sakura.get(page).status_code == 200


@pytest.mark.parametrize("page", [WHY, MAP])
def test_another_s_address_and_one_of_nobody_are_answered_alike(
    cast: Cast, sakura: Client, page: str
) -> None:
    factories.make_account(cast.other, "info")
    answers = []
    for address in ("info@wakaba.example", "none@wakaba.example", "x@nowhere.example"):
        response = sakura.get(page, {"address": address})
        assert response.status_code == 422
        answers.append(response.text.replace(address, "").split("<main")[1])
    assert len(set(answers)) == 1
    assert "address of one of your domains" in answers[0]


def test_map_is_drawn(cast: Cast, sakura: Client) -> None:
    factories.make_account(cast.com, "tanaka")
    factories.make_forward(cast.com, "info", "tanaka@example.com", "nobody@example.com")
    page = sakura.get(MAP, {"address": "info"}).text
    assert "Where mail for" in page
    assert "nobody@example.com" in page
    assert "Does not exist: mail is returned to its sender" in page
    assert "Waiting to be added" in page


def test_map_of_an_address_of_another_domain_of_hers(cast: Cast, sakura: Client) -> None:
    page = sakura.get(MAP, {"address": "postmaster@example.net"}).text
    assert "fixed for the administration" in page


def test_reasons_are_shown_as_text(cast: Cast, sakura: Client) -> None:
    factories.make_account(cast.com, "tanaka")
    factories.settle()
    EventReport.objects.create(server=cast.server, collected_at=now())
    MailEvent.objects.create(
        domain=cast.com, address="tanaka@example.com", side="from", kind="bounced", at=now(),
        other="x@outside.test", relay="mx.outside.test", code="5.7.1",
        reason="<script>alert(1)</script>",
    )  # fmt: skip
    page = sakura.get(WHY, {"address": "tanaka"}).text
    assert "&lt;script&gt;alert(1)" in page
    assert "<script>alert" not in page
    assert "Returned to its sender" in page
    assert "are missing here" not in page


def test_late_report_is_said(cast: Cast, sakura: Client) -> None:
    EventReport.objects.create(server=cast.server, collected_at=now() - timedelta(minutes=6))
    assert "are missing here" in sakura.get(WHY, {"address": "example"}).text


def test_lists_lead_to_the_map(cast: Cast, sakura: Client) -> None:
    factories.make_account(cast.com, "tanaka")
    factories.make_forward(cast.com, "info", "tanaka@example.com")
    for page, name in (("users", "tanaka"), ("forwarding", "info")):
        shown = sakura.get(f"/domains/example.com/{page}/").text
        assert f'href="{MAP}?address={name}"' in shown
