"""Sending with a password, on the submission ports: over TLS, by the same rules."""

from __future__ import annotations

import itertools
import smtplib
import ssl
import warnings

import pytest

from tests.mail.conftest import Site, applied, new_site
from tests.mail.posting import command, finish, of_size, offer, people, post, reached, refusals
from tests.servers import MailServer

pytestmark = pytest.mark.servers

_sources = (f"127.0.9.{number}" for number in itertools.count(1))


@pytest.fixture
def source() -> str:
    """An address from which nobody has logged in."""
    return next(_sources)


@pytest.mark.parametrize("tls", ["starttls", "wrapped"])
def test_password_lets_a_message_out_and_in(site: Site, source: str, tls: str) -> None:
    for login in (site.fixed.name, site.fixed.address, site.at("postmaster")):
        with site.server.submission(login, source=source, tls=tls) as client:
            to = ["friend@outside.test", site.at("abuse")]
            assert not refusals(post(client, site.fixed.address, *to))
    assert reached(site.server, site.fixed.address, 3)
    assert site.server.got(site.fixed.name, "Hello.")


@pytest.mark.parametrize("tls", ["starttls", "wrapped"])
def test_wrong_password_lets_nothing_out(site: Site, source: str, tls: str) -> None:
    for login, password in ((site.fixed.name, "wrong-password"), ("nobody", "wrong-password")):
        with pytest.raises(smtplib.SMTPAuthenticationError):
            site.server.submission(login, password, source, tls=tls)


@pytest.mark.parametrize("tls", ["starttls", "wrapped"])
def test_without_a_password_the_answer_is_530(site: Site, source: str, tls: str) -> None:
    with site.server.submission(source=source, tls=tls) as client:
        for sender in (site.fixed.address, "", "friend@outside.test"):
            answer = command(client, f"MAIL FROM:<{sender}>")
            assert (answer.code, answer.text.split()[0]) == (530, "5.7.0")
            assert not command(client, f"RCPT TO:<{site.fixed.address}>").ok


def test_login_by_pop_opens_no_submission_port(site: Site, source: str) -> None:
    site.server.receive(site.fixed.name, source)
    with site.server.submission(source=source) as client:
        assert command(client, f"MAIL FROM:<{site.fixed.address}>").code == 530


def test_password_is_asked_for_over_tls_alone_and_never_by_other_servers(
    site: Site, source: str
) -> None:
    with site.server.submission(source=source, tls="") as client:
        assert not client.has_extn("auth")
        assert client.has_extn("starttls")
        assert command(client, "AUTH PLAIN AAAA").code in (503, 530, 538)
        assert command(client, f"MAIL FROM:<{site.fixed.address}>").code == 530
    with site.server.smtp(source) as client:
        client.starttls(context=ssl._create_unverified_context())  # noqa: S323
        client.ehlo()
        assert not client.has_extn("auth")
        assert command(client, "AUTH PLAIN AAAA").code == 503


def test_old_tls_is_refused(site: Site) -> None:
    context = ssl._create_unverified_context(ssl.PROTOCOL_TLS_CLIENT)  # noqa: S323
    context.set_ciphers("ALL:@SECLEVEL=0")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        context.minimum_version = ssl.TLSVersion.TLSv1
        context.maximum_version = ssl.TLSVersion.TLSv1_1
    with site.server.submission(tls="") as client, pytest.raises((ssl.SSLError, OSError)):
        client.starttls(context=context)


def test_wrong_sender_is_refused_whoever_logged_in(server: MailServer, source: str) -> None:
    site, also = new_site(server, owner="sakura"), new_site(server, owner="sakura")
    foreign = new_site(server, owner="wakaba")
    site.put(site.address("info", site.fixed.address), site.address("", site.fixed.address))
    also.put(also.address("sales", site.at("info")))
    foreign.put(foreign.address("theirs", site.fixed.address))
    with server.submission(site.fixed.name, source=source) as client:
        for sender in (site.fixed.address, site.at("INFO"), also.at("sales")):
            assert post(client, sender, "friend@outside.test")[-1].ok, sender
        others = [also.fixed.address, foreign.at("theirs"), foreign.fixed.address]
        for sender in (*others, site.at("caught"), "friend@outside.test", site.fixed.name):
            for to in ("friend@outside.test", site.fixed.address):
                answers = offer(client, sender, to)
                assert answers[-1].refuses(550, "5.7.1"), (sender, answers)
                command(client, "RSET")


def test_receipt_with_the_null_sender_goes_to_one_recipient(site: Site, source: str) -> None:
    with site.server.submission(site.fixed.name, source=source) as client:
        assert post(client, "", "friend@outside.test")[-1].ok
        answers = offer(client, "", *people(2))
        assert answers[0].ok
        assert answers[1].refuses(550, "5.5.3")


