"""FTP and SFTP by real clients: who gets in, what he sees, and what is refused to him."""

from __future__ import annotations

import ftplib
import io
import os
import shutil
import ssl
import subprocess
import time
from collections.abc import Iterator
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from mailhost import instance
from mailhost.records import HostedDomain, Mailbox
from tests.mail.conftest import Site, applied, new_site
from tests.servers import PASSWORD, MailServer, free_ports, mail_server, mailbox

pytestmark = [
    pytest.mark.servers,
    pytest.mark.skipif(bool(instance.missing_for("ftp")), reason="no ProFTPD"),
]

NEW = "another-horse-battery"


@pytest.fixture(scope="module")
def server() -> Iterator[MailServer]:
    """A mail server of this module's own, with FTP."""
    ftp, sftp = free_ports(2)
    with mail_server(ftp_port=ftp, sftp_port=sftp) as running:
        yield running


@dataclass
class Homes:
    """A domain with a home, its fixed account and two others with FTP, and an archive of each."""

    site: Site
    alice: Mailbox
    bob: Mailbox

    @property
    def fixed(self) -> Mailbox:
        return self.site.fixed

    @property
    def server(self) -> MailServer:
        return self.site.server

    @property
    def home(self) -> Path:
        return self.server.root / "homes" / self.site.domain

    def archive(self, box: Mailbox) -> str:
        return f"{box.name}.oldmail.20261125.gz"

    def text_of(self, box: Mailbox) -> bytes:
        return f"mail of {box.name}".encode()

    def intact(self) -> bool:
        """Whether each archive is what it was, and nothing else bears such a name."""
        files = {path.name: path.read_bytes() for path in self.home.glob("[!.]*.oldmail.*")}
        boxes = (self.alice, self.bob, self.fixed)
        return files == {self.archive(box): self.text_of(box) for box in boxes}


def make_home(server: MailServer, domain: str) -> Path:
    home = server.root / "homes" / domain
    home.mkdir(exist_ok=True)
    own(home, 0o750)
    return home


def own(path: Path, mode: int) -> None:
    os.chown(path, 5001, 5001)
    path.chmod(mode)


def put_file(path: Path, content: bytes, mode: int = 0o640) -> None:
    path.write_bytes(content)
    own(path, mode)


@pytest.fixture
def homes(server: MailServer) -> Homes:
    """A domain with a home and three accounts that have FTP."""
    site = new_site(server, ftp=True)
    hosted = HostedDomain(site.domain, site.fixed.address, home=site.domain)
    made = Homes(site, site.mailbox("alice", ftp=True), site.mailbox("bob", ftp=True))
    assert applied(site.put(hosted, made.alice, made.bob))
    make_home(server, site.domain)
    put_file(made.home / "index.html", b"<p>hello</p>")
    put_file(made.home / f".{made.bob.name}.oldmail.20261202.gz.new", b"half")
    (made.home / "sub").mkdir()
    own(made.home / "sub", 0o750)
    for box in (made.alice, made.bob, made.fixed):
        put_file(made.home / made.archive(box), made.text_of(box))
    return made


def connect(server: MailServer) -> ftplib.FTP:
    client = ftplib.FTP(timeout=20)  # noqa: S321 (what is tested)
    try:
        client.connect("127.0.0.1", server.config.ftp_port)
    except BaseException:
        client.close()
        raise
    return client


def ftp(server: MailServer, login: str, password: str = PASSWORD) -> ftplib.FTP:
    """Log in by FTP; ftplib.error_perm if that is refused."""
    client = connect(server)
    try:
        client.login(login, password)
    except BaseException:
        client.close()
        raise
    return client


def gets_in(server: MailServer, login: str, password: str = PASSWORD) -> bool:
    with suppress(ftplib.error_perm, ftplib.error_temp, EOFError):
        ftp(server, login, password).quit()
        return True
    return False


