"""“Contact us”: from the fixed address, marked where it is another, and no way to send spam."""

from __future__ import annotations

from datetime import timedelta
from email import message_from_bytes
from email.policy import default

import pytest
from django.core import mail
from django.core.mail import EmailMessage
from django.test import Client
from django.utils.timezone import now
from pytest_django import Settings

from accounts.models import Domain
from orders import checks, contact
from orders.models import Inquiry
from tests import factories
from tests.conftest import Cast, browser, logged_in
from tests.servers import sink

PAGE = "/domains/example.com/contact/"
FIXED = "example@example.com"
FORM = {"sender": FIXED, "subject": "アカウントについて", "text": "追加を\r\nお願いします。"}


@pytest.fixture
def inbox(settings: Settings) -> list[EmailMessage]:
    """Have mail leave the panel; returns what left. A real server gets it further below."""
    settings.CONTACT_ADDRESS = "support@hosting.example"
    return mail.outbox


def test_page_shows_the_fixed_address_and_sends_from_it(
    sakura: Client, inbox: list[EmailMessage]
) -> None:
    assert f'name="sender" value="{FIXED}"' in sakura.get(PAGE).text
    response = sakura.post(PAGE, FORM, follow=True)
    assert f"We have your message, and answer to {FIXED}." in response.text
    kept = Inquiry.objects.get()
    assert (kept.sender, kept.from_fixed, kept.mailed_at) == (FIXED, True, None)
    assert contact.send_written() == 1
    [sent] = inbox
    assert (sent.from_email, sent.to) == (FIXED, ["support@hosting.example"])
    assert sent.subject == "[example.com] アカウントについて"
    assert sent.message()[contact.HEADER] == "yes"
    assert str(sent.body).startswith("追加を\nお願いします。\n")
    assert "株式会社さくら商店" in str(sent.body)
    assert contact.send_written() == 0


@pytest.mark.parametrize(
    "sender",
    ["tanaka@example.com", "info@example.com", "example@example.net", "TANAKA@Example.com"],
)
def test_another_address_of_the_customers_is_marked(
    cast: Cast, sakura: Client, operator: Client, inbox: list[EmailMessage], sender: str
) -> None:
    factories.make_account(cast.com, "tanaka")
    factories.make_forward(cast.com, "info", "tanaka@example.com")
    assert sakura.post(PAGE, {**FORM, "sender": sender}).status_code == 302
    contact.send_written()
    [sent] = inbox
    assert sent.from_email == sender.lower()
    assert sent.message()[contact.HEADER] == "no"
    assert sent.subject == "[固定アドレス以外から] [example.com] アカウントについて"
    assert str(sent.body).startswith(f"【ご注意】固定アドレス {FIXED} ではなく、{sender.lower()}")
    listed = operator.get("/admin/orders/inquiry/?from_fixed__exact=0").text
    assert sender.lower() in listed


@pytest.mark.parametrize(
    "sender",
    [
        "info@wakaba.example", "wakaba@wakaba.example", "nobody@example.com", "x@example.org",
        "example", "", "example@example.com\r\nBcc: x@example.org", "a@b@example.com",
        f"{FIXED}, x@example.org", f'"x" <{FIXED}>', "example@example.com\0",
    ],
)  # fmt: skip
def test_no_other_address_can_be_written_from(
    cast: Cast, sakura: Client, inbox: list[EmailMessage], sender: str
) -> None:
    factories.make_account(cast.other, "info")
    response = sakura.post(PAGE, {**FORM, "sender": sender})
    assert response.status_code == 422
    assert "アカウントについて" in response.text
    assert "お願いします。" in response.text
    assert not Inquiry.objects.exists()


@pytest.mark.parametrize(
    "subject",
    ["a\r\nBcc: x@example.org", "a\nb", "a\x0bb", "a\u2028b", "a\x85b", "a\u202eb", "x" * 101, " "],
)
def test_subject_is_one_line(sakura: Client, subject: str) -> None:
    response = sakura.post(PAGE, {**FORM, "subject": subject})
    assert response.status_code == 422
    assert 'id="subject-error"' in response.text
    assert not Inquiry.objects.exists()


def test_text_that_looks_like_a_header_stays_text(
    sakura: Client, inbox: list[EmailMessage]
) -> None:
    text = f"\r\n\r\n{contact.HEADER}: yes\r\n.\r\nBcc: x@example.org\r\n\x85Cc: y@example.org"
    sakura.post(PAGE, {**FORM, "sender": FIXED, "text": f"a{text}"})
    contact.send_written()
    message = inbox[0].message()
    assert message.get_all("Bcc") is None
    assert message.get_all(contact.HEADER) == ["yes"]
    assert inbox[0].recipients() == ["support@hosting.example"]


