"""Another customer's objects are 404 for every address and every method.

The test walks the URL conf by itself: a new page is covered without anyone remembering,
and one whose arguments it has no object for makes it fail.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from django.test import Client
from django.urls import URLPattern, URLResolver, get_resolver, reverse

from accounts.models import Account
from accounts.viewers import Right
from bulk import jobs
from bulk.models import ImportKind
from mailuser.models import DomainRights
from orders.models import Option, Order
from propagation.models import Change
from quota.models import ArchiveJob, JobKind
from tests import factories
from tests.conftest import Cast, browser, logged_in
from tests.mailuser.people import as_user
from tests.quota.files import keep, mail, written
from tests.snapshot import Snapshot
from webmail.models import Webmail

pytestmark = pytest.mark.long

METHODS = ["get", "post", "put", "patch", "delete", "head", "options"]
# Pages that belong to nobody in particular; what they show is the login's own.
FOR_EVERYBODY = {
    "home",
    "healthz",
    "help",
    "help_mailbox",
    "help_sending",
    "help_remote_mail",
    "help_mail_program",
    "setup",
    "apple_profile",
    "autoconfig",
    "autoconfig_well_known",
    "autodiscover",
    "help_webmail",
    "old_address",
    "login",
    "logout",
    "choose_language",
    "own_password",
    "own_history",
    "domains",
}
# Open to whoever holds a signed link; tests/forwarding/test_leaving.py has them.
BY_SIGNED_LINK = {"leave_list"}
# Pages about an object on which nothing can be sent.
READ_ONLY = {
    "address_map",
    "why",
    "archive",
    "archive_message",
    "archive_download",
    "archive_job",
    "client_settings",
    "client_settings_sheet",
    "client_settings_qr",
}
# Of those for everybody, the ones that a stranger may see as well.
WITHOUT_A_LOGIN = {
    "healthz",
    "help",
    "help_mailbox",
    "help_sending",
    "help_remote_mail",
    "help_mail_program",
    "setup",
    "apple_profile",
    "autoconfig",
    "autoconfig_well_known",
    "autodiscover",
    "help_webmail",
    "old_address",
    "login",
    "logout",
    "choose_language",
}


@dataclass(frozen=True, slots=True)
class Address:
    """One address of the URL conf, and the names of its arguments."""

    name: str
    arguments: tuple[str, ...]
    in_admin: bool


def addresses(
    patterns: list[URLPattern | URLResolver] | None = None,
    arguments: tuple[str, ...] = (),
    space: str = "",
) -> Iterator[Address]:
    """Walk the URL conf."""
    for pattern in get_resolver().url_patterns if patterns is None else patterns:
        here = (*arguments, *pattern.pattern.converters, *_named_groups(pattern))
        if isinstance(pattern, URLResolver):
            inner = f"{pattern.namespace}:" if pattern.namespace else space
            yield from addresses(pattern.url_patterns, here, inner)
        else:
            assert pattern.name or space == "admin:", f"{pattern} has no name"
            yield Address(f"{space}{pattern.name}", tuple(dict.fromkeys(here)), space == "admin:")


def reverse_path(name: str) -> str:
    """Return the form of a page's address, without what fills it."""
    forms = get_resolver().reverse_dict.getlist(name)
    return str(forms[0][0][0][0]) if forms else ""


def _named_groups(pattern: URLPattern | URLResolver) -> list[str]:
    return list(pattern.pattern.regex.groupindex)


PAGES = [
    address
    for address in addresses()
    if not address.in_admin and address.name not in BY_SIGNED_LINK
]
OF_AN_OBJECT = [address for address in PAGES if address.arguments]
# What the user of one mailbox has: no address names the account, and nobody else finds anything.
IN_MAILBOX = [address for address in PAGES if reverse_path(address.name).startswith("mailbox/")]
OF_AN_OWNER = [address for address in OF_AN_OBJECT if address not in IN_MAILBOX]


def sakuras(cast: Cast, homes: Path) -> dict[str, object]:
    """Return what sakura has, by the name of the argument that leads to it."""
    account = factories.make_account(cast.com, "tanaka")
    archive = keep(homes, account, written([mail("tanaka")]))
    forwarding = factories.make_forward(cast.com, "info", "x@example.org")
    Webmail.objects.install(cast.com)
    return {
        "domain": "example.com",
        "account_id": account.pk,
        "forwarding_id": forwarding.pk,
        "local_part": "tanaka",
        "list_id": factories.make_list(cast.com, "club", "tanaka@example.com").pk,
        "archive_id": archive.pk,
        "number": 1,
        "order_id": Order.objects.ask(
            domain=cast.com,
            option=Option.objects.create(kind="account", amount=1, setup_yen=300),
            quantity=2,
            by=cast.sakura.user,
        ).pk,
        "job_id": ArchiveJob.objects.ask(
            domain=cast.com, kind=JobKind.DELETE, archive=archive, account_name="tanaka"
        ).pk,
        "import_id": jobs.check(
            cast.com,
            ImportKind.FORWARDS,
            b"address,destination\nimported,x@example.org\n",
            file_name="list.csv",
            by=None,
        ).pk,
        "validity": 1,
        "uid": 1,
        "change_id": factories.pending(account.key).pk,
    }


