"""What a customer is told when his mail is refused: one line each, with a number he can look up.

The codes are those of RFC 5321 (4.2) and RFC 3463; a refusal is for good, so that a mail
program says at once what is wrong instead of trying for days.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache

#: By reason: the reply's code and enhanced status code, and the words.
REFUSALS: Mapping[str, tuple[str, str]] = {
    "no-login": (
        "550 5.7.1",
        "Receive your mail first, then send within {limit} minutes; or send with your password",
    ),
    "sender": ("550 5.7.1", "{what} is not an address of the account {account}"),
    "null-sender": (
        "550 5.5.3",
        "A message without a sender goes to 1 recipient only, this is number {reached}",
    ),
    "message-recipients": (
        "550 5.5.3",
        "A message goes to at most {limit} recipients, this is number {reached}",
    ),
    "day-recipients": (
        "550 5.7.1",
        "{limit} recipients a day are allowed and {reached} used; the count starts anew at 0:00",
    ),
    "domain-recipients": (
        "550 5.7.1",
        "The domain's {limit} recipients a day are used ({reached}); it starts anew at 0:00",
    ),
    "size": ("552 5.3.4", "A message has at most {limit} bytes ({about}), this one {reached}"),
    "list-size": (
        "552 5.2.3",
        "A message to the mailing list {what} has at most {limit} bytes ({about}), this one"
        " {reached}",
    ),
    "list-posters": ("550 5.7.1", "Only {what}"),
    "full": (
        "552 5.2.2",
        "The mailbox of {what} is full: it takes mail again when its holder has made room",
    ),
    "account": ("550 5.7.1", "The account {account} does not exist any more"),
}
# Where no login opens anything: to receive first would not help.
_NO_WAY = "Send with your password (port 587 or 465): to receive first does not let you send"
_MOST = 400


def refusal(reason: str, *, hang_up: bool = False, help_url: str = "", **figures: object) -> str:
    """Return the action for Postfix. `figures` are what the words name.

    With `hang_up` Postfix ends the connection after the reply (access(5): 521).
    """
    code, words = REFUSALS[reason]
    if hang_up:
        code = f"521{code[3:]}"
    limit = figures.get("limit", 0)
    if reason == "no-login" and not limit:
        words = _NO_WAY
    text = words.format(**{"about": size(limit if isinstance(limit, int) else 0), **figures})
    see = f"; see {help_url}" if help_url else ""
    return f"{code} {_plain(text)[: _MOST - len(see)]}{see}"


def reason_in(text: str) -> tuple[str, dict[str, str]]:
    """Return the reason of which `refusal` made this text, without its codes, and its figures.

    ("", {}) for what is nobody's of ours.
    """
    if text.startswith(_NO_WAY):
        return "no-login", {}
    for reason, pattern in _patterns():
        if match := pattern.match(text):
            return reason, match.groupdict()
    return "", {}


@cache
def _patterns() -> list[tuple[str, re.Pattern[str]]]:
    """Return how the text of each reason looks, whatever its figures are."""
    found = []
    for reason, (_code, words) in REFUSALS.items():
        form = re.sub(r"\\\{(\w+)\\\}", r"(?P<\1>.+?)", re.escape(words))
        found.append((reason, re.compile(rf"{form}(?:; see |\Z)")))
    return found


def guessing(account: bool, minutes: int, *, help_url: str = "") -> str:
    """Return why a login is refused: guesses at this account from all over, or from the address."""
    whose = "for this account" if account else "from your address"
    see = f", or see {help_url}" if help_url else ""
    return f"too many wrong passwords {whose}; try again in {minutes} min{see}"


def size(count: int) -> str:
    """Return bytes in the unit of the manual: 1 MB is 1,048,576 and 1 KB 1,024 bytes."""
    for unit, factor in (("MB", 1024 * 1024), ("KB", 1024)):
        if count >= factor:
            return f"{count / factor:.1f}".removesuffix(".0") + f" {unit}"
    return f"{count} bytes"


def _plain(text: str) -> str:
    """Return what can stand in an SMTP reply: printable ASCII."""
    return "".join(char if " " <= char <= "~" else "?" for char in text)
