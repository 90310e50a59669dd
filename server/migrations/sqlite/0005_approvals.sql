-- Pull requests of forks wait for an approval, which becomes what new projects do. Tables cannot be given another
-- check, so columns with one are made anew.
ALTER TABLE projects ADD COLUMN admitted TEXT NOT NULL DEFAULT 'approved'
    CHECK (admitted IN ('none', 'own', 'approved', 'all'));
UPDATE projects SET admitted = pull_requests;
ALTER TABLE projects DROP COLUMN pull_requests;
ALTER TABLE projects RENAME COLUMN admitted TO pull_requests;

-- Whose commit it is: `branch`, `own` (a pull request of the same repository) or `fork`. Fixed when it is first seen.
ALTER TABLE heads ADD COLUMN trust TEXT NOT NULL DEFAULT 'fork' CHECK (trust IN ('branch', 'own', 'fork'));
UPDATE heads SET trust = 'branch' WHERE jobset LIKE 'heads/%';
-- Where only own ones were built, what is there is one.
UPDATE heads SET trust = 'own' WHERE jobset LIKE 'pull/%'
    AND project IN (SELECT id FROM projects WHERE pull_requests = 'own');
ALTER TABLE runs ADD COLUMN trust TEXT NOT NULL DEFAULT 'fork' CHECK (trust IN ('branch', 'own', 'fork'));
UPDATE runs SET trust = 'branch' WHERE jobset LIKE 'heads/%';
UPDATE runs SET trust = 'own' WHERE jobset LIKE 'pull/%'
    AND project IN (SELECT id FROM projects WHERE pull_requests = 'own');

-- A run may wait until somebody approves its commit: `unapproved`.
DROP INDEX runs_queued;
DROP INDEX runs_running;
ALTER TABLE runs ADD COLUMN stage TEXT NOT NULL DEFAULT 'unapproved' CHECK (
    stage IN (
        'unapproved', 'queued', 'running', 'succeeded', 'failed', 'errored', 'cancelled', 'superseded'
    )
);
UPDATE runs SET stage = state;
ALTER TABLE runs DROP COLUMN state;
ALTER TABLE runs RENAME COLUMN stage TO state;
CREATE INDEX runs_queued ON runs (rank, id) WHERE state = 'queued';
CREATE UNIQUE INDEX runs_running ON runs (project) WHERE state = 'running';

-- Who approved which commit of a pull request. A new head voids it.
CREATE TABLE approvals (
    id INTEGER PRIMARY KEY,
    project INTEGER NOT NULL REFERENCES projects (id) ON DELETE CASCADE,
    jobset TEXT NOT NULL,
    commit_id TEXT NOT NULL,
    -- How: `command`, `comment`, `page` or `token`.
    way TEXT NOT NULL CHECK (way IN ('command', 'comment', 'page', 'token')),
    approver TEXT NOT NULL,
    approved_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    voided_at INTEGER
) STRICT;

CREATE INDEX approvals_of_jobset ON approvals (project, jobset);
