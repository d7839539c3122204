"""What the sending rules know of accounts and addresses, and how soon they know of a change."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from mailhost.policy import directory
from mailhost.policy.directory import Limits
from mailhost.records import Address, HostedDomain, Mailbox, PlanLimits
from tests.mailhost.policy.logins import ALICE, BOB, HASH, OTHER_HASH
from tests.mailhost.policy.post import Post, news

USUAL = PlanLimits("usual")


@pytest.fixture
def post(tmp_path: Path) -> Iterator[Post]:
    made = Post(tmp_path)
    yield made
    made.close()


def limits(post: Post, name: str = "alice") -> Limits:
    view = post.directory.account(name)
    assert view
    return view.limits


def test_limits_are_the_accounts_own_or_its_plans(post: Post) -> None:
    usual = Limits(3 * 1024 * 1024, 75 * 1024, 100, 1000, 0)
    assert limits(post) == usual
    post.plan(recipients_per_day=50, domain_recipients_per_day=70)
    assert limits(post) == replace(usual, recipients_per_day=50, domain_recipients_per_day=70)
    post.put(replace(ALICE, recipients_per_day=60, list_message_bytes=10))
    assert (limits(post).recipients_per_day, limits(post).list_message_bytes) == (60, 10)
    assert limits(post, "bob").recipients_per_day == 50
    # A plan that nobody told of, or none.
    for plan in ("unknown", ""):
        post.put(HostedDomain("example.com", ALICE.address, plan=plan))
        assert limits(post, "bob") == usual


def test_plan_and_account_both_have_to_allow_pop_before_smtp(post: Post) -> None:
    for plan, own in ((True, True), (True, False), (False, True), (False, False)):
        post.plan(pop_before_smtp=plan)
        post.put(replace(ALICE, pop_before_smtp=own))
        view = post.directory.account("alice")
        assert view
        assert view.pop_before_smtp is (plan and own)


def test_account_is_known_until_it_is_deleted(post: Post) -> None:
    first = post.directory.account("alice")
    assert first
    assert (first.address, first.mailbox_id) == (ALICE.address, ALICE.mailbox_id)
    post.put(replace(ALICE, password_hash=OTHER_HASH))
    second = post.directory.account("alice")
    assert second
    assert second.fingerprint != first.fingerprint
    post.delete(ALICE)
    assert post.directory.account("alice") is None
    for name in ("", "nobody", "alice@example.com", "x" * 100_000, "'; DROP TABLE record"):
        assert post.directory.account(name) is None


def test_answers_are_kept_until_the_store_changes_or_they_are_too_many(
    post: Post, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(directory, "_MOST_KEPT", 10)
    post.directory.refresh()
    kept = post.directory.account("alice")
    post.directory.refresh()
    assert post.directory.account("alice") is kept
    for n in range(11):
        post.directory.account(f"nobody{n}")
    post.directory.refresh()
    again = post.directory.account("alice")
    assert again == kept
    assert again is not kept


def test_lists_are_found_behind_any_forwarding(post: Post) -> None:
    def found(address: str) -> list[str]:
        return [view.address for view in post.directory.lists_behind(address)]

    post.put(news(), replace(news(), local_part="other"))
    post.put(
        Address("both", "example.com", ("news@example.com", "other@example.com", BOB.address)),
        Address("deep", "example.com", ("both@example.com", "a@outside.test")),
        # A circle may be in the store for a moment.
        Address("c1", "example.com", ("c2@example.com", "news@example.com")),
        Address("c2", "example.com", ("c1@example.com",)),
    )
    assert found("news@example.com") == ["news@example.com"]
    assert found("deep@example.com") == ["news@example.com", "other@example.com"]
    assert found("c2@example.com") == ["news@example.com"]
    for address in (BOB.address, "nobody@example.com", "news@outside.test", "news", "@", ""):
        assert found(address) == []
    post.put(Address("", "example.com", ("news@example.com",)))
    assert found("nobody@example.com") == ["news@example.com"]
    # The catch-all does not take what has a place of its own.
    assert found(BOB.address) == []
    post.delete(news())
    assert found("nobody@example.com") == []


def test_address_of_a_domain_no_longer_hosted_leads_nowhere(post: Post) -> None:
    gone = HostedDomain("gone.test", ALICE.address, owner="sakura")
    post.put(HostedDomain("example.com", ALICE.address, owner="sakura"), gone)
    post.put(Address("info", "gone.test", (ALICE.address,)))
    view = post.directory.account("alice")
    assert view
    assert post.directory.may_send(view, "info@gone.test")
    post.delete(gone)
    assert not post.directory.may_send(view, "info@gone.test")


def test_domains_without_a_known_owner_are_nobodys_in_common(post: Post) -> None:
    post.put(HostedDomain("else.test", "carol@else.test"))
    post.put(Mailbox("carol", "else.test", "c" * 32, HASH))
    post.put(Address("trick", "else.test", (ALICE.address,)))
    view = post.directory.account("alice")
    assert view
    assert post.directory.may_send(view, "info@example.com")
    assert not post.directory.may_send(view, "trick@else.test")
