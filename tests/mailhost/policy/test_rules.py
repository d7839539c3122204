"""The sending rules, each at its edge."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from mailhost.policy import figures
from mailhost.records import Address, HostedDomain, Mailbox, PlanLimits
from tests.mailhost.policy.logins import ALICE, BOB, ELSEWHERE, HASH, HOME, OTHER_HASH, WORK
from tests.mailhost.policy.post import SENDER, Post, domain, news, people

HELP = "https://panel.example.com/help"
MEGABYTE, KILOBYTE = 1024 * 1024, 1024


@pytest.fixture
def post(tmp_path: Path) -> Iterator[Post]:
    made = Post(tmp_path, help_url=HELP)
    yield made
    made.close()


def refused(action: str, code: str, *words: str) -> bool:
    """Say whether it is this refusal, in one line of ASCII that names these words and the help."""
    return (
        action.startswith(code)
        and all(word in action for word in (*words, HELP))
        and action.isascii()
        and action.isprintable()
        and len(action) <= 410
    )


# To how many


def test_hundred_recipients_pass_and_the_next_is_refused(post: Post) -> None:
    message = post.message()
    assert message.to(*people(100)) == "DUNNO"
    assert refused(message.to("more@outside.test"), "550 5.5.3", "100", "101")
    assert refused(message.to("yet@outside.test"), "550 5.5.3", "100", "101")
    assert message.end() == "DUNNO"
    assert (post.used(), post.on_record()) == (100, 100)


def test_thousand_a_day_and_not_one_more(post: Post) -> None:
    for n in range(9):
        message = post.message()
        assert message.to(*people(100, f"m{n}-")) == "DUNNO"
        assert message.end() == "DUNNO"
    message = post.message()
    assert message.to(*people(99)) == "DUNNO"
    assert message.end() == "DUNNO"
    assert post.used() == 999
    last = post.message()
    assert last.to("last@outside.test") == "DUNNO"
    assert refused(last.to("more@outside.test"), "550 5.7.1", "1000")
    assert last.end() == "DUNNO"
    assert refused(post.message().to("a@outside.test"), "550 5.7.1", "1000")
    assert (post.used(), post.on_record()) == (1000, 1000)


def test_reserved_recipients_leave_none_to_others(post: Post) -> None:
    """Fifty messages at the same time, none of which has ended."""
    messages = [post.message() for _ in range(50)]
    accepted = sum(
        message.to(recipient) == "DUNNO" for recipient in people(30) for message in messages
    )
    assert accepted == post.used() == 1000
    assert all(message.end() == "DUNNO" for message in messages)
    assert post.on_record() == 1000


def test_accounts_of_a_domain_share_its_limit(post: Post) -> None:
    post.plan(domain_recipients_per_day=3)
    assert post.message().to(*people(2)) == "DUNNO"
    bob = post.message(BOB.address, sasl_username="bob")
    assert bob.to("a@outside.test") == "DUNNO"
    assert refused(bob.to("b@outside.test"), "550 5.7.1", "3")
    assert post.used("bob") == 1


def test_duplicates_and_case_of_the_domain_count_once(post: Post) -> None:
    message = post.message()
    same = ["a@outside.test", "a@OUTSIDE.test", "a@outside.test", BOB.address, "BOB@Example.com"]
    assert message.to(*same) == "DUNNO"
    assert post.used() == 2
    # Elsewhere the local part may mean somebody else (RFC 5321, 2.4).
    assert message.to("A@outside.test") == "DUNNO"
    assert post.used() == 3
    assert message.end() == "DUNNO"
    assert post.on_record() == 3


def test_recipient_too_long_for_an_address_counts_too(post: Post) -> None:
    message = post.message()
    assert message.to(*(f"{'x' * 30_000}{n}@outside.test" for n in (1, 2, 1))) == "DUNNO"
    assert post.used() == 2


def test_repeated_questions_count_once(post: Post) -> None:
    message = post.message()
    for _ in range(3):
        assert message.to(*people(5)) == "DUNNO"
    for _ in range(3):
        assert message.end() == "DUNNO"
        assert post.on_record() == 5
    assert message.to(*people(5)) == "DUNNO"
    assert post.used() == 5


def test_forwarding_address_and_list_are_one_recipient_each(post: Post) -> None:
    post.put(Address("team", "example.com", tuple(people(50))), news())
    assert post.message().to("team@example.com", "news@example.com") == "DUNNO"
    assert post.used() == 2


def test_account_has_limits_of_its_own(post: Post) -> None:
    post.plan(recipients_per_message=1, recipients_per_day=2, message_bytes=500)
    post.put(replace(ALICE, recipients_per_message=3, recipients_per_day=4, message_bytes=700))
    message = post.message()
    assert message.to(*people(3), size=700) == "DUNNO"
    assert refused(message.to("more@outside.test"), "550 5.5.3", "3")
    assert message.end(700) == "DUNNO"
    next_one = post.message()
    assert next_one.to("a@outside.test") == "DUNNO"
    assert refused(next_one.to("b@outside.test"), "550 5.7.1", "4")
    bob = post.message(BOB.address, sasl_username="bob")
    assert refused(bob.to("a@outside.test", size=501), "552 5.3.4", "501")


# Messages given up


def test_next_message_of_the_process_gives_recipients_back(post: Post) -> None:
    post.plan(recipients_per_day=5)
    for _ in range(3):
        assert post.message(process="1a2b").to(*people(5)) == "DUNNO"
        assert post.used() == 5
    assert refused(post.message(process="1a2c").to("a@outside.test"), "550 5.7.1", "5")
    # Any question of the process shows it, also about mail from outside.
    stranger = post.message(
        "x@outside.test", process="1a2b", sasl_username="", policy_context="rcpt"
    )
    assert stranger.to(SENDER) == "DUNNO"
    assert post.used() == 0
    assert post.on_record() == 0


def test_reservation_lapses_after_ten_minutes(post: Post) -> None:
    post.plan(recipients_per_day=5)
    assert post.message().to(*people(5)) == "DUNNO"
    post.now += 600
    assert refused(post.message().to("a@outside.test"), "550 5.7.1")
    post.now += 1
    assert post.message().to(*people(5)) == "DUNNO"
    assert post.used() == 5


def test_message_that_ends_after_all_is_taken_again(post: Post) -> None:
    post.plan(recipients_per_day=5)
    message = post.message()
    message.to(*people(5))
    post.now += 601
    post.ledger.expire(post.now)
    assert post.used() == 0
    assert message.end() == "DUNNO"
    assert (post.used(), post.on_record()) == (5, 5)
    assert message.end() == "DUNNO"
    assert post.on_record() == 5


def test_message_that_ends_too_late_is_refused_if_the_day_is_full(post: Post) -> None:
    post.plan(recipients_per_day=5)
    message = post.message()
    message.to(*people(5))
    post.now += 601
    assert post.message().to("a@outside.test") == "DUNNO"
    assert message.end()[:3] in ("421", "521")
    assert post.used() == 1
    assert post.on_record() == 0


def test_end_of_a_message_nobody_knows_is_not_accepted_uncounted(post: Post) -> None:
    assert post.message().end(recipient_count="3").startswith("421 4.3.0")
    post.log_in()
    assert post.by_window(local=True).end(recipient_count="3").startswith("421 4.3.0")
    assert post.by_window("x@outside.test", local=True).end(recipient_count="3") == "DUNNO"


def test_recipients_that_came_in_unasked_are_not_accepted(post: Post) -> None:
    """Postfix lets recipients here pass while the daemon is down."""
    post.log_in()
    message = post.by_window(local=True)
    assert message.to(BOB.address) == "DUNNO"
    assert message.end(recipient_count="2").startswith("421 4.3.0")
    assert post.on_record() == 0


# Midnight


def at(text: str) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()


def test_day_begins_at_the_time_zones_midnight(post: Post) -> None:
    post.plan(recipients_per_day=5)
    post.now = at("2026-11-25T14:59:59")
    message = post.message()
    assert message.to(*people(5)) == "DUNNO"
    assert message.end() == "DUNNO"
    assert refused(post.message().to("a@outside.test"), "550 5.7.1")
    post.now = at("2026-11-25T15:00:00")
    assert post.used() == 0
    assert post.message().to("a@outside.test") == "DUNNO"
    assert post.db.query("SELECT day, hour FROM count") == [("2026-11-25", 23)]


def test_message_over_midnight_belongs_to_the_day_it_began(post: Post) -> None:
    post.plan(recipients_per_day=5)
    post.now = at("2026-11-25T14:59:59")
    message = post.message()
    assert message.to(*people(4)) == "DUNNO"
    post.now += 2
    assert message.to("a@outside.test") == "DUNNO"
    assert refused(message.to("b@outside.test"), "550 5.7.1")
    assert message.end() == "DUNNO"
    assert post.used() == 0
    assert post.db.query("SELECT day, recipients FROM count") == [("2026-11-25", 5)]


# How much


def test_size_is_exact(post: Post) -> None:
    limit = 3 * MEGABYTE
    assert post.message().to("a@outside.test", size=limit) == "DUNNO"
    assert refused(post.message().to("a@outside.test", size=limit + 1), "552 5.3.4", "3 MB")
    message = post.message()
    message.to("a@outside.test", size=10)
    assert message.end(limit) == "DUNNO"
    too_large = post.message()
    too_large.to("a@outside.test", size=10)
    assert post.used() == 2 + 1
    for _ in range(2):
        assert refused(too_large.end(limit + 1), "521 5.3.4", "3 MB")
        assert post.used() == 2
    assert post.on_record() == 1


def test_list_is_refused_by_declared_size_and_the_rest_goes(post: Post) -> None:
    post.put(news(), Address("all", "example.com", ("news@example.com", BOB.address)))
    limit = 75 * KILOBYTE
    message = post.message()
    assert message.to("a@outside.test", size=limit + 1) == "DUNNO"
    for address in ("news@example.com", "NEWS@example.com", "all@example.com"):
        answer = message.to(address, size=limit + 1)
        assert refused(answer, "552 5.2.3", "news@example.com", "75 KB")
    assert message.end(limit + 1) == "DUNNO"
    assert post.on_record() == 1
    assert post.message().to("all@example.com", size=limit) == "DUNNO"


@pytest.mark.parametrize("address", ["news@example.com", "all@example.com", "any@example.com"])
def test_message_to_a_list_is_refused_by_real_size(post: Post, address: str) -> None:
    post.put(news(), Address("all", "example.com", ("news@example.com",)))
    post.put(Address("", "example.com", ("all@example.com",)))
    limit = 75 * KILOBYTE
    for size, fits in ((limit, True), (limit + 1, False)):
        message = post.message()
        assert message.to("a@outside.test", address, size=100) == "DUNNO"
        answer = message.end(size)
        assert (answer == "DUNNO") is fits
        assert fits or refused(answer, "521 5.2.3", "news@example.com", "75 KB")
    assert post.on_record() == 2


def test_mail_from_outside_to_a_list_is_judged_by_its_size_too(post: Post) -> None:
    post.put(news())
    limit = 75 * KILOBYTE
    message = post.by_window("x@outside.test", local=True)
    assert message.to("news@example.com", SENDER, size=limit) == "DUNNO"
    assert refused(message.end(limit + 1), "521 5.2.3", "news@example.com")
    assert refused(
        post.by_window("x@outside.test", local=True).to("news@example.com", size=limit + 1),
        "552 5.2.3",
    )
    # If nobody was asked about the recipient, Postfix names a single one at the end.
    unasked = post.by_window("x@outside.test", local=True)
    assert refused(unasked.end(limit + 1, recipient="news@example.com"), "521 5.2.3")
    assert unasked.end(limit, recipient="news@example.com") == "DUNNO"


@pytest.mark.parametrize("address", ["news@example.com", "all@example.com", "NEWS@Example.com"])
@pytest.mark.parametrize(
    ("posters", "sender", "words"),
    [
        ("anyone", "x@outside.test", ""),
        ("members", "Ann@Outside.test", ""),
        ("members", SENDER.upper(), ""),
        ("members", "", ""),
        ("members", "x@outside.test", "Only its members may write to the list news@example.com"),
        ("owner", "ann@outside.test", "Only its owner may write to the list news@example.com"),
        ("owner", SENDER, ""),
    ],
)
def test_who_may_not_write_to_a_list_is_told_at_once(
    post: Post, address: str, posters: str, sender: str, words: str
) -> None:
    post.put(replace(news(posters), members=("ann@outside.test",)))
    post.put(Address("all", "example.com", ("news@example.com", BOB.address)))
    answer = post.by_window(sender, local=True).to(address)
    assert refused(answer, "550 5.7.1", words) if words else answer == "DUNNO"


def test_what_comes_back_to_a_list_is_taken_from_anybody(post: Post) -> None:
    post.put(news("owner"))
    for sender in ("", "mailer-daemon@outside.test"):
        message = post.by_window(sender, local=True)
        assert message.to("news-bounces@example.com") == "DUNNO"


def test_customer_who_may_not_write_to_a_list_sends_to_the_rest(post: Post) -> None:
    post.put(replace(news("owner"), owner_address="boss@outside.test"))
    message = post.message()
    assert refused(message.to("news@example.com"), "550 5.7.1", "Only its owner")
    assert message.to("a@outside.test") == "DUNNO"
    assert message.end() == "DUNNO"
    assert post.on_record() == 1
    [refusal] = post.db.query("SELECT reason, recipient FROM refusal")
    assert tuple(refusal) == ("list-posters", "news@example.com")


def test_list_hears_at_once_of_a_new_member(post: Post) -> None:
    post.put(news("members"))
    who = "x@outside.test"
    assert refused(post.by_window(who, local=True).to("news@example.com"), "550 5.7.1")
    post.put(replace(news("members"), members=(who,)))
    assert post.by_window(who, local=True).to("news@example.com") == "DUNNO"


def test_mail_from_outside_may_be_large_and_for_many(post: Post) -> None:
    post.plan(recipients_per_message=1, recipients_per_day=1, message_bytes=10)
    for sender in ("x@outside.test", "", "forged@example.com"):
        message = post.by_window(sender, local=True)
        assert message.to(SENDER, BOB.address, size=9 * MEGABYTE) == "DUNNO"
        assert message.end(9 * MEGABYTE) == "DUNNO"
    assert post.used() == post.on_record() == 0


# Who


def test_nobody_relays_without_a_login(post: Post) -> None:
    answer = post.by_window().to("a@outside.test")
    assert refused(answer, "550 5.7.1", "Receive your mail first", "30")
    post.log_in()
    assert post.by_window().to("a@outside.test") == "OK"
    assert refused(post.by_window(source=WORK).to("a@outside.test"), "550 5.7.1")
    post.now += 1799
    assert post.by_window().to("a@outside.test") == "OK"
    post.now += 1
    assert refused(post.by_window().to("a@outside.test"), "550 5.7.1", "Receive")


@pytest.mark.parametrize("by_plan", [True, False])
def test_who_may_not_send_after_receiving_is_told_to_use_his_password(
    post: Post, by_plan: bool
) -> None:
    if by_plan:
        post.plan(pop_before_smtp=False)
    else:
        post.put(replace(ALICE, pop_before_smtp=False))
    post.log_in()
    for sender in (SENDER, "Info@example.com"):
        answer = post.by_window(sender).to("a@outside.test")
        assert refused(answer, "550 5.7.1", "Send with your password", "587")
    other = post.by_window(BOB.address).to("a@outside.test")
    assert refused(other, "550 5.7.1", "Send with your password" if by_plan else "Receive")
    for stranger in ("nobody@example.com", "friend@outside.test", "<>", ""):
        assert refused(post.by_window(stranger).to("a@outside.test"), "550 5.7.1", "Receive")


def test_name_that_is_taken_again_begins_anew(post: Post) -> None:
    post.plan(domain_recipients_per_day=100)
    post.message().to(*people(40))
    sent = post.message()
    sent.to(*people(10, "sent"))
    assert sent.end() == "DUNNO"
    post.message("forged@outside.test").to("a@outside.test")
    post.log_in()
    underway = post.message()
    underway.to(*people(3, "underway"))
    assert post.used() == 53
    post.put(replace(ALICE, mailbox_id="c" * 32))
    # What is reserved still may be accepted: it counts, for whoever has the name.
    assert post.used() == 43
    assert post.on_record() == 0
    post.ledger.settle()
    known = figures.of_account(post.root, "alice", post.ledger.day(post.now), post.now)
    assert (known.sent, known.refusals) == ([], [])
    assert not post.throttle._is_known("alice", HOME, post.now)
    post.restart()
    assert post.used() == 43
    # The domain's count knows no names.
    view = post.directory.account("alice")
    assert view
    assert post.ledger.used(view, post.ledger.day(post.now))[1] == 53
    assert underway.end() == "DUNNO"
    # Another password is no other mailbox.
    post.put(replace(ALICE, mailbox_id="c" * 32, password_hash=OTHER_HASH))
    assert post.used() == post.on_record() == 43


def test_name_that_changed_hands_while_the_daemon_was_down_begins_anew(post: Post) -> None:
    sent = post.message()
    sent.to(*people(10))
    sent.end()
    post.stop()
    del post.directory
    post.put(replace(ALICE, mailbox_id="c" * 32))
    post.start()
    assert post.used() == 0


def test_address_of_several_accounts_is_told_to_receive_where_that_helps_one(post: Post) -> None:
    post.put(Address("both", "example.com", (SENDER, BOB.address)))
    post.put(replace(ALICE, pop_before_smtp=False))
    answer = post.by_window("both@example.com").to("a@outside.test")
    assert refused(answer, "550 5.7.1", "Receive your mail first")


def test_what_a_customer_sends_to_others_here_is_counted(post: Post) -> None:
    post.log_in()
    message = post.by_window(local=True)
    assert message.to(BOB.address) == "DUNNO"
    assert message.end() == "DUNNO"
    assert post.on_record() == 1
    relayed = post.by_window()
    assert relayed.to(*people(3)) == "OK"
    assert relayed.end() == "DUNNO"
    assert post.on_record() == 4
    assert post.on_record() == 4
    assert post.db.query("SELECT DISTINCT ip, way FROM count") == [(HOME, "login")]


def test_closed_way_ends_a_message_on_its_way(post: Post) -> None:
    post.log_in()
    message = post.by_window()
    assert message.to("a@outside.test") == "OK"
    post.put(replace(ALICE, password_hash=OTHER_HASH))
    assert refused(message.to("b@outside.test"), "550 5.7.1", "Receive")


def test_webmail_is_counted_as_such(post: Post) -> None:
    message = post.message(policy_context="webmail")
    assert message.to("a@outside.test", "b@outside.test") == "DUNNO"
    assert message.end() == "DUNNO"
    assert post.on_record() == 2
    assert post.db.query("SELECT DISTINCT way FROM count") == [("webmail",)]
    forged = post.message(policy_context="webmail", sender=BOB.address)
    assert refused(forged.to("a@outside.test"), "550 5.7.1", "not an address")
    assert post.message(policy_context="end_webmail").to("a@outside.test")[:4] == "421 "


@pytest.mark.parametrize("context", ["submission", "end_submission", "webmail", "end_webmail"])
@pytest.mark.parametrize("name", ["", "nobody", "alice@example.com", "%s", "'"])
def test_stranger_never_passes_on_submission(post: Post, context: str, name: str) -> None:
    answer = post.message(sasl_username=name, policy_context=context).to("a@outside.test")
    assert answer[:4] in ("550 ", "521 ")


def test_account_deleted_meanwhile_sends_no_more(post: Post) -> None:
    message = post.message()
    assert message.to("a@outside.test") == "DUNNO"
    post.delete(ALICE)
    assert refused(message.to("b@outside.test"), "550 5.7.1", "alice")
    assert message.end().startswith("521 5.7.1")


def test_question_about_no_mail_is_answered_and_changes_nothing(post: Post) -> None:
    assert post.ask(policy_context="status") == "DUNNO"
    assert post.ask() == "DUNNO"
    for context in ("relay", "rcpt", "webmail", "submission", "end", "end_submission"):
        for instance in ("", "x" * 101):
            answer = post.ask(policy_context=context, sasl_username="alice", instance=instance)
            assert answer.startswith("451 4.3.5")
    assert list(post.ledger.messages()) == []


# As whom


def test_sender_is_an_address_that_leads_to_the_account(post: Post) -> None:
    post.put(domain("example.com", "sakura"), domain("sakura.test", "sakura"))
    post.put(HostedDomain("other.test", BOB.address, owner="wakaba"))
    post.put(Mailbox("carol", "example.com", "c" * 32, HASH))
    post.put(
        Address("s1", "example.com", (SENDER,)),
        *(Address(f"s{n}", "example.com", (f"s{n - 1}@example.com",)) for n in range(2, 12)),
        Address("both", "example.com", (BOB.address, SENDER)),
        Address("away", "example.com", ("a@outside.test",)),
        Address("desk", "example.com", (SENDER,)),
        Address("", "example.com", (SENDER,)),
        Address("sales", "sakura.test", ("S2@example.com".lower(),)),
        Address("theirs", "other.test", (SENDER,)),
    )
    right = [SENDER, SENDER.upper(), "info@example.com", "both@example.com", "sales@sakura.test"]
    right += ["s1@example.com", "s10@example.com", "INFO@EXAMPLE.COM", "abuse@sakura.test"]
    for sender in right:
        assert post.message(sender).to("a@outside.test") == "DUNNO", sender
    wrong = [BOB.address, "carol@example.com", "away@example.com", "caught@example.com"]
    wrong += ["s11@example.com", "theirs@other.test", "x@outside.test", "alice", "@example.com"]
    wrong += ["@", "alice@", f"x{SENDER}", f"{SENDER}.test", "alice@sakura.test"]
    # "desk" and the Kelvin sign, which is a "k" in lower case.
    wrong += ["des\N{KELVIN SIGN}@example.com"]
    for sender in wrong:
        answer = post.message(sender).to("a@outside.test")
        assert refused(answer, "550 5.7.1", "alice"), sender


def test_null_sender_goes_to_one_recipient_and_only_with_a_password(post: Post) -> None:
    message = post.message("")
    assert message.to("a@outside.test", "a@outside.test") == "DUNNO"
    assert refused(message.to("b@outside.test"), "550 5.5.3", "1", "2")
    assert message.end() == "DUNNO"
    assert post.on_record() == 1
    post.log_in()
    assert refused(post.by_window("").to("a@outside.test"), "550 5.7.1")


def test_several_accounts_behind_one_address(post: Post) -> None:
    post.put(Address("team", "example.com", (SENDER, BOB.address)))
    post.log_in("alice")
    post.now += 1
    post.log_in("bob")
    assert post.by_window(SENDER).to("a@outside.test") == "OK"
    assert post.by_window(BOB.address).to("a@outside.test") == "OK"
    assert (post.used("alice"), post.used("bob")) == (1, 1)
    # Who logged in last is charged.
    message = post.by_window("team@example.com")
    assert message.to("a@outside.test") == "OK"
    assert (post.used("alice"), post.used("bob")) == (1, 2)
    post.now += 1
    post.log_in("alice")
    # A message on its way stays with whom it began.
    assert message.to("b@outside.test") == "OK"
    assert (post.used("alice"), post.used("bob")) == (1, 3)
    assert post.by_window("team@example.com").to("a@outside.test") == "OK"
    assert post.used("alice") == 2
    assert refused(post.by_window("x@outside.test").to("a@outside.test"), "550 5.7.1")
    assert refused(
        post.by_window(SENDER, source=ELSEWHERE).to("a@outside.test"), "550 5.7.1", "Receive"
    )


# Refusals are remembered


def test_repeated_refusals_are_counted_and_the_latest_is_told(post: Post) -> None:
    post.plan(recipients_per_message=1)
    for n in range(12):
        post.now += 1
        post.message().to(*people(3 + n, f"m{n}-"))
    query = "SELECT account, day, reason, sender, at, reached, recipient, times FROM refusal"
    what = ("alice", post.ledger.day(post.now), "message-recipients", SENDER, post.now, 2)
    assert post.db.query(query) == [(*what, "m11-1@outside.test", 12)]
    post.now += 86400
    post.message("info@example.com").to(*people(2))
    post.message().to(*people(2))
    rows = post.db.query("SELECT sender, times FROM refusal ORDER BY changed")
    assert rows == [(SENDER, 12), ("info@example.com", 1), (SENDER, 1)]


def test_last_ten_refusals_are_kept(post: Post) -> None:
    for n in (*range(12), 5):
        post.message(f"forged{n}@outside.test").to("a@outside.test")
    rows = post.db.query("SELECT sender, times FROM refusal ORDER BY changed")
    kept = [*range(2, 5), *range(6, 12)]
    assert rows == [*((f"forged{n}@outside.test", 1) for n in kept), ("forged5@outside.test", 2)]


def test_refusals_of_strangers_are_not_kept(post: Post) -> None:
    post.by_window().to("a@outside.test")
    assert post.db.query("SELECT * FROM refusal") == []


def test_plan_with_no_name_has_the_usual_limits(post: Post) -> None:
    post.put(HostedDomain("example.com", SENDER), PlanLimits("light", recipients_per_message=1))
    assert post.message().to(*people(100)) == "DUNNO"
