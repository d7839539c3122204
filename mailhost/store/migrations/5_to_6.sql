-- Auto-replies: which addresses lead to a mailbox, and which scripts are to be looked at.

CREATE INDEX destination_by_folded ON destination (folded);
CREATE TABLE reply_dirty (name TEXT PRIMARY KEY) STRICT, WITHOUT ROWID;

PRAGMA user_version = 6;
