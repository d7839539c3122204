"""What lines say; and that nobody can write a line of the log by what he sends."""

from __future__ import annotations

import time
from datetime import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailhost.events.parsing import EXPIRED, MOST_REASON, Event, Parser, moment
from tests.mailhost.events.logs import (
    HEAD,
    TANAKA,
    delivery,
    expired,
    queued,
    refusal,
    removed,
)

VICTIM = "victim@example.com"


def parsed(*lines: str, hosted: str = "example.com") -> list[Event]:
    """Return the events of lines."""
    parser = Parser(lambda domain: domain == hosted, {})
    return parser.read([line.encode() for line in lines])


def test_delivery_into_a_mailbox() -> None:
    [event] = parsed(queued("Friend@outside.test"), delivery())
    assert event._replace(at=0) == Event(
        0, "delivered", "4jbbSD6XWzzKL1K", "friend@outside.test", TANAKA, "", "mailbox", "2.0.0", ""
    )


def test_delivery_by_a_forward_to_another_server() -> None:
    line = delivery(
        "x@outside.test", original="info@example.com", relay="mx.outside.test[192.0.2.1]:25"
    )
    [event] = parsed(line)
    assert (event.recipient, event.original) == ("x@outside.test", "info@example.com")
    assert (event.relay, event.sender) == ("mx.outside.test", "")


@pytest.mark.parametrize(
    ("status", "kind", "dsn", "reason"),
    [
        (
            "deferred (host mx.outside.test[192.0.2.1] said: 451 4.7.1 Greylisted, try again"
            " (in reply to RCPT TO command))",
            "deferred",
            "4.7.1",
            "Greylisted, try again",
        ),
        (
            "deferred (connect to mx.outside.test[192.0.2.1]:25: Connection refused)",
            "deferred",
            "4.4.1",
            "connect to mx.outside.test[192.0.2.1]:25: Connection refused",
        ),
        (
            "bounced (host mail1.plusmail.test[private/lists-lmtp] said: 550 5.7.1 Only its"
            " members may write (in reply to end of DATA command))",
            "bounced",
            "5.7.1",
            "Only its members may write",
        ),
    ],
)
def test_what_was_not_delivered_says_why(status: str, kind: str, dsn: str, reason: str) -> None:
    [event] = parsed(delivery(status=status, dsn=dsn, relay="none"))
    assert (event.kind, event.code, event.reason, event.relay) == (kind, dsn, reason, "")


def test_refusal_at_the_door() -> None:
    [event] = parsed(refusal())
    assert (event.kind, event.recipient, event.sender) == (
        "refused",
        TANAKA,
        "friend@outside.test",
    )
    assert (event.code, event.reason) == ("5.1.1", "User unknown in virtual mailbox table")
    assert event.queue_id == ""


def test_refusal_at_the_end_of_a_message() -> None:
    line = (
        f"{HEAD}smtpd[99]: 4jbbRC5RtdzKLj5: reject: END-OF-MESSAGE from unknown[127.0.1.11]:"
        " 521 5.3.4 <END-OF-MESSAGE>: End-of-data rejected: A message has at most 3145728 bytes"
        " (3 MB), this one 3443801; see https://panel.example/help; from=<tanaka@example.com>"
        " proto=ESMTP helo=<pc>"
    )
    [event] = parsed(line)
    assert (event.sender, event.recipient, event.code) == (TANAKA, "", "5.3.4")
    assert event.reason.startswith("A message has at most 3145728 bytes")


def test_sender_is_known_while_the_message_is_in_the_queue() -> None:
    again = delivery("suzuki@example.com")
    events = parsed(queued("a@outside.test"), delivery(), again, removed(), delivery())
    assert [event.sender for event in events] == ["a@outside.test", "a@outside.test", ""]


def test_notice_has_no_sender() -> None:
    assert parsed(queued(""), delivery())[0].sender == ""


LATER = "deferred (host mx.outside.test[192.0.2.1] said: 451 4.7.1 Not now (in reply to X command))"


def test_expired_message_bounces_for_those_who_were_put_off_last() -> None:
    def put_off(name: str, status: str = LATER, dsn: str = "4.7.1") -> str:
        relay = "mx.outside.test[192.0.2.1]:25"
        return delivery(f"{name}@outside.test", status=status, dsn=dsn, relay=relay)

    sender = "info@example.com"
    events = parsed(
        *(queued(sender), put_off("a"), put_off("b"), put_off("c")),
        *(put_off("a", "sent (250 ok)", "2.0.0"), put_off("b"), put_off("b")),
        *(put_off("c", "bounced (gone)", "5.1.1"), expired(sender), expired(sender)),
    )
    [back] = [event for event in events if event.code == EXPIRED]
    assert (back.kind, back.recipient, back.sender) == ("bounced", "b@outside.test", sender)
    assert (back.reason, back.relay) == ("Not now", "mx.outside.test")
    assert events[-1] == back


def test_expired_notice_and_forced_end_count_alike() -> None:
    line = expired("").replace("=expired", "=force-expired")
    assert parsed(queued(""), delivery(status=LATER, dsn="4.7.1"), line)[-1].kind == "bounced"


def test_nobody_else_s_message_expires() -> None:
    events = parsed(
        *(queued("a@outside.test"), delivery(status=LATER, dsn="4.7.1")),
        *(expired("a@outside.test", "4jbbOTHER"), removed(), expired("a@outside.test")),
        queued("a@outside.test>, status=expired, returned to sender"),
    )
    assert [event.kind for event in events] == ["deferred"]


