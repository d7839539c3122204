"""What Dovecot asks and tells about logins: its authentication policy, over HTTP on loopback.

Before it looks at a password Dovecot asks `POST /?command=allow` and does what the answer says;
afterwards it tells the outcome by `POST /?command=report` (Dovecot 2.3 manual, "Authentication
policy support"). The content is a JSON object whose fields `auth_policy_request_attributes` of
dovecot.conf names. A secret in a header says that it is Dovecot that speaks.

Each request is small and answered at once. One that is malformed, too long or too slow costs
its connection, and no stranger can keep Dovecot's connections out.
"""

from __future__ import annotations

import asyncio
import hmac
import ipaddress
import json
import math
import re
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import h11

from mailhost.config import HostConfig
from mailhost.policy import texts
from mailhost.policy.arrivals import Arrivals
from mailhost.policy.directory import Directory
from mailhost.policy.grants import Grants, network_of
from mailhost.policy.throttle import Attempt, Throttle, Verdict

#: Bytes of a request's head, and of its content; Dovecot's have about 250 and 350.
MOST_HEAD = 8 * 1024
MOST_CONTENT = 16 * 1024
#: Seconds a request may take to come, and a connection to be used again (Dovecot's last 10).
PATIENCE = 5.0
IDLE = 60.0
#: Connections that have not shown the secret; the oldest goes first.
MOST_STRANGERS = 100
#: Bytes of answers that nobody fetches.
MOST_UNREAD = 64 * 1024

# Names as typed, in lower case, for which Dovecot told the account.
_MOST_NAMES = 20_000
# RFC 5321's longest address. Dovecot's auth_username_chars has the same characters.
_NAME = re.compile(r"\A[a-z0-9.@_+-]{1,254}\Z")
_WAYS = ("pop3", "imap")
_ALLOW, _REPORT = b"/?command=allow", b"/?command=report"


@dataclass(frozen=True, slots=True)
class Question:
    """What Dovecot says about a login, in an `allow` and a `report`.

    `login` is the account's name in a report, if there is one, else what was typed (`typed`);
    `master` the master user who logs in as it, or "". `remote` is the customer's address,
    `peer` that of who connected: a part of the service may speak for a customer. `port` is the
    one that was connected to, 0 for what Postfix asks. `success` and `rejected` (by us, not for
    a wrong password) belong to a report.
    """

    login: str
    typed: str
    master: str
    remote: str
    peer: str
    port: int
    protocol: str
    password: str
    success: bool
    rejected: bool


def read_question(content: bytes) -> Question:
    """Read the JSON of a request. Raises ValueError for what is no such question."""
    try:
        fields = json.loads(content.decode("utf-8", "replace"))
    except RecursionError as error:
        raise ValueError("nested too deeply") from error
    if not isinstance(fields, dict):
        raise ValueError("not an object")

    def text(name: str) -> str:
        value = fields.get(name, "")
        return value if isinstance(value, str) else ""

    port = text("listener") or text("lport")
    orig = text("orig").lower()
    return Question(
        login=_name(text("login")),
        typed=_name(orig),
        # Dovecot names the account in loginuser until the master user's password was right.
        master=_name(text("master")) or (_name(orig) if text("loginuser") else ""),
        remote=text("remote"),
        peer=text("via"),
        port=int(port) if port.isascii() and port.isdigit() and len(port) <= 5 else 0,
        protocol=text("protocol"),
        password=text("pwhash")[:16],
        success=fields.get("success") is True,
        rejected=fields.get("policy_reject") is True,
    )


def is_loopback(address: str) -> bool:
    """Say whether an IP address, if it is one, is this machine's own."""
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return False


def _is_judged(question: Question) -> bool:
    """Say whether a login was asked about before: as "ssh", by who reads mail on its behalf.

    It comes by a Unix socket, which has neither port nor address, and which only root can open.
    """
    whose = question.remote or question.peer
    return question.protocol == "imap" and not question.port and not whose


def _name(text: str) -> str:
    """Return a login's name, or "" for what can be none."""
    text = text.lower()
    return text if _NAME.match(text) else ""


