"""A message in, an answer out: Pigeonhole's vacation by the scripts that a record becomes."""

from __future__ import annotations

import os
import smtplib
import socket
import struct
import time
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from email import message_from_bytes, policy
from zoneinfo import ZoneInfo

import pytest

from mailhost import replies
from mailhost.instance import missing_programs
from mailhost.records import MAX_REPLIES_AN_HOUR, AutoReply, Mailbox
from tests.mail.conftest import Site, applied, new_site
from tests.servers import MailServer, mail_server, wait_for

pytestmark = pytest.mark.servers

Settled = Callable[[str], None]
#: Everything that means something to Sieve, in what customers write.
HOSTILE = 'お休みです。"}; keep; stop; ${x} \\" \\\\\n.\n..\ntext:\n/* */ # end\n日本語'


@pytest.fixture(scope="module")
def server() -> Iterator[MailServer]:
    """A mail server of this file's own."""
    if problem := missing_programs():
        pytest.skip(problem)
    with mail_server() as running:
        yield running


@pytest.fixture
def site(server: MailServer) -> Site:
    """A new domain on it."""
    return new_site(server)


def reply_of(box: Mailbox, **fields: object) -> AutoReply:
    """Return an auto-reply of a mailbox."""
    values = {"subject": "Away", "text": "I am away.", **fields}
    return AutoReply(box.name, box.domain, box.mailbox_id, **values)  # type: ignore[arg-type]


def answers(site: Site, to: str) -> list[bytes]:
    """Return what came to somebody outside."""
    return [content for _, rcpt, content in site.server.outside.taken if to in rcpt]


def answered(site: Site, text: str) -> set[str]:
    """Return who outside got an answer with this text in it."""
    taken = site.server.outside.taken
    return {to for _, rcpt, content in taken for to in rcpt if text.encode() in content}


def remembered(site: Site, box: Mailbox, older: int = 0) -> list[int]:
    """Return until when Dovecot remembers what it does for a mailbox, in seconds since 1970.

    `older`: let it be so many seconds ago that it did it. The file (Dovecot's mail-duplicate.c)
    has a version and records: until when, two lengths, and what they are of.
    """
    file = site.server.host.paths.home(box.mailbox_id) / ".dovecot.lda-dupes"
    content = bytearray(file.read_bytes())
    found, place = [], 4
    while place < len(content):
        until, *lengths = struct.unpack_from("=III", content, place)
        found.append(until)
        struct.pack_into("=I", content, place, until - older)
        place += 12 + sum(lengths)
    if older:
        file.write_bytes(content)
    return found


def by_user(site: Site, user: int) -> tuple[int, bytes]:
    """Return what the port answers about a recipient to a program that runs as this user."""
    with socket.socket() as made:
        os.chown(made.fileno(), user, -1)
        made.connect(("127.0.0.1", site.server.config.reply_port))
        with smtplib.SMTP() as client:
            client.sock = made
            client.getreply()
            client.ehlo()
            client.mail("")
            return client.rcpt("x@victims.test")


@pytest.fixture(scope="module")
def settled(server: MailServer) -> Settled:
    """Wait until all that came before has been answered or not: by an answer to who asks then."""
    site = new_site(server)
    box = site.mailbox("probe")
    assert applied(site.put(box, reply_of(box, text="probe")))
    asked: set[str] = set()

    def settled(sender: str) -> None:
        assert sender not in asked, "nobody is answered twice"
        asked.add(sender)
        server.write(box.address, sender)
        assert server.outside.got(sender, "probe")

    return settled


