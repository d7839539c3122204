"""The pages of remote mail, and a real server with real mail programs beside them."""

from __future__ import annotations

import re
import time
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.messages import get_messages
from django.utils.timezone import localdate, now
from pytest_django import Settings

from remotemail import mailbox as remote
from remotemail.connection import connected
from remotemail.models import Action, MailAccess
from tests.conftest import Cast, logged_in
from tests.hostile import corpus, marker
from tests.remotemail.conftest import Mailbox
from tests.servers import message, wait_for

pytestmark = [pytest.mark.servers, pytest.mark.django_db, pytest.mark.timeout(300)]

UID = re.compile(r'name="uid" value="(\d+)"')


def subjects(page: str) -> list[str]:
    """Return the subjects of a list, in its order."""
    return re.findall(r'/mail/\d+/\d+/\?folder=[^"]*">([^<]*)</a>', page)


def validity_of(page: str) -> str:
    found = re.search(r'name="validity" value="(\d+)"', page)
    assert found
    return found[1]


def ask(box: Mailbox, page: str, *chosen: str, **fields: str) -> Any:
    """Send the list's form; return the page that asks."""
    form = {"folder": "INBOX", "validity": validity_of(page), "uid": chosen, **fields}
    return box.browser.post(f"{box.path}delete/", form)


def agree(box: Mailbox, asked: str) -> Any:
    """Send the form of the page that asks; return the list that it leads to."""
    form = dict(
        re.findall(r'type="hidden" name="(\w+)" value="([^"]*)"', asked.split("<main", 1)[1])
    )
    form.pop("csrfmiddlewaretoken", None)
    assert form["sure"] == "1"
    return box.browser.post(f"{box.path}delete/", form, follow=True)


def awaited(box: Mailbox, words: str) -> str:
    """Return the list once it has these words: Dovecot may be coming up."""
    wait_for(lambda: words in box.get(), 60)
    page = box.get().split("<main", 1)[1]
    assert words in page
    return page


def numbered(count: int, start: int = 0) -> list[bytes]:
    return [message(f"number {n:05}", f"text {n}") for n in range(start, start + count)]


# Lists


def test_list_shows_what_is_there_the_newest_first(box: Mailbox) -> None:
    box.put(message("older"), age=3600)
    box.put(message("newer", sender="田中 <tanaka@outside.test>"))
    page = box.get()
    assert subjects(page) == ["newer", "older"]
    assert "田中" in page
    assert "unread" in page
    assert subjects(box.get(order="old")) == ["older", "newer"]


def test_empty_mailbox_says_so(box: Mailbox) -> None:
    assert "Delete old mail" not in awaited(box, "There is no mail in this folder on the server.")


def test_pages_show_each_message_once_in_every_order(box: Mailbox) -> None:
    box.put(*numbered(120))
    for order in remote.ORDERS:
        pages = [subjects(box.get(order=order, page=n)) for n in (1, 2, 3)]
        assert [len(page) for page in pages] == [50, 50, 20], order
        assert len({title for page in pages for title in page}) == 120
    assert "1 to 50 of 120" in box.get()
    assert subjects(box.get(order="subject"))[0] == "number 00000"


def test_largest_first(box: Mailbox) -> None:
    box.put(message("small"), message("large", "x" * 2_000_000), message("middle", "x" * 5000))
    page = box.get(order="large")
    assert subjects(page) == ["large", "middle", "small"]
    assert page.count('<span class="state wait">large</span>') == 1


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ({"q": "estimate"}, ["estimate for april"]),
        ({"q": "見積"}, ["見積書の件"]),
        ({"q": "april estimate"}, ["estimate for april"]),
        ({"q": "boss"}, ["見積書の件"]),
        ({"q": "boss", "in": "subject"}, []),
        ({"q": "estimate", "in": "from"}, []),
        ({"q": 'a "quoted" \\ word'}, ['a "quoted" \\ word']),
        ({"q": "estimate) ALL"}, []),
        ({"q": "{3}"}, []),
        ({"q": "*"}, None),
        ({"q": "\r\nA1 LOGOUT"}, []),
    ],
)
def test_search_is_the_servers_and_takes_any_words(
    box: Mailbox, query: dict[str, str], found: list[str] | None
) -> None:
    box.put(
        message("estimate for april"),
        message("見積書の件", sender="boss@outside.test"),
        message('a "quoted" \\ word'),
    )
    for order in ("new", "large"):
        shown = [html.replace("&quot;", '"') for html in subjects(box.get(**query, order=order))]
        assert sorted(shown) == sorted(found) if found is not None else len(shown) == 3


