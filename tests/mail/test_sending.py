"""Who may send after receiving his mail, to how many, and how much: each rule at its edge."""

from __future__ import annotations

import base64
import imaplib
import itertools
import poplib
import smtplib
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from dataclasses import replace

import pytest

from mailhost.records import MailingList, PlanLimits
from tests.mail.conftest import Site, applied, new_site
from tests.mail.posting import (
    Answer,
    command,
    finish,
    of_size,
    offer,
    people,
    post,
    reached,
    refusals,
)
from tests.servers import PASSWORD, MailServer

pytestmark = pytest.mark.servers

MEGABYTE = 1024 * 1024
_sources = itertools.count(10)


def new_source() -> str:
    """Return an address that no other test's customer has."""
    number = next(_sources)
    return f"127.0.{1 + number // 250}.{number % 250 + 1}"


@pytest.fixture
def source() -> str:
    return new_source()


@pytest.fixture
def other() -> str:
    """The address of somebody else."""
    return new_source()


def may_send(site: Site, source: str, sender: str) -> bool:
    """Say whether a message of this sender's would leave; given up before it does."""
    with site.server.smtp(source) as client:
        answers = offer(client, sender, "friend@outside.test")
        command(client, "RSET")
    return answers[0].ok


# Who


def test_nobody_sends_before_he_has_received_his_mail(site: Site, source: str) -> None:
    with site.server.smtp(source) as client:
        answer = offer(client, site.fixed.address, "friend@outside.test")[0]
        assert answer.refuses(550, "5.7.1", "Receive your mail first")
        command(client, "RSET")
        site.server.receive(site.fixed.name, source)
        assert not refusals(post(client, site.fixed.address, "friend@outside.test"))
    assert reached(site.server, site.fixed.address, 1)


def test_login_opens_the_way_for_its_own_address_alone(site: Site, source: str, other: str) -> None:
    site.server.receive(site.fixed.name, source)
    assert may_send(site, source, site.fixed.address)
    assert not may_send(site, other, site.fixed.address)


def test_login_by_imap_opens_the_way_too(site: Site, source: str) -> None:
    site.server.imap(site.fixed.address, source=source).logout()
    assert may_send(site, source, site.fixed.address)


def test_failed_login_opens_nothing(site: Site, source: str) -> None:
    for login in (site.fixed.name, site.fixed.address, "nobody"):
        with pytest.raises(poplib.error_proto):
            site.server.pop3(login, "wrong-password", source)
        with pytest.raises(imaplib.IMAP4.error):
            site.server.imap(login, "wrong-password", source)
    assert not may_send(site, source, site.fixed.address)


def test_sending_with_a_password_opens_nothing(site: Site, source: str) -> None:
    with site.server.submission(site.fixed.name, source=source) as client:
        assert post(client, site.fixed.address, "friend@outside.test")[-1].ok
    assert not may_send(site, source, site.fixed.address)


def test_deleted_account_and_new_password_close_the_way(site: Site, source: str) -> None:
    gone, changed = site.mailbox("gone"), site.mailbox("pass")
    site.put(gone, changed)
    for box in (gone, changed):
        site.server.receive(box.name, source)
        assert may_send(site, source, box.address)
    assert applied(site.delete(gone))
    assert applied(site.put(site.mailbox("pass", "another-password-1", changed.mailbox_id)))
    assert not may_send(site, source, gone.address)
    assert not may_send(site, source, changed.address)
    site.server.receive(changed.name, source, "another-password-1")
    assert may_send(site, source, changed.address)


def test_change_of_something_else_closes_nothing(site: Site, source: str) -> None:
    site.server.receive(site.fixed.name, source)
    site.put(replace(site.fixed, quota_bytes=123_456))
    assert may_send(site, source, site.fixed.address)


def test_plan_or_account_can_switch_it_off(server: MailServer, source: str) -> None:
    plan = PlanLimits("no-window", pop_before_smtp=False)
    site = new_site(server, plan, plan=plan.code)
    off = new_site(server, pop_before_smtp=False)
    for closed in (site, off):
        server.receive(closed.fixed.name, source)
        assert not may_send(closed, source, closed.fixed.address)
        with server.submission(closed.fixed.name, source=source) as client:
            assert post(client, closed.fixed.address, "friend@outside.test")[-1].ok


# As whom


