"""A mailing list from the browser to the members' mailboxes, and out of it by the link."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from email import message_from_bytes
from urllib.request import urlopen

import pytest
from playwright.sync_api import expect

from tests.browser.visitor import Visitor
from tests.e2e.product import PASSWORD, Product, product
from tests.servers import message

pytestmark = [pytest.mark.servers, pytest.mark.browser, pytest.mark.timeout(400)]

Visit = Callable[..., Visitor]
LISTS = "/domains/example.com/forwarding/lists/"
OUTSIDE = "ann@outside.test"


@pytest.fixture(scope="module")
def panel() -> Iterator[Product]:
    """The product without its clock: a change is applied when the test says so."""
    with product("web", delay=900) as made:
        for name in ("tanaka", "suzuki"):
            made.manage("set_mailbox_password", f"{name}@example.com", typed=f"{PASSWORD}\n")
        made.manage("add_forward", "shop@example.com", "suzuki@example.com")
        apply(made)
        yield made


def apply(panel: Product) -> None:
    """Let the time come for all that waits."""
    panel.make_due()
    panel.manage("apply_changes")
    assert panel.settled()


def post(panel: Product, name: str, text: str) -> None:
    """Write to the list as the member who is outside."""
    with panel.mail.smtp() as client:
        content = message(text=text, sender=OUTSIDE)
        client.sendmail(OUTSIDE, [f"{name}@example.com"], content)


def link_in(panel: Product, login: str, text: str) -> str:
    """Return the link by which the holder of a mailbox leaves."""
    [mail] = [one for one in panel.mail.messages(login) if text.encode() in one]
    header = message_from_bytes(mail)
    assert header["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
    return str(header["List-Unsubscribe"]).strip("<>")


@pytest.mark.parametrize(("name", "scripts"), [("club", True), ("circle", False)])
def test_list_reaches_its_members_until_they_leave(
    panel: Product, visit: Visit, name: str, scripts: bool
) -> None:
    mail = panel.mail
    sakura = visit(panel.url, java_script_enabled=scripts)
    page = sakura.page
    sakura.log_in("sakura", panel.logins["sakura"])

    # The list is made, and its members are pasted with a mistake that is mended.
    sakura.go("/domains/example.com/forwarding/")
    sakura.press(f"nav.tabs a[href='{LISTS}']")
    page.fill("#local_part", name)
    page.fill("#title", "さくら商店 友の会")
    sakura.press("#add-list .actions button")
    members = f"田中 <tanaka@example.com>\nshop@example.com; {OUTSIDE}"
    page.fill("#members", f"{members}\nsuzuki.example.com")
    sakura.press("#add-members .actions button")
    expect(page.locator("#members-error li")).to_contain_text("suzuki.example.com")
    assert page.input_value("#members") == f"{members}\nsuzuki.example.com"
    page.fill("#members", members)
    sakura.press("#add-members .actions button")
    expect(page.locator("#members-form tbody tr")).to_have_count(3)
    apply(panel)

    # Each gets it: a mailbox, one behind a forward, and one outside.
    post(panel, name, f"first {name}")
    assert mail.got("tanaka", f"first {name}")
    assert mail.got("suzuki", f"first {name}")
    assert mail.outside.got(OUTSIDE, f"first {name}")

    # The link shows who leaves what, and leaves at one press.
    tanaka = visit(panel.url, java_script_enabled=scripts)
    link = link_in(panel, "tanaka", f"first {name}")
    assert link.startswith(f"{panel.url}/leave/")
    tanaka.go(link)
    expect(tanaka.page.locator("main")).to_contain_text("tanaka@example.com")
    expect(tanaka.page.locator("main")).not_to_contain_text("suzuki")
    tanaka.press("main form button")
    expect(tanaka.page.locator("main h1")).to_have_text("配信を停止しました")
    with urlopen(link, data=b"List-Unsubscribe=One-Click") as again:  # noqa: S310 (the panel's)
        assert again.status == 200
    apply(panel)

    # The next message does not reach him.
    post(panel, name, f"second {name}")
    assert mail.got("suzuki", f"second {name}")
    assert mail.outside.got(OUTSIDE, f"second {name}")
    assert not any(f"second {name}".encode() in one for one in mail.messages("tanaka"))
    page.reload()
    expect(page.locator("#members-form tbody tr")).to_have_count(2)
    assert sakura.trouble() == []
    assert tanaka.trouble() == []
