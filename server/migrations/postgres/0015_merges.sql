-- Pull requests are built merged with their bases.
-- What of a pull request is built: its merge with its `base`, or its `head`.
ALTER TABLE projects ADD COLUMN merge TEXT NOT NULL DEFAULT 'base' CHECK (merge IN ('base', 'head'));

-- The branch that a pull request is merged with; and the commit of it, fixed when the run is begun first.
ALTER TABLE heads ADD COLUMN base TEXT;
ALTER TABLE runs ADD COLUMN base TEXT;
ALTER TABLE runs ADD COLUMN base_commit TEXT;

-- A run may end because that cannot be done: `conflict`.
ALTER TABLE runs DROP CONSTRAINT runs_state_check;
ALTER TABLE runs ADD CONSTRAINT runs_state_check CHECK (
    state IN (
        'unapproved', 'queued', 'running', 'succeeded', 'failed', 'errored', 'conflict', 'cancelled',
        'superseded'
    )
);
