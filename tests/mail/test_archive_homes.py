"""Whatever the home's owner or its disk does: no mail is lost, nothing is written elsewhere."""

from __future__ import annotations

import os
import secrets
import socket
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from mailhost import archive
from mailhost.archive import ArchiveError, reading
from mailhost.records import HostedDomain
from tests.mail.archives import doveadm, inside, lmtp, maildir, stored, take, with_home
from tests.mail.conftest import Site, applied

pytestmark = pytest.mark.servers

MESSAGES = [b"Subject: %d\r\n\r\nmessage %d\r\n" % (n, n) for n in range(5)]


@pytest.fixture
def home(site: Site) -> Path:
    """The home of a domain whose mailbox holds five messages."""
    place = with_home(site)
    lmtp(site.server, site.fixed.address, MESSAGES)
    return place


def refused(site: Site, code: str) -> None:
    """Have the mail archived; it has to fail by this reason and leave all of it where it is."""
    before = stored(site.server, site.fixed)
    assert sum(before.values()) == len(MESSAGES)
    with pytest.raises(ArchiveError) as failed:
        take(site, site.fixed)
    assert failed.value.code == code, failed.value
    assert str(failed.value).endswith(".")
    assert stored(site.server, site.fixed) == before
    assert archive.finish(site.server.root) == []
    assert archive.archives(site.server.root, site.fixed.name) == []


def works_again(site: Site, home: Path) -> None:
    """Have the mail archived, now that nothing is in the way."""
    made = take(site, site.fixed)
    assert made.messages == len(MESSAGES)
    assert made.file_name in inside(home)
    assert not stored(site.server, site.fixed)


def test_domain_without_a_home(site: Site) -> None:
    lmtp(site.server, site.fixed.address, MESSAGES)
    refused(site, "home_missing")


def test_missing_home(site: Site, home: Path) -> None:
    home.rmdir()
    refused(site, "home_missing")
    home.mkdir()
    works_again(site, home)


def test_home_that_is_a_link_leads_nowhere(site: Site, home: Path, tmp_path: Path) -> None:
    home.rmdir()
    home.symlink_to(tmp_path)
    refused(site, "home_unsafe")
    assert inside(tmp_path) == []
    home.unlink()
    home.write_text("a file")
    refused(site, "home_unsafe")
    home.unlink()
    home.mkdir()
    works_again(site, home)


@pytest.fixture
def mounted(home: Path) -> Iterator[Callable[..., None]]:
    """Mount a small file system as the home, with these options."""

    def mount(*options: str) -> None:
        text = ",".join(options)
        done = subprocess.run(["mount", "-t", "tmpfs", "-o", text, "none", home], check=False)
        if done.returncode:
            pytest.skip("nothing can be mounted here")

    yield mount
    subprocess.run(["umount", "-q", "-l", home], check=False)


def test_full_home(site: Site, home: Path, mounted: Callable[..., None]) -> None:
    mounted("size=64k")
    # What cannot be compressed does not fit.
    data = secrets.token_hex(200_000).encode()
    lines = b"\r\n".join(data[n : n + 80] for n in range(0, len(data), 80))
    with site.server.imap(site.fixed.name) as client:
        client.select("INBOX")
        client.store("1", "+FLAGS", "\\Deleted")
        client.expunge()
    lmtp(site.server, site.fixed.address, [b"Subject: big\r\n\r\n" + lines + b"\r\n"])
    refused(site, "home_full")
    assert inside(home) == []
    subprocess.run(["mount", "-o", "remount,size=10m", home], check=True)
    works_again(site, home)


def test_home_without_a_free_name(site: Site, home: Path, mounted: Callable[..., None]) -> None:
    mounted("size=1m,nr_inodes=1")
    refused(site, "home_full")
    assert inside(home) == []


def test_read_only_home(site: Site, home: Path, mounted: Callable[..., None]) -> None:
    mounted("ro")
    refused(site, "home_readonly")
    subprocess.run(["mount", "-o", "remount,rw", home], check=True)
    works_again(site, home)


def _fifo(path: Path) -> None:
    os.mkfifo(path)


def _write(path: Path) -> None:
    path.write_bytes(b"mine")


def _socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        # A socket's path is short.
        descriptor = os.open(path.parent, os.O_RDONLY)
        listener.bind(f"/proc/self/fd/{descriptor}/{path.name}")
        os.close(descriptor)


IN_THE_WAY: dict[str, Callable[[Path], None]] = {
    "a link": lambda path: path.symlink_to("/etc/hostname"),
    "a link to nothing": lambda path: path.symlink_to(path.parent / "nothing"),
    "a hard link": lambda path: path.hardlink_to(_other(path)),
    "a fifo": _fifo,
    "a socket": _socket,
    "a directory": Path.mkdir,
    "a foreign file": _write,
}


def _other(path: Path) -> Path:
    other = path.parent.parent / f"other-{path.parent.name}"
    other.write_bytes(b"another's")
    return other


