"""Files are sent whole or in part, so that a download that broke off can go on (RFC 9110)."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any
from wsgiref.util import FileWrapper

import pytest
from django.http import HttpResponseBase
from django.test import RequestFactory

from quota.downloads import Part, Range, Unsatisfiable, asked_range, download

# Whoever ends a response looks after its connections to the database.
pytestmark = pytest.mark.django_db

CONTENT = bytes(range(256)) * 4
NAME = "alice.oldmail.20261202.gz"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A file of 1,024 bytes."""
    made = tmp_path / NAME
    made.write_bytes(CONTENT)
    return made


def ask(path: Path, method: str = "get", **headers: str) -> HttpResponseBase:
    request: Any = getattr(RequestFactory(), method)("/", headers=headers)
    return download(request, path.open("rb"), NAME, "abc")


def body(response: HttpResponseBase) -> bytes:
    data = b"".join(response)
    response.close()
    return data


@pytest.mark.parametrize(
    ("header", "asked"),
    [
        ("bytes=0-0", Range(0, 0)),
        ("bytes=10-", Range(10, 99)),
        ("bytes=10-19", Range(10, 19)),
        ("bytes=90-1000", Range(90, 99)),
        ("bytes=-5", Range(95, 99)),
        ("bytes=-1000", Range(0, 99)),
        # Not understood, or not worth it: the whole file.
        ("", None),
        ("bytes=", None),
        ("bytes=-", None),
        ("bytes=5-3", None),
        ("bytes=a-b", None),
        ("bytes=0-1,5-6", None),
        ("lines=0-1", None),
        ("bytes=٣-٤", None),
        (f"bytes={'9' * 30}-", None),
    ],
)
def test_range_that_is_asked_for(header: str, asked: Range | None) -> None:
    assert asked_range(header, 100) == asked


@pytest.mark.parametrize("header", ["bytes=100-", "bytes=-0", "bytes=999-1000"])
def test_range_that_cannot_be(header: str) -> None:
    with pytest.raises(Unsatisfiable):
        asked_range(header, 100)


def test_whole_file(path: Path) -> None:
    response = ask(path)
    assert response.status_code == 200
    assert response.headers["Content-Length"] == "1024"
    assert response.headers["Content-Type"] == "application/gzip"
    assert response.headers["Content-Disposition"] == f'attachment; filename="{NAME}"'
    assert response.headers["ETag"] == '"abc"'
    assert response.headers["X-Content-Type-Options"] == "nosniff"
    assert "Content-Encoding" not in response.headers
    assert body(response) == CONTENT


def test_broken_download_goes_on(path: Path) -> None:
    response = ask(path, **{"range": "bytes=1000-", "if-range": '"abc"'})
    assert response.status_code == 206
    assert response.headers["Content-Range"] == "bytes 1000-1023/1024"
    assert response.headers["Content-Length"] == "24"
    assert body(response) == CONTENT[1000:]


def test_part_ends_where_it_was_asked_to(path: Path) -> None:
    assert body(ask(path, range="bytes=100-199")) == CONTENT[100:200]


def test_another_file_by_now_is_sent_whole(path: Path) -> None:
    response = ask(path, **{"range": "bytes=1000-", "if-range": '"earlier"'})
    assert response.status_code == 200
    assert body(response) == CONTENT


def test_range_behind_the_end_is_refused(path: Path) -> None:
    response = ask(path, range="bytes=1024-")
    assert response.status_code == 416
    assert response.headers["Content-Range"] == "bytes */1024"


def test_what_the_client_has_is_not_sent_again(path: Path) -> None:
    assert ask(path, **{"if-none-match": 'W/"x", "abc"'}).status_code == 304


def test_head_has_the_same_headers_and_no_body(path: Path) -> None:
    response = ask(path, "head", range="bytes=0-1")
    assert response.status_code == 200
    assert response.headers["Content-Length"] == "1024"
    assert body(response) == b""


def test_name_cannot_end_its_header(path: Path) -> None:
    request = RequestFactory().get("/")
    response = download(request, path.open("rb"), 'a"; filename="b\r\nX: y', "abc")
    assert "\n" not in response.headers["Content-Disposition"]
    response.close()


def test_file_is_closed_whatever_is_answered(path: Path) -> None:
    def is_open() -> bool:
        return any(
            link.is_symlink() and link.readlink() == path
            for link in Path("/proc/self/fd").iterdir()
        )

    with path.open("rb"):
        assert is_open()
    for headers in ({"range": "bytes=9999-"}, {"if-none-match": '"abc"'}, {"range": "bytes=1-2"}):
        ask(path, **headers).close()
    ask(path, "head").close()
    assert not is_open()


def test_web_server_s_wrapper_reads_no_more_than_the_part(path: Path) -> None:
    part = Part(path.open("rb"), 10, 20)
    assert b"".join(FileWrapper(part, 7)) == CONTENT[10:30]  # type: ignore[arg-type]
    part.close()


def test_kernel_begins_where_the_part_does(path: Path, tmp_path: Path) -> None:
    part = Part(path.open("rb"), 10, 20)
    assert os.lseek(part.fileno(), 0, os.SEEK_CUR) == 10
    part.close()
