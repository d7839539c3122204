"""Circles, long chains, wide ones and dead ends, as they are judged when an address is saved."""

from __future__ import annotations

import pytest
from django.core.exceptions import ValidationError
from django.utils import translation
from pytest_django import DjangoAssertNumQueries

from accounts.models import Account, Domain
from forwarding import pages, removal, routes
from forwarding.models import ForwardingAddress
from propagation.cancel import cancel
from tests import factories
from tests.conftest import Cast


def refusal(domain: Domain, local_part: str, *destinations: str) -> ValidationError:
    """Return why this address may not lead there."""
    with translation.override("en"), pytest.raises(ValidationError) as refused:
        factories.make_forward(domain, local_part, *destinations)
    return refused.value


def chain(domain: Domain, length: int) -> None:
    """Make s1 lead to s2, and so on, to the last one that leads outside."""
    factories.make_forward(domain, f"s{length}", "end@outside.example")
    for number in range(length - 1, 0, -1):
        factories.make_forward(domain, f"s{number}", f"s{number + 1}@{domain.name}")


# Circles.


def test_loop_is_refused_and_shown(com: Domain, net: Domain) -> None:
    factories.make_forward(com, "a", "b@example.net")
    factories.make_forward(net, "b", "c@example.com")
    refused = refusal(com, "c", "a@example.com")
    assert refused.code == "loop"
    assert refused.messages == [
        "Mail would go round in a circle: "
        "c@example.com → a@example.com → b@example.net → c@example.com."
    ]
    assert not ForwardingAddress.objects.filter(local_part="c").exists()


def test_loop_through_another_customers_address_is_not_shown(com: Domain, other: Domain) -> None:
    factories.make_forward(other, "secret", "mine@example.com")
    factories.make_forward(other, "door", "secret@wakaba.example")
    refused = refusal(com, "mine", "x@example.org", "door@wakaba.example")
    assert refused.messages == ["door@wakaba.example leads back to this address."]


def test_change_that_closes_a_circle_is_refused_and_nothing_is_saved(com: Domain) -> None:
    a = factories.make_forward(com, "a", "x@example.org")
    factories.make_forward(com, "b", "a@example.com")
    with pytest.raises(ValidationError):
        a.lead(["b@example.com"])
    assert ForwardingAddress.objects.get(pk=a.pk).leads_to() == ["x@example.org"]


def test_address_without_a_mailbox_cannot_lead_to_itself(com: Domain) -> None:
    assert refusal(com, "info", "info@example.com").code == "self"
    assert refusal(com, "info", "x@example.org", "info@example.com").code == "self"


def test_letters_case_hides_no_circle(com: Domain) -> None:
    assert refusal(com, "info", "Info@Example.com").code == "self"
    factories.make_forward(com, "a", "B@example.com")
    assert refusal(com, "b", "A@example.com").code == "loop"


def test_copy_in_the_own_mailbox_is_no_circle(com: Domain, tanaka: Account) -> None:
    row = factories.make_forward(com, "tanaka", "tanaka@example.com", "x@example.org")
    assert row.keeps_copy()


def test_copy_alone_is_no_forward(com: Domain, tanaka: Account) -> None:
    assert refusal(com, "tanaka", "tanaka@example.com").code == "only_self"


def test_catch_all_that_leads_to_a_name_nobody_has_is_a_circle(com: Domain) -> None:
    assert refusal(com, "", "nobody@example.com").code == "loop"


def test_catch_all_closes_no_circle_by_another_customer(com: Domain, other: Domain) -> None:
    factories.make_forward(other, "w", "nobody@example.com")
    assert refusal(com, "", "w@wakaba.example").code == "loop"


def test_forward_that_falls_into_a_catch_all_and_back_is_a_circle(
    com: Domain, other: Domain
) -> None:
    factories.make_forward(com, "", "w@wakaba.example")
    assert refusal(other, "w", "nobody@example.com").code == "loop"


def test_address_cannot_be_withdrawn_where_its_mail_would_then_go_round(com: Domain) -> None:
    row = factories.make_forward(com, "info", "x@example.org")
    factories.settle()
    factories.make_forward(com, "", "info@example.com")
    with pytest.raises(ValidationError) as refused:
        row.withdraw()
    assert refused.value.code == "loop"


def test_account_cannot_be_deleted_where_its_mail_would_then_go_round(
    com: Domain, tanaka: Account, other: Domain
) -> None:
    factories.make_forward(other, "w", "tanaka@example.com")
    factories.make_forward(com, "", "w@wakaba.example")
    factories.settle()
    with pytest.raises(ValidationError) as refused:
        removal.delete_account(tanaka)
    assert refused.value.code == "loop"
    tanaka.set_password("another-long-word")


def test_new_forward_taken_back_opens_no_circle_through_the_catch_all(
    com: Domain, other: Domain
) -> None:
    row = factories.make_forward(com, "info", "x@example.org")
    factories.make_forward(other, "w", "info@example.com")
    factories.make_forward(com, "", "w@wakaba.example")
    with pytest.raises(ValidationError) as refused:
        cancel([factories.pending(row.key)])
    assert refused.value.code == "loop"


# Length and width.


@pytest.mark.long
def test_ten_steps_are_allowed_and_eleven_refused(com: Domain) -> None:
    chain(com, 10)
    assert refusal(com, "s0", "s1@example.com").code == "deep"