def test_sender_is_the_account_or_an_address_that_leads_to_it(
    server: MailServer, source: str
) -> None:
    site, also = new_site(server, owner="sakura"), new_site(server, owner="sakura")
    foreign = new_site(server, owner="wakaba")
    box = site.mailbox("my")
    chain = [site.address(f"s{n}", site.at(f"s{n - 1}")) for n in range(2, 12)]
    site.put(
        box,
        site.address("info", box.address),
        site.address("s1", box.address),
        site.address("both", site.fixed.address, box.address),
        site.address("away", "someone@outside.test"),
        site.address("", box.address),
        *chain,
    )
    also.put(also.address("sales", box.address), also.address("deep", site.at("info")))
    foreign.put(foreign.address("theirs", box.address))
    server.receive(box.name, source)
    own = [box.address, box.address.upper(), site.at("info"), site.at("INFO"), site.at("both")]
    own += [site.at("s10"), also.at("sales"), also.at("deep")]
    for sender in own:
        assert may_send(site, source, sender), sender
    others = [site.fixed.address, site.at("away"), site.at("caught-by-the-rest"), site.at("s11")]
    others += [also.fixed.address, foreign.at("theirs"), foreign.fixed.address]
    others += ["friend@outside.test", box.name, f'"{box.name}"@outside.test', f"x{box.address}"]
    for sender in others:
        assert not may_send(site, source, sender), sender


def test_refused_sender_is_told_why(site: Site, source: str) -> None:
    site.server.receive(site.fixed.name, source)
    with site.server.smtp(source) as client:
        answer = offer(client, "boss@elsewhere.test", "friend@outside.test")[0]
    assert answer.refuses(550, "5.7.1")


def test_null_sender_never_leaves_after_a_mere_login(site: Site, source: str) -> None:
    site.server.receive(site.fixed.name, source)
    assert not may_send(site, source, "")


def test_mail_from_outside_is_not_judged_by_the_sender_rule(site: Site, source: str) -> None:
    """An office's own mail server stands behind the address from which a customer logged in."""
    site.server.receive(site.fixed.name, source)
    with site.server.smtp(source) as client:
        for sender in ("friend@outside.test", site.at("forged"), ""):
            assert post(client, sender, site.fixed.address)[-1].ok


def test_mail_from_outside_is_not_counted(server: MailServer, source: str) -> None:
    site = new_site(server, recipients_per_day=2, recipients_per_message=1)
    server.receive(site.fixed.name, source)
    with server.smtp(source) as client:
        for _ in range(3):
            to = [site.fixed.address, site.at("postmaster")]
            assert all(answer.ok for answer in post(client, "friend@outside.test", *to))
        for _ in range(2):
            assert post(client, site.fixed.address, "friend@outside.test")[-1].ok


def test_two_customers_behind_one_address_are_counted_each_for_himself(
    server: MailServer, source: str
) -> None:
    one = new_site(server, recipients_per_day=2)
    two = new_site(server, recipients_per_day=3)
    for site in (one, two):
        server.receive(site.fixed.name, source)
    with server.smtp(source) as client:
        for site, limit in ((one, 2), (two, 3)):
            answers = offer(client, site.fixed.address, *people(4))
            assert [a.ok for a in answers] == [n < limit for n in range(4)]
            assert answers[-1].refuses(550, "5.7.1", str(limit))
            assert finish(client).ok


def test_of_two_accounts_an_address_leads_to_the_latest_login_is_charged(
    site: Site, source: str
) -> None:
    early, late = (site.mailbox(word, recipients_per_day=2) for word in ("early", "late"))
    site.put(early, late, site.address("team", early.address, late.address))
    site.server.receive(early.name, source)
    site.server.receive(late.name, source)
    with site.server.smtp(source) as client:
        assert [a.ok for a in offer(client, site.at("team"), *people(3))] == [True, True, False]
        assert finish(client).ok
        assert not refusals(post(client, early.address, "friend@outside.test"))
        # One of early's two is left.
        site.server.receive(early.name, source)
        assert [a.ok for a in offer(client, site.at("team"), *people(2))] == [True, False]


# To how many


