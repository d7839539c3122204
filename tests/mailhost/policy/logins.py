"""What the policy daemon knows of logins, without its sockets, and with a clock by hand."""

from __future__ import annotations

import itertools
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from mailhost.config import HostConfig
from mailhost.paths import Paths
from mailhost.policy.arrivals import Arrivals
from mailhost.policy.authpolicy import AuthPolicy
from mailhost.policy.database import PolicyDatabase
from mailhost.policy.directory import Directory
from mailhost.policy.grants import Grants
from mailhost.policy.throttle import Throttle
from mailhost.records import Address, Entry, HostedDomain, Mailbox, PlanLimits, Record
from mailhost.store import Store

KEY = "5ec7e7" * 8
HASH = "{SHA512-CRYPT}$6$saltsalt$" + "a" * 86
OTHER_HASH = "{SHA512-CRYPT}$6$saltsalt$" + "b" * 86
HOME, WORK, ELSEWHERE = "203.0.113.7", "203.0.113.8", "198.51.100.9"
ALICE = Mailbox("alice", "example.com", "a" * 32, HASH)
BOB = Mailbox("bob", "example.com", "b" * 32, HASH)
#: 2026-11-25 09:00 UTC.
MORNING = 1_795_597_200.0


class Logins:
    """What the daemon keeps about logins; `now` is its clock."""

    def __init__(self, root: Path, **settings: Any) -> None:
        """Make a server in `root` with two accounts, alice and bob."""
        self.root = root
        self.now = MORNING
        self.config = HostConfig(hostname="mail1.example.com", **settings)
        self._numbers = itertools.count(1)
        paths = Paths(root)
        for path in (paths.store.parent, paths.policy):
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.store = Store(paths.store)
        self.put(PlanLimits("light"), HostedDomain("example.com", ALICE.address, plan="light"))
        self.put(ALICE, BOB, Address("info", "example.com", (ALICE.address,)))
        self.start()

    def put(self, *records: Record) -> None:
        """Tell the mail server of records."""
        self._take(*(Entry(record.key, next(self._numbers), record) for record in records))

    def delete(self, record: Record) -> None:
        """Tell the mail server that a record is gone."""
        self._take(Entry(record.key, next(self._numbers), None))

    def _take(self, *entries: Entry) -> None:
        with self.store.transaction():
            self.store.take(entries, datetime.fromtimestamp(self.now, UTC))
        if hasattr(self, "directory"):
            self.directory.refresh()

    def start(self) -> None:
        """Begin as a new process does."""
        paths = Paths(self.root)
        self.db = PolicyDatabase(paths.policy / "policy.sqlite3")
        self.directory = Directory(paths.store)
        self.grants = Grants(self.db, self.directory, self.config, self.clock)
        self.throttle = Throttle(self.db, self.config, self.clock)
        self.arrivals = Arrivals()
        self.authpolicy = AuthPolicy(
            self.config,
            KEY,
            self.directory,
            self.grants,
            self.throttle,
            self.arrivals,
            self.clock,
        )

    def stop(self) -> None:
        """End, all written."""
        self.db.close()
        self.directory.close()

    def restart(self, config: HostConfig | None = None) -> None:
        """Go on as another process, perhaps with another configuration."""
        self.stop()
        self.config = config or self.config
        self.start()

    def close(self) -> None:
        """Close all files."""
        self.stop()
        self.store.close()

    def clock(self) -> float:
        """Return what time it is."""
        return self.now

    def expire(self) -> None:
        """Do what is done each minute."""
        self.throttle.expire(self.now)
        for _ in self.grants.expire(self.now):
            pass

    # As Dovecot speaks

    def allow(self, login: str = "alice", source: str = HOME, **fields: Any) -> int:
        """Ask as Dovecot does before it looks at a password; return the status."""
        answer = self.tell("allow", login, source, **fields)
        status = answer["status"]
        assert isinstance(status, int)
        return status

    def report(
        self, login: str = "alice", source: str = HOME, *, success: bool, **fields: Any
    ) -> None:
        """Tell as Dovecot does how a login ended."""
        fields = {"success": success, "policy_reject": False} | fields
        assert self.tell("report", login, source, **fields)["status"] == 0

    def log_in(self, login: str = "alice", source: str = HOME, **fields: Any) -> bool:
        """Log in with the right password; return whether that was not refused."""
        if self.allow(login, source, **fields) < 0:
            self.report(login, source, success=False, policy_reject=True, **fields)
            return False
        self.report(login, source, success=True, **fields)
        return True

    def guess(self, login: str = "alice", source: str = HOME, **fields: Any) -> bool:
        """Try a wrong password, a new one each time; return whether that was not refused."""
        fields = {"pwhash": f"{next(self._numbers) % 4096:04x}"} | fields
        if self.allow(login, source, **fields) < 0:
            self.report(login, source, success=False, policy_reject=True, **fields)
            return False
        self.report(login, source, success=False, **fields)
        return True

    def tell(self, command: str, login: str, source: str, **fields: Any) -> dict[str, Any]:
        """Send the fields that Dovecot 2.3 sends."""
        content = json.dumps(self.question(login, source, **fields)).encode()
        status, answer = self.authpolicy.answer(f"/?command={command}".encode(), content)
        assert status == 200
        return answer

    def question(self, login: str, source: str, **fields: Any) -> dict[str, Any]:
        """Return such fields, with those given in place of the usual ones."""
        port = str(self.config.pop3_port)
        usual = {
            "login": login,
            "orig": login,
            "loginuser": "",
            "master": "",
            "remote": source,
            "via": source,
            "lport": port,
            "listener": port,
            "protocol": "pop3",
            "pwhash": "0da0",
            "tls": False,
        }
        return usual | fields
