"""Each crossing is told once, by day, in the customer's language, and by mail that is in order."""

from __future__ import annotations

import email
import threading
from collections.abc import Callable
from datetime import datetime
from email.message import EmailMessage
from email.policy import default
from smtplib import SMTPServerDisconnected
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from django.core import mail
from django.db import connection
from pytest_django import Settings

from accounts.models import Account, Customer
from mailhost.errors import HostError
from mailhost.usage.notices import NoticeError
from propagation.models import MailServer
from quota import notices, usage, warnings
from quota.checks import sender_of_notices
from quota.models import MailboxUsage, Notice, UsageReport, UsageWarning
from quota.wednesday import next_run
from tests.conftest import Cast
from tests.quota.usages import Told

TOKYO = ZoneInfo("Asia/Tokyo")
KINDS = ["quota-80", "quota-95", "wednesday-monday", "wednesday-tuesday"]
SUNDAY, MONDAY, TUESDAY, WEDNESDAY, THURSDAY = (
    datetime(2026, 11, 29, 12, tzinfo=TOKYO).replace(day=day, month=month)
    for day, month in ((29, 11), (30, 11), (1, 12), (2, 12), (3, 12))
)


@pytest.fixture
def at(monkeypatch: pytest.MonkeyPatch) -> Callable[[datetime], None]:
    """Let the warnings' clock show another time; a Sunday, when nothing else is said."""

    def show(moment: datetime) -> None:
        monkeypatch.setattr(
            warnings, "localtime", lambda *given: given[0].astimezone(TOKYO) if given else moment
        )
        monkeypatch.setattr(warnings, "now", lambda: moment)

    show(SUNDAY)
    return show


@pytest.fixture
def mailed(settings: Settings) -> list[mail.EmailMessage]:
    """Have the panel reach its customers."""
    settings.MAIL_TO_CUSTOMERS = True
    settings.DEFAULT_FROM_EMAIL = "さくらサーバー <support@hosting.example>"
    return mail.outbox


def kinds() -> list[str]:
    return [notice.kind for notice in Notice.objects.order_by("pk")]


def parsed(message: bytes) -> EmailMessage:
    found = email.message_from_bytes(message, policy=default)
    assert isinstance(found, EmailMessage)
    assert not found.defects
    return found


def address_of(customer: Customer, address: str, language: str = "") -> None:
    customer.user.email = address
    customer.user.language = language
    customer.user.save()


def send(server: MailServer, account: Account, kind: str, values: dict[str, Any]) -> None:
    notices.write([(account.pk, kind, values)])
    notices.send_written(server)


def test_each_crossing_is_told_once(
    told: Told, server: MailServer, alice: Account, at: Callable[[datetime], None]
) -> None:
    def goes_to(percent: float) -> list[str]:
        told.hold(alice, percent / 10)
        before = len(kinds())
        usage.collect(server)
        usage.collect(server)
        return kinds()[before:]

    assert goes_to(79.9) == []
    assert goes_to(80) == ["quota-80"]
    assert goes_to(94.9) == []
    assert goes_to(95) == ["quota-95"]
    assert goes_to(104) == []
    # To and fro at the edge is one crossing.
    assert goes_to(90) == []
    assert goes_to(96) == []
    assert goes_to(89.9) == []
    assert goes_to(95) == ["quota-95"]
    assert goes_to(75) == []
    assert goes_to(81) == []
    assert goes_to(74.9) == []
    assert goes_to(80) == ["quota-80"]
    assert goes_to(0) == []
    assert not UsageWarning.objects.exists()


def test_both_thresholds_at_once_are_one_mail(
    told: Told, server: MailServer, alice: Account, at: Callable[[datetime], None]
) -> None:
    told.hold(alice, 9.8)
    usage.collect(server)
    assert kinds() == ["quota-95"]
    assert UsageWarning.objects.count() == 2
    told.hold(alice, 8.5)
    usage.collect(server)
    assert kinds() == ["quota-95"]


def test_larger_limit_ends_a_warning(
    told: Told, server: MailServer, alice: Account, at: Callable[[datetime], None]
) -> None:
    told.hold(alice, 9.8)
    usage.collect(server)
    told.hold(alice, 9.8, limit=50 * 1024 * 1024)
    usage.collect(server)
    assert not UsageWarning.objects.exists()


