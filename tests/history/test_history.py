"""The history that customers read: every hand is in it, it is not edited, and nothing secret."""

from __future__ import annotations

import re
from datetime import timedelta

import pytest
from celery import shared_task
from django.core.exceptions import ValidationError
from django.core.files.uploadedfile import SimpleUploadedFile
from django.core.management import call_command
from django.db import DatabaseError, connection, transaction
from django.test import Client
from django.utils import translation
from django.utils.timezone import now
from pytest_django import DjangoAssertNumQueries

from accounts.models import Account, Domain
from forwarding.models import ForwardingAddress, MailingList
from history import tasks
from history.acting import Actor, Hand, acting, present
from history.models import Entry, entry
from mailhost.lists.leaving import token
from orders.models import Option, OptionKind, Order
from panel.history_words import words
from propagation.cancel import cancel
from tests import factories
from tests.conftest import Cast, browser, logged_in
from tests.factories import PASSWORD
from tests.mailuser.people import as_user

PAGE = "/domains/example.com/history/"
OWN = "/login/history/"
NEW = "another-long-word"


@pytest.fixture(autouse=True)
def _english(cast: Cast) -> None:
    translation.activate("en")
    # What the cast's own making left.
    Entry.objects.all().delete()


def told(**wanted: object) -> list[tuple[str, str, str]]:
    """Return what was noted: kind, what it is about, and whose hand it was."""
    found = Entry.objects.filter(**wanted).order_by("pk")
    return [(f"{one.area}.{one.what}", one.subject, one.hand) for one in found]


def lines() -> list[str]:
    return [words(one) for one in Entry.objects.order_by("pk")]


def flat(text: str) -> str:
    return " ".join(re.sub(r"<[^>]+>", " ", text).split())


def test_customers_edits_are_noted_with_who_when_and_from_where(com: Domain) -> None:
    client = logged_in(com.customer.user)
    begin = now()
    client.post(
        "/domains/example.com/users/",
        {"name": "tanaka", "password": PASSWORD},
        REMOTE_ADDR="203.0.113.7",
    )
    client.post(
        "/domains/example.com/forwarding/",
        {"local_part": "info", "destination": ["tanaka@example.com", "x@example.org"]},
        REMOTE_ADDR="203.0.113.7",
    )
    assert told(domain="example.com") == [
        ("mailbox.add", "tanaka@example.com", "customer"),
        ("address.add", "info@example.com", "customer"),
    ]
    for one in Entry.objects.filter(domain="example.com"):
        assert (one.actor, one.address) == ("sakura", "203.0.113.7")
        assert begin <= one.at <= now()
    page = flat(client.get(PAGE).text)
    assert "Forwarding added: to tanaka@example.com, x@example.org" in page
    assert "203.0.113.7" in page
    japanese = flat(logged_in(com.customer.user, "ja").get(PAGE).text)
    assert "転送を追加" in japanese
    assert "Forwarding" not in japanese.replace("Email Forwarding", "")


def test_what_was_changed_is_told_in_words(com: Domain) -> None:
    tanaka = factories.make_account(com, "tanaka")
    tanaka.set_password(NEW)
    tanaka.switch("ftp", True)
    tanaka.limit(quota_bytes=20 * 1024 * 1024)
    tanaka.limit(quota_bytes=None)
    row = factories.make_forward(com, "info", "x@example.org")
    row.lead(["y@example.org"])
    club = factories.make_list(com, "club", "a@example.org")
    club.add(["b@example.org", "c@example.org"])
    row.withdraw()
    assert lines() == [
        "Account added",
        "Account changed: new password",
        "Account changed: FTP on",
        "Account changed: mailbox size from as in the plan to 20 MB",
        "Account changed: mailbox size from 20 MB to as in the plan",
        "Forwarding added: to x@example.org",
        "Forwarding changed: to y@example.org; no longer to x@example.org",
        "Mailing list added: 1 new member; settings",
        "Mailing list changed: 2 new members",
        "Forwarding deleted",
    ]


