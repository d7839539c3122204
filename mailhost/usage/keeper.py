"""The thread that has mailboxes counted: those that changed within seconds, each once a day."""

from __future__ import annotations

import logging
import sqlite3
import time
from contextlib import suppress
from threading import Event, Lock, Thread

from mailhost.dovecot import NoAnswer
from mailhost.errors import HostError
from mailhost.paths import Paths
from mailhost.usage import waiting
from mailhost.usage.counting import BATCH, Boxes, Counter
from mailhost.usage.database import Box, UsageDatabase
from mailhost.usage.known import HEARTBEAT
from mailhost.usage.missed import changed_since

#: Seconds between two looks at what has changed.
PAUSE = 0.5
#: Seconds within which each mailbox is counted, changed or not.
DAY = 24 * 60 * 60.0
#: Seconds until a mailbox that could not be counted is tried again, and until Dovecot is.
_LATER, _SOON = 60.0, 5.0
# Seconds until the queue is looked through for copies that nothing else brought on their way.
_QUEUE = 300.0
# Of file times, which come from a coarser clock, and of what was on its way.
_SLACK = 10.0
# Rows written in one transaction: nobody else can write meanwhile.
_CHUNK = 5000
# What comparing all records with all figures may take of the time: a fiftieth.
_SHARE = 50

_log = logging.getLogger("mailhost.usage")


class Marks:
    """Mailboxes that changed, from the event loop's thread to the keeper's."""

    def __init__(self) -> None:
        """Begin with none."""
        self._lock = Lock()
        self._names: set[str] = set()
        self.came = Event()

    def add(self, name: str) -> None:
        """Note one."""
        with self._lock:
            self._names.add(name)
        self.came.set()

    def take(self) -> set[str]:
        """Return all that came since."""
        with self._lock:
            names, self._names = self._names, set()
            self.came.clear()
        return names


class Keeper(Thread):
    """Counts, and keeps what Dovecot says, until it is stopped."""

    def __init__(self, paths: Paths, marks: Marks) -> None:
        """Take where, and who tells."""
        super().__init__(name="keeper", daemon=True)
        self._paths = paths
        self._marks = marks
        self._ending = Event()
        self._next_comparison = self._next_look = 0.0
        self._heard_at = 0.0
        self._dovecot_from = self._postfix_from = 0.0
        self._next_queue = 0.0

    def stop(self) -> None:
        """End after the mailboxes in hand."""
        self._ending.set()
        self._marks.came.set()
        self.join(60)

    def run(self) -> None:
        """Work until stopped. What goes wrong is tried again."""
        while not self._ending.is_set():
            try:
                self._work()
            except (OSError, sqlite3.Error, HostError) as error:
                _log.error("tried again: %s", error)
            except Exception:
                _log.exception("tried again")
            self._ending.wait(_SOON)

    def _work(self) -> None:
        self._db = UsageDatabase(self._paths.usage_db)
        self._boxes = Boxes(self._paths.store)
        self._counter = Counter(self._paths, self._db, self._boxes)
        try:
            self._hear_what_was_missed()
            while not self._ending.is_set():
                self._turn()
        finally:
            with suppress(sqlite3.Error):
                self._hear(time.time())
            self._boxes.close()
            self._db.close()

    def _turn(self) -> None:
        now = time.time()
        self._hear(now)
        self._compare(now)
        self._look_for_old(now)
        busy = self._count(now)
        self._tell_postfix(now)
        if not busy:
            self._marks.came.wait(HEARTBEAT / 10)
            self._ending.wait(PAUSE)

    # Whom to ask about

    def _hear(self, now: float) -> None:
        names = self._marks.take()
        if names or now >= self._heard_at + HEARTBEAT or now < self._heard_at:
            self._heard_at = now
            try:
                self._db.hear(names, now)
            except BaseException:
                for name in names:
                    self._marks.add(name)
                raise

    def _hear_what_was_missed(self) -> None:
        """Mark what changed since all that Dovecot told was known."""
        began, since = time.time(), self._db.alive_at() - _SLACK
        if since > 0:
            missed = list(changed_since(self._paths, self._db.boxes(), since))
            self._db.mark(missed, began)
            _log.info("%d mailboxes changed meanwhile", len(missed))

    def _compare(self, now: float) -> None:
        """Follow the records: who came, who went, whose limit is another one now.

        All are compared, however few have changed: nothing is left out for good.
        """
        if now < self._next_comparison or not self._boxes.have_changed():
            return
        began = time.perf_counter()
        self._follow()
        self._next_comparison = now + _SHARE * (time.perf_counter() - began)

    def _follow(self) -> None:
        new: list[Box] = []
        gone: list[str] = []
        changed: list[Box] = []
        figures, boxes = self._db.boxes(), self._boxes.all()
        known, box = next(figures, None), next(boxes, None)
        while known or box:
            if known is None or (box and box.mailbox_id < known.mailbox_id):
                assert box is not None  # noqa: S101 (one of the two is there)
                new.append(box)
                box = next(boxes, None)
            elif box is None or known.mailbox_id < box.mailbox_id:
                gone.append(known.mailbox_id)
                known = next(figures, None)
            else:
                if box != known:
                    changed.append(box)
                known, box = next(figures, None), next(boxes, None)
        for n in range(0, max(len(new), len(gone), len(changed)), _CHUNK):
            part = slice(n, n + _CHUNK)
            self._db.follow(new[part], gone[part], changed[part])
        if new or gone or changed:
            _log.info("%d mailboxes new, %d gone, %d changed", len(new), len(gone), len(changed))

    def _look_for_old(self, now: float) -> None:
        """Mark those that were not counted for a day, a few at a time."""
        if now >= self._next_look:
            self._next_look = now + HEARTBEAT
            self._db.mark_oldest(now - DAY, BATCH, now)

    # Asking

    def _count(self, now: float) -> bool:
        """Have the next mailboxes counted; return whether there may be more."""
        if now < self._dovecot_from:
            return False
        due = self._db.due(now, BATCH)
        if not due:
            return False
        try:
            _, failed = self._counter.count(list(due), due)
        except NoAnswer as error:
            self._dovecot_from = now + _SOON
            _log.warning("Dovecot does not answer: %s", error)
            return False
        if failed:
            self._db.put_off(failed, now + _LATER)
            _log.warning("not counted (see dovecot.log): %s", ", ".join(failed[:10]))
        return len(due) == BATCH

    def _tell_postfix(self, now: float) -> None:
        """Have copies tried that waited for mailboxes which are full no more."""
        if now < self._postfix_from:
            return
        freed = self._db.freed()
        try:
            if freed:
                copies = waiting.flush(self._paths.root, freed)
                self._db.forget_freed(freed)
                _log.info("room again in %s: %d copies tried", ", ".join(freed[:10]), copies)
                # A copy that Postfix was just trying is not tried at once, and found it full.
                self._next_queue = min(self._next_queue, now + _SOON)
            if now >= self._next_queue:
                self._next_queue = now + _QUEUE
                waiting.flush_where_room(self._paths.root)
        except HostError as error:
            # Soon: after a start of all servers Postfix may only be coming up.
            self._postfix_from = now + _SOON
            _log.warning("Postfix's queue could not be looked at: %s", error)
