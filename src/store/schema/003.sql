-- Results of single tests. Counts are -1 where they could not be read.

ALTER TABLE test_result ADD COLUMN passed INTEGER NOT NULL DEFAULT -1;
ALTER TABLE test_result ADD COLUMN failed INTEGER NOT NULL DEFAULT -1;
ALTER TABLE test_result ADD COLUMN skipped INTEGER NOT NULL DEFAULT -1;

-- What the verification's tests differ in from the baseline's; no rows: they were not compared.
CREATE TABLE test_change (
    task INTEGER NOT NULL REFERENCES task (number),
    kind TEXT NOT NULL,                       -- of docs/api.md: 'newly_broken' ...
    total INTEGER NOT NULL,
    names TEXT NOT NULL,                      -- the first of them, each followed by a newline
    PRIMARY KEY (task, kind)
) WITHOUT ROWID;

-- A baseline without its tests is of no use any more: it is run again when it is needed.
DELETE FROM baseline;
ALTER TABLE baseline ADD COLUMN passed INTEGER NOT NULL DEFAULT -1;
ALTER TABLE baseline ADD COLUMN failed INTEGER NOT NULL DEFAULT -1;
ALTER TABLE baseline ADD COLUMN skipped INTEGER NOT NULL DEFAULT -1;
ALTER TABLE baseline ADD COLUMN tests TEXT;   -- as in src/task/test_list.h; NULL: could not be read
CREATE INDEX baseline_created ON baseline (created_ms);
