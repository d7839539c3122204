"""Mailboxes and archives made to keep the job from its work, by who may use or write them."""

from __future__ import annotations

import gzip
import hashlib
import resource
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from mailhost import archive
from mailhost.archive import ArchiveError, mbox, reading
from mailhost.archive.database import Database
from tests.mail.archives import lmtp, stored, take, with_home
from tests.mail.conftest import Site

pytestmark = pytest.mark.servers

LINE = b"Subject: one\r\n\r\nline\r\n"


@contextmanager
def few_files(most: int) -> Iterator[None]:
    """Let this process open no more files than a service is given at first."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_more_folders_than_files_may_be_open(site: Site) -> None:
    with_home(site)
    box, server = site.fixed, site.server
    names = [f"F{n}" for n in range(100)]
    with server.imap(box.name) as client:
        for name in names:
            client.create(name)
            client.append(name, "", "", LINE)
    before = stored(server, box)
    with few_files(200):
        made = take(site, box)
        assert made.messages == len(names)
        assert archive.put_back(server.root, made.id).put == len(names)
    assert stored(server, box) == before


@pytest.mark.parametrize("name", ["a&AIU-b", "a&ICg-b", "a&ICk-b", "100%"])
def test_folder_whose_name_holds_what_could_end_a_line(site: Site, name: str) -> None:
    with_home(site)
    box, server = site.fixed, site.server
    with server.imap(box.name) as client:
        client.create(f'"{name}"')
        client.append(f'"{name}"', "", "", LINE)
    before = stored(server, box)
    made = take(site, box)
    assert not stored(server, box)
    assert archive.put_back(server.root, made.id).put == made.messages == 1
    assert stored(server, box) == before


def test_more_keywords_than_a_line_holds(site: Site) -> None:
    home, box, server = with_home(site), site.fixed, site.server
    lmtp(server, box.address, [LINE, LINE])
    with server.imap(box.name) as client:
        client.select("INBOX")
        client.store("1", "+FLAGS", "\\Seen")
        for n in range(10):
            words = " ".join(f"k{n:02}{m:02}{'x' * 40}" for m in range(40))
            assert client.store("1", "+FLAGS", f"({words})")[0] == "OK"
    before = stored(server, box)
    made = take(site, box)
    with reading.open_archive(home.parent, home.name, made.file_name) as file:
        flags = [entry.flags for entry in reading.entries(file)[0]]
    assert [words.partition(" ")[0] for words in flags] == ["\\Seen", ""]
    assert archive.put_back(server.root, made.id).put == 2
    assert stored(server, box) == before


@pytest.mark.parametrize("message", [LINE, b"\0" * (64 << 20)], ids=["many", "large"])
def test_what_the_file_holds_beyond_the_record_is_not_read(site: Site, message: bytes) -> None:
    """As if its owner had written into it between the check and the reading."""
    home, box, server = with_home(site), site.fixed, site.server
    lmtp(server, box.address, [LINE])
    made = take(site, box)
    with gzip.open(home / made.file_name, "wb") as file:
        for n in range(2):
            mbox.write(file, message, folder=f"F{n}", flags=(), received=0)
    data = (home / made.file_name).read_bytes()
    with Database(server.host.paths) as db:
        db.execute(
            "UPDATE archive SET file_bytes = ?, sha256 = ? WHERE id = ?",
            *(len(data), hashlib.sha256(data).hexdigest(), made.id),
        )
    with pytest.raises(ArchiveError) as refused:
        archive.put_back(server.root, made.id)
    assert refused.value.code == "archive_changed"
    assert not stored(server, box)