def test_limits_are_those_of_the_account_whichever_way_it_sends(
    server: MailServer, source: str
) -> None:
    site = new_site(server, recipients_per_message=3, recipients_per_day=7, message_bytes=2000)
    server.receive(site.fixed.name, source)
    with server.submission(site.fixed.name, source=source) as client, server.smtp(source) as old:
        answers = offer(client, site.fixed.address, *people(4))
        assert [answer.ok for answer in answers] == [True] * 3 + [False]
        assert answers[3].refuses(550, "5.5.3", "3")
        assert finish(client, of_size(2000)).ok
        assert all(answer.ok for answer in post(old, site.fixed.address, *people(3)))
        answers = offer(client, site.fixed.address, *people(2))
        assert answers[0].ok
        assert answers[1].refuses(550, "5.7.1", "7")
        assert finish(client, of_size(2001)).refuses(521, "5.3.4")
        # What was refused at its end is given back.
        assert all(answer.ok for answer in post(old, site.fixed.address, "last@outside.test"))
        assert offer(old, site.fixed.address, "more@outside.test")[0].code == 550


def test_hundred_recipients_and_each_of_the_next_is_told(site: Site, source: str) -> None:
    """Other ends than 20 refusals, after which Postfix usually hangs up with a try-later."""
    with site.server.submission(site.fixed.name, source=source) as client:
        answers = offer(client, site.fixed.address, *people(140))
        assert [answer.ok for answer in answers] == [True] * 100 + [False] * 40
        assert all(answer.refuses(550, "5.5.3", "100") for answer in answers[100:])
        assert finish(client).ok
    assert reached(site.server, site.fixed.address, 100)


def test_message_given_up_gives_its_recipients_back(server: MailServer, source: str) -> None:
    site = new_site(server, recipients_per_day=5)
    with server.submission(site.fixed.name, source=source) as client:
        for _ in range(3):
            assert not refusals(offer(client, site.fixed.address, *people(5)))
            assert command(client, "RSET").ok
        assert not refusals(post(client, site.fixed.address, *people(5)))


def test_unknown_recipient_is_refused_and_not_counted(server: MailServer, source: str) -> None:
    site = new_site(server, recipients_per_day=1)
    with server.submission(site.fixed.name, source=source) as client:
        for answer in offer(client, site.fixed.address, *(site.at(f"no{n}") for n in range(5))):
            assert answer.text.startswith("5.1.1")
        command(client, "RSET")
        assert not refusals(post(client, site.fixed.address, *people(1)))


def test_new_password_counts_at_once(site: Site, source: str) -> None:
    box = site.mailbox("pass")
    site.put(box)
    site.server.submission(box.name, source=source).quit()
    assert applied(site.put(site.mailbox("pass", "another-password-1", box.mailbox_id)))
    with pytest.raises(smtplib.SMTPAuthenticationError):
        site.server.submission(box.name, source=source)
    site.server.submission(box.name, "another-password-1", source).quit()


def test_missing_headers_are_added_for_customers_alone(site: Site, source: str) -> None:
    with site.server.submission(site.fixed.name, source=source) as client:
        assert post(client, site.fixed.address, site.fixed.address)[-1].ok
    assert site.server.got(site.fixed.name, "Message-Id: <")


def test_one_recipient_counted_is_not_a_copy_for_each_notice(site: Site, source: str) -> None:
    box, to = site.mailbox("once"), "counted-once@outside.test"
    assert applied(site.put(box))
    with site.server.submission(box.name, source=source) as client:
        assert command(client, f"MAIL FROM:<{box.address}>").ok
        for word in ("NEVER", "FAILURE", "DELAY", "SUCCESS", "SUCCESS,DELAY"):
            for more in ("", " ORCPT=rfc822;a@b", " ORCPT=rfc822;b>@c ORCPT=rfc822;c@d"):
                assert command(client, f"RCPT TO:<{to}>{more} NOTIFY={word}{more}").ok
        # Written otherwise, it is refused: there is no end of such ways.
        for line in (f"RCPT TO:{to} NOTIFY=NEVER", f"RCPT TO:<{to}>NOTIFY=NEVER"):
            assert command(client, line).code == 550
        assert finish(client).ok
    # One with a notice of success, one without.
    assert reached(site.server, box.address, 2)


def test_customer_may_ask_for_a_notice_of_delivery(site: Site, source: str) -> None:
    with site.server.submission(site.fixed.name, source=source) as client:
        assert client.has_extn("dsn")
        assert command(client, f"MAIL FROM:<{site.fixed.address}>").ok
        to = site.at("postmaster")
        assert command(client, f"RCPT TO:<{to}> NOTIFY=SUCCESS").ok
        assert finish(client).ok
    assert site.server.got(site.fixed.name, "Successful Mail Delivery Report")