def test_edit_that_undoes_what_waited_is_noted_as_well(com: Domain) -> None:
    tanaka = factories.make_account(com, "tanaka")
    factories.settle()
    tanaka.switch("ftp", True)
    tanaka.switch("ftp", False)
    tanaka.switch("ftp", False)
    assert lines()[1:] == ["Account changed: FTP on", "Account changed: FTP off"]


def test_taking_back_is_noted(com: Domain, sakura: Client) -> None:
    tanaka = factories.make_account(com, "tanaka")
    change = factories.pending(tanaka.key)
    sakura.post(f"/domains/example.com/changes/{change.pk}/cancel/", {"sure": "1"})
    assert told(area="mailbox")[-1] == ("mailbox.undo", "tanaka@example.com", "customer")
    factories.make_account(com, "ito")
    cancel([factories.pending("mailbox:ito")])
    assert told()[-1] == ("mailbox.undo", "ito@example.com", "operator")


def test_operators_hands_are_told_without_a_name(cast: Cast, operator: Client) -> None:
    operator.post(
        "/admin/accounts/account/add/",
        {"domain": cast.com.pk, "name": "tanaka", "password": PASSWORD},
    )
    call_command("set_ftp", "tanaka@example.com", "on")
    assert told(domain="example.com") == [
        ("mailbox.add", "tanaka@example.com", "operator"),
        ("mailbox.change", "tanaka@example.com", "operator"),
    ]
    assert set(Entry.objects.values_list("actor", "address")) == {("", None)}
    page = logged_in(cast.sakura.user).get(PAGE).text
    assert "Operator" in page
    assert "operator" not in flat(page)


def test_task_is_the_services_own_hand() -> None:
    hands = []

    @shared_task
    def task() -> None:
        hands.append(present().hand)

    task.apply()
    assert hands == [Hand.SERVICE]
    assert present().hand == Hand.OPERATOR
    with acting(Actor(Hand.MAILBOX, "tanaka@example.com")):
        assert present().name == "tanaka@example.com"


def test_imports_are_told_row_by_row_as_their_owners_doing(com: Domain, sakura: Client) -> None:
    file = SimpleUploadedFile("list.csv", b"name\na1\na2\n")
    answer = sakura.post("/domains/example.com/csv/", {"kind": "accounts", "file": file})
    sakura.post(answer.headers["Location"], {"confirm": "1"}, REMOTE_ADDR="203.0.113.7")
    call_command("do_imports")
    Entry.objects.filter(area="login").delete()
    assert told() == [
        ("csv.import", "list.csv", "customer"),
        ("mailbox.add", "a1@example.com", "customer"),
        ("mailbox.add", "a2@example.com", "customer"),
    ]
    assert set(Entry.objects.values_list("actor", "address")) == {("sakura", "203.0.113.7")}
    assert lines()[0] == "CSV file imported: POP accounts, 2 rows"


def test_refused_edit_leaves_no_entry(com: Domain) -> None:
    with pytest.raises(ValidationError):
        Account.objects.open(domain=com, name="root", password=PASSWORD)
    with pytest.raises(ValidationError):
        ForwardingAddress.objects.open(
            domain=com, local_part="a", destinations=["a@example.com", "x@example.org"]
        )
    with transaction.atomic():
        factories.make_account(com, "tanaka")
        transaction.set_rollback(True)
    assert told() == []


def test_note_outside_a_transaction_is_a_mistake(transactional_db: None) -> None:
    with pytest.raises(RuntimeError):
        Entry.objects.note("login.in", subject="x", login_id=1)


def test_nothing_secret_is_in_it(com: Domain, sakura: Client) -> None:
    sakura.post("/domains/example.com/users/", {"name": "tanaka", "password": PASSWORD})
    Account.objects.get(name="tanaka").set_password(NEW)
    factories.make_list(com, "club", "a@example.org")
    form = {"username": "sakura", "password": "wrong-secret-word"}
    browser().post("/login/", form)
    rows = str(list(Entry.objects.values()))
    secrets = [PASSWORD, NEW, "CRYPT", "wrong-secret-word", MailingList.objects.get().leave_key]
    assert not [secret for secret in secrets if secret in rows]