def test_other_folders_are_shown_and_no_folder_is_made(box: Mailbox) -> None:
    box.put(message("in the inbox"))
    box.put(message("in a folder"), folder="&ZeVnLIqe-")
    assert subjects(box.get(folder="日本語")) == ["in a folder"]
    for name in ("nothing", "../other", "日本語*", 'x"\r\ny', "%", ""):
        response = box.browser.get(box.path, {"folder": name})
        assert response.status_code == 302, name
    assert "There is no such folder any more." in [
        str(m) for m in get_messages(response.wsgi_request)
    ]


def test_page_that_does_not_exist_is_the_last_one(box: Mailbox) -> None:
    box.put(*numbered(60))
    assert len(subjects(box.get(page=99))) == 10
    assert len(subjects(box.get(page="x", order="nonsense"))) == 50


# One message


def open_first(box: Mailbox, **query: str | int) -> str:
    page = box.get()
    [path, *_] = re.findall(r"/mail/(\d+/\d+/)\?folder", page)
    return box.get(path, **query)


def test_message_is_shown_as_text_with_what_is_attached(box: Mailbox) -> None:
    box.put(
        b"From: a@outside.test\nSubject: with a file\nMIME-Version: 1.0\n"
        b"Content-Type: multipart/mixed; boundary=b\n\n--b\nContent-Type: text/html\n\n"
        b"<p>Hello <b>there</b><script>alert(1)</script></p>\n--b\n"
        b"Content-Type: application/pdf; name=offer.pdf\n\n%PDF\n--b--\n"
    )
    page = open_first(box)
    assert ">Hello there</pre>" in page
    assert "offer.pdf" in page
    assert "alert(1)" not in page


@pytest.mark.parametrize(
    ("lines", "shown", "not_shown"), [(20, "line 20", "line 21"), (100, "line 99", "line 101")]
)
def test_first_lines_are_those_of_top(box: Mailbox, lines: int, shown: str, not_shown: str) -> None:
    box.put(message("long", "\n".join(f"line {n}" for n in range(1, 300))))
    page = open_first(box, lines=lines)
    assert shown in page
    assert not_shown not in page
    assert "Subject: long" in page
    assert "Only the beginning is shown." in page


def test_looking_changes_no_flag(box: Mailbox) -> None:
    box.put(message("unread"))
    box.put(message("read"), flags="S")
    box.get()
    before = box.flags()
    box.get(order="large", q="read")
    for path in re.findall(r"/mail/(\d+/\d+/)\?folder", box.get()):
        box.get(path)
        box.get(path, lines=20)
        box.browser.get(f"{box.path}{path}download/").getvalue()
    assert box.flags() == before
    assert sorted(before.values()) == ["", "S"]


def test_download_is_the_message_with_a_name_of_its_own(box: Mailbox) -> None:
    content = message('報告 "../x": <1>', "body\n" * 100_000)
    box.put(content)
    path = re.search(r"/mail/(\d+/\d+/)\?folder", box.get())
    assert path
    response = box.browser.get(f"{box.path}{path[1]}download/")
    got = response.getvalue()
    assert got.replace(b"\r\n", b"\n") == content
    assert int(response.headers["Content-Length"]) == len(got) > remote.PIECE
    assert response.headers["Content-Type"] == "message/rfc822"
    assert response.headers["X-Content-Type-Options"] == "nosniff"
    name = response.headers["Content-Disposition"]
    assert name.startswith("attachment; filename*=utf-8''")
    assert "%E5%A0%B1%E5%91%8A" in name
    assert not re.search(r"%2F|%5C|%22|%3A|%3C", name)


