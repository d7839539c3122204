"""The manual's way round a taken name."""

from datetime import timedelta

import pytest
from django.core.exceptions import ValidationError
from django.test import Client

from accounts.models import Account, Domain
from forwarding import assistant
from forwarding.models import ForwardingAddress
from propagation.models import Change
from tests import factories

TAKEN = "Error: User exists. Choose another username."
ASSISTANT = "/domains/example.com/users/assistant/"


@pytest.fixture(autouse=True)
def info(other: Domain) -> Account:
    """The name that somebody else has."""
    account = factories.make_account(other, "info")
    factories.settle()
    return account


def test_mailbox_and_address_are_made_in_one_step(com: Domain) -> None:
    account, address = assistant.open_under(
        domain=com, wanted="info", name="myinfo", password=factories.PASSWORD
    )
    assert account.address == "myinfo@example.com"
    assert (address.address, address.leads_to()) == ("info@example.com", ["myinfo@example.com"])
    changes = Change.objects.pending()
    assert len({change.group for change in changes}) == 1
    first, last = sorted(change.due_at for change in changes)
    assert last - first < timedelta(seconds=5)


@pytest.mark.parametrize("name", ["info", "root", "no good", ""])
def test_neither_is_made_where_one_is_refused(com: Domain, name: str) -> None:
    with pytest.raises(ValidationError):
        assistant.open_under(domain=com, wanted="info", name=name, password=factories.PASSWORD)
    assert not ForwardingAddress.objects.exists()
    assert not Change.objects.pending().exists()


def test_mailbox_is_not_made_where_the_address_is_forwarded_already(com: Domain) -> None:
    factories.make_forward(com, "info", "x@example.org")
    with pytest.raises(ValidationError):
        assistant.open_under(domain=com, wanted="info", name="myinfo", password=factories.PASSWORD)
    assert not Account.objects.filter(name="myinfo").exists()


def test_offer_is_made_only_where_the_address_is_free(com: Domain, net: Domain) -> None:
    assert assistant.may_offer(com, "info")
    assert not assistant.may_offer(com, "example")
    assert not assistant.may_offer(net, "example")
    factories.make_account(com, "mine")
    assert not assistant.may_offer(com, "mine")
    assert assistant.may_offer(net, "mine")
    factories.make_forward(com, "info", "x@example.org")
    assert not assistant.may_offer(com, "info")


def test_proposed_name_is_not_one_whose_own_mail_goes_elsewhere(com: Domain) -> None:
    factories.make_forward(com, "myinfo", "x@example.org")
    assert assistant.propose_name(com, "info") == "info.mail"


# On the page.


@pytest.mark.parametrize("typed", ["INFO", " Info@example.com"])
def test_taken_name_brings_the_offer_on_the_same_page(sakura: Client, typed: str) -> None:
    form = {"name": typed, "password": factories.PASSWORD}
    response = sakura.post("/domains/example.com/users/", form)
    assert response.status_code == 422
    assert TAKEN in response.text
    assert 'id="offer"' in response.text
    assert 'value="myinfo"' in response.text
    assert "info@example.com" in response.text
    assert 'name="name" value="info"' in response.text
    assert "wakaba" not in response.text


def test_offer_taken_as_it_stands_makes_both(sakura: Client) -> None:
    form = {"name": "info", "mailbox": "myinfo", "password": factories.PASSWORD}
    response = sakura.post(ASSISTANT, form, follow=True)
    assert response.redirect_chain == [("/domains/example.com/users/", 302)]
    assert "info@example.com will work from about" in response.text
    assert "myinfo" in response.text
    assert factories.settle() == ["mailbox:myinfo", "address:info@example.com"]


@pytest.mark.parametrize(
    ("name", "password"),
    [("wakaba", factories.PASSWORD), ("no good", factories.PASSWORD), ("myinfo", "short")],
)
def test_refused_offer_keeps_what_was_typed(sakura: Client, name: str, password: str) -> None:
    response = sakura.post(ASSISTANT, {"name": "info", "mailbox": name, "password": password})
    assert response.status_code == 422
    assert f'value="{name}"' in response.text
    assert f'value="{password}"' in response.text
    assert 'name="name" value="info"' in response.text
    assert 'class="error"' in response.text
    assert not Change.objects.pending().exists()


def test_own_name_brings_no_offer(sakura: Client, tanaka: Account) -> None:
    form = {"name": "tanaka", "password": factories.PASSWORD}
    response = sakura.post("/domains/example.com/users/", form)
    assert TAKEN in response.text
    assert 'id="offer"' not in response.text


@pytest.mark.parametrize("wanted", ["", "no good", "|cmd", "a@b", "ｉｎｆｏ"])
def test_assistant_for_no_name_leads_back_to_the_page(sakura: Client, wanted: str) -> None:
    form = {"name": wanted, "mailbox": "myinfo", "password": factories.PASSWORD}
    response = sakura.post(ASSISTANT, form)
    assert (response.status_code, response.headers["Location"]) == (
        302,
        "/domains/example.com/users/",
    )
    assert not Change.objects.pending().exists()


def test_assistant_leaves_the_fixed_address_alone(sakura: Client) -> None:
    form = {"name": "example", "mailbox": "myinfo", "password": factories.PASSWORD}
    assert sakura.post(ASSISTANT, form).status_code == 422
    assert not ForwardingAddress.objects.exists()
    assert not Account.objects.filter(name="myinfo").exists()