def test_logins_and_passwords_of_the_panel_are_told_to_their_owner(cast: Cast) -> None:
    login = {"username": "sakura", "password": PASSWORD}
    browser().post("/login/", login | {"password": "wrong"}, REMOTE_ADDR="198.51.100.9")
    browser().post("/login/", login | {"username": "nobody"})
    client = browser()
    client.post("/login/", login, REMOTE_ADDR="203.0.113.7")
    new = {"new_password1": NEW, "new_password2": NEW}
    client.post("/login/password/", {"old_password": PASSWORD, **new})
    cast.sakura.user.set_password(PASSWORD)
    cast.sakura.user.save()
    assert told() == [
        ("login.refused", "sakura", "visitor"),
        ("login.in", "sakura", "customer"),
        ("login.password", "sakura", "customer"),
        ("login.password", "sakura", "operator"),
    ]
    page = flat(logged_in(cast.sakura.user).get(OWN).text)
    assert "198.51.100.9" in page
    assert "wrong password" in page
    assert "Password changed" in page
    assert "sakura" not in flat(logged_in(cast.wakaba.user).get(OWN).text.replace("wakaba", ""))
    assert "Logged in" not in flat(logged_in(cast.sakura.user).get(PAGE).text)


def test_guessing_does_not_fill_the_history(cast: Cast) -> None:
    wrong = {"username": "sakura", "password": "wrong"}
    for address in ("198.51.100.9", "198.51.100.9", "203.0.113.7"):
        browser().post("/login/", wrong, REMOTE_ADDR=address)
    assert sorted(filter(None, Entry.objects.values_list("address", flat=True))) == [
        "198.51.100.9",
        "203.0.113.7",
    ]


def test_member_who_leaves_a_list_does_not_show_from_where(com: Domain) -> None:
    club = factories.make_list(com, "club", "a@example.org", "b@example.org")
    factories.settle()
    link = f"/leave/{club.pk}/{token(club.leave_key, 'a@example.org')}"
    browser().post(link, {"leave": "1"}, REMOTE_ADDR="198.51.100.9")
    latest = Entry.objects.latest("pk")
    assert words(latest) == "Mailing list changed: 1 member removed"
    assert (latest.hand, latest.actor, latest.address) == ("visitor", "", None)


def test_hash_that_is_only_made_anew_is_no_change(cast: Cast) -> None:
    cast.sakura.user.language = "ja"
    cast.sakura.user.save()
    assert told() == []


def test_another_customers_history_is_not_shown(cast: Cast, wakaba: Client) -> None:
    factories.make_account(cast.com, "tanaka")
    assert wakaba.get(PAGE).status_code == 404
    own = wakaba.get("/domains/wakaba.example/history/?q=tanaka@example.com")
    assert "Account added" not in own.text


def test_former_owners_history_of_a_name_is_not_shown(com: Domain, sakura: Client) -> None:
    factories.make_account(com, "tanaka")
    Domain.objects.filter(pk=com.pk).update(created_at=now() + timedelta(seconds=1))
    assert "Nothing is recorded yet" in flat(sakura.get(PAGE).text)


def test_page_is_searched_and_filtered(com: Domain, sakura: Client) -> None:
    with acting(Actor(Hand.CUSTOMER, "sakura", "2001:db8::1")):
        factories.make_account(com, "tanaka")
    factories.make_forward(com, "info", "tanaka@example.com")
    factories.make_forward(com, "", "tanaka@example.com")

    def shown(**query: str) -> list[str]:
        return re.findall(r'<strong class="address">([^<]*)<', sakura.get(PAGE, query).text)

    assert shown() == ["*@example.com", "info@example.com", "tanaka@example.com"]
    assert shown(q="Tanaka") == shown(q="tanaka@EXAMPLE.com") == ["tanaka@example.com"]
    assert shown(q="*@example.com") == ["*@example.com"]
    assert shown(q="2001:DB8:0::1") == ["tanaka@example.com"]
    assert shown(sort="address") == ["*@example.com", "info@example.com"]
    assert shown(sort="address", q="tanaka") == []
    assert shown(sort="nonsense") == shown()
    assert "Nothing is recorded about “&lt;b&gt;”" in sakura.get(PAGE, {"q": "<b>"}).text


