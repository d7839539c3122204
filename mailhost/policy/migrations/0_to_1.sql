-- Refusals know their sender, and those of one cause on one day are one row.

ALTER TABLE refusal RENAME TO each_refusal;
DROP INDEX refusal_by_account;
DROP INDEX refusal_by_change;

CREATE TABLE refusal (
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

-- With max(id) the other columns are those of the latest.
INSERT INTO refusal
SELECT account, date(at, 'unixepoch'), reason, '', at, "limit", reached, recipient, times, changed
FROM (
    SELECT *, max(id), count(*) AS times FROM each_refusal
    GROUP BY account, date(at, 'unixepoch'), reason
);
DROP TABLE each_refusal;
