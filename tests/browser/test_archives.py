"""Archives in the browser: archive now, look inside, download, put back; and every page of them."""

from __future__ import annotations

import gzip
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from email.message import EmailMessage
from functools import partial
from http.client import HTTPConnection, HTTPResponse
from pathlib import Path
from uuid import UUID

import pytest
from playwright.sync_api import expect

from mailhost.usage import figures
from tests.browser.test_pages import seen
from tests.browser.visitor import Visitor
from tests.e2e.product import Product, product
from tests.servers import wait_for

pytestmark = [pytest.mark.servers, pytest.mark.browser, pytest.mark.timeout(900)]

Visit = Callable[..., Visitor]
COM = "/domains/example.com"
EVIL = "<script>document.title = 'taken over'</script>"


@pytest.fixture(scope="module")
def panel() -> Iterator[Product]:
    """The product at work, with mail in tanaka's mailbox and in suzuki's."""
    with product("redis", "web", "worker") as made:
        for name in ("tanaka", "suzuki"):
            for number in range(1, 8):
                deliver(made, name, number)
            assert wait_for(partial(holds, made, name, 7), 60), made.mail.logs()
        made.manage("collect_figures")
        yield made


def deliver(panel: Product, name: str, number: int) -> None:
    """Send one message from outside: with a picture, hostile, long, or plain."""
    mail = EmailMessage()
    mail["From"], mail["To"] = "山田花子 <hanako@outside.test>", f"{name}@example.com"
    mail["Date"] = f"Tue, 0{number} Dec 2026 10:00:00 +0900"
    mail["Subject"] = f"{number}月のご請求書について" if number > 2 else f"{EVIL} " * number
    mail.set_content(f"{'いつもお世話になっております。' * 20}\n\n{EVIL}\n" * number)
    if number == 3:
        mail.add_attachment(b"x" * 40_000, "application", "pdf", filename="ご請求書.pdf")
    with panel.mail.smtp() as client:
        client.sendmail("hanako@outside.test", [f"{name}@example.com"], mail.as_bytes())


def held(panel: Product, name: str) -> int:
    """Return how many messages Dovecot counts in a mailbox."""
    figures.recount(panel.mail.root, [name])
    known = figures.of_account(panel.mail.root, name)
    return known.messages if known else 0


def holds(panel: Product, name: str, count: int) -> bool:
    """Say whether a mailbox holds so many messages."""
    return held(panel, name) == count


def ended(visitor: Visitor, language: str = "完了") -> None:
    """Wait until the page says by itself that the job is done."""
    expect(visitor.page.locator("#job .state.live")).to_have_text(language, timeout=60_000)


@pytest.mark.parametrize(("name", "scripts"), [("tanaka", True), ("suzuki", False)])
def test_mail_is_archived_looked_at_downloaded_and_put_back(
    panel: Product, visit: Visit, tmp_path: Path, name: str, scripts: bool
) -> None:
    sakura = visit(panel.url, java_script_enabled=scripts)
    page = sakura.page
    sakura.log_in("sakura", panel.logins["sakura"])
    sakura.go(f"{COM}/mailboxes/")
    sakura.row(name, "main").get_by_role("link", name="いま待避する").click()
    page.click("main form .actions button")
    settle(sakura)
    assert held(panel, name) == 0

    # Look inside.
    page.click("main .actions a >> nth=0")
    expect(page.locator("main tbody tr")).to_have_count(7)
    assert page.title() != "taken over"
    page.get_by_role("link", name="7月のご請求書について").click()
    expect(page.locator("pre.mail")).to_contain_text("いつもお世話になっております。")
    expect(page.locator("pre.mail")).to_contain_text(EVIL)
    page.go_back()

    # Download, whole.
    with page.expect_download() as download:
        page.get_by_role("link", name="ダウンロード").click()
    saved = tmp_path / download.value.suggested_filename
    download.value.save_as(saved)
    assert saved.name.startswith(f"{name}.oldmail.")
    assert gzip.decompress(saved.read_bytes()).count(b"From MAILER-DAEMON ") == 7

    # Two messages back, then all.
    for number in (2, 5):
        page.check(f"input[name=number][value='{number}']")
    page.click("button[name=chosen]")
    expect(page.locator("main")).to_contain_text("選んだ 2 通")
    page.click("button[name=sure]")
    settle(sakura)
    assert held(panel, name) == 2
    page.click("main .actions a >> nth=0")
    page.get_by_role("link", name="すべて戻す").click()
    page.click("button[name=sure]")
    settle(sakura)
    expect(page.locator("#job")).to_contain_text("5 通をメールボックスに戻しました")
    expect(page.locator("#job")).to_contain_text("2 通はすでにメールボックスにありました")
    assert held(panel, name) == 7
    assert not sakura.trouble()