def test_number_of_queries_is_the_same_for_many_entries(
    com: Domain, sakura: Client, django_assert_max_num_queries: DjangoAssertNumQueries
) -> None:
    actor = Actor(Hand.CUSTOMER, "sakura", "203.0.113.7")
    many = (entry("mailbox.add", f"u{n}@example.com", "example.com", {}, actor) for n in range(300))
    Entry.objects.note_many(many)
    sakura.get(PAGE)
    with django_assert_max_num_queries(8):
        page = sakura.get(PAGE, {"page": "3"}).text
    assert "101 to 150 of 300" in flat(page)


@pytest.mark.parametrize(
    "wanted",
    [
        {"domain": "example.com"},
        {"domain": "example.com", "area": "mailbox"},
        {"domain": "example.com", "subject": "tanaka@example.com"},
        {"domain": "example.com", "address": "203.0.113.7"},
        {"domain": "", "login_id": 1},
    ],
)
@pytest.mark.skipif("connection.vendor != 'sqlite'", reason="how SQLite puts it")
def test_every_list_is_read_by_an_index_in_its_order(cast: Cast, wanted: dict[str, object]) -> None:
    plan = Entry.objects.filter(**wanted)[:50].explain()
    assert "USING INDEX history_" in plan
    assert "TEMP B-TREE" not in plan


def test_entry_cannot_be_edited(com: Domain) -> None:
    factories.make_account(com, "tanaka")
    for how in (
        lambda: Entry.objects.update(subject="nobody@example.com"),
        lambda: Entry.objects.get().save(),
    ):
        with pytest.raises(DatabaseError, match="not edited"), transaction.atomic():
            how()
    assert told() == [("mailbox.add", "tanaka@example.com", "operator")]


def test_only_what_is_old_is_removed(com: Domain) -> None:
    factories.make_account(com, "tanaka")
    past = Actor(Hand.CUSTOMER, "sakura")
    old = entry("mailbox.add", "ito@example.com", "example.com", {}, past)
    old.at = now() - timedelta(days=366)
    Entry.objects.note_many([old])
    tasks.prune_history()
    assert told() == [("mailbox.add", "tanaka@example.com", "operator")]
    call_command("prune_history")
    assert Entry.objects.count() == 1


def test_what_nobody_has_words_for_is_shown_by_its_kind() -> None:
    assert words(entry("thing.happened", "x", "example.com", {}, Actor(Hand.SERVICE))) == (
        "thing.happened"
    )


def test_vendor_is_one_that_has_the_guard() -> None:
    assert connection.vendor in {"sqlite", "postgresql"}


def test_orders_rights_and_a_mailbox_s_own_user_are_noted(
    com: Domain, tanaka: Account, operator: Client
) -> None:
    customer, user = logged_in(com.customer.user), as_user(tanaka)
    option = Option.objects.create(kind=OptionKind.MAILBOX, amount=10 << 20, setup_yen=500)
    Entry.objects.all().delete()
    customer.post(
        f"/domains/example.com/options/order/?option={option.pk}",
        {"option": option.pk, "account": "tanaka", "seen": 500},
    )
    Order.objects.get().grant()
    customer.post(f"/domains/example.com/users/{tanaka.pk}/rights/", {"login": "on"})
    customer.post(f"/domains/example.com/users/{tanaka.pk}/rights/", {"login": "on", "reply": "on"})
    user.post("/mailbox/auto-reply/", {"on": "on", "subject": "x", "text": "y", "days": "3"})
    customer.post(f"/domains/example.com/users/{tanaka.pk}/rights/", {"usual": "1"})
    about = "tanaka@example.com"
    assert told() == [
        ("order.ask", about, Hand.CUSTOMER),
        ("mailbox.change", about, Hand.OPERATOR),
        ("order.grant", about, Hand.OPERATOR),
        ("rights.mailbox", about, Hand.CUSTOMER),
        ("rights.mailbox", about, Hand.CUSTOMER),
        ("reply.add", about, Hand.MAILBOX),
        ("rights.mailbox", about, Hand.CUSTOMER),
    ]
    assert Entry.objects.get(area="reply").actor == about
    assert lines()[0] == "Option ordered: A mailbox larger by 10 MB"
    assert "Auto-reply switched on" in flat(customer.get(PAGE).text)
