"""Where `make run` puts things, and what it refuses, in one sentence."""

import contextlib
import os
import re
import socket
import stat
from collections.abc import Iterator
from dataclasses import fields, replace
from pathlib import Path

import pytest

from standalone import place
from standalone.__main__ import become_root
from standalone.place import HOST, Ports, Refused


@pytest.fixture
def var(tmp_path: Path) -> Path:
    place.prepare(tmp_path / "var")
    return tmp_path / "var"


@pytest.fixture
def ports() -> Ports:
    """Return ports that were free an instant ago."""
    with contextlib.ExitStack() as stack:
        listeners = [stack.enter_context(socket.create_server((HOST, 0))) for _ in fields(Ports)]
        return Ports(*(listener.getsockname()[1] for listener in listeners))


@pytest.fixture
def taken_port() -> Iterator[int]:
    with socket.create_server((HOST, 0)) as listener:
        yield listener.getsockname()[1]


def test_port_in_use_is_named_with_the_setting_that_moves_it(ports: Ports, taken_port: int) -> None:
    with pytest.raises(Refused, match=rf"Port {taken_port} .*in use.*make run POP3_PORT=\d+"):
        replace(ports, pop3=taken_port).check_free(with_servers=True)


def test_mail_ports_do_not_matter_where_no_mail_server_runs(ports: Ports, taken_port: int) -> None:
    replace(ports, pop3=taken_port).check_free(with_servers=False)


@pytest.mark.parametrize("text", ["0", "65536", "eighty", "-1", "８０"])
def test_what_is_no_port_is_refused(text: str) -> None:
    with pytest.raises(Refused, match="WEB_PORT"):
        Ports.chosen({"WEB_PORT": text})


def test_one_port_for_two_servers_is_refused(ports: Ports) -> None:
    with pytest.raises(Refused, match="POP3_PORT and IMAP_PORT both"):
        replace(ports, imap=ports.pop3).check_free(with_servers=True)


def test_directory_with_other_things_in_it_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(Refused, match="PLUSMAIL_VAR"):
        place.prepare(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_link_is_refused(tmp_path: Path, var: Path) -> None:
    (tmp_path / "link").symlink_to(var)
    with pytest.raises(Refused):
        place.prepare(tmp_path / "link")


def test_directory_that_others_can_write_is_refused(var: Path) -> None:
    var.chmod(0o777)
    with pytest.raises(Refused, match="chmod go-w"):
        place.prepare(var)


def test_servers_can_pass_through_whatever_the_umask(tmp_path: Path) -> None:
    before = os.umask(0o077)
    try:
        place.prepare(tmp_path / "var")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "var").stat().st_mode) == 0o755


def test_second_supervisor_on_the_same_data_is_refused(var: Path) -> None:
    refusal = pytest.raises(Refused, match=f"running already.*{os.getpid()}")
    with place.alone_in(var), refusal, place.alone_in(var):
        pass
    with place.alone_in(var):
        pass


def test_secret_key_is_made_once_and_closed_to_others(var: Path) -> None:
    key = place.secret_key(var)
    assert re.fullmatch(r"[\w-]{60,}", key)
    assert place.secret_key(var) == key
    assert stat.S_IMODE((var / "secret-key").stat().st_mode) == 0o600


def test_settings_from_outside_win_over_the_demos(var: Path) -> None:
    given = {"PROPAGATION_DELAY": "5", "SECRET_KEY": "mine", "MAILHOST_ROOT": "/elsewhere"}
    environ = place.environment(given, var=var, ports=Ports(web=81), with_servers=True)
    assert environ["PROPAGATION_DELAY"] == "5"
    assert environ["SECRET_KEY"] == "mine"
    assert environ["DEMO"] == "1"
    assert environ["PANEL_URL"] == "http://127.0.0.1:81"
    # What only fits together is not a matter of choice.
    assert environ["MAILHOST_ROOT"] == str(var / "mailhost")


def test_customers_are_told_the_ports_that_the_demo_has(var: Path) -> None:
    environ = place.environment({}, var=var, ports=Ports(imaps=12993), with_servers=True)
    assert environ["IMAPS_PORT_SHOWN"] == "12993"
    told = {name for name in place.settings() if name.endswith("_PORT_SHOWN")}
    assert told == {name for name in environ if name.endswith("_PORT_SHOWN")}


def test_demo_reads_no_dotenv_file(var: Path) -> None:
    environ = place.environment({}, var=var, ports=Ports(), with_servers=False)
    assert environ["IGNORE_DOTENV"] == "1"
    assert environ["MAILHOST_ROOT"] == ""


def test_two_checkouts_far_away_do_not_share_their_data() -> None:
    one, other = (
        place.far_from_the_checkout(Path(path)) for path in ("/a/plusmail", "/b/plusmail")
    )
    assert one != other
    assert len(str(one)) < 30


def test_every_setting_goes_through_sudo(monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[list[str]] = []
    monkeypatch.setattr(os, "execvp", lambda _file, command: started.append(command))
    monkeypatch.setenv("TRASH_DAYS", "3")
    monkeypatch.setenv("WITHOUT_MAIL_SERVER", "")
    monkeypatch.setenv("EDITOR", "ed")
    become_root()
    [kept] = [word for word in started[0] if word.startswith("--preserve-env=")]
    names = kept.partition("=")[2].split(",")
    assert {"TRASH_DAYS", "WITHOUT_MAIL_SERVER"} <= {*names}
    assert "EDITOR" not in names
