"""The strict grammars for every text that reaches a mail server's file.

A text that passes holds only ASCII characters that mean nothing to a Postfix
map line, a Dovecot query or a path. The panel's validators use these patterns,
and records and renderers check them once more, so that a form that was
bypassed changes nothing. Patterns end in \\Z: $ lets a final newline through.
"""

from __future__ import annotations

import re
from datetime import date

_LABEL = r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
_DOMAIN = rf"(?=.{{3,253}}\Z){_LABEL}(?:\.{_LABEL})+"
_NO_DOUBLE_DOT = r"(?!.*\.\.)"

#: A mailbox name that a customer chooses.
MAILBOX_NAME = re.compile(rf"\A{_NO_DOUBLE_DOT}[a-z0-9](?:[a-z0-9._-]{{0,30}}[a-z0-9_-])?\Z")
#: The name of a domain's fixed account: the domain's first label (RFC 1035, 63 octets).
FIXED_NAME = re.compile(rf"\A{_LABEL}\Z")
#: A hosted domain in ASCII form, at least two labels (RFC 1035, RFC 5890).
DOMAIN = re.compile(rf"\A{_DOMAIN}\Z")
#: The part before the @ of a forwarding address on this server.
LOCAL_PART = re.compile(rf"\A{_NO_DOUBLE_DOT}[a-z0-9_](?:[a-z0-9._+-]{{0,62}}[a-z0-9_+-])?\Z")
#: Where mail may be sent on to, here or elsewhere (RFC 5321, narrowed).
DESTINATION = re.compile(
    rf"\A(?=.{{1,254}}\Z)(?!.*\.[.@])[A-Za-z0-9_][A-Za-z0-9._+=&'~#-]{{0,63}}@{_DOMAIN}\Z"
)
#: The id a mailbox's directory carries: a UUID's hex digits.
MAILBOX_ID = re.compile(r"\A[0-9a-f]{32}\Z")
#: A password hash in a scheme that both Dovecot and crypt(3) verify.
PASSWORD_HASH = re.compile(
    r"\A(?:"
    r"\{SHA512-CRYPT\}\$6\$(?:rounds=[1-9][0-9]{3,5}\$)?[./0-9A-Za-z]{1,16}\$[./0-9A-Za-z]{86}"
    r"|\{BLF-CRYPT\}\$2y\$(?:0[4-9]|1[0-6])\$[./0-9A-Za-z]{53}"
    r")\Z"
)
#: A domain's home directory, below the server's `homes_root`; may be empty.
HOME = re.compile(
    r"\A(?=.{0,200}\Z)(?:[A-Za-z0-9_][A-Za-z0-9._-]*(?:/[A-Za-z0-9_][A-Za-z0-9._-]*)*)?\Z"
)

#: What a plan is called, and whose a domain is: words of the panel's.
PLAN_CODE = re.compile(r"\A[A-Za-z0-9_-]{1,50}\Z")
OWNER = re.compile(r"\A[a-z0-9-]{1,40}\Z")
#: A list's name for people: one line, no control or format characters, no line separators.
TITLE = re.compile(
    r"\A(?! )[^\x00-\x1f\x7f-\x9f\u00ad\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ud800-\udfff]"
    r"{1,100}(?<! )\Z"
)
#: The subject of an auto-reply: one line, as TITLE but longer.
SUBJECT = re.compile(TITLE.pattern.replace("{1,100}", "{1,200}"))
#: The text of an auto-reply: lines of what people write, no control or format character.
LETTER = re.compile(
    r"\A(?=.*\S)[^\x00-\x09\x0b-\x1f\x7f-\x9f\u00ad\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff"
    r"\ud800-\udfff]{1,4000}\Z",
    re.DOTALL,
)
#: A page of the panel, to which a token is added.
URL = re.compile(r"\Ahttps?://[A-Za-z0-9.-]{1,253}(?::[0-9]{1,5})?(?:/[A-Za-z0-9._~-]*)*\Z")
#: What signs the links by which members leave a list.
LEAVE_KEY = re.compile(r"\A[0-9a-f]{64}\Z")


class GrammarError(ValueError):
    """A text that is not of its kind; `kind` is the grammar's name in lower case."""

    def __init__(self, kind: str, text: object) -> None:
        super().__init__(f"not a valid {kind.replace('_', ' ')}: {text!a}")
        self.kind = kind
        self.text = text


