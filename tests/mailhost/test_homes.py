"""Homes are opened and made without following links, and an archive's name says whose it is."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given

from mailhost import homes
from mailhost.config import HostConfig
from tests.mailhost import texts

CONFIG = HostConfig("mail.example.com", home_uid=os.getuid() or 5001, home_gid=os.getgid() or 5001)


@given(texts.mailbox_names)
def test_an_archives_name_says_whose_it_is(account: str) -> None:
    for number in (1, 2, 99):
        assert homes.account_of(homes.archive_name(account, "20261125", number)) == account


@pytest.mark.parametrize(
    ("name", "account"),
    [
        ("myinfo.oldmail.20261125.gz", "myinfo"),
        ("a.oldmail.20261125.gz.oldmail.20261126-3.gz", "a.oldmail.20261125.gz"),
        ("a.oldmail.b.oldmail.20261126.gz", "a.oldmail.b"),
        ("myinfo.oldmail.20261125-0.gz", None),
        ("myinfo.oldmail.20261125-100.gz", None),
        ("myinfo.oldmail.20261125.gz\n", None),
        (".myinfo.oldmail.20261125.gz", None),
        ("../myinfo.oldmail.20261125.gz", None),
        ("MYINFO.oldmail.20261125.gz", None),
    ],
)
def test_other_names_are_nobodys(name: str, account: str | None) -> None:
    assert homes.account_of(name) == account


def test_home_is_made_once_and_below_others(tmp_path: Path) -> None:
    assert homes.make(tmp_path, CONFIG, "a/b/c")
    assert not homes.make(tmp_path, CONFIG, "a/b/c")
    assert (tmp_path / "a/b/c").stat().st_mode & 0o7777 == homes.MODE
    with homes.opened(tmp_path, "a/b/c") as descriptor:
        assert os.fstat(descriptor).st_ino == (tmp_path / "a/b/c").stat().st_ino


def test_a_home_that_was_only_begun_is_finished(tmp_path: Path) -> None:
    if os.getuid():
        pytest.skip("only root's homes get another owner")
    (tmp_path / "a").mkdir(mode=0o700)
    assert homes.make(tmp_path, CONFIG, "a")
    assert (tmp_path / "a").stat().st_uid == 5001


@pytest.mark.parametrize("place", ["link", "link/b", "file", "file/b", "../x", "", "a\nb"])
def test_no_home_is_made_elsewhere(tmp_path: Path, place: str) -> None:
    root = tmp_path / "homes"
    root.mkdir()
    (tmp_path / "elsewhere").mkdir()
    (root / "link").symlink_to(tmp_path / "elsewhere")
    (root / "file").write_text("")
    with pytest.raises(homes.HomeError):
        homes.make(root, CONFIG, place)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["elsewhere", "homes"]
    assert not list((tmp_path / "elsewhere").iterdir())
