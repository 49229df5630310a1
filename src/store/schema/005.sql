-- Where a delivery that failed is to go on: the name pushed last, by its number (feat/x, feat/x-2 ...).
ALTER TABLE task ADD COLUMN branch_number INTEGER NOT NULL DEFAULT 1;
-- What the base branch had got when the work was delivered. NULL: nothing, or it is not known.
ALTER TABLE task ADD COLUMN moved_commit TEXT;
ALTER TABLE task ADD COLUMN moved_behind INTEGER NOT NULL DEFAULT 0;
ALTER TABLE task ADD COLUMN moved_conflicts INTEGER NOT NULL DEFAULT -1;   -- -1: not known