def _check(kind: str, pattern: re.Pattern[str], text: object) -> None:
    if not isinstance(text, str) or not pattern.match(text):
        raise GrammarError(kind, text)


def check_mailbox_name(text: str) -> None:
    """Raise GrammarError unless `text` may name a customer's mailbox."""
    _check("mailbox_name", MAILBOX_NAME, text)


def check_fixed_name(text: str) -> None:
    """Raise GrammarError unless `text` may name a domain's fixed account."""
    _check("fixed_name", FIXED_NAME, text)


def check_any_mailbox_name(text: str) -> None:
    """Raise GrammarError unless `text` may name a mailbox, chosen or fixed."""
    if not isinstance(text, str) or not FIXED_NAME.match(text):
        check_mailbox_name(text)


def check_domain(text: str) -> None:
    """Raise GrammarError unless `text` is a domain in its ASCII form."""
    _check("domain", DOMAIN, text)


def check_local_part(text: str) -> None:
    """Raise GrammarError unless `text` may stand before the @ of an address here."""
    _check("local_part", LOCAL_PART, text)


def check_destination(text: str) -> None:
    """Raise GrammarError unless mail may be sent on to `text`."""
    _check("destination", DESTINATION, text)


def check_address(text: str) -> None:
    """Raise GrammarError unless `text` is an address as this server writes its own.

    The catch-all of a domain is written "@DOMAIN".
    """
    local_part, at, domain = text.rpartition("@") if isinstance(text, str) else ("", "", "")
    if not at or len(text) > 254 or not DOMAIN.match(domain):
        raise GrammarError("address", text)
    if local_part and not LOCAL_PART.match(local_part):
        raise GrammarError("address", text)


def check_mailbox_id(text: str) -> None:
    """Raise GrammarError unless `text` is 32 lower-case hexadecimal digits."""
    _check("mailbox_id", MAILBOX_ID, text)


def check_password_hash(text: str) -> None:
    """Raise GrammarError unless `text` is a SHA512-CRYPT or BLF-CRYPT hash.

    The hash itself is never shown in the error.
    """
    if not isinstance(text, str) or not PASSWORD_HASH.match(text):
        raise GrammarError("password_hash", "...")


def check_home(text: str) -> None:
    """Raise GrammarError unless `text` is a plain relative path, or empty."""
    _check("home", HOME, text)


def check_plan_code(text: str) -> None:
    """Raise GrammarError unless `text` may name a plan."""
    _check("plan_code", PLAN_CODE, text)


def check_owner(text: str) -> None:
    """Raise GrammarError unless `text` may say whose a domain is."""
    _check("owner", OWNER, text)


def check_title(text: str) -> None:
    """Raise GrammarError unless `text` is one line that may name a list to people."""
    _check("title", TITLE, text)


def check_subject(text: str) -> None:
    """Raise GrammarError unless `text` is one line that may be an auto-reply's subject."""
    _check("subject", SUBJECT, text)


def check_letter(text: str) -> None:
    """Raise GrammarError unless `text` may be what an auto-reply says."""
    _check("letter", LETTER, text)


#: The days that an auto-reply can begin or end on.
FIRST_DAY, LAST_DAY = date(2000, 1, 1), date(2099, 12, 31)


def check_day(text: str) -> None:
    """Raise GrammarError unless `text` is a day of the calendar, as 2026-12-28.

    Of FIRST_DAY to LAST_DAY: before them clocks were set by the minute and second, which no
    mail program and no Sieve script can write (RFC 5260, 4.1).
    """
    try:
        day = date.fromisoformat(text)
    except (TypeError, ValueError):
        raise GrammarError("day", text) from None
    if day.isoformat() != text or not FIRST_DAY <= day <= LAST_DAY:
        raise GrammarError("day", text)


def check_url(text: str) -> None:
    """Raise GrammarError unless `text` is a plain web address without a query."""
    _check("url", URL, text)


def check_leave_key(text: str) -> None:
    """Raise GrammarError unless `text` is 64 lower-case hexadecimal digits, never shown."""
    if not isinstance(text, str) or not LEAVE_KEY.match(text):
        raise GrammarError("leave_key", "...")
