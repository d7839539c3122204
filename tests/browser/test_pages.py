"""Every page as people see it: wide, on a telephone and at 320 pixels, light and dark, ja and en.

In Japanese with axe-core, which knows what gets in the way of those who see, hear or move
otherwise; in English without scripts. With PICTURES=DIRECTORY in the environment the pages are
also photographed into it.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from pytest_django import Settings
from pytest_django.live_server_helper import LiveServer

from accounts.models import User
from tests.browser.looking import WIDE, seen
from tests.browser.pages import pages
from tests.browser.scene import Scene, set_scene
from tests.browser.visitor import Visitor, chromium
from tests.conftest import Cast, logged_in
from tests.remotemail.conftest import running
from tests.servers import MailServer

__all__ = ["running"]
pytestmark = [pytest.mark.servers, pytest.mark.browser, pytest.mark.timeout(900)]


@pytest.fixture
def scene(
    live_server: LiveServer, cast: Cast, running: MailServer, settings: Settings, tmp_path: Path
) -> Scene:
    """The panel with everything in it."""
    settings.MAILHOST_ROOT = str(running.root.parent)
    return set_scene(cast, running, tmp_path)


<<<<<<< HEAD
@pytest.mark.parametrize(("language", "scripts"), [("ja", True), ("en", False)])
=======
@dataclass(frozen=True)
class Scene:
    """The installation, and the ids of what its pages are about."""

    panel: Product

    @property
    def tanaka(self) -> UUID:
        """An account with a forward to it."""
        return self._account("tanaka")

    @property
    def fixed(self) -> UUID:
        """The fixed account of example.com."""
        return self._account("example")

    @property
    def managed(self) -> UUID:
        """An account that its customer may not delete."""
        return self._account("yamada")

    def _account(self, name: str) -> UUID:
        return UUID(self.panel.rows("SELECT id FROM accounts_account WHERE name = ?", name)[0][0])

    @property
    def sales(self) -> int:
        """A forwarding address with two destinations."""
        return int(self._first("forwarding_forwardingaddress", "local_part = 'sales'"))

    @property
    def list(self) -> int:
        """A mailing list of many members, one of whom does not exist."""
        return int(self._first("forwarding_mailinglist", "local_part = 'club'"))

    @property
    def link(self) -> str:
        """The link by which a member of it leaves."""
        [(key,)] = self.panel.rows(
            "SELECT leave_key FROM forwarding_mailinglist WHERE id = ?", self.list
        )
        return f"/leave/{self.list}/{token(key, 'kaiin001@outside.example')}"

    @property
    def pending(self) -> int:
        """A change that others hang together with."""
        return int(self._first("propagation_change", "key = 'mailbox:suzuki' AND state='pending'"))

    def _first(self, table: str, condition: str) -> int:
        query = f"SELECT id FROM {table} WHERE {condition}"  # noqa: S608 (both stand above)
        return int(self.panel.rows(query)[0][0])


@pytest.fixture(scope="module")
def scene() -> Iterator[Scene]:
    """The demo with rows that are live, waiting, failing and leaving, and names that are long."""
    with product("web", delay=900) as panel:
        for domain in (LONG, "日本語.example"):
            panel.manage(
                *("add_domain", domain, "--customer", "sakura", "--plan", "upper"),
                *("--server", SERVER),
            )
        panel.manage("add_account", "sato@example.com", typed=f"{PASSWORD}\n")
        members = [f"kaiin{number:03}@outside.example" for number in range(60)]
        members += ["nobody@example.com", f"{'n' * 64}@{LONG}"]
        panel.manage(
            *("add_list", "club@example.com", "--title", "さくら商店 友の会のみなさまへ" * 4),
            typed="\n".join(members),
        )
        panel.make_due()
        panel.mail.stop("dovecot")
        panel.manage("apply_changes", fails=True)
        panel.mail.start("dovecot")
        panel.manage("add_account", f"{LONG_NAME}@{LONG}", typed=f"{PASSWORD}\n")
        panel.manage("add_forward", "info@example.com", "suzuki@example.com", "a@outside.example")
        panel.manage("set_mailbox_password", "tanaka@example.com", typed=f"{PASSWORD}\n")
        panel.manage("delete_account", "suzuki@example.com")
        send_demo_mail(panel.ports)
        assert wait_for(lambda: shows_waiting_mail(panel), 60)
        tell_figures(panel)
        yield Scene(panel)


def shows_waiting_mail(panel: Product) -> bool:
    """Have the panel take figures over; return whether it knows of mail that waits for room."""
    panel.manage("collect_figures")
    return bool(panel.rows("SELECT 1 FROM quota_waitingmail"))


def tell_figures(panel: Product) -> None:
    """Let the mail server have told of refused mail, and of a list's mail that came back."""
    moment = datetime.now(UTC).replace(tzinfo=None).isoformat(" ")
    account = panel.rows("SELECT id FROM accounts_account WHERE name = 'tanaka'")[0][0]
    long = (f"{'f' * 60}@{LONG}", moment, f"{'t' * 60}@outside.example")
    for day, times in ((moment[:10], 5), ("2026-01-01", 1)):
        panel.execute(
            "INSERT INTO quota_refusal"
            ' (account_id, day, reason, sender, at, recipient, times, "limit", reached)'
            " VALUES (?, ?, 'sender', ?, ?, ?, ?, 0, 0)",
            *(account, day, *long, times),
        )
    panel.execute(
        "UPDATE forwarding_member SET came_back = 3, came_back_at = ?"
        " WHERE lowered LIKE 'nnn%' OR lowered LIKE 'kaiin00%'",
        moment,
    )