def settle(visitor: Visitor) -> None:
    """Wait for the job's end, by looking again where no script does."""
    if visitor.scripts:
        ended(visitor)
        return
    live = visitor.page.locator("#job .state.live")
    assert wait_for(lambda: visitor.page.reload() and live.count() == 1, 60)


def opens(path: str) -> Callable[[Visitor, str, str], None]:
    """Return the way to a page; `{archive}` and `{account}` stand for what it is about."""

    def way(visitor: Visitor, archive: str, account: str) -> None:
        response = visitor.go(COM + path.format(archive=archive, account=account))
        assert response.ok, response.url

    return way


def chosen(visitor: Visitor, archive: str, account: str) -> None:
    visitor.go(f"{COM}/archives/{archive}/")
    visitor.page.check("input[name=number][value='1']")
    visitor.page.check("input[name=number][value='3']")
    visitor.page.click("button[name=chosen]")
    visitor.page.wait_for_selector("button[name=sure]")


PAGES: dict[str, Callable[[Visitor, str, str], None]] = {
    "archives": opens("/archives/"),
    "archives-none": opens("/../example.net/archives/"),
    "archives-searched": opens("/archives/?q=zzz"),
    "archive": opens("/archives/{archive}/"),
    "archive-message": opens("/archives/{archive}/messages/3/"),
    "archive-message-hostile": opens("/archives/{archive}/messages/1/"),
    "archive-put-back": opens("/archives/{archive}/put-back/"),
    "archive-put-back-chosen": chosen,
    "archive-delete": opens("/archives/{archive}/delete/"),
    "archive-now": opens("/mailboxes/{account}/archive/"),
    "archive-job": opens("/archives/jobs/1/"),
    "archive-job-failed": opens("/archives/jobs/2/"),
    "archive-job-put-back": opens("/archives/jobs/3/"),
    "archive-job-waiting": opens("/archives/jobs/4/"),
    "archive-mailboxes": opens("/mailboxes/"),
    "archive-home": opens("/"),
    "archive-help": opens("/../../help/mailbox"),
}
OPERATORS = {
    "admin-index": "/admin/",
    "admin-runs": "/admin/quota/archiverun/",
    "admin-run": "/admin/quota/archiverun/1/change/",
    "admin-archives": "/admin/quota/archive/",
    "admin-jobs": "/admin/quota/archivejob/",
}


@pytest.fixture(scope="module")
def told() -> Iterator[Product]:
    """The same with an archive, a run that failed for one mailbox, and jobs of every state."""
    with product("web") as made:
        for number in range(1, 8):
            deliver(made, "tanaka", number)
        assert wait_for(lambda: held(made, "tanaka") == 7, 60)
        made.manage("collect_figures")
        made.manage("shell", "-c", _SCENE)
        yield made