def content(client: ftplib.FTP, name: str, rest: int | None = None) -> bytes:
    got = io.BytesIO()
    client.retrbinary(f"RETR {name}", got.write, rest=rest)
    return got.getvalue()


def listed(client: ftplib.FTP) -> set[str]:
    """Return the names that every kind of list shows; they have to agree."""
    lines: list[str] = []
    client.retrlines("LIST -a", lines.append)
    names = {line.split()[-1] for line in lines} - {".", ".."}
    assert {name for name, _ in client.mlsd()} - {".", ".."} == names
    assert set(client.nlst("-a")) - {".", ".."} == names
    stat = client.sendcmd("STAT -a .").splitlines()[1:-1]
    assert {line.split()[-1] for line in stat} - {".", ".."} == names
    return names


def sftp(server: MailServer, login: str, *commands: str, password: str = PASSWORD) -> str:
    """Give commands to OpenSSH's sftp(1), which goes on after one that fails; return its words."""
    return _ssh(server, "sftp", ["-b", "-"], login, password, "".join(f"-{c}\n" for c in commands))


def _ssh(
    server: MailServer, program: str, options: list[str], login: str, password: str, text: str = ""
) -> str:
    port = "-p" if program == "ssh" else "-P"
    command = [
        "sshpass", "-e", program, "-F", "none", "-o", "BatchMode=no",
        "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null",
        "-o", "NumberOfPasswordPrompts=1", port, str(server.config.sftp_port),
    ]  # fmt: skip
    place = [] if program == "scp" else [f"{login}@127.0.0.1"]
    done = subprocess.run(
        [*command, *options, *place] if program != "ssh" else [*command, *place, *options],
        input=text,
        env={**os.environ, "SSHPASS": password},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return done.stdout + done.stderr


# --- Who gets in


def test_only_accounts_with_ftp_switched_on_get_in(server: MailServer) -> None:
    site = new_site(server)
    make_home(server, site.domain)
    hosted = HostedDomain(site.domain, site.fixed.address, home=site.domain)
    on, off = site.mailbox("on", ftp=True), site.mailbox("off")
    assert applied(site.put(hosted, on, off))
    assert gets_in(server, on.name)
    assert not gets_in(server, off.name)
    assert not gets_in(server, on.name, "wrong")
    assert not gets_in(server, on.name, "")
    assert server.can_log_in(off.name)


def test_login_name_is_that_of_pop(homes: Homes) -> None:
    for login in (homes.alice.name, homes.alice.name.upper(), homes.alice.address):
        with closing(ftp(homes.server, login)) as client:
            assert homes.archive(homes.alice) in client.nlst()
        assert homes.archive(homes.alice) in sftp(homes.server, login, "ls")


@pytest.mark.parametrize(
    "login",
    [
        "root",
        "nobody",
        "proftpd",
        "ftp",
        "anonymous",
        "x' OR '1'='1",
        "x'; DELETE FROM account; --",
    ],
)
def test_nobody_else_gets_in(homes: Homes, login: str) -> None:
    assert not gets_in(homes.server, login)
    assert "index.html" not in sftp(homes.server, login, "ls")
    assert gets_in(homes.server, homes.alice.name)


def test_hash_of_both_schemes_is_verified(homes: Homes) -> None:
    made = subprocess.run(
        ["doveadm", "pw", "-s", "BLF-CRYPT", "-r", "4", "-p", PASSWORD],
        capture_output=True,
        text=True,
        check=True,
    )
    carol = Mailbox(
        f"carol-{homes.fixed.name}", homes.site.domain, "c" * 32, made.stdout.strip(), ftp=True
    )
    homes.site.put(carol)
    assert gets_in(homes.server, carol.name)
    assert not gets_in(homes.server, carol.name, "wrong")
    homes.site.delete(carol)
    assert not gets_in(homes.server, carol.name)


# --- By which protocols


def test_password_and_files_go_through_tls(homes: Homes) -> None:
    context = ssl._create_unverified_context()  # noqa: S323 (it signed itself)
    with closing(ftplib.FTP_TLS(context=context, timeout=20)) as client:  # noqa: S321
        client.connect("127.0.0.1", homes.server.config.ftp_port)
        client.login(homes.alice.name, PASSWORD)
        client.prot_p()
        assert isinstance(client.sock, ssl.SSLSocket)
        assert homes.archive(homes.alice) in client.nlst()
        assert content(client, homes.archive(homes.alice)) == homes.text_of(homes.alice)
        shown = client.sock.getpeercert(binary_form=True)
    pem = (homes.server.root / "tls/server.pem").read_text()
    assert shown == ssl.PEM_cert_to_DER_cert(pem[pem.index("-----BEGIN CERTIFICATE") :])


def test_lftp_lists_and_fetches_inside_tls(homes: Homes, tmp_path: Path) -> None:
    name = homes.archive(homes.alice)
    script = (
        "set ftp:ssl-force yes; set ftp:ssl-protect-data yes; set ssl:verify-certificate no;"
        f" open -p {homes.server.config.ftp_port} -u {homes.alice.name},{PASSWORD} 127.0.0.1;"
        f" cls; get {name} -o {tmp_path / name}; bye"
    )
    (tmp_path / "script").write_text(script)
    done = subprocess.run(
        ["lftp", "-f", str(tmp_path / "script")], capture_output=True, text=True, timeout=60
    )
    assert done.stdout.split() == sorted([name, "index.html", "sub/"]), done.stderr
    assert (tmp_path / name).read_bytes() == homes.text_of(homes.alice)


def test_password_needs_tls_where_the_server_says_so() -> None:
    ports = free_ports(2)
    with mail_server(ftp_port=ports[0], sftp_port=ports[1], plaintext_login=False) as strict:
        fixed = mailbox("example", "example.com", ftp=True)
        site = Site(strict, "example.com", fixed)
        assert applied(
            site.put(HostedDomain("example.com", fixed.address, home="example.com"), fixed)
        )
        make_home(strict, "example.com")
        with pytest.raises(ftplib.error_perm, match="SSL/TLS required"):
            ftp(strict, "example")
        context = ssl._create_unverified_context()  # noqa: S323 (it signed itself)
        with closing(ftplib.FTP_TLS(context=context, timeout=20)) as client:  # noqa: S321
            client.connect("127.0.0.1", ports[0])
            client.login("example", PASSWORD)
            client.prot_p()
            assert client.nlst() == []


def test_sftp_is_no_shell_and_no_scp(homes: Homes, tmp_path: Path) -> None:
    server, alice = homes.server, homes.alice.name
    assert "exec request failed" in _ssh(server, "ssh", ["id"], alice, PASSWORD)
    assert "shell request failed" in _ssh(server, "ssh", [], alice, PASSWORD)
    forward = _ssh(server, "ssh", ["-W", "127.0.0.1:25"], alice, PASSWORD)
    assert "stdio forwarding failed" in forward
    source = f"{alice}@127.0.0.1:{homes.archive(homes.bob)}"
    _ssh(server, "scp", ["-O", source, str(tmp_path / "got")], alice, PASSWORD)
    assert not (tmp_path / "got").exists()


# --- What an account sees


def test_lists_show_own_archives_and_no_others(homes: Homes) -> None:
    everywhere = {"index.html", "sub"}
    for box in (homes.alice, homes.bob):
        with closing(ftp(homes.server, box.name)) as client:
            assert listed(client) == everywhere | {homes.archive(box)}
    with closing(ftp(homes.server, homes.fixed.name)) as client:
        everything = {homes.archive(box) for box in (homes.alice, homes.bob, homes.fixed)}
        assert listed(client) == everywhere | everything


def test_fixed_account_reads_and_removes_every_archive(homes: Homes) -> None:
    with closing(ftp(homes.server, homes.fixed.name)) as client:
        assert content(client, homes.archive(homes.bob)) == homes.text_of(homes.bob)
        client.delete(homes.archive(homes.bob))
    assert not (homes.home / homes.archive(homes.bob)).exists()


def test_own_archive_is_fetched_resumed_and_removed(homes: Homes) -> None:
    whole, name = homes.text_of(homes.alice), homes.archive(homes.alice)
    with closing(ftp(homes.server, homes.alice.name)) as client:
        assert content(client, name) == whole
        assert content(client, name, rest=5) == whole[5:]
        client.voidcmd("TYPE I")
        assert client.size(name) == len(whole)
        client.delete(name)
    assert not (homes.home / name).exists()


@pytest.mark.parametrize(
    "form", ["{}", "./{}", "/{}", "//{}", "sub/../{}", "/../{}", "{}/", "/./sub/.././{}"]
)
def test_others_archive_is_refused_by_every_command(homes: Homes, form: str) -> None:
    name = form.format(homes.archive(homes.bob))
    with closing(ftp(homes.server, homes.alice.name)) as client:
        client.voidcmd("TYPE I")
        for command in (
            *(f"{verb} {name}" for verb in ("SIZE", "MDTM", "MLST", "DELE", "RNFR", "CWD", "RMD")),
            f"SITE CHMOD 666 {name}",
            f"SITE CHGRP 5001 {name}",
            f"MFMT 20200101000000 {name}",
            f"MFF modify=20200101000000; {name}",
            f"SITE CPFR {name}",
            f"SITE SYMLINK {name} mine",
        ):
            with pytest.raises(ftplib.error_perm):
                client.voidcmd(command)
        with pytest.raises(ftplib.error_perm):
            content(client, name)
        for verb in ("STOR", "APPE"):
            with pytest.raises(ftplib.error_perm):
                client.storbinary(f"{verb} {name}", io.BytesIO(b"not mail"))
        for verb in ("LIST", "NLST", "MLSD"):
            shown: list[str] = []
            with suppress(ftplib.Error):
                client.retrlines(f"{verb} {name}", shown.append)
            assert not shown
        with suppress(ftplib.Error):
            assert homes.bob.name not in "".join(client.sendcmd(f"STAT {name}").splitlines()[1:])
    assert homes.intact()


@pytest.mark.parametrize("pattern", ["*", "*.gz", "[b]ob*", "b?b*", "*oldmail*", ".*", "-R"])
def test_patterns_find_no_archive_of_others(homes: Homes, pattern: str) -> None:
    with closing(ftp(homes.server, homes.alice.name)) as client:
        for verb in ("LIST", "NLST", "STAT"):
            shown: list[str] = []
            with suppress(ftplib.Error):
                if verb == "STAT":
                    shown = client.sendcmd(f"STAT {pattern}").splitlines()[1:]
                else:
                    client.retrlines(f"{verb} {pattern}", shown.append)
            assert homes.bob.name not in "".join(shown)


def test_nothing_is_put_under_the_name_of_anothers_archive(homes: Homes) -> None:
    taken = f"{homes.bob.name}.oldmail.20261202.gz"
    with closing(ftp(homes.server, homes.alice.name)) as client:
        client.storbinary("STOR mine.txt", io.BytesIO(b"mine"))
        for old in ("mine.txt", homes.archive(homes.alice)):
            client.sendcmd(f"RNFR {old}")
            with pytest.raises(ftplib.error_perm):
                client.voidcmd(f"RNTO {taken}")
        for command in (f"MKD {taken}", f"STOU {taken}"):
            with pytest.raises(ftplib.Error):
                client.voidcmd(command)
    assert homes.intact()
    assert (homes.home / "mine.txt").read_bytes() == b"mine"


def test_link_that_lies_there_does_not_lead_to_anothers_archive(homes: Homes) -> None:
    (homes.home / "link").symlink_to(homes.archive(homes.bob))
    (homes.home / "out").symlink_to("/etc/passwd")
    with closing(ftp(homes.server, homes.alice.name)) as client:
        for name in ("link", "out"):
            with pytest.raises(ftplib.error_perm):
                content(client, name)
    words = sftp(homes.server, homes.alice.name, "get link /dev/null", "get out /dev/null")
    assert words.count("not found") + words.count("No such file") == 2
    assert homes.intact()


def test_what_is_being_written_is_nobodys_to_see(homes: Homes) -> None:
    name = f".{homes.bob.name}.oldmail.20261202.gz.new"
    for box in (homes.alice, homes.bob, homes.fixed):
        with closing(ftp(homes.server, box.name)) as client:
            with pytest.raises(ftplib.error_perm):
                content(client, name)
            with pytest.raises(ftplib.error_perm):
                client.delete(name)
        assert name not in sftp(homes.server, box.name, "ls -la", f"rm {name}").replace(
            f"-rm {name}", ""
        ).replace(f"/{name}", "")
    assert (homes.home / name).exists()


def test_account_whose_name_looks_like_an_archives_keeps_its_own(homes: Homes) -> None:
    alice = homes.alice.name
    odd = mailbox(f"{alice}.oldmail.2026"[:32], homes.site.domain, ftp=True)
    assert applied(homes.site.put(odd))
    put_file(homes.home / homes.archive(odd), homes.text_of(odd))
    with closing(ftp(homes.server, odd.name)) as client:
        assert {name for name in listed(client) if "oldmail" in name} == {homes.archive(odd)}
        assert content(client, homes.archive(odd)) == homes.text_of(odd)
    with closing(ftp(homes.server, alice)) as client:
        shown = {name for name in listed(client) if "oldmail" in name}
        assert shown == {homes.archive(homes.alice)}
        with pytest.raises(ftplib.error_perm):
            content(client, homes.archive(odd))


def test_settings_of_the_customers_own_change_nothing(homes: Homes) -> None:
    rules = b"<Limit ALL>\n  AllowAll\n</Limit>\nHideFiles none\n"
    with closing(ftp(homes.server, homes.alice.name)) as client:
        client.storbinary("STOR .ftpaccess", io.BytesIO(rules))
    with closing(ftp(homes.server, homes.alice.name)) as client:
        assert homes.archive(homes.bob) not in listed(client)
        with pytest.raises(ftplib.error_perm):
            content(client, homes.archive(homes.bob))


def test_home_is_all_there_is(homes: Homes, server: MailServer) -> None:
    other = new_site(server)
    put_file(make_home(server, other.domain) / "secret.txt", b"another customer's")
    with closing(ftp(server, homes.alice.name)) as client:
        for path in ("..", "/..", f"../{other.domain}", str(homes.home.parent)):
            with suppress(ftplib.error_perm):
                client.cwd(path)
            assert client.pwd() == "/"
        for path in (
            f"../{other.domain}/secret.txt",
            str(homes.home.parent / other.domain / "secret.txt"),
            "/etc/passwd",
            "~root/.bashrc",
            f"~{other.fixed.name}/secret.txt",
        ):
            with pytest.raises(ftplib.error_perm):
                content(client, path)
        lines: list[str] = []
        client.retrlines("LIST -a", lines.append)
        # Who owns all homes is told by the visitor's own name.
        assert {line.split()[2] for line in lines} == {homes.alice.name}
    words = sftp(
        server,
        homes.alice.name,
        f"get ../{other.domain}/secret.txt /dev/null",
        "get /etc/passwd /dev/null",
        "cd /../..",
        "pwd",
    )
    assert words.count("not found") == 2
    assert "Remote working directory: /\n" in words


def test_others_archive_is_refused_by_sftp(homes: Homes, tmp_path: Path) -> None:
    theirs, mine = homes.archive(homes.bob), homes.archive(homes.alice)
    put_file(tmp_path / "local", b"not mail")
    words = sftp(
        homes.server,
        homes.alice.name,
        "ls -la",
        *("ls *", "ls [b]ob*", f"ls -l {theirs}", f"ls -l /{theirs}", f"ls -l sub/../{theirs}"),
        *(f"get {form}{theirs} {tmp_path / 'got'}" for form in ("", "./", "//", "sub/../")),
        f"reget {theirs} {tmp_path / 'got'}",
        *(f"put {tmp_path / 'local'} {theirs}", f"reput {tmp_path / 'local'} {theirs}"),
        *(f"rm {theirs}", f"rmdir {theirs}", f"rename {theirs} mine", f"chmod 666 {theirs}"),
        f"rename {mine} {homes.bob.name}.oldmail.20261202.gz",
        f"rename index.html {theirs}",
        *(f"symlink {theirs} link", f"ln -s {theirs} link", f"ln {theirs} link"),
        f"mkdir {homes.bob.name}.oldmail.20261202.gz",
        "symlink index.html harmless",
    )
    said = "".join(line for line in words.splitlines() if line.startswith(("-r", "-w")))
    assert theirs not in said
    assert mine in words
    assert not (tmp_path / "got").exists()
    assert {path.name for path in homes.home.iterdir()} == {
        *(homes.archive(box) for box in (homes.alice, homes.bob, homes.fixed)),
        *("index.html", "sub", f".{homes.bob.name}.oldmail.20261202.gz.new"),
    }
    assert homes.intact()
    assert (homes.home / theirs).stat().st_mode & 0o777 == 0o640


def test_fixed_account_sees_all_by_sftp(homes: Homes) -> None:
    words = sftp(homes.server, homes.fixed.name, "ls -1")
    for box in (homes.alice, homes.bob, homes.fixed):
        assert homes.archive(box) in words


def test_uploads_are_readable_to_the_group_and_may_replace(homes: Homes, tmp_path: Path) -> None:
    with closing(ftp(homes.server, homes.alice.name)) as client:
        for text in (b"first", b"second"):
            client.storbinary("STOR 日本語.html", io.BytesIO(text))
        client.mkd("new")
    put_file(tmp_path / "local", b"by sftp", 0o666)
    sftp(homes.server, homes.alice.name, f"put {tmp_path / 'local'} by-sftp.html")
    for name, text in (("日本語.html", b"second"), ("by-sftp.html", b"by sftp")):
        file = homes.home / name
        found = file.stat()
        assert (file.read_bytes(), found.st_mode & 0o777) == (text, 0o640)
        assert (found.st_uid, found.st_gid) == (5001, 5001)
    assert (homes.home / "new").stat().st_mode & 0o777 == 0o750


@pytest.mark.parametrize(
    "command",
    [
        "SITE CHMOD 4755 mine",
        "SITE CHMOD 02750 mine",
        "site  chmod  7777  mine",
        "SITE CHMOD +4755 mine",
        "SITE CHMOD u+s mine",
        "SITE CHMOD g=rxs mine",
        "SITE CHMOD u+x,+t mine",
        "MFF UNIX.mode=4755; mine",
        "MFF modify=20200101000000;unix.Mode=4755; mine",
    ],
)
def test_no_file_runs_as_the_owner_of_all_homes(homes: Homes, command: str) -> None:
    put_file(homes.home / "mine", b"#!/bin/sh\n")
    with closing(ftp(homes.server, homes.alice.name)) as client, suppress(ftplib.error_perm):
        client.sendcmd(command)
    assert (homes.home / "mine").stat().st_mode & 0o7000 == 0


def test_ordinary_modes_can_be_given(homes: Homes) -> None:
    put_file(homes.home / "unix.cgi", b"#!/bin/sh\n")
    with closing(ftp(homes.server, homes.alice.name)) as client:
        for mode, given in (("705", 0o705), ("0750", 0o750), ("o+x", 0o751)):
            client.sendcmd(f"SITE CHMOD {mode} unix.cgi")
            assert (homes.home / "unix.cgi").stat().st_mode & 0o7777 == given
        client.sendcmd("MFF modify=20200101000000; unix.cgi")
        client.sendcmd("MFMT 20210101000000 unix.cgi")
        client.delete("unix.cgi")


@pytest.mark.parametrize("home", ["/", ".", "./", "sub/..", "/sub/../"])
def test_home_is_not_opened_to_others(homes: Homes, home: str) -> None:
    with (
        closing(ftp(homes.server, homes.alice.name)) as client,
        pytest.raises(ftplib.error_perm),
    ):
        client.sendcmd(f"SITE CHMOD 777 {home}")
    assert homes.home.stat().st_mode & 0o7777 == 0o750


def test_sftp_gives_no_modes(homes: Homes) -> None:
    sftp(homes.server, homes.alice.name, "chmod 4777 index.html", "mkdir new", "chmod 2777 new")
    assert (homes.home / "index.html").stat().st_mode & 0o7777 == 0o640
    assert (homes.home / "new").stat().st_mode & 0o7777 == 0o750


# --- When something changes


def test_new_password_ends_what_is_open_and_shuts_out_the_old_one(homes: Homes) -> None:
    server, alice = homes.server, homes.alice
    with (
        closing(ftp(server, alice.name)) as session,
        closing(ftp(server, homes.bob.name)) as bobs,
        closing(connect(server)) as waiting,
    ):
        # Has said its name, and will come with the old password.
        waiting.sendcmd(f"USER {alice.name}")
        renewed = mailbox(alice.name, alice.domain, NEW, alice.mailbox_id, ftp=True)
        assert applied(homes.site.put(renewed))
        assert ended(session)
        assert ended(waiting)
        assert homes.archive(homes.bob) in bobs.nlst()
    assert not gets_in(server, alice.name)
    assert gets_in(server, alice.name, NEW)


def ended(client: ftplib.FTP) -> bool:
    """Say whether the server has closed a connection."""
    with suppress(EOFError, ConnectionError, ftplib.error_temp):
        client.voidcmd("NOOP")
        return False
    return True


@pytest.mark.parametrize("how", ["off", "deleted"])
def test_open_session_ends_when_ftp_or_the_account_does(homes: Homes, how: str) -> None:
    alice = homes.alice
    with closing(ftp(homes.server, alice.name)) as session:
        if how == "off":
            off = mailbox(alice.name, alice.domain, mailbox_id=alice.mailbox_id)
            assert applied(homes.site.put(off))
        else:
            assert applied(homes.site.delete(alice))
        assert ended(session)
    assert not gets_in(homes.server, alice.name)
    assert homes.server.can_log_in(alice.name) == (how == "off")


def test_transfer_under_way_ends_too(homes: Homes) -> None:
    put_file(homes.home / "big", os.urandom(1 << 20) * 30)
    with (
        closing(ftp(homes.server, homes.alice.name)) as session,
        session.transfercmd("RETR big") as data,
    ):
        assert data.recv(1000)
        assert applied(homes.site.delete(homes.alice))
        got = 0
        with suppress(OSError):
            while part := data.recv(1 << 20):
                got += len(part)
    assert got < 30 << 20
    assert homes.server.host._ftp.sessions() == []


def test_another_plan_or_size_leaves_sessions_open(homes: Homes) -> None:
    alice, domain = homes.alice, homes.site.domain
    with closing(ftp(homes.server, alice.name)) as session:
        hosted = HostedDomain(domain, homes.fixed.address, home=domain, owner="7", plan="standard")
        assert applied(homes.site.put(hosted))
        bigger = mailbox(
            alice.name, alice.domain, PASSWORD, alice.mailbox_id, ftp=True, quota_bytes=7
        )
        assert applied(homes.site.put(bigger))
        assert not ended(session)


def test_another_fixed_account_sees_what_the_last_one_saw(homes: Homes) -> None:
    hosted = HostedDomain(homes.site.domain, homes.alice.address, home=homes.site.domain)
    assert applied(homes.site.put(hosted))
    with closing(ftp(homes.server, homes.alice.name)) as client:
        assert homes.archive(homes.bob) in listed(client)
    with closing(ftp(homes.server, homes.fixed.name)) as client:
        assert homes.archive(homes.bob) not in listed(client)


def test_login_by_ftp_lets_nobody_send(homes: Homes) -> None:
    assert gets_in(homes.server, homes.alice.name)
    with homes.server.smtp() as client:
        client.mail(homes.alice.address)
        assert client.rcpt("friend@outside.test")[0] == 550


def test_changes_work_while_proftpd_is_down(homes: Homes) -> None:
    server = homes.server
    server.stop("ftp")
    try:
        assert applied(homes.site.delete(homes.alice))
        assert "is not running" in instance.problem_of(server.root, "ftp")
    finally:
        server.start("ftp")
    assert not gets_in(server, homes.alice.name)
    assert gets_in(server, homes.bob.name)


def test_database_that_says_something_else_is_noticed_and_mended(homes: Homes) -> None:
    host = homes.server.host
    host._ftp.put([homes.alice.name], {})
    with host.lock():
        assert [item.where for item in host.differences()] == ["ftp"]
        host.repair()
        assert host.differences() == []
    assert gets_in(homes.server, homes.alice.name)


def test_login_waits_for_a_writer_instead_of_failing(homes: Homes) -> None:
    with homes.server.host._ftp._opened() as db:
        db.execute("BEGIN EXCLUSIVE")
        with closing(connect(homes.server)) as client:
            client.putcmd(f"USER {homes.alice.name}")
            time.sleep(1)
            db.execute("COMMIT")
            client.getresp()
            assert client.sendcmd(f"PASS {PASSWORD}").startswith("230")


# --- Guessing, and many accounts


def test_who_guesses_is_turned_away_for_a_while() -> None:
    ports = free_ports(2)
    with mail_server(ftp_port=ports[0], sftp_port=ports[1], slow_guessing=True) as guarded:
        fixed = mailbox("example", "example.com", ftp=True)
        site = Site(guarded, "example.com", fixed)
        site.put(HostedDomain("example.com", fixed.address, home="example.com"), fixed)
        make_home(guarded, "example.com")
        for guess in range(9):
            assert not gets_in(guarded, "example", f"wrong-{guess}")
        assert gets_in(guarded, "example")
        assert not gets_in(guarded, "example", "wrong-10")
        assert not gets_in(guarded, "example")
        # What was guessed by FTP counts for SFTP.
        assert "Remote working directory" not in sftp(guarded, "example", "pwd")


def test_who_guesses_by_sftp_is_turned_away_from_ftp_as_well() -> None:
    ports = free_ports(2)
    with mail_server(ftp_port=ports[0], sftp_port=ports[1], slow_guessing=True) as guarded:
        fixed = mailbox("example", "example.com", ftp=True)
        site = Site(guarded, "example.com", fixed)
        site.put(HostedDomain("example.com", fixed.address, home="example.com"), fixed)
        make_home(guarded, "example.com")
        for guess in range(10):
            assert "denied" in sftp(guarded, "example", "pwd", password=f"wrong-{guess}")
        assert not gets_in(guarded, "example")


def test_login_is_quick_among_many_accounts(server: MailServer) -> None:
    site = new_site(server)
    home = make_home(server, site.domain)
    hosted = HostedDomain(site.domain, site.fixed.address, home=site.domain)
    assert applied(site.put(hosted))
    with server.host.lock():
        server.host.load(site.mailbox(f"many{n}", ftp=True) for n in range(20_000))
    seconds = []
    for n in (0, 9_999, 19_999):
        begun = time.monotonic()
        assert gets_in(server, f"many{n}-{site.fixed.name}")
        seconds.append(time.monotonic() - begun)
    # With a file of lines the last took seconds.
    assert min(seconds) < 1.0
    shutil.rmtree(home)
