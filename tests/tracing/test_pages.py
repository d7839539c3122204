"""The two pages: what they show of own addresses, and that they tell nothing of others."""

from __future__ import annotations

import re
from datetime import timedelta

import pytest
from django.test import Client
from django.utils import translation
from django.utils.formats import date_format
from django.utils.timezone import localtime, now

from tests import factories
from tests.conftest import Cast, logged_in
from tracing.models import KEPT, EventReport, MailEvent

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
    EventReport.objects.create(server=cast.server, known_since=now() - KEPT, known_until=now())
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
    until = now() - timedelta(minutes=6)
    EventReport.objects.create(server=cast.server, known_since=now() - KEPT, known_until=until)
    page = sakura.get(WHY, {"address": "example"}).text
    assert "are missing here" in page
    assert "has not told of messages since" in page
    assert "Nothing is in the way" not in page


def test_page_says_of_when_it_is_and_since_when(cast: Cast, sakura: Client) -> None:
    since, until = now() - timedelta(days=3), now() - timedelta(minutes=4)
    EventReport.objects.create(server=cast.server, known_since=since, known_until=until)
    page = sakura.get(WHY, {"address": "example"}).text
    with translation.override("en"):
        assert f"As of {date_format(localtime(until), 'TIME_FORMAT')}; kept" in page
        began = date_format(localtime(since), "SHORT_DATETIME_FORMAT")
    assert f"none has come since {began}" in page
    assert f"Nothing was delivered or refused since {began}" in page


def test_button_of_an_unknown_name_leads_to_adding_it(cast: Cast, sakura: Client) -> None:
    page = sakura.get(WHY, {"address": "nobody"}).text
    [url] = re.findall(r'<a class="button" href="([^"]+)"', page)
    assert url == "/domains/example.com/forwarding/?local_part=nobody#add-forward"
    form = sakura.get(url).text.partition('id="add-forward"')[2]
    assert 'name="local_part" value="nobody"' in form


def test_lists_lead_to_the_map(cast: Cast, sakura: Client) -> None:
    factories.make_account(cast.com, "tanaka")
    factories.make_forward(cast.com, "info", "tanaka@example.com")
    for page, name in (("users", "tanaka"), ("forwarding", "info")):
        shown = sakura.get(f"/domains/example.com/{page}/").text
        assert f'href="{MAP}?address={name}"' in shown
