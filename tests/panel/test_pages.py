"""What holds for every page: strict policy, nothing inline, nothing kept in caches."""

from __future__ import annotations

from html.parser import HTMLParser

import pytest
from django.test import Client
from django.urls import reverse

from accounts.models import Account, Domain
from mailhost.host import Status
from tests import factories
from tests.conftest import Cast, browser, logged_in

pytestmark = pytest.mark.long

# What a narrow screen's style sheet would take from a table.
ROLES = {
    "table": "table",
    "thead": "rowgroup",
    "tbody": "rowgroup",
    "tr": "row",
    "th": "columnheader",
    "td": "cell",
}
VOID = {"area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source", "wbr"}


class Page(HTMLParser):
    """Collects what a strict policy would block, and elements that are not closed."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.inline: list[str] = []
        self.open: list[str] = []
        self.crossed: list[str] = []
        self.ids: list[str] = []
        self.labels: list[str] = []
        self.boxes: list[str] = []
        self.without_role: list[str] = []
        self.focus: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.inline += [
            f"{tag} {name}" for name in given if name.startswith("on") or name == "style"
        ]
        self.inline += [
            f"{tag} {value}" for value in given.values() if "javascript:" in (value or "")
        ]
        if tag == "style" or (tag == "script" and "src" not in given):
            self.inline.append(tag)
        if tag not in VOID:
            self.open.append(tag)
        self.ids += [value for name, value in attrs if name == "id" and value]
        if ROLES.get(tag) != given.get("role") and tag in ROLES:
            self.without_role.append(tag)
        if "autofocus" in given:
            self.focus.append(given.get("id") or "")
        if tag == "label":
            self.labels.append(given.get("for") or "")
        if tag in {"input", "select", "textarea"} and given.get("type") != "hidden":
            named = given.get("aria-label") or given.get("aria-labelledby") or "label" in self.open
            self.boxes += [] if named else [given.get("id") or f"{tag} {given.get('name')}"]

    def handle_endtag(self, tag: str) -> None:
        if not self.open or self.open.pop() != tag:
            self.crossed.append(tag)


def pages_of_a_customer(cast: Cast) -> dict[str, str]:
    """Return every page with a row in each state."""
    live = factories.make_account(cast.com, "live")
    factories.make_forward(cast.com, "info", "live@example.com", "nobody@example.com")
    factories.make_forward(cast.com, "", "x@example.org")
    factories.settle()
    factories.make_forward(cast.com, "failing", "x@example.org")
    factories.settle(status=Status.UNCONFIRMED, reason="no answer")
    factories.make_account(cast.com, "waiting")
    live.set_password("another-long-word")
    forward = cast.com.forwarding_addresses.get(local_part="info")
    base = "/domains/example.com/"
    change = factories.pending("mailbox:live")
    return {
        "home": base,
        "users": f"{base}users/",
        "search": f"{base}users/?q=liv&sort=-created&page=2",
        "password": f"{base}users/{live.pk}/password/",
        "delete account": f"{base}users/{live.pk}/delete/",
        "delete fixed": f"{base}users/{cast.com.fixed_account_id}/delete/",
        "forwarding": f"{base}forwarding/",
        "other domain": "/domains/example.net/forwarding/",
        "change": f"{base}forwarding/{forward.pk}/",
        "delete": f"{base}forwarding/{forward.pk}/delete/",
        "catch-all": "/domains/example.net/forwarding/catch-all/",
        "cancel": f"{base}changes/{change.pk}/cancel/",
        "sending": f"{base}sending/",
        "sending of an account": f"{base}sending/{live.pk}/",
        "check before sending": f"{base}sending/{live.pk}/check/",
        "help with sending": "/help/sending",
        "domains": "/domains/",
        "own password": "/login/password/",
    }


BASE = "/domains/example.com/"
WORD = factories.PASSWORD


@pytest.mark.parametrize(
    ("path", "form", "focus"),
    [
        ("users/", {"name": "no good", "password": "short"}, "name"),
        ("users/", {"name": "fine", "password": "short"}, "password"),
        ("users/", {"name": "wakaba", "password": WORD}, "name"),
        ("users/", {"name": "fine", "generate": "1"}, "password"),
        ("users/assistant/", {"name": "wakaba", "mailbox": "root", "password": "x"}, "mailbox"),
        ("users/assistant/", {"name": "wakaba", "mailbox": "free", "password": "x"}, "password"),
        ("users/{fixed}/password/", {"password": "short"}, "password"),
        ("forwarding/", {"local_part": "", "destination": ["x"]}, "local_part"),
        ("forwarding/", {"local_part": "a", "destination": ["x@x.test", "", "y"]}, "destination-3"),
        ("forwarding/", {"local_part": "a", "destination": ["a@example.com"]}, "destination"),
        ("forwarding/", {"destination": ["no", "x@x.test"], "another": "1"}, "destination-3"),
        ("forwarding/catch-all/", {"destination": ["no"]}, "destination"),
    ],
)
def test_focus_is_where_to_go_on(
    sakura: Client, com: Domain, path: str, form: dict[str, object], focus: str
) -> None:
    response = sakura.post(BASE + path.format(fixed=com.fixed_account_id), form)
    page = Page(response.text)
    assert page.focus == [focus]


def test_page_as_it_opens_leaves_the_focus_alone(cast: Cast) -> None:
    client = logged_in(cast.sakura.user)
    for name, path in pages_of_a_customer(cast).items():
        if name != "own password":
            assert Page(client.get(path).text).focus == [], name


@pytest.mark.parametrize("language", ["en", "ja"])
def test_no_page_has_anything_inline_or_unlabelled(cast: Cast, language: str) -> None:
    client = logged_in(cast.sakura.user, language)
    texts = {}
    for name, path in pages_of_a_customer(cast).items():
        response = client.get(path)
        assert response.status_code == 200, name
        texts[name] = response.text
    texts["login"] = browser(language).get("/login/").text
    texts["not found"] = client.get("/nowhere/").text
    for name, text in texts.items():
        page = Page(text)
        assert page.inline == [], name
        assert (page.open, page.crossed) == ([], []), name
        assert len(page.ids) == len(set(page.ids)), name
        assert [box for box in page.boxes if box not in page.labels] == [], name
        assert page.without_role == [], name


def test_every_answer_carries_the_strict_policy(cast: Cast) -> None:
    client = logged_in(cast.sakura.user)
    for path in ["/login/", "/nowhere/", "/healthz", *pages_of_a_customer(cast).values()]:
        headers = client.get(path).headers
        policy = dict(
            part.strip().partition(" ")[::2]
            for part in headers["Content-Security-Policy"].split(";")
        )
        assert policy["default-src"] == "'none'"
        assert policy["script-src"] == policy["style-src"] == "'self'"
        assert policy["form-action"] == "'self'"
        assert policy["frame-ancestors"] == policy["base-uri"] == "'none'"
        assert "unsafe" not in headers["Content-Security-Policy"]
        assert headers["X-Frame-Options"] == "DENY"
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["Referrer-Policy"] == "same-origin"


def test_no_page_is_kept_in_a_cache(cast: Cast) -> None:
    client = logged_in(cast.sakura.user)
    paths = pages_of_a_customer(cast)
    for path in ["/", *paths.values()]:
        assert "no-store" in client.get(path).headers["Cache-Control"], path
        assert "private" in client.get(path).headers["Cache-Control"], path
    assert "no-store" in browser().get("/login/").headers["Cache-Control"]


def test_every_script_and_style_is_one_of_our_files(cast: Cast) -> None:
    text = logged_in(cast.sakura.user).get("/domains/example.com/users/").text
    assert 'src="http' not in text
    assert 'src="//' not in text
    assert 'href="http' not in text


def test_form_without_its_token_is_refused(cast: Cast) -> None:
    client = Client(enforce_csrf_checks=True, headers={"host": "panel.plusmail.test"})
    client.force_login(cast.sakura.user, "django.contrib.auth.backends.ModelBackend")
    form = {"name": "info", "password": factories.PASSWORD}
    assert client.post("/domains/example.com/users/", form).status_code == 403
    assert not Account.objects.filter(name="info").exists()


@pytest.mark.parametrize(
    "path",
    [
        "/domains/%00/",
        "/domains/EXAMPLE.com/",
        "/domains/..%2f..%2fetc/",
        "/domains/example.com/users/?q=%00&sort=%00&page=%00",
        "/domains/example.com/users/?q=%F0%9F%98%80&page=-1",
        "/domains/example.com/users/?page=99999999999999999999",
        "/domains/example.com/forwarding/99999999999999999999999/",
        "/domains/example.com/changes/99999999999999999999999/cancel/",
        "/domains/example.com/users/00000000-0000-0000-0000-000000000000/delete/",
    ],
)
def test_odd_addresses_are_answered_calmly(sakura: Client, path: str) -> None:
    assert sakura.get(path).status_code in {200, 400, 404}


def test_page_says_when_no_mail_server_is_connected(cast: Cast) -> None:
    client = logged_in(cast.sakura.user)
    words = "No mail server is connected."
    paths = [*pages_of_a_customer(cast).values()]
    for path in paths:
        assert words in client.get(path).text, path
    assert words in browser().get("/login/").text


def test_names_with_markup_are_shown_as_text(cast: Cast) -> None:
    cast.sakura.name = "<script>alert(1)</script>"
    cast.sakura.save(update_fields=["name"])
    client = logged_in(cast.sakura.user)
    assert "<script>alert" not in client.get("/domains/").text
    response = client.get("/domains/example.com/users/", {"q": '"><script>alert(1)</script>'})
    assert "<script>alert" not in response.text


def test_admin_answers_under_the_same_policy(operator: Client) -> None:
    response = operator.get(reverse("admin:index"))
    assert response.status_code == 200
    assert "unsafe" not in response.headers["Content-Security-Policy"]
    assert Page(response.text).inline == []