class AuthPolicy:
    """The answers, and the connections on which they are given."""

    def __init__(
        self,
        config: HostConfig,
        key: str,
        directory: Directory,
        grants: Grants,
        throttle: Throttle,
        arrivals: Arrivals,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Take the secret, who knows the accounts, and who keeps what is told."""
        if not key:
            raise ValueError("a secret is needed")
        ports = (config.pop3_port, config.pop3s_port, config.imap_port, config.imaps_port)
        self._public = frozenset(filter(None, ports))
        self._help_url = config.help_url
        self._key = key.encode()
        self._directory = directory
        self._grants = grants
        self._throttle = throttle
        self._arrivals = arrivals
        self._clock = clock
        self._names: dict[str, str] = {}
        self._connections: set[Connection] = set()
        self._strangers: dict[Connection, None] = {}

    def allow(self, question: Question) -> dict[str, object]:
        """Answer whether a login may be tried: status -1 no, 0 yes, N in N seconds."""
        if _is_judged(question):
            return {"status": 0, "msg": ""}
        now = self._clock()
        question = self._believed(question)
        verdict = self._throttle.judge(self._attempt(question), now)
        if verdict.refused_until:
            return {"status": -1, "msg": self._refusal(verdict, now)}
        if self._may_open(question):
            self._arrivals.begun(network_of(question.remote), now)
        return {"status": verdict.delay, "msg": ""}

    def report(self, question: Question) -> None:
        """Take notice of how a login ended."""
        now = self._clock()
        question = self._believed(question)
        if question.rejected or _is_judged(question):
            return
        if question.typed and question.login and not question.master:
            if len(self._names) >= _MOST_NAMES:
                self._names.clear()
            self._names[question.typed] = question.login
        attempt = self._attempt(question)
        if not question.success:
            self._throttle.failed(attempt, now)
        else:
            self._throttle.succeeded(attempt, now)
            if self._may_open(question) and question.login and not question.master:
                self._grants.opened(question.login, question.remote, now, question.protocol)
        if self._may_open(question):
            self._arrivals.ended(network_of(question.remote))

    def _believed(self, question: Question) -> Question:
        """Return a question without an address that a program of this machine gave out of turn.

        Dovecot takes one from each of them: it is webmail's to give, on its own port.
        """
        if question.port in self._public and is_loopback(question.peer):
            return replace(question, remote=question.peer)
        return question

    def _may_open(self, question: Question) -> bool:
        """Say whether a login where this one is tried opens the way for mail, if a customer's."""
        return (
            question.protocol in _WAYS
            and question.port in self._public
            and self._grants.may_open(question.remote)
        )

    def _attempt(self, question: Question) -> Attempt:
        # Behind a listener of the service's own are customers of any address, unless it is told.
        shared = (
            question.protocol in _WAYS
            and question.port not in self._public
            and question.remote == question.peer
        )
        network = "" if shared else network_of(question.remote)
        login = question.master or question.login
        account = "" if question.master else self._account_of(login)
        return Attempt(account or login, account, network, question.password)

    def _account_of(self, login: str) -> str:
        """Return the account that a login is for, or "" if none is known."""
        if self._directory.account(login):
            return login
        name, _, domain = login.partition("@")
        view = self._directory.account(name) if domain else None
        if view is not None and view.address == login:
            return name
        other = self._names.get(login, "")
        return other if other and self._directory.account(other) else ""

    def _refusal(self, verdict: Verdict, now: float) -> str:
        minutes = max(1, math.ceil((verdict.refused_until - now) / 60))
        about_account = verdict.reason == "account"
        return texts.guessing(about_account, minutes, help_url=self._help_url)

    # Connections

    def connection(self) -> Connection:
        """Return the protocol of a new connection, for asyncio's create_server."""
        return Connection(self)

    def close(self) -> None:
        """End all connections."""
        for connection in list(self._connections):
            connection.abort()

    def came(self, connection: Connection) -> None:
        """A connection was made, by nobody knows whom."""
        if len(self._strangers) >= MOST_STRANGERS:
            next(iter(self._strangers)).abort()
        self._connections.add(connection)
        self._strangers[connection] = None

    def went(self, connection: Connection) -> None:
        """A connection has ended."""
        self._connections.discard(connection)
        self._strangers.pop(connection, None)

    def trusts(self, connection: Connection, key: bytes) -> bool:
        """Say whether `key` is the secret; the connection is Dovecot's then."""
        if not hmac.compare_digest(key, self._key):
            return False
        self._strangers.pop(connection, None)
        return True

    def answer(self, target: bytes, content: bytes) -> tuple[int, dict[str, object]]:
        """Answer one request: HTTP's status, and what to say."""
        if target not in (_ALLOW, _REPORT):
            return 404, {}
        try:
            question = read_question(content)
        except ValueError:
            return 400, {}
        self._directory.refresh()
        if target == _ALLOW:
            return 200, self.allow(question)
        self.report(question)
        return 200, {"status": 0, "msg": ""}


class Connection(asyncio.Protocol):
    """One connection: requests one after another, each answered before the next is read."""

    _transport: asyncio.Transport

    def __init__(self, server: AuthPolicy) -> None:
        """Take who answers."""
        self._server = server
        self._http = h11.Connection(h11.SERVER, max_incomplete_event_size=MOST_HEAD)
        self._target = b""
        self._content = bytearray()
        self._timer: asyncio.TimerHandle | None = None
        self._busy = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin to wait for a request."""
        assert isinstance(transport, asyncio.Transport)  # noqa: S101 (of create_server)
        self._transport = transport
        self._server.came(self)
        self._wait(PATIENCE)

    def connection_lost(self, _error: Exception | None) -> None:
        """Stop waiting."""
        if self._timer:
            self._timer.cancel()
        self._server.went(self)

    def abort(self) -> None:
        """End it at once."""
        self._transport.abort()
        self._server.went(self)

    def data_received(self, data: bytes) -> None:
        """Answer each request that is complete now."""
        if not self._busy:
            self._busy = True
            self._wait(PATIENCE)
        try:
            self._http.receive_data(data)
            while self._step(self._http.next_event()):
                pass
        except h11.RemoteProtocolError as error:
            self._refuse(error.error_status_hint)

    def eof_received(self) -> None:
        """The other side has said all; so have we."""

    def _wait(self, seconds: float) -> None:
        if self._timer:
            self._timer.cancel()
        self._timer = asyncio.get_running_loop().call_later(seconds, self.abort)

    def _step(self, event: object) -> bool:
        """Deal with one part of a request; say whether to look for the next."""
        match event:
            case h11.Request():
                return self._begin(event)
            case h11.Data():
                self._content += event.data
                if len(self._content) > MOST_CONTENT:
                    return self._refuse(413)
                return True
            case h11.EndOfMessage():
                return self._finish()
        return False

    def _begin(self, request: h11.Request) -> bool:
        headers = dict(request.headers)
        if not self._server.trusts(self, headers.get(b"x-policy-key", b"")):
            return self._refuse(403)
        if request.method != b"POST":
            return self._refuse(405)
        self._target = request.target
        self._content.clear()
        return True

    def _finish(self) -> bool:
        status, answer = self._server.answer(self._target, bytes(self._content))
        self._send(status, json.dumps(answer).encode())
        if self._http.our_state is not h11.DONE or self._http.their_state is not h11.DONE:
            return self._close()
        if self._transport.get_write_buffer_size() > MOST_UNREAD:
            self.abort()
            return False
        self._http.start_next_cycle()
        self._busy = False
        self._wait(IDLE)
        return True

    def _refuse(self, status: int) -> bool:
        """Answer with an error, if it is still time to, and hang up."""
        if self._http.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            self._send(status, b"")
        return self._close()

    def _send(self, status: int, content: bytes) -> None:
        headers = [("Content-Type", "application/json"), ("Content-Length", str(len(content)))]
        if status != 200:
            headers.append(("Connection", "close"))
        parts = (
            h11.Response(status_code=status, headers=headers),
            h11.Data(data=content),
            h11.EndOfMessage(),
        )
        self._transport.write(b"".join(filter(None, map(self._http.send, parts))))

    def _close(self) -> bool:
        self._transport.close()
        return False