def test_monday_and_tuesday_are_told_in_the_morning(
    told: Told, server: MailServer, alice: Account, bob: Account, at: Callable[[datetime], None]
) -> None:
    told.hold(alice, 10)
    told.hold(bob, 9.4)
    usage.collect(server)
    assert sorted(kinds()) == ["quota-80", "quota-95"]
    Notice.objects.all().delete()
    for moment, expected in (
        (MONDAY.replace(hour=8, minute=59), []),
        (MONDAY.replace(hour=9), ["wednesday-monday"]),
        (MONDAY.replace(hour=23), []),
        (TUESDAY.replace(hour=0), []),
        (TUESDAY.replace(hour=9), ["wednesday-tuesday"]),
        (WEDNESDAY, []),
        (THURSDAY, []),
    ):
        at(moment)
        usage.collect(server)
        usage.collect(server)
        assert kinds() == expected, moment
        assert {one.account_id for one in Notice.objects.all()} <= {alice.pk}
        Notice.objects.all().delete()
    assert not UsageWarning.objects.filter(wednesday__isnull=False).exists()
    at(MONDAY.replace(month=12, day=7))
    usage.collect(server)
    assert kinds() == ["wednesday-monday"]


def test_who_is_told_today_that_it_is_full_is_not_told_twice(
    told: Told, server: MailServer, alice: Account, at: Callable[[datetime], None]
) -> None:
    at(MONDAY)
    told.hold(alice, 10)
    usage.collect(server)
    usage.collect(server)
    assert kinds() == ["quota-95"]
    at(TUESDAY)
    usage.collect(server)
    assert kinds() == ["quota-95", "wednesday-tuesday"]


def test_next_wednesday_is_the_next_four_o_clock() -> None:
    def run(day: int, hour: int, minute: int = 0) -> datetime:
        return next_run(datetime(2026, 12, day, hour, minute, tzinfo=TOKYO))

    second, ninth = (datetime(2026, 12, day, 4, tzinfo=TOKYO) for day in (2, 9))
    assert run(1, 23) == run(2, 0) == run(2, 3, 59) == second
    assert run(2, 4) == run(3, 0) == run(9, 3) == ninth


