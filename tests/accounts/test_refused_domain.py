"""Domains that may not be opened, and why."""

from __future__ import annotations

import pytest
from django.core.exceptions import ValidationError

from accounts.models import Account, Domain
from propagation.models import Change, MailServer
from tests import factories
from tests.conftest import Cast


def open_domain(
    cast: Cast, name: str, *, server: MailServer | None = None, password: str = factories.PASSWORD
) -> Domain:
    """Open a domain for sakura."""
    return Domain.objects.open(
        customer=cast.sakura,
        name=name,
        plan=cast.plan,
        server=server or cast.server,
        password=password,
    )


def codes(refused: ValidationError) -> set[str]:
    """Return the codes of all reasons."""
    if hasattr(refused, "error_dict"):
        return {str(one.code) for reasons in refused.error_dict.values() for one in reasons}
    return {str(reason.code) for reason in refused.error_list}


def refusal(
    cast: Cast, name: str, *, server: MailServer | None = None, password: str = factories.PASSWORD
) -> set[str]:
    """Return the codes of the reasons why this domain is not opened; nothing is left of it."""
    before = (Domain.objects.count(), Account.objects.count(), Change.objects.count())
    with pytest.raises(ValidationError) as refused:
        open_domain(cast, name, server=server, password=password)
    assert (Domain.objects.count(), Account.objects.count(), Change.objects.count()) == before
    return codes(refused.value)


def name_of(length: int) -> str:
    """Return a domain name of so many characters."""
    name = ".".join(["a" * 63, "b" * 63, "c" * (length - 128)])
    assert len(name) == length
    return name


def test_name_leaves_room_for_the_longest_local_part(cast: Cast) -> None:
    assert refusal(cast, name_of(190)) == {"long"}
    domain = open_domain(cast, name_of(189))
    row = factories.make_forward(domain, "x" * 64, "y@example.org")
    assert len(row.address) == 254


def test_server_that_is_closed_takes_no_domain(cast: Cast) -> None:
    closed = factories.make_server("mail2.plusmail.test", accepts_domains=False)
    assert refusal(cast, "new.example", server=closed) == {"closed"}


def test_domain_stays_as_it_is_when_its_server_closes(cast: Cast) -> None:
    MailServer.objects.update(accepts_domains=False)
    Domain.objects.get(name="example.com").full_clean()


@pytest.mark.parametrize("name", ["mail1.plusmail.test", "MAIL1.plusmail.test."])
def test_servers_own_name_is_no_domain(cast: Cast, name: str) -> None:
    assert refusal(cast, name) == {"own_name"}


def test_name_of_another_server_is_no_domain_either(cast: Cast) -> None:
    factories.make_server("mail2.plusmail.test")
    assert refusal(cast, "mail2.plusmail.test") == {"own_name"}


def test_label_of_an_account_that_is_being_deleted_is_refused(cast: Cast) -> None:
    account = factories.make_account(cast.com, "shop")
    factories.settle()
    account.delete_later()
    assert refusal(cast, "shop.example") == {"leaving"}
    factories.settle()
    assert open_domain(cast, "shop.example").fixed_account.pk != account.pk


@pytest.mark.parametrize(
    ("password", "code"),
    [
        ("short", "password_too_short"),
        ("with space 1", "characters"),
        ("全角文字のパスワード", "characters"),
        ("Yamada-Hanako", "same"),
        ("aB3-" * 17, "long"),
    ],
)
def test_first_password_is_judged_like_every_other(cast: Cast, password: str, code: str) -> None:
    assert code in refusal(cast, "yamada-hanako.example", password=password)