def test_hundred_recipients_get_a_message_and_the_next_is_refused(site: Site, source: str) -> None:
    site.server.receive(site.fixed.name, source)
    with site.server.smtp(source) as client:
        answers = offer(client, site.fixed.address, *people(101))
        assert all(answer.ok for answer in answers[:100])
        assert answers[100].refuses(550, "5.5.3", "100")
        assert finish(client).ok
        assert [a.code for a in post(client, site.fixed.address, *people(100))] == [250] * 101
    assert reached(site.server, site.fixed.address, 200)


def test_thousand_recipients_a_day_and_not_one_more(site: Site, source: str) -> None:
    site.server.receive(site.fixed.name, source)
    with site.server.smtp(source) as client:
        for number in range(9):
            assert not refusals(post(client, site.fixed.address, *people(100, f"m{number}")))
        # 999 of them.
        assert not refusals(post(client, site.fixed.address, *people(99, "nearly")))
        answers = offer(client, site.fixed.address, "last@outside.test", "more@outside.test")
        assert answers[0].ok
        assert answers[1].refuses(550, "5.7.1", "1000")
        assert finish(client).ok
        assert offer(client, site.fixed.address, site.at("postmaster"))[0].code == 550
    # With a password it is the same account.
    with site.server.submission(site.fixed.name, source=source) as client:
        answer = offer(client, site.fixed.address, "more@outside.test")[0]
        assert answer.refuses(550, "5.7.1", "1000")
    assert reached(site.server, site.fixed.address, 1000)


def test_recipient_given_twice_counts_once(server: MailServer, source: str) -> None:
    site = new_site(server, recipients_per_message=3)
    server.receive(site.fixed.name, source)
    same = ["a@outside.test", "a@OUTSIDE.test", "a@outside.test", site.fixed.address]
    same += [site.fixed.address.upper(), site.fixed.address]
    with server.smtp(source) as client:
        answers = offer(client, site.fixed.address, *same, "b@outside.test", "c@outside.test")
    assert [answer.ok for answer in answers] == [True] * 7 + [False]


def test_recipients_here_count_and_a_forwarding_address_is_one(
    server: MailServer, source: str
) -> None:
    site = new_site(server, recipients_per_day=3)
    box = site.mailbox("box")
    site.put(box, site.address("all", box.address, site.fixed.address, *people(5)))
    server.receive(site.fixed.name, source)
    with server.smtp(source) as client:
        to = [box.address, site.at("all"), "friend@outside.test", site.at("abuse")]
        assert [a.ok for a in offer(client, site.fixed.address, *to)] == [True] * 3 + [False]
        assert finish(client).ok
    assert server.got(site.fixed.name, "Hello.")


def test_unknown_recipient_is_not_counted(server: MailServer, source: str) -> None:
    site = new_site(server, recipients_per_day=2)
    server.receive(site.fixed.name, source)
    with server.smtp(source) as client:
        answers = offer(client, site.fixed.address, *(site.at(f"no{n}") for n in range(5)))
        assert all(answer.text.startswith("5.1.1") for answer in answers)
        command(client, "RSET")
        assert not refusals(post(client, site.fixed.address, *people(2)))


def test_message_given_up_gives_its_recipients_back(server: MailServer, source: str) -> None:
    site = new_site(server, recipients_per_day=5)
    server.receive(site.fixed.name, source)
    with server.smtp(source) as client:
        for _ in range(3):
            assert not refusals(offer(client, site.fixed.address, *people(5)))
            assert command(client, "RSET").ok
        assert not refusals(post(client, site.fixed.address, *people(5)))
        assert offer(client, site.fixed.address, "more@outside.test")[0].code == 550


def test_broken_connection_gives_its_recipients_back(server: MailServer, source: str) -> None:
    site = new_site(server, recipients_per_day=5)
    server.receive(site.fixed.name, source)
    client = server.smtp(source)
    assert not refusals(offer(client, site.fixed.address, *people(5)))
    client.close()
    # The same process of Postfix has to be met again; which one is Postfix's choice.
    with ExitStack() as stack:
        for _ in range(20):
            stranger = stack.enter_context(server.smtp())
            assert offer(stranger, "friend@outside.test", site.fixed.address)[0].ok
    with server.smtp(source) as client:
        assert not refusals(post(client, site.fixed.address, *people(5)))


def test_message_refused_at_its_end_gives_its_recipients_back(
    server: MailServer, source: str
) -> None:
    site = new_site(server, recipients_per_day=5, message_bytes=1000)
    server.receive(site.fixed.name, source)
    with server.smtp(source) as client:
        assert not refusals(offer(client, site.fixed.address, *people(5)))
        assert finish(client, of_size(1001)).code == 521
    with server.smtp(source) as client:
        assert not refusals(post(client, site.fixed.address, *people(5)))


