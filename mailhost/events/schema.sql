-- What became of messages, in the order of the log. Times are UNIX seconds.

-- `identity` tells this file from one that was lost. Everything in the log file that has this inode
-- and begins with `head`, up to `offset`, is in `event`; a NULL inode: no log was seen yet.
CREATE TABLE IF NOT EXISTS state (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    identity TEXT NOT NULL,
    inode INTEGER,
    head BLOB NOT NULL,
    "offset" INTEGER NOT NULL
) STRICT;
INSERT OR IGNORE INTO state VALUES (1, lower(hex(randomblob(8))), NULL, x'', 0);

-- All that Postfix logged from `since` until `at` is in `event`, as far as it is kept; 0: the log's
-- end has not been seen yet.
CREATE TABLE IF NOT EXISTS alive (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    since REAL NOT NULL,
    at REAL NOT NULL
) STRICT;

-- One line of the log that says what became of one recipient. Numbers only grow.
-- `kind`: delivered, deferred, bounced, refused. `original`: the address that was written to, where
-- forwarding led from it to `recipient`. `relay`: "mailbox", "list" or another server's name.
CREATE TABLE IF NOT EXISTS event (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    at INTEGER NOT NULL,
    kind TEXT NOT NULL,
    queue_id TEXT NOT NULL,
    sender TEXT NOT NULL,
    recipient TEXT NOT NULL,
    original TEXT NOT NULL,
    relay TEXT NOT NULL,
    code TEXT NOT NULL,
    reason TEXT NOT NULL
) STRICT;
-- A file of before `alive` knew nothing before its first event.
INSERT OR IGNORE INTO alive SELECT 1, coalesce(min(at), unixepoch()), 0 FROM event;

-- Who sent the messages that are in Postfix's queue.
CREATE TABLE IF NOT EXISTS queued (
    queue_id TEXT PRIMARY KEY,
    sender TEXT NOT NULL,
    at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
