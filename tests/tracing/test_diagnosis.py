"""One verdict for each thing that can be the matter with an address."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.utils import translation
from django.utils.timezone import now

from accounts.models import Account
from forwarding import removal
from mailhost.host import Status
from mailhost.policy.texts import REFUSALS, refusal
from quota.models import MailboxUsage
from tests import factories
from tests.conftest import Cast
from tracing.diagnosis import LOOKED_AT, Code, diagnose
from tracing.models import MailEvent
from tracing.reasons import words_of
from tracing.whose import asked_for
from tracing.words import button, sentence

pytestmark = pytest.mark.django_db
TANAKA = "tanaka@example.com"


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
        found = diagnose(cast.com, address).verdict
        assert button(asked, found).label
        return sentence(asked, found)


def test_unknown_name(cast: Cast) -> None:
    assert verdict(cast, "nobody@example.com") == Code.UNKNOWN
    assert "does not exist" in said(cast, "nobody@example.com")


def test_pending_says_when(cast: Cast) -> None:
    factories.make_account(cast.com, "tanaka")
    assert verdict(cast) == Code.PENDING
    factories.answer()
    assert "works from about" in said(cast)
    factories.make_forward(cast.com, "info", TANAKA)
    assert f"info@example.com leads to {TANAKA}" not in said(cast, "info@example.com")


def test_pending_further_on_names_what_waits(cast: Cast) -> None:
    factories.make_forward(cast.com, "info", "sales@example.com")
    factories.settle()
    factories.make_forward(cast.com, "sales", "x@outside.test")
    assert verdict(cast, "info@example.com") == Code.PENDING
    assert "leads to sales@example.com, which" in said(cast, "info@example.com")


def test_failing(cast: Cast) -> None:
    factories.make_account(cast.com, "tanaka")
    factories.settle(status=Status.UNCONFIRMED, reason="no answer")
    assert verdict(cast) == Code.FAILING
    assert said(cast)


def test_leaving(cast: Cast, tanaka: Account) -> None:
    removal.delete_account(tanaka)
    assert verdict(cast) == Code.LEAVING
    assert "deleted" in said(cast)


def test_dead_end_names_where_it_ends(cast: Cast) -> None:
    factories.make_forward(cast.com, "sales", "nobody@example.com")
    factories.make_forward(cast.com, "info", "sales@example.com")
    factories.settle()
    assert verdict(cast, "info@example.com") == Code.DEAD_END
    assert "nobody@example.com, which does not exist" in said(cast, "info@example.com")


def test_full_mailbox(cast: Cast, tanaka: Account) -> None:
    usage = MailboxUsage(account=tanaka, used=100, limit=100, messages=1, asked_at=now())
    usage.save()
    assert verdict(cast) == Code.FULL
    assert f"{TANAKA} is full" in said(cast)
    factories.make_forward(cast.com, "info", TANAKA, "x@outside.test")
    factories.settle()
    assert verdict(cast, "info@example.com") == Code.PARTLY_FULL
    assert TANAKA in said(cast, "info@example.com")


def test_partly_dead(cast: Cast, tanaka: Account) -> None:
    factories.make_forward(cast.com, "info", TANAKA, "nobody@example.com")
    factories.settle()
    assert verdict(cast, "info@example.com") == Code.PARTLY_DEAD
    assert "nobody@example.com" in said(cast, "info@example.com")


def test_fine_says_when_it_was_delivered(cast: Cast, tanaka: Account) -> None:
    happened(cast, "delivered")
    assert verdict(cast) == Code.FINE
    assert "last message was delivered at" in said(cast)


def test_nothing_came(cast: Cast, tanaka: Account) -> None:
    assert verdict(cast) == Code.QUIET
    assert "none has come" in said(cast)


@pytest.mark.parametrize("reason", ["day-recipients", "domain-recipients", "message-recipients"])
def test_over_a_limit_of_sending(cast: Cast, tanaka: Account, reason: str) -> None:
    happened(cast, "delivered", ago=5)
    told = ours(reason, limit=1000, reached=1001)
    happened(cast, "refused", side="from", other="x@outside.test", relay="", **told)
    assert verdict(cast) == Code.LIMIT
    assert "1,000" in said(cast)


def test_too_large(cast: Cast, tanaka: Account) -> None:
    told = ours("size", limit=3 * 1024 * 1024, reached=4 * 1024 * 1024)
    happened(cast, "refused", side="from", other="x@outside.test", relay="", **told)
    assert verdict(cast) == Code.TOO_LARGE
    assert "4 MB" in said(cast)


def test_refused_with_the_other_server_s_reason(cast: Cast, tanaka: Account) -> None:
    happened(
        cast, "bounced", side="from", other="x@outside.test", relay="mx.outside.test",
        code="5.7.1", reason="We do not like you",
    )  # fmt: skip
    assert verdict(cast) == Code.REFUSED
    assert "“We do not like you”" in said(cast)


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
    assert "Greylisted, try again" in words


def test_what_has_been_mended_is_not_the_matter(cast: Cast, tanaka: Account) -> None:
    """Refused before it existed, and while it was full; the later one is told of."""
    happened(cast, "refused", ago=9, relay="", code="5.1.1", reason="User unknown")
    happened(cast, "refused", ago=5, relay="", **ours("full", what=TANAKA))
    assert verdict(cast) == Code.SOME_REFUSED
    assert "works now" in said(cast)
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
