"""Every page of the panel, and the way there, for tests that look at all of them.

Pages are found by the URL conf, so that a new one is looked at without anyone remembering; what a
page says after a form was refused, or about something special, stands in WAYS.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

import pytest
from django.apps import apps
from django.db.models import Model
from django.test import Client
from django.urls import reverse
from playwright.sync_api import FilePayload

from accounts.models import User
from tests.browser.scene import LONG, LONG_NAME, MATTERS, Scene
from tests.browser.visitor import Visitor
from tests.conftest import browser, logged_in
from tests.contracts.test_urls import Address, addresses
from tests.factories import PASSWORD
from tests.mailuser.people import as_user

Way = Callable[[Visitor, Scene], None]
COM = "/domains/example.com"
# Addresses that show no page of their own: they answer a form, send a file, or lead elsewhere.
NO_PAGES = {
    *("healthz", "home", "old_address", "logout", "choose_language", "assistant"),
    *("archive_download", "remote_download", "remote_delete"),
    *("mailbox_archive_download", "mailbox_remote_download", "mailbox_remote_delete"),
    *("admin:logout", "admin:jsi18n", "admin:autocomplete", "admin:view_on_site", "admin:None"),
    *("admin:quota_archiverun_run_now", "admin:orders_order_billing"),
    *("autoconfig", "autoconfig_well_known", "autodiscover"),
    *("apple_profile", "client_settings_qr"),
    *("csv_accounts", "csv_forwards"),
}
# Django's own, the same for all that the admin lists: they are looked at once, for the first.
ONCE = ("_history", "_delete")


def opens(path: str) -> Way:
    """Return the way to a page that an address opens."""

    def way(visitor: Visitor, scene: Scene) -> None:
        visitor.go(path.format(scene=scene))

    return way


# Logged out


def wrong_login(visitor: Visitor, scene: Scene, name: str = "sakura") -> None:
    visitor.go("/login/")
    visitor.page.fill("#username", name)
    visitor.page.fill("#password", "a wrong one")
    visitor.send()


def locked_out(visitor: Visitor, scene: Scene) -> None:
    for _attempt in range(12):
        wrong_login(visitor, scene, "nobody")
        if not visitor.page.locator("#username").count():
            return
    raise AssertionError("nobody is locked out")


def menus_open(visitor: Visitor, scene: Scene) -> None:
    visitor.go(f"/domains/{LONG}/")
    wide = visitor.page.viewport_size
    assert wide
    visitor.page.set_viewport_size({"width": 320, "height": 640})
    for menu, inside in (("nav.side", "nav.side a"), (".bar .choice", ".bar .choice a")):
        visitor.page.click(f"{menu} summary")
        visitor.page.wait_for_selector(inside)
    visitor.page.set_viewport_size(wide)


# User Manager


def taken_name(visitor: Visitor, scene: Scene, domain: str = "example.net") -> None:
    visitor.add_account(domain, "info", PASSWORD)
    visitor.page.wait_for_selector("#offer")


def offered_name_refused(visitor: Visitor, scene: Scene) -> None:
    taken_name(visitor, scene)
    visitor.page.fill("#mailbox", "root")
    visitor.press("#offer .actions button")


def all_wrong(visitor: Visitor, scene: Scene) -> None:
    visitor.add_account("example.com", "name with spaces", "short")


def generated(visitor: Visitor, scene: Scene) -> None:
    visitor.go(f"{COM}/users/")
    visitor.page.fill("#add-account input[name=name]", "tanaka2")
    visitor.press("#add-account button[name=generate]")


def password_refused(visitor: Visitor, scene: Scene) -> None:
    visitor.go(f"{COM}/users/{scene.tanaka.pk}/password/")
    visitor.page.fill("input[name=password]", "short")
    visitor.send()


def own_password_refused(visitor: Visitor, scene: Scene) -> None:
    visitor.go("/login/password/")
    for box in visitor.page.locator("main input[type=password]").all():
        box.fill("short")
    visitor.send()


# Email Forwarding


def address_refused(visitor: Visitor, scene: Scene) -> None:
    visitor.go(f"{COM}/forwarding/")
    visitor.page.fill("#local_part", "sales")
    visitor.page.fill("#destination", "no address")
    visitor.press("#add-forward .actions button")


def more_boxes(visitor: Visitor, scene: Scene) -> None:
    visitor.go(f"{COM}/forwarding/{scene.objects['forwarding_id']}/")
    visitor.press("button[name=another]")


def list_refused(visitor: Visitor, scene: Scene) -> None:
    visitor.go(f"{COM}/forwarding/lists/")
    visitor.page.fill("#local_part", "tanaka")
    visitor.page.fill("#title", "x" * 150)
    visitor.page.fill("#owner_address", "no address")
    visitor.press("#add-list .actions button")


def members_refused(visitor: Visitor, scene: Scene) -> None:
    visitor.go(f"{COM}/forwarding/lists/{scene.objects['list_id']}/")
    visitor.page.fill("#members", "田中 <tanaka@example.com>\nsuzuki.example.com\n" + "x" * 400)
    visitor.press("#add-members .actions button")


# Mail and archives


def messages_chosen(visitor: Visitor, scene: Scene) -> None:
    visitor.go(f"{COM}/archives/{scene.objects['archive_id']}/")
    visitor.page.check("input[name=number][value='1']")
    visitor.page.check("input[name=number][value='3']")
    visitor.press("button[name=chosen]")
    visitor.page.wait_for_selector("button[name=sure]")


def hostile_archived(visitor: Visitor, scene: Scene, name: str) -> None:
    number = scene.hostile[name]
    visitor.go(f"{COM}/archives/{scene.objects['archive_id']}/messages/{number}/")
    visitor.page.wait_for_selector("main dl.pairs")


def remote_deletion(visitor: Visitor, scene: Scene) -> None:
    visitor.go(f"{COM}/users/{scene.tanaka.pk}/mail/")
    for box in visitor.page.locator("input[name=uid]").all()[:3]:
        box.check()
    visitor.press("section .below button.danger")
    visitor.page.wait_for_selector("input[name=sure]", state="attached")


# CSV files


def file_refused(visitor: Visitor, scene: Scene) -> None:
    visitor.go(f"{COM}/csv/")
    visitor.page.check("input[name=kind][value=forwards]")
    content = "氏名,電話\n田中,03\n".encode()
    file: FilePayload = {"name": "x.csv", "mimeType": "text/csv", "buffer": content}
    visitor.page.set_input_files("#file", file)
    visitor.page.click("#upload .actions button")
    visitor.page.wait_for_selector("#file-error")


# The user of one mailbox


def reply_refused(visitor: Visitor, scene: Scene) -> None:
    visitor.go("/mailbox/auto-reply/")
    visitor.page.fill("#subject", "不在のお知らせ" * 20)
    visitor.page.fill("#text", "ただいま留守にしております。\n" * 20)
    visitor.page.fill("#starts", "2026-12-28")
    visitor.page.fill("#ends", "2026-12-27")
    visitor.page.fill("#days", "7")
    visitor.send()


def own_forwarding_refused(visitor: Visitor, scene: Scene) -> None:
    visitor.go("/mailbox/forwarding/")
    visitor.page.fill("#destination", "no address")
    visitor.send()


# Mail programs


def all_steps_open(visitor: Visitor, scene: Scene) -> None:
    visitor.go(f"{COM}/settings/tanaka/")
    for program in visitor.page.locator(".programs summary").all():
        program.click()


# Options


def order_of_ito(visitor: Visitor, scene: Scene) -> None:
    visitor.go(f"{COM}/options/order/?option={scene.objects['option']}&account=ito")


def order_refused(visitor: Visitor, scene: Scene) -> None:
    visitor.go(f"{COM}/options/order/?option={scene.objects['option']}")
    visitor.page.fill("#account", "nobody")
    visitor.send()


def contact_refused(visitor: Visitor, scene: Scene) -> None:
    visitor.go(f"{COM}/contact/")
    visitor.page.fill("#sender", "somebody@outside.example")
    visitor.page.fill("#subject", "件名")
    visitor.page.fill("#text", "本文です。\n" * 30)
    visitor.send()


# Errors


def token_lost(visitor: Visitor, scene: Scene) -> None:
    visitor.go(f"{COM}/users/")
    visitor.context.clear_cookies(name="csrftoken")
    visitor.page.fill("#add-account input[name=name]", "kept")
    visitor.page.fill("#add-account input[name=password]", PASSWORD)
    visitor.press("#add-account .actions button")


def too_many_fields(visitor: Visitor, scene: Scene) -> None:
    # What no form of ours sends, and Django's limit refuses.
    visitor.go(f"/login/?{'a&' * 1500}")
    visitor.problems.clear()


def breaks(visitor: Visitor, scene: Scene) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.delattr("quota.mailboxes.render")
        visitor.go("/help/mailbox")
    visitor.problems.clear()


WAYS: dict[str, dict[str, Way]] = {
    "": {
        "login-refused": wrong_login,
        "locked-out": locked_out,
        "leave": opens("{scene.link}"),
        "leave-wrong": opens("{scene.link}x"),
        "setup-address": opens(f"/mail/setup?emailaddress={'n' * 60}@{LONG}"),
        "setup-refused": opens("/mail/setup?emailaddress=info"),
        "404-logged-out": opens("/no/such/page"),
        "400": too_many_fields,
        "500": breaks,
    },
    "sakura": {
        "menus-open": menus_open,
        "home-long": opens(f"/domains/{LONG}/"),
        "users-long": opens(f"/domains/{LONG}/users/"),
        "users-searched": opens(f"{COM}/users/?q=zzz"),
        "users-refused": all_wrong,
        "users-generated": generated,
        "offer": taken_name,
        "offer-works-already": partial(taken_name, domain="example.com"),
        "offer-refused": offered_name_refused,
        "password-refused": password_refused,
        "delete-fixed": opens(f"{COM}/users/{{scene.cast.com.fixed_account_id}}/delete/"),
        "forwarding-fixed-elsewhere": opens("/domains/example.net/forwarding/"),
        "forwarding-refused": address_refused,
        "change-more": more_boxes,
        "lists-none": opens(f"/domains/{LONG}/forwarding/lists/"),
        "lists-refused": list_refused,
        "list-last-page": opens(f"{COM}/forwarding/lists/{{scene.objects[list_id]}}/?page=2"),
        "list-refused": members_refused,
        "mailboxes-long": opens(f"/domains/{LONG}/mailboxes/"),
        "own-password-refused": own_password_refused,
        "archives-none": opens("/domains/example.net/archives/"),
        "archives-searched": opens(f"{COM}/archives/?q=zzz"),
        "archive-message-hostile": partial(hostile_archived, name="html-textarea"),
        "archive-message-long": partial(hostile_archived, name="line-without-blank"),
        "archive-put-back-chosen": messages_chosen,
        "archive-job-failed": opens(f"{COM}/archives/jobs/{{scene.jobs[failed]}}/"),
        "archive-job-running": opens(f"{COM}/archives/jobs/{{scene.jobs[running]}}/"),
        "archive-job-waiting": opens(f"{COM}/archives/jobs/{{scene.jobs[waiting]}}/"),
        "remote-searched": opens(f"{COM}/users/{{scene.tanaka.pk}}/mail/?q=zzz"),
        "remote-deletion": remote_deletion,
        "history-none": opens(f"{COM}/history/?q=zzz"),
        "history-of-one": opens(f"{COM}/history/?q=tanaka&sort=mailbox"),
        "csv-refused": file_refused,
        "csv-import-refused-rows": opens(
            f"{COM}/csv/imports/{{scene.objects[import_id]}}/?q=refused"
        ),
        "csv-import-running": opens(f"{COM}/csv/imports/{{scene.imports[running]}}/"),
        "csv-import-done": opens(f"{COM}/csv/imports/{{scene.imports[done]}}/"),
        "settings-refused": opens(f"{COM}/settings/?address=nobody"),
        "settings-steps": all_steps_open,
        "settings-several": opens(f"{COM}/settings/sales/"),
        "settings-long": opens(f"/domains/{LONG}/settings/{LONG_NAME}/"),
        "users-full": opens("/domains/full.example/users/"),
        "options-long": opens(f"/domains/{LONG}/options/"),
        "options-none-ordered": opens("/domains/full.example/options/"),
        "order-mailbox": order_of_ito,
        "order-refused": order_refused,
        "contact-refused": contact_refused,
        "why-many": opens(f"{COM}/why/?address=tanaka"),
        **{f"why-{code}": opens(f"{COM}/why/?address={name}") for name, code in MATTERS.items()},
        "map-loop": opens(f"{COM}/map/?address=round"),
        "map-dead-end": opens(f"{COM}/map/?address=nowhere"),
        "why-not-own": opens(f"{COM}/why/?address=info@wakaba.example"),
        "why-long": opens(f"/domains/{LONG}/why/?address={LONG_NAME}"),
        "map-ten-steps": opens(f"{COM}/map/?address=step0"),
        "map-pending": opens(f"{COM}/map/?address=wait"),
        "map-leaving": opens(f"{COM}/map/?address=sales"),
        "map-list": opens(f"{COM}/map/?address=club"),
        "map-unknown": opens(f"{COM}/map/?address={'n' * 64}@{LONG}"),
        "map-not-own": opens(f"{COM}/map/?address=info@wakaba.example"),
        "404": opens("/domains/wakaba.example/"),
        "403-csrf": token_lost,
    },
    "wakaba": {
        "managed-users": opens("/domains/managed.example/users/"),
        "managed-csv": opens("/domains/managed.example/csv/"),
        "managed-options": opens("/domains/managed.example/options/"),
        "managed-order": opens("/domains/managed.example/options/order/"),
        "403": opens("/domains/managed.example/users/{scene.managed.pk}/delete/"),
    },
    "tanaka@example.com": {
        "mailbox-reply-refused": reply_refused,
        "mailbox-forwarding-refused": own_forwarding_refused,
        "mailbox-archives-none": opens("/mailbox/archives/?q=zzz"),
    },
    "operator": {
        "admin-full": opens("/admin/quota/mailboxusage/?fill=80"),
        "operator-domains": opens("/domains/"),
    },
}


def sessions(scene: Scene) -> dict[str, Client]:
    """Return a browser for each of WAYS: a login's, the mailbox user's, a stranger's."""
    clients = {
        name: logged_in(User.objects.get(username=name)) if name else browser()
        for name in WAYS
        if "@" not in name
    }
    return clients | {scene.tanaka.address: as_user(scene.tanaka)}


