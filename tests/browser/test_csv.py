"""CSV files in a real browser, with a real worker behind the panel; one is killed at work.

Once in Japanese with scripts, once in English without.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import FilePayload, expect

from accounts import passwords
from tests.browser.visitor import Visitor
from tests.e2e.product import Product, product
from tests.servers import wait_for

pytestmark = [pytest.mark.servers, pytest.mark.browser, pytest.mark.timeout(600)]

Visit = Callable[..., Visitor]
PAGE = "/domains/example.com/csv/"
MANY = 2000


@pytest.fixture(scope="module")
def panel() -> Iterator[Product]:
    """An installation with a worker, without mail servers: an import needs none."""
    with product("web", "redis", "worker", mail=False, delay=900) as made:
        yield made


def send(visitor: Visitor, kind: str, content: bytes) -> None:
    """Send a file by the page's form, and wait for the dry run."""
    visitor.go(PAGE)
    visitor.page.check(f"input[name=kind][value={kind}]")
    file: FilePayload = {"name": "一覧.csv", "mimeType": "text/csv", "buffer": content}
    visitor.page.set_input_files("#file", file)
    visitor.page.click("#upload .actions button")
    visitor.page.wait_for_url(f"**{PAGE}imports/**")


def downloaded(visitor: Visitor, selector: str) -> bytes:
    """Press what leads to a file, and return it."""
    with visitor.page.expect_download() as download:
        visitor.page.click(selector)
    return Path(download.value.path()).read_bytes()


def test_from_the_export_to_the_new_rows(panel: Product, visit: Visit) -> None:
    sakura = visit(panel.url)
    sakura.log_in("sakura", panel.logins["sakura"])
    sakura.go("/domains/example.com/")
    sakura.page.click(f'nav a[href="{PAGE}"]')
    export = downloaded(sakura, "a[href*='accounts.csv?encoding=shift_jis']").decode("cp932")
    rows = list(csv.reader(io.StringIO(export, newline="")))
    assert rows[0] == ["アカウント名", "パスワード", "FTP", "SSH"]
    there = len(rows) - 1
    # As a spreadsheet saves it: with an empty row and cells that were quoted.
    edited = export + '"ｙｏｓｈｉｄａ","","on",""\r\nroot,,,\r\n,,,\r\n'
    send(sakura, "accounts", edited.encode("cp932"))
    main = sakura.page.locator("main")
    expect(main).to_contain_text("追加されます")
    expect(main).to_contain_text("この名前はメールシステム")
    expect(main.locator(".pairs dd")).to_have_text(["1", "0", str(there), "1"])
    sakura.page.click("button[name=confirm]")
    expect(main.locator("#import .state")).to_have_text("取り込み完了")
    made = downloaded(sakura, "button[name=passwords]").decode("utf-8-sig")
    [_head, [address, password]] = csv.reader(io.StringIO(made, newline=""))
    assert address == "yoshida@example.com"
    [[stored]] = panel.rows("SELECT password_hash FROM accounts_account WHERE name = 'yoshida'")
    assert passwords.verify(password, stored)
    sakura.page.reload()
    expect(main).to_contain_text("受け取り済み")
    sakura.page.click("main .actions a.button >> nth=0")
    expect(sakura.page.locator("#accounts")).to_contain_text("yoshida")
    assert not sakura.trouble()


def test_import_goes_on_after_its_worker_was_killed(panel: Product, visit: Visit) -> None:
    plain = visit(panel.url, "en", java_script_enabled=False)
    plain.log_in("sakura", panel.logins["sakura"])
    text = "Address,Forward to\n" + "".join(
        f"many{n:04},x{n}@outside.example\n" for n in range(MANY)
    )
    send(plain, "forwards", text.encode())
    plain.page.click("button[name=confirm]")
    done = "SELECT count(*) FROM bulk_importrow WHERE done AND subject LIKE 'many%'"
    assert wait_for(lambda: 0 < panel.rows(done)[0][0] < MANY, 120), "nobody is at work"
    panel.kill("worker")
    ready = panel.rows(done)[0][0]
    assert 0 < ready < MANY
    # Without scripts the page tells as much when it is loaded again.
    plain.page.reload()
    assert plain.page.locator("progress").get_attribute("value") == str(ready)
    panel.execute("UPDATE bulk_import SET touched_at = '2026-01-01' WHERE state = 'running'")
    panel.start("worker")
    panel.send("bulk.tasks.look_after_imports", queue="celery")
    running = "SELECT count(*) FROM bulk_import WHERE state = 'running'"
    assert wait_for(lambda: panel.rows(running)[0][0] == 0, 240)
    plain.page.reload()
    expect(plain.page.locator("#import .state")).to_have_text("Imported")
    for table in (
        "forwarding_forwardingaddress WHERE local_part LIKE 'many%'",
        "propagation_change WHERE key LIKE 'address:many%' AND state = 'pending'",
    ):
        assert panel.rows(f"SELECT count(*) FROM {table}") == [(MANY,)]  # noqa: S608
