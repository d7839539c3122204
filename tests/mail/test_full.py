"""Full mailboxes, filled and freed by real clients: what is refused, what waits, what works."""

from __future__ import annotations

import shutil
import time
from dataclasses import replace

import pytest

from mailhost import instance
from mailhost.__main__ import main
from mailhost.records import Address, HostedDomain, Mailbox, MailingList, PlanLimits
from mailhost.usage import figures, notices
from mailhost.usage.waiting import Waiting, flush, flush_where_room, waiting
from tests.mail.conftest import Site, applied, new_site
from tests.servers import HELP, MailServer, message, wait_for

pytestmark = pytest.mark.servers

LIMIT = 100_000
REFUSED = (
    "5.2.2 <{0}>: Recipient address rejected: The mailbox of {0} is full: it takes mail again"
    f" when its holder has made room; see {HELP}"
)


def large(size: int = 40_000, subject: str = "large") -> bytes:
    """Return a message of about so many bytes."""
    return message(subject, ("x" * 70 + "\n") * (size // 72))


def send(server: MailServer, *recipients: str, size: int = 40_000) -> None:
    """Send one message from outside to all of them; each has to be accepted."""
    with server.smtp() as client:
        assert not client.sendmail("friend@outside.test", recipients, large(size))


def is_full(server: MailServer, name: str) -> bool:
    """Say what is known of the mailbox."""
    known = figures.of_account(server.root, name)
    return known is not None and known.full


def becomes(server: MailServer, name: str, *, full: bool) -> bool:
    """Wait until the mailbox is known to be full, or not to be."""
    return wait_for(lambda: is_full(server, name) == full)


def becomes_known(server: MailServer, box: Mailbox) -> bool:
    """Wait until there is a figure of the mailbox."""
    return wait_for(lambda: figures.of_account(server.root, box.name)) is not None


def fill(server: MailServer, *boxes: Mailbox) -> None:
    """Deliver to these mailboxes until the server refuses them, by SMTP alone."""
    for box in boxes:
        for _ in range(LIMIT // 40_000 + 1):
            send(server, box.address)
        assert becomes(server, box.name, full=True), server.logs()
        assert server.rcpt(box.address)[0] == 552


def small(site: Site, word: str) -> Mailbox:
    """Put another mailbox of LIMIT bytes on the server."""
    box = site.mailbox(word, quota_bytes=LIMIT)
    assert applied(site.put(box))
    return box


@pytest.fixture
def box(site: Site) -> Mailbox:
    """A mailbox that is full."""
    found = small(site, "box")
    fill(site.server, found)
    return found


def test_message_that_crosses_the_limit_is_delivered_and_the_next_is_refused(
    server: MailServer, site: Site
) -> None:
    box = small(site, "box")
    send(server, box.address, size=90_000)
    assert becomes_known(server, box)
    assert not is_full(server, box.name)
    send(server, box.address, size=3_000_000)
    assert becomes(server, box.name, full=True), server.logs()
    assert [len(mail) > 80_000 for mail in server.messages(box.name)] == [True, True]
    assert server.rcpt(box.address) == (552, REFUSED.format(box.address))
    # A notice of another mail server has no sender, and is no exception.
    with server.smtp() as client:
        client.mail("")
        assert client.rcpt(box.address)[0] == 552


def test_room_is_made_by_deleting_and_mail_comes_again(server: MailServer, box: Mailbox) -> None:
    empty(server, box)
    assert becomes(server, box.name, full=False), server.logs()
    assert server.rcpt(box.address)[0] == 250
    server.deliver(box.address, text="there is room again")
    assert server.got(box.name, "there is room again")


# What the holder of a full mailbox can do


def test_everything_can_be_copied_to_trash_and_what_was_sent_kept(
    server: MailServer, box: Mailbox
) -> None:
    with server.imap(box.name) as client:
        count = client.select("INBOX")[1][0]
        for folder in ("Trash", '"Deleted Items"', "Sent", '"Sent Messages"', "Drafts"):
            client.create(folder)
        assert client.copy("1:*", "Trash")[0] == "OK"
        assert client.append("Sent", "", "", large())[0] == "OK"
        assert client.append('"Sent Messages"', "", "", large())[0] == "OK"
        # Elsewhere the limit holds, and is told in a way that programs know (RFC 9208).
        refused = client.copy("1:*", "Drafts")
        assert refused[0] == "NO"
        assert b"[OVERQUOTA]" in refused[1][0]
        assert client.append("Drafts", "", "", large())[0] == "NO"
        # The reserve is for Trash and Sent alone, and is not taken for room.
        assert is_full(server, box.name)
        assert client.select("Trash")[1] == [count]
        client.store("1:*", "+FLAGS", "\\Deleted")
        client.expunge()
        client.select("INBOX")
        client.store("1:*", "+FLAGS", "\\Deleted")
        client.expunge()
    assert becomes(server, box.name, full=False), server.logs()


def test_everything_can_be_moved_to_trash(server: MailServer, box: Mailbox) -> None:
    with server.imap(box.name) as client:
        client.create('"Deleted Items"')
        client.select("INBOX")
        code, said = client.uid("MOVE", "1:*", '"Deleted Items"')
        assert code == "OK", said
        assert client.select("INBOX")[1] == [b"0"]


def test_mail_can_be_deleted_by_pop3(server: MailServer, box: Mailbox) -> None:
    client = server.pop3(box.name)
    for number in range(1, client.stat()[0] + 1):
        client.dele(number)
    client.quit()
    assert becomes(server, box.name, full=False), server.logs()
    assert server.rcpt(box.address)[0] == 250


def test_mail_programs_can_ask_for_the_limit(server: MailServer, site: Site) -> None:
    box = small(site, "box")
    with server.imap(box.name) as client:
        assert b"STORAGE 0 %d" % -(-LIMIT // 1024) in client.getquotaroot("INBOX")[1][1][0]


# Addresses that lead to full mailboxes


def test_an_address_is_refused_when_all_it_leads_to_is_full(
    server: MailServer, site: Site, box: Mailbox
) -> None:
    free, other = small(site, "free"), small(site, "other")
    assert applied(
        site.put(
            site.address("one", box.address),
            site.address("deep", site.at("one")),
            site.address("some", site.at("deep"), free.address),
            site.address("away", box.address, "friend@outside.test"),
            site.address("both", other.address, box.address),
            # A copy stays in its own mailbox.
            Address(other.name, site.domain, (other.address, site.at("one"))),
        )
    )
    for name in ("one", "deep"):
        assert server.rcpt(site.at(name)) == (552, REFUSED.format(site.at(name)))
    for name in ("some", "away", "both", other.name):
        assert server.rcpt(site.at(name))[0] == 250, name
    for _ in range(4):
        if server.rcpt(other.address)[0] == 250:
            send(server, other.address)
            time.sleep(2)
    assert becomes(server, other.name, full=True), server.logs()
    assert server.rcpt(site.at("both"))[0] == 552
    assert server.rcpt(other.address)[0] == 552


def test_the_catch_all_and_lists_are_not_full(server: MailServer, site: Site, box: Mailbox) -> None:
    news = MailingList("news", site.domain, "News", box.address, "anyone", (box.address,))
    assert applied(site.put(site.address("", box.address), news))
    assert server.rcpt(site.at("nobody-has-this"))[0] == 250
    assert server.rcpt(site.at("news"))[0] == 250


def test_a_customer_who_sends_to_a_full_mailbox_is_told_at_once(
    server: MailServer, site: Site, box: Mailbox
) -> None:
    with server.submission(site.fixed.name) as client:
        client.mail(site.fixed.address)
        assert client.rcpt(box.address)[0] == 552
        assert client.rcpt(site.fixed.address)[0] == 250


# Copies that wait


def waits(server: MailServer, box: Mailbox) -> list[Waiting]:
    """Return the copies that wait for the mailbox."""
    return [copy for copy in waiting(server.root) if copy.account == box.name]


def put_in_queue(server: MailServer, site: Site, box: Mailbox) -> None:
    """Send to an address that leads to this full mailbox and to one with room."""
    assert applied(site.put(site.address("both", site.fixed.address, box.address)))
    send(server, site.at("both"))
    assert wait_for(lambda: waits(server, box)), server.logs()


def test_a_copy_for_a_full_mailbox_waits_and_comes_when_there_is_room(
    server: MailServer, site: Site, box: Mailbox
) -> None:
    put_in_queue(server, site, box)
    (copy,) = waits(server, box)
    assert (copy.domain, copy.sender) == (site.domain, "friend@outside.test")
    assert 40_000 < copy.size < 50_000
    assert server.got(site.fixed.name, "xxxxxxx")
    # Trying it does not help while there is no room, nor is it returned.
    assert flush(server.root, [box.name]) == 1
    assert wait_for(lambda: waits(server, box))
    empty(server, box)
    assert wait_for(lambda: len(server.messages(box.name)) == 1, 20), server.logs()
    assert wait_for(lambda: not waits(server, box))


def test_a_copy_comes_when_the_limit_is_raised(
    server: MailServer, site: Site, box: Mailbox
) -> None:
    put_in_queue(server, site, box)
    before = len(server.messages(box.name))
    assert applied(site.put(replace(box, quota_bytes=10 * LIMIT)))
    assert becomes(server, box.name, full=False), server.logs()
    assert wait_for(lambda: len(server.messages(box.name)) == before + 1, 20), server.logs()


def test_a_copy_that_nothing_brought_on_its_way_is_found_in_the_queue(
    server: MailServer, site: Site, box: Mailbox
) -> None:
    put_in_queue(server, site, box)
    server.stop("usage")
    try:
        empty(server, box)
        # As far as anybody knows it is full.
        assert flush_where_room(server.root) == 0
        assert figures.recount(server.root, [box.name]) == 1
        assert not is_full(server, box.name)
        assert flush_where_room(server.root) == 1
        assert wait_for(lambda: len(server.messages(box.name)) == 1, 20), server.logs()
    finally:
        server.start("usage")


def empty(server: MailServer, box: Mailbox) -> None:
    """Delete all that is in the inbox, by IMAP."""
    with server.imap(box.name) as client:
        client.select("INBOX")
        client.store("1:*", "+FLAGS", "\\Deleted")
        client.expunge()


# Limits


def test_the_plan_s_limit_holds_and_a_mailbox_s_own_comes_before_it(server: MailServer) -> None:
    plan = PlanLimits("tiny-plan", mailbox_bytes=50_000)
    site = new_site(server, plan, plan="tiny-plan", quota_bytes=0)
    own = small(site, "own")
    for box, limit in ((site.fixed, 50_000), (own, LIMIT)):
        server.deliver(box.address)
        assert becomes_known(server, box), server.logs()
        known = figures.of_account(server.root, box.name)
        assert known
        assert (known.limit, known.messages, known.domain) == (limit, 1, site.domain)
    send(server, site.fixed.address, size=60_000)
    assert becomes(server, site.fixed.name, full=True)
    larger = HostedDomain(site.domain, site.fixed.address, plan="another-plan")
    assert applied(site.put(PlanLimits("another-plan", mailbox_bytes=500_000), larger))
    assert becomes(server, site.fixed.name, full=False), server.logs()
    assert server.rcpt(site.fixed.address)[0] == 250


def test_a_deleted_mailbox_disappears_and_a_new_one_of_its_name_is_empty(
    server: MailServer, site: Site, box: Mailbox
) -> None:
    assert box.name in {known.account for known in figures.full(server.root)}
    assert applied(site.delete(box))
    assert wait_for(lambda: figures.of_account(server.root, box.name) is None), server.logs()
    again = small(site, "box")
    assert again.name == box.name
    assert becomes_known(server, box), server.logs()
    known = figures.of_account(server.root, box.name)
    assert known
    assert (known.mailbox_id, known.used, known.messages) == (again.mailbox_id, 0, 0)
    assert server.rcpt(box.address)[0] == 250


# Notices


NOTICE = b"From: panel@plusmail.test\r\nSubject: your mailbox is full\r\n\r\nMake room.\r\n"


def test_notices_come_past_the_quota_one_of_each_kind(server: MailServer, box: Mailbox) -> None:
    before = len(server.messages(box.name))
    assert notices.deliver(server.root, box.name, "quota-95", NOTICE)
    assert not notices.deliver(server.root, box.name, "quota-95", NOTICE)
    assert notices.deliver(server.root, box.name, "quota-9", NOTICE)
    mails = server.messages(box.name)
    assert len(mails) == before + 2
    assert mails[before].startswith(b"X-Plusmail-Notice: quota-95; mark=")
    assert mails[before].endswith(b"\nSubject: your mailbox is full\n\nMake room.")
    # It takes room like any other message, and the figure says so.
    assert wait_for(lambda: known_messages(server, box) == before + 2), server.logs()
    with server.imap(box.name) as client:
        client.select("INBOX")
        client.store("1:*", "+FLAGS", "\\Seen")
    assert notices.deliver(server.root, box.name, "quota-95", NOTICE)


def test_nobody_keeps_notices_away_by_sending_what_looks_like_one(
    server: MailServer, site: Site
) -> None:
    box = small(site, "box")
    with server.smtp() as client:
        client.sendmail("a@b.test", [box.address], b"X-Plusmail-Notice: quota-80\r\n" + NOTICE)
    assert server.got(box.name, "X-Plusmail-Notice: quota-80")
    assert notices.deliver(server.root, box.name, "quota-80", NOTICE)


@pytest.mark.parametrize("kind", ["", "Quota", "quota 80", "quota\n80", "x" * 41, "quota-80\n"])
def test_a_kind_that_is_no_word_is_refused(server: MailServer, site: Site, kind: str) -> None:
    with pytest.raises(notices.NoticeError):
        notices.deliver(server.root, site.fixed.name, kind, NOTICE)


def test_a_notice_for_nobody_is_refused(server: MailServer) -> None:
    with pytest.raises(notices.NoticeError, match="no account"):
        notices.deliver(server.root, "nobody-at-all", "quota-80", NOTICE)


def known_messages(server: MailServer, box: Mailbox) -> int:
    """Return how many messages are known to be in the mailbox."""
    known = figures.of_account(server.root, box.name)
    return known.messages if known else -1


# Without the usage daemon


def test_what_changed_while_the_daemon_was_down_is_counted(
    server: MailServer, site: Site, box: Mailbox
) -> None:
    free, untouched = small(site, "free"), small(site, "rest")
    for other in (free, untouched):
        assert becomes_known(server, other)
    server.kill("usage")
    try:
        empty(server, box)
        send(server, free.address, size=90_000)
        send(server, free.address)
        assert wait_for(lambda: len(server.messages(free.name)) == 2), server.logs()
        assert is_full(server, box.name)
        assert instance.problem_of(server.root, "usage") == "is not running"
    finally:
        server.start("usage")
    assert becomes(server, box.name, full=False), server.logs()
    assert becomes(server, free.name, full=True), server.logs()


def test_after_an_update_every_mailbox_is_counted(server: MailServer, site: Site) -> None:
    server.deliver(site.fixed.address)
    assert becomes_known(server, site.fixed)
    server.stop("policy", "usage")
    shutil.rmtree(server.host.paths.usage)
    server.start("policy")
    with pytest.raises(instance.InstanceError, match="run init again"):
        instance.run(server.root, "usage")
    assert figures.of_account(server.root, site.fixed.name) is None
    assert server.rcpt(site.fixed.address)[0] == 250
    server.stop("policy")
    instance.init(server.root, server.config)
    server.start("policy", "usage")
    assert becomes_known(server, site.fixed), server.logs()
    fill(server, small(site, "box"))


def test_a_daemon_that_hangs_keeps_no_mail_back(server: MailServer, site: Site) -> None:
    with server.hung("usage"):
        began = time.monotonic()
        server.deliver(site.fixed.address, text="while it hangs")
        assert server.got(site.fixed.name, "while it hangs"), server.logs()
        assert time.monotonic() - began < 10
    assert wait_for(lambda: known_messages(server, site.fixed) == 1), server.logs()


def test_recounting_is_the_operator_s_too(
    server: MailServer, site: Site, capsys: pytest.CaptureFixture[str]
) -> None:
    server.deliver(site.fixed.address)
    assert server.got(site.fixed.name, "hello")
    root = ["--root", str(server.root)]
    assert main([*root, "recount", site.fixed.name, "no-such-account"]) == 0
    assert capsys.readouterr().out == "1 counted.\n"
    assert main([*root, "usage", site.fixed.name]) == 0
    assert capsys.readouterr().out.endswith(" bytes of 9.5 MB in 1 messages\n")
    assert main([*root, "usage", "no-such-account"]) == 1