_made: list[tuple[Snapshot, dict[str, object]]] = []  # once in this process


@pytest.fixture
def objects(cast: Cast, tmp_path: Path) -> dict[str, object]:
    """What sakura has; made by its doors once, put back later."""
    if not _made:
        found = sakuras(cast, tmp_path)
        _made.append((Snapshot.take(), found))
    else:
        _made[0][0].put_in_place()
    return _made[0][1]


def path_of(address: Address, objects: dict[str, object]) -> str:
    """Return the address of sakura's object."""
    missing = set(address.arguments) - set(objects)
    assert not missing, f"{address.name}: this test has no object for {sorted(missing)}"
    return reverse(address.name, kwargs={name: objects[name] for name in address.arguments})


def status(client: Client, method: str, path: str) -> int:
    """Return the status of an answer; a POST carries what would change something."""
    form = {"password": "another-long-word", "name": "stolen", "sure": "1", "mailbox": "stolen2"}
    data = form if method == "post" else None
    response = getattr(client, method)(path, data)
    if response.streaming:
        # The file is closed at its end.
        list(response)
    return int(response.status_code)


def test_walk_finds_the_pages_of_objects() -> None:
    assert {"user_manager", "delete_account", "cancel_change"} <= {page.name for page in PAGES}
    assert len(OF_AN_OBJECT) >= 10


@pytest.mark.parametrize("address", OF_AN_OBJECT, ids=lambda address: address.name)
def test_other_customer_gets_404_whatever_the_method(
    cast: Cast, objects: dict[str, object], address: Address
) -> None:
    path, client = path_of(address, objects), logged_in(cast.wakaba.user)
    before = list(Change.objects.order_by("pk").values_list("pk", "state"))
    assert {method: status(client, method, path) for method in METHODS} == dict.fromkeys(
        METHODS, 404
    ), path
    assert list(Change.objects.order_by("pk").values_list("pk", "state")) == before


# Those whose address names something of the domain, and not the domain alone.
BELOW_A_DOMAIN = [address for address in OF_AN_OWNER if address.arguments != ("domain",)]


@pytest.mark.parametrize("address", BELOW_A_DOMAIN, ids=lambda address: address.name)
def test_own_domain_does_not_open_another_ones_objects(
    cast: Cast, objects: dict[str, object], address: Address
) -> None:
    for own, user in (("wakaba.example", cast.wakaba.user), ("example.net", cast.sakura.user)):
        path, client = path_of(address, {**objects, "domain": own}), logged_in(user)
        for method in METHODS:
            # 405, as for an object that does not exist at all, says nothing about this one.
            known = {"get", "head"} if address.name in READ_ONLY else {"get", "head", "post"}
            allowed = {404} if method in known else {404, 405}
            assert status(client, method, path) in allowed, (method, path)


@pytest.mark.parametrize("address", OF_AN_OBJECT, ids=lambda address: address.name)
def test_operator_looks_after_objects_in_the_admin_only(
    cast: Cast, objects: dict[str, object], address: Address
) -> None:
    assert status(logged_in(cast.operator), "get", path_of(address, objects)) == 404
    assert status(logged_in(cast.operator), "post", path_of(address, objects)) == 404


@pytest.mark.parametrize("address", PAGES, ids=lambda address: address.name)
def test_stranger_is_led_to_the_login_whatever_the_method(
    cast: Cast, objects: dict[str, object], address: Address
) -> None:
    if address.name in WITHOUT_A_LOGIN:
        return
    path = path_of(address, objects)
    for method in METHODS:
        response = getattr(browser(), method)(path)
        assert response.status_code in {302, 405}, (method, path)
        if response.status_code == 302:
            assert response.headers["Location"].startswith("/login/"), (method, path)
        assert "tanaka" not in response.text


@pytest.mark.parametrize("address", OF_AN_OWNER, ids=lambda address: address.name)
def test_owner_is_served(cast: Cast, objects: dict[str, object], address: Address) -> None:
    client = logged_in(cast.sakura.user)
    # The assistant answers a POST, and leads who only looks back to its page.
    expected = {302} if address.name == "assistant" else {200, 405}
    assert status(client, "get", path_of(address, objects)) in expected


@pytest.mark.parametrize("address", PAGES, ids=lambda address: address.name)
def test_looking_at_a_page_changes_nothing(
    cast: Cast, objects: dict[str, object], address: Address
) -> None:
    path, client = path_of(address, objects), logged_in(cast.sakura.user)
    before = list(Change.objects.order_by("pk").values())
    for method in ("get", "head", "options"):
        status(client, method, path)
    assert list(Change.objects.order_by("pk").values()) == before
    assert "_auth_user_id" in client.session


def test_every_page_without_an_object_is_known() -> None:
    without = {page.name for page in PAGES if not page.arguments and page not in IN_MAILBOX}
    assert without == FOR_EVERYBODY


