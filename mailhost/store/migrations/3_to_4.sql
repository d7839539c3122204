-- SSH: a mailbox may have it switched on; Dovecot reads it from here.

ALTER TABLE mailbox ADD COLUMN ssh INTEGER NOT NULL DEFAULT 0 CHECK (ssh IN (0, 1));

PRAGMA user_version = 4;
