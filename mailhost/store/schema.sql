-- The mail server's truth. `record` is what it was told, newest change wins; all
-- other tables follow from it in the same transaction.

-- A deletion stays as a NULL, so that it outlives an older write that comes late.
CREATE TABLE record (
    key TEXT PRIMARY KEY,
    change INTEGER NOT NULL CHECK (change > 0),
    value TEXT
) STRICT, WITHOUT ROWID;
CREATE INDEX record_by_change ON record (change);

CREATE TABLE domain (
    name TEXT PRIMARY KEY,
    fixed_address TEXT NOT NULL,
    home TEXT NOT NULL
) STRICT, WITHOUT ROWID;

-- closing: login is refused, mail already under way still finds its directory.
-- restoring: its directory is on the way back from the trash.
CREATE TABLE mailbox (
    mailbox_id TEXT PRIMARY KEY,
    name TEXT NOT NULL,
    domain TEXT NOT NULL,
    address TEXT NOT NULL,
    password_hash TEXT NOT NULL,
    quota_bytes INTEGER NOT NULL,
    change INTEGER NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('open', 'closing', 'restoring')),
    ftp INTEGER NOT NULL DEFAULT 0 CHECK (ftp IN (0, 1)),
    ssh INTEGER NOT NULL DEFAULT 0 CHECK (ssh IN (0, 1))
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX mailbox_one_per_name ON mailbox (name) WHERE state <> 'closing';
CREATE INDEX mailbox_by_name ON mailbox (name);
CREATE INDEX mailbox_by_address ON mailbox (address, state, domain);
CREATE INDEX mailbox_by_domain ON mailbox (domain);
CREATE INDEX mailbox_with_ftp ON mailbox (domain, name) WHERE ftp = 1;
CREATE INDEX mailbox_unsettled ON mailbox (state) WHERE state <> 'open';

-- Forwarding addresses: those on record, and those every domain has (derived = 1).
CREATE TABLE address (
    address TEXT PRIMARY KEY,
    domain TEXT NOT NULL,
    derived INTEGER NOT NULL CHECK (derived IN (0, 1))
) STRICT, WITHOUT ROWID;
CREATE INDEX address_by_domain ON address (domain);

-- `folded` is the destination in lower case, as this server's own addresses are.
CREATE TABLE destination (
    address TEXT NOT NULL,
    position INTEGER NOT NULL,
    destination TEXT NOT NULL,
    folded TEXT NOT NULL,
    PRIMARY KEY (address, position)
) STRICT, WITHOUT ROWID;
-- Which addresses lead to a mailbox, for its auto-reply.
CREATE INDEX destination_by_folded ON destination (folded);

