"""What customers see of sending, drawn by the real views from what a daemon really wrote."""

from __future__ import annotations

import re
from html import unescape

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import translation
from django.utils.formats import date_format
from django.utils.timezone import localdate, localtime
from pytest_django import Settings

from accounts.models import Account, Domain, Plan
from mailhost.policy.texts import REFUSALS
from mailhost.policy.throttle import ACCOUNT, PLACE
from propagation.models import MailServer
from quota.collect import collect
from quota.models import Guessing, Refusal, Report, SendingHour, SendingWindow
from quota.words import reason_of
from tests import factories
from tests.conftest import Cast, browser, logged_in
from tests.quota.reports import ELSEWHERE, HERE, OFFICE, Daemon

DOMAIN = "/domains/example.com/sending/"


def words(client: Client, path: str, **extra: str) -> str:
    """Return what a page says, without its marks."""
    response = client.get(path, headers=extra)
    assert response.status_code == 200
    return flat(response.text)


def flat(text: str) -> str:
    return re.sub(r"\s+", " ", unescape(re.sub(r"<[^>]+>", " ", text)))


def of(account: Account) -> str:
    return f"{DOMAIN}{account.pk}/"


def test_nothing_told_yet_is_said(alice: Account, sakura: Client) -> None:
    for path in (DOMAIN, of(alice)):
        text = words(sakura, path)
        assert "has not told any figures yet" in text
        assert "Nothing was sent today." in text
        assert "No mail was refused lately." in text


def test_account_s_day(daemon: Daemon, server: MailServer, alice: Account, sakura: Client) -> None:
    daemon.send("alice", 90, HERE, "login")
    daemon.send("alice", 30, OFFICE)
    collect(server)
    text = words(sakura, of(alice))
    assert "120 of 1,000" in text
    assert "Room left 880 left today" in text
    assert f"{localtime().hour}:00 – 120" in text
    assert "127.0.0.1 your present address after receiving (POP before SMTP) 90" in text
    assert "with the password (SMTP AUTH)" in text
    assert "The count starts anew at 0:00 (JST)." in text
    assert "100 recipients a message" in text
    assert "3 MB a message" in text
    assert "75 KB a message to a mailing list" in text


def test_limits_of_its_own_are_the_account_s(alice: Account, sakura: Client) -> None:
    alice.limit(recipients_per_day=2000, message_bytes=5 * 1024 * 1024)
    text = words(sakura, of(alice))
    assert "0 of 2,000" in text
    assert "5 MB a message" in text


def test_used_up_is_said_in_words(
    daemon: Daemon, server: MailServer, alice: Account, sakura: Client
) -> None:
    alice.limit(recipients_per_day=10)
    daemon.send("alice", 8)
    collect(server)
    assert "Nearly used up" in words(sakura, of(alice))
    daemon.send("alice", 2)
    collect(server)
    for path in (DOMAIN, of(alice)):
        assert "10 of 10" in words(sakura, path)
        assert "Used up" in words(sakura, path)


def test_domain_s_day_counts_all_accounts(
    daemon: Daemon, server: MailServer, alice: Account, bob: Account, sakura: Client
) -> None:
    daemon.send("alice", 5)
    daemon.send("bob", 7)
    collect(server)
    text = words(sakura, DOMAIN)
    assert "12 recipients" in text
    assert text.index("bob") < text.index("alice")  # who sent most comes first
    Plan.objects.update(domain_recipients_per_day=3000)
    assert "12 of 3,000" in words(sakura, DOMAIN)
    assert "12 of 3,000" in words(sakura, of(alice))


def test_open_way_is_told_and_the_visitor_recognised(
    daemon: Daemon, server: MailServer, alice: Account, sakura: Client
) -> None:
    daemon.log_in("alice", OFFICE)
    collect(server)
    window = SendingWindow.objects.get(account=alice)
    until, login = (f"{localtime(time):%H:%M}" for time in (window.until, window.login_at))
    sentence = (
        f"Sending from 203.0.113.7 is open until {until}, because of the POP login of alice at "
        f"{login}."
    )
    text = words(sakura, of(alice))
    assert sentence in text
    assert "From your present address 127.0.0.1 sending is closed: receive mail first." in text
    assert "Then it is open for 30 minutes." in text
    daemon.log_in("alice", HERE)
    collect(server)
    text = words(sakura, of(alice))
    assert "This is your present address." in text
    assert "closed" not in text
    assert "open until" in words(sakura, DOMAIN)


def test_visitor_behind_a_proxy_is_recognised_only_if_the_proxy_is_configured(
    daemon: Daemon, server: MailServer, alice: Account, sakura: Client, settings: Settings
) -> None:
    daemon.log_in("alice", OFFICE)
    collect(server)
    forged = {"x-forwarded-for": OFFICE}
    assert "From your present address 127.0.0.1" in words(sakura, of(alice), **forged)
    settings.BEHIND_PROXY = True
    assert "This is your present address." in words(sakura, of(alice), **forged)
    forged = {"x-forwarded-for": f"{OFFICE}, {ELSEWHERE}"}
    assert f"From your present address {ELSEWHERE}" in words(sakura, of(alice), **forged)
    for nonsense in ("", "unknown", "<script>"):
        text = words(sakura, of(alice), **{"x-forwarded-for": nonsense})
        assert "your present address" not in text


