"""What can be said of SSH without any server: the time of refusals, who is admitted, names."""

from __future__ import annotations

import asyncio
import os
import socket
from pathlib import Path
from typing import Any, cast

import pytest
from cryptography.hazmat.primitives.serialization import load_ssh_private_key

from mailhost import instance
from mailhost.config import ConfigError, HostConfig
from mailhost.grammar import GrammarError
from mailhost.paths import Paths
from mailhost.records import Mailbox, RecordError
from mailhost.ssh import alpine, auth, control, door, messages
from mailhost.ssh.door import Connection, Door

CONFIG = HostConfig("mail1.plusmail.test", slow_guessing=False)


class Keeper:
    """A keeper whose Dovecot takes its time, and does not answer."""

    def __init__(self) -> None:
        self.asked = 0

    async def connect(self, to: str) -> socket.socket:
        assert to == "auth"
        self.asked += 1
        raise OSError("Dovecot is down")


def make_door(keeper: Keeper) -> Door:
    return Door(CONFIG, cast("door.KeeperClient", keeper))


@pytest.mark.parametrize("seconds", [0.0, 0.2, 0.4, 0.7])
def test_refusal_takes_a_multiple_of_one_time(
    seconds: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 1000.0
    slept: list[float] = []

    async def sleep(duration: float) -> None:
        slept.append(duration)

    async def asked(*_: object) -> str:
        nonlocal now
        now += seconds
        return ""

    to = make_door(Keeper())
    monkeypatch.setattr("mailhost.ssh.door.asyncio.sleep", sleep)
    monkeypatch.setattr("mailhost.ssh.door.time.monotonic", lambda: now)
    monkeypatch.setattr(to, "_asked", asked)
    assert asyncio.run(to.log_in("alice", "x", "192.0.2.1")) == ""
    # What Dovecot took is made up for.
    times = (seconds + slept[0]) / door.QUICK_REFUSAL_SECONDS
    assert times == pytest.approx(round(times))
    assert slept[0] > 0


@pytest.mark.parametrize(
    ("login", "password"),
    [("", "x"), ("a b", "x"), ("a\0b", "x"), ("x" * 255, "x"), ("alice", ""), ("alice", "a\0b"),
     ("alice", "x" * 1001), ("alice*panel", "x"), ("alice\tnologin", "x"), ("あ", "x")],
)  # fmt: skip
def test_what_can_be_no_login_is_refused_unasked(
    login: str, password: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def sleep(duration: float) -> None:
        assert duration > 0

    monkeypatch.setattr("mailhost.ssh.door.asyncio.sleep", sleep)
    keeper = Keeper()
    assert asyncio.run(make_door(keeper).log_in(login, password, "192.0.2.1")) == ""
    assert not keeper.asked


class Client:
    """A connection of SSH that only knows whether it was ended."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.aborted = False

    def get_extra_info(self, _name: str) -> tuple[str, int]:
        return self.address, 4711

    def abort(self) -> None:
        self.aborted = True


def connect(to: Door, address: str) -> Client:
    client = Client(address)
    Connection(to).connection_made(cast("Any", client))
    return client


def test_nobody_keeps_others_out_by_waiting() -> None:
    to = make_door(Keeper())
    one = [connect(to, "192.0.2.1") for _ in range(door.MOST_FROM_ONE + 2)]
    assert [client.aborted for client in one] == [False] * door.MOST_FROM_ONE + [True] * 2
    others = [connect(to, f"198.51.100.{n}") for n in range(door.MOST_STRANGERS)]
    assert not any(client.aborted for client in others)
    assert all(client.aborted for client in one)


def test_login_begun_before_a_change_is_worth_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    async def account_of(*_: object) -> str:
        await to.kick(["alice"])
        return "alice"

    async def connect_to(_to: str) -> socket.socket:
        return cast("socket.socket", None)

    keeper = Keeper()
    to = make_door(keeper)
    monkeypatch.setattr(keeper, "connect", connect_to)
    monkeypatch.setattr(auth, "account_of", account_of)
    assert asyncio.run(to.log_in("alice", "x", "192.0.2.1")) == ""


def test_kicking_where_no_service_runs_is_nothing_to_do(tmp_path: Path) -> None:
    control.kick(Paths(tmp_path), ["alice"])
    (tmp_path / "ssh").mkdir()
    control.listen(Paths(tmp_path)).close()
    control.kick(Paths(tmp_path), ["alice"])


def test_control_takes_names_and_nothing_else() -> None:
    for content, wanted in ((b'["a"]', ["a"]), (b"[1]", None), (b"{}", None), (b"x", None)):
        ours, theirs = messages.pair()
        with ours, theirs:
            ours.send(content)
            assert control.names_from(theirs) == wanted


def test_messages_go_whole_with_their_files() -> None:
    ours, theirs = messages.pair()
    with ours, theirs, Path(os.devnull).open() as file:
        messages.send(ours, {"do": "x"}, [file.fileno()])
        message, files = messages.receive(theirs)
        assert message == {"do": "x"}
        assert os.fstat(files[0]).st_rdev == os.fstat(file.fileno()).st_rdev
        os.close(files[0])
        ours.close()
        with pytest.raises(messages.Closed):
            messages.receive(theirs)


def test_settings_of_alpine_hold_names_alone() -> None:
    texts = alpine.files("alice", "example.com", 5003)
    assert "user-domain=example.com\n" in texts["/etc/pinerc.fixed"]
    assert "{{" not in texts["/etc/pinerc.fixed"]
    for name, domain in (("a:b", "example.com"), ("alice", "x\neditor=/bin/sh"), ("", "x.test")):
        with pytest.raises(GrammarError):
            alpine.files(name, domain, 5003)


def test_nothing_fixed_is_empty_by_mistake() -> None:
    """An empty value would fix nothing (`alpine -conf`)."""
    lines = alpine.files("alice", "example.com", 5003)["/etc/pinerc.fixed"].splitlines()
    settings = [line for line in lines if line[:1].isalpha()]
    assert len(settings) > 50
    assert not [line for line in settings if line.endswith("=")]


def test_users_of_its_own() -> None:
    wrong: tuple[dict[str, Any], ...] = (
        {"ssh_uid": CONFIG.mail_uid},
        {"ssh_session_uid": CONFIG.ssh_uid},
        {"ssh_session_uid": CONFIG.home_uid},
        {"ssh_uid": 0},
        {"ssh_port": -1},
        {"ssh_sessions": 0},
    )
    for settings in wrong:
        with pytest.raises(ConfigError):
            HostConfig("mail1.plusmail.test", **settings)


def test_switch_is_yes_or_no() -> None:
    with pytest.raises(RecordError):
        Mailbox("a", "x.test", "a" * 32, "{SHA512-CRYPT}$6$s$" + "a" * 86, ssh=cast("bool", 1))


def test_no_port_no_server() -> None:
    assert "ssh" in instance.wanted(HostConfig("mail1.plusmail.test"))
    assert "ssh" not in instance.wanted(HostConfig("mail1.plusmail.test", ssh_port=0))


def test_host_key_is_one_that_ssh_reads(tmp_path: Path) -> None:
    paths = Paths(tmp_path)
    for directory in (paths.ftp, paths.ssh):
        directory.mkdir()
    instance._make_host_keys(paths)
    load_ssh_private_key(paths.ssh_host_key.read_bytes(), None)
    assert paths.ssh_host_key.stat().st_mode & 0o777 == 0o600