def test_message_gone_meanwhile_is_said(box: Mailbox) -> None:
    box.put(message("soon gone"))
    path = re.search(r"/mail/(\d+/\d+/)\?folder", box.get())
    assert path
    client = box.running.pop3(box.account.name)
    client.dele(1)
    client.quit()
    for page in ("", "download/"):
        response = box.browser.get(f"{box.path}{path[1]}{page}", follow=True)
        assert "This message is no longer on the server" in response.text


@pytest.mark.parametrize("uid", [0, 2**32, 2**70])
def test_number_that_can_be_no_uid_is_gone(box: Mailbox, uid: int) -> None:
    box.put(message())
    validity = validity_of(box.get())
    response = box.browser.get(f"{box.path}{validity}/{uid}/", follow=True)
    assert "This message is no longer on the server" in response.text


# Deletion


def test_deletion_is_asked_about_and_takes_what_was_chosen(box: Mailbox) -> None:
    box.put(*numbered(5))
    page = box.get()
    chosen = UID.findall(page)[1:3]
    asked = ask(box, page, *chosen)
    assert "Delete 2 messages?" in asked.text
    assert "can never be received again" in asked.text
    assert "number 00003" in asked.text
    assert len(box.contents()) == 5
    done = agree(box, asked.text)
    assert "2 messages were deleted from the server." in done.text
    assert subjects(box.get()) == ["number 00004", "number 00001", "number 00000"]
    assert len(box.contents()) == 3


def test_without_a_yes_nothing_is_deleted(box: Mailbox) -> None:
    box.put(*numbered(3))
    page = box.get()
    for form in (
        {"uid": UID.findall(page)},
        {"uids": "1:3"},
        {"uids": "1:3", "sure": "yes"},
        {"older": "1", "before": f"{localdate()}", "sure": "1"},
    ):
        ask(box, page, **form)
    assert box.browser.get(f"{box.path}delete/").status_code == 405
    assert len(box.contents()) == 3


@pytest.mark.parametrize(
    "form",
    [
        {},
        {"uids": "x"},
        {"uids": "1:99999999999"},
        {"uids": "0"},
        {"uids": "5:1"},
        {"uids": "1:" + "9" * 9},
        {"validity": "x"},
        {"older": "1", "before": "tomorrow"},
        {"older": "1", "before": "9999-12-31"},
    ],
)
def test_bad_forms_are_told_what_to_do(box: Mailbox, form: dict[str, str]) -> None:
    box.put(message())
    response = ask(box, box.get(), **form)
    assert response.status_code == 302
    assert "Choose messages, or enter a date." in box.get()
    assert len(box.contents()) == 1


def test_all_older_than_a_day_by_the_panels_clock(box: Mailbox) -> None:
    """IMAP's BEFORE would count in the mail server's time zone, whatever that is."""
    midnight = now().astimezone().timestamp()
    from django.utils.timezone import localtime

    today = localtime().replace(hour=0, minute=0, second=0, microsecond=0)
    since = midnight - today.timestamp()
    box.put(message("yesterday"), age=since + 60)
    box.put(message("last month"), age=since + 30 * 86400)
    box.put(message("today"), age=max(0.0, since - 60))
    page = box.get()
    asked = ask(box, page, older="1", before=f"{localdate()}")
    assert "Delete 2 messages?" in asked.text
    agree(box, asked.text)
    assert subjects(box.get()) == ["today"]
    asked = ask(box, page, older="1", before=f"{localdate() - timedelta(days=40)}")
    assert asked.status_code == 302
    assert "There is nothing to delete" in box.get()


def test_what_came_after_the_question_stays(box: Mailbox) -> None:
    box.put(*numbered(3), age=10 * 86400)
    asked = ask(box, box.get(), older="1", before=f"{localdate() - timedelta(days=5)}")
    box.put(message("came late, and old"), age=20 * 86400)
    agree(box, asked.text)
    assert subjects(box.get()) == ["came late, and old"]


