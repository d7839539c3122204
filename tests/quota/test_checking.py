"""What "Check before sending" says is what the mail server would do."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, replace

import pytest
from django.utils import translation

from quota.checking import Draft, Used, addresses_in, as_sent, before_sent, judge
from quota.limits import Limits

MB = 1024 * 1024
LIMITS = Limits(3 * MB, 75 * 1024, 100, 1000, 0, True)
NONE = Used(0, 0)


@pytest.fixture(autouse=True)
def english() -> Iterator[None]:
    """The words are judged in English, whatever language a page was asked for before."""
    with translation.override("en"):
        yield


def said(draft: Draft, limits: Limits = LIMITS, used: Used = NONE) -> list[str]:
    return [f"{found.kind}: {found.words} {found.advice}" for found in judge(draft, limits, used)]


def test_addresses_are_found_in_whatever_is_pasted() -> None:
    text = """Tanaka Taro <tanaka@example.org>, "Suzuki, Jiro" <suzuki@example.org>;
    mailto:ito@example.org info@EXAMPLE.com、Info@example.com\tnot-an-address; @ ; a@b.example."""
    assert addresses_in(text) == [
        "tanaka@example.org",
        "suzuki@example.org",
        "ito@example.org",
        "info@example.com",
        "Info@example.com",
        "a@b.example",
    ]
    assert addresses_in("info@EXAMPLE.com Info@example.com", {"example.com"}) == [
        "info@example.com"
    ]
    assert addresses_in("") == []


@pytest.mark.parametrize("text", ["a" * 200_000, "@" * 200_000, "a@b." * 50_000, "a@ " * 60_000])
def test_no_text_takes_long_to_look_through(text: str) -> None:
    begun = time.process_time()
    addresses_in(text)
    assert time.process_time() - begun < 1


@pytest.mark.parametrize("recipients", [1, 100])
def test_as_many_recipients_as_a_message_may_have_pass(recipients: int) -> None:
    [found] = judge(Draft(recipients), LIMITS, Used(900, 0))
    assert found.kind == "done"
    assert f"{900 + recipients:,} of 1,000" in found.advice


@pytest.mark.parametrize(
    ("recipients", "split"),
    [(101, "2 messages, each to at most 51"), (200, "2 messages"), (201, "3 messages")],
)
def test_one_more_is_to_be_split(recipients: int, split: str) -> None:
    [words] = said(Draft(recipients))
    assert words.startswith("stop: From recipient number 101 on")
    assert split in words


def test_day_s_rest_is_told() -> None:
    assert said(Draft(51), used=Used(950, 0)) == [
        "stop: The account may have 1,000 recipients a day, and 950 are used. Today it can go to "
        "50 more; send to the rest after 0:00."
    ]
    assert "Send it after 0:00" in said(Draft(1), used=Used(1000, 0))[0]
    limited = replace(LIMITS, domain_recipients_per_day=2000)
    assert "whole domain" in said(Draft(51), limited, Used(0, 1950))[0]
    assert said(Draft(50), limited, Used(0, 1950))[0].startswith("done")


def test_size_is_judged_to_the_byte() -> None:
    assert said(Draft(1, 3 * MB))[0].startswith("done")
    [words] = said(Draft(1, 3 * MB + 1))
    assert "3 MB are allowed" in words
    assert "Attach at most 2.2 MB" in words
    assert said(Draft(1, 75 * 1024, to_list=True))[0].startswith("done")
    assert "mailing list would refuse" in said(Draft(1, 75 * 1024 + 1, to_list=True))[0]
    assert said(Draft(1, 75 * 1024 + 1))[0].startswith("done")
    # "At most 2.2 MB of files" alone would lead to the next refusal, by the list.
    [message, by_list] = said(Draft(1, 4 * MB, to_list=True))
    assert "3 MB are allowed" in message
    assert "75 KB are allowed to a list" in by_list


def test_files_grow_as_base64_does() -> None:
    assert as_sent(57 * 1000) == 78 * 1000
    assert as_sent(0) == 0
    for size in (0, 1, 56, 57, 58, 3 * MB):
        assert as_sent(before_sent(size)) <= size


def test_all_that_is_wrong_is_said_at_once() -> None:
    assert len(said(Draft(1001, 4 * MB))) == 3


@dataclass(frozen=True, slots=True)
class Club:
    """A mailing list among the recipients."""

    address: str = "club@example.com"
    refused: str = ""


def test_list_among_the_recipients_is_named_with_its_limit() -> None:
    done, known = said(Draft(1, 75 * 1024, lists=[Club()]))
    assert done.startswith("done")
    assert known.startswith("wait: club@example.com is a mailing list")
    assert "75 KB" in known
    assert "mailing list would refuse" in said(Draft(1, 75 * 1024 + 1, lists=[Club()]))[0]


def test_list_that_is_closed_to_the_sender_is_named() -> None:
    [words] = said(Draft(1, lists=[Club(refused="The owner alone")]))
    assert words.startswith("stop: The mailing list club@example.com would refuse it.")
    assert "Who may write to it: The owner alone." in words