@pytest.mark.django_db(transaction=True)
def test_two_runs_at_once_warn_once(
    told: Told, server: MailServer, alice: Account, at: Callable[[datetime], None]
) -> None:
    told.hold(alice, 10)
    at(MONDAY)
    barrier = threading.Barrier(4)

    def run() -> None:
        barrier.wait()
        try:
            usage.collect(server)
            notices.send_written(server)
        finally:
            connection.close()

    threads = [threading.Thread(target=run) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert kinds() == ["quota-95"]
    assert len(told.delivered) == 1
    assert MailboxUsage.objects.count() == 1


@pytest.mark.parametrize("language", ["ja", "en"])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("full", [True, False])
def test_notice_is_a_message_in_order(
    cast: Cast, told: Told, server: MailServer, alice: Account, kind: str, language: str, full: bool
) -> None:
    address_of(cast.sakura, "", language)
    values = {"used": 10485760, "limit": 10485760, "messages": 12, "percent": 100, "full": full}
    send(server, alice, kind, values)
    [(account, delivered, raw)] = told.delivered
    assert (account, delivered) == ("alice", kind)
    assert raw.isascii()
    assert all(len(line) <= 78 + 2 for line in raw.split(b"\n\r\n")[0].splitlines())
    message = parsed(raw)
    assert message["From"] == "PLUSMAIL <postmaster@mail1.plusmail.test>"
    assert message["To"] == "alice@example.com"
    assert message["Auto-Submitted"] == "auto-generated"
    assert message["Content-Language"] == language
    assert message["Date"].datetime is not None
    assert message["Message-ID"].endswith("@mail1.plusmail.test>")
    assert message.get_content_type() == "text/plain"
    assert message.get_content_charset() == "utf-8"
    assert "alice@example.com" in message["Subject"]
    text = message.get_content()
    assert "10 MB / 10 MB" in text
    assert "http://panel.plusmail.test/help/mailbox" in text
    # The account's reader may not be the customer, and has no login.
    assert "/domains/" not in text
    assert "{" not in text
    assert "}" not in text
    assert ("自動で" in text) == (language == "ja")
    assert all(len(line.encode()) < 998 for line in text.splitlines())


def test_customer_without_a_language_is_written_to_in_japanese(
    told: Told, server: MailServer, alice: Account, at: Callable[[datetime], None]
) -> None:
    told.hold(alice, 8)
    usage.collect(server)
    notices.send_written(server)
    message = parsed(told.delivered[0][2])
    assert message["Subject"] == "alice@example.com のメールボックスの使用量が80%になりました"


def test_customer_gets_one_mail_for_what_is_new(
    cast: Cast,
    told: Told,
    server: MailServer,
    alice: Account,
    bob: Account,
    at: Callable[[datetime], None],
    mailed: list[mail.EmailMessage],
) -> None:
    address_of(cast.sakura, "owner@outside.example", "en")
    for account, used in ((alice, 8), (bob, 10)):
        told.hold(account, used)
    usage.collect(server)
    assert notices.send_written(server) == 3
    assert notices.send_written(server) == 0
    [one] = mailed
    assert one.to == ["owner@outside.example"]
    assert one.subject == "2 notices about your mailboxes"
    assert "The mailbox of bob@example.com is full" in one.body
    assert "The mailbox of alice@example.com is 80% used" in one.body
    assert "http://panel.plusmail.test/domains/example.com/mailboxes/" in one.body
    message = parsed(one.message().as_bytes())
    assert message["From"] == "さくらサーバー <support@hosting.example>"
    assert message["Auto-Submitted"] == "auto-generated"
    assert message["Message-ID"].endswith("@hosting.example>")


def test_without_an_address_or_a_server_nothing_goes_to_the_customer(
    cast: Cast,
    told: Told,
    server: MailServer,
    alice: Account,
    settings: Settings,
    mailed: list[mail.EmailMessage],
) -> None:
    send(server, alice, "quota-80", {"used": 1, "limit": 1, "percent": 80})
    settings.MAIL_TO_CUSTOMERS = False
    address_of(cast.sakura, "owner@outside.example")
    notices.send_written(server)
    assert not mailed
    assert len(told.delivered) == 1


def test_what_fails_is_tried_again_and_keeps_nobody_waiting(
    cast: Cast,
    told: Told,
    server: MailServer,
    alice: Account,
    bob: Account,
    mailed: list[mail.EmailMessage],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    address_of(cast.sakura, "owner@outside.example")
    told.failure = NoticeError("LMTP is down")
    assert issubclass(NoticeError, HostError)
    with monkeypatch.context() as patch:

        def refuse(self: object, *arguments: object) -> int:
            raise SMTPServerDisconnected("gone")

        patch.setattr("django.core.mail.backends.locmem.EmailBackend.send_messages", refuse)
        send(server, alice, "quota-80", {"used": 1, "limit": 1, "percent": 80})
    assert not mailed
    notice = Notice.objects.get()
    assert (notice.to_account_at, notice.to_customer_at) == (None, None)
    told.failure = None
    # No template of this name: a fault of ours, which is no other notice's.
    Notice.objects.create(account=bob, kind="no-such-kind", written_at=notice.written_at)
    notices.send_written(server)
    assert [kind for _, kind, _ in told.delivered] == ["quota-80"]


def test_nobody_puts_code_or_a_header_into_a_notice(
    cast: Cast, told: Told, server: MailServer, alice: Account, mailed: list[mail.EmailMessage]
) -> None:
    nasty = "{{ help_url }}{% load i18n %}<b>&\r\nBcc: victim@x.example\r\n\r\nX\u2028Y\x00"
    Customer.objects.filter(pk=cast.sakura.pk).update(name=nasty.replace("\x00", "")[:100])
    address_of(cast.sakura, "owner@outside.example", "en")
    values = {"used": 1, "limit": 10, "percent": nasty.replace("\x00", ""), "messages": nasty[:50]}
    send(server, alice, "quota-80", values)
    text = parsed(told.delivered[0][2])
    assert "Bcc" not in text
    one_line = "{{ help_url }}{% load i18n %}<b>& Bcc: victim@x.example X Y"
    assert one_line in str(text["Subject"])
    assert one_line in text.get_content()
    assert mailed[0].recipients() == ["owner@outside.example"]
    assert "Bcc" not in parsed(mailed[0].message().as_bytes())
    assert "Dear {{ help_url }}{% load i18n %}<b>& Bcc: victim@x.example" in mailed[0].body


def test_times_stay_times(told: Told, server: MailServer, alice: Account) -> None:
    moment = datetime(2026, 12, 2, 4, tzinfo=TOKYO)
    notices.write([(alice.pk, "quota-80", {"taken_at": moment, "taken_day": moment.date()})])
    shown = notices._shown(Notice.objects.get().values)
    assert shown == {"taken_at": moment, "taken_day": moment.date()}


def test_old_news_is_sent_no_more(told: Told, server: MailServer, alice: Account) -> None:
    Notice.objects.create(account=alice, kind="quota-80", written_at=SUNDAY.replace(year=2020))
    UsageReport.objects.create(server=server)
    assert notices.send_written(server) == 0
    assert not told.delivered


@pytest.mark.parametrize(
    ("sender", "mail_to_customers", "right"),
    [
        ("", False, True),
        ("", True, False),
        ("support", True, False),
        ("support@x.example", True, True),
        ("社 <support@x.example>", True, True),
        ("a@x.example\nBcc: b@x.example", False, False),
    ],
)
def test_sender_is_checked_at_the_start(
    settings: Settings, sender: str, mail_to_customers: bool, right: bool
) -> None:
    settings.DEFAULT_FROM_EMAIL = sender
    settings.MAIL_TO_CUSTOMERS = mail_to_customers
    assert (sender_of_notices() == []) == right
