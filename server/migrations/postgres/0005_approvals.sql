-- Pull requests of forks wait for an approval, which becomes what new projects do.
ALTER TABLE projects DROP CONSTRAINT projects_pull_requests_check;
ALTER TABLE projects ALTER COLUMN pull_requests SET DEFAULT 'approved';
ALTER TABLE projects ADD CONSTRAINT projects_pull_requests_check
    CHECK (pull_requests IN ('none', 'own', 'approved', 'all'));

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
ALTER TABLE runs DROP CONSTRAINT runs_state_check;
ALTER TABLE runs ADD CONSTRAINT runs_state_check CHECK (
    state IN (
        'unapproved', 'queued', 'running', 'succeeded', 'failed', 'errored', 'cancelled', 'superseded'
    )
);

-- Who approved which commit of a pull request. A new head voids it.
CREATE TABLE approvals (
    id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    project BIGINT NOT NULL REFERENCES projects (id) ON DELETE CASCADE,
    jobset TEXT NOT NULL,
    commit_id TEXT NOT NULL,
    -- How: `command`, `comment`, `page` or `token`.
    way TEXT NOT NULL CHECK (way IN ('command', 'comment', 'page', 'token')),
    approver TEXT NOT NULL,
    approved_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    voided_at BIGINT
);

CREATE INDEX approvals_of_jobset ON approvals (project, jobset);
