"""The pages of a domain's owner: what to enter for each address, on screen and on paper."""

from __future__ import annotations

from datetime import timedelta

import pytest
from defusedxml.ElementTree import fromstring
from django.test import Client
from django.utils.timezone import now
from pytest_django import Settings

from accounts.models import Account, Domain
from tests import factories
from tests.conftest import Cast, logged_in

COM = "/domains/example.com/settings"


def test_page_of_a_mailbox_has_the_manuals_table(sakura: Client, tanaka: Account) -> None:
    text = sakura.get(f"{COM}/tanaka/").text
    for words in (
        "POP server (incoming mail server)",
        "SMTP server (outgoing mail server)",
        "Account name (user name)",
        "The one you chose",
        "Mail address",
        factories.SERVER,
        "995",
        "993",
        "465",
        "587",
    ):
        assert words in text
    assert '<span class="address value" id="login">tanaka@example.com</span>' in text
    for program in ("Outlook (new)", "Outlook (classic", "Thunderbird", "Mail on a Mac", "iPhone",
                    "Android", "Becky!", "nPOP"):  # fmt: skip
        assert program in text


def test_page_is_there_in_japanese(cast: Cast, tanaka: Account) -> None:
    text = logged_in(cast.sakura.user, "ja").get(f"{COM}/tanaka/").text
    for words in ("POPサーバー(受信メールサーバー)", "お客様が決めたパスワード", "設定の手順"):
        assert words in text


def test_forward_to_one_mailbox_is_the_login_of_that_mailbox(
    sakura: Client, com: Domain, tanaka: Account
) -> None:
    factories.make_forward(com, "boss", "info@example.com")
    factories.make_forward(com, "info", "tanaka@example.com")
    factories.settle()
    for name in ("info", "boss"):
        text = sakura.get(f"{COM}/{name}/").text
        assert f'id="login">{name}@example.com<' in text
        assert "That of the mailbox tanaka" in text
        assert "tanaka, the mailbox's own name, works too" in text.replace("&#x27;", "'")


def test_fixed_address_that_leads_to_another_domains_mailbox_has_a_page(sakura: Client) -> None:
    text = sakura.get("/domains/example.net/settings/example/").text
    assert 'id="login">example@example.net<' in text


@pytest.mark.parametrize("leads", [("tanaka@example.com", "example@example.com"),
                                   ("tanaka@example.com", "x@outside.example")])  # fmt: skip
def test_forward_to_several_names_the_mailboxes_to_set_up_instead(
    sakura: Client, com: Domain, tanaka: Account, leads: tuple[str, ...]
) -> None:
    factories.make_forward(com, "info", *leads)
    factories.settle()
    text = sakura.get(f"{COM}/info/").text
    assert "Nobody logs in with this address" in text
    assert f'href="{COM}/tanaka/"' in text
    assert 'id="login"' not in text
    assert "Nobody logs in with this address" in sakura.get(f"{COM}/info/print/").text


def test_another_customers_mailbox_is_not_named(sakura: Client, cast: Cast, com: Domain) -> None:
    factories.make_account(cast.other, "secretbox")
    factories.make_forward(com, "info", "secretbox@wakaba.example")
    factories.settle()
    text = sakura.get(f"{COM}/info/").text
    assert "Nobody logs in with this address" in text
    assert "secretbox" not in text


@pytest.mark.parametrize("name", ["nobody", "club", "Tanaka", "tanaka%0A", "%2e%2e", "*"])
def test_what_is_no_address_with_mail_of_its_own_is_404(
    sakura: Client, com: Domain, tanaka: Account, name: str
) -> None:
    factories.make_list(com, "club", "tanaka@example.com")
    factories.make_forward(com, "", "tanaka@example.com")  # a catch-all
    factories.settle()
    for page in ("", "print/", "qr.svg"):
        assert sakura.get(f"{COM}/{name}/{page}").status_code == 404


def test_page_says_from_when_a_new_account_works(sakura: Client, com: Domain) -> None:
    factories.make_account(com, "suzuki")
    assert "Not on the mail server yet." in sakura.get(f"{COM}/suzuki/").text
    factories.settle()
    assert "Not on the mail server yet." not in sakura.get(f"{COM}/suzuki/").text


def test_certificate_of_the_domain_makes_its_name_the_servers(
    sakura: Client, com: Domain, tanaka: Account
) -> None:
    Domain.objects.filter(pk=com.pk).update(certificate_until=now() + timedelta(days=9))
    text = sakura.get(f"{COM}/tanaka/").text
    assert 'id="incoming">example.com<' in text
    assert "Your domain's name" in text
    assert factories.SERVER not in text


def test_sheet_has_all_but_the_password(sakura: Client, tanaka: Account) -> None:
    text = sakura.get(f"{COM}/tanaka/print/").text
    for words in (factories.SERVER, "tanaka@example.com", "995", "qr.svg", "/mail/setup?"):
        assert words in text
    assert factories.PASSWORD not in text


def test_qr_code_is_a_picture_that_no_cache_keeps(sakura: Client, tanaka: Account) -> None:
    response = sakura.get(f"{COM}/tanaka/qr.svg")
    assert response.headers["Content-Type"] == "image/svg+xml"
    assert "no-store" in response.headers["Cache-Control"]
    assert fromstring(response.content).tag.endswith("svg")
    assert "style=" not in response.text


def test_domains_page_leads_to_an_address(sakura: Client, tanaka: Account) -> None:
    for typed in ("tanaka", "TANAKA@example.com ", "ｔａｎａｋａ＠ｅｘａｍｐｌｅ．ｃｏｍ"):
        response = sakura.get(f"{COM}/", {"address": typed})
        assert (response.status_code, response.headers["Location"]) == (302, f"{COM}/tanaka/")


@pytest.mark.parametrize("typed", ["nobody", "tanaka@example.net", "<b>x</b>", "a" * 300, "\0"])
def test_domains_page_says_that_there_is_no_such_address(
    sakura: Client, tanaka: Account, typed: str
) -> None:
    response = sakura.get(f"{COM}/", {"address": typed})
    assert response.status_code == 422
    assert "has no mailbox or forwarding address of this name" in response.text
    assert "<b>x" not in response.text


def test_dns_records_are_there_to_copy(sakura: Client, settings: Settings) -> None:
    settings.PANEL_URL = "https://panel.plusmail.test"
    text = sakura.get(f"{COM}/").text
    for record in (
        "_submissions._tcp.example.com. IN SRV 0 1 465 mail1.plusmail.test.",
        "_imaps._tcp.example.com. IN SRV",
        "autoconfig.example.com. IN CNAME panel.plusmail.test.",
    ):
        assert record in text


def test_lists_and_the_news_of_an_account_lead_here(
    sakura: Client, com: Domain, tanaka: Account
) -> None:
    factories.make_forward(com, "info", "tanaka@example.com")
    assert f'href="{COM}/tanaka/"' in sakura.get("/domains/example.com/users/").text
    assert f'href="{COM}/info/"' in sakura.get("/domains/example.com/forwarding/").text
    assert f'href="{COM}/"' in sakura.get("/domains/example.com/").text
    form = {"name": "suzuki", "password": factories.PASSWORD}
    text = sakura.post("/domains/example.com/users/", form, follow=True).text
    assert f'<a href="{COM}/suzuki/">' in text.partition("<table")[0]
    wanted = {"name": "sales", "mailbox": "mysales", "password": factories.PASSWORD}
    text = sakura.post("/domains/example.com/users/assistant/", wanted, follow=True).text
    assert f'<a href="{COM}/sales/">' in text.partition("<table")[0]