def opens(path: str) -> Callable[[Visitor, Scene], None]:
    """Return the way to a page that an address opens."""

    def way(visitor: Visitor, scene: Scene) -> None:
        visitor.go(path.format(scene=scene))

    return way


def wrong_login(visitor: Visitor, scene: Scene, name: str = "sakura") -> None:
    visitor.go("/login/")
    visitor.page.fill("#username", name)
    visitor.page.fill("#password", "a wrong one")
    visitor.page.click("main form .actions button")


def locked_out(visitor: Visitor, scene: Scene) -> None:
    for _attempt in range(12):
        wrong_login(visitor, scene, "nobody")
        if not visitor.page.locator("#username").count():
            return
    raise AssertionError("nobody is locked out")


def taken_name(visitor: Visitor, scene: Scene, domain: str = "example.net") -> None:
    visitor.add_account(domain, "info", PASSWORD)
    visitor.page.wait_for_selector("#offer")


def taken_name_that_works_already(visitor: Visitor, scene: Scene) -> None:
    taken_name(visitor, scene, "example.com")


def offered_name_refused(visitor: Visitor, scene: Scene) -> None:
    taken_name(visitor, scene)
    visitor.page.fill("#mailbox", "root")
    visitor.page.click("#offer .actions button")


def all_wrong(visitor: Visitor, scene: Scene) -> None:
    visitor.add_account("example.com", "name with spaces", "short")


def generated(visitor: Visitor, scene: Scene) -> None:
    visitor.go(f"{COM}/users/")
    visitor.page.fill("#add-account input[name=name]", "tanaka2")
    visitor.page.click("#add-account button[name=generate]")


def password_refused(visitor: Visitor, scene: Scene) -> None:
    visitor.go(f"{COM}/users/{scene.tanaka}/password/")
    visitor.page.fill("input[name=password]", "short")
    visitor.page.click("main form .actions button")


def circle(visitor: Visitor, scene: Scene) -> None:
    visitor.go(f"{COM}/forwarding/")
    visitor.page.fill("#local_part", "sales")
    visitor.page.fill("#destination", "no address")
    visitor.page.click("#add-forward .actions button")


def more_boxes(visitor: Visitor, scene: Scene) -> None:
    visitor.go(f"{COM}/forwarding/{scene.sales}/")
    visitor.page.click("button[name=another]")


def list_refused(visitor: Visitor, scene: Scene) -> None:
    visitor.go(f"{COM}/forwarding/lists/")
    visitor.page.fill("#local_part", "tanaka")
    visitor.page.fill("#title", "x" * 150)
    visitor.page.fill("#owner_address", "no address")
    visitor.page.click("#add-list .actions button")


def members_refused(visitor: Visitor, scene: Scene) -> None:
    visitor.go(f"{COM}/forwarding/lists/{scene.list}/")
    visitor.page.fill("#members", "田中 <tanaka@example.com>\nsuzuki.example.com\n" + "x" * 400)
    visitor.page.click("#add-members .actions button")


def own_password_refused(visitor: Visitor, scene: Scene) -> None:
    visitor.go("/login/password/")
    for box in visitor.page.locator("main input[type=password]").all():
        box.fill("short")
    visitor.page.click("main form .actions button")


