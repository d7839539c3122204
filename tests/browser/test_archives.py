"""Archives in the browser: archive now, look inside, download, put back."""

from __future__ import annotations

import gzip
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from email.message import EmailMessage
from functools import partial
from http.client import HTTPConnection, HTTPResponse
from pathlib import Path

import pytest
from playwright.sync_api import expect

from mailhost.usage import figures
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
    sakura.press(sakura.row(name, "main").get_by_role("link", name="いま待避する"))
    sakura.press("main form .actions button")
    settle(sakura)
    assert held(panel, name) == 0

    # Look inside.
    sakura.press("main .actions a >> nth=0")
    expect(page.locator("main tbody tr")).to_have_count(7)
    assert page.title() != "taken over"
    sakura.press(page.get_by_role("link", name="7月のご請求書について"))
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
    sakura.press("button[name=chosen]")
    expect(page.locator("main")).to_contain_text("選んだ 2 通")
    sakura.press("button[name=sure]")
    settle(sakura)
    assert held(panel, name) == 2
    sakura.press("main .actions a >> nth=0")
    sakura.press(page.get_by_role("link", name="すべて戻す"))
    sakura.press("button[name=sure]")
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


def test_two_gigabytes_are_sent_without_being_held(panel: Product, visit: Visit) -> None:
    panel.manage("shell", "-c", _HUGE)
    [(archive,)] = panel.rows("SELECT id FROM quota_archive WHERE number = 99")
    path = f"{COM}/archives/{archive}/"
    visitor = visit(panel.url)
    visitor.log_in("sakura", panel.logins["sakura"])
    cookies = "; ".join(f"{one['name']}={one['value']}" for one in visitor.context.cookies())

    with ExitStack() as kept:

        def ask(**headers: str) -> HTTPResponse:
            connection = kept.enter_context(
                closing(HTTPConnection("127.0.0.1", panel.ports.web, timeout=60))
            )
            connection.request("GET", f"{path}download/", headers={"Cookie": cookies, **headers})
            return kept.enter_context(closing(connection.getresponse()))

        before = panel.memory("web")
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
        assert panel.memory("web") - before < 50