@pytest.mark.long
def test_chain_is_too_long_wherever_the_new_link_stands(com: Domain) -> None:
    factories.make_forward(com, "t6", "end@outside.example")
    for number in range(5, 0, -1):
        factories.make_forward(com, f"t{number}", f"t{number + 1}@example.com")
    chain(com, 5)
    s5 = ForwardingAddress.objects.get(local_part="s5")
    with pytest.raises(ValidationError) as refused:
        s5.lead(["t1@example.com"])
    assert refused.value.code == "deep"
    s5.lead(["t2@example.com"])


@pytest.mark.long
def test_thousand_addresses_are_allowed_and_one_more_refused(com: Domain) -> None:
    parts = [f"part{number:02}" for number in range(48)]
    for part in parts:
        factories.make_forward(com, part, *(f"{part}-{n}@outside.example" for n in range(19)))
    for number in range(3):
        some = parts[number * 16 : number * 16 + 16]
        factories.make_forward(com, f"third{number}", *(f"{part}@example.com" for part in some))
    thirds = [f"third{number}@example.com" for number in range(3)]
    # 1 + 3 + 48 + 48 x 19 = 964
    row = factories.make_forward(com, "all", *thirds, *(f"x{n}@outside.example" for n in range(17)))
    reached = routes.load(["all@example.com"]).reached_from("all@example.com")
    assert len(reached) == 981
    factories.make_forward(com, "more", *(f"y{n}@outside.example" for n in range(18)))
    row.lead([*thirds, *(f"x{n}@outside.example" for n in range(16)), "more@example.com"])
    assert len(routes.load(["all@example.com"]).reached_from("all@example.com")) == 999
    more = ForwardingAddress.objects.get(local_part="more")
    more.lead([f"y{n}@outside.example" for n in range(19)])
    with pytest.raises(ValidationError) as refused:
        more.lead([f"y{n}@outside.example" for n in range(20)])
    assert refused.value.code == "wide"


# What stands at an address.


def end_of(address: str) -> tuple[routes.End, tuple[str, ...]]:
    """Return what stands at an address."""
    stop = routes.load([address]).stops[address]
    return stop.end, stop.leads_to


def test_every_kind_of_address_is_told_apart(com: Domain, tanaka: Account) -> None:
    factories.make_forward(com, "info", "tanaka@example.com")
    assert end_of("info@example.com") == (routes.End.FORWARD, ("tanaka@example.com",))
    assert end_of("tanaka@example.com") == (routes.End.MAILBOX, ())
    assert end_of("nobody@example.com") == (routes.End.NOWHERE, ())
    assert end_of("x@elsewhere.test") == (routes.End.OUTSIDE, ())


@pytest.mark.parametrize("name", ["postmaster", "abuse"])
def test_postmaster_and_abuse_reach_the_fixed_account(net: Domain, name: str) -> None:
    fixed = (routes.End.FORWARD, ("example@example.com",))
    assert end_of(f"{name}@example.net") == fixed
    row = factories.make_forward(net, name, "x@example.org")
    assert end_of(f"{name}@example.net") == (routes.End.FORWARD, ("x@example.org",))
    row.withdraw()
    assert end_of(f"{name}@example.net") == fixed


@pytest.mark.parametrize("name", ["postmaster", "abuse"])
def test_postmaster_is_never_left_without_a_destination(com: Domain, name: str) -> None:
    row = factories.make_forward(com, name, "x@example.org")
    with pytest.raises(ValidationError):
        row.lead([])


def test_locked_fixed_address_leads_to_the_first_domains_account(net: Domain) -> None:
    assert end_of("example@example.net") == (routes.End.FORWARD, ("example@example.com",))
    assert refusal(net, "example", "x@example.org").code == "fixed"


def test_fixed_account_always_keeps_a_copy(com: Domain) -> None:
    assert refusal(com, "example", "x@example.org").code == "fixed_copy"
    row = factories.make_forward(com, "example", "example@example.com", "x@example.org")
    with pytest.raises(ValidationError):
        row.lead(["x@example.org"])


def test_catch_all_takes_only_names_that_the_domain_does_not_have(
    com: Domain, tanaka: Account
) -> None:
    factories.make_forward(com, "", "x@example.org")
    factories.make_forward(com, "info", "tanaka@example.com")
    assert end_of("nobody@example.com") == (routes.End.FORWARD, ("@example.com",))
    assert end_of("tanaka@example.com")[0] is routes.End.MAILBOX
    assert end_of("info@example.com")[1] == ("tanaka@example.com",)
    assert end_of("abuse@example.com")[1] == ("example@example.com",)


def test_catch_all_does_not_take_a_deleted_accounts_name(com: Domain, tanaka: Account) -> None:
    factories.make_forward(com, "", "x@example.org")
    removal.delete_account(tanaka)
    factories.settle()
    assert end_of("tanaka@example.com")[0] is routes.End.NOWHERE


def test_destinations_that_lead_nowhere_are_known(cast: Cast, tanaka: Account) -> None:
    found = pages.dead_ends(
        ["Tanaka@example.com", "nobody@example.com", "x@elsewhere.test", "gone@wakaba.example"]
    )
    assert found == {"nobody@example.com", "gone@wakaba.example"}


def test_map_of_a_chain_costs_a_fixed_number_of_queries_per_step(
    com: Domain, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    for number in range(10):
        factories.make_forward(com, f"w{number}", "x@example.org", "y@example.org")
    with django_assert_num_queries(4):  # two levels; outside, only the domains are asked for
        routes.load([f"w{number}@example.com" for number in range(10)])
