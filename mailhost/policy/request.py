"""What Postfix asks: a request of its policy delegation protocol (SMTPD_POLICY_README).

A request is lines of `name=value`. Postfix always sends the same names in the same order, so
they are looked up once, and a request is read by the places of the nine that matter here: half
the time that a dictionary of all thirty takes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from operator import itemgetter
from typing import NamedTuple


class Malformed(ValueError):
    """What came is no request."""


class Request(NamedTuple):
    """The attributes that matter, "" where Postfix said nothing."""

    request: str = ""
    policy_context: str = ""
    instance: str = ""
    sender: str = ""
    recipient: str = ""
    size: str = ""
    sasl_username: str = ""
    client_address: str = ""
    recipient_count: str = ""


class Reader:
    """Reads requests, and learns from each where to look in the next."""

    def __init__(self) -> None:
        """Begin without any knowledge."""
        self._names: Sequence[str] = ()
        self._values: Callable[[Sequence[str]], tuple[str, ...]] = tuple

    def read(self, data: bytes) -> Request:
        """Return the request in `data`, which has no empty line. Raises Malformed."""
        # What is no UTF-8 stays distinct, and can be stored and logged.
        text = data.decode("utf-8", "backslashreplace")
        parts = text.replace("\n", "=").split("=")
        # With a = in a value the names are others than expected.
        if parts[::2] == self._names:
            request = Request._make(self._values(parts))
        else:
            request = self._read_any(text)
        if request.request != "smtpd_access_policy":
            raise Malformed("no request=smtpd_access_policy")
        return request

    def _read_any(self, text: str) -> Request:
        try:
            pairs = [line.split("=", 1) for line in text.split("\n")]
            values = dict(pairs)
        except ValueError as error:
            raise Malformed("a line without =") from error
        names = [name for name, _ in pairs]
        known = set(Request._fields)
        if known <= values.keys() and len(values) == len(names):
            self._names = names
            self._values = itemgetter(*(2 * names.index(name) + 1 for name in Request._fields))
        return Request(**{name: value for name, value in values.items() if name in known})
