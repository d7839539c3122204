"""Settings and templates: what the servers could not be run with is refused before rendering."""

from __future__ import annotations

import re
import socket
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from mailhost import instance, render
from mailhost.__main__ import main
from mailhost.config import ConfigError, HostConfig, load_config
from mailhost.paths import suitable_root
from standalone.__main__ import prepare_server
from standalone.place import SERVER, Ports, mailhost_root

HOST = HostConfig("mail1.plusmail.test")
TEMPLATES = Path(render.__file__).parent


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("hostname", "mail1"),
        ("hostname", "mail1.example.com\nrelayhost = evil"),
        ("smtp_listen", "localhost"),
        ("login_listen", "127.0.0.1, ::"),
        ("smtp_port", 65536),
        ("smtp_port", 0),
        ("pop3_port", -1),
        ("submission_port", 65536),
        ("policy_port", 0),
        ("mail_uid", 0),
        ("message_size_limit", 10),
        ("max_recipients", 0),
        ("outbound", "local:"),
        ("outbound", "smtp:[127.0.0.1]:25\nx = y"),
        ("outbound", "error:4.7.1 later"),
        ("homes_root", "relative"),
        ("homes_root", "/srv/../etc"),
        ("certificates", "/srv/with blank"),
        ("postmaster", "postmaster"),
        ("window_minutes", 0),
        ("no_window_networks", "192.0.2.1/24"),
        ("no_window_networks", "192.0.2.0/24, office"),
        ("time_zone", "Mars/Olympus"),
        ("time_zone", "../etc/passwd"),
        ("time_zone", ""),
        ("help_url", "https://panel.example.jp/help\nx"),
    ],
)
def test_setting_the_servers_cannot_use_is_named(setting: str, value: Any) -> None:
    with pytest.raises(ConfigError, match=setting):
        HostConfig(**({"hostname": "mail1.plusmail.test"} | {setting: value}))


def test_settings_come_back_from_their_file(tmp_path: Path) -> None:
    HOST.save(tmp_path)
    assert load_config(tmp_path) == HOST


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("{", "not JSON"),
        ("[]", "no hostname"),
        ("{}", "no hostname"),
        ('{"hostname": "mail1.plusmail.test", "colour": 1}', "colour"),
        ('{"hostname": "mail1.plusmail.test", "smtp_port": "25"}', "smtp_port"),
        ('{"hostname": "mail1.plusmail.test", "plaintext_login": 1}', "plaintext_login"),
    ],
)
def test_file_with_something_else_is_refused(tmp_path: Path, text: str, reason: str) -> None:
    (tmp_path / "host.json").write_text(text)
    with pytest.raises(ConfigError, match=reason):
        load_config(tmp_path)


def test_directory_without_a_server_says_what_to_do(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--root", str(tmp_path), "status"]) == 1
    assert "run init first" in capsys.readouterr().err


def test_unknown_dovecot_is_an_error_that_names_it() -> None:
    assert render.templates_for("2.3.19.1 (9b53102964)\n") == "2.3"
    with pytest.raises(render.RenderError, match=r"Dovecot 2\.9 .* 2\.3"):
        render.templates_for("2.9.1 (abc)\n")


@pytest.mark.parametrize("template", ["postfix/main.cf", "dovecot/2.3/dovecot.conf"])
def test_every_setting_is_explained_above_it(template: str) -> None:
    """A comment stands above each setting, or above the block of settings it opens."""
    explained = False
    for line in (TEMPLATES / template).read_text().splitlines():
        if line.startswith("#"):
            explained = True
        elif not line:
            explained = False
        elif re.match(r"[a-z]", line):
            assert explained, line


def test_field_without_a_value_is_an_error() -> None:
    with pytest.raises(KeyError):
        render.fill("a = {{ nothing }}", {})


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("/srv/" + "a" * 80, "too long"),
        ("/srv/with blank", "characters"),
        ("/srv/with$dollar", "characters"),
        ("/srv/with%percent", "characters"),
        ("/etc/passwd", "not a directory"),
    ],
)
def test_unsuitable_root_is_explained(path: str, reason: str) -> None:
    assert reason in (suitable_root(Path(path)) or "")


def test_root_below_a_closed_directory_is_explained(tmp_path: Path) -> None:
    short = Path("/tmp") / f"closed-{tmp_path.name[-8:]}"
    short.mkdir(mode=0o700)
    try:
        assert "closed to other users" in (suitable_root(short / "mail1") or "")
        short.chmod(0o711)
        assert suitable_root(short / "mail1") is None
    finally:
        short.rmdir()


def test_every_setting_has_its_words_in_the_help(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--root", "/srv/mail1", "init", "--help"])
    text = " ".join(capsys.readouterr().out.split())
    for setting in fields(HostConfig):
        option = f"--{setting.name.replace('_', '-')} {setting.metadata['form']}"
        assert f"{option} {setting.metadata['help']}" in text
    assert "port for POP3 (usually 110); 0: none [2110]" in text
    assert "old POP3 port 110 [yes]" in text
    assert "senders get TEXT) [smtp:]" in text


def test_reason_of_a_failed_connection_has_no_number() -> None:
    with socket.create_server(("127.0.0.1", 0)) as unused:
        port = unused.getsockname()[1]
    with pytest.raises(OSError, match="111") as refused:
        socket.create_connection(("127.0.0.1", port), 5)
    assert instance._reason(refused.value) == "connection refused"
    assert instance._reason(TimeoutError("timed out")) == "timed out"


def test_demo_server_has_somebody_who_reads_postmasters_mail(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[HostConfig] = []
    monkeypatch.setattr(instance, "init", lambda _root, config: made.append(config))
    prepare_server(tmp_path, Ports())
    assert made[0].postmaster == "example@example.com"
    root = mailhost_root(tmp_path)
    root.mkdir(parents=True)
    HostConfig(SERVER, postmaster="me@example.com").save(root)
    prepare_server(tmp_path, Ports())
    assert made[1].postmaster == "me@example.com"
