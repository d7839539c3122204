"""An archive's form gives back every message, and mail programs see as many as there are."""

from __future__ import annotations

import io
import mailbox
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from isal import igzip

from mailhost.archive import mbox
from mailhost.archive.scanning import Scanner

# Lines that are near the border of what has to be masked, and others.
PIECES = st.sampled_from([
    b"From ", b">", b"\n", b"\r", b"\r\n", b"\0", b"Content-Length: 7", b"content-length\t:9",
    b"F", b"From", b" ", b":", b"\xe3\x81\x82", b"\xff", b"X-Folder: a", b"\x1b$B$",
    b"Subject: a\n", b"x",
])  # fmt: skip
MESSAGES = st.one_of(st.binary(max_size=60), st.lists(PIECES, max_size=14).map(b"".join))


def written(*messages: bytes, folder: str = "INBOX", flags: tuple[str, ...] = ()) -> bytes:
    """Return an archive of these messages, not compressed."""
    out = io.BytesIO()
    for message in messages:
        mbox.write(out, message, folder=folder, flags=flags, received=1_700_000_000)
    return out.getvalue()


def read_back(archive: bytes) -> list[bytes]:
    """Return the messages of an archive."""
    scanner = Scanner(io.BytesIO(igzip.compress(archive)))
    found = []
    while head := scanner.next():
        found.append(mbox.plain(scanner.read(head.masked)))
    return found


@given(st.lists(MESSAGES, max_size=4))
@example([b""])
@example([b"", b"\n", b"From \n", b">From x", b"a\n\nContent-Length: 3"])
@example([b"Content-Length: 3\n\nContent-Length: 3", b"\nContent-Length: 3", b"\r\n\r\nFrom "])
def test_every_message_comes_back_byte_for_byte(messages: list[bytes]) -> None:
    assert read_back(written(*messages)) == messages


@given(MESSAGES)
def test_a_head_tells_size_and_digest(message: bytes) -> None:
    head, _ = mbox.head_from(written(message))
    assert (head.size, head.digest) == (len(message), mbox.digest_of(message))


@given(st.lists(MESSAGES, min_size=1, max_size=4))
def test_no_line_of_a_message_begins_another(messages: list[bytes]) -> None:
    lines = written(*messages).split(b"\n")
    assert sum(line.startswith(b"From ") for line in lines) == len(messages)


@given(MESSAGES)
def test_no_head_of_a_message_names_a_length(message: bytes) -> None:
    head = written(message).partition(b"\n\n")[0].lower()
    lines = [line.replace(b"\t", b"") for line in head.split(b"\n")]
    assert not any(line.startswith(b"content-length:") for line in lines)


def test_a_body_keeps_its_lines_about_lengths() -> None:
    assert b"\nContent-Length: 5\n" in written(b"Subject: a\n\nContent-Length: 5\n")


@given(st.text(min_size=1, max_size=50), st.integers(-(10**11), 10**11))
@example("a\nFrom b", 0)
@example("100%25 \x85\u2028\udc80", -1)
def test_folder_and_date_come_back(folder: str, received: int) -> None:
    out = io.BytesIO()
    flags = ("\\Seen", "$Label1", "-x")
    mbox.write(out, b"x", folder=folder, flags=flags, received=received)
    head, length = mbox.head_from(out.getvalue())
    assert (head.folder, head.received, head.flags) == (folder, received, flags)
    assert out.getvalue()[length:] == b"x\n\n"


def test_python_reads_the_same_messages(tmp_path: Path) -> None:
    messages = [b"Subject: one\n\nFrom here\n", b"Subject: two\n\n>From there", b"no head at all"]
    (tmp_path / "mbox").write_bytes(written(*messages))
    found = mailbox.mbox(tmp_path / "mbox", create=False)
    assert [message["Subject"] for message in found] == ["one", "two", None]
    assert [message["X-Folder"] for message in found] == ["INBOX"] * 3
    found.close()


DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "no empty line at the end": lambda data: data[:-1],
    "ends in a message": lambda data: data[:-30],
    "something after the end": lambda data: data + b"x",
    "another head": lambda data: data.replace(b"X-Folder", b"X-Folter"),
    "shorter than it is": lambda data: data.replace(b"Bytes: 10 10", b"Bytes: 9 9"),
    "longer than all": lambda data: data.replace(b"Bytes: 10 10", b"Bytes: 10 999999999999"),
    "something before": lambda data: b"hello" + data,
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_what_is_no_archive_is_refused(damage: str) -> None:
    data = written(b"1234567890", b"more text\n")
    assert read_back(data) == [b"1234567890", b"more text\n"]
    with pytest.raises(mbox.FormError):
        read_back(DAMAGES[damage](data))


def test_a_large_message_is_masked_like_a_small_one() -> None:
    line = b">" * (1 << 20) + b"From x\n"
    message = b"Content-Length: 1\n" + line * 3 + b"\n" + b"From y\r\n" * 1000
    assert read_back(written(message, message)) == [message, message]
