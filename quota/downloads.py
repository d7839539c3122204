"""Files sent as they are, so that a download that broke off can go on (RFC 9110, 14).

The file is streamed, by the kernel where the web server offers it (gunicorn's sendfile), and never
held in memory.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from typing import BinaryIO

from django.http import FileResponse, HttpRequest, HttpResponse, HttpResponseBase
from django.utils.http import content_disposition_header, parse_etags

_TYPE = "application/gzip"
_BLOCK = 64 * 1024
_ONE_RANGE = re.compile(r"\Abytes=(?:([0-9]{1,18})-([0-9]{0,18})|-([0-9]{1,18}))\Z")


class Part:
    """Some bytes of a file, as a web server reads or sends them: from where it stands, no more."""

    def __init__(self, file: BinaryIO, first: int, length: int) -> None:
        self._file = file
        self._left = length
        file.seek(first)
        # The kernel sends from where the descriptor stands.
        os.lseek(file.fileno(), first, os.SEEK_SET)

    def read(self, size: int = -1) -> bytes:
        """Return the next bytes, b"" at the end."""
        wanted = self._left if size < 0 else min(size, self._left)
        data = self._file.read(wanted)
        self._left -= len(data)
        return data

    def fileno(self) -> int:
        """Return the descriptor, for sendfile(2)."""
        return self._file.fileno()

    def close(self) -> None:
        """Close the file."""
        self._file.close()


class _Download(FileResponse):
    block_size = _BLOCK


@dataclass(frozen=True, slots=True)
class Range:
    """Bytes of a file, the first and the last of them."""

    first: int
    last: int

    @property
    def length(self) -> int:
        """How many they are."""
        return self.last - self.first + 1


class Unsatisfiable(ValueError):
    """A range that begins behind the file's end."""


def asked_range(header: str, size: int) -> Range | None:
    """Return the range that a Range header asks for; None: the whole file.

    What is no range of bytes is ignored, and so are several: the standard allows it (14.2), and
    nobody who goes on with a download asks for them.
    """
    asked = _ONE_RANGE.match(header.strip())
    if asked is None:
        return None
    first, last, suffix = asked.groups()
    if suffix is not None:
        if not int(suffix) or not size:
            raise Unsatisfiable(header)
        return Range(max(0, size - int(suffix)), size - 1)
    found = Range(int(first), min(int(last) if last else size - 1, size - 1))
    if last and int(last) < int(first):
        return None
    if found.first >= size:
        raise Unsatisfiable(header)
    return found


def download(request: HttpRequest, file: BinaryIO, name: str, digest: str) -> HttpResponseBase:
    """Return a file as an attachment called `name`, or the part of it that is asked for.

    `digest` changes with the file's content; the file is closed when it has been sent.
    """
    size, tag = os.fstat(file.fileno()).st_size, f'"{digest}"'
    common = {
        "ETag": tag,
        "Accept-Ranges": "bytes",
        "X-Content-Type-Options": "nosniff",
        "Content-Disposition": content_disposition_header(True, name) or "attachment",
    }
    if tag in parse_etags(request.headers.get("If-None-Match", "")):
        file.close()
        return HttpResponse(status=304, headers=common)
    # A part of what was another file by now would ruin the whole (13.1.5); HEAD has no parts.
    whole = request.method == "HEAD" or request.headers.get("If-Range", tag) != tag
    try:
        part = None if whole else asked_range(request.headers.get("Range", ""), size)
    except Unsatisfiable:
        file.close()
        return HttpResponse(status=416, headers={**common, "Content-Range": f"bytes */{size}"})
    sent = part or Range(0, size - 1)
    common["Content-Length"] = str(sent.length)
    if request.method == "HEAD":
        file.close()
        return HttpResponse(content_type=_TYPE, headers=common)
    if part:
        common["Content-Range"] = f"bytes {part.first}-{part.last}/{size}"
    content, status = Part(file, sent.first, sent.length), 206 if part else 200
    return _Download(content, status=status, content_type=_TYPE, headers=common)
