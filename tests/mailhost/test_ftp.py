"""ProFTPD's database and configuration, with ProFTPD left out."""

from __future__ import annotations

import sqlite3
import stat
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from mailhost import instance
from mailhost.config import ConfigError, HostConfig
from mailhost.ftp import Ftp, FtpError
from mailhost.paths import Paths
from mailhost.records import Entry, HostedDomain, Mailbox, RecordError, record_from
from mailhost.store import Store
from mailhost.store.ftp import FtpUser
from tests.idle import idle_server

HASH = "{SHA512-CRYPT}$6$saltsalt$" + "a" * 86
OTHER = "{BLF-CRYPT}$2y$10$" + "b" * 53
NOW = datetime(2026, 11, 25, 9, 0, tzinfo=UTC)
ALICE = FtpUser("alice", HASH, "example.com", False)
BOX = Mailbox("alice", "example.com", "a" * 32, HASH, ftp=True)
DOMAIN = HostedDomain("example.com", "example@example.com", home="example.com")


@pytest.fixture
def ftp(tmp_path: Path) -> Ftp:
    return Ftp(Paths(tmp_path))


@pytest.fixture
def store(tmp_path: Path) -> Store:
    store = Store(tmp_path / "mail.db")
    take(store, 1, DOMAIN, BOX)
    return store


def take(store: Store, change: int, *records: HostedDomain | Mailbox) -> None:
    with store.transaction():
        store.take([Entry(record.key, change, record) for record in records], NOW)


def drop(store: Store, change: int, *keys: str) -> None:
    with store.transaction():
        store.take([Entry(key, change, None) for key in keys], NOW)


def settled(store: Store) -> None:
    store.ftp.forget_dirty()
    store.forget_kicks(store.to_kick())


# The database


def test_what_is_put_is_what_is_held(ftp: Ftp) -> None:
    fixed = FtpUser("example", OTHER, "example.com", True)
    ftp.put(["alice", "example", "gone"], {"alice": ALICE, "example": fixed})
    assert list(ftp.all()) == [ALICE, fixed]
    ftp.put(["alice"], {})
    assert list(ftp.all()) == [fixed]
    assert ftp.of(["alice", "example"]) == {"example": fixed}


def test_hash_is_bare_and_the_file_closed(ftp: Ftp, tmp_path: Path) -> None:
    ftp.put(["alice"], {"alice": ALICE})
    file = Paths(tmp_path).ftp_accounts
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    with closing(sqlite3.connect(file)) as db:
        assert db.execute("SELECT hash FROM account").fetchall() == [("$6$saltsalt$" + "a" * 86,)]
        # ProFTPD must never have to write one that it cannot: DESIGN's tried fact.
        assert db.execute("PRAGMA journal_mode").fetchone() == ("delete",)


@pytest.mark.parametrize(
    "user",
    [
        ALICE._replace(name="al'ice"),
        ALICE._replace(name="root:x"),
        ALICE._replace(name="../alice"),
        ALICE._replace(password_hash="{PLAIN}secret"),
        ALICE._replace(password_hash="{ARGON2ID}$argon2id$v=19$m=65536"),
        ALICE._replace(password_hash=HASH + "\n"),
        ALICE._replace(home="../other"),
        ALICE._replace(home="/etc"),
        ALICE._replace(home="a/../../b"),
        ALICE._replace(home="x' || '/"),
    ],
)
def test_what_keeps_no_grammar_is_not_written(ftp: Ftp, user: FtpUser) -> None:
    with pytest.raises(FtpError) as refused:
        ftp.put([user.name], {user.name: user})
    assert "secret" not in str(refused.value)
    assert list(ftp.all()) == []


def test_nobody_is_logged_in_where_proftpd_does_not_run(ftp: Ftp) -> None:
    assert ftp.sessions() == []
    ftp.kick(["alice"])


# What the store says


def test_account_with_ftp_is_marked_until_it_is_written(store: Store) -> None:
    assert store.ftp.dirty() == ["alice"]
    assert list(store.ftp.all()) == [ALICE]
    settled(store)
    take(store, 2, replace(BOX, quota_bytes=7))
    assert store.ftp.dirty() == []
    assert store.to_kick() == []


@pytest.mark.parametrize(
    ("news", "held"),
    [
        (replace(BOX, ftp=False), None),
        (replace(BOX, password_hash=OTHER), ALICE._replace(password_hash=OTHER)),
        (replace(DOMAIN, fixed_address="alice@example.com"), ALICE._replace(fixed=True)),
        (replace(DOMAIN, home=""), None),
        (replace(DOMAIN, home="elsewhere"), ALICE._replace(home="elsewhere")),
    ],
)
def test_change_is_marked_and_ends_sessions(
    store: Store, news: HostedDomain | Mailbox, held: FtpUser | None
) -> None:
    settled(store)
    take(store, 2, news)
    assert store.ftp.dirty() == ["alice"]
    assert store.to_kick() == ["alice"]
    assert store.ftp.of(["alice"]).get("alice") == held


