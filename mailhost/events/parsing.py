"""What Postfix's log lines say became of messages: plain functions of bytes.

Much of a line is strangers' text: sender, recipient, HELO, another server's reply. Postfix writes
each record as one line and control characters as "?", but such a text may look like the rest of a
line. So an event is read only from a line that has each of its marks once, with addresses that
need no quotes: who puts a mark into a text of his own makes the line his own loss.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

#: Characters kept of a reason, which another server may have worded.
MOST_REASON = 300
# Longer than any address (RFC 5321, 4.5.3.1): no event.
_LONGEST = 254
# An address as Postfix writes it where no character needs quotes (RFC 5321, 4.1.2: Dot-string).
_ADDRESS = rb"[A-Za-z0-9!#$%&'*+/=?^_`{|}~.-]+@[A-Za-z0-9.-]+"
_QUOTED = rb'"(?:[^"\\]|\\.)*"@[A-Za-z0-9.-]+'
# log_adhoc.c: what a delivery agent says of one recipient.
_DELIVERY = re.compile(
    rb"([0-9A-Za-z]+): to=<(" + _ADDRESS + rb")>"
    rb"(?:, orig_to=<(?:(" + _ADDRESS + rb")|" + _QUOTED + rb"|[A-Za-z0-9._-]+)>)?"
    rb", relay=([^ ,]+)(?:, conn_use=\d+)?, delay=[\d.e+]+, delays=[\d./e+]+"
    rb", dsn=(\d\.\d{1,3}\.\d{1,3}), status=(sent|deferred|bounced) \((.*)\)\Z"
)
# smtpd.c, log_whatsup(): what the door answers.
_REFUSAL = re.compile(
    rb"([0-9A-Za-z]+): reject: (RCPT|END-OF-MESSAGE|DATA|BDAT|MAIL) from \S+: "
    rb"([45]\d\d) (?:([45]\.\d{1,3}\.\d{1,3}) )?(.*);"
    rb" from=<(" + _ADDRESS + rb"|[^>]*)>(?: to=<(" + _ADDRESS + rb"|[^>]*)>)? proto="
)
# smtpd_check.c begins its reasons with what is refused, in words of the client's.
_REFUSED_WHAT = re.compile(rb"\A(?:Recipient|Sender) address rejected: |\AEnd-of-data rejected: ")
_SAID = re.compile(rb"host \S+ said: (.*?)(?: \(in reply to [A-Za-z -]+ command\))?\Z", re.DOTALL)
_CODES = re.compile(rb"[45]\d\d[ -](?:[45]\.\d{1,3}\.\d{1,3} )?")
_QUEUED = re.compile(rb"([0-9A-Za-z]+): from=<(" + _ADDRESS + rb")?>, size=\d+, nrcpt=")
# qmgr_active.c, at the end of a message's time, right after its last recipients were put off.
_EXPIRED = re.compile(
    rb"([0-9A-Za-z]+): from=<(?:"
    + _ADDRESS
    + rb")?>, status=(?:force-)?expired, returned to sender\Z"
)
#: RFC 3463, 3.5: the time for its delivery is over, and nobody tries again.
EXPIRED = "5.4.7"
_UNPRINTABLE = re.compile(rb"[^\x20-\x7e]")
_KINDS = {b"sent": "delivered", b"deferred": "deferred", b"bounced": "bounced"}
_OURS = {b"dovecot-lmtp]": "mailbox", b"lists-lmtp]": "list"}
_MONTHS = {
    name: number
    for number, name in enumerate(
        b"Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec".split(), start=1
    )
}
_DAY = 24 * 60 * 60


class Event(NamedTuple):
    """What became of one recipient of a message; schema.sql explains the fields."""

    at: int
    kind: str
    queue_id: str
    sender: str
    recipient: str
    original: str
    relay: str
    code: str
    reason: str


class Parser:
    """Reads lines in their order, and remembers who sent what is in the queue."""

    def __init__(self, is_hosted: Callable[[str], bool], senders: dict[str, str]) -> None:
        """Take who knows this server's domains, and the senders of what is queued already."""
        self._is_hosted = is_hosted
        self.senders = senders
        #: What `senders` has gained and lost since somebody last emptied these two.
        self.came: set[str] = set()
        self.went: set[str] = set()
        # Who was put off last of each queued message: those who never get it if it expires. After
        # our restart it lacks those of before; their last attempt puts them off once more.
        self._put_off: dict[str, dict[tuple[str, str], Event]] = {}
        self._clock = b""
        self._at = 0
        self._programs: dict[bytes, Callable[[bytes, bytes], Sequence[Event]]] = {
            b"qmgr": self._queue,
            b"smtpd": self._door,
            **dict.fromkeys((b"lmtp", b"smtp", b"error", b"retry", b"lists"), self._agent),
        }

    def read(self, lines: list[bytes]) -> list[Event]:
        """Return the events of whole lines that concern a domain of this server."""
        found: list[Event] = []
        programs = self._programs
        for line in lines:
            # "Nov 27 23:30:52 mail1 plusmail-mail1/lmtp[123]: 4jbb..."; the tag is Postfix's own.
            end = line.find(b"]: ", 16, 160)
            if end < 0:
                continue
            start = line.rfind(b"/", 16, end) + 1
            program = programs.get(line[start : line.find(b"[", start, end)])
            if program:
                found += program(line, line[end + 3 :])
        return found

    def _queue(self, line: bytes, text: bytes) -> Sequence[Event]:
        if text.endswith(b": removed"):
            queue_id = text[:-9].decode("ascii", "replace")
            self._put_off.pop(queue_id, None)
            if self.senders.pop(queue_id, None) is not None:
                if queue_id in self.came:
                    self.came.discard(queue_id)
                else:
                    self.went.add(queue_id)
        elif b": from=<" in text and (match := _QUEUED.match(text)):
            queue_id = match[1].decode()
            if queue_id not in self.senders:
                self.senders[queue_id] = _address(match[2])
                self.came.add(queue_id)
        elif match := _EXPIRED.match(text):
            at, late = self._time(line), self._put_off.pop(match[1].decode(), {})
            return [event._replace(at=at, kind="bounced", code=EXPIRED) for event in late.values()]
        return ()

    def _agent(self, line: bytes, text: bytes) -> Sequence[Event]:
        if b": to=<" not in text or text.count(b", relay=") != 1:
            return ()
        match = _DELIVERY.match(text)
        if match is None:
            return ()
        recipient, original = _address(match[2]), _address(match[3])
        queue_id = match[1].decode()
        sender = self.senders.get(queue_id, "")
        if not self._concerns(recipient, original, sender):
            return ()
        kind = _KINDS[match[6]]
        event = Event(
            self._time(line),
            kind,
            queue_id,
            sender,
            recipient,
            original,
            _relay(match[4]),
            match[5].decode(),
            "" if kind == "delivered" else _reason(match[7]),
        )
        if kind == "deferred":
            self._put_off.setdefault(queue_id, {})[recipient, original] = event
        elif queue_id in self._put_off:
            self._put_off[queue_id].pop((recipient, original), None)
        return (event,)

    def _door(self, line: bytes, text: bytes) -> Sequence[Event]:
        if b": reject: " not in text or any(
            text.count(mark) > 1 for mark in (b"; from=<", b" to=<", b" proto=", b": reject: ")
        ):
            return ()
        match = _REFUSAL.match(text)
        if match is None:
            return ()
        sender, recipient = _plain(match[6]), _plain(match[7])
        what, _, why = match[5].partition(b">: ")
        # At RCPT the recipient stands before the reason as well, there without quotes.
        if match[2] == b"RCPT" and (not recipient or what != b"<" + match[7]):
            return ()
        if not self._concerns(recipient, sender):
            return ()
        queue_id = match[1].decode()
        event = Event(
            self._time(line),
            "refused",
            "" if queue_id == "NOQUEUE" else queue_id,
            sender,
            recipient,
            "",
            "",
            (match[4] or match[3]).decode(),
            _reason(_REFUSED_WHAT.sub(b"", why or what)),
        )
        return (event,)

    def _concerns(self, *addresses: str) -> bool:
        """Say whether one of the addresses is of a domain of this server."""
        is_hosted = self._is_hosted
        return any(address and is_hosted(address.rpartition("@")[2]) for address in addresses)

    def _time(self, line: bytes) -> int:
        if line[:15] != self._clock:
            self._clock, self._at = line[:15], moment(line[:15], time.time())
        return self._at


