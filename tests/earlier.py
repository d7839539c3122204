"""A mail server's directory as the version before customers could send left it.

It had no policy daemon and no lists, its records named neither owner nor plan, a mailbox's had
its plan's size spelled out, and its settings knew nothing of what came with sending.
"""

from __future__ import annotations

import json
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

from mailhost.config import load_config
from mailhost.paths import Paths

SCHEMA = Path(__file__).with_name("earlier.sql")
OUTBOUND = "error:5.7.1 This server sends no mail to other domains"
SIZE = 10 * 1024 * 1024
_SETTINGS = (
    "hostname", "smtp_listen", "login_listen", "smtp_port", "pop3_port", "pop3s_port",
    "imap_port", "imaps_port", "lmtp_port", "mail_uid", "mail_gid", "plaintext_login",
    "slow_guessing", "homes_root", "certificates", "postmaster",
)  # fmt: skip
_FIELDS = {
    "domain": ("name", "fixed_address", "home"),
    "mailbox": ("name", "domain", "mailbox_id", "password_hash", "quota_bytes"),
    "address": ("local_part", "domain", "destinations"),
}


def make_earlier(root: Path) -> None:
    """Take a server of today's, of which nothing runs, back to that version."""
    paths, config = Paths(root), load_config(root)
    kept = {name: getattr(config, name) for name in _SETTINGS}
    settings = kept | {"message_size_limit": SIZE, "max_recipients": 100, "outbound": OUTBOUND}
    (root / "host.json").write_text(json.dumps(settings, indent=2))
    for name in (
        "policy",
        "lists",
        "usage",
        "events",
        "archive",
        "ftp",
        "ssh",
        "webmail",
        "replies",
    ):
        shutil.rmtree(getattr(paths, name))
    new = (paths.policy_key, paths.panel_imap, paths.dovecot / "masters")
    for path in (*new, *paths.maps.glob("transport*"), paths.postfix / "commands"):
        path.unlink()
    paths.dovecot_conf.chmod(0o644)
    (paths.postfix / "main.cf").write_text("compatibility_level = 3.6\n")
    _write_store(paths.store)


def earlier_value(key: str, value: dict[str, Any]) -> dict[str, Any]:
    """Return a record's value as that version wrote it."""
    kind = key.partition(":")[0]
    earlier = {name: value[name] for name in _FIELDS[kind]}
    return earlier | ({"quota_bytes": value["quota_bytes"] or SIZE} if kind == "mailbox" else {})


def _write_store(path: Path) -> None:
    tables = ("domain", "mailbox", "address", "destination", "trash")
    with closing(sqlite3.connect(path)) as db:
        records = db.execute("SELECT key, change, value FROM record").fetchall()
        query = "SELECT * FROM {}"
        rows = {table: db.execute(query.format(table)).fetchall() for table in tables}
    for file in path.parent.glob(f"{path.name}*"):
        file.unlink()
    with closing(sqlite3.connect(path)) as db, db:
        db.executescript(SCHEMA.read_text())
        for key, change, value in records:
            if key.partition(":")[0] in _FIELDS:
                earlier = value and json.dumps(earlier_value(key, json.loads(value)))
                db.execute("INSERT INTO record VALUES (?, ?, ?)", (key, change, earlier))
        for table, found in rows.items():
            # Columns that came since are the last ones.
            known = len(db.execute(f"PRAGMA table_info({table})").fetchall())
            places = ", ".join("?" * known)
            for row in found:
                db.execute(f"INSERT INTO {table} VALUES ({places})", row[:known])  # noqa: S608
        db.execute("UPDATE mailbox SET quota_bytes = ? WHERE quota_bytes = 0", (SIZE,))