-- The addresses of mailing lists: of each `list` the one that members post to, and the one
-- to which copies that cannot be delivered come back.
CREATE TABLE list (
    address TEXT PRIMARY KEY,
    domain TEXT NOT NULL,
    list TEXT NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX list_by_list ON list (list);
CREATE INDEX list_by_domain ON list (domain);

-- Deleted mailboxes whose mail is still there. A stray directory has no name.
CREATE TABLE trash (
    mailbox_id TEXT PRIMARY KEY,
    name TEXT NOT NULL,
    domain TEXT NOT NULL,
    address TEXT NOT NULL,
    password_hash TEXT NOT NULL,
    deleted_at TEXT NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX trash_by_address ON trash (address, domain);
CREATE INDEX trash_by_name ON trash (name);
CREATE INDEX trash_by_domain ON trash (domain);

-- Keys whose line in a Postfix map may not be what the map_ views say.
CREATE TABLE dirty (
    map TEXT NOT NULL CHECK (map IN ('domains', 'mailboxes', 'aliases', 'refused', 'transport')),
    key TEXT NOT NULL,
    PRIMARY KEY (map, key)
) STRICT, WITHOUT ROWID;

-- Mailbox names about which ProFTPD's database may not say what the view ftp_user does.
CREATE TABLE ftp_dirty (name TEXT PRIMARY KEY) STRICT, WITHOUT ROWID;

-- Domains for which webmail's web server may not do what their records say.
CREATE TABLE webmail_dirty (domain TEXT PRIMARY KEY) STRICT, WITHOUT ROWID;

-- Mailbox names whose auto-reply may not be what the records say.
CREATE TABLE reply_dirty (name TEXT PRIMARY KEY) STRICT, WITHOUT ROWID;

-- Mailbox names whose open sessions have to end.
CREATE TABLE kick (name TEXT PRIMARY KEY) STRICT, WITHOUT ROWID;

-- Who may log in by FTP: only where the domain is hosted and has a home. `fixed`: all archives
-- of the domain are its to see.
CREATE VIEW ftp_user (name, password_hash, home, fixed) AS
SELECT m.name, m.password_hash, d.home, m.address = d.fixed_address
FROM mailbox AS m JOIN domain AS d ON d.name = m.domain
WHERE m.ftp = 1 AND m.state <> 'closing' AND d.home <> '';

-- What each Postfix map shall hold.

CREATE VIEW map_domains (key, value) AS
SELECT name, name FROM domain;

CREATE VIEW map_mailboxes (key, value) AS
SELECT m.address, m.address
FROM mailbox AS m
WHERE m.state IN ('open', 'restoring')
AND EXISTS (SELECT 1 FROM domain WHERE domain.name = m.domain)
UNION ALL
SELECT l.address, l.address
FROM list AS l
WHERE EXISTS (SELECT 1 FROM domain WHERE domain.name = l.domain)
AND NOT EXISTS (
    SELECT 1 FROM mailbox AS m
    WHERE m.address = l.address AND m.state IN ('open', 'restoring')
);

-- To the daemon that sends a list's mail on; a mailbox of the same address comes first.
CREATE VIEW map_transport (key, value) AS
SELECT l.address, 'lists:unix:private/lists-lmtp'
FROM list AS l
WHERE EXISTS (SELECT 1 FROM domain WHERE domain.name = l.domain)
AND NOT EXISTS (
    SELECT 1 FROM mailbox AS m WHERE m.address = l.address AND m.state <> 'closing'
);

-- An address may name itself to keep a copy: only while it has a mailbox.
-- A deleted mailbox's address leads to itself, or the catch-all would take its mail.
CREATE VIEW map_aliases (key, value) AS
SELECT a.address, (
    SELECT group_concat(d.destination, ', ') FROM destination AS d
    WHERE d.address = a.address
    AND (d.folded <> a.address OR EXISTS (
        SELECT 1 FROM mailbox AS m WHERE m.address = a.address AND m.state <> 'closing'
    ))
)
FROM address AS a
WHERE EXISTS (SELECT 1 FROM domain WHERE domain.name = a.domain)
AND EXISTS (
    SELECT 1 FROM destination AS d
    WHERE d.address = a.address
    AND (d.folded <> a.address OR EXISTS (
        SELECT 1 FROM mailbox AS m WHERE m.address = a.address AND m.state <> 'closing'
    ))
)
UNION ALL
SELECT h.key, h.key FROM map_refused AS h;

CREATE VIEW map_refused (key, value) AS
SELECT DISTINCT t.address, '550 5.1.1 User unknown'
FROM trash AS t
WHERE t.address <> ''
AND EXISTS (SELECT 1 FROM domain WHERE domain.name = t.domain)
AND NOT EXISTS (
    SELECT 1 FROM mailbox AS m WHERE m.address = t.address AND m.state <> 'closing'
)
AND NOT EXISTS (
    SELECT 1 FROM destination AS d WHERE d.address = t.address AND d.folded <> d.address
)
AND NOT EXISTS (SELECT 1 FROM list AS l WHERE l.address = t.address);

PRAGMA user_version = 6;