def test_where_no_login_opens_anything_the_password_is_asked_for(
    alice: Account, server: MailServer, sakura: Client
) -> None:
    alice.limit(pop_before_smtp=False)
    assert "sends with its password (SMTP AUTH) only" in words(sakura, of(alice))
    alice.limit(pop_before_smtp=True)
    report = Report.objects.create(server=server, no_window_networks="127.0.0.0/8,2001:db8::/32")
    assert "127.0.0.1 is shared by many" in words(sakura, of(alice))
    report.no_window_networks, report.pop_before_smtp = "", False
    report.save()
    assert "sends with its password (SMTP AUTH) only" in words(sakura, of(alice))


def test_shared_network_is_recognised_also_where_ipv4_is_written_as_ipv6() -> None:
    report = Report(no_window_networks="192.0.2.0/24,2001:db8::/32")
    assert not report.may_open("::ffff:192.0.2.1")
    assert not report.may_open("192.0.2.1")
    assert report.may_open("192.0.3.1")


def test_sum_of_a_domain_reads_no_other_s_hours(com: Domain) -> None:
    if connection.vendor != "sqlite":
        pytest.skip("PostgreSQL plans by what the tables hold")
    plan = SendingHour.objects.of_domain(com).on(localdate()).order_by().explain()
    assert "account_id=? AND day=?" in plan


@pytest.mark.parametrize("language", ["en", "ja"])
def test_every_reason_is_told_in_plain_words(
    daemon: Daemon, server: MailServer, alice: Account, cast: Cast, language: str
) -> None:
    for reason in REFUSALS:
        daemon.refuse("alice", reason, 3 * 1024 * 1024, 4 * 1024 * 1024)
    collect(server)
    client, page = logged_in(cast.sakura.user, language), browser(language).get("/help/sending")
    text = words(client, of(alice))
    with translation.override(language):
        for refusal in Refusal.objects.all():
            assert reason_of(refusal) in text
            assert f"“{refusal.reason}”" not in reason_of(refusal)
            assert f'id="{refusal.reason}"' in page.text
    assert "x@y.example" in text
    assert "alice" in words(client, DOMAIN)


def test_repeated_refusal_is_told_once_with_its_sender(
    daemon: Daemon, server: MailServer, alice: Account, sakura: Client
) -> None:
    for n in range(5):
        daemon.refuse("alice", "sender", to=f"{n}@x.example", sender="old@example.net")
    daemon.refuse("alice", "null-sender", 1, 2, sender="")
    collect(server)
    last = localtime(Refusal.objects.get(times=5).at)
    for page in (of(alice), DOMAIN):
        text = words(sakura, page)
        assert f"5 times that day, last at {date_format(last, 'TIME_FORMAT')}" in text
        assert "from old@example.net to 4@x.example" in text
        assert "0@x.example" not in text
        assert "from <> to x@y.example" in text
        assert text.count("times that day") == 1


def test_reason_of_a_newer_server_is_shown_all_the_same(alice: Account) -> None:
    assert "new-reason" in reason_of(Refusal(reason="new-reason"))


def test_guessing_is_shown_and_lifted(
    daemon: Daemon, server: MailServer, alice: Account, sakura: Client
) -> None:
    for n in range(ACCOUNT.refuse):
        daemon.guess("alice", f"10.0.{n}.1")
    collect(server)
    text = words(sakura, of(alice))
    assert f"Within an hour, {ACCOUNT.refuse} wrong passwords were tried" in text
    assert "Logins from such addresses are refused until" in text
    assert "Wrong passwords" in words(sakura, DOMAIN)
    response = sakura.post(of(alice), {"lift": "1"}, follow=True)
    assert "Within a minute the wrong passwords for alice are forgotten." in flat(response.text)
    assert "that takes up to a minute" in flat(response.text)
    collect(server)
    daemon.throttle.take_lifts(daemon.now)
    collect(server)
    assert "Wrong passwords" not in words(sakura, of(alice))
    assert daemon.allow("alice", ELSEWHERE) == 0


def test_place_that_is_refused_is_shown(
    daemon: Daemon, server: MailServer, alice: Account, sakura: Client
) -> None:
    for _ in range(PLACE.slow):
        daemon.guess("alice", ELSEWHERE)
    collect(server)
    assert "not held up so far" not in words(sakura, of(alice))
    for _ in range(PLACE.refuse - PLACE.slow):
        daemon.guess("alice", ELSEWHERE)
    collect(server)
    text = words(sakura, of(alice))
    assert ELSEWHERE in text
    assert "refused until" in text
    assert "Logins from such addresses are slowed down until" in text