_SCENE = """
from datetime import timedelta
from django.utils.timezone import now
from accounts.models import Account, Domain
from propagation.models import MailServer
from quota.archiving import jobs
from quota.models import *
com = Domain.objects.get(name="example.com")
tanaka = Account.objects.get(name="tanaka")
ito = Account.objects.get(name="ito")
server = MailServer.objects.get()
jobs.archive_now(tanaka, com, oldest=False, by=None)
jobs.archive_now(ito, com, oldest=False, by=None)
jobs.do_waiting(server)
row = Archive.objects.get()
jobs.put_back(row, numbers=[1, 3], by=None)
jobs.do_waiting(server)
jobs.archive_now(ito, com, oldest=False, by=None)
run = ArchiveRun.objects.create(server=server, day=now().date(), started_at=now(), found=2)
for account, fields in ((tanaka, {"file_name": Archive.objects.get().file_name, "messages": 7,
    "mail_bytes": 123456}), (ito, {"code": "home_full", "trouble": "No space left on device",
    "retry_at": now() + timedelta(minutes=5)})):
    run.results.create(mailbox_id=account.pk, address=account.address, domain=com,
        ended_at=now(), attempts=1, **fields)
run.end()
ArchiveNews.objects.update(since=now() - timedelta(days=100))
ArchiveRun.objects.update(weekly=False)
"""


@pytest.mark.parametrize("language", ["ja", "en"])
def test_page_is_right_in_every_size_and_light(told: Product, visit: Visit, language: str) -> None:
    archive = str(told.rows("SELECT id FROM quota_archive ORDER BY number")[0][0])
    account = str(UUID(told.rows("SELECT id FROM accounts_account WHERE name = 'tanaka'")[0][0]))
    visitor = visit(told.url, language)
    visitor.log_in("sakura", told.logins["sakura"])
    faults: dict[str, list[str]] = {}
    for name, way in PAGES.items():
        way(visitor, archive, account)
        for fault in [*seen(visitor, name, language), *visitor.trouble()]:
            faults.setdefault(fault, []).append(name)
    if os.environ.get("PICTURES"):
        operator = visit(told.url, language)
        operator.log_in("operator", told.logins["operator"])
        for name, path in OPERATORS.items():
            operator.go(path)
            list(seen(operator, name, language))
    assert not faults, "\n".join(f"{fault}: {', '.join(names)}" for fault, names in faults.items())


HUGE = 2 << 30
_HUGE = """
from accounts.models import Account
from django.utils.timezone import now
from quota.models import Archive, ArchiveNews
tanaka = Account.objects.get(name="tanaka")
file = "tanaka.oldmail.20251231.gz"
path = __import__("pathlib").Path(ArchiveNews.objects.get().homes_root) / tanaka.domain.home / file
with path.open("wb") as huge:
    huge.truncate(2 << 30)
Archive.objects.create(server=tanaka.server, number=99, domain=tanaka.domain, mailbox_id=tanaka.pk,
    account_name="tanaka", file_name=file, taken_at=now(), messages=1, mail_bytes=1,
    file_bytes=2 << 30, sha256="0" * 64, state="kept")
"""


def test_two_gigabytes_are_sent_without_being_held(told: Product, visit: Visit) -> None:
    told.manage("shell", "-c", _HUGE)
    [(archive,)] = told.rows("SELECT id FROM quota_archive WHERE number = 99")
    path = f"{COM}/archives/{archive}/"
    visitor = visit(told.url)
    visitor.log_in("sakura", told.logins["sakura"])
    cookies = "; ".join(f"{one['name']}={one['value']}" for one in visitor.context.cookies())

    with ExitStack() as kept:

        def ask(**headers: str) -> HTTPResponse:
            connection = kept.enter_context(
                closing(HTTPConnection("127.0.0.1", told.ports.web, timeout=60))
            )
            connection.request("GET", f"{path}download/", headers={"Cookie": cookies, **headers})
            return kept.enter_context(closing(connection.getresponse()))

        before = told.memory("web")
        response = ask()
        assert response.status == 200
        assert response.headers["Content-Length"] == str(HUGE)
        # Others are served meanwhile.
        slow = [ask() for _ in range(4)]
        visitor.go(f"{COM}/archives/")
        assert sum(len(part) for part in iter(lambda: response.read(1 << 20), b"")) == HUGE
        assert [one.status for one in slow] == [200] * 4
        rest = ask(Range=f"bytes={HUGE - 1000}-")
        assert (rest.status, len(rest.read())) == (206, 1000)
        assert rest.headers["Content-Range"] == f"bytes {HUGE - 1000}-{HUGE - 1}/{HUGE}"
        assert told.memory("web") - before < 50
