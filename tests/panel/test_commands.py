"""What an operator does at a terminal, by the same doors as the pages."""

from __future__ import annotations

import io
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from accounts import passwords
from accounts.models import Account, Domain, User
from forwarding.models import ForwardingAddress, MailingList
from propagation.models import Change, ChangeState
from tests import factories
from tests.conftest import Cast


@pytest.fixture(autouse=True)
def typed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A password comes down the pipe."""
    monkeypatch.setattr("sys.stdin", io.StringIO(f"{factories.PASSWORD}\n"))


def run(*arguments: str, **options: Any) -> str:
    """Run a command; return what it printed."""
    out = io.StringIO()
    call_command(*arguments, stdout=out, **options)
    return out.getvalue()


def test_account_is_added_with_the_password_from_the_pipe(com: Domain) -> None:
    assert "info@example.com" in run("add_account", "info@example.com")
    account = Account.objects.get(name="info")
    assert passwords.verify(factories.PASSWORD, account.password_hash)


def test_taken_name_is_refused_in_the_manuals_words(com: Domain) -> None:
    with pytest.raises(CommandError, match=r"^Error: User exists\. Choose another username\.$"):
        run("add_account", "wakaba@example.com")


@pytest.mark.parametrize(
    "arguments",
    [
        ("add_account", "info@nowhere.example"),
        ("set_mailbox_password", "nobody@example.com"),
        ("delete_account", "nobody@example.com"),
        ("delete_forward", "nobody@example.com"),
        ("restore_account", "nobody@example.com"),
        ("cancel_change", "999999"),
        ("apply_changes", "nowhere.plusmail.test"),
        ("reconcile", "nowhere.plusmail.test"),
        ("delete_list", "nobody@example.com"),
        ("add_list", "club@nowhere.example", "--title", "Club"),
        ("add_list", "example@example.com", "--title", "Club"),
        # What comes down the pipe is no address.
        ("add_list", "club@example.com", "--title", "Club"),
        ("add_forward", "info@example.com", "nonsense"),
        ("add_forward", "|cmd@example.com", "x@example.org"),
        ("add_server", "../etc"),
        ("delete_account", "example@example.com"),
    ],
)
def test_what_does_not_exist_or_may_not_be_is_refused_in_words(
    cast: Cast, arguments: tuple[str, ...]
) -> None:
    before = Change.objects.count()
    with pytest.raises(CommandError) as refused:
        run(*arguments)
    assert str(refused.value)
    assert Change.objects.count() == before


def test_password_is_set_from_the_pipe(tanaka: Account, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("another-long-word\n"))
    run("set_mailbox_password", tanaka.address)
    tanaka.refresh_from_db()
    assert passwords.verify("another-long-word", tanaka.password_hash)


def test_forward_is_added_and_deleted(com: Domain) -> None:
    run("add_forward", "info@example.com", "x@example.org", "y@example.org")
    run("add_forward", "@example.com", "x@example.org")
    factories.settle()
    assert ForwardingAddress.objects.count() == 2
    run("delete_forward", "info@example.com")
    run("delete_forward", "@example.com")
    factories.settle()
    assert not ForwardingAddress.objects.exists()


def test_account_is_deleted_and_brought_back(tanaka: Account) -> None:
    run("delete_account", tanaka.address)
    factories.settle()
    run("restore_account", tanaka.address)
    assert Account.objects.get(name="tanaka").pk == tanaka.pk


def test_account_is_brought_back_under_another_name(tanaka: Account, other: Domain) -> None:
    run("delete_account", tanaka.address)
    factories.settle()
    factories.make_account(other, "tanaka")
    with pytest.raises(CommandError, match="User exists"):
        run("restore_account", tanaka.address)
    run("restore_account", tanaka.address, "--as", "tanaka2")
    assert Account.objects.get(name="tanaka2").pk == tanaka.pk


def test_changes_are_listed_and_taken_back(com: Domain) -> None:
    account = factories.make_account(com, "info")
    number = factories.pending(account.key).pk
    assert f"{number} " in run("show_changes")
    assert "mailbox:info" in run("cancel_change", str(number))
    assert factories.state_of(account.key) == ChangeState.CANCELLED
    with pytest.raises(CommandError):
        run("cancel_change", str(number))


def test_customer_server_and_domain_are_added(cast: Cast) -> None:
    run("add_customer", "midori", "みどり商会")
    assert User.objects.get(username="midori").check_password(factories.PASSWORD)
    assert "server.mail3.plusmail.test" in run("add_server", "mail3.plusmail.test")
    run(
        "add_domain",
        "midori.example",
        "--customer=midori",
        f"--plan={cast.plan.code}",
        "--server=mail3.plusmail.test",
    )
    assert Domain.objects.get(name="midori.example").fixed_account.name == "midori"


def test_customer_with_a_weak_password_is_not_added(
    cast: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("short\n"))
    with pytest.raises(CommandError):
        run("add_customer", "midori", "みどり商会")
    assert not User.objects.filter(username="midori").exists()


def test_machine_without_a_mail_server_says_so(cast: Cast) -> None:
    factories.make_account(cast.com, "info")
    due = [change.due_at for change in Change.objects.pending()]
    assert run("apply_changes") == run("apply_changes", now=True) == ""
    assert [change.due_at for change in Change.objects.pending()] == due
    with pytest.raises(CommandError, match="does not run on this machine"):
        run("apply_changes", "mail1.plusmail.test")
    assert "No mail server runs on this machine" in run("check_servers")
    assert "0 difference(s)" in run("reconcile")
    assert run("purge_trash") == run("install_certificates") == ""
    assert factories.state_of("mailbox:info") == ChangeState.PENDING


def test_list_is_added_with_its_members_and_deleted(
    com: Domain, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("Ann <ann@example.org>; bob@example.org\n"))
    run("add_list", "club@example.com", "--title", "クラブ", "--posters", "owner")
    row = MailingList.objects.get()
    assert (row.title, row.owner_address, row.posters) == ("クラブ", "example@example.com", "owner")
    assert row.addresses() == ["ann@example.org", "bob@example.org"]
    run("delete_list", "club@example.com")
    assert not MailingList.objects.exists()