def test_refusal_at_the_end_leaves_no_message_behind_to_crash_postfix(
    site: Site, source: str
) -> None:
    """Postfix 3.7 goes on with a message refused at its end, and crashes at its next DATA."""
    site.server.receive(site.fixed.name, source)
    with site.server.smtp(source) as client:
        offer(client, site.fixed.address, "friend@outside.test")
        assert finish(client, of_size(3 * MEGABYTE + 1)).refuses(521, "5.3.4", "3")
        with pytest.raises(smtplib.SMTPServerDisconnected):
            command(client, "RCPT TO:<friend@outside.test>")
    assert "killed by signal" not in site.server.logs()


def test_each_message_of_a_session_has_its_own_count(server: MailServer, source: str) -> None:
    site = new_site(server, recipients_per_message=3)
    server.receive(site.fixed.name, source)
    with server.smtp(source) as client:
        for number in range(4):
            assert not refusals(post(client, site.fixed.address, *people(3, f"m{number}")))


def test_accounts_of_a_domain_share_what_the_plan_gives_the_domain(
    server: MailServer, source: str
) -> None:
    plan = PlanLimits("shared", domain_recipients_per_day=4)
    site = new_site(server, plan, plan=plan.code)
    other = site.mailbox("other")
    site.put(other)
    for box in (site.fixed, other):
        server.receive(box.name, source)
    with server.smtp(source) as client:
        assert not refusals(post(client, site.fixed.address, *people(3)))
        answers = offer(client, other.address, *people(2))
        assert answers[0].ok
        assert answers[1].refuses(550, "5.7.1", "4")


def test_limits_come_from_the_plan_and_an_account_may_have_its_own(
    server: MailServer, source: str
) -> None:
    plan = PlanLimits("tiny", recipients_per_message=2, recipients_per_day=3)
    site = new_site(server, plan, plan=plan.code)
    raised = site.mailbox("raised", recipients_per_message=150, recipients_per_day=151)
    site.put(raised)
    for box in (site.fixed, raised):
        server.receive(box.name, source)
    with server.smtp(source) as client:
        answers = offer(client, site.fixed.address, *people(3))
        assert answers[-1].refuses(550, "5.5.3", "2")
        assert finish(client).ok
        assert [a.ok for a in offer(client, site.fixed.address, *people(2))] == [True, False]
        command(client, "RSET")
        assert not refusals(post(client, raised.address, *people(150)))
        assert [a.ok for a in offer(client, raised.address, *people(2))] == [True, False]


def test_limit_is_exact_under_fifty_sessions_at_once(server: MailServer) -> None:
    site = new_site(server, recipients_per_day=300)
    sources = [new_source() for _ in range(50)]

    def send(number: int) -> list[Answer]:
        with server.submission(site.fixed.name, source=sources[number]) as client:
            answers = offer(client, site.fixed.address, *people(10, f"s{number}-"))
            if any(answer.ok for answer in answers):
                assert finish(client).ok
            return answers

    with ThreadPoolExecutor(50) as pool:
        answers = [answer for some in pool.map(send, range(50)) for answer in some]
    assert sum(answer.ok for answer in answers) == 300
    assert {answer.code for answer in answers} == {250, 550}
    assert reached(server, site.fixed.address, 300)


# How much


def test_three_megabytes_leave_and_a_byte_more_does_not(site: Site, source: str) -> None:
    site.server.receive(site.fixed.name, source)
    with site.server.smtp(source) as client:
        offer(client, site.fixed.address, "friend@outside.test")
        assert finish(client, of_size(3 * MEGABYTE)).ok
        offer(client, site.fixed.address, "friend@outside.test")
        answer = finish(client, of_size(3 * MEGABYTE + 1))
        assert answer.refuses(521, "5.3.4", "3")
    assert reached(site.server, site.fixed.address, 1)


