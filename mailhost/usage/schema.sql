-- How full mailboxes are. Times are UNIX seconds, sizes bytes; `changed` and `serial` are numbers
-- that only grow.

-- `identity` tells this file from one that was lost. All that Dovecot told the daemon until
-- `alive_at` is in `mark` or already counted.
CREATE TABLE IF NOT EXISTS state (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    identity TEXT NOT NULL,
    changed INTEGER NOT NULL,
    serial INTEGER NOT NULL,
    alive_at REAL NOT NULL
) STRICT;
INSERT OR IGNORE INTO state VALUES (1, lower(hex(randomblob(8))), 0, 0, 0);

-- What Dovecot answered, and the limit in force.
CREATE TABLE IF NOT EXISTS usage (
    mailbox_id TEXT PRIMARY KEY,
    account TEXT NOT NULL,
    domain TEXT NOT NULL,
    used INTEGER NOT NULL,
    messages INTEGER NOT NULL,
    "limit" INTEGER NOT NULL,
    asked_at REAL NOT NULL,
    changed INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS usage_by_account ON usage (account);
CREATE INDEX IF NOT EXISTS usage_by_change ON usage (changed);
CREATE INDEX IF NOT EXISTS usage_by_time ON usage (asked_at);
-- Who is full: every column, so that the question reads nothing else.
CREATE INDEX IF NOT EXISTS usage_full
ON usage (account, domain, used, messages, "limit", asked_at, mailbox_id) WHERE used >= "limit";

-- Mailboxes to ask about from `due` on; the urgent first, which Dovecot said have changed.
CREATE TABLE IF NOT EXISTS mark (
    account TEXT PRIMARY KEY,
    urgent INTEGER NOT NULL CHECK (urgent IN (0, 1)),
    due REAL NOT NULL,
    serial INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS mark_by_turn ON mark (urgent, due);

-- Mailboxes that are full no more, whose copies in the queue Postfix has not been told of yet.
CREATE TABLE IF NOT EXISTS freed (account TEXT PRIMARY KEY) STRICT, WITHOUT ROWID;
