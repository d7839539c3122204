-- The archives of this server, and what is under way. Only root reads it.

-- `changed` numbers every change of any row, for who reads what is new.
CREATE TABLE IF NOT EXISTS archive (
    id INTEGER PRIMARY KEY,
    mailbox_id TEXT NOT NULL,
    account TEXT NOT NULL,
    domain TEXT NOT NULL,
    home TEXT NOT NULL,
    file_name TEXT NOT NULL,
    taken_at REAL NOT NULL,
    messages INTEGER NOT NULL CHECK (messages > 0),
    mail_bytes INTEGER NOT NULL,
    file_bytes INTEGER NOT NULL,
    sha256 TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('kept', 'gone', 'removed')),
    changed INTEGER NOT NULL UNIQUE,
    -- Also of an archive that is gone: or it would be taken for a later one.
    UNIQUE (home, file_name)
) STRICT;
CREATE INDEX IF NOT EXISTS archive_by_account ON archive (account, id);
CREATE INDEX IF NOT EXISTS archive_by_mailbox ON archive (mailbox_id, id);

-- One run of `take` for a mailbox, from before its temporary file until all is expunged.
--   writing: `temporary` may lie in the home, and counts for nothing.
--   written: it is complete and on the disk (the counts and the hash say so); it gets the name
--            `file_name`, or has got it already.
--   kept:    `archive` is on record; what is left of `taken` is still to be expunged.
CREATE TABLE IF NOT EXISTS run (
    id INTEGER PRIMARY KEY,
    mailbox_id TEXT NOT NULL UNIQUE,
    account TEXT NOT NULL,
    domain TEXT NOT NULL,
    home TEXT NOT NULL,
    temporary TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('writing', 'written', 'kept')),
    taken_at REAL NOT NULL,
    day TEXT NOT NULL,
    file_name TEXT NOT NULL DEFAULT '',
    messages INTEGER NOT NULL DEFAULT 0,
    mail_bytes INTEGER NOT NULL DEFAULT 0,
    file_bytes INTEGER NOT NULL DEFAULT 0,
    sha256 TEXT NOT NULL DEFAULT '',
    archive INTEGER REFERENCES archive (id),
    CHECK ((state = 'kept') = (archive IS NOT NULL))
) STRICT;

-- The messages of a run that are in its file; `name` is the file's in the mailbox, without flags.
CREATE TABLE IF NOT EXISTS taken (
    run INTEGER NOT NULL REFERENCES run (id) ON DELETE CASCADE,
    guid TEXT NOT NULL,
    folder TEXT NOT NULL,
    uidvalidity INTEGER NOT NULL,
    uid INTEGER NOT NULL,
    name TEXT NOT NULL,
    PRIMARY KEY (run, guid, uidvalidity, uid)
) STRICT, WITHOUT ROWID;

-- Messages that went back into a mailbox, by their number in the archive.
--   placing: a file `name` may be on its way into the folder.
--   placed:  it is there; its keywords may be missing yet.
--   put:     all is done.
CREATE TABLE IF NOT EXISTS put_back (
    mailbox_id TEXT NOT NULL,
    archive INTEGER NOT NULL REFERENCES archive (id),
    number INTEGER NOT NULL,
    name TEXT NOT NULL UNIQUE,
    digest TEXT NOT NULL,
    folder TEXT NOT NULL,
    keywords TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('placing', 'placed', 'put')),
    PRIMARY KEY (archive, number)
) STRICT, WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS put_back_unfinished ON put_back (mailbox_id) WHERE state <> 'put';

PRAGMA user_version = 1;
