"""The page by which a member leaves a list: open to everybody who has the signed link."""

from __future__ import annotations

import logging
import re

import pytest
from django.test import Client

from accounts.models import Domain
from forwarding.models import MailingList
from mailhost.lists.leaving import token
from propagation.models import Change
from tests import factories
from tests.conftest import browser

ANN, BOB = "Ann@outside.example", "bob@outside.example"
DOMAIN = "/domains/example.com/"
ONE_CLICK = {"List-Unsubscribe": "One-Click"}


@pytest.fixture
def club(com: Domain) -> MailingList:
    """A live list of two members."""
    row = factories.make_list(com, "club", ANN, BOB)
    factories.settle()
    return row


@pytest.fixture
def provider() -> Client:
    """A mail provider that keeps to RFC 8058: no cookie, and Django's CSRF check in force."""
    return Client(enforce_csrf_checks=True, headers={"host": "panel.plusmail.test"})


def link(row: MailingList, address: str = ANN) -> str:
    """Return what the list's mail tells a member."""
    record = row.record()
    assert record
    url = f"{record.leave_url}/{token(record.leave_key, address)}"
    return re.sub(r"^https?://[^/]+", "", url)


def test_looking_at_the_link_changes_nothing(club: MailingList) -> None:
    for method in ("get", "head", "options"):
        getattr(browser(), method)(link(club))
    response = browser().get(link(club))
    assert response.status_code == 200
    for text in ("The Club", "club@example.com", ANN.lower(), "Leave the list"):
        assert text in response.text
    assert BOB not in response.text
    assert len(club.addresses()) == 2
    assert not Change.objects.open().exists()


@pytest.mark.parametrize("sent", [ONE_CLICK, {"leave": "1"}])
def test_one_post_without_cookie_or_token_leaves(
    club: MailingList, provider: Client, sent: dict[str, str]
) -> None:
    response = provider.post(link(club), sent)
    assert response.status_code == 200
    assert club.addresses() == [BOB]
    change = factories.pending("list:club@example.com")
    assert change.made_by is None
    assert change.after
    assert change.after["members"] == [BOB]


def test_one_click_comes_as_a_form_too(club: MailingList, provider: Client) -> None:
    body = "List-Unsubscribe=One-Click"
    provider.post(link(club), body, content_type="application/x-www-form-urlencoded")
    assert club.addresses() == [BOB]


def test_empty_post_is_no_wish(club: MailingList, provider: Client) -> None:
    assert provider.post(link(club)).status_code == 200
    assert len(club.addresses()) == 2


def test_leaving_twice_is_leaving_once(club: MailingList, provider: Client) -> None:
    for _time in range(3):
        assert (
            "You have left the mailing list"
            in provider.post(
                link(club), ONE_CLICK, headers={"accept-language": "en"}
            ).content.decode()
        )
    assert Change.objects.open().count() == 1
    assert "not, or no longer, a member" in browser().get(link(club)).text


def test_own_leave_is_not_offered_to_be_taken_back(
    club: MailingList, com: Domain, sakura: Client, provider: Client
) -> None:
    other = factories.make_list(com, "other", ANN)
    provider.post(link(club), ONE_CLICK)
    pages = [f"{DOMAIN}", f"{DOMAIN}forwarding/lists/", f"{DOMAIN}forwarding/lists/{club.pk}/"]
    button = f'action="{DOMAIN}changes/{factories.pending(club.key).pk}/cancel/"'
    for page in pages:
        text = sakura.get(page).text
        assert "1 member leaves" in text or page == pages[1]
        assert button not in text
    elsewhere = f'action="{DOMAIN}changes/{factories.pending(other.key).pk}/cancel/"'
    assert elsewhere in sakura.get(pages[0]).text
    # With an edit of the owner's beside it there is something to take back.
    club.add(["carol@outside.example"])
    button = f'action="{DOMAIN}changes/{factories.pending(club.key).pk}/cancel/"'
    for page in pages:
        assert button in sakura.get(page).text


def test_who_is_taken_out_by_the_owner_can_be_taken_back(
    club: MailingList, sakura: Client, provider: Client
) -> None:
    club.remove([club.members.get(address=BOB).pk])
    button = f'action="{DOMAIN}changes/{factories.pending(club.key).pk}/cancel/"'
    assert button in sakura.get(DOMAIN).text
    provider.post(link(club), ONE_CLICK)
    button = f'action="{DOMAIN}changes/{factories.pending(club.key).pk}/cancel/"'
    assert button in sakura.get(DOMAIN).text


def test_page_is_in_the_readers_language(club: MailingList) -> None:
    assert "配信を停止しますか" in browser("ja").get(link(club)).text


@pytest.mark.parametrize("kind", ["cut", "other list", "other key", "nonsense", "no list"])
def test_wrong_link_says_so_and_nothing_else(
    club: MailingList, com: Domain, provider: Client, kind: str
) -> None:
    other = factories.make_list(com, "other", ANN)
    path = {
        "cut": link(club)[:-3],
        "other list": link(club).replace(f"/{club.pk}/", f"/{other.pk}/"),
        "other key": f"/leave/{club.pk}/{token('cd' * 32, ANN)}",
        "nonsense": f"/leave/{club.pk}/%E3%81%82.%00x"[:-4],
        "no list": link(club).replace(f"/{club.pk}/", "/999999999999999999999/"),
    }[kind]
    before = Change.objects.count()
    for response in (browser().get(path), provider.post(path, ONE_CLICK)):
        assert response.status_code == 404
        assert "club" not in response.content.decode().replace("plusmail.css", "")
    assert "This link is not valid" in browser().get(path).text
    assert Change.objects.count() == before


def test_other_methods_are_refused(club: MailingList) -> None:
    for method in ("put", "patch", "delete"):
        assert getattr(browser(), method)(link(club)).status_code == 405
    assert len(club.addresses()) == 2


def test_page_is_kept_by_nobody(club: MailingList) -> None:
    response = browser().get(link(club))
    assert "no-store" in response.headers["Cache-Control"]
    assert "noindex" in response.text


def test_key_stands_in_no_page_and_no_log(
    club: MailingList, provider: Client, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG):
        text = (
            browser().get(link(club)).text + provider.post(link(club), ONE_CLICK).content.decode()
        )
    assert club.leave_key not in text + caplog.text
