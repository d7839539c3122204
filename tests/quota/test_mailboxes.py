"""What customers and operators see of mailboxes, drawn by the real views."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from html import unescape

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import translation
from django.utils.timezone import now

from accounts.models import Account, Domain
from propagation.models import MailServer
from quota.fill import MOST_NAMED, PAGE_SIZE, Fill
from quota.models import MailboxUsage, Notice, UsageReport
from quota.usage import collect
from tests import factories
from tests.conftest import SOAK, Cast, browser, logged_in, tell
from tests.quota.usages import LIMIT, MB, Told

HOME, USERS, PAGE = (f"/domains/example.com/{page}" for page in ("", "users/", "mailboxes/"))


def words(client: Client, path: str) -> str:
    """Return what a page says, without its marks."""
    response = client.get(path)
    assert response.status_code == 200
    # Marks within a line part no words.
    text = re.sub(r"</?(strong|small|b|span)\b[^>]*>", "", response.text)
    return re.sub(r"\s+", " ", unescape(re.sub(r"<[^>]+>", " ", text)))


@pytest.mark.parametrize(
    ("used", "level", "said"),
    [
        (0, "room", "0 bytes / 10 MB (0%)"),
        (LIMIT * 80 // 100 - 1, "room", "8 MB / 10 MB (79%)"),
        (LIMIT * 80 // 100, "nearly", "8 MB / 10 MB (80%)"),
        (LIMIT * 95 // 100, "almost", "9.5 MB / 10 MB (95%)"),
        (LIMIT - 1, "almost", "10 MB / 10 MB (99%)"),
        (LIMIT, "full", "10 MB / 10 MB (100%)"),
        (LIMIT + MB, "full", "11 MB / 10 MB (110%)"),
    ],
)
def test_fullness_in_words(used: int, level: str, said: str) -> None:
    fill = Fill(used, LIMIT, 1)
    assert fill.level == level
    with translation.override("en"):
        assert fill.words == said
    assert fill.shown <= 100


def test_nothing_told_yet_is_said(alice: Account, sakura: Client) -> None:
    text = words(sakura, PAGE)
    assert "has not told any figures yet" in text
    assert "alice@example.com no figure yet (10 MB in all)" in text
    assert "No mailbox is full" not in text
    assert "no figure yet" in words(sakura, USERS)
    assert "fills up" not in words(sakura, HOME)


def test_full_mailbox_is_said_everywhere(
    told: Told, server: MailServer, alice: Account, bob: Account, sakura: Client
) -> None:
    told.hold(alice, 10.5, messages=1234)
    told.hold(bob, 8.25)
    collect(server)
    page = words(sakura, PAGE)
    assert "1 mailbox is full." in page
    assert "10.5 MB / 10 MB (105%) Full" in page
    assert "1,234" in page
    assert "8.2 MB / 10 MB (82%) Filling up" in page
    assert page.index("alice") < page.index("bob")
    assert re.search(r"Next Wednesday \(.*04:00\) 1 account, 10\.5 MB", page)
    assert "10.5 MB / 10 MB (105%) Full" in words(sakura, USERS)
    home = words(sakura, HOME)
    assert "The mailbox alice@example.com is full" in home
    assert "is filling up" in home
    assert "18.8 MB in use" in home


def test_many_that_fill_up_are_named_in_part(
    told: Told, server: MailServer, com: Domain, sakura: Client
) -> None:
    factories.make_many_accounts(com, MOST_NAMED + 2)
    for account in Account.objects.filter(name__startswith="user").select_related("domain"):
        told.hold(account, 9.9)
    collect(server)
    home = words(sakura, HOME)
    assert home.count("is almost full") == MOST_NAMED
    assert "and 2 more mailboxes that fill up" in home


def test_what_waits_is_shown(
    told: Told, server: MailServer, alice: Account, sakura: Client
) -> None:
    told.hold(alice, 10)
    told.wait(alice, "<b>&@x.example", 2 * MB, ago=-5)
    for n in range(4):
        told.wait(alice, "" if n == 0 else f"s{n}@x.example", 1024, ago=-10 - n)
    collect(server)
    text = words(sakura, PAGE)
    assert "5 messages (2 MB) wait until there is room, the oldest since" in text
    assert "at the latest with Wednesday's archiving" in text
    assert "<b>&@x.example 2 MB" in text
    assert "a mail server's notice 1 KB" in text
    assert "and 2 more" in text
    told.hold(alice, 1)
    collect(server)
    assert "There is room again" in words(sakura, PAGE)


def test_late_figures_are_said(
    told: Told, server: MailServer, alice: Account, sakura: Client
) -> None:
    collect(server)
    assert "older than usual" not in words(sakura, PAGE)
    UsageReport.objects.update(collected_at=now() - timedelta(minutes=6))
    assert "older than usual" in words(sakura, PAGE)


def test_list_is_searched_and_paged_in_a_fixed_number_of_queries(
    told: Told, server: MailServer, com: Domain, sakura: Client
) -> None:
    factories.answer()

    def queries() -> int:
        with CaptureQueriesContext(connection) as captured:
            sakura.get(PAGE)
        return len(captured)

    few = queries()
    factories.make_many_accounts(com, PAGE_SIZE + 5)
    for account in Account.objects.filter(name__startswith="user").select_related("domain"):
        told.hold(account, int(account.name[4:]) / 10)
    collect(server)
    assert queries() == few
    first, second = words(sakura, PAGE), words(sakura, f"{PAGE}?page=2")
    assert "user00054" in first
    assert "user00000" not in first
    assert "user00000" in second
    found = words(sakura, f"{PAGE}?q=USER0003")
    assert "user00031" in found
    assert "user00041" not in found
    assert "user00031" in words(sakura, f"{PAGE}?q=user00031@example.com")
    assert "No account contains “zzz”." in words(sakura, f"{PAGE}?q=zzz")
    for odd in ("?q=%00", "?page=x", "?q=" + "x" * 1000, "?page=-1", "?q=%3Cb%3E"):
        assert sakura.get(PAGE + odd).status_code == 200


def test_page_renews_itself_where_it_stands(alice: Account, sakura: Client) -> None:
    html = sakura.get(f"{PAGE}?q=a&page=1").text
    assert f'hx-get="{PAGE}?q=a&amp;page=1"' in html


def test_domain_shows_its_own_mailboxes_alone(
    told: Told, server: MailServer, alice: Account, other: Domain, wakaba: Client, sakura: Client
) -> None:
    theirs = factories.make_account(other, "gonbei")
    factories.settle()
    told.hold(theirs, 10)
    told.hold(alice, 9)
    collect(server)
    assert wakaba.get(PAGE).status_code == 404
    own = words(sakura, PAGE) + words(sakura, HOME)
    assert "gonbei" not in own
    assert "No mailbox is full" in own
    assert "gonbei" in words(wakaba, "/domains/wakaba.example/mailboxes/")


def test_help_is_open_and_in_both_languages(db: None) -> None:
    text = words(browser("en"), "/help/mailbox")
    assert "What “full” means" in text
    assert "80% and when 95%" in text
    assert "{" not in text
    assert "「いっぱい」とは" in words(browser("ja"), "/help/mailbox")


def test_pages_are_in_japanese(cast: Cast, told: Told, server: MailServer, alice: Account) -> None:
    told.hold(alice, 10)
    told.wait(alice, "a@x.example", 2 * MB, ago=-1)
    collect(server)
    client = logged_in(cast.sakura.user, "ja")
    assert "1通(2 MB)が空きを待っています" in words(client, PAGE)
    assert "いっぱい" in words(client, USERS)
    assert "新しいメールは届きません" in words(client, HOME)


def test_operator_finds_full_mailboxes_and_changes_none(
    told: Told, server: MailServer, alice: Account, bob: Account, operator: Client
) -> None:
    told.hold(alice, 10)
    told.hold(bob, 8)
    collect(server)
    admin = "/admin/quota/mailboxusage/"
    everything = words(operator, admin)
    assert "10 MB / 10 MB (100%)" in everything
    assert everything.index("alice@") < everything.index("bob@")
    assert "bob@" not in words(operator, f"{admin}?fill=100")
    assert "bob@" in words(operator, f"{admin}?fill=80")
    assert "bob@" not in words(operator, f"{admin}?q=alice@example.com")
    assert "bob@" in words(operator, f"{admin}?q=example.com")
    one = f"{admin}{alice.pk}/change/"
    assert operator.get(one).status_code == 200
    assert operator.post(one, {"used": 1}).status_code == 403
    assert operator.post(f"{admin}{alice.pk}/delete/").status_code == 403
    assert operator.get(f"{admin}add/").status_code == 403
    assert "alice@" in words(operator, "/admin/quota/notice/?kind=quota-95")
    notice = Notice.objects.first()
    assert notice
    assert operator.get(f"/admin/quota/notice/{notice.pk}/change/").status_code == 200


@contextmanager
def sqlite_steps() -> Iterator[Callable[[], int]]:
    """Count what SQLite's machine does in the block, to the thousand; other work changes nothing.

    With another database it counts nothing.
    """
    count = 0

    def more() -> int:
        nonlocal count
        count += 1000
        return 0

    connection.ensure_connection()
    watched = connection.connection if connection.vendor == "sqlite" else None
    if watched:
        watched.set_progress_handler(more, 1000)
    yield lambda: count
    if watched:
        watched.set_progress_handler(None, 0)


@pytest.mark.soak
@pytest.mark.timeout(900)
def test_operator_s_list_is_quick_at_many_accounts(
    server: MailServer, com: Domain, operator: Client
) -> None:
    number = 100_000 if SOAK else 10_000
    factories.make_many_accounts(com, number)
    pks = Account.objects.filter(name__startswith="user").values_list("pk", flat=True)
    MailboxUsage.objects.bulk_create(
        [
            MailboxUsage(
                account_id=pk, used=n % 100 * MB // 10, messages=1, limit=LIMIT, asked_at=now()
            )
            for n, pk in enumerate(pks)
        ],
        batch_size=1000,
    )
    admin = "/admin/quota/mailboxusage/"
    operator.get(admin)
    for query in ("", "?fill=95", "?q=user00017", "?q=user00017@example.com"):
        with sqlite_steps() as steps:
            assert operator.get(admin + query).status_code == 200
        tell(f"{number} mailboxes, {query or 'all'}: {steps() / number:.1f} steps a mailbox")
        # To look at each row once and sort them takes less, to look for its others far more.
        assert steps() < 200 * number