@pytest.mark.parametrize(
    "name", ["domain_home", "user_manager", "email_forwarding", "change_password"]
)
def test_method_that_a_page_does_not_know_changes_nothing(
    cast: Cast, objects: dict[str, object], name: str
) -> None:
    address = next(page for page in PAGES if page.name == name)
    path, client = path_of(address, objects), logged_in(cast.sakura.user)
    before = Change.objects.count()
    assert {status(client, method, path) for method in ("put", "patch", "delete")} == {405}
    assert Change.objects.count() == before


# The user of one mailbox


@pytest.fixture
def yamada(cast: Cast, objects: dict[str, object]) -> Account:
    """Another account of sakura's domain, with nothing of its own."""
    account = factories.make_account(cast.com, "yamada")
    factories.settle()
    return account


def test_mailboxes_pages_are_found_and_name_no_account() -> None:
    assert {"mailbox_home", "mailbox_remote_mail", "mailbox_archive"} <= {
        page.name for page in IN_MAILBOX
    }
    for page in IN_MAILBOX:
        assert not {"domain", "account_id", "local_part"} & set(page.arguments), page.name


@pytest.mark.parametrize("address", OF_AN_OWNER, ids=lambda address: address.name)
def test_mailbox_user_finds_nothing_of_an_owners_whatever_the_method(
    cast: Cast, objects: dict[str, object], yamada: Account, address: Address
) -> None:
    path = path_of(address, objects)
    before = list(Change.objects.order_by("pk").values_list("pk", "state"))
    for account in (yamada, Account.objects.get(name="tanaka")):
        client = as_user(account)
        found = {method: status(client, method, path) for method in METHODS}
        assert found == dict.fromkeys(METHODS, 404), path
    assert list(Change.objects.order_by("pk").values_list("pk", "state")) == before


@pytest.mark.parametrize("address", IN_MAILBOX, ids=lambda address: address.name)
def test_mailbox_page_is_its_users_alone(
    cast: Cast, objects: dict[str, object], yamada: Account, address: Address
) -> None:
    path = path_of(address, objects)
    before = list(Change.objects.order_by("pk").values())
    jobs = ArchiveJob.objects.count()
    # A customer, even the domain's own, and the operator find nothing.
    for user in (cast.sakura.user, cast.wakaba.user, cast.operator):
        client = logged_in(user)
        for method in METHODS:
            assert status(client, method, path) == 404, (method, path)
    if address.arguments and not {"validity", "uid"} & set(address.arguments):
        # By its id, the archive of another account of the same domain is not to be had.
        client = as_user(yamada)
        for method in METHODS:
            assert status(client, method, path) in {404, 405}, (method, path)
    assert list(Change.objects.order_by("pk").values()) == before
    assert ArchiveJob.objects.count() == jobs


@pytest.mark.parametrize("address", IN_MAILBOX, ids=lambda address: address.name)
def test_mailbox_user_is_served_his_own(
    cast: Cast, objects: dict[str, object], address: Address
) -> None:
    before = list(Change.objects.order_by("pk").values())
    client = as_user(Account.objects.get(name="tanaka"))
    assert status(client, "get", path_of(address, objects)) in {200, 405}
    assert list(Change.objects.order_by("pk").values()) == before


@pytest.mark.parametrize("address", IN_MAILBOX, ids=lambda address: address.name)
def test_mailbox_user_without_rights_gets_no_further_than_his_home(
    cast: Cast, objects: dict[str, object], address: Address
) -> None:
    nothing = dict.fromkeys((right.value for right in Right if right != Right.LOGIN), False)
    client = as_user(Account.objects.get(name="tanaka"))
    DomainRights.objects.create(domain=cast.com, **nothing)
    before = list(Change.objects.order_by("pk").values())
    allowed = {"mailbox_home", "mailbox_account_sending", "mailbox_check_sending"}
    expected = {200} if address.name in allowed else {403}
    assert status(client, "get", path_of(address, objects)) in expected
    if address.name not in allowed:
        assert status(client, "post", path_of(address, objects)) == 403
    DomainRights.objects.update(login=False)
    assert status(client, "get", path_of(address, objects)) == 302
    assert list(Change.objects.order_by("pk").values()) == before


@pytest.mark.parametrize(
    "address", [page for page in PAGES if not page.arguments], ids=lambda address: address.name
)
def test_pages_for_everybody_show_a_mailbox_user_nothing_of_others(
    cast: Cast, yamada: Account, address: Address
) -> None:
    client = as_user(yamada)
    for method in METHODS:
        response = getattr(client, method)(reverse(address.name))
        assert response.status_code < 500, (method, address.name)
        assert "tanaka" not in getattr(response, "text", "")
        assert "sakura" not in getattr(response, "text", "")


def test_admin_is_closed_to_customers_and_strangers(cast: Cast) -> None:
    account = cast.com.fixed_account
    for path in (
        reverse("admin:index"),
        reverse("admin:accounts_account_changelist"),
        reverse("admin:accounts_account_change", args=[account.pk]),
        reverse("admin:propagation_change_changelist"),
    ):
        for client in (browser(), logged_in(cast.sakura.user), as_user(account)):
            for method in ("get", "post"):
                response = getattr(client, method)(path)
                assert response.status_code == 302
                assert "/login/" in response.headers["Location"]
