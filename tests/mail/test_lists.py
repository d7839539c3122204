"""Mailing lists on real servers: who gets what, who may post, and what a kill costs."""

from __future__ import annotations

import smtplib
from collections import Counter
from email import message_from_bytes
from email.message import Message

import pytest

from mailhost.host import Status
from mailhost.lists import bounces
from mailhost.lists.leaving import member_of
from mailhost.lists.queue import Queue
from mailhost.records import MailingList
from tests.mail.conftest import Site, applied
from tests.servers import MailServer, message, wait_for

pytestmark = pytest.mark.servers
KEY = "ab" * 32


def made(site: Site, *members: str, posters: str = "members") -> MailingList:
    """Put a list of these members on the server."""
    record = MailingList(
        "club",
        site.domain,
        "The Club",
        "owner@outside.test",
        posters,
        members,
        "https://panel.plusmail.test/leave/1",
        KEY,
    )
    assert applied(site.put(record))
    return record


def post(server: MailServer, to: str, sender: str, content: bytes | None = None) -> None:
    """Send a message to a list from outside."""
    with server.smtp() as client:
        client.sendmail(sender, [to], content or message(sender=sender))


def copies(server: MailServer, record: MailingList) -> list[tuple[str, Message]]:
    """Return who got what from the list so far, outside."""
    return [
        (to[0], message_from_bytes(content))
        for by, to, content in list(server.outside.taken)
        if by == record.bounce_address
    ]


def test_each_member_gets_a_copy_that_names_no_other(server: MailServer, site: Site) -> None:
    members = ("ann@outside.test", "Bob@outside.test", site.fixed.address)
    record = made(site, *members)
    post(server, record.address, "ann@outside.test")
    assert server.got(site.fixed.name, "hello, world")
    assert wait_for(lambda: len(copies(server, record)) == 2)
    found = dict(copies(server, record))
    assert set(found) == {"ann@outside.test", "Bob@outside.test"}
    for member, copy in found.items():
        assert copy["List-Id"] == f'"The Club" <club.{site.domain}>'
        assert copy["Precedence"] == "list"
        assert copy["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
        link = copy["List-Unsubscribe"].strip("<>")
        assert member_of(KEY, link.rpartition("/")[2]) == member.lower()
        others = set(found) - {member}
        assert not any(other.encode() in copy.as_bytes() for other in others - {"ann@outside.test"})


@pytest.mark.parametrize("name", ["club", "through"])
def test_a_stranger_is_refused_at_the_door(server: MailServer, site: Site, name: str) -> None:
    record = made(site, "ann@outside.test")
    assert applied(site.put(site.address("through", record.address)))
    stranger = f"stranger@{site.fixed.name}.outside.test"
    with pytest.raises(smtplib.SMTPRecipientsRefused) as refused:
        post(server, site.at(name), stranger)
    code, words = refused.value.recipients[site.at(name)]
    assert code == 550
    assert words.startswith(b"5.7.1 ")
    assert f"Only its members may write to the list {record.address}" in words.decode()
    assert not copies(server, record)
    assert not [to for _, to, _ in list(server.outside.taken) if to == [stranger]]


def test_a_member_who_writes_as_somebody_else_is_told(server: MailServer, site: Site) -> None:
    member = f"ann@{site.fixed.name}.outside.test"
    record = made(site, member)
    post(server, record.address, member, message(sender="stranger@outside.test"))
    assert server.outside.got(member, "Only its members may write")
    assert not copies(server, record)


def test_bounces_of_a_list_are_taken_from_anybody(server: MailServer, site: Site) -> None:
    record = made(site, "ann@outside.test", posters="owner")
    assert server.rcpt(record.bounce_address)[0] == 250
    with server.smtp() as client:
        client.mail("")
        assert client.rcpt(record.address)[0] == 250


def test_what_a_list_has_sent_does_not_come_round(server: MailServer, site: Site) -> None:
    record = made(site, "ann@outside.test", posters="anyone")
    for header in (f"List-Id: x <club.{site.domain}>", f"X-PlusMail-List: {record.address}"):
        post(server, record.address, "ann@outside.test", f"{header}\n".encode() + message())
    post(server, record.address, "ann@outside.test", b"Auto-Submitted: auto-replied\n" + message())
    post(server, record.address, "ann@outside.test", message(text="the last"))
    assert server.outside.got("ann@outside.test", "the last")
    assert len(copies(server, record)) == 1


def test_a_member_whose_mail_comes_back_is_counted(server: MailServer, site: Site) -> None:
    gone = f"gone@{site.domain}"
    record = made(site, gone, "ann@outside.test")
    post(
        server, record.address, "ann@outside.test", message(text="first", sender="ann@outside.test")
    )
    assert server.outside.got("ann@outside.test", "first")
    queue = Queue(server.root / "lists" / "lists.sqlite3")
    assert wait_for(lambda: queue.bounces(record.address) == {gone: 1})
    # Anybody can write to the address of bounces, and name a member there.
    forged = (
        b"Content-Type: multipart/report; boundary=b\n\n"
        b"--b\nContent-Type: message/delivery-status\n\nReporting-MTA: dns; a\n\n"
        b"Final-Recipient: rfc822; ann@outside.test\nAction: failed\n\n--b--\n"
    )
    post(server, record.bounce_address, "", forged)
    post(server, record.address, "ann@outside.test", message(sender="ann@outside.test"))
    assert wait_for(lambda: queue.bounces(record.address).get(gone) == 2)
    assert queue.bounces(record.address) == {gone: 2}
    assert [(one.member, one.count) for one in bounces.read(server.root)] == [(gone, 2)]
    queue.close()


def test_a_deleted_list_takes_no_mail(server: MailServer, site: Site) -> None:
    record = made(site, "ann@outside.test", posters="anyone")
    assert server.rcpt(record.address)[0] == 250
    outcomes = site.delete(record)
    assert {outcome.status for outcome in outcomes.values()} == {Status.APPLIED}
    assert server.rcpt(record.address)[0] == 550
    assert server.rcpt(record.bounce_address)[0] == 550


@pytest.mark.parametrize("more", [0, 1])
def test_75_kilobytes_and_not_a_byte_more(server: MailServer, site: Site, more: int) -> None:
    record = made(site, "ann@outside.test", posters="anyone")
    content = message(text="x").replace(b"\n", b"\r\n")
    lines, rest = divmod(76800 + more - len(content), 72)
    content += (b"y" * 70 + b"\r\n") * (lines - 1) + b"z" * (70 + rest) + b"\r\n"
    assert len(content) == 76800 + more
    if more:
        with pytest.raises((smtplib.SMTPDataError, smtplib.SMTPRecipientsRefused)):
            post(server, record.address, "ann@outside.test", content)
    else:
        post(server, record.address, "ann@outside.test", content)
        assert wait_for(lambda: len(copies(server, record)) == 1)


def test_a_kill_neither_loses_nor_doubles(server: MailServer, site: Site) -> None:
    members = [f"m{number}@outside.test" for number in range(120)]
    record = made(site, *members)
    post(server, record.address, members[0], message(sender=members[0]))
    for part in (0, 40, 80):
        assert wait_for(lambda part=part: len(copies(server, record)) > part)  # type: ignore[misc]
        server.kill("lists")
        server.start("lists")
    assert wait_for(lambda: len(copies(server, record)) >= 120, 60)
    assert Counter(to for to, _ in copies(server, record)) == Counter(members)
