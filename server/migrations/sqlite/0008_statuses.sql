-- What forges are to show on commits: one row for each name of a status. Times are milliseconds since 1970.
CREATE TABLE statuses (
    id INTEGER PRIMARY KEY,
    project INTEGER NOT NULL REFERENCES projects (id) ON DELETE CASCADE,
    commit_id TEXT NOT NULL,
    -- The name as forges compare names: whether letters are large makes no difference.
    slot TEXT NOT NULL,
    -- The job's attribute path; nothing for a run as a whole.
    job TEXT,
    -- What is to be shown, and which run says so, begun for the how-many-th time.
    run INTEGER NOT NULL REFERENCES runs (id) ON DELETE CASCADE,
    attempt INTEGER NOT NULL,
    context TEXT NOT NULL,
    state TEXT NOT NULL CHECK (
        state IN ('pending', 'running', 'success', 'failure', 'error', 'cancelled', 'skipped')
    ),
    description TEXT NOT NULL,
    target_url TEXT,
    git_ref TEXT,
    -- Grows with everything that is to be shown; and what it was for what was sent last.
    sequence INTEGER NOT NULL,
    sent_sequence INTEGER,
    sending TEXT NOT NULL CHECK (sending IN ('due', 'under-way', 'shown', 'refused')),
    not_before INTEGER NOT NULL,
    -- Who sends it, and until when that is believed.
    owner TEXT,
    leased_until INTEGER,
    -- 1 if it was sent and nobody heard what became of it.
    in_doubt INTEGER NOT NULL DEFAULT 0,
    failures INTEGER NOT NULL DEFAULT 0,
    last_error TEXT,
    -- How often this run's was sent, and when last.
    writes INTEGER NOT NULL DEFAULT 0,
    told_at INTEGER,
    UNIQUE (project, commit_id, slot)
) STRICT;

CREATE INDEX statuses_due ON statuses (not_before) WHERE sending = 'due';
CREATE INDEX statuses_under_way ON statuses (project) WHERE sending = 'under-way';
CREATE INDEX statuses_refused ON statuses (project) WHERE sending = 'refused';
CREATE INDEX statuses_of_run ON statuses (run);

-- What the declaration said last about statuses, as JSON.
ALTER TABLE projects ADD COLUMN telling TEXT;
-- Nothing is sent to the project's forge before: it asked for that, or was not there.
ALTER TABLE projects ADD COLUMN held_until INTEGER NOT NULL DEFAULT 0;
-- How often somebody began it, also if it was given back since: whatever the last one says counts.
ALTER TABLE runs ADD COLUMN begun INTEGER NOT NULL DEFAULT 0;
