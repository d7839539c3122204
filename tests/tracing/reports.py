"""Events as a mail server's daemon tells them, without any server."""

from __future__ import annotations

import time
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path
from typing import Any

from mailhost.events.database import EventDatabase, Position
from mailhost.events.parsing import Event
from mailhost.paths import Paths


def event(kind: str = "delivered", recipient: str = "tanaka@example.com", **fields: Any) -> Event:
    """Return an event of just now."""
    usual: dict[str, Any] = {
        "at": int(time.time()),
        "queue_id": "4jbbRB0FtyzKLgt",
        "sender": "friend@outside.test",
        "original": "",
        "relay": "mailbox" if kind == "delivered" else "",
        "code": "2.0.0" if kind == "delivered" else "5.1.1",
        "reason": "" if kind == "delivered" else "no",
    }
    return Event(**(usual | {"kind": kind, "recipient": recipient} | fields))


def tell(root: Path, events: Iterable[Event], *, alive: float = 0.0) -> None:
    """Write events as the daemon does; `alive`: so many seconds ago it was at the log's end."""
    paths = Paths(root)
    paths.events.mkdir(exist_ok=True)
    with closing(EventDatabase(paths.events_db)) as db:
        db.keep(list(events), Position(1, b"", 0), {}, [], time.time())
        db.note_alive(time.time() - alive)