def test_what_concerns_no_domain_here_is_passed_over() -> None:
    assert parsed(delivery("x@outside.test"), refusal("x@outside.test")) == []
    assert parsed(queued("a@example.com"), delivery("x@outside.test"))[0].sender == "a@example.com"


@pytest.mark.parametrize(
    "line",
    [
        "",
        "garbage",
        f"{HEAD}smtpd[99]: connect from unknown[192.0.2.7]",
        f"{HEAD}cleanup[1]: 4jbbSD6XWzzKL1K: message-id=<x>",
        delivery().replace("lmtp[123]", "evil[123]"),
        delivery().replace(", delay=", ", later="),
        delivery("a" * 250 + "@example.com"),
        delivery() + " and more",
    ],
)
def test_other_lines_say_nothing(line: str) -> None:
    assert parsed(line) == []


# What strangers may write into a line. Each tries to make a message for the victim bounce.

FORGED = f"{VICTIM}>, relay=none, delay=0, delays=0/0/0/0, dsn=5.1.1, status=bounced (gone)"
REFUSED = f"{VICTIM}>: Recipient address rejected: gone; from=<a@b.test> to=<{VICTIM}> proto=SMTP"


@pytest.mark.parametrize(
    "line",
    [
        # A recipient: quoted, as Postfix writes such a one, and as if it did not.
        delivery(f'"x>, to=<{FORGED}"@outside.test'),
        delivery(f"{FORGED}@outside.test"),
        delivery(f'"{FORGED}"@example.com'),
        # The address before a catch-all led on from it.
        delivery("x@outside.test", original=f'"x>, to=<{FORGED}"@outside.test'),
        # A queue id is Postfix's own, a HELO is anybody's.
        refusal(f'"{REFUSED}"@outside.test', inner=f"{REFUSED}@outside.test"),
        refusal("x@outside.test", helo=f"x> to=<{VICTIM}> proto=ESMTP helo=<y"),
        refusal("x@outside.test", helo=f"x>; from=<a@b.test> to=<{VICTIM}> proto=ESMTP helo=<y"),
        refusal("x@outside.test", sender=f'"x> to=<{VICTIM}> proto=ESMTP helo=<y"@b.test'),
        refusal("x@outside.test", words=f"no; from=<a@b.test> to=<{VICTIM}> proto=SMTP helo=<"),
        refusal("x@outside.test", inner=VICTIM),
        f"{HEAD}smtpd[99]: warning: unknown[192.0.2.7]: reject: RCPT from x[192.0.2.7]: 550 5.1.1"
        f" <{VICTIM}>: Recipient address rejected: gone; from=<a@b.test> to=<{VICTIM}> proto=SMTP",
    ],
)
def test_forged_line_makes_no_event(line: str) -> None:
    assert [e for e in parsed(line) if VICTIM in (e.recipient, e.original, e.sender)] == []


def test_reply_of_another_server_is_its_own_line_only() -> None:
    """It may say what it likes, of the recipient that it was asked about."""
    said = f"550 no), to=<{VICTIM}>, dsn=2.0.0, status=sent (250 ok"
    line = delivery(
        "x@outside.test",
        original="info@example.com",
        status=f"bounced (host mx[192.0.2.1] said: {said} (in reply to RCPT TO command))",
        dsn="5.0.0",
    )
    [event] = parsed(line)
    assert (event.kind, event.recipient, event.original) == (
        "bounced",
        "x@outside.test",
        "info@example.com",
    )


def test_forged_sender_is_nobody() -> None:
    sender = f'"x>, size=1, nrcpt=1 (queue active) 4jbb: from=<{VICTIM}"@b.test'
    assert parsed(queued(sender), delivery())[0].sender == ""


def test_control_characters_and_length_of_a_reason_are_bounded() -> None:
    words = "a\x1b[31mb\x00c\u202ed" + "x" * 1000
    [event] = parsed(refusal(words=words))
    assert event.reason.isprintable()
    assert event.reason.startswith("a?[31mb?c???d")
    assert len(event.reason) == MOST_REASON


_PIECES = [*'<>"\\;:, =@.()[]ax', VICTIM, ", relay=", " to=<", "; from=<", " proto="]
_HOSTILE = st.lists(st.sampled_from(_PIECES), max_size=12).map("".join)


@given(recipient=_HOSTILE, sender=_HOSTILE, helo=_HOSTILE)
def test_whatever_strangers_write_only_their_own_recipient_is_told_of(
    recipient: str, sender: str, helo: str
) -> None:
    """As quoted by Postfix, nothing in an address or a HELO makes it the victim's."""
    inner = recipient.replace("\\", "").replace('"', "")
    line = refusal(f'"{inner}"@outside.test', sender=sender, inner=inner, helo=helo)
    for event in parsed(line, delivery(f'"{inner}"@outside.test')):
        assert event.recipient != VICTIM


def test_time_is_of_the_year_that_fits() -> None:
    new_year = datetime(2027, 1, 1, 0, 5).timestamp()  # noqa: DTZ001 (this machine's clock)
    assert moment(b"Dec 31 23:59:58", new_year) == new_year - 302
    assert moment(b"Jan  1 00:04:59", new_year) == new_year - 1
    now = time.time()
    assert moment(b"garbage", now) == int(now)
    assert moment(b"Feb 31 99:99:99", now) <= now + 86400