def test_what_is_no_lift_lifts_nothing(
    daemon: Daemon, server: MailServer, alice: Account, sakura: Client, wakaba: Client
) -> None:
    daemon.guess("alice", ELSEWHERE)
    collect(server)
    assert "Logins are not held up so far" in words(sakura, of(alice))
    sakura.post(of(alice), {})
    assert wakaba.post(of(alice), {"lift": "1"}).status_code == 404
    assert Guessing.objects.get().lift_asked_at is None


def test_lists_cost_the_same_queries_at_any_length(
    com: Domain, server: MailServer, sakura: Client
) -> None:
    def queries(path: str) -> int:
        with CaptureQueriesContext(
            connection,
        ) as captured:
            assert sakura.get(path).status_code == 200
        return len(captured)

    factories.make_many_accounts(com, 2)
    few = queries(DOMAIN)
    Account.objects.filter(name__startswith="user").delete()
    factories.make_many_accounts(com, 400)
    assert queries(DOMAIN) == few
    assert few <= 20


def test_long_list_has_pages(com: Domain, sakura: Client) -> None:
    factories.make_many_accounts(com, 60)
    assert "1 to 50 of 61" in words(sakura, DOMAIN)
    assert "51 to 61 of 61" in words(sakura, f"{DOMAIN}?page=2")
    assert "51 to 61 of 61" in words(sakura, f"{DOMAIN}?page=99")


def test_check_says_what_would_happen(alice: Account, sakura: Client) -> None:
    path = f"{of(alice)}check/"
    assert "up to 3 MB" in words(sakura, path)

    def told(**typed: str) -> str:
        response = sakura.post(path, typed)
        assert response.status_code == 200
        return flat(response.text)

    assert "Nothing stands in the way" in told(addresses="a@example.org, A@EXAMPLE.ORG")
    assert "each counted once: 1." in told(addresses="tanaka@example.com Tanaka@Example.com")
    assert "Split it into 2 messages" in told(count="150")
    assert "Size as sent: about 3.4 MB" in told(size="2.5", unit="MB")
    assert "Nothing stands in the way" in told(size="3", unit="MB", whole="on")
    assert "mailing list would refuse" in told(size="60", unit="KB", to_list="on")
    pasted = "\n".join(f"user{n}@example.org" for n in range(101))
    assert "From recipient number 101 on" in told(addresses=pasted)


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ({}, "Enter recipients"),
        ({"addresses": "nobody"}, "no e-mail address"),
        ({"count": "many"}, "Enter a whole number."),
        ({"count": "0"}, "greater than or equal to 1"),
        ({"size": "big"}, "Enter a number."),
        ({"size": "NaN"}, "Enter a number."),
        ({"size": "1", "unit": "TB"}, "Check before sending"),
    ],
)
def test_what_cannot_be_judged_is_said(
    alice: Account, sakura: Client, typed: dict[str, str], said: str
) -> None:
    response = sakura.post(f"{of(alice)}check/", {"whole": "", **typed})
    assert response.status_code == 422
    assert said in flat(response.text)


def test_check_counts_today_s_mail(
    daemon: Daemon, server: MailServer, alice: Account, sakura: Client
) -> None:
    alice.limit(recipients_per_day=20)
    daemon.send("alice", 15)
    collect(server)
    response = sakura.post(f"{of(alice)}check/", {"count": "6"})
    assert "Today it can go to 5 more" in flat(response.text)


@pytest.mark.parametrize("language", ["en", "ja"])
def test_help_is_there_for_everybody(language: str, db: None) -> None:
    response = browser(language).get("/help/sending")
    assert response.status_code == 200
    assert "Thunderbird" in response.text
    assert 'lang="ja"' in response.text if language == "ja" else "1,000" in response.text
    text = response.text
    contents = re.findall(r'href="#([a-z-]+)"', text)
    assert {"no-login", "user-unknown", "auth-required", "later"} <= set(contents)
    for place in contents:
        assert text.count(f'id="{place}"') == 1
    said = [*re.findall(r'<h2 id="([a-z-]+)"', text), *re.findall(r'<h3 id="([a-z-]+)"', text)]
    assert set(said) - {"contents"} == set(contents) - {"main"}


def test_pages_lead_to_sending(alice: Account, sakura: Client) -> None:
    assert f'href="{of(alice)}"' in sakura.get("/domains/example.com/users/").text
    for path in ("/domains/example.com/", "/domains/example.com/users/"):
        assert f'href="{DOMAIN}"' in sakura.get(path).text


def test_operator_lifts_too(
    daemon: Daemon, server: MailServer, alice: Account, operator: Client
) -> None:
    daemon.guess("alice", ELSEWHERE)
    collect(server)
    path = "/admin/quota/guessing/"
    assert "alice@example.com" in operator.get(path).text
    chosen = {"action": "lift", "_selected_action": str(alice.pk)}
    response = operator.post(path, chosen, follow=True)
    assert "Within a minute the wrong passwords for alice are forgotten." in response.text
    assert Guessing.objects.to_lift(server) == ["alice"]
