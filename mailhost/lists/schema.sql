-- What the lists' daemon has taken and not yet handed on, and whose mail came back.

-- A message as it was posted, until each member's copy is with Postfix.
CREATE TABLE IF NOT EXISTS post (
    id INTEGER PRIMARY KEY,
    list TEXT NOT NULL,
    content BLOB NOT NULL,
    taken_at INTEGER NOT NULL
) STRICT;

-- begun: it may be with Postfix already; the log tells (queue.py).
CREATE TABLE IF NOT EXISTS copy (
    post INTEGER NOT NULL REFERENCES post (id) ON DELETE CASCADE,
    member TEXT NOT NULL,
    name TEXT NOT NULL UNIQUE,
    begun INTEGER NOT NULL DEFAULT 0 CHECK (begun IN (0, 1)),
    PRIMARY KEY (post, member)
) STRICT, WITHOUT ROWID;

-- Copies that came back, by list and member in lower case.
CREATE TABLE IF NOT EXISTS bounce (
    list TEXT NOT NULL,
    member TEXT NOT NULL,
    count INTEGER NOT NULL,
    last_at INTEGER NOT NULL,
    PRIMARY KEY (list, member)
) STRICT, WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS bounce_by_time ON bounce (last_at);
