-- The newest commit of each jobset that is there, as it was seen last.
CREATE TABLE heads (
    project INTEGER NOT NULL REFERENCES projects (id) ON DELETE CASCADE,
    jobset TEXT NOT NULL,
    commit_id TEXT NOT NULL,
    seen_at INTEGER NOT NULL,
    PRIMARY KEY (project, jobset)
) STRICT;

CREATE TABLE runs (
    id INTEGER PRIMARY KEY,
    project INTEGER NOT NULL REFERENCES projects (id) ON DELETE CASCADE,
    jobset TEXT NOT NULL,
    commit_id TEXT NOT NULL,
    state TEXT NOT NULL CHECK (
        state IN ('queued', 'running', 'succeeded', 'failed', 'errored', 'cancelled', 'superseded')
    ),
    -- Lower goes first.
    rank INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    started_at INTEGER,
    ended_at INTEGER,
    -- How often it was begun.
    attempts INTEGER NOT NULL DEFAULT 0,
    -- Who carries it out, and until when that is believed without hearing more.
    owner TEXT,
    leased_until INTEGER,
    -- What is to be told in a line at the end.
    summary TEXT
) STRICT;

CREATE INDEX runs_queued ON runs (rank, id) WHERE state = 'queued';
CREATE INDEX runs_running ON runs (project) WHERE state = 'running';
CREATE INDEX runs_of_jobset ON runs (project, jobset, id);