def test_mail_program_that_deletes_meanwhile_makes_it_delete_no_other(box: Mailbox) -> None:
    """Sequence numbers move up when a mail program deletes; UIDs do not."""
    box.put(*numbered(6))
    page = box.get(order="old")
    asked = ask(box, page, *UID.findall(page)[2:4])
    client = box.running.pop3(box.account.name)
    client.dele(1)
    client.dele(3)
    client.quit()
    done = agree(box, asked.text)
    assert "1 message was deleted from the server." in done.text
    assert "1 message was no longer there" in done.text
    assert subjects(box.get(order="old")) == ["number 00001", "number 00004", "number 00005"]


def test_what_another_program_has_marked_as_deleted_stays_its_own(box: Mailbox) -> None:
    box.put(*numbered(3))
    client = box.running.imap(box.account.name)
    client.select()
    client.store("1", "+FLAGS", "\\Deleted")
    page = box.get(order="old")
    agree(box, ask(box, page, UID.findall(page)[1]).text)
    assert subjects(box.get(order="old")) == ["number 00000", "number 00002"]
    client.store("1", "-FLAGS", "\\Deleted")
    client.noop()
    assert client.search(None, "ALL")[1] == [b"1 2"]
    client.logout()


def test_pop3_session_that_is_open_meanwhile_goes_on_with_the_others(box: Mailbox) -> None:
    box.put(*numbered(4))
    client = box.running.pop3(box.account.name)
    page = box.get(order="old")
    agree(box, ask(box, page, UID.findall(page)[0]).text)
    assert b"Subject: number 00001" in client.retr(2)[1]
    client.dele(2)
    client.quit()
    assert subjects(box.get(order="old")) == ["number 00002", "number 00003"]


def test_mailbox_set_up_anew_meanwhile_loses_nothing(box: Mailbox) -> None:
    """The same UIDs name other messages there."""
    box.put(*numbered(2))
    page = box.get()
    asked = ask(box, page, *UID.findall(page))
    time.sleep(1.1)  # a new number is made from the time
    for file in box.directory.glob("dovecot*"):
        file.unlink()
    wait_for(lambda: validity_of(box.get()) != validity_of(page))
    done = agree(box, asked.text)
    assert "The mailbox was set up anew meanwhile." in done.text
    assert len(box.contents()) == 2
    path = re.search(r"/mail/(\d+/\d+/)\?folder", page)
    assert path
    response = box.browser.get(f"{box.path}{path[1]}", follow=True)
    assert "The mailbox was set up anew meanwhile." in response.text


def test_thousands_are_deleted_whatever_gaps_their_numbers_have(box: Mailbox) -> None:
    box.put(*numbered(3000))
    with connected(box.account) as client:
        remote.open_folder(client, "INBOX", to_delete=True)
        assert remote.delete(client, range(1, 3001, 2)) == remote.Deleted(1500, 0)
        assert sorted(remote.there(client, range(1, 3001))) == list(range(2, 3001, 2))
        assert remote.delete(client, range(1, 3001)) == remote.Deleted(1500, 1500)
    assert box.contents() == {}


# What breaks mail programs


