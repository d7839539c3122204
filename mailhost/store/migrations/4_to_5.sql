-- Domains for which webmail's web server may not do what their records say.
CREATE TABLE webmail_dirty (domain TEXT PRIMARY KEY) STRICT, WITHOUT ROWID;

INSERT INTO webmail_dirty
SELECT substr(key, 9) FROM record WHERE key > 'webmail:' AND key < 'webmail;';

PRAGMA user_version = 5;
