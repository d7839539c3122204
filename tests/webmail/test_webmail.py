"""The page of a domain's webmail: installed, taken back, removed, and who may do so."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.core.checks import run_checks
from django.core.management import CommandError, call_command
from django.db import IntegrityError, transaction
from django.test import Client
from django.utils.timezone import now
from pytest_django import Settings

from accounts.models import Domain
from mailhost.host import Status
from mailhost.records import Webmail as Record
from propagation.cancel import cancel
from propagation.models import Change, ChangeState
from propagation.sources import source_of
from tests import factories
from tests.conftest import Cast, browser, logged_in
from webmail.models import Webmail, key_of

PAGE = "/domains/example.com/webmail/"
REMOVE = f"{PAGE}remove/"
KEY = "webmail:example.com"


@pytest.fixture
def live(com: Domain) -> Domain:
    """example.com, whose webmail is live."""
    Webmail.objects.install(com)
    factories.settle()
    factories.answer()
    return com


def test_one_button_installs_it_and_the_page_says_when_and_where(
    com: Domain, sakura: Client
) -> None:
    factories.answer()
    assert "Webmail is not installed" in sakura.get(PAGE).text
    response = sakura.post(PAGE, follow=True)
    assert response.redirect_chain == [(PAGE, 302)]
    assert "Webmail can be used from about" in response.text
    assert "Webmail is being installed" in response.text
    assert "in 15 minutes" in response.text
    assert "http://example.com/webmail/" in response.text
    assert 'href="http://example.com/webmail/"' not in response.text
    change = factories.pending(KEY)
    assert (change.before, change.after) == (None, {"domain": "example.com"})
    assert change.made_by == com.customer.user
    assert "Install webmail for example.com" in sakura.get("/domains/example.com/").text


def test_live_webmail_has_its_address_and_how_to_log_in(live: Domain, sakura: Client) -> None:
    text = sakura.get(PAGE).text
    assert "Webmail is installed" in text
    assert 'href="http://example.com/webmail/"' in text
    assert "Only accounts of example.com can log in here." in text
    assert REMOVE in text


def test_installing_is_taken_back(com: Domain, sakura: Client) -> None:
    sakura.post(PAGE)
    path = f"/domains/example.com/changes/{factories.pending(KEY).pk}/cancel/"
    assert path in sakura.get(PAGE).text
    text = sakura.post(path, {"next": PAGE}, follow=True).text
    assert "Taken back: Install webmail for example.com." in text
    assert "Webmail is not installed" in text
    assert not Webmail.objects.exists()


def test_installing_twice_is_installing_once(com: Domain, sakura: Client) -> None:
    for _ in range(2):
        sakura.post(PAGE)
    assert Webmail.objects.count() == 1
    assert Change.objects.open().of(com.server_id, [KEY]).count() == 1


def test_installing_what_is_live_changes_nothing(live: Domain, sakura: Client) -> None:
    text = sakura.post(PAGE, follow=True).text
    assert "Nothing is left to change" in text
    assert not Change.objects.pending().exists()


def test_removal_is_confirmed_and_says_what_stays(live: Domain, sakura: Client) -> None:
    text = sakura.get(REMOVE).text
    assert "Remove the webmail of example.com?" in text
    assert "kept for 14 days" in text
    assert Webmail.objects.exists()
    text = sakura.post(REMOVE, follow=True).text
    assert "The webmail of example.com will be removed at about" in text
    assert "Webmail is being removed" in text
    assert "Until then it can still be used:" in text
    assert factories.pending(KEY).removes
    factories.settle()
    assert not Webmail.objects.exists()
    text = sakura.get(PAGE).text
    assert "Webmail is not installed" in text
    assert "are kept until" in text


def test_removal_is_taken_back(live: Domain, sakura: Client) -> None:
    sakura.post(REMOVE)
    cancel([factories.pending(KEY)])
    assert "Webmail is installed" in sakura.get(PAGE).text


def test_installing_again_before_it_is_gone_takes_the_removal_back(
    live: Domain, sakura: Client
) -> None:
    sakura.post(REMOVE)
    sakura.post(PAGE)
    assert not Change.objects.pending().exists()
    assert not Webmail.objects.get().is_leaving()


def test_installing_again_while_it_is_removed_keeps_the_row(live: Domain) -> None:
    Webmail.objects.remove(live)
    factories.come_due()
    [removal] = Change.objects.claim_due(live.server)
    Webmail.objects.install(live)
    source_of(KEY).applied([removal])
    assert Webmail.objects.exists()
    assert source_of(KEY).record(live.server, KEY) == Record("example.com")


def test_what_the_server_never_had_goes_at_once(com: Domain, sakura: Client) -> None:
    sakura.post(PAGE)
    assert "removed at once" in sakura.get(REMOVE).text
    sakura.post(REMOVE)
    assert not Webmail.objects.exists()
    assert not Change.objects.open().of(com.server_id, [KEY]).exists()


@pytest.mark.parametrize("method", ["get", "post"])
def test_removing_what_is_not_there_leads_back(com: Domain, sakura: Client, method: str) -> None:
    response = getattr(sakura, method)(REMOVE)
    assert (response.status_code, response.headers["Location"]) == (302, PAGE)
    assert not Change.objects.filter(key=KEY).exists()


def test_kept_settings_are_promised_for_14_days_only(live: Domain, sakura: Client) -> None:
    Webmail.objects.remove(live)
    factories.settle()
    long_ago = now() - timedelta(days=14, minutes=1)
    Change.objects.filter(key=KEY, after__isnull=True).update(ended_at=long_ago)
    assert "are kept until" not in sakura.get(PAGE).text


def test_webmail_waits_for_its_domain(cast: Cast) -> None:
    new = factories.make_domain(
        "new.example", customer=cast.sakura, plan=cast.plan, server=cast.server
    )
    Webmail.objects.install(new)
    domain, webmail = factories.pending("domain:new.example"), factories.pending(key_of(new))
    Change.objects.filter(pk=webmail.pk).update(due_at=now() - timedelta(seconds=1))
    assert Change.objects.claim_due(cast.server) == []
    assert webmail.due_at >= domain.due_at


def test_plan_without_self_service_shows_no_buttons(com: Domain, sakura: Client) -> None:
    plan = com.plan
    plan.self_service = False
    plan.save()
    text = sakura.get(PAGE).text
    assert "we install and remove webmail for you" in text
    assert "<button>Install webmail" not in text
    assert sakura.post(PAGE).status_code == 403
    Webmail.objects.install(com)
    factories.settle()
    assert REMOVE not in sakura.get(PAGE).text
    assert sakura.post(REMOVE).status_code == 403
    Webmail.objects.remove(com)
    path = f"/domains/example.com/changes/{factories.pending(KEY).pk}/cancel/"
    assert path not in sakura.get(PAGE).text
    assert sakura.post(path, {"sure": "1"}).status_code == 403
    assert Webmail.objects.exists()


def test_other_customer_learns_nothing(live: Domain, wakaba: Client) -> None:
    for path in (PAGE, REMOVE):
        for method in ("get", "post", "put", "delete"):
            assert getattr(wakaba, method)(path).status_code == 404
    assert not Change.objects.pending().exists()


def test_without_an_address_none_is_offered(
    com: Domain, sakura: Client, settings: Settings
) -> None:
    settings.WEBMAIL_URL = ""
    text = sakura.get(PAGE).text
    assert "We do not offer webmail on this server." in text
    assert "<button>Install webmail" not in text
    assert sakura.post(PAGE).status_code == 404
    assert not Webmail.objects.exists()


@pytest.mark.parametrize(
    ("url", "wrong"),
    [
        ("", False),
        ("https://{domain}/webmail/", False),
        ("https://webmail.example/", True),
        ("//{domain}/", True),
    ],
)
def test_address_without_the_domain_is_said_at_the_start(
    settings: Settings, url: str, wrong: bool
) -> None:
    settings.WEBMAIL_URL = url
    assert ("webmail.E001" in {found.id for found in run_checks()}) == wrong


def test_failure_is_said_in_words(com: Domain, sakura: Client) -> None:
    factories.answer()
    Webmail.objects.install(com)
    factories.settle(status=Status.UNCONFIRMED, reason="webmail does not answer")
    text = sakura.get(PAGE).text
    assert "The mail server has not confirmed this change yet." in text
    assert "webmail does not answer" not in text


def test_records_are_those_that_stay(live: Domain, net: Domain) -> None:
    Webmail.objects.install(net)
    Webmail.objects.remove(live)
    source = source_of(KEY)
    assert list(source.records(live.server)) == [Record("example.net")]
    assert source.record(live.server, KEY) is None
    assert (
        source.record(factories.make_server("mail2.plusmail.test"), "webmail:example.net") is None
    )


def test_database_holds_one_webmail_per_domain(com: Domain) -> None:
    Webmail.objects.create(domain=com)
    with pytest.raises(IntegrityError), transaction.atomic():
        Webmail.objects.create(domain=com)


def test_operator_installs_and_removes(cast: Cast, com: Domain, operator: Client) -> None:
    path = "/admin/webmail/webmail/"
    response = operator.post(f"{path}add/", {"domain": com.pk}, follow=True)
    assert response.status_code == 200
    assert factories.pending(KEY).made_by == cast.operator
    factories.settle()
    assert "example.com" in operator.get(path).text
    action = {"action": "remove_webmail", "_selected_action": [str(com.pk)]}
    assert "1 will be removed." in operator.post(path, action, follow=True).text
    assert factories.pending(KEY).removes


def test_command_installs_and_removes(com: Domain) -> None:
    call_command("set_webmail", "example.com", "on", verbosity=0)
    assert factories.pending(KEY).due_at > now() + timedelta(minutes=10)
    call_command("set_webmail", "example.com", "on", "--now", verbosity=0)
    assert factories.settle() == [KEY]
    call_command("set_webmail", "example.com", "off", verbosity=0)
    assert factories.pending(KEY).removes
    with pytest.raises(CommandError, match="No such domain"):
        call_command("set_webmail", "nowhere.example", "on")


@pytest.mark.parametrize("language", ["ja", "en"])
def test_help_is_there_for_everybody(cast: Cast, language: str) -> None:
    wanted = {"ja": "インストールする", "en": "Installing it"}[language]
    for client in (browser(language), logged_in(cast.sakura.user, language)):
        response = client.get("/help/webmail")
        assert response.status_code == 200
        assert wanted in response.text
        assert "http://example.com/webmail/" in response.text


def test_state_is_the_outboxes_alone(live: Domain) -> None:
    assert factories.state_of(KEY) == ChangeState.APPLIED
    assert [field.name for field in Webmail._meta.fields] == ["domain", "created_at"]