def test_corpus_is_listed_shown_and_deleted_and_nothing_else_happens(box: Mailbox) -> None:
    messages = dict(corpus())
    assert len(messages) >= 60
    box.put(*messages.values())
    page = box.get()
    before = box.contents()
    listed = 0
    for number in range(1, -(-len(messages) // 50) + 1):
        page = box.get(page=number)
        listed += len(UID.findall(page))
        for path in re.findall(r"/mail/(\d+/\d+/)\?folder", page):
            for shown in (box.get(path), box.get(path, lines=100)):
                harmless(shown)
            download = box.browser.get(f"{box.path}{path}download/")
            assert len(download.getvalue()) == int(download.headers["Content-Length"]), path
        harmless(page)
    assert listed == len(messages)
    assert box.contents() == before
    assert set(box.flags().values()) == {""}
    for order in remote.ORDERS:
        box.get(order=order)
    assert "May stop your mail program" in page
    for _ in range(-(-len(messages) // 50)):
        page = box.get()
        asked = ask(box, page, *UID.findall(page))
        harmless(asked.text)
        agree(box, asked.text)
    assert box.contents() == {}


def harmless(page: str) -> None:
    """Say that a page has no markup of a message's and nothing that cannot be shown."""
    assert "<script>window" not in page
    assert "<img" not in page
    assert "<svg" not in page
    assert not re.search(
        r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]", page
    )
    assert "\n49 " not in page


def test_stuck_message_is_said_in_plain_words(box: Mailbox) -> None:
    messages = dict(corpus())
    for name, words in (
        ("huge-attachment", "It is very large"),
        ("nul-in-body", "It holds control characters"),
        ("jis-unclosed", "Japanese characters in it (ISO-2022-JP) are not ended"),
        ("sjis-as-utf8", "Its text is in another character code than it says"),
        ("not-closed", "do not fit together"),
        ("line-of-1mb", "lines of more than 998 characters"),
    ):
        box.put(messages[name])
        page = box.get()
        assert subjects(page)[0].startswith(marker(name))
        assert words in page
        shown = open_first(box)
        assert "This message may be what stops your mail program." in shown
        assert words in shown


# Who looked


def test_each_access_is_on_record(box: Mailbox, cast: Cast) -> None:
    box.put(*numbered(2))
    page = box.get()
    path = re.search(r"/mail/(\d+/\d+/)\?folder", page)
    assert path
    box.get(path[1])
    box.browser.get(f"{box.path}{path[1]}download/").getvalue()
    agree(box, ask(box, page, *UID.findall(page)).text)
    trail = list(MailAccess.objects.of(box.account).order_by("pk"))
    assert [a.action for a in trail if a.action != Action.LIST] == ["read", "download", "delete"]
    last = trail[-2]
    assert (last.action, last.messages, last.asked) == ("delete", 2, 2)
    assert {a.address for a in trail} == {"127.0.0.1"}
    assert {a.user_name for a in trail} == {"sakura"}
    shown = box.get("trail/")
    assert "Deleted" in shown
    assert "2 of 2" in shown
    assert "127.0.0.1" in shown


def test_another_customer_gets_nothing(box: Mailbox, cast: Cast) -> None:
    box.put(message("secret"))
    validity = validity_of(box.get())
    before = MailAccess.objects.count()
    browser = logged_in(cast.wakaba.user)
    for path in ("", f"{validity}/1/", f"{validity}/1/download/", "trail/"):
        assert browser.get(f"{box.path}{path}").status_code == 404
    form = {"validity": validity, "uids": "1", "sure": "1"}
    assert browser.post(f"{box.path}delete/", form).status_code == 404
    assert MailAccess.objects.count() == before
    assert len(box.contents()) == 1


# Where it cannot be had


def test_server_that_does_not_answer_is_said(box: Mailbox) -> None:
    box.running.stop("dovecot")
    try:
        assert "The mail server does not answer at the moment" in box.get()
    finally:
        box.running.start("dovecot")
    awaited(box, "There is no mail")


def test_server_that_hangs_does_not_hold_the_page_for_long(
    box: Mailbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    from imapclient import SocketTimeout

    monkeypatch.setattr("remotemail.connection.PATIENCE", SocketTimeout(1, 1))
    with box.running.hung("dovecot"):
        began = now()
        box.get()
        assert now() - began < timedelta(seconds=10)
    # Anew for the tests that follow: connections that it took while it hung hold it up.
    box.running.stop("dovecot")
    box.running.start("dovecot")


def test_wrong_secret_is_said_and_not_told(
    box: Mailbox, settings: Settings, tmp_path: Any, caplog: pytest.LogCaptureFixture
) -> None:
    door = box.running.host.paths.panel_imap.read_text()
    wrong = re.sub(r'"secret": "\w+"', '"secret": "wrong-one"', door)
    (tmp_path / f"{box.account.server.name}.json").write_text(wrong)
    settings.REMOTE_MAIL_DOORS = str(tmp_path)
    page = box.get()
    assert "does not open this account" in page
    assert "wrong-one" not in page + caplog.text


def test_copy_of_the_door_is_enough(box: Mailbox, settings: Settings, tmp_path: Any) -> None:
    door = box.running.host.paths.panel_imap.read_text()
    (tmp_path / f"{box.account.server.name}.json").write_text(door)
    settings.REMOTE_MAIL_DOORS, settings.MAILHOST_ROOT = str(tmp_path), ""
    awaited(box, "There is no mail")