def test_answers_each_sender_once_and_to_its_own_addresses(site: Site, settled: Settled) -> None:
    box = site.mailbox("away")
    info = site.address("info", box.address)
    reply = reply_of(box, subject="不在のお知らせ", text=HOSTILE, days=7)
    assert applied(site.put(box, info, reply))
    for to in (box.address, box.address, info.address):
        site.server.write(to, "anna@outside.test")
    assert site.server.outside.got("anna@outside.test", "Auto-Submitted")
    site.server.write(info.address, "bert@outside.test")
    assert site.server.outside.got("bert@outside.test", "Auto-Submitted")
    assert wait_for(lambda: len(site.server.messages(box.name)) == 4), "all mail is kept"
    settled("anna@outside.test")
    [answer, _probe] = answers(site, "anna@outside.test")
    mail = message_from_bytes(answer, policy=policy.default)
    assert mail["Subject"] == "不在のお知らせ"
    assert mail["From"].addresses[0].addr_spec == box.address
    assert mail["Auto-Submitted"].startswith("auto-replied")
    assert mail.get_content().strip().splitlines() == HOSTILE.splitlines()
    [other] = answers(site, "bert@outside.test")
    shown = message_from_bytes(other, policy=policy.default)
    assert shown["From"].addresses[0].addr_spec == info.address
    senders = {sender for sender, _, _ in site.server.outside.taken}
    assert senders == {"<>"}, "every answer has a null sender"
    complaints = [line for line in site.server.logs().splitlines() if "sieve" in line.lower()]
    assert not [line for line in complaints if "rror" in line or "arning" in line]


def test_what_no_person_wrote_and_what_goes_to_others_gets_no_answer(
    site: Site, settled: Settled
) -> None:
    box = site.mailbox("quiet")
    assert applied(site.put(box, reply_of(box)))
    machines = [
        {"List_Id": "<club.outside.test>"},
        {"List_Unsubscribe": "<mailto:leave@outside.test>"},
        {"Precedence": "bulk"},
        {"Precedence": "list"},
        {"Auto_Submitted": "auto-generated"},
        {"Auto_Submitted": "auto-replied"},
        {"X_Auto_Response_Suppress": "All"},
        {"X_Spam_Flag": "YES"},
        {"To": "somebody@outside.test"},
    ]
    for number, headers in enumerate(machines):
        site.server.write(box.address, f"machine{number}@outside.test", **headers)
    for sender in ("mailer-daemon@outside.test", "owner-club@outside.test"):
        site.server.write(box.address, sender)
    site.server.write(box.address, "<>nobody@outside.test")
    assert wait_for(lambda: len(site.server.messages(box.name)) == len(machines) + 3)
    settled("carla@outside.test")
    went = {to for _, rcpt, content in site.server.outside.taken for to in rcpt if content}
    assert not {to for to in went if "machine" in to or "owner" in to or "daemon" in to}
    assert "nobody@outside.test" not in went
    site.server.write(box.address, "machine0@outside.test", Auto_Submitted="no")
    assert site.server.outside.got("machine0@outside.test", "I am away.")


def test_counts_only_between_its_days_and_from_the_server_told(
    site: Site, settled: Settled
) -> None:
    today = datetime.now(ZoneInfo(site.server.config.time_zone)).date()
    one = timedelta(days=2)
    early, late, now = site.mailbox("early"), site.mailbox("late"), site.mailbox("now")
    days = {
        early.name: {"starts": (today + one).isoformat()},
        late.name: {"ends": (today - one).isoformat()},
        now.name: {"starts": (today - one).isoformat(), "ends": (today + one).isoformat()},
    }
    boxes = (early, late, now)
    assert applied(site.put(*boxes, *(reply_of(box, **days[box.name]) for box in boxes)))
    for box in boxes:
        site.server.write(box.address, "dora@outside.test")
    assert site.server.outside.got("dora@outside.test", "I am away.")
    assert wait_for(lambda: all(site.server.messages(box.name) for box in boxes))
    settled("dora@outside.test")
    froms = [
        message_from_bytes(one, policy=policy.default)["From"].addresses[0].addr_spec
        for one in answers(site, "dora@outside.test")
    ]
    assert now.address in froms
    assert not {early.address, late.address} & set(froms)