# By who sees it: a name for the picture, and the way there.
PAGES: dict[str, dict[str, Callable[[Visitor, Scene], None]]] = {
    "": {
        "login": opens("/login/"),
        "login-refused": wrong_login,
        "locked-out": locked_out,
        "admin-login": opens("/admin/login/"),
        "help-sending": opens("/help/sending"),
        "leave": opens("{scene.link}"),
        "leave-wrong": opens("{scene.link}x"),
        "help-mailbox": opens("/help/mailbox"),
    },
    "sakura": {
        "domains": opens("/domains/"),
        "home": opens(f"{COM}/"),
        "home-long": opens(f"/domains/{LONG}/"),
        "users": opens(f"{COM}/users/"),
        "users-long": opens(f"/domains/{LONG}/users/"),
        "users-searched": opens(f"{COM}/users/?q=zzz"),
        "users-refused": all_wrong,
        "users-generated": generated,
        "offer": taken_name,
        "offer-works-already": taken_name_that_works_already,
        "offer-refused": offered_name_refused,
        "password": opens(f"{COM}/users/{{scene.tanaka}}/password/"),
        "password-refused": password_refused,
        "delete": opens(f"{COM}/users/{{scene.tanaka}}/delete/"),
        "delete-fixed": opens(f"{COM}/users/{{scene.fixed}}/delete/"),
        "ssh": opens(f"{COM}/users/{{scene.tanaka}}/ssh/"),
        "forwarding": opens(f"{COM}/forwarding/"),
        "forwarding-fixed-elsewhere": opens("/domains/example.net/forwarding/"),
        "forwarding-refused": circle,
        "change": opens(f"{COM}/forwarding/{{scene.sales}}/"),
        "change-more": more_boxes,
        "catch-all": opens(f"{COM}/forwarding/catch-all/"),
        "forwarding-delete": opens(f"{COM}/forwarding/{{scene.sales}}/delete/"),
        "lists": opens(f"{COM}/forwarding/lists/"),
        "lists-none": opens(f"/domains/{LONG}/forwarding/lists/"),
        "lists-refused": list_refused,
        "list": opens(f"{COM}/forwarding/lists/{{scene.list}}/"),
        "sending": opens(f"{COM}/sending/"),
        "list-last-page": opens(f"{COM}/forwarding/lists/{{scene.list}}/?page=2"),
        "list-refused": members_refused,
        "list-settings": opens(f"{COM}/forwarding/lists/{{scene.list}}/settings/"),
        "list-delete": opens(f"{COM}/forwarding/lists/{{scene.list}}/delete/"),
        "mailboxes": opens(f"{COM}/mailboxes/"),
        "mailboxes-long": opens(f"/domains/{LONG}/mailboxes/"),
        "cancel": opens(f"{COM}/changes/{{scene.pending}}/cancel/"),
        "own-password": opens("/login/password/"),
        "own-password-refused": own_password_refused,
        "404": opens("/domains/wakaba.example/"),
    },
    "wakaba": {
        "managed-users": opens("/domains/managed.example/users/"),
        "403": opens("/domains/managed.example/users/{scene.managed}/delete/"),
    },
    "operator": {
        "admin": opens("/admin/"),
        "admin-changes": opens("/admin/propagation/change/"),
        "admin-accounts": opens("/admin/accounts/account/"),
        "admin-account": opens("/admin/accounts/account/add/"),
        "admin-forward": opens("/admin/forwarding/forwardingaddress/{scene.sales}/change/"),
        "admin-list": opens("/admin/forwarding/mailinglist/{scene.list}/change/"),
        "admin-mailboxes": opens("/admin/quota/mailboxusage/?fill=80"),
        "admin-notices": opens("/admin/quota/notice/"),
        "admin-servers": opens("/admin/propagation/mailserver/"),
        "operator-domains": opens("/domains/"),
    },
}


@pytest.mark.parametrize("language", ["ja", "en"])
@pytest.mark.parametrize("login", PAGES)
>>>>>>> ssh
def test_page_is_right_in_every_size_and_light(
    scene: Scene, live_server: LiveServer, language: str, scripts: bool
) -> None:
    ways = pages(scene)
    sessions = {
        login: logged_in(User.objects.get(username=login)).cookies["sessionid"].value
        for login in ways
        if login
    }
    faults: dict[str, list[str]] = {}
    with chromium() as browser:
        for login, its in ways.items():
            visitor = Visitor(
                browser,
                live_server.url,
                language,
                java_script_enabled=scripts,
                viewport={"width": WIDE[0], "height": WIDE[1]},
                color_scheme="light",
                reduced_motion="reduce",
            )
            if login:
                visitor.have_session(sessions[login])
            for name, way in its.items():
                way(visitor, scene)
                for fault in [*seen(visitor, name, language), *visitor.trouble()]:
                    faults.setdefault(fault, []).append(name)
            visitor.close()
    assert not faults, "\n".join(f"{fault}: {', '.join(names)}" for fault, names in faults.items())
