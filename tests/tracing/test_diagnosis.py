"""One verdict for each thing that can be the matter with an address."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest
from django.utils import translation
from django.utils.formats import date_format
from django.utils.timezone import localtime, now
from pytest_django import DjangoAssertNumQueries

from accounts.models import Account
from forwarding import removal
from forwarding.models import Destination, Member
from forwarding.routes import MOST_LOADED
from mailhost.events.reading import EXPIRED
from mailhost.host import Status
from mailhost.policy.texts import REFUSALS, refusal
from propagation.models import Change
from quota.models import MailboxUsage
from tests import factories
from tests.conftest import Cast, logged_in
from tracing.diagnosis import LOOKED_AT, SHOWN, Code, diagnose
from tracing.models import KEPT, LATE, EventReport, MailEvent
from tracing.reasons import words_of
from tracing.tree import MOST_BELOW
from tracing.whose import asked_for
from tracing.words import button, sentence

pytestmark = pytest.mark.django_db
TANAKA = "tanaka@example.com"
COM = "/domains/example.com"


@pytest.fixture(autouse=True)
def heard(cast: Cast) -> EventReport:
    """The server has told of all messages of a week."""
    since = now() - timedelta(days=7)
    return EventReport.objects.create(server=cast.server, known_since=since, known_until=now())


@pytest.fixture
def tanaka(cast: Cast) -> Account:
    """A mailbox that the server has."""
    account = factories.make_account(cast.com, "tanaka")
    factories.settle()
    return account


def happened(
    cast: Cast, kind: str, address: str = TANAKA, ago: int = 1, **fields: Any
) -> MailEvent:
    """Let the server have told of a message, so many minutes ago."""
    usual = {"side": "to", "other": "friend@outside.test", "relay": "mailbox"}
    at = now() - timedelta(minutes=ago)
    return MailEvent.objects.create(
        domain=cast.com, address=address, kind=kind, at=at, **(usual | fields)
    )


def ours(reason: str, **figures: Any) -> dict[str, Any]:
    """Return code and text of a refusal by the policy daemon, as the log has them."""
    code, text = refusal(reason, help_url="https://panel.example/help", **figures).split(" ", 2)[1:]
    return {"code": code, "reason": text}


def verdict(cast: Cast, address: str = TANAKA) -> Code:
    return diagnose(cast.com, address).verdict.code


def said(cast: Cast, address: str = TANAKA) -> str:
    """Return the sentence in English."""
    with translation.override("en"):
        asked = asked_for(cast.com, address)
        assert asked
        return sentence(asked, diagnose(cast.com, address).verdict)


def leads(cast: Cast, address: str = TANAKA) -> str:
    """Return where the button leads, which is there for her."""
    asked = asked_for(cast.com, address)
    assert asked
    found = button(asked, diagnose(cast.com, address).verdict)
    assert found.label
    page = logged_in(cast.sakura.user).get(found.url)
    assert page.status_code == 200, found.url
    return found.url


def fill(account: Account) -> None:
    """Let the server have told that a mailbox is full."""
    MailboxUsage.objects.create(account=account, used=9, limit=9, messages=1, asked_at=now())


def at(moment: datetime, words: str = "TIME_FORMAT") -> str:
    """Return a time as the page has it in English."""
    with translation.override("en"):
        return date_format(localtime(moment), words)


def test_unknown_name(cast: Cast) -> None:
    assert verdict(cast, "nobody@example.com") == Code.UNKNOWN
    assert "does not exist" in said(cast, "nobody@example.com")
    assert leads(cast, "nobody@example.com").startswith(f"{COM}/forwarding/?local_part=nobody#")


def test_pending_says_when(cast: Cast) -> None:
    factories.make_account(cast.com, "tanaka")
    assert verdict(cast) == Code.PENDING
    factories.answer()
    due_at = now() + timedelta(hours=3)
    Change.objects.pending().update(due_at=due_at)
    own = f"{TANAKA} is not on the mail server yet: it works from about {at(due_at)}."
    assert said(cast) == own
    assert leads(cast) == f"{COM}/"
    factories.make_forward(cast.com, "info", TANAKA)
    later = due_at + timedelta(minutes=30)
    Change.objects.filter(key="address:info@example.com").update(due_at=later)
    assert said(cast, "info@example.com") == own.replace("tanaka", "info").replace(
        at(due_at), at(later)
    )


def test_pending_further_on_names_what_waits(cast: Cast) -> None:
    factories.make_forward(cast.com, "info", "sales@example.com")
    factories.settle()
    factories.make_forward(cast.com, "sales", "x@outside.test")
    assert verdict(cast, "info@example.com") == Code.PENDING
    assert "leads to sales@example.com, which" in said(cast, "info@example.com")


def test_new_forward_takes_nothing_from_a_mailbox_that_works(cast: Cast, tanaka: Account) -> None:
    happened(cast, "delivered")
    factories.make_forward(cast.com, "tanaka", TANAKA, "x@outside.test")
    factories.make_forward(cast.com, "info", TANAKA)
    assert verdict(cast) == Code.FINE
    assert diagnose(cast.com, TANAKA).tree.root.live == [TANAKA]
    factories.settle()
    assert verdict(cast, "info@example.com") == Code.QUIET


@pytest.mark.parametrize("number", [1, 8])
def test_new_forwards_before_mailboxes_cost_no_query_each(
    cast: Cast, django_assert_max_num_queries: DjangoAssertNumQueries, number: int
) -> None:
    boxes = [factories.make_account(cast.com, f"box{n}").address for n in range(number)]
    factories.make_list(cast.com, "club", *boxes)
    factories.settle()
    for address in boxes:
        factories.make_forward(cast.com, address.partition("@")[0], address, "x@outside.test")
    with django_assert_max_num_queries(20):
        tree = diagnose(cast.com, "club@example.com").tree
    assert sum(place.works for place in tree.places) == number


def test_dead_end_is_said_before_it_is_on_the_server(cast: Cast) -> None:
    factories.make_forward(cast.com, "ghost", "nobody@example.com")
    assert verdict(cast, "ghost@example.com") == Code.DEAD_END


def test_failing(cast: Cast) -> None:
    factories.make_account(cast.com, "tanaka")
    factories.settle(status=Status.UNCONFIRMED, reason="no answer")
    assert verdict(cast) == Code.FAILING
    words = said(cast)
    assert words.startswith(f"{TANAKA} could not be put on the mail server yet. ")
    assert words.endswith(" We try again.")
    assert leads(cast) == f"{COM}/"


def test_leaving(cast: Cast, tanaka: Account) -> None:
    removal.delete_account(tanaka)
    assert verdict(cast) == Code.LEAVING
    assert "about to be deleted" in said(cast)
    assert leads(cast) == f"{COM}/"


def test_dead_end_names_where_it_ends(cast: Cast) -> None:
    factories.make_forward(cast.com, "sales", "nobody@example.com")
    factories.make_forward(cast.com, "info", "sales@example.com")
    factories.settle()
    assert verdict(cast, "info@example.com") == Code.DEAD_END
    assert "nobody@example.com, which does not exist" in said(cast, "info@example.com")
    # It is `sales` that would have to lead elsewhere.
    assert leads(cast, "info@example.com") == f"{COM}/forwarding/?q=sales"


def test_circle(cast: Cast) -> None:
    factories.make_forward(cast.com, "a", "b@example.com")
    b = factories.make_forward(cast.com, "b", "x@outside.test")
    factories.make_forward(cast.com, "into", "a@example.com")
    factories.settle()
    # No edit may close one; rows of an earlier time, or by hand, may.
    Destination.objects.create(forwarding=b, address="a@example.com", position=1)
    for address in ("a@example.com", "into@example.com"):
        assert verdict(cast, address) == Code.LOOP
        assert f"Mail for {address} goes round in a circle at a@example.com" in said(cast, address)
        assert leads(cast, address) == f"{COM}/forwarding/?q=a"


def test_too_many_addresses(cast: Cast) -> None:
    many = factories.make_list(cast.com, "many", "x@outside.test")
    factories.settle()
    Member.objects.bulk_create(
        Member(mailing_list=many, address=(name := f"m{n}@outside.test"), lowered=name)
        for n in range(MOST_LOADED)
    )
    assert verdict(cast, "many@example.com") == Code.TOO_WIDE
    assert "more addresses than a message can go to" in said(cast, "many@example.com")
    assert leads(cast, "many@example.com") == f"{COM}/forwarding/lists/"


def test_full_mailbox(cast: Cast, tanaka: Account) -> None:
    fill(tanaka)
    assert verdict(cast) == Code.FULL
    assert f"{TANAKA} is full" in said(cast)
    assert leads(cast) == f"{COM}/mailboxes/"
    factories.make_forward(cast.com, "info", TANAKA, "x@outside.test")
    factories.settle()
    assert verdict(cast, "info@example.com") == Code.PARTLY_FULL
    assert TANAKA in said(cast, "info@example.com")
    assert leads(cast, "info@example.com") == f"{COM}/mailboxes/"


def test_partly_dead(cast: Cast, tanaka: Account) -> None:
    factories.make_forward(cast.com, "info", TANAKA, "nobody@example.com")
    factories.settle()
    assert verdict(cast, "info@example.com") == Code.PARTLY_DEAD
    assert "nobody@example.com" in said(cast, "info@example.com")
    assert leads(cast, "info@example.com") == f"{COM}/forwarding/?q=info"
    factories.make_list(cast.com, "club", TANAKA, "nobody@example.com")
    factories.settle()
    assert leads(cast, "club@example.com") == f"{COM}/forwarding/lists/"


def test_what_is_not_drawn_is_judged_all_the_same(cast: Cast) -> None:
    """Each place past those that the map draws; and that only those it draws are full is no end."""
    factories.make_many_accounts(cast.com, 2 * MOST_BELOW)
    boxes = sorted(cast.com.accounts.filter(name__startswith="user"), key=str)
    drawn, beyond = boxes[:MOST_BELOW], boxes[MOST_BELOW:]
    factories.make_list(cast.com, "club", *(box.address for box in boxes))
    factories.settle()
    for box in drawn:
        fill(box)
    assert verdict(cast, "club@example.com") == Code.PARTLY_FULL
    MailboxUsage.objects.all().delete()
    fill(beyond[-1])
    assert verdict(cast, "club@example.com") == Code.PARTLY_FULL
    assert beyond[-1].address in said(cast, "club@example.com")
    beyond[-2].delete()
    assert verdict(cast, "club@example.com") == Code.PARTLY_DEAD
    factories.make_forward(cast.com, beyond[-2].name, "x@outside.test")
    assert verdict(cast, "club@example.com") == Code.PENDING


def test_fine_says_when_it_was_delivered(cast: Cast, tanaka: Account) -> None:
    happened(cast, "delivered")
    assert verdict(cast) == Code.FINE
    assert "last message was delivered at" in said(cast)
    assert leads(cast) == f"{COM}/map/?address=tanaka%40example.com"


def test_nothing_came(cast: Cast, tanaka: Account, heard: EventReport) -> None:
    assert verdict(cast) == Code.QUIET
    assert heard.known_since
    began = at(heard.known_since, "SHORT_DATETIME_FORMAT")
    assert f"none has come since {began}." in said(cast)
    assert leads(cast) == f"{COM}/map/?address=tanaka%40example.com"


def test_no_more_is_said_to_be_known_than_is_kept(heard: EventReport) -> None:
    heard.known_since = now() - timedelta(days=100)
    assert heard.complete_since
    assert abs(heard.complete_since - (now() - KEPT)) < timedelta(minutes=1)


def test_server_that_tells_nothing(cast: Cast, tanaka: Account, heard: EventReport) -> None:
    """Neither that mail arrives nor that none has come is known then."""
    until = now() - LATE - timedelta(minutes=1)
    EventReport.objects.update(known_until=until)
    happened(cast, "delivered", ago=60)
    assert verdict(cast) == Code.UNHEARD
    assert f"messages since {at(until, 'SHORT_DATETIME_FORMAT')}." in said(cast)
    assert leads(cast) == f"{COM}/why/?address=tanaka%40example.com"
    EventReport.objects.all().delete()
    assert verdict(cast) == Code.UNHEARD
    assert "has not told of messages yet" in said(cast)


@pytest.mark.parametrize("reason", ["day-recipients", "domain-recipients", "message-recipients"])
def test_over_a_limit_of_sending(cast: Cast, tanaka: Account, reason: str) -> None:
    happened(cast, "delivered", ago=5)
    told = ours(reason, limit=1000, reached=1001)
    happened(cast, "refused", side="from", other="x@outside.test", relay="", **told)
    assert verdict(cast) == Code.LIMIT
    assert "1,000" in said(cast)
    assert leads(cast) == f"{COM}/sending/"


def test_too_large(cast: Cast, tanaka: Account) -> None:
    told = ours("size", limit=3 * 1024 * 1024, reached=4 * 1024 * 1024)
    happened(cast, "refused", side="from", other="x@outside.test", relay="", **told)
    assert verdict(cast) == Code.TOO_LARGE
    assert "4 MB" in said(cast)
    assert leads(cast) == f"{COM}/sending/"


def test_refused_with_the_other_server_s_reason(cast: Cast, tanaka: Account) -> None:
    happened(
        cast, "bounced", side="from", other="x@outside.test", relay="mx.outside.test",
        code="5.7.1", reason="We do not like you",
    )  # fmt: skip
    assert verdict(cast) == Code.REFUSED
    assert "“We do not like you”" in said(cast)
    assert leads(cast) == f"{COM}/sending/"


def test_refused_for_the_address(cast: Cast, tanaka: Account) -> None:
    happened(cast, "refused", relay="", code="5.7.1", reason="Access denied")
    assert verdict(cast) == Code.REFUSED
    assert "The last message for this address was refused" in said(cast)
    assert leads(cast) == f"{COM}/map/?address=tanaka%40example.com"


def test_waited_in_vain(cast: Cast, tanaka: Account) -> None:
    happened(
        cast, "bounced", side="from", other="x@outside.test", relay="mx.outside.test",
        code=EXPIRED, reason="Greylisted",
    )  # fmt: skip
    assert verdict(cast) == Code.REFUSED
    assert "not be delivered within 8 days. The reason given: “Greylisted”" in said(cast)


def test_receiving_server_asks_to_try_again_later(cast: Cast) -> None:
    factories.make_forward(cast.com, "out", "x@outside.test")
    factories.settle()
    happened(
        cast, "deferred", "out@example.com", onward="x@outside.test", relay="mx.outside.test",
        code="4.7.1", reason="Greylisted, try again",
    )  # fmt: skip
    assert verdict(cast, "out@example.com") == Code.LATER
    words = said(cast, "out@example.com")
    assert "mx.outside.test asked" in words
    assert leads(cast, "out@example.com") == f"{COM}/why/?address=out%40example.com"
    assert "Greylisted, try again" in words


def test_what_has_been_mended_is_not_the_matter(cast: Cast, tanaka: Account) -> None:
    """Refused before it existed, and while it was full; the later one is told of."""
    happened(cast, "refused", ago=9, relay="", code="5.1.1", reason="User unknown")
    happened(cast, "refused", ago=5, relay="", **ours("full", what=TANAKA))
    assert verdict(cast) == Code.SOME_REFUSED
    assert "works now" in said(cast)
    assert leads(cast) == f"{COM}/map/?address=tanaka%40example.com"
    happened(cast, "delivered")
    assert "Mail arrives, last at" in said(cast)


def test_past_refusal_of_long_ago_is_not_told(cast: Cast, tanaka: Account) -> None:
    happened(cast, "refused", ago=60 * 24 * 3, code="5.7.1", relay="")
    happened(cast, "delivered")
    assert verdict(cast) == Code.FINE


def test_last_delivery_is_found_behind_many_others(cast: Cast, tanaka: Account) -> None:
    happened(cast, "delivered", ago=60)
    for _number in range(LOOKED_AT):
        happened(cast, "delivered", side="from", other="x@outside.test")
    assert verdict(cast) == Code.FINE


def test_many_sent_messages_hide_no_refused_one(cast: Cast, tanaka: Account) -> None:
    refused = happened(cast, "refused", ago=60, relay="", code="5.7.1", reason="Access denied")
    for _number in range(LOOKED_AT):
        happened(cast, "delivered", side="from", other="x@outside.test")
    assert verdict(cast) == Code.REFUSED
    shown = diagnose(cast.com, TANAKA).events
    assert (len(shown), shown[-1]) == (SHOWN, refused)


def test_message_to_a_hundred_hides_no_refusal(cast: Cast, tanaka: Account) -> None:
    told = ours("message-recipients", limit=100, reached=101)
    refused = happened(
        cast, "refused", side="from", ago=9, other="x@outside.test", relay="", **told
    )
    for number in range(LOOKED_AT):
        happened(cast, "delivered", side="from", ago=8, other=f"a{number}@outside.test")
    happened(cast, "delivered")
    assert verdict(cast) == Code.SOME_REFUSED
    assert refused in diagnose(cast.com, TANAKA).events


def test_stranger_who_writes_the_address_as_his_own_decides_nothing(
    cast: Cast, tanaka: Account
) -> None:
    happened(cast, "delivered", ago=5)
    stranger: dict[str, Any] = {"side": "from", "other": "x@outside.test", "relay": ""}
    happened(cast, "refused", **stranger, code="5.7.1", reason="Authentication required")
    happened(cast, "refused", **stranger, **ours("no-login", limit=30))
    happened(cast, "refused", **stranger, **ours("sender", what=TANAKA, account="suzuki"))
    assert verdict(cast) == Code.FINE
    with translation.override("en"):
        page = logged_in(cast.sakura.user).get(f"{COM}/why/?address=tanaka").text
    assert page.count("somebody else in this address's name") == 3


def test_full_mailbox_s_owner_is_not_told_what_its_sender_is(cast: Cast) -> None:
    with translation.override("en"):
        told = ours("full", what=TANAKA)
        assert words_of(MailEvent(kind="refused", **told)) == "The mailbox was full."


def test_last_delivery_is_found_behind_thousands(cast: Cast, tanaka: Account) -> None:
    happened(cast, "delivered", ago=600)
    MailEvent.objects.bulk_create(
        MailEvent(domain=cast.com, address=TANAKA, side=side, kind="refused", code="5.1.1", at=ago)
        for side in ("to", "from")
        for ago in [now() - timedelta(minutes=500)] * 2100
    )
    found = diagnose(cast.com, TANAKA).verdict
    assert found.delivered_at
    assert now() - found.delivered_at > timedelta(minutes=590)


def test_one_of_two_destinations_that_is_always_put_off(cast: Cast, tanaka: Account) -> None:
    factories.make_forward(cast.com, "two", TANAKA, "x@outside.test")
    factories.settle()
    for ago in (30, 20, 10):
        happened(
            cast, "deferred", "two@example.com", ago=ago, onward="x@outside.test",
            relay="mx.outside.test", code="4.7.1", reason="Not now",
        )  # fmt: skip
        happened(cast, "delivered", "two@example.com", ago=ago - 5, onward=TANAKA)
    assert verdict(cast, "two@example.com") == Code.SOME_LATER
    assert "but a message to x@outside.test was put off" in said(cast, "two@example.com")
    assert leads(cast, "two@example.com") == f"{COM}/why/?address=two%40example.com"
    happened(cast, "delivered", "two@example.com", ago=2, onward="x@outside.test")
    happened(cast, "delivered", "two@example.com", onward=TANAKA)
    assert verdict(cast, "two@example.com") == Code.FINE


def test_one_of_those_written_to_who_is_always_put_off(cast: Cast, tanaka: Account) -> None:
    happened(cast, "deferred", side="from", ago=5, other="slow@outside.test", code="4.7.1")
    happened(cast, "delivered", side="from", ago=4, other="x@outside.test")
    happened(cast, "delivered")
    assert verdict(cast) == Code.SOME_LATER
    assert "slow@outside.test" in said(cast)


def test_what_happened_past_another_customer_s_forward_stays_his(cast: Cast) -> None:
    factories.make_forward(cast.other, "onward", "secret@outside.test")
    factories.make_forward(cast.com, "out", "onward@wakaba.example")
    factories.settle()
    happened(
        cast, "bounced", "out@example.com", onward="secret@outside.test", relay="mx.outside.test",
        code="5.1.1", reason="<secret@outside.test> unknown",
    )  # fmt: skip
    [event] = diagnose(cast.com, "out@example.com").events
    assert (event.onward, event.relay, event.reason) == ("", "", "")
    assert "secret" not in said(cast, "out@example.com")


def test_events_of_other_addresses_and_domains_are_not_told(cast: Cast, tanaka: Account) -> None:
    happened(cast, "refused", "suzuki@example.com")
    MailEvent.objects.create(domain=cast.other, address=TANAKA, side="to", kind="refused", at=now())
    assert diagnose(cast.com, TANAKA).events == []


def test_every_refusal_of_ours_is_told_in_words_of_the_panel_s() -> None:
    for reason in REFUSALS:
        told = ours(reason, limit=1000, reached=1001, what=TANAKA, account="tanaka")
        words = words_of(MailEvent(kind="refused", **told))
        assert words, reason
        assert told["reason"] not in words


@pytest.mark.parametrize(
    ("typed", "address"),
    [
        ("tanaka", "tanaka@example.com"),
        (" <Tanaka@Example.com> ", "tanaka@example.com"),
        ("ｔａｎａｋａ＠ｅｘａｍｐｌｅ．ｎｅｔ", "tanaka@example.net"),
        ("info@wakaba.example", ""),
        ("info@nowhere.example", ""),
        ("a b@example.com", ""),
        ("@example.com", ""),
        ("x@", ""),
        ("\0", ""),
    ],
)
def test_only_own_addresses_are_asked_about(cast: Cast, typed: str, address: str) -> None:
    asked = asked_for(cast.com, typed)
    assert (asked.address if asked else "") == address