def test_deleted_account_and_closed_domain_have_no_ftp(store: Store) -> None:
    settled(store)
    drop(store, 2, "domain:example.com")
    assert (store.ftp.dirty(), list(store.ftp.all())) == (["alice"], [])
    settled(store)
    take(store, 3, DOMAIN)
    drop(store, 4, BOX.key)
    assert (store.ftp.dirty(), list(store.ftp.all())) == (["alice"], [])


def test_older_change_does_not_switch_back(store: Store) -> None:
    take(store, 5, replace(BOX, ftp=False))
    take(store, 4, BOX)
    assert list(store.ftp.all()) == []


def test_name_that_is_taken_again_has_the_new_owners_ftp(store: Store) -> None:
    settled(store)
    take(store, 2, Mailbox("alice", "example.com", "b" * 32, OTHER))
    assert list(store.ftp.all()) == []
    assert store.to_kick() == ["alice"]


def test_record_of_an_earlier_version_has_no_ftp() -> None:
    value = BOX.value()
    del value["ftp"]
    assert record_from(BOX.key, value) == replace(BOX, ftp=False)


@pytest.mark.parametrize("wrong", [1, 0, "yes", None])
def test_switch_is_yes_or_no(wrong: object) -> None:
    with pytest.raises(RecordError):
        record_from(BOX.key, BOX.value() | {"ftp": wrong})


# Settings and configuration


@pytest.mark.parametrize(
    "setting",
    [
        {"ftp_port": -1},
        {"sftp_port": 70000},
        {"ftp_passive_ports": "11999-11000"},
        {"ftp_passive_ports": "80-90"},
        {"ftp_passive_ports": "11000"},
        {"ftp_passive_ports": "11000-11999\nUser root"},
        {"ftp_address": "ftp.example.com"},
        {"ftp_address": "*"},
        {"home_uid": 0},
        {"home_gid": 2**31},
    ],
)
def test_setting_that_proftpd_could_not_use_is_refused(setting: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match=next(iter(setting))):
        HostConfig("mail1.plusmail.test", **setting)  # type: ignore[arg-type]


@pytest.fixture
def root() -> object:
    if problem := instance.missing_programs():
        pytest.skip(problem)
    with idle_server("mail1.plusmail.test") as made:
        yield made


def rendered(root: Path, **settings: object) -> str:
    instance.init(root, HostConfig("mail1.plusmail.test", **settings))  # type: ignore[arg-type]
    return Paths(root).ftp_conf.read_text()


def test_keys_and_certificate_stay_when_init_is_repeated(root: Path) -> None:
    keys = [Paths(root).ftp / name for name in ("host_ed25519", "host_ecdsa")]
    before = [key.read_bytes() for key in keys]
    assert {stat.S_IMODE(key.stat().st_mode) for key in keys} == {0o600}
    rendered(root)
    assert [key.read_bytes() for key in keys] == before


@pytest.mark.skipif(bool(instance.missing_for("ftp")), reason="no ProFTPD")
@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"login_listen": "*"},
        {"login_listen": "::1"},
        {"ftp_port": 0},
        {"sftp_port": 0},
        {"plaintext_login": False, "slow_guessing": False, "ftp_address": "192.0.2.7"},
    ],
)
def test_proftpd_reads_what_is_rendered(root: Path, settings: dict[str, object]) -> None:
    from mailhost import programs

    rendered(root, **settings)
    answer = programs.run(["proftpd", "-t", "-c", str(Paths(root).ftp_conf)])
    assert answer.code == 0, answer.err


def test_settings_stand_in_the_configuration(root: Path) -> None:
    text = rendered(
        root,
        plaintext_login=False,
        ftp_address="192.0.2.7",
        homes_root="/srv/homes",
        home_uid=7001,
        ftp_passive_ports="50000-50010",
        sftp_port=0,
    )
    for line in (
        "TLSRequired on",
        "MasqueradeAddress 192.0.2.7",
        "PassivePorts 50000 50010",
        "7001, 5001, '/srv/homes/' || home",
        "BanEngine on",
    ):
        assert line in text
    assert "sftp.conf" not in text


def test_ftp_runs_only_where_it_has_a_port(root: Path) -> None:
    config = HostConfig("mail1.plusmail.test", ftp_port=0, sftp_port=0)
    assert "ftp" not in instance.wanted(config)
    assert "ftp" in instance.wanted(replace(config, sftp_port=2122))
    rendered(root, ftp_port=0, sftp_port=0)
    assert instance.problem_of(root, "ftp") == ""
    with pytest.raises(instance.InstanceError, match="switched off here"):
        instance.run(root, "ftp")


def test_missing_proftpd_is_one_sentence_and_mail_works_without(
    root: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(instance, "FTP_MODULES", [tmp_path / "mod_sftp.so"])
    assert instance.missing_programs() is None
    rendered(root)
    with pytest.raises(instance.InstanceError, match=r"Not installed: ProFTPD .*proftpd-core"):
        instance.run(root, "ftp")
    assert instance.problem_of(root, "ftp").startswith("Not installed: ProFTPD")
