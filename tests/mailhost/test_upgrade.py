"""A server made before customers could send: `init` again makes one of today's of it."""

from __future__ import annotations

import stat
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from mailhost import instance
from mailhost.__main__ import main
from mailhost.config import load_config
from mailhost.host import Host, Status
from mailhost.instance import InstanceError, missing_programs
from mailhost.paths import Paths
from mailhost.policy.directory import Directory, Limits
from mailhost.records import Address, Entry, HostedDomain, Mailbox
from tests.earlier import OUTBOUND, SIZE, make_earlier
from tests.idle import idle_server
from tests.mailhost.policy.logins import ALICE
from tests.mailhost.policy.test_restart import running
from tests.servers import free_ports

pytestmark = pytest.mark.servers

RECORDS = (
    HostedDomain("example.com", "alice@example.com"),
    HostedDomain("example.net", "alice@example.com"),
    ALICE,
    Mailbox("bob", "example.com", "b" * 32, ALICE.password_hash),
    Address("info", "example.com", ("alice@example.com", "friend@outside.test")),
    Address("info", "example.net", ("alice@example.com",)),
)


@pytest.fixture
def earlier() -> Iterator[Path]:
    """The directory of such a server."""
    if problem := missing_programs():
        pytest.skip(problem)
    with idle_server("mail1.plusmail.test") as root:
        with Host(root) as host, host.lock():
            host.load(RECORDS)
        make_earlier(root)
        yield root


def init(root: Path, *options: str) -> None:
    assert main(["--root", str(root), "init", *options]) == 0


def test_settings_of_both_versions_are_read(earlier: Path) -> None:
    config = load_config(earlier)
    assert (config.max_recipients, config.message_size_limit) == (1100, SIZE + 64 * 1024)
    assert (config.submission_port, config.policy_port) == (2587, 2400)
    # Whether mail leaves is the operator's to say.
    assert config.outbound == OUTBOUND
    text = (earlier / "host.json").read_text()
    (earlier / "host.json").write_text(text.replace(": 100,", ": 50,"))
    assert load_config(earlier).max_recipients == 50


def test_limits_that_somebody_chooses_today_stay(earlier: Path) -> None:
    init(earlier, "--max-recipients", "100", "--outbound", "smtp:")
    init(earlier)
    config = load_config(earlier)
    assert (config.max_recipients, config.outbound) == (100, "smtp:")


def test_daemons_ask_for_init_instead_of_failing(earlier: Path) -> None:
    for server in ("policy", "lists", "usage", "events"):
        with pytest.raises(InstanceError, match="run init again"):
            instance.run(earlier, server)


def test_worker_goes_on_before_init(earlier: Path) -> None:
    new = HostedDomain("example.org", "alice@example.com")
    sales = Address("sales", "example.org", ("alice@example.com",))
    with Host(earlier) as host, host.lock():
        number = host.highest_change()
        outcomes = host.apply(
            [Entry(new.key, number + 1, new), Entry(sales.key, number + 2, sales)]
        )
        assert {outcome.status for outcome in outcomes.values()} == {Status.APPLIED}, outcomes
        assert host.lookup("sales@example.org") == ["alice@example.com"]


def test_init_brings_everything_up_to_date_and_keeps_what_is_there(earlier: Path) -> None:
    init(earlier, "--outbound", "smtp:")
    paths = Paths(earlier)
    for directory in (paths.policy, paths.lists, paths.usage):
        assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    for file in (paths.policy_key, paths.panel_imap, paths.dovecot_conf):
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert "quota_rule" in (paths.dovecot / "dovecot-sql.conf.ext").read_text()
    assert "policy_context=relay" in (paths.postfix / "main.cf").read_text()
    with Host(earlier) as host, host.lock():
        held = {entry.key: entry.record for entry in host.records()}
        assert held.keys() == {record.key for record in RECORDS}
        assert held[ALICE.key] == Mailbox(
            ALICE.name, ALICE.domain, ALICE.mailbox_id, ALICE.password_hash, quota_bytes=SIZE
        )
        assert host.differences() == []
        assert host.lookup("info@example.com") == ["alice@example.com", "friend@outside.test"]


def test_until_the_records_come_the_manuals_limits_hold_and_each_domain_stands_alone(
    earlier: Path,
) -> None:
    init(earlier)
    with closing(Directory(Paths(earlier).store)) as directory:
        directory.refresh()
        alice, bob = directory.account("alice"), directory.account("bob")
        assert alice
        assert bob
        assert alice.limits == Limits(3 * 1024 * 1024, 75 * 1024, 100, 1000, 0)
        assert alice.pop_before_smtp
        assert directory.may_send(alice, "info@example.com")
        assert not directory.may_send(alice, "info@example.net")
        assert not directory.may_send(bob, "info@example.com")


def test_policy_daemon_runs_on_what_was_there(earlier: Path) -> None:
    init(earlier, "--policy-port", str(free_ports(1)[0]))
    with running(earlier) as daemon:
        assert instance.problem_of(earlier, "policy") == ""
        assert daemon.end() == 0
