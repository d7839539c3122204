"""A domain's home, and taking changes back from there."""

from __future__ import annotations

import pytest
from django.test import Client

from accounts.models import Account, Domain
from forwarding import assistant
from forwarding.models import ForwardingAddress
from mailhost.host import Status
from propagation.models import Change, ChangeState
from tests import factories
from tests.conftest import Cast

HOME = "/domains/example.com/"


def cancel_path(key: str) -> str:
    """Return the address that takes a record's change back."""
    return f"{HOME}changes/{factories.pending(key).pk}/cancel/"


def test_home_shows_domain_plan_server_and_places(
    com: Domain, sakura: Client, tanaka: Account
) -> None:
    text = sakura.get(HOME).text
    for words in ("example.com", str(com.plan), "mail1.plusmail.test"):
        assert words in text
    assert "2 <span" in text
    assert "/ 10" in text


def test_home_shows_what_is_on_its_way_and_what_was_done(com: Domain, sakura: Client) -> None:
    factories.answer()
    factories.make_account(com, "done")
    factories.settle()
    assert "Nothing is waiting: everything you see" in sakura.get(HOME).text
    factories.make_account(com, "info")
    text = sakura.get(HOME).text
    assert "Add the account info" in text
    assert "Add the account done" in text
    assert "in 15 minutes" in text
    assert 'hx-trigger="every 15s"' in text


def test_home_says_plainly_what_fails(com: Domain, sakura: Client) -> None:
    factories.make_account(com, "info")
    factories.settle(status=Status.UNCONFIRMED, reason="postmap: fatal: disk full")
    text = sakura.get(HOME).text
    assert "A change could not be applied yet." in text
    assert "The mail server has not confirmed this change yet." in text
    assert "disk full" not in text


def test_home_shows_nothing_of_another_domain(com: Domain, net: Domain, sakura: Client) -> None:
    factories.make_account(net, "elsewhere")
    assert "elsewhere" not in sakura.get(HOME).text


def test_single_change_is_taken_back_at_once(com: Domain, sakura: Client) -> None:
    account = factories.make_account(com, "info")
    response = sakura.post(cancel_path(account.key), {"next": f"{HOME}users/"}, follow=True)
    assert response.redirect_chain == [(f"{HOME}users/", 302)]
    words = "Taken back: Add the account info. Nothing changes on the mail server."
    assert words in response.text
    assert not Account.objects.filter(name="info").exists()


def test_several_changes_are_named_before_they_are_taken_back(com: Domain, sakura: Client) -> None:
    assistant.open_under(domain=com, wanted="info", name="myinfo", password=factories.PASSWORD)
    path = cancel_path("mailbox:myinfo")
    text = sakura.post(path).text
    assert "Add the account myinfo" in text
    assert "Forward info@example.com to myinfo@example.com" in text
    assert Change.objects.pending().count() == 2
    text = sakura.post(path, {"sure": "1"}, follow=True).text
    assert "Forward info@example.com to myinfo@example.com / Add the account myinfo." in text
    assert not Change.objects.pending().exists()
    assert not ForwardingAddress.objects.exists()


def test_note_about_many_changes_stays_short(com: Domain, sakura: Client) -> None:
    account = factories.make_account(com, "many")
    for number in range(8):
        factories.make_forward(com, f"to{number}", account.address)
    text = sakura.post(cancel_path(account.key), {"sure": "1"}, follow=True).text
    note = text.partition("Taken back: ")[2].partition("</p>")[0]
    assert note.count("Forward to") == 5
    assert "/ and 4 more. Nothing changes" in note


def test_change_on_its_way_is_too_late(com: Domain, sakura: Client) -> None:
    account = factories.make_account(com, "info")
    path = cancel_path(account.key)
    factories.come_due()
    Change.objects.claim_due(com.server)
    response = sakura.post(path, {"sure": "1"}, follow=True)
    assert "Too late to take back" in response.text
    assert factories.state_of(account.key) == ChangeState.APPLYING


def test_opening_of_the_domain_is_shown_without_a_way_back(com: Domain, sakura: Client) -> None:
    Change.objects.filter(key="domain:example.com").update(state="pending", ended_at=None)
    path = cancel_path("domain:example.com")
    response = sakura.post(path, {"sure": "1"}, follow=True)
    assert "cannot be taken back" in response.text
    assert factories.state_of("domain:example.com") == ChangeState.PENDING


