-- The newest commit of each jobset that is there, as it was seen last.
CREATE TABLE heads (
    project BIGINT NOT NULL REFERENCES projects (id) ON DELETE CASCADE,
    jobset TEXT NOT NULL,
    commit_id TEXT NOT NULL,
    seen_at BIGINT NOT NULL,
    PRIMARY KEY (project, jobset)
);

CREATE TABLE runs (
    id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    project BIGINT NOT NULL REFERENCES projects (id) ON DELETE CASCADE,
    jobset TEXT NOT NULL,
    commit_id TEXT NOT NULL,
    state TEXT NOT NULL CHECK (
        state IN ('queued', 'running', 'succeeded', 'failed', 'errored', 'cancelled', 'superseded')
    ),
    -- Lower goes first.
    rank BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    started_at BIGINT,
    ended_at BIGINT,
    -- How often it was begun.
    attempts BIGINT NOT NULL DEFAULT 0,
    -- Who carries it out, and until when that is believed without hearing more.
    owner TEXT,
    leased_until BIGINT,
    -- What is to be told in a line at the end.
    summary TEXT
);

CREATE INDEX runs_queued ON runs (rank, id) WHERE state = 'queued';
CREATE INDEX runs_running ON runs (project) WHERE state = 'running';
CREATE INDEX runs_of_jobset ON runs (project, jobset, id);
