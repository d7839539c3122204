"""Settings and templates: what the servers could not be run with is refused before rendering."""

from __future__ import annotations

import re
import socket
import stat
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from mailhost import instance, panel_imap, render
from mailhost.__main__ import main
from mailhost.config import ConfigError, HostConfig, load_config
from mailhost.paths import Paths, suitable_root
from standalone.__main__ import prepare_server
from standalone.place import SERVER, Ports, mailhost_root
from tests.servers import free_ports

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
        ("panel_imap_port", 65536),
        ("panel_imap_port", 2143),
        ("panel_imap_listen", "localhost"),
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


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("error:5.7.1 This server sends no mail to other domains", "smtp:[127.0.0.1]:2526"),
        ("smtp:[127.0.0.1]:9999", "smtp:[127.0.0.1]:2526"),
        ("smtp:[relay.example.jp]", "smtp:[relay.example.jp]"),
    ],
)
def test_demo_server_sends_into_files_unless_somebody_named_a_route(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, before: str, after: str
) -> None:
    made: list[HostConfig] = []
    monkeypatch.setattr(instance, "init", lambda _root, config: made.append(config))
    root = mailhost_root(tmp_path)
    root.mkdir(parents=True)
    HostConfig(SERVER, outbound=before).save(root)
    prepare_server(tmp_path, Ports())
    assert made[0].outbound == after


def test_new_demo_server_never_sends_to_the_internet(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[HostConfig] = []
    monkeypatch.setattr(instance, "init", lambda _root, config: made.append(config))
    prepare_server(tmp_path, Ports())
    assert made[0].outbound == "smtp:[127.0.0.1]:2526"


def rendered(tmp_path: Path, **settings: Any) -> Path:
    """Render a server's configuration; return its root."""
    paths = Paths(tmp_path)
    for directory in (paths.postfix, paths.dovecot, paths.policy_key.parent):
        directory.mkdir(parents=True, exist_ok=True)
    paths.policy_key.write_text("secret\n")
    config = HostConfig("mail1.plusmail.test", **settings)
    panel_imap.make_door(paths, config)
    render.render(tmp_path, config)
    return tmp_path


def test_what_hashes_passwords_is_not_what_dovecot_says_over_http(tmp_path: Path) -> None:
    text = (rendered(tmp_path) / "etc/dovecot/dovecot.conf").read_text()
    assert "X-Policy-Key: secret\n" in text
    (nonce,) = re.findall(r"^auth_policy_hash_nonce = (\S+)$", text, re.MULTILINE)
    assert len(nonce) == 64
    assert "secret" not in nonce


@pytest.mark.parametrize(("port", "warned"), [("2400", True), ("924", False)])
def test_init_says_when_any_local_user_could_take_the_daemons_port(
    port: str,
    warned: bool,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(instance, "init", lambda _root, _config: None)
    options = ["--hostname", "mail1.example.jp", "--policy-port", port]
    assert main(["--root", str(tmp_path), "init", *options]) == 0
    assert ("--policy-port 924" in capsys.readouterr().out) is warned


def test_init_says_which_port_another_postfix_would_share(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(instance, "init", lambda _root, _config: None)
    options = ["--hostname", "mail1.example.jp", "--smtp-listen", "127.0.0.1"]
    smtp, reply = free_ports(2)
    options += ["--submission-port", "0", "--submissions-port", "0"]
    options += ["--smtp-port", str(smtp), "--reply-port", str(reply)]
    with socket.socket() as other:
        # As Postfix listens.
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        other.bind(("127.0.0.1", reply))
        other.listen()
        assert main(["--root", str(tmp_path), "init", *options]) == 0
        said = capsys.readouterr().out
        assert f"listens on port {reply}." in said
        assert f"port {smtp}." not in said
    assert main(["--root", str(tmp_path), "init", *options]) == 0
    assert "listens on port" not in capsys.readouterr().out


def test_port_of_zero_is_not_listened_on(tmp_path: Path) -> None:
    """A line of its options that stayed would belong to the service above."""
    master = (rendered(tmp_path, submission_port=0, submissions_port=0)) / "etc/postfix/master.cf"
    lines = [line for line in master.read_text().splitlines() if line and line[0] != "#"]
    assert not any(":0 inet" in line for line in lines)
    port_25 = next(n for n, line in enumerate(lines) if line.startswith("127.0.0.1:2525 inet"))
    assert not lines[port_25 + 1].startswith(" ")
    text = (rendered(tmp_path) / "etc/postfix/master.cf").read_text()
    assert re.search(r"^127\.0\.0\.1:2587 inet .* smtpd\n  -o ", text, re.MULTILINE)
    assert re.search(r"^127\.0\.0\.1:2465 inet .* smtpd\n  -o ", text, re.MULTILINE)


@pytest.mark.parametrize(
    ("listen", "service", "protocols"),
    [
        ("*", "2525", "all"),
        ("192.0.2.1", "192.0.2.1:2525", "ipv4"),
        ("2001:db8::1", "[2001:db8::1]:2525", "all"),
    ],
)
def test_postfix_speaks_ipv6_where_it_listens_on_it(
    tmp_path: Path, listen: str, service: str, protocols: str
) -> None:
    etc = rendered(tmp_path, smtp_listen=listen) / "etc/postfix"
    assert f"\n{service} inet " in (etc / "master.cf").read_text()
    assert f"\ninet_protocols = {protocols}\n" in (etc / "main.cf").read_text()


def test_only_root_reads_the_secret_between_dovecot_and_the_policy_daemon(tmp_path: Path) -> None:
    file = rendered(tmp_path) / "etc/dovecot/dovecot.conf"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_stop_without_names_means_all(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--root", str(tmp_path), "stop"]) == 0
    said = capsys.readouterr().out.splitlines()
    assert said == [f"{server} was not running." for server in instance.SERVERS]
    assert main(["--root", str(tmp_path), "stop", "webmail"]) == 0
    assert capsys.readouterr().out == "webmail was not running.\n"
    with pytest.raises(SystemExit):
        main(["--root", str(tmp_path), "stop", "sendmail"])