def moment(stamp: bytes, now: float) -> int:
    """Return when "Nov 27 23:30:52" was by this machine's clock, as UNIX seconds.

    It is of the year that makes it no later than a day from `now`, which it is for what cannot
    be read.
    """
    try:
        month, day = _MONTHS[stamp[:3]], int(stamp[4:6])
        hour, minute, second = map(int, stamp[7:15].split(b":"))
        year = time.localtime(now).tm_year
        for one in (year + 1, year, year - 1):
            found = time.mktime((one, month, day, hour, minute, second, 0, 0, -1))
            if found <= now + _DAY:
                return int(found)
    except (KeyError, ValueError, OverflowError):
        pass
    return int(now)


def _address(text: bytes | None) -> str:
    return text.decode("ascii").lower() if text and len(text) <= _LONGEST else ""


def _plain(text: bytes | None) -> str:
    """Return an address if it needs no quotes, "" for any other."""
    return _address(text) if text and re.fullmatch(_ADDRESS, text) else ""


def _relay(text: bytes) -> str:
    """Return where it went: "mailbox", "list", or the other server's name; "" for nowhere."""
    for end, name in _OURS.items():
        if text.endswith(end):
            return name
    host = text.partition(b"[")[0]
    return "" if host == b"none" else host.decode("ascii", "replace")[:253]


def _reason(text: bytes) -> str:
    """Return why, without Postfix's words around another server's reply, as printable ASCII."""
    if match := _SAID.match(text):
        text = match[1]
    text = _CODES.sub(b"", text, count=1) if _CODES.match(text) else text
    return _UNPRINTABLE.sub(b"?", text)[:MOST_REASON].decode("ascii").strip()
