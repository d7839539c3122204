-- What the policy daemon remembers over a restart. Times are UNIX seconds; `changed` are
-- numbers that only grow, by which the panel finds what is new to it.

-- Up to which number the journal's marks hold: what they say is counted is in `count`.
CREATE TABLE IF NOT EXISTS settled (number INTEGER NOT NULL) STRICT;
INSERT INTO settled SELECT 0 WHERE NOT EXISTS (SELECT 1 FROM settled);

-- Recipients of messages that were accepted.
CREATE TABLE IF NOT EXISTS count (
    account TEXT NOT NULL,
    domain TEXT NOT NULL,
    day TEXT NOT NULL,
    hour INTEGER NOT NULL,
    ip TEXT NOT NULL,
    way TEXT NOT NULL CHECK (way IN ('login', 'auth', 'webmail')),
    recipients INTEGER NOT NULL,
    changed INTEGER NOT NULL,
    PRIMARY KEY (account, domain, day, hour, ip, way)
) STRICT, WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS count_by_change ON count (changed);
CREATE INDEX IF NOT EXISTS count_by_day ON count (day);

-- The last refusals of each account: of one cause (reason and sender) and day one row, which
-- tells of the latest and how many there were.
CREATE TABLE IF NOT EXISTS refusal (
    account TEXT NOT NULL,
    day TEXT NOT NULL,
    reason TEXT NOT NULL,
    sender TEXT NOT NULL,
    at REAL NOT NULL,
    "limit" INTEGER NOT NULL,
    reached INTEGER NOT NULL,
    recipient TEXT NOT NULL,
    times INTEGER NOT NULL,
    changed INTEGER NOT NULL,
    PRIMARY KEY (account, day, reason, sender)
) STRICT, WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS refusal_by_change ON refusal (changed);

-- Which mailbox a name was last seen to be. What an earlier one sent stands in `count` as
-- NAME:MAILBOX_ID, for its domain's sake.
CREATE TABLE IF NOT EXISTS holder (
    account TEXT PRIMARY KEY,
    mailbox_id TEXT NOT NULL
) STRICT, WITHOUT ROWID;

-- Who may send from where, because he received mail from there.
CREATE TABLE IF NOT EXISTS grant (
    account TEXT NOT NULL,
    network TEXT NOT NULL,
    address TEXT NOT NULL,
    way TEXT NOT NULL CHECK (way IN ('pop3', 'imap')),
    mailbox_id TEXT NOT NULL,
    fingerprint TEXT NOT NULL,
    login_at REAL NOT NULL,
    until REAL NOT NULL,
    changed INTEGER NOT NULL,
    PRIMARY KEY (account, network)
) STRICT, WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS grant_by_change ON grant (changed);
CREATE INDEX IF NOT EXISTS grant_by_end ON grant (until);

-- Wrong passwords, places where accounts have logged in, and what the panel asked to lift.
CREATE TABLE IF NOT EXISTS failure (
    id INTEGER PRIMARY KEY,
    account TEXT NOT NULL,
    network TEXT NOT NULL,
    known INTEGER NOT NULL CHECK (known IN (0, 1)),
    at REAL NOT NULL,
    changed INTEGER NOT NULL
) STRICT;
CREATE INDEX IF NOT EXISTS failure_by_change ON failure (changed);
CREATE INDEX IF NOT EXISTS failure_by_account ON failure (account, at);
CREATE INDEX IF NOT EXISTS failure_by_network ON failure (network, at);
CREATE INDEX IF NOT EXISTS failure_by_time ON failure (at);
CREATE TABLE IF NOT EXISTS known_place (
    account TEXT NOT NULL,
    network TEXT NOT NULL,
    at REAL NOT NULL,
    PRIMARY KEY (account, network)
) STRICT, WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS known_place_by_time ON known_place (at);
CREATE TABLE IF NOT EXISTS lift (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    account TEXT NOT NULL,
    network TEXT NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS lifted (
    account TEXT PRIMARY KEY,
    at REAL NOT NULL,
    changed INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS lifted_by_change ON lifted (changed);

PRAGMA user_version = 1;
