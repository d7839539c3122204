-- Mailing lists: their addresses, and the map by which their mail goes to the lists' daemon.

-- The addresses of mailing lists: of each `list` the one that members post to, and the one
-- to which copies that cannot be delivered come back.
CREATE TABLE list (
    address TEXT PRIMARY KEY,
    domain TEXT NOT NULL,
    list TEXT NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX list_by_list ON list (list);
CREATE INDEX list_by_domain ON list (domain);

INSERT INTO list
SELECT address, substr(address, instr(address, '@') + 1), list
FROM (
    SELECT substr(key, 6) AS address, substr(key, 6) AS list
    FROM record WHERE key LIKE 'list:%' AND value IS NOT NULL
    UNION ALL
    SELECT replace(substr(key, 6), '@', '-bounces@'), substr(key, 6)
    FROM record WHERE key LIKE 'list:%' AND value IS NOT NULL
);

-- SQLite cannot change the CHECK of a table, so it is made anew.
ALTER TABLE dirty RENAME TO dirty_before;
CREATE TABLE dirty (
    map TEXT NOT NULL CHECK (map IN ('domains', 'mailboxes', 'aliases', 'refused', 'transport')),
    key TEXT NOT NULL,
    PRIMARY KEY (map, key)
) STRICT, WITHOUT ROWID;
INSERT INTO dirty SELECT map, key FROM dirty_before;
DROP TABLE dirty_before;

DROP VIEW map_aliases;
DROP VIEW map_refused;
DROP VIEW map_mailboxes;

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

INSERT OR IGNORE INTO dirty
SELECT map, address
FROM list, (SELECT 'mailboxes' AS map UNION ALL SELECT 'aliases' UNION ALL SELECT 'refused'
    UNION ALL SELECT 'transport');

PRAGMA user_version = 2;