def pages(scene: Scene) -> dict[str, dict[str, Way]]:
    """Return all pages with the ways to them, by who sees them, in the order to look at them.

    Fails for an address that shows no page and is not known for it.
    """
    found: dict[str, dict[str, Way]] = {login: {} for login in WAYS}
    clients = sessions(scene)
    silent = set()
    for name, path in _paths(scene):
        for login in (_who(name, path), ""):
            if _is_page(clients[login], path):
                found[login][name.replace(":", "-")] = opens(path.replace("{", "{{"))
                break
        else:
            silent.add(name)
    # The admin adds not all that it lists.
    silent -= {name for name in silent if name.startswith("admin:") and name.endswith("_add")}
    assert silent <= NO_PAGES, f"no page is seen at {sorted(silent - NO_PAGES)}"
    return {login: ways | WAYS[login] for login, ways in found.items()}


def _who(name: str, path: str) -> str:
    """Return who sees a page, if not everybody does."""
    if name.startswith("admin:"):
        return "operator"
    return "tanaka@example.com" if path.startswith("/mailbox/") else "sakura"


def _paths(scene: Scene) -> Iterator[tuple[str, str]]:
    """Yield the name of each address of the URL conf, and the path to what the scene has there."""
    seen: set[str] = set()
    for address in addresses():
        if address.name in NO_PAGES or address.name == "leave_list" or _seen(address, seen):
            continue
        arguments = _arguments(address, scene)
        if all(argument is not None for argument in arguments.values()):
            yield address.name, reverse(address.name, kwargs=arguments)


def _seen(address: Address, seen: set[str]) -> bool:
    """Say whether a page of Django's own has been looked at for another model."""
    kind = next((end for end in ONCE if address.in_admin and address.name.endswith(end)), "")
    if kind in seen:
        return True
    seen.update({kind} - {""})
    return False


def _arguments(address: Address, scene: Scene) -> dict[str, object]:
    """Return the arguments that lead to something."""
    objects = scene.objects | {"app_label": "accounts", "id": scene.cast.operator.pk}
    if "object_id" in address.arguments:
        objects["object_id"] = scene.first(_listed(address.name))
    missing = set(address.arguments) - set(objects)
    assert not missing, f"{address.name}: the scene has no object for {sorted(missing)}"
    return {name: objects[name] for name in address.arguments}


def _listed(name: str) -> type[Model]:
    """Return the model that an address of the admin is about."""
    app, model, _what = name.removeprefix("admin:").split("_")
    return apps.get_model(app, model)


def _is_page(client: Client, path: str) -> bool:
    response = client.get(path)
    kind = response.headers.get("Content-Type", "")
    return (
        response.status_code == 200
        and kind.startswith("text/html")
        and "Content-Disposition" not in response.headers
    )
