-- What pages show first.
-- The branch that the repository names as its default.
ALTER TABLE projects ADD COLUMN default_branch TEXT;

CREATE INDEX runs_of_project ON runs (project, id);
CREATE INDEX runs_unapproved ON runs (id) WHERE state = 'unapproved';
CREATE INDEX runs_running ON runs (started_at) WHERE state = 'running';
