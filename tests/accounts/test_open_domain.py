"""A domain and its fixed account come into being together."""

import pytest
from django.core.exceptions import ValidationError
from django.db import transaction

from accounts import passwords
from accounts.models import NAME_TAKEN, Account, Domain
from propagation.models import Change
from tests import factories
from tests.conftest import Cast


def opened(cast: Cast, name: str, *, wakaba: bool = False) -> Domain:
    """Open one more domain on the cast's server."""
    customer = cast.wakaba if wakaba else cast.sakura
    return factories.make_domain(name, customer=customer, plan=cast.plan, server=cast.server)


def test_domain_comes_with_the_account_its_first_label_names(cast: Cast) -> None:
    domain = opened(cast, "sample.jp")
    fixed = domain.fixed_account
    assert (fixed.name, fixed.address, fixed.is_fixed) == ("sample", "sample@sample.jp", True)
    assert passwords.verify(factories.PASSWORD, fixed.password_hash)


def test_domain_and_fixed_account_are_brought_to_the_server(cast: Cast) -> None:
    opened(cast, "sample.jp")
    assert factories.settle() == ["domain:sample.jp", "mailbox:sample"]


def test_second_domain_with_the_same_label_leads_to_the_first_ones_mailbox(cast: Cast) -> None:
    domain = opened(cast, "example.jp")
    assert domain.fixed_account == cast.com.fixed_account
    assert domain.record().fixed_address == "example@example.com"
    assert not domain.accounts.exists()


def test_label_that_another_customer_has_is_refused_with_a_free_server(cast: Cast) -> None:
    factories.make_server("mail2.plusmail.test")
    factories.make_server("closed.plusmail.test", accepts_domains=False)
    with pytest.raises(ValidationError) as refused:
        opened(cast, "example.org", wakaba=True)
    assert refused.value.code == NAME_TAKEN
    words = " ".join(refused.value.messages)
    assert "mail2.plusmail.test" in words
    assert "closed.plusmail.test" not in words
    assert "sakura" not in words
    assert not Domain.objects.filter(name="example.org").exists()


def test_label_taken_on_every_server_is_said_plainly(cast: Cast) -> None:
    with pytest.raises(ValidationError, match=r"使|no other|他"):
        opened(cast, "example.org", wakaba=True)


def test_label_of_a_customers_ordinary_account_makes_that_the_fixed_one(cast: Cast) -> None:
    account = factories.make_account(cast.com, "shop")
    domain = opened(cast, "shop.example")
    assert domain.fixed_account == account
    with pytest.raises(ValidationError) as refused:
        account.delete_later()
    assert refused.value.code == "fixed"


@pytest.mark.parametrize("label", ["x" * 63, "admin", "root", "postmaster", "a-b"])
def test_fixed_account_is_exempt_from_reserved_names_and_length(cast: Cast, label: str) -> None:
    assert opened(cast, f"{label}.example").fixed_account.name == label


def test_international_domain_has_an_xn_fixed_account(cast: Cast) -> None:
    domain = opened(cast, "日本語.jp")
    assert domain.fixed_account.address == "xn--wgv71a119e@xn--wgv71a119e.jp"
    assert str(domain) == "日本語.jp"


def test_domain_without_a_password_has_an_account_that_nobody_can_open(cast: Cast) -> None:
    domain = Domain.objects.open(
        customer=cast.sakura, name="sample.jp", plan=cast.plan, server=cast.server
    )
    assert not passwords.verify("", domain.fixed_account.password_hash)


def test_domain_that_exists_is_refused_in_words(cast: Cast) -> None:
    with pytest.raises(ValidationError):
        opened(cast, "EXAMPLE.com.")


def test_refused_domain_leaves_nothing_behind(cast: Cast) -> None:
    before = (Account.objects.count(), Change.objects.count())
    for name in ("example.com", "not a domain", "example"):
        with pytest.raises(ValidationError), transaction.atomic():
            opened(cast, name)
    assert (Account.objects.count(), Change.objects.count()) == before


def test_fixed_account_is_never_deleted(cast: Cast) -> None:
    with pytest.raises(ValidationError) as refused:
        cast.com.fixed_account.delete_later()
    assert refused.value.code == "fixed"
    assert not Change.objects.pending().exists()


def test_fixed_account_counts_as_one_of_the_plans_accounts(cast: Cast) -> None:
    plan = factories.make_plan(account_limit=1)
    domain = factories.make_domain(
        "one.example", customer=cast.sakura, plan=plan, server=cast.server
    )
    with pytest.raises(ValidationError) as refused:
        factories.make_account(domain, "second")
    assert refused.value.code == "full"


def test_server_name_is_recommended_until_the_domain_has_a_certificate(cast: Cast) -> None:
    assert cast.com.mail_host == "mail1.plusmail.test"
