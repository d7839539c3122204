-- FTP: a mailbox may have it switched on, and ProFTPD's database of accounts follows.

ALTER TABLE mailbox ADD COLUMN ftp INTEGER NOT NULL DEFAULT 0 CHECK (ftp IN (0, 1));
CREATE INDEX mailbox_with_ftp ON mailbox (domain, name) WHERE ftp = 1;

-- Mailbox names about which ProFTPD's database may not say what the view ftp_user does.
CREATE TABLE ftp_dirty (name TEXT PRIMARY KEY) STRICT, WITHOUT ROWID;

-- Who may log in by FTP: only where the domain is hosted and has a home. `fixed`: all archives
-- of the domain are its to see.
CREATE VIEW ftp_user (name, password_hash, home, fixed) AS
SELECT m.name, m.password_hash, d.home, m.address = d.fixed_address
FROM mailbox AS m JOIN domain AS d ON d.name = m.domain
WHERE m.ftp = 1 AND m.state <> 'closing' AND d.home <> '';

PRAGMA user_version = 3;