@pytest.mark.parametrize("what", IN_THE_WAY)
def test_what_has_an_archives_name_is_left_alone(site: Site, home: Path, what: str) -> None:
    # A day's first name is taken; so is the second of the next day, should midnight come.
    made = take(site, site.fixed)
    archive.put_back(site.server.root, made.id)
    name = made.file_name.replace(".gz", "-2.gz")
    IN_THE_WAY[what](home / name)
    before = (home / name).lstat()
    second = take(site, site.fixed)
    assert second.file_name == made.file_name.replace(".gz", "-3.gz")
    assert (home / name).lstat() == before or what == "a hard link"
    assert not stored(site.server, site.fixed)
    assert Path("/etc/hostname").lstat().st_nlink == 1


@pytest.mark.parametrize("what", IN_THE_WAY)
def test_what_stands_in_an_archives_place_is_not_believed(
    site: Site, home: Path, what: str
) -> None:
    made = take(site, site.fixed)
    (home / made.file_name).unlink()
    IN_THE_WAY[what](home / made.file_name)
    with pytest.raises(ArchiveError) as failed:
        archive.put_back(site.server.root, made.id)
    assert failed.value.code in ("no_archive", "archive_changed")
    if what == "a foreign file":
        with archive.open_file(site.server.root, made.id) as file:
            with pytest.raises(ArchiveError) as failed:
                reading.entries(file)
            assert failed.value.code == "archive_changed"
    else:
        with pytest.raises(ArchiveError) as failed:
            archive.open_file(site.server.root, made.id)
        assert failed.value.code in ("no_archive", "not_ours")
    assert archive.verify(site.server.root) >= 1
    assert not stored(site.server, site.fixed)
    archive.remove(site.server.root, made.id)


def test_file_deleted_before_the_end_leaves_the_mail(site: Site, home: Path) -> None:
    def meanwhile(done: int, _total: int) -> None:
        if done == 5:
            [temporary] = inside(home)
            (home / temporary).unlink()

    before = stored(site.server, site.fixed)
    with pytest.raises(ArchiveError):
        archive.take(site.server.root, site.fixed.name, require_full=False, progress=meanwhile)
    assert stored(site.server, site.fixed) == before
    assert inside(home) == []
    works_again(site, home)


def test_file_renamed_or_exchanged_before_the_end_leaves_the_mail(
    site: Site, home: Path, tmp_path: Path
) -> None:
    def meanwhile(done: int, _total: int) -> None:
        if done == 5:
            [temporary] = inside(home)
            (home / temporary).rename(home / "mine")
            (home / temporary).symlink_to(tmp_path / "elsewhere")

    before = stored(site.server, site.fixed)
    with pytest.raises(ArchiveError) as failed:
        archive.take(site.server.root, site.fixed.name, require_full=False, progress=meanwhile)
    assert failed.value.code == "home_unsafe"
    assert stored(site.server, site.fixed) == before
    assert not (tmp_path / "elsewhere").exists()
    assert archive.finish(site.server.root) == []
    works_again(site, home)


def test_link_in_the_mailbox_is_not_followed(site: Site, home: Path, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_bytes(b"root's alone")
    box, server = site.fixed, site.server
    link = maildir(server, box) / "cur/1700000000.M1P1.link:2,"
    link.symlink_to(secret)
    with pytest.raises(ArchiveError) as failed:
        take(site, box)
    assert failed.value.code == "mailbox_unreadable"
    assert inside(home) == []
    link.unlink()
    hard = link.with_name("1700000000.M1P1.hard:2,")
    hard.hardlink_to(secret)
    with pytest.raises(ArchiveError) as failed:
        take(site, box)
    assert failed.value.code == "mailbox_unreadable"
    hard.unlink()
    doveadm(server, "force-resync", "-u", box.name, "INBOX")
    works_again(site, home)


def test_homes_are_made_with_their_domains_and_never_changed(site: Site) -> None:
    homes = site.server.root / "homes"
    made = homes / site.domain
    domain = HostedDomain(site.domain, site.fixed.address, home=site.domain)
    made.symlink_to("/nonexistent")
    outcome = site.put(domain)[domain.key]
    assert (outcome.status.value, "is a link" in outcome.reason) == ("unconfirmed", True)
    made.unlink()
    assert applied(site.put(domain))
    found = made.stat()
    assert (found.st_uid, found.st_gid, found.st_mode & 0o7777) == (5001, 5001, 0o750)
    os.chown(made, 4321, 4321)
    made.chmod(0o711)
    assert applied(site.put(domain))
    assert (made.stat().st_uid, made.stat().st_mode & 0o7777) == (4321, 0o711)
    made.rmdir()
    host = site.server.host
    with host.lock():
        found_missing = [item for item in host.differences() if item.key == site.domain]
        assert [item.where for item in found_missing] == ["home"]
        assert set(found_missing) <= set(host.repair())
        assert not [item for item in host.differences() if item.key == site.domain]
    assert made.stat().st_uid == 5001