def test_size_said_before_is_judged_at_once_and_an_understated_one_at_the_end(
    site: Site, source: str
) -> None:
    site.server.receive(site.fixed.name, source)
    with site.server.smtp(source) as client:
        size = 3 * MEGABYTE
        for to in ("friend@outside.test", site.at("postmaster")):
            answer = offer(client, site.fixed.address, to, options=f" SIZE={size + 1}")[0]
            assert answer.refuses(552, "5.3.4", "3")
            command(client, "RSET")
        assert offer(client, site.fixed.address, *people(1), options=f" SIZE={size}")[0].ok
        assert finish(client, of_size(size)).ok
        assert offer(client, site.fixed.address, *people(1), options=" SIZE=1000")[0].ok
        assert finish(client, of_size(size + 1)).refuses(521, "5.3.4", "3")


def test_attachment_counts_as_it_is_sent(site: Site, source: str) -> None:
    """Base64 makes four bytes, and a line end now and then, of three."""
    head = b"Subject: picture\r\nContent-Transfer-Encoding: base64\r\n\r\n"
    site.server.receive(site.fixed.name, source)
    with site.server.smtp(source) as client:
        for megabytes, fits in ((2.1, True), (2.4, False)):
            picture = base64.encodebytes(b"\1" * int(megabytes * MEGABYTE))
            offer(client, site.fixed.address, "friend@outside.test")
            assert finish(client, head + picture.replace(b"\n", b"\r\n")).ok is fits


def test_larger_messages_are_an_option_of_an_account(server: MailServer, source: str) -> None:
    site = new_site(server, message_bytes=5 * MEGABYTE)
    server.receive(site.fixed.name, source)
    with server.smtp(source) as client:
        offer(client, site.fixed.address, "friend@outside.test")
        assert finish(client, of_size(5 * MEGABYTE)).ok
        offer(client, site.fixed.address, "friend@outside.test")
        assert finish(client, of_size(5 * MEGABYTE + 1)).refuses(521, "5.3.4", "5")


def test_list_takes_75_kilobytes_and_a_byte_more_is_refused_for_the_list_alone(
    site: Site, source: str
) -> None:
    club = MailingList("club", site.domain, "Club", site.fixed.address, "anyone")
    site.put(club, site.address("all", site.at("step")), site.address("step", club.address))
    site.server.receive(site.fixed.name, source)
    size = 75 * 1024
    for address in (club.address, site.at("all")):
        for way in (site.server.smtp(source), site.server.submission(site.fixed.name)):
            with way as client:
                # Said before: the others get it.
                options = f" SIZE={size + 1}"
                to = ["friend@outside.test", address, site.at("postmaster")]
                answers = offer(client, site.fixed.address, *to, options=options)
                assert [answer.ok for answer in answers] == [True, False, True]
                assert answers[1].refuses(552, "5.2.3", club.address, "75 KB")
                assert finish(client, of_size(size + 1)).ok
                assert offer(client, site.fixed.address, address, options=f" SIZE={size}")[0].ok
                assert finish(client, of_size(size)).ok
                # Found at the end: nobody gets it.
                assert all(answer.ok for answer in offer(client, site.fixed.address, *to))
                answer = finish(client, of_size(size + 1))
                assert answer.refuses(521, "5.2.3", club.address, "75 KB")


def test_mail_from_outside_may_be_as_large_as_the_server_takes(site: Site, source: str) -> None:
    site.server.receive(site.fixed.name, source)
    with site.server.smtp(source) as client:
        offer(client, "friend@outside.test", site.fixed.address)
        assert finish(client, of_size(9 * MEGABYTE)).ok


# And that it stays so


def test_restart_of_the_daemon_forgets_no_count_and_no_login(
    server: MailServer, source: str
) -> None:
    site = new_site(server, recipients_per_day=4)
    server.receive(site.fixed.name, source)
    with server.smtp(source) as client:
        assert not refusals(post(client, site.fixed.address, *people(3)))
        server.stop("policy")
        server.start("policy")
        answers = offer(client, site.fixed.address, *people(2, "q"))
        assert [answer.ok for answer in answers] == [True, False]
        assert answers[1].refuses(550, "5.7.1", "4")


def test_login_that_fails_in_between_changes_nothing(site: Site, source: str) -> None:
    site.server.receive(site.fixed.name, source)
    with suppress(poplib.error_proto):
        site.server.pop3(site.fixed.name, PASSWORD + "x", source)
    assert may_send(site, source, site.fixed.address)
    with suppress(smtplib.SMTPAuthenticationError):
        site.server.submission(site.fixed.name, PASSWORD + "x", source)
    assert may_send(site, source, site.fixed.address)