def test_nobody_writes_more_often_than_allowed(
    cast: Cast, sakura: Client, settings: Settings
) -> None:
    settings.CONTACTS_PER_HOUR = 2
    for _time in range(2):
        assert sakura.post(PAGE, FORM).status_code == 302
    # Whatever the domain and the browser: it is the customer who is counted.
    other = logged_in(cast.sakura.user)
    net = other.post("/domains/example.net/contact/", {**FORM, "sender": "example@example.net"})
    assert net.status_code == 429
    response = sakura.post(PAGE, FORM)
    assert response.status_code == 429
    assert "You have written to us 2 times within an hour." in response.text
    assert "お願いします。" in response.text
    assert Inquiry.objects.count() == 2
    wakaba = {**FORM, "sender": "wakaba@wakaba.example"}
    client = logged_in(cast.wakaba.user)
    assert client.post("/domains/wakaba.example/contact/", wakaba).status_code == 302
    Inquiry.objects.update(written_at=now() - timedelta(hours=1))
    assert sakura.post(PAGE, FORM).status_code == 302


def test_what_cannot_be_sent_is_kept_and_tried_again(
    sakura: Client, inbox: list[EmailMessage], monkeypatch: pytest.MonkeyPatch
) -> None:
    for subject in ("first", "second"):
        sakura.post(PAGE, {**FORM, "subject": subject})
    broken = contact.mail_of

    def fail_first(inquiry: Inquiry) -> EmailMessage:
        if inquiry.subject == "first":
            raise OSError
        return broken(inquiry)

    monkeypatch.setattr(contact, "mail_of", fail_first)
    assert contact.send_written() == 1
    monkeypatch.undo()
    assert contact.send_written() == 1
    assert [one.subject for one in inbox] == ["[example.com] second", "[example.com] first"]


def test_without_an_address_of_ours_it_is_in_the_admin(sakura: Client, operator: Client) -> None:
    assert sakura.post(PAGE, FORM).status_code == 302
    assert contact.send_written() == 0
    text = operator.get("/admin/orders/inquiry/").text
    assert "アカウントについて" in text
    inquiry = Inquiry.objects.get()
    assert "お願いします。" in operator.get(f"/admin/orders/inquiry/{inquiry.pk}/change/").text


def test_real_server_gets_it_from_the_customers_address(
    sakura: Client, inbox: list[EmailMessage], settings: Settings
) -> None:
    sakura.post(PAGE, FORM)
    settings.EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
    with sink() as server:
        settings.EMAIL_HOST, settings.EMAIL_PORT = "127.0.0.1", server.port
        assert contact.send_written() == 1
        [(sender, recipients, content)] = server.taken
    assert (sender, recipients) == (FIXED, ["support@hosting.example"])
    parsed = message_from_bytes(content, policy=default)
    assert (parsed["From"], parsed["Subject"]) == (FIXED, "[example.com] アカウントについて")
    # Nobody answers any more: it is kept for the next minute.
    sakura.post(PAGE, FORM)
    assert contact.send_written() == 0
    assert Inquiry.objects.filter(mailed_at=None).count() == 1


def test_old_ones_are_not_sent_once_an_address_is_set(
    sakura: Client, com: Domain, inbox: list[EmailMessage]
) -> None:
    sakura.post(PAGE, FORM)
    one = Inquiry.objects.get()
    Inquiry.objects.update(written_at=one.written_at - timedelta(days=8))
    assert contact.send_written() == 0


def test_long_text_survives_an_ended_login(cast: Cast) -> None:
    client, text = browser(), "追加をお願いしたいのですが、" * 40
    client.post(PAGE, {**FORM, "text": text})
    client.force_login(cast.sakura.user, "django.contrib.auth.backends.ModelBackend")
    assert text in client.get(PAGE).text


@pytest.mark.parametrize(
    ("values", "codes"),
    [
        ({"CONTACT_ADDRESS": ""}, []),
        ({"CONTACT_ADDRESS": "a@b.example", "EMAIL_URL": "smtp://h:25"}, []),
        ({"CONTACT_ADDRESS": "a@b.example"}, ["orders.E002"]),
        ({"CONTACT_ADDRESS": "nobody", "EMAIL_URL": "smtp://h:25"}, ["orders.E001"]),
        ({"CONTACT_ADDRESS": "a@b.example\n", "EMAIL_URL": "smtp://h:25"}, ["orders.E001"]),
        ({"CONTACTS_PER_HOUR": 0}, ["orders.E003"]),
    ],
)
def test_settings_are_checked_at_the_start(
    settings: Settings, values: dict[str, object], codes: list[str]
) -> None:
    for name, value in values.items():
        setattr(settings, name, value)
    found = [*checks.where_customers_write(), *checks.how_often_customers_write()]
    assert [one.id for one in found] == codes
