"""Webmail, asked by HTTP: does it run, and which domains does it serve?"""

from __future__ import annotations

import http.client
from collections.abc import Iterable


def alive(port: int, timeout: float) -> bool:
    """Say whether the web server and PHP behind it answer."""
    return _status(port, "127.0.0.1", "/alive", timeout) == http.HTTPStatus.OK


def serves(port: int, domains: Iterable[str], timeout: float = 5.0) -> dict[str, bool]:
    """Say of each domain whether it is served; of none where nothing answers."""
    found = {}
    for domain in domains:
        status = _status(port, domain, "/webmail/alive", timeout)
        if status is None:
            return {}
        found[domain] = status == http.HTTPStatus.NO_CONTENT
    return found


def _status(port: int, host: str, path: str, timeout: float) -> int | None:
    """Return the status of an answer, None where there is none."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout)
    try:
        connection.request("GET", path, headers={"Host": host})
        return connection.getresponse().status
    except (OSError, http.client.HTTPException):
        return None
    finally:
        connection.close()
