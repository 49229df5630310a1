-- What the task may take, where it is to be less than the server's limits (0: those), and which
-- limits it ran into: their names, with a comma between them.
ALTER TABLE task ADD COLUMN limit_memory INTEGER NOT NULL DEFAULT 0;   -- bytes
ALTER TABLE task ADD COLUMN limit_cpus INTEGER NOT NULL DEFAULT 0;     -- thousandths of a core
ALTER TABLE task ADD COLUMN limit_pids INTEGER NOT NULL DEFAULT 0;
ALTER TABLE task ADD COLUMN limit_disk INTEGER NOT NULL DEFAULT 0;     -- bytes
ALTER TABLE task ADD COLUMN limits_hit TEXT NOT NULL DEFAULT '';
