-- Pull requests are built merged with their bases.
-- What of a pull request is built: its merge with its `base`, or its `head`.
ALTER TABLE projects ADD COLUMN merge TEXT NOT NULL DEFAULT 'base' CHECK (merge IN ('base', 'head'));

-- The branch that a pull request is merged with; and the commit of it, fixed when the run is begun first.
ALTER TABLE heads ADD COLUMN base TEXT;
ALTER TABLE runs ADD COLUMN base TEXT;
ALTER TABLE runs ADD COLUMN base_commit TEXT;

-- A run may end because that cannot be done: `conflict`. Tables cannot be given another check, so the column is made
-- anew.
DROP INDEX runs_queued;
DROP INDEX runs_unapproved;
DROP INDEX runs_running;
ALTER TABLE runs ADD COLUMN stage TEXT NOT NULL DEFAULT 'unapproved' CHECK (
    stage IN (
        'unapproved', 'queued', 'running', 'succeeded', 'failed', 'errored', 'conflict', 'cancelled',
        'superseded'
    )
);
UPDATE runs SET stage = state;
ALTER TABLE runs DROP COLUMN state;
ALTER TABLE runs RENAME COLUMN stage TO state;
CREATE INDEX runs_queued ON runs (rank, id) WHERE state = 'queued';
CREATE INDEX runs_unapproved ON runs (id) WHERE state = 'unapproved';
CREATE INDEX runs_running ON runs (started_at) WHERE state = 'running';