def test_follows_record_mailbox_and_addresses(site: Site) -> None:
    host = site.server.host
    box = site.mailbox("moves")
    reply = reply_of(box)
    assert not applied(site.put(reply)), "without its mailbox it is nothing"
    assert applied(site.put(box, reply))
    source = host.paths.reply(box.mailbox_id)
    assert box.address in source.read_text()
    info = site.address("info", box.address)
    assert applied(site.put(info))
    assert info.address in source.read_text()
    assert applied(site.delete(info))
    assert info.address not in source.read_text()
    assert applied(site.put(reply_of(box, text="Back on Monday.")))
    assert "Monday" in source.read_text()
    assert host.differences() == []
    # Somebody's hand, and what repairs it.
    source.write_text("keep;")
    stray = host.paths.reply("0" * 32)
    stray.write_text("keep;")
    assert {item.key for item in host.differences()} == {box.mailbox_id, "0" * 32}
    with host.lock():
        host.repair()
    assert host.differences() == []
    assert "Monday" in source.read_text()
    assert not stray.exists()
    # The name goes to somebody else: he does not answer by it.
    assert applied(site.delete(box))
    assert not source.exists()
    heir = site.mailbox("moves")
    assert applied(site.put(heir))
    assert not host.paths.reply(heir.mailbox_id).exists()
    assert applied(site.put(reply_of(heir)))
    assert applied(site.delete(reply_of(heir)))
    assert not host.paths.reply(heir.mailbox_id).exists()


def test_answers_thirty_an_hour_whatever_it_says(site: Site, settled: Settled) -> None:
    box = site.mailbox("busy")
    assert applied(site.put(box, reply_of(box, text="buy now")))
    began = int(time.time())
    strangers = [f"target{number}@victims.test" for number in range(MAX_REPLIES_AN_HOUR + 3)]
    for stranger in strangers:
        site.server.write(box.address, stranger)
    assert wait_for(lambda: len(site.server.messages(box.name)) == len(strangers), 60)
    settled("fred@outside.test")
    assert len(answered(site, "buy now")) == MAX_REPLIES_AN_HOUR
    taken = [until for until in remembered(site, box) if until <= time.time() + 3600]
    assert len(taken) == 2 * MAX_REPLIES_AN_HOUR + 3, "answers, and From lines"
    assert min(taken) >= began + 3600
    # Another text is not another hour.
    assert applied(site.put(reply_of(box, text="buy later")))
    site.server.write(box.address, "target@victims.test")
    settled("fritz@outside.test")
    assert not answered(site, "buy later")
    # An hour later.
    remembered(site, box, older=3600)
    site.server.write(box.address, "later@victims.test")
    assert site.server.outside.got("later@victims.test", "buy later")


def test_one_who_writes_often_and_machines_leave_answers_to_others(
    site: Site, monkeypatch: pytest.MonkeyPatch, settled: Settled
) -> None:
    monkeypatch.setattr(replies, "MAX_REPLIES_AN_HOUR", 2)
    box = site.mailbox("often")
    reply = reply_of(box, text="I am away, gone.")
    assert applied(site.put(box, reply))
    site.server.write(box.address, "list@outside.test", List_Id="<club.outside.test>")
    for number in range(3):
        site.server.write(box.address, f"<>bounce{number}@outside.test")
        site.server.write(box.address, "gina@outside.test")
    site.server.write(box.address, "hans@outside.test")
    assert site.server.outside.got("hans@outside.test", "gone")
    site.server.write(box.address, "ines@outside.test")
    settled("franz@outside.test")
    assert answered(site, "gone") == {"gina@outside.test", "hans@outside.test"}
    # Its script is none that the server would write.
    assert applied(site.delete(reply))


def test_its_port_takes_null_senders_alone_and_opens_no_way_to_send(site: Site) -> None:
    port = site.server.config.reply_port
    with smtplib.SMTP("127.0.0.1", port, "pc.outside.test", 30) as client:
        client.ehlo()
        code, _text = client.mail("boss@outside.test")
        assert code == 554
    box = site.mailbox("opens")
    assert applied(site.put(box, reply_of(box)))
    site.server.write(box.address, "emil@outside.test")
    assert site.server.outside.got("emil@outside.test", "I am away.")
    with site.server.smtp() as client:
        client.mail(box.address)
        assert client.rcpt("emil@outside.test")[0] == 550


@pytest.mark.parametrize("user", [0, 33, 65534])
def test_its_port_takes_nothing_of_other_programs(site: Site, user: int) -> None:
    """Neither root's, nor a web server's; the mail user's alone, as Dovecot's delivery is."""
    assert by_user(site, user)[0] == 554
    assert f"refused reply: user={user} " in site.server.logs()
    assert by_user(site, site.server.config.mail_uid)[0] == 250
