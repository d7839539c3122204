"""What one customer's forwards can do to another's, and what is about to go."""

from __future__ import annotations

import pytest
from django.core.exceptions import ValidationError

from accounts.models import Account, Domain
from forwarding import removal
from forwarding.models import ForwardingAddress
from propagation.cancel import cancel
from tests import factories


def refusal(domain: Domain, local_part: str, *destinations: str) -> str:
    """Return the code of the reason why this address may not lead there."""
    with pytest.raises(ValidationError) as refused:
        factories.make_forward(domain, local_part, *destinations)
    return str(refused.value.code)


# Another customer's chains.


@pytest.mark.long
def test_chain_of_another_customer_does_not_block_an_address(com: Domain, other: Domain) -> None:
    factories.make_forward(other, "s10", "new@example.com")
    for number in range(9, 0, -1):
        factories.make_forward(other, f"s{number}", f"s{number + 1}@wakaba.example")
    row = factories.make_forward(com, "new", "x@example.org")
    row.lead(["y@example.org", "z@example.org"])
    row.withdraw()
    assert not ForwardingAddress.objects.filter(domain=com).exists()


def test_own_chain_of_that_length_does(com: Domain) -> None:
    factories.make_forward(com, "s10", "new@example.com")
    for number in range(9, 0, -1):
        factories.make_forward(com, f"s{number}", f"s{number + 1}@example.com")
    assert refusal(com, "new", "x@example.org") == "deep"


@pytest.mark.long
def test_chain_that_goes_on_at_another_customer_counts_for_who_leads_there(
    com: Domain, other: Domain
) -> None:
    factories.make_forward(other, "s10", "x@example.org")
    for number in range(9, 0, -1):
        factories.make_forward(other, f"s{number}", f"s{number + 1}@wakaba.example")
    assert refusal(com, "new", "s1@wakaba.example") == "deep"
    factories.make_forward(com, "new", "s2@wakaba.example")


# What is about to go.


def test_address_that_is_leaving_closes_no_circle(com: Domain) -> None:
    a = factories.make_forward(com, "a", "b@example.com")
    factories.settle()
    assert refusal(com, "b", "a@example.com") == "loop"
    a.withdraw()
    b = factories.make_forward(com, "b", "a@example.com", "x@example.org")
    assert b.leads_to() == ["a@example.com", "x@example.org"]


def test_address_that_left_is_not_taken_back_into_a_circle(com: Domain) -> None:
    a = factories.make_forward(com, "a", "b@example.com")
    factories.settle()
    a.withdraw()
    factories.make_forward(com, "b", "a@example.com")
    with pytest.raises(ValidationError) as refused:
        cancel([factories.pending(a.key)])
    assert refused.value.code == "loop"
    assert a.is_leaving()


# Addresses that always arrive somewhere.


@pytest.mark.parametrize("name", ["postmaster", "abuse"])
def test_postmaster_is_not_led_to_nowhere(com: Domain, name: str) -> None:
    assert refusal(com, name, "nobody@example.com") == "duty"
    assert refusal(com, name, "nobody@wakaba.example") == "duty"
    factories.make_forward(com, name, "nobody@example.com", "x@example.org")


def test_postmasters_forward_is_not_cut_off_further_on(com: Domain) -> None:
    info = factories.make_forward(com, "info", "x@example.org")
    factories.make_forward(com, "postmaster", "info@example.com")
    factories.settle()
    with pytest.raises(ValidationError) as refused:
        info.withdraw()
    assert refused.value.code == "duty"
    with pytest.raises(ValidationError) as refused:
        info.lead(["nobody@example.com"])
    assert refused.value.code == "duty"
    info.refresh_from_db()
    assert info.leads_to() == ["x@example.org"]


def test_postmaster_is_not_led_to_an_account_that_is_being_deleted(
    com: Domain, tanaka: Account
) -> None:
    removal.delete_account(tanaka)
    assert refusal(com, "postmaster", "tanaka@example.com") == "duty"