def test_change_that_cannot_be_taken_back_says_why(com: Domain, sakura: Client) -> None:
    row = factories.make_forward(com, "a", "b@example.com")
    factories.settle()
    row.lead(["x@example.org"])
    factories.make_forward(com, "b", "a@example.com")
    response = sakura.post(cancel_path(row.key), {"sure": "1"}, follow=True)
    assert "round in a circle" in response.text
    assert factories.state_of(row.key) == ChangeState.PENDING


@pytest.mark.parametrize("back", ["https://evil.example/", "//evil.example/", "javascript:x"])
def test_taking_back_leads_to_no_other_site(com: Domain, sakura: Client, back: str) -> None:
    account = factories.make_account(com, "info")
    response = sakura.post(cancel_path(account.key), {"next": back})
    assert response.headers["Location"] == HOME


# Deleting an account.


def test_confirmation_names_what_is_lost_and_which_forwards_lead_there(
    com: Domain, sakura: Client, tanaka: Account
) -> None:
    factories.make_forward(com, "only", tanaka.address)
    factories.make_forward(com, "both", tanaka.address, "x@example.org")
    text = sakura.get(f"{HOME}users/{tanaka.pk}/delete/").text
    assert "All mail in the mailbox. We keep it for 14 days" in text
    assert "is deleted with it: it leads nowhere else." in text.partition("only@example.com")[2]
    assert "stays, and from then on leads only to x@example.org." in text
    assert "Senders get an error." in text
    assert Change.objects.pending().filter(key=tanaka.key).count() == 0


def test_confirmation_says_that_the_address_is_forwarded_on(
    com: Domain, sakura: Client, tanaka: Account
) -> None:
    factories.make_forward(com, "tanaka", tanaka.address, "x@日本語.jp")
    text = sakura.get(f"{HOME}users/{tanaka.pk}/delete/").text
    assert "Mail for its address then goes only to x@日本語.jp." in text
    assert "Senders get an error." not in text


def test_confirmation_of_what_the_server_never_had_promises_no_way_back(
    com: Domain, sakura: Client
) -> None:
    account = factories.make_account(com, "info")
    row = factories.make_forward(com, "sales", "x@example.org")
    for path in (f"users/{account.pk}/delete/", f"forwarding/{row.pk}/delete/"):
        text = sakura.get(f"{HOME}{path}").text
        assert "it is deleted at once, and that cannot be taken back." in text
        assert "you can take this back" not in text


def test_fixed_account_without_a_password_is_pointed_out(cast: Cast, sakura: Client) -> None:
    domain = Domain.objects.open(
        customer=cast.sakura, name="shop.example", plan=cast.plan, server=cast.server
    )
    factories.settle()
    path = f"/domains/shop.example/users/{domain.fixed_account_id}/password/"
    for page in ("", "users/"):
        text = sakura.get(f"/domains/shop.example/{page}").text
        assert f'href="{path}">Set a password' in text, page
        assert "In use" not in text, page
    sakura.post(path, {"password": factories.PASSWORD})
    text = sakura.get("/domains/shop.example/users/").text
    assert "New password waiting" in text
    assert "Set a password" not in text
    assert "has no password yet" not in sakura.get("/domains/shop.example/").text
    assert "has no password yet" not in sakura.get(HOME).text


def test_confirmed_deletion_is_on_its_way(sakura: Client, tanaka: Account) -> None:
    response = sakura.post(f"{HOME}users/{tanaka.pk}/delete/", follow=True)
    assert "tanaka@example.com will be deleted at about" in response.text
    assert "Waiting to be deleted" in response.text
    assert factories.pending(tanaka.key).removes


def test_fixed_account_is_refused_on_the_page(com: Domain, sakura: Client) -> None:
    path = f"{HOME}users/{com.fixed_account_id}/delete/"
    assert "cannot be deleted" in sakura.get(path).text
    assert sakura.post(path).status_code == 422
    assert not Change.objects.pending().exists()


def test_refused_deletion_says_why(
    com: Domain, other: Domain, sakura: Client, tanaka: Account
) -> None:
    factories.make_forward(other, "w", tanaka.address)
    factories.make_forward(com, "", "w@wakaba.example")
    factories.settle()
    response = sakura.post(f"{HOME}users/{tanaka.pk}/delete/")
    assert response.status_code == 422
    assert "leads back to this address" in response.text
    assert not Change.objects.pending().exists()
