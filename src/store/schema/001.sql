-- The first schema. Times are milliseconds since the epoch, UTC; names of states, phases, verdicts and
-- kinds of fault are those of docs/api.md. A later change is a file of its own (002.sql …).

CREATE TABLE task (
    number INTEGER PRIMARY KEY AUTOINCREMENT, -- order of submission
    id TEXT NOT NULL UNIQUE,
    uid INTEGER NOT NULL,                     -- the submitter
    state TEXT NOT NULL,                      -- changed by task_set_state() alone
    turn INTEGER NOT NULL DEFAULT 1,
    attempt INTEGER NOT NULL DEFAULT 1,
    run INTEGER NOT NULL DEFAULT 0,           -- the fence: number of the current run
    priority INTEGER NOT NULL DEFAULT 0,
    prompt TEXT NOT NULL,
    repo TEXT NOT NULL,
    base TEXT NOT NULL,
    base_commit TEXT NOT NULL,
    branch_wanted TEXT,
    test_command TEXT,
    model TEXT NOT NULL,
    provider TEXT NOT NULL,
    effort TEXT NOT NULL,
    budget_tokens INTEGER NOT NULL DEFAULT 0, -- 0: no limit
    timeout_ms INTEGER NOT NULL,
    phase TEXT,
    round INTEGER NOT NULL DEFAULT 0,
    activity TEXT,
    title TEXT,
    body TEXT,
    branch_offered TEXT,
    work_commit TEXT,
    work_run INTEGER NOT NULL DEFAULT 0,      -- the run whose work bundle holds work_commit
    branch TEXT,
    verdict TEXT,
    fault_kind TEXT,
    fault_step TEXT,
    fault_message TEXT,
    archive_path TEXT,
    archive_sha256 TEXT,
    archive_size INTEGER NOT NULL DEFAULT 0,
    input_tokens INTEGER NOT NULL DEFAULT 0,
    cached_input_tokens INTEGER NOT NULL DEFAULT 0,
    output_tokens INTEGER NOT NULL DEFAULT 0,
    reasoning_output_tokens INTEGER NOT NULL DEFAULT 0,
    prepared INTEGER NOT NULL DEFAULT 0,      -- there was a workspace
    cancel_requested INTEGER NOT NULL DEFAULT 0,
    crashes INTEGER NOT NULL DEFAULT 0,       -- runs in a row that died without progress
    created_ms INTEGER NOT NULL,
    started_ms INTEGER NOT NULL DEFAULT 0,
    ended_ms INTEGER NOT NULL DEFAULT 0,
    updated_ms INTEGER NOT NULL,
    last_seq INTEGER NOT NULL DEFAULT 0       -- events are 1 … last_seq, without a gap
);
CREATE INDEX task_queue ON task (priority DESC, number) WHERE state = 'queued';
CREATE INDEX task_active ON task (state, number)
    WHERE state NOT IN ('completed', 'failed', 'cancelled');
CREATE INDEX task_uid ON task (uid, number);
CREATE INDEX task_branch ON task (repo, branch) WHERE branch IS NOT NULL;

CREATE TABLE run (
    task INTEGER NOT NULL REFERENCES task (number),
    run INTEGER NOT NULL,
    created_ms INTEGER NOT NULL,
    spawned_ms INTEGER NOT NULL DEFAULT 0,    -- handed to the placer; 0: not yet
    ended_ms INTEGER NOT NULL DEFAULT 0,
    events_offset INTEGER NOT NULL DEFAULT 0, -- bytes of its event file that are events here
    progress INTEGER NOT NULL DEFAULT 0,      -- a phase or an answer of the model was completed
    outcome TEXT,                             -- of run.ended; NULL: it died without a word, or lives
    PRIMARY KEY (task, run)
) WITHOUT ROWID;

CREATE TABLE event (
    task INTEGER NOT NULL REFERENCES task (number),
    seq INTEGER NOT NULL,
    type TEXT NOT NULL,
    json TEXT NOT NULL,                       -- the whole event, one line
    PRIMARY KEY (task, seq)
);

-- One run of the tests: kind is 'baseline' or 'verification' (the last one counts).
CREATE TABLE test_result (
    task INTEGER NOT NULL REFERENCES task (number),
    kind TEXT NOT NULL,
    status INTEGER NOT NULL,
    command TEXT,
    found TEXT,
    exit_code INTEGER NOT NULL,
    duration_ms INTEGER NOT NULL,
    output_tail TEXT,
    PRIMARY KEY (task, kind)
) WITHOUT ROWID;

-- Results of the tests on a base commit, known for every task that starts there.
CREATE TABLE baseline (
    repo TEXT NOT NULL,
    base_commit TEXT NOT NULL,
    test_command TEXT NOT NULL,               -- '' : the one that is found
    environment TEXT NOT NULL,
    status INTEGER NOT NULL,
    command TEXT,
    found TEXT,
    exit_code INTEGER NOT NULL,
    duration_ms INTEGER NOT NULL,
    output_tail TEXT,
    created_ms INTEGER NOT NULL,
    PRIMARY KEY (repo, base_commit, test_command, environment)
) WITHOUT ROWID;

-- What is still to be done for a task whose run has ended: import, push, pull_request, in this order.
-- The row is written in the transaction that ends the run and goes with the one that ends the task.
CREATE TABLE outbox (
    task INTEGER PRIMARY KEY REFERENCES task (number),
    step TEXT NOT NULL,
    end_state TEXT NOT NULL,                  -- completed, failed or cancelled
    reason TEXT,
    fault_kind TEXT,
    fault_step TEXT,
    fault_message TEXT,
    branch TEXT,                              -- chosen before it is pushed
    branch_number INTEGER NOT NULL DEFAULT 1, -- 1: no suffix, 2: -2 …
    tries INTEGER NOT NULL DEFAULT 0          -- of this step
);

CREATE TABLE pull_request (
    task INTEGER PRIMARY KEY REFERENCES task (number),
    forge TEXT NOT NULL,
    repo TEXT NOT NULL,
    number INTEGER NOT NULL,
    url TEXT,
    state TEXT NOT NULL,
    draft INTEGER NOT NULL,
    title TEXT NOT NULL,
    body TEXT NOT NULL,
    created_ms INTEGER NOT NULL,
    checked_ms INTEGER NOT NULL DEFAULT 0,
    UNIQUE (forge, repo, number)
);
